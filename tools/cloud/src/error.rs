//! Why a cloud host does not start, or stops.

use std::path::PathBuf;

/// Errors of this library: one line that names the cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory or file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Nothing to serve.
    #[error("{0} holds no .seam file: put the NET.seam and NET.onnx of `seam quantize` there")]
    NoModels(PathBuf),
    /// The FP32 side of a network is missing.
    #[error("{0} is missing beside the .seam file: `seam quantize` wrote both, copy both")]
    NoOnnx(PathBuf),
    /// Two files hold networks of one name.
    #[error("{first} and {second} both hold a network named {name:?}: move one of them away")]
    SameName {
        /// The name.
        name: String,
        /// A file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// The FP32 side refused.
    #[error(transparent)]
    Compiler(#[from] seam_compiler::Error),
    /// The `.seam` file is refused.
    #[error(transparent)]
    Runtime(#[from] seam_runtime::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}; choose another --listen ADDR")]
    Listen {
        /// As given.
        address: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Serving stopped.
    #[error("the cloud host stopped: {0}")]
    Serve(std::io::Error),
}
