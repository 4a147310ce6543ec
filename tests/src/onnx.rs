//! A small network as ONNX, quantized and stored as `seam quantize` would.

use std::path::{Path, PathBuf};

use seam_compiler::calibrate::calibrate;
use seam_compiler::pb::attribute_proto::AttributeType;
use seam_compiler::pb::tensor_proto::DataType;
use seam_compiler::pb::tensor_shape_proto::{Dimension, dimension::Value as Size};
use seam_compiler::pb::type_proto::{Tensor as TensorType, Value as TypeValue};
use seam_compiler::{Inputs, Method, Network, Options, compile, import_model, pb};
use seam_runtime::preprocess::{Channels, Preprocess};
use seam_runtime::writer;

use crate::nets::Random;

/// Rows and columns of the network's input.
pub const SIDE: usize = 20;

/// Stem with pooling, residual block, pointwise layer, classifier of ten classes; the weights
/// depend on `seed`.
pub fn network(seed: u64) -> pb::ModelProto {
    let mut graph = Builder { random: Random::new(seed), ..Builder::default() };
    graph.conv("conv1", "image", [8, 3, 3, 3]);
    graph.node("Relu", "relu1", &["conv1"], vec![]);
    let window = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    graph.node("MaxPool", "pool1", &["relu1"], window);
    graph.conv("conv2a", "pool1", [8, 8, 3, 3]);
    graph.node("Relu", "relu2a", &["conv2a"], vec![]);
    graph.conv("conv2b", "relu2a", [8, 8, 3, 3]);
    graph.node("Add", "block/res2", &["pool1", "conv2b"], vec![]);
    graph.node("Relu", "relu2", &["block/res2"], vec![]);
    graph.conv("conv3", "relu2", [16, 8, 1, 1]);
    graph.node("Relu", "relu3", &["conv3"], vec![]);
    graph.node("GlobalAveragePool", "pool3", &["relu3"], vec![]);
    graph.node("Flatten", "flat", &["pool3"], vec![]);
    graph.weights("fc.weight", &[10, 16]);
    graph.weights("fc.bias", &[10]);
    let transposed = vec![int("transB", 1)];
    graph.node("Gemm", "fc", &["flat", "fc.weight", "fc.bias"], transposed);
    pb::ModelProto {
        ir_version: 8,
        opset_import: vec![pb::OperatorSetIdProto { version: 13, ..Default::default() }],
        graph: Some(pb::GraphProto {
            name: "small".into(),
            node: graph.nodes,
            initializer: graph.initializers,
            input: vec![value("image", &[1, 3, SIDE, SIDE])],
            output: vec![value("fc", &[1, 10])],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Writes `NAME.seam` and `NAME.onnx` of [`network`]`(seed)` into `folder`.
pub fn quantized(folder: &Path, name: &str, seed: u64) -> PathBuf {
    let network = import_model(network(seed), folder).expect("imports");
    let preprocess = Preprocess {
        scale: 1.0 / 64.0,
        mean: vec![2.0, 1.9, 1.8],
        ..Preprocess::new(Channels::Rgb)
    };
    let images: Vec<Vec<u8>> = (0..8).map(pixels).collect();
    quantize(&network, &preprocess, &images, folder, name)
}

/// Quantizes `network`, calibrated on the pixels of `images`, to `NAME.seam` in `folder` and saves
/// the FP32 network beside it.
pub fn quantize(
    network: &Network,
    preprocess: &Preprocess,
    images: &[Vec<u8>],
    folder: &Path,
    name: &str,
) -> PathBuf {
    let at = |i: usize| Ok(preprocess.to_f32(&images[i]));
    let inputs = Inputs { count: images.len(), at: &at };
    let calibration = calibrate(network, &inputs, Method::MinMax, &|_, _| {}).expect("calibrates");
    let options =
        Options { name: name.into(), preprocess: preprocess.clone(), keep_float: Vec::new() };
    let (graph, data) = compile(network, &calibration, &options).expect("compiles");
    let path = folder.join(format!("{name}.seam"));
    writer::write(&path, &graph, &data).expect("writes");
    network.save(&path.with_extension("onnx")).expect("saves");
    path
}

/// The pixels of an image of the network's size.
pub fn pixels(seed: u64) -> Vec<u8> {
    Random::new(seed).codes(SIDE * SIDE * 3)
}

#[derive(Default)]
struct Builder {
    random: Random,
    nodes: Vec<pb::NodeProto>,
    initializers: Vec<pb::TensorProto>,
}

impl Builder {
    /// A node whose output bears its name.
    fn node(&mut self, op: &str, name: &str, inputs: &[&str], attribute: Vec<pb::AttributeProto>) {
        self.nodes.push(pb::NodeProto {
            op_type: op.into(),
            name: name.into(),
            input: inputs.iter().map(|s| s.to_string()).collect(),
            output: vec![name.into()],
            attribute,
            ..Default::default()
        });
    }

    /// A convolution of stride 1 that keeps the image's size.
    fn conv(&mut self, name: &str, input: &str, shape: [usize; 4]) {
        let (weights, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        self.weights(&weights, &shape);
        self.weights(&bias, &shape[..1]);
        let pad = shape[2] / 2;
        let window = vec![ints("kernel_shape", &shape[2..]), ints("pads", &[pad; 4])];
        self.node("Conv", name, &[input, &weights, &bias], window);
    }

    fn weights(&mut self, name: &str, shape: &[usize]) {
        let inputs: usize = shape[1..].iter().product();
        // Keeps the size of activations from layer to layer.
        let scale = (3.0 / inputs as f32).sqrt();
        let count: usize = shape.iter().product();
        self.initializers.push(pb::TensorProto {
            name: name.into(),
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type: DataType::Float as i32,
            float_data: (0..count).map(|_| self.random.real() * scale).collect(),
            ..Default::default()
        });
    }
}

fn int(name: &str, i: i64) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i,
        ..Default::default()
    }
}

fn ints(name: &str, values: &[usize]) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.iter().map(|&v| v as i64).collect(),
        ..Default::default()
    }
}

fn value(name: &str, shape: &[usize]) -> pb::ValueInfoProto {
    let dim = shape
        .iter()
        .map(|&d| Dimension { value: Some(Size::DimValue(d as i64)), ..Default::default() })
        .collect();
    let tensor =
        TensorType { elem_type: DataType::Float as i32, shape: Some(pb::TensorShapeProto { dim }) };
    pb::ValueInfoProto {
        name: name.into(),
        r#type: Some(pb::TypeProto {
            value: Some(TypeValue::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
