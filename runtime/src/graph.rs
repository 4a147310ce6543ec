//! The edge program: what a `.seam` header says, and what compiler, session and tuner share.
//!
//! Steps stand in the order in which they run; every tensor is written by one step (the input by
//! nobody) before it is read. Tensors are NHWC at batch 1.

use seam_kernels::{ConvGeometry, PoolGeometry, Shape};

use crate::preprocess::Preprocess;

/// Index into [`Graph::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub u32);

/// A compiled network.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The network's name.
    pub name: String,
    /// From an image to the input tensor's codes.
    pub preprocess: Preprocess,
    /// Every activation tensor.
    pub tensors: Vec<Tensor>,
    /// The layers (the paper's unit), in order; a step says which one it belongs to.
    pub layers: Vec<String>,
    /// The steps, in the order in which they run.
    pub steps: Vec<Step>,
    /// What step 0 reads.
    pub input: TensorId,
    /// What the last step writes; `None` where the edge cannot run the whole network.
    pub output: Option<TensorId>,
    /// The points that the paper's rules admit, shallowest first; `input` and `output` are not
    /// among them.
    pub candidates: Vec<Candidate>,
    /// The first operator that the edge cannot run.
    pub stop: Option<Stop>,
}

/// An activation tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The name of the ONNX value that it holds.
    pub name: String,
    /// Height, width, channels.
    pub shape: Shape,
    /// What its elements are.
    pub element: Element,
}

/// The elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element {
    /// One byte; `real = scale * (code - zero_point)`.
    U8 {
        /// Positive and finite.
        scale: f32,
        /// The code of zero.
        zero_point: u8,
    },
    /// Four bytes: between float-kept layers. Crosses a boundary as f16.
    F32,
}

/// One kernel call.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Unique; the name of the ONNX node that it came from.
    pub name: String,
    /// Index into [`Graph::layers`].
    pub layer: u32,
    /// What it reads.
    pub inputs: Vec<TensorId>,
    /// What it writes.
    pub output: TensorId,
    /// What it does.
    pub op: Op,
}

/// What a step does. `lo` and `hi` are the output codes that a fused activation lets through.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// ONNX `Conv`, `Gemm` and `MatMul`: i8 weights, per-channel scales, i32 bias.
    Conv {
        /// Shapes, window, groups.
        geometry: ConvGeometry,
        /// Smallest output code.
        lo: u8,
        /// Largest output code.
        hi: u8,
    },
    /// The same in f32 with f16 weights and f32 bias, for layers kept in float; reads and writes
    /// tensors of either element.
    FloatConv {
        /// Shapes, window, groups.
        geometry: ConvGeometry,
        /// Smallest real output (−∞ for none).
        min: f32,
        /// Largest real output (+∞ for none).
        max: f32,
    },
    /// ONNX `MaxPool`; input and output have one scale and zero point.
    MaxPool(PoolGeometry),
    /// ONNX `AveragePool`.
    AveragePool {
        /// Shapes and window.
        geometry: PoolGeometry,
        /// Padding counts in the divisor.
        count_include_pad: bool,
    },
    /// ONNX `GlobalAveragePool`.
    GlobalAveragePool,
    /// ONNX `Add` of two tensors of one shape.
    Add {
        /// Smallest output code.
        lo: u8,
        /// Largest output code.
        hi: u8,
    },
    /// ONNX `Concat` on channels; inputs of the output's scale and zero point cost nothing, others
    /// go through a table.
    Concat,
    /// ONNX `LRN` across channels.
    Lrn(Lrn),
    /// ONNX `Softmax` over all values of a 1×1 tensor, or over channels.
    Softmax,
    /// An element-wise function of one u8 tensor: output code of every input code.
    Table(Box<[u8; 256]>),
    /// ONNX `Slice` over rows, columns and channels.
    Slice(Slice),
    /// ONNX `Pad` with zero over rows, columns and channels.
    Pad(Pad),
    /// ONNX `Flatten`, `Reshape` and the like: the same elements in the same (NHWC) order.
    Reshape,
}

/// The parameters of ONNX `LRN`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Channels in a sum.
    pub size: u32,
    /// Scales the mean of squares.
    pub alpha: f32,
    /// The exponent.
    pub beta: f32,
    /// Added before the power; `k` in the paper.
    pub bias: f32,
}

/// The first element and the step along each axis; the output's shape gives the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First row, column and channel.
    pub start: [u32; 3],
    /// Rows, columns and channels from one element to the next; at least 1.
    pub step: [u32; 3],
}

/// Elements of padding before and after each axis (rows, columns, channels).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pad {
    /// Before the first row, column, channel.
    pub before: [u32; 3],
    /// After the last row, column, channel.
    pub after: [u32; 3],
}

