//! Network → steps of the edge, before there are scales.
//!
//! Activations lie in memory as NHWC, ONNX counts them as NCHW. A view (Flatten, Reshape, Squeeze)
//! therefore costs nothing here: its value is the same tensor, and the order in which ONNX counts
//! that tensor's elements is kept beside it until a layer needs to know. A fully connected layer
//! behind a flattened image gets its weights in the tensor's order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use seam_kernels::{ConvGeometry, PoolGeometry, Shape, Window};
use seam_runtime::graph::Stop;
use seam_runtime::validate::{MAX_EXTENT, MAX_TENSOR_BYTES};
use seam_tuner::LayerGraph;
use seam_tuner::layer_graph::{Node as LayerNode, Value as LayerValue};

use crate::Error;
use crate::network::{Conv, Linear, Network, Node, Op, Sliding, Unary};

/// The edge's steps with their f32 constants.
pub(crate) struct Program {
    pub(crate) tensors: Vec<EdgeTensor>,
    pub(crate) layers: Vec<String>,
    pub(crate) steps: Vec<LowStep>,
    pub(crate) candidates: Vec<LowCandidate>,
    pub(crate) output: Option<usize>,
    pub(crate) stop: Option<Stop>,
}

/// An activation tensor.
#[derive(Clone, Debug)]
pub(crate) struct EdgeTensor {
    /// The ONNX value that it holds.
    pub(crate) name: String,
    pub(crate) shape: Shape,
}

/// One kernel call.
pub(crate) struct LowStep {
    pub(crate) name: String,
    /// Index into [`Program::layers`].
    pub(crate) layer: usize,
    /// Index of the network's node.
    node: usize,
    pub(crate) inputs: Vec<usize>,
    pub(crate) output: usize,
    pub(crate) kind: Kind,
}

pub(crate) struct LowCandidate {
    pub(crate) name: String,
    pub(crate) steps: usize,
    pub(crate) boundary: usize,
}

pub(crate) enum Kind {
    Conv {
        geometry: ConvGeometry,
        weights: Weights,
        clamp: Bounds,
    },
    MaxPool(PoolGeometry),
    AveragePool {
        geometry: PoolGeometry,
        count_include_pad: bool,
    },
    GlobalAveragePool,
    Add(Bounds),
    Concat,
    Lrn {
        size: u32,
        alpha: f32,
        beta: f32,
        bias: f32,
    },
    Softmax,
    Table(Function),
    /// First element and step along rows, columns, channels.
    Slice {
        start: [usize; 3],
        step: [usize; 3],
    },
    /// Zeros before and after, along rows, columns, channels.
    Pad {
        before: [usize; 3],
        after: [usize; 3],
    },
    Reshape,
}

/// Where a step's weights come from.
pub(crate) enum Weights {
    Conv(Arc<Conv>),
    /// With the shape of the image that the layer reads flattened in ONNX's order, if it does.
    Linear(Arc<Linear>, Option<Shape>),
}

/// What a fused activation lets through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) min: f32,
    pub(crate) max: f32,
}

/// An element-wise function.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Function {
    Clamp(Bounds),
    Unary(Unary),
    Affine { scale: f32, shift: f32 },
}

impl Function {
    pub(crate) fn apply(self, x: f32) -> f32 {
        match self {
            Function::Clamp(bounds) => x.clamp(bounds.min, bounds.max),
            Function::Unary(unary) => unary.apply(x),
            Function::Affine { scale, shift } => x * scale + shift,
        }
    }
}

const UNBOUNDED: Bounds = Bounds { min: f32::NEG_INFINITY, max: f32::INFINITY };

/// The order in which ONNX counts a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Channels first.
    Chw,
    /// As they lie in memory.
    Hwc,
}

#[derive(Clone, Copy)]
struct EdgeValue {
    tensor: usize,
    order: Order,
}

/// The steps of `network`, up to the first operator without a kernel or named in `refused`.
///
/// # Errors
/// [`Error::FirstLayer`] where there is no point to cut at.
pub(crate) fn lower(
    network: &Network,
    refused: &HashMap<String, String>,
) -> Result<Program, Error> {
    let mut lowering = Lowering {
        network,
        readers: network.readers(),
        tensors: vec![EdgeTensor { name: network.input.clone(), shape: network.input_shape() }],
        values: HashMap::from([(
            network.input.as_str(),
            EdgeValue { tensor: 0, order: Order::Chw },
        )]),
        steps: Vec::new(),
        absorbed: HashSet::new(),
        reshaped: HashMap::new(),
    };
    let mut stop = None;
    for (i, node) in network.nodes.iter().enumerate() {
        let result = match refused.get(&node.name) {
            Some(reason) => Err(reason.clone()),
            None => {
                let first = lowering.tensors.len();
                lowering
                    .node(i, node)
                    .and_then(|()| lowering.check_extents(first))
                    .and_then(|()| lowering.check_output(node))
            }
        };
        if let Err(reason) = result {
            stop = Some((i, reason));
            break;
        }
    }
    lowering.finish(stop)
}

