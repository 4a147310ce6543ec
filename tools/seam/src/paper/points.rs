//! The points of a network, counted as the paper counts: bytes of the edge part, bytes that cross.
//!
//! Paper accounting is one byte for each weight and two for each channel of a BatchNormalization
//! (scale and shift); biases do not count. Where the paper leaves fully connected layers out of a
//! network, they are left out of its edge parts too.

use seam_runtime::graph::{INPUT, OUTPUT};
use seam_tuner::layer_graph::Value;

use super::cases::Case;
use crate::nets::{Net, Op};

/// A place to cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// `input`, a candidate's name, or `output`.
    pub(crate) name: String,
    /// The nodes that run on the edge.
    pub(crate) edge: Vec<usize>,
    /// Bytes that cross the uplink, one for each value.
    pub(crate) crosses: u64,
}

/// Every point of `net`, shallowest first.
pub(crate) fn points(net: &Net) -> Vec<Point> {
    let graph = net.layer_graph();
    let input = Point { name: INPUT.into(), edge: Vec::new(), crosses: net.input.len() as u64 };
    let candidates = seam_tuner::candidates(&graph).into_iter().map(|candidate| {
        let before = graph.ancestors(candidate.node);
        Point {
            edge: (0..=candidate.node).filter(|&i| i == candidate.node || before[i]).collect(),
            crosses: net.shape(Value::Node(candidate.node)).len() as u64,
            name: candidate.name,
        }
    });
    let output = Point { name: OUTPUT.into(), edge: (0..net.nodes.len()).collect(), crosses: 0 };
    std::iter::once(input).chain(candidates).chain([output]).collect()
}

/// Bytes of the edge part at a point, in paper accounting.
pub(crate) fn paper_bytes(case: &Case, net: &Net, point: &Point) -> u64 {
    let bytes = |&i: &usize| match net.nodes[i].op {
        Op::BatchNorm => 2 * net.nodes[i].output.c as u64,
        Op::FullyConnected if !case.counts_fully_connected => 0,
        _ => net.nodes[i].weights,
    };
    point.edge.iter().map(bytes).sum()
}

/// By how many per cent `part` is less than `whole`.
pub(crate) fn reduction(part: u64, whole: u64) -> f64 {
    100.0 * (1.0 - part as f64 / whole as f64)
}
