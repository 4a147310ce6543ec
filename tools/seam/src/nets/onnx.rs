//! A network with seeded weights, as ONNX.
//!
//! Weights are drawn so that activations keep a size of about 1: every convolution has the variance
//! that a ReLU in front of it needs, and every BatchNormalization the mean square that its input is
//! expected to have.

use seam_compiler::pb::attribute_proto::AttributeType;
use seam_compiler::pb::tensor_proto::DataType;
use seam_compiler::pb::tensor_shape_proto::{Dimension, dimension};
use seam_compiler::pb::type_proto;
use seam_compiler::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use seam_kernels::Shape;
use seam_runtime::preprocess::Pixels;
use seam_tuner::layer_graph::Value;

use super::{Net, Node, Op, Window};

/// From an image to each network's input: Caffe's channel means, no scale.
pub(crate) const PREPROCESS: &str = "channels:BGR,scale:1,mean:104:117:123,std:1:1:1";

const SEED: u64 = 2012;
/// Mean square of the values that the first layer reads: pixels less their mean.
const INPUT_MEAN_SQUARE: f32 = 73.6 * 73.6;

/// The network as an ONNX model of operator set 13.
pub(super) fn model(net: &Net) -> ModelProto {
    let mut writer =
        Writer { net, graph: GraphProto::default(), noise: Noise(SEED), mean_squares: Vec::new() };
    net.nodes.iter().for_each(|node| writer.node(node));
    writer.finish()
}

/// `count` images of seeded noise in the network's size, to calibrate with.
pub(crate) fn images(net: &Net, count: usize) -> Vec<Pixels> {
    let mut noise = Noise(SEED ^ 0xca11_b7a7e);
    let Shape { h, w, c } = net.input;
    let image = |_| Pixels {
        height: h,
        width: w,
        channels: c,
        data: (0..net.input.len()).map(|_| (noise.next() >> 56) as u8).collect(),
    };
    (0..count).map(image).collect()
}

struct Writer<'a> {
    net: &'a Net,
    graph: GraphProto,
    noise: Noise,
    /// Expected mean square of what each node writes.
    mean_squares: Vec<f32>,
}