struct Lowering<'a> {
    network: &'a Network,
    readers: HashMap<&'a str, Vec<usize>>,
    tensors: Vec<EdgeTensor>,
    values: HashMap<&'a str, EdgeValue>,
    steps: Vec<LowStep>,
    /// Nodes that run inside an earlier one's step.
    absorbed: HashSet<usize>,
    /// Views of a tensor in another shape.
    reshaped: HashMap<(usize, Shape), usize>,
}

impl<'a> Lowering<'a> {
    fn node(&mut self, i: usize, node: &'a Node) -> Result<(), String> {
        if self.absorbed.contains(&i) {
            return Ok(());
        }
        match &node.op {
            Op::Other { reason, .. } => Err(reason.clone()),
            Op::Conv(conv) => {
                let x = self.image(i, &node.inputs[0])?;
                let out = self.image_shape(node.output())?;
                let geometry = ConvGeometry {
                    input: self.tensors[x].shape,
                    output: out,
                    window: window(&conv.window),
                    groups: conv.groups,
                };
                let (clamp, y) = self.fused_clamp(i, node);
                let kind = Kind::Conv { geometry, weights: Weights::Conv(conv.clone()), clamp };
                self.step(i, vec![x], y, out, Order::Chw, kind);
                Ok(())
            }
            Op::Linear(linear) => {
                let value = self.value(&node.inputs[0])?;
                let shape = self.tensors[value.tensor].shape;
                let flattened = value.order == Order::Chw && !is_simple(shape);
                let x = self.reshape(i, value.tensor, Shape::new(1, 1, linear.inputs));
                let (clamp, y) = self.fused_clamp(i, node);
                let geometry = ConvGeometry::fully_connected(linear.inputs, linear.outputs);
                let weights = Weights::Linear(linear.clone(), flattened.then_some(shape));
                let kind = Kind::Conv { geometry, weights, clamp };
                self.step(i, vec![x], y, geometry.output, Order::Chw, kind);
                Ok(())
            }
            Op::Affine { scale, shift } if scale.len() == 1 => {
                let (scale, shift) = (scale[0], shift[0]);
                self.table(i, node, Function::Affine { scale, shift })
            }
            Op::Affine { .. } => Err("a factor for each channel has no kernel here".into()),
            &Op::Clamp { min, max } => self.table(i, node, Function::Clamp(Bounds { min, max })),
            &Op::Unary(unary) => self.table(i, node, Function::Unary(unary)),
            Op::MaxPool(pool) => {
                let geometry = self.pool(i, node, &pool.window)?;
                self.simple(i, node, Kind::MaxPool(geometry))
            }
            Op::AveragePool { pool, count_include_pad } => {
                let geometry = self.pool(i, node, &pool.window)?;
                let count_include_pad = *count_include_pad;
                self.simple(i, node, Kind::AveragePool { geometry, count_include_pad })
            }
            Op::GlobalAveragePool => self.simple(i, node, Kind::GlobalAveragePool),
            Op::Add => {
                let (a, b) = (self.value(&node.inputs[0])?, self.value(&node.inputs[1])?);
                let (sa, sb) = (self.tensors[a.tensor].shape, self.tensors[b.tensor].shape);
                if sa != sb || (a.order != b.order && !is_simple(sa)) {
                    return Err("its two inputs lie in memory in different orders".into());
                }
                let (clamp, y) = self.fused_clamp(i, node);
                let inputs = vec![a.tensor, b.tensor];
                self.step(i, inputs, y, sa, a.order, Kind::Add(clamp));
                Ok(())
            }
            Op::Concat => {
                let inputs = node
                    .inputs
                    .iter()
                    .map(|value| self.image(i, value))
                    .collect::<Result<Vec<_>, _>>()?;
                let out = self.image_shape(node.output())?;
                self.step(i, inputs, node.output(), out, Order::Chw, Kind::Concat);
                Ok(())
            }
            &Op::Lrn { size, alpha, beta, bias } => {
                self.simple(i, node, Kind::Lrn { size, alpha, beta, bias })
            }
            Op::Softmax => self.simple(i, node, Kind::Softmax),
            Op::Reshape => {
                let value = self.value(&node.inputs[0])?;
                self.values.insert(node.output(), value);
                Ok(())
            }
            Op::Transpose(perm) => {
                let value = self.value(&node.inputs[0])?;
                let image = self.network.dims(&node.inputs[0]).is_some_and(|d| d.len() == 4);
                let order = match (value.order, &perm[..]) {
                    (Order::Chw, [0, 2, 3, 1]) if image => Order::Hwc,
                    (Order::Hwc, [0, 3, 1, 2]) if image => Order::Chw,
                    _ => return Err(format!("the permutation {perm:?} has no kernel")),
                };
                self.values.insert(node.output(), EdgeValue { order, ..value });
                Ok(())
            }
            Op::Pad { before, after } => {
                let (before, after) = (channels_last(*before), channels_last(*after));
                self.simple(i, node, Kind::Pad { before, after })
            }
            Op::Slice { start, step } => {
                let (start, step) = (channels_last(*start), channels_last(*step));
                self.simple(i, node, Kind::Slice { start, step })
            }
        }
    }

