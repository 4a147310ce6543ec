//! From an ONNX file to a `.seam` file and its FP32 tails.
//!
//! | hop | file |
//! |---|---|
//! | `.onnx` bytes → [`Network`] (static shapes, typed operators) | [`import`] (`onnx/`) |
//! | batch normalisation, constants and padding folded away | [`fold`] |
//! | network → steps of the edge, and where the edge must stop | [`lower`] |
//! | images → range of every tensor | [`calibrate`] |
//! | steps + ranges → [`Graph`](seam_runtime::graph::Graph) + weights | [`compile`] |
//! | what runs behind a point: a standalone ONNX file | [`cut`] |
//! | what runs behind a point: in memory | [`fp32`] |
#![forbid(unsafe_code)]

pub mod calibrate;
pub mod cut;
mod error;
pub mod fp32;
pub mod network;

pub use calibrate::{Calibration, Inputs, Method};
pub use cut::cut;
pub use error::Error;
pub use fp32::Engine;
pub use network::Network;
pub use tract_onnx::pb;

use std::path::Path;

use seam_runtime::graph::{Graph, StepData};
use seam_runtime::preprocess::Preprocess;

/// Reads an ONNX file (operator sets 9 to 22) and folds it.
pub fn import(_path: &Path) -> Result<Network, Error> {
    todo!()
}

/// What [`compile`] cannot find in the network.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network's name.
    pub name: String,
    /// From an image to the network's input.
    pub preprocess: Preprocess,
    /// Layers that run in f32 on the edge.
    pub keep_float: Vec<String>,
}

/// Quantizes a network to the program that the edge runs. An operator that the edge cannot run ends
/// the program there ([`Graph::stop`]); in the first layer it is an error.
pub fn compile(
    _network: &Network,
    _calibration: &Calibration,
    _options: &Options,
) -> Result<(Graph, Vec<StepData>), Error> {
    todo!()
}
