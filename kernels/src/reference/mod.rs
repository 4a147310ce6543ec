//! The oracle: plain nested loops that define every bit that the kernels may write.
//!
//! Nothing here is meant to be fast, and nothing here shares code with the kernels.

mod add;
mod conv;
mod float;
mod gemm;
mod lrn;
mod pool;
mod rearrange;
mod requantize;
mod softmax;

pub use add::add;
pub use conv::{accumulate, conv};
pub use float::float_conv;
pub use gemm::gemm;
pub use lrn::{Lrn, lrn};
pub use pool::{average_pool, global_average_pool, max_pool};
pub use rearrange::{look_up, pad, slice};
pub use requantize::requantize;
pub use softmax::softmax;