    /// What a `.seam` file can say about the tensors from index `first` on.
    fn check_extents(&self, first: usize) -> Result<(), String> {
        let large = |t: &&EdgeTensor| {
            let Shape { h, w, c } = t.shape;
            h.max(w).max(c) > MAX_EXTENT || t.shape.len() > MAX_TENSOR_BYTES / 4
        };
        match self.tensors[first..].iter().find(large) {
            Some(t) => Err(format!("a tensor of {} is too large for the edge", t.shape)),
            None => Ok(()),
        }
    }

    /// The network's answer must lie in memory in ONNX's order, or be an image.
    fn check_output(&mut self, node: &Node) -> Result<(), String> {
        if !node.outputs.contains(&self.network.output) {
            return Ok(());
        }
        let Some(value) = self.values.get(node.output()) else { return Ok(()) };
        let shape = self.tensors[value.tensor].shape;
        let dims = self.network.dims(node.output()).unwrap_or_default();
        let image = *dims == [1, shape.c, shape.h, shape.w];
        if value.order == Order::Hwc || is_simple(shape) || image {
            return Ok(());
        }
        Err("the answer is a flattened image, which the edge keeps channels last".into())
    }

    /// One image in, one image out.
    fn simple(&mut self, i: usize, node: &'a Node, kind: Kind) -> Result<(), String> {
        let x = self.image(i, &node.inputs[0])?;
        let out = self.image_shape(node.output())?;
        self.step(i, vec![x], node.output(), out, Order::Chw, kind);
        Ok(())
    }

    fn table(&mut self, i: usize, node: &'a Node, function: Function) -> Result<(), String> {
        let x = self.value(&node.inputs[0])?;
        let shape = self.tensors[x.tensor].shape;
        self.step(i, vec![x.tensor], node.output(), shape, x.order, Kind::Table(function));
        Ok(())
    }

    fn pool(&mut self, i: usize, node: &Node, w: &Sliding) -> Result<PoolGeometry, String> {
        let x = self.image(i, &node.inputs[0])?;
        let output = self.image_shape(node.output())?;
        Ok(PoolGeometry { input: self.tensors[x].shape, output, window: window(w) })
    }

    /// The activation behind node `i` that runs inside its step, and the value that the step writes.
    fn fused_clamp(&mut self, i: usize, node: &'a Node) -> (Bounds, &'a str) {
        if node.output() != self.network.output
            && let Some(&[next]) = self.readers.get(node.output()).map(Vec::as_slice)
            && let Op::Clamp { min, max } = self.network.nodes[next].op
            && next > i
        {
            self.absorbed.insert(next);
            return (Bounds { min, max }, self.network.nodes[next].output());
        }
        (UNBOUNDED, node.output())
    }

    fn step(
        &mut self,
        node: usize,
        inputs: Vec<usize>,
        value: &'a str,
        shape: Shape,
        order: Order,
        kind: Kind,
    ) {
        let output = self.tensors.len();
        self.tensors.push(EdgeTensor { name: value.into(), shape });
        self.values.insert(value, EdgeValue { tensor: output, order });
        let name = self.network.nodes[node].name.clone();
        self.steps.push(LowStep { name, layer: 0, node, inputs, output, kind });
    }

    fn value(&self, name: &str) -> Result<EdgeValue, String> {
        self.values.get(name).copied().ok_or_else(|| format!("its input {name} is not on the edge"))
    }

    fn image_shape(&self, value: &str) -> Result<Shape, String> {
        match self.network.dims(value) {
            Some(&[1, c, h, w]) => Ok(Shape::new(h, w, c)),
            Some(&[1, c]) => Ok(Shape::new(1, 1, c)),
            dims => Err(format!("{value} of shape {dims:?} is no image")),
        }
    }

