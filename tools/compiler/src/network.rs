//! The FP32 network: static shapes, batch 1, NCHW, typed operators.
//!
//! Parsing leaves one form of every operator: a fully connected layer is [`Op::Linear`] whether
//! the file said Gemm or MatMul, everything per-channel is [`Op::Affine`], every view is
//! [`Op::Reshape`]. What the edge has no kernel for stays as its protobuf node, [`Op::Other`], and
//! goes into the tail unchanged.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use seam_kernels::Shape;

use crate::pb;

/// A network with one input and one output; its nodes stand in an order in which they can run.
#[derive(Clone, Debug)]
pub struct Network {
    /// The name that the file gives it.
    pub(crate) name: String,
    /// The operator set of the [`Op::Other`] nodes, at least 13.
    pub(crate) opset: i64,
    /// The input value.
    pub(crate) input: String,
    /// The output value.
    pub(crate) output: String,
    /// The operators.
    pub(crate) nodes: Vec<Node>,
    /// Dimensions of every value whose shape is known.
    pub(crate) shapes: HashMap<String, Vec<usize>>,
    /// What [`Op::Other`] nodes read besides activations.
    pub(crate) constants: BTreeMap<String, Arc<Constant>>,
    /// The file's metadata.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// One operator.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Unique.
    pub(crate) name: String,
    /// What it does.
    pub(crate) op: Op,
    /// Activations that it reads (for [`Op::Other`]: and constants), by value name.
    pub(crate) inputs: Vec<String>,
    /// What it writes; more than one only for [`Op::Other`].
    pub(crate) outputs: Vec<String>,
}

/// An operator with its constants.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Conv(Arc<Conv>),
    Linear(Arc<Linear>),
    /// `x * scale + shift`, one pair per channel (axis 1), or one pair for all.
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    /// ONNX `Relu` and `Clip`.
    Clamp {
        min: f32,
        max: f32,
    },
    Unary(Unary),
    MaxPool(Pool),
    AveragePool {
        pool: Pool,
        count_include_pad: bool,
    },
    GlobalAveragePool,
    /// Two values of one shape.
    Add,
    /// On axis 1.
    Concat,
    Lrn {
        size: u32,
        alpha: f32,
        beta: f32,
        bias: f32,
    },
    /// Over axis 1.
    Softmax,
    /// The same elements in the same order.
    Reshape,
    Transpose(Vec<usize>),
    /// Zeros before and after, on axes C, H, W.
    Pad {
        before: [usize; 3],
        after: [usize; 3],
    },
    /// First element and step on axes C, H, W.
    Slice {
        start: [usize; 3],
        step: [usize; 3],
    },
    /// What the edge cannot run, and why.
    Other {
        proto: Box<pb::NodeProto>,
        reason: String,
    },
}

/// ONNX `Conv` on two axes.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) window: Sliding,
    pub(crate) groups: usize,
    /// `[outputs, inputs / groups, kernel rows, kernel columns]`.
    pub(crate) dims: [usize; 4],
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// ONNX `Gemm` and `MatMul` of a row vector.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// `[outputs, inputs]`.
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// A window with its padding on all four sides (top, left, bottom, right).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sliding {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) pads: [usize; 4],
}

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) window: Sliding,
    pub(crate) ceil_mode: bool,
}

/// Element-wise functions that the edge runs as a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unary {
    LeakyRelu { alpha: f32 },
    Sigmoid,
    Tanh,
    HardSigmoid { alpha: f32, beta: f32 },
    HardSwish,
}

impl Unary {
    /// The function, as the ONNX specification states it.
    pub(crate) fn apply(self, x: f32) -> f32 {
        match self {
            Unary::LeakyRelu { alpha } => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * x
                }
            }
            Unary::Sigmoid => (1.0 / (1.0 + (-f64::from(x)).exp())) as f32,
            Unary::Tanh => f64::from(x).tanh() as f32,
            Unary::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        }
    }
}

