//! What a step has to do, whatever runs it: the features of a [cost model](crate::cost_model).
//!
//! The header of a `.seam` file holds every shape, so the work of all steps is known to a board
//! that holds only a prefix, and to one that holds no weights at all.

use seam_kernels::{Shape, Window};
use seam_runtime::Model;
use seam_runtime::graph::{Op, Step};
use serde::{Deserialize, Serialize};

/// Pixels and channels of a tile. Register tiles differ between kernels; this one is near to all.
const TILE: [usize; 2] = [4, 16];

/// What a step has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The operator, such as `conv`, `depthwise`, `fully-connected` or `max-pool`.
    pub kind: String,
    /// The window, such as `3x3` or `3x3/2` (stride 2); empty for operators without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub window: String,
    /// Multiply-accumulates, taps on padding counted.
    pub macs: u64,
    /// Bytes of weights, scales and biases in the `.seam` file.
    pub weight_bytes: u64,
    /// Bytes of all activations that it reads and of those that it writes.
    pub activation_bytes: u64,
    /// Tiles of 4 pixels by 16 channels in its output, begun ones counted, every group by itself.
    pub tiles: u64,
}

impl Work {
    /// The work of step `step`; its weights need not be in this file.
    ///
    /// # Panics
    /// `step` is not of `model`'s graph.
    pub fn of(model: &Model, step: usize) -> Work {
        let graph = model.graph();
        let record = &graph.steps[step];
        let tensors = record.inputs.iter().chain([&record.output]).map(|&id| graph.tensor(id));
        let (window, groups, macs) = match &record.op {
            Op::Conv { geometry, .. } | Op::FloatConv { geometry, .. } => {
                (Some(geometry.window), geometry.groups, geometry.macs())
            }
            Op::MaxPool(geometry) | Op::AveragePool { geometry, .. } => {
                (Some(geometry.window), 1, 0)
            }
            _ => (None, 1, 0),
        };
        Work {
            kind: kind(record).into(),
            window: window.map_or(String::new(), label),
            macs,
            weight_bytes: model.weight_bytes(step) as u64,
            activation_bytes: tensors.map(|tensor| tensor.bytes() as u64).sum(),
            tiles: tiles(graph.tensor(record.output).shape, groups),
        }
    }
}

fn kind(step: &Step) -> &'static str {
    match &step.op {
        Op::Conv { geometry, .. } if geometry.is_depthwise() => "depthwise",
        Op::Conv { geometry, .. } if geometry.output.pixels() == 1 => "fully-connected",
        Op::Conv { .. } => "conv",
        Op::FloatConv { .. } => "float-conv",
        Op::MaxPool(_) => "max-pool",
        Op::AveragePool { .. } => "average-pool",
        Op::GlobalAveragePool => "global-average-pool",
        Op::Add { .. } => "add",
        Op::Concat => "concat",
        Op::Lrn(_) => "lrn",
        Op::Softmax => "softmax",
        Op::Table(_) => "table",
        Op::Slice(_) => "slice",
        Op::Pad(_) => "pad",
        Op::Reshape => "reshape",
    }
}

fn label(window: Window) -> String {
    let Window { kernel: [rows, columns], stride: [down, right], .. } = window;
    match (down, right) {
        (1, 1) => format!("{rows}x{columns}"),
        _ if down == right => format!("{rows}x{columns}/{down}"),
        _ => format!("{rows}x{columns}/{down}x{right}"),
    }
}

fn tiles(output: Shape, groups: usize) -> u64 {
    // A depthwise kernel runs channels side by side: its groups share tiles.
    let groups = if groups == output.c { 1 } else { groups };
    let of_group = output.pixels().div_ceil(TILE[0]) * (output.c / groups).div_ceil(TILE[1]);
    (groups * of_group) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_that_are_begun_count_whole() {
        assert_eq!(tiles(Shape::new(2, 2, 16), 1), 1);
        assert_eq!(tiles(Shape::new(7, 7, 17), 1), 13 * 2);
        assert_eq!(tiles(Shape::new(2, 2, 32), 2), 2);
        assert_eq!(tiles(Shape::new(2, 2, 48), 48), 3, "depthwise");
    }

    #[test]
    fn windows_are_labelled_with_their_stride() {
        let window = |kernel, stride| label(Window { kernel, stride, ..Window::POINTWISE });
        assert_eq!(window([3, 3], [1, 1]), "3x3");
        assert_eq!(window([7, 7], [2, 2]), "7x7/2");
        assert_eq!(window([1, 5], [2, 1]), "1x5/2x1");
    }
}