/// A place to cut that the paper's rules admit.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The point's name: that of the layer or merging node that it stands behind.
    pub name: String,
    /// Steps of the edge part: steps `0..steps` run on the edge.
    pub steps: u32,
    /// The tensor that crosses.
    pub boundary: TensorId,
}

/// The first operator that the edge cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The ONNX node.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// Why not.
    pub reason: String,
}

/// The weights of one step, as the compiler hands them to the writer.
#[derive(Clone, Debug, PartialEq)]
pub enum StepData {
    /// Steps without weights.
    None,
    /// [`Op::Conv`].
    Int8 {
        /// One per output channel.
        scales: Vec<f32>,
        /// One per output channel, in units of `input scale * scales[o]`.
        bias: Vec<i32>,
        /// OHWI, in −127..=127.
        weights: Vec<i8>,
    },
    /// [`Op::FloatConv`].
    Float {
        /// One per output channel.
        bias: Vec<f32>,
        /// OHWI.
        weights: Vec<half::f16>,
    },
}

/// The weights of one step, as they lie in a mapped file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepWeights<'a> {
    /// Steps without weights.
    None,
    /// [`Op::Conv`].
    Int8 {
        /// One per output channel.
        scales: &'a [f32],
        /// One per output channel.
        bias: &'a [i32],
        /// OHWI.
        weights: &'a [i8],
    },
    /// [`Op::FloatConv`].
    Float {
        /// One per output channel.
        bias: &'a [f32],
        /// OHWI.
        weights: &'a [half::f16],
    },
}

/// A place to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// Before the first layer: all of the network runs in the cloud.
    Input,
    /// Behind [`Graph::candidates`]`[i]`.
    Candidate(usize),
    /// Behind the last layer: all of the network runs on the edge.
    Output,
}

/// Name of [`Point::Input`].
pub const INPUT: &str = "input";
/// Name of [`Point::Output`].
pub const OUTPUT: &str = "output";

impl Graph {
    /// The tensor of `id`.
    ///
    /// # Panics
    /// `id` is not of this graph.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0 as usize]
    }

    /// Every point of this network, shallowest first: `input`, the candidates, and `output` where
    /// the edge runs the whole network.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        let output = self.output.map(|_| Point::Output);
        std::iter::once(Point::Input)
            .chain((0..self.candidates.len()).map(Point::Candidate))
            .chain(output)
    }

    /// The point of that name.
    pub fn point(&self, name: &str) -> Option<Point> {
        self.points().find(|&p| self.point_name(p) == name)
    }

    /// The name of `point`.
    ///
    /// # Panics
    /// `point` is not of this graph.
    pub fn point_name(&self, point: Point) -> &str {
        match point {
            Point::Input => INPUT,
            Point::Candidate(i) => &self.candidates[i].name,
            Point::Output => OUTPUT,
        }
    }

    /// The tensor that crosses at `point`; at `output`, the network's answer.
    ///
    /// # Panics
    /// `point` is not of this graph.
    pub fn boundary(&self, point: Point) -> TensorId {
        match point {
            Point::Input => self.input,
            Point::Candidate(i) => self.candidates[i].boundary,
            Point::Output => self.output.expect("`output` is a point only where there is one"),
        }
    }

    /// How many steps run on the edge at `point`.
    ///
    /// # Panics
    /// `point` is not of this graph.
    pub fn steps_before(&self, point: Point) -> usize {
        match point {
            Point::Input => 0,
            Point::Candidate(i) => self.candidates[i].steps as usize,
            Point::Output => self.steps.len(),
        }
    }
}

impl Tensor {
    /// Bytes of the tensor in memory.
    pub fn bytes(&self) -> usize {
        self.shape.len() * self.element.bytes()
    }
}

impl Op {
    /// The operator's name, as ONNX spells it where it has one.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv { .. } => "Conv",
            Op::FloatConv { .. } => "FloatConv",
            Op::MaxPool(_) => "MaxPool",
            Op::AveragePool { .. } => "AveragePool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Add { .. } => "Add",
            Op::Concat => "Concat",
            Op::Lrn(_) => "LRN",
            Op::Softmax => "Softmax",
            Op::Table(_) => "Table",
            Op::Slice(_) => "Slice",
            Op::Pad(_) => "Pad",
            Op::Reshape => "Reshape",
        }
    }
}

impl Element {
    /// Scale and zero point of codes.
    pub fn quantization(self) -> Option<(f32, u8)> {
        match self {
            Element::U8 { scale, zero_point } => Some((scale, zero_point)),
            Element::F32 => None,
        }
    }

    /// Bytes of one element in memory.
    pub fn bytes(self) -> usize {
        match self {
            Element::U8 { .. } => 1,
            Element::F32 => 4,
        }
    }
}
