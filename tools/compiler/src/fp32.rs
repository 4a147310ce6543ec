//! The FP32 engine: runs a network, or the tail behind any point, from the boundary's bytes.
use std::path::Path;
use std::sync::Arc;

use seam_runtime::graph::{Graph, Point};

use crate::{Error, Network};

/// A network ready to run from any of its points; all points share one copy of the weights.
pub struct Engine {}

/// What runs behind one point; cheap to clone through its `Arc`, and run from many threads at once.
pub struct Tail {}

/// Elements of a tail's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// Codes of a quantized tensor, or pixels at the point `input`.
    U8,
    /// A tensor that the edge keeps in float.
    F16,
    /// Reals.
    F32,
}

/// Name, elements and shape of a tail's input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The tensor's name.
    pub name: String,
    /// Its elements.
    pub datatype: Datatype,
    /// Inputs: `[1, h, w, c]`. The output: as the network declares it.
    pub shape: Vec<usize>,
}

impl Engine {
    /// An engine for `network`, cut at the points of `graph`.
    pub fn new(_network: &Network, _graph: &Graph) -> Result<Engine, Error> {
        todo!()
    }

    /// Reads `NET.seam` and the `NET.onnx` beside it.
    pub fn open(_seam: &Path) -> Result<Engine, Error> {
        todo!()
    }

    /// The edge's program that this engine was made for.
    pub fn graph(&self) -> &Graph {
        todo!()
    }

    /// The tail behind `point`, made at the first call. Behind `output` there is none: an error.
    pub fn tail(&self, _point: Point) -> Result<Arc<Tail>, Error> {
        todo!()
    }

    /// The whole network on a normalised f32 input (CHW).
    pub fn run(&self, _input: &[f32]) -> Result<Vec<f32>, Error> {
        todo!()
    }
}

impl Tail {
    /// What it reads.
    pub fn inputs(&self) -> &[Signature] {
        todo!()
    }

    /// What it answers (f32).
    pub fn output(&self) -> &Signature {
        todo!()
    }

    /// Runs on one byte string an input: u8 codes or pixels (HWC), or little-endian f16.
    pub fn run(&self, _inputs: &[&[u8]]) -> Result<Vec<f32>, Error> {
        todo!()
    }
}
