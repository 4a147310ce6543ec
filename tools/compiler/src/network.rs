//! The FP32 network: static shapes, batch 1, NCHW.
/// A network as imported.
#[derive(Clone, Debug)]
pub struct Network {}
