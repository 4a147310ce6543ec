//! What whole-system tests share.

pub mod host;
pub mod nets;
pub mod onnx;
pub mod shared;
