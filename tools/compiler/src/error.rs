/// What can go wrong between an ONNX file and a `.seam` file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// placeholder
    #[error("FP32 engine: {0}")]
    Engine(String),
}
