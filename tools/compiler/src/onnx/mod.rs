//! The ONNX file format: from protobuf to [`Network`](crate::Network) and back.

pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod import;
mod operator;
pub(crate) mod tensor;
mod upgrade;
