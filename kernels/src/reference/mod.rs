//! The oracle: plain nested loops that define every bit that the kernels may write.
//!
//! Nothing here is meant to be fast, and nothing here shares code with the kernels.

mod conv;
mod gemm;
mod requantize;

pub use conv::{accumulate, conv};
pub use gemm::gemm;
pub use requantize::requantize;
