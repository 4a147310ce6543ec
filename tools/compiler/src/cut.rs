//! The tail behind a point as an ONNX file of its own.
use seam_runtime::graph::{Graph, Point};

use crate::{Error, Network, pb};

/// The FP32 tail of `network` behind `point`: boundary codes (NHWC) → DequantizeLinear → Transpose
/// to NCHW → the layers behind the point. At `input`: pixels → normalisation → the whole network.
pub fn cut(_network: &Network, _graph: &Graph, _point: Point) -> Result<pb::ModelProto, Error> {
    todo!()
}