/// A tensor known when the file is read.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
}

/// A constant's elements.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// f32, or f16 widened.
    F32(Vec<f32>),
    I64(Vec<i64>),
    /// Of a type that only [`Op::Other`] nodes read.
    Raw(Box<pb::TensorProto>),
}

impl Constant {
    pub(crate) fn floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(values) => Some(values),
            _ => None,
        }
    }

    pub(crate) fn ints(&self) -> Option<Vec<i64>> {
        match &self.data {
            Data::I64(values) => Some(values.clone()),
            Data::Raw(proto) => crate::onnx::tensor::int32s(proto),
            Data::F32(_) => None,
        }
    }
}

impl Node {
    /// The value that it writes.
    pub(crate) fn output(&self) -> &str {
        &self.outputs[0]
    }

    /// The operator's ONNX name.
    pub(crate) fn operator(&self) -> &str {
        match &self.op {
            Op::Conv(_) => "Conv",
            Op::Linear(_) => "Gemm",
            Op::Affine { .. } => "Mul",
            Op::Clamp { .. } => "Clip",
            Op::Unary(Unary::LeakyRelu { .. }) => "LeakyRelu",
            Op::Unary(Unary::Sigmoid) => "Sigmoid",
            Op::Unary(Unary::Tanh) => "Tanh",
            Op::Unary(Unary::HardSigmoid { .. }) => "HardSigmoid",
            Op::Unary(Unary::HardSwish) => "HardSwish",
            Op::MaxPool(_) => "MaxPool",
            Op::AveragePool { .. } => "AveragePool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Add => "Add",
            Op::Concat => "Concat",
            Op::Lrn { .. } => "LRN",
            Op::Softmax => "Softmax",
            Op::Reshape => "Reshape",
            Op::Transpose(_) => "Transpose",
            Op::Pad { .. } => "Pad",
            Op::Slice { .. } => "Slice",
            Op::Other { proto, .. } => &proto.op_type,
        }
    }

    /// It has trained weights: it begins a layer.
    pub(crate) fn is_parametric(&self) -> bool {
        matches!(self.op, Op::Conv(_) | Op::Linear(_))
    }
}

impl Network {
    /// The name that the file gives it; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Height, width and channels of the input.
    pub fn input_shape(&self) -> Shape {
        let dims = &self.shapes[&self.input];
        Shape::new(dims[2], dims[3], dims[1])
    }

    /// Name of the value that is the network's answer.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// Dimensions of the output, where they could be inferred.
    pub fn output_dims(&self) -> Option<&[usize]> {
        self.shapes.get(&self.output).map(Vec::as_slice)
    }

    /// Names of the layers with weights, in order.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(|node| node.is_parametric()).map(|node| node.name.as_str())
    }

    /// Weights and biases of all layers.
    pub fn parameters(&self) -> usize {
        let count = |node: &Node| match &node.op {
            Op::Conv(conv) => conv.weights.len() + conv.bias.len(),
            Op::Linear(linear) => linear.weights.len() + linear.bias.len(),
            Op::Affine { scale, shift } => scale.len() + shift.len(),
            _ => 0,
        };
        self.nodes.iter().map(count).sum()
    }

    /// Standard deviation of the inputs that the network expects, from the metadata `input_std`.
    pub fn input_std(&self) -> Option<f32> {
        self.metadata.get("input_std")?.trim().parse().ok().filter(|std| *std > 0.0)
    }

    /// Dimensions of a value.
    pub(crate) fn dims(&self, value: &str) -> Option<&[usize]> {
        self.shapes.get(value).map(Vec::as_slice)
    }

    /// Indices of the nodes that read each value.
    pub(crate) fn readers(&self) -> HashMap<&str, Vec<usize>> {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                readers.entry(input).or_default().push(i);
            }
        }
        readers
    }
}