impl Writer<'_> {
    fn node(&mut self, node: &Node) {
        let mean_square = |value| match value {
            Value::Input => INPUT_MEAN_SQUARE,
            Value::Node(i) => self.mean_squares[i],
        };
        let (first, seen) = (node.inputs[0], mean_square(node.inputs[0]));
        let sum: f32 = node.inputs.iter().map(|&input| mean_square(input)).sum();
        let channels = self.net.shape(first).c as i64;
        let outputs = node.output.c as i64;
        let (operator, constants, attributes, written) = match node.op {
            Op::Conv { window, groups, bias } => {
                let kernel = window.kernel as i64;
                let dims = [outputs, channels / groups as i64, kernel, kernel];
                let (constants, written) = self.layer(node, &dims, bias, seen);
                let attributes = [window_attributes(window), vec![int("group", groups as i64)]];
                ("Conv", constants, attributes.concat(), written)
            }
            Op::FullyConnected => {
                let (constants, written) = self.layer(node, &[outputs, channels], true, seen);
                ("Gemm", constants, vec![int("transB", 1)], written)
            }
            Op::BatchNorm => {
                let constants = self.normalization(node, seen);
                ("BatchNormalization", constants, vec![float("epsilon", 1e-5)], 1.0)
            }
            Op::Relu => ("Relu", Vec::new(), Vec::new(), seen / 2.0),
            Op::Lrn => {
                let attributes = [("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)];
                let attributes = attributes.map(|(name, value)| float(name, value));
                ("LRN", Vec::new(), [&[int("size", 5)], &attributes[..]].concat(), seen)
            }
            Op::MaxPool(window) => {
                let attributes = [window_attributes(window), vec![int("ceil_mode", 1)]];
                ("MaxPool", Vec::new(), attributes.concat(), seen)
            }
            Op::AveragePool => ("GlobalAveragePool", Vec::new(), Vec::new(), seen / 2.0),
            Op::Add => ("Add", Vec::new(), Vec::new(), sum),
            Op::Concat => {
                ("Concat", Vec::new(), vec![int("axis", 1)], sum / node.inputs.len() as f32)
            }
            Op::Flatten => ("Flatten", Vec::new(), vec![int("axis", 1)], seen),
            Op::Softmax => ("Softmax", Vec::new(), vec![int("axis", 1)], 0.0),
        };
        self.mean_squares.push(written);
        let read = node.inputs.iter().map(|&input| self.net.tensor(input).to_string());
        self.graph.node.push(NodeProto {
            name: node.name.clone(),
            op_type: operator.into(),
            input: read.chain(constants).collect(),
            output: vec![node.name.clone()],
            attribute: attributes,
            ..Default::default()
        });
    }

    /// Weights of variance `2 / fan-in` and small biases: their names, and the mean square of what
    /// the layer writes. The first layer also brings pixels to a size of 1.
    fn layer(&mut self, node: &Node, dims: &[i64], bias: bool, seen: f32) -> (Vec<String>, f32) {
        let fan_in: i64 = dims[1..].iter().product();
        let size = if node.inputs[0] == Value::Input { INPUT_MEAN_SQUARE.sqrt() } else { 1.0 };
        let deviation = (2.0 / fan_in as f32).sqrt() / size;
        let mut names = vec![self.drawn(format!("{}.weight", node.name), dims, deviation)];
        if bias {
            names.push(self.drawn(format!("{}.bias", node.name), &dims[..1], 0.1));
        }
        (names, 2.0 * seen / (size * size))
    }

    /// Scale, shift, mean and variance of every channel; the names.
    fn normalization(&mut self, node: &Node, mean_square: f32) -> Vec<String> {
        let dims = [node.output.c as i64];
        let name = |part: &str| format!("{}.{part}", node.name);
        vec![
            self.constant(name("scale"), &dims, |_| 1.0),
            self.drawn(name("shift"), &dims, 0.1),
            self.drawn(name("mean"), &dims, 0.1 * mean_square.sqrt()),
            self.constant(name("variance"), &dims, |_| mean_square),
        ]
    }

    /// Uniformly distributed values of that deviation.
    fn drawn(&mut self, name: String, dims: &[i64], deviation: f32) -> String {
        let half_width = deviation * 3f32.sqrt();
        self.constant(name, dims, |noise| noise.unit() * half_width)
    }

    fn constant(
        &mut self,
        name: String,
        dims: &[i64],
        mut value: impl FnMut(&mut Noise) -> f32,
    ) -> String {
        let count: i64 = dims.iter().product();
        let mut raw_data = Vec::with_capacity(count as usize * 4);
        for _ in 0..count {
            raw_data.extend(value(&mut self.noise).to_le_bytes());
        }
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            dims: dims.to_vec(),
            data_type: DataType::Float as i32,
            raw_data,
            ..Default::default()
        });
        name
    }

    fn finish(mut self) -> ModelProto {
        let Shape { h, w, c } = self.net.input;
        let last = &self.net.nodes[self.net.nodes.len() - 1];
        self.graph.name = self.net.name.into();
        self.graph.input = vec![info("data", &[1, c as i64, h as i64, w as i64])];
        self.graph.output = vec![info(&last.name, &[1, last.output.c as i64])];
        ModelProto {
            ir_version: 7,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 13 }],
            producer_name: "seam".into(),
            graph: Some(self.graph),
            ..Default::default()
        }
    }
}

fn window_attributes(Window { kernel, stride, pad }: Window) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &[kernel as i64; 2]),
        ints("strides", &[stride as i64; 2]),
        ints("pads", &[pad as i64; 4]),
    ]
}

fn int(name: &str, i: i64) -> AttributeProto {
    let r#type = AttributeType::Int as i32;
    AttributeProto { name: name.into(), i, r#type, ..Default::default() }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    AttributeProto { name: name.into(), ints: ints.to_vec(), r#type, ..Default::default() }
}

fn float(name: &str, f: f32) -> AttributeProto {
    let r#type = AttributeType::Float as i32;
    AttributeProto { name: name.into(), f, r#type, ..Default::default() }
}

fn info(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim =
        |&d: &i64| Dimension { value: Some(dimension::Value::DimValue(d)), ..Default::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    let r#type =
        TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}

/// SplitMix64: the same numbers everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in −1..1.
    fn unit(&mut self) -> f32 {
        ((self.next() >> 40) as i32 - (1 << 23)) as f32 / (1 << 23) as f32
    }
}