    /// The tensor of `value`, channels last.
    fn image(&mut self, node: usize, value: &str) -> Result<usize, String> {
        let EdgeValue { tensor, order } = self.value(value)?;
        let (shape, wanted) = (self.tensors[tensor].shape, self.image_shape(value)?);
        if shape == wanted && (order == Order::Chw || is_simple(shape)) {
            return Ok(tensor);
        }
        if is_simple(wanted) && (order == Order::Hwc || is_simple(shape)) {
            return Ok(self.reshape(node, tensor, wanted));
        }
        Err(format!("its input {value} would have to be transposed in memory"))
    }

    /// `tensor` in another shape, its elements in the order of memory.
    fn reshape(&mut self, node: usize, tensor: usize, shape: Shape) -> usize {
        if self.tensors[tensor].shape == shape {
            return tensor;
        }
        if let Some(&view) = self.reshaped.get(&(tensor, shape)) {
            return view;
        }
        let view = self.tensors.len();
        let name = format!("{}.{shape}", self.tensors[tensor].name);
        self.tensors.push(EdgeTensor { name, shape });
        self.reshaped.insert((tensor, shape), view);
        self.steps.push(LowStep {
            name: format!("{}.reshape", self.network.nodes[node].name),
            layer: 0,
            node,
            inputs: vec![tensor],
            output: view,
            kind: Kind::Reshape,
        });
        view
    }

    fn finish(self, stop: Option<(usize, String)>) -> Result<Program, Error> {
        let Lowering { network, mut tensors, values, mut steps, .. } = self;
        let first_off = stop.as_ref().map_or(network.nodes.len(), |(i, _)| *i);
        let layers = layer_graph(network, first_off)?;
        let written = |tensor: usize| steps.iter().position(|s| s.output == tensor);
        let mut candidates: Vec<LowCandidate> = seam_tuner::candidates(&layers)
            .into_iter()
            .filter_map(|candidate| {
                let boundary = values.get(network.nodes[candidate.node].output())?.tensor;
                let steps = written(boundary)? + 1;
                Some(LowCandidate { name: candidate.name, steps, boundary })
            })
            .collect();
        candidates.dedup_by(|b, a| a.steps == b.steps);
        let output = match &stop {
            None => values.get(network.output.as_str()).map(|v| v.tensor),
            Some(_) => None,
        };
        let stop = stop.map(|(i, reason)| {
            let node = &network.nodes[i];
            Stop { node: node.name.clone(), operator: node.operator().into(), reason }
        });
        if let (Some(stop), true) = (&stop, candidates.is_empty()) {
            return Err(Error::FirstLayer {
                node: stop.node.clone(),
                operator: stop.operator.clone(),
                reason: stop.reason.clone(),
            });
        }
        if output.is_none() {
            // Nothing behind the deepest point ever runs.
            steps.truncate(candidates.last().map_or(0, |c| c.steps));
            let used = steps.iter().map(|s| s.output).max().unwrap_or(0) + 1;
            tensors.truncate(used);
        }
        let mut names: Vec<String> = Vec::new();
        for step in &mut steps {
            let name = &layers.nodes()[layers.layer_of(step.node)].name;
            step.layer = names.iter().position(|n| n == name).unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            });
        }
        Ok(Program { tensors, layers: names, steps, candidates, output, stop })
    }
}

/// The network as the candidate rules see it; nodes from `first_off` on do not run on the edge.
fn layer_graph(network: &Network, first_off: usize) -> Result<LayerGraph, Error> {
    let mut writers: HashMap<&str, LayerValue> =
        HashMap::from([(network.input.as_str(), LayerValue::Input)]);
    let mut nodes = Vec::new();
    for (i, node) in network.nodes.iter().enumerate() {
        nodes.push(LayerNode {
            name: node.name.clone(),
            parametric: node.is_parametric(),
            inputs: node.inputs.iter().filter_map(|v| writers.get(v.as_str()).copied()).collect(),
            on_edge: i < first_off,
        });
        writers.extend(node.outputs.iter().map(|o| (o.as_str(), LayerValue::Node(i))));
    }
    let output = match writers.get(network.output.as_str()) {
        Some(LayerValue::Node(i)) => *i,
        _ => nodes.len(),
    };
    Ok(LayerGraph::new(nodes, output)?)
}

/// Channels first and last give the same order.
fn is_simple(shape: Shape) -> bool {
    shape.pixels() == 1 || shape.c == 1
}

fn channels_last([c, h, w]: [usize; 3]) -> [usize; 3] {
    [h, w, c]
}

fn window(w: &Sliding) -> Window {
    Window { kernel: w.kernel, stride: w.stride, dilation: w.dilation, pad: [w.pads[0], w.pads[1]] }
}
