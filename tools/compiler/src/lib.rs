//! From an ONNX file to a `.seam` file and its FP32 tails.
//!
//! | hop | file |
//! |---|---|
//! | `.onnx` bytes → [`Network`]: static shapes, typed operators | `onnx/` |
//! | normalisation, constants and padding folded away | `fold` |
//! | network → steps of the edge, and where the edge must stop | `lower` |
//! | sample inputs → range of every tensor | [`mod@calibrate`] |
//! | channels of a tensor brought to like ranges | [`equalize()`] |
//! | steps + ranges → [`Graph`](seam_runtime::graph::Graph) and weights | [`compile`] |
//! | what runs behind a point, as a standalone ONNX file | [`cut()`] |
//! | what runs behind a point, in memory | [`fp32`] |
//! | the paper's own quantization, step by step | [`scheme`] |
#![forbid(unsafe_code)]

pub mod calibrate;
mod cut;
mod equalize;
mod error;
mod fold;
pub mod fp32;
mod histogram;
mod lower;
mod network;
mod onnx;
mod quantize;
pub mod scheme;

use std::path::Path;

pub use calibrate::{Calibration, Inputs, Method, calibrate};
pub use cut::cut;
pub use equalize::equalize;
pub use error::Error;
pub use fp32::Engine;
pub use network::Network;
pub use onnx::export::save;
pub use quantize::{Options, compile};
pub use scheme::PaperScheme;
pub use tract_onnx::pb;

/// Reads an ONNX file (operator sets 9 to 22) and folds it.
///
/// # Errors
/// The file, or the external data that it names, cannot be read or is invalid; its input is not
/// one image of a fixed size.
pub fn import(path: &Path) -> Result<Network, Error> {
    let mut network = onnx::import::read(path)?;
    fold::fold(&mut network);
    Ok(network)
}

/// The same for a model in memory; external data are looked for in `dir`.
///
/// # Errors
/// As [`import`].
pub fn import_model(model: pb::ModelProto, dir: &Path) -> Result<Network, Error> {
    let mut network = onnx::import::from_model(model, dir)?;
    fold::fold(&mut network);
    Ok(network)
}
