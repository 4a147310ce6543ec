//! From a [`Network`] to ONNX: every typed operator in the form that holds from operator set 13 on.

use std::path::Path;

use prost::Message;

use super::tensor;
use crate::network::{Constant, Data, Network, Node, Op, Pool, Sliding, Unary};
use crate::pb::attribute_proto::AttributeType;
use crate::pb::tensor_proto::DataType;
use crate::pb::tensor_shape_proto::{Dimension, dimension::Value};
use crate::{Error, pb};

impl Network {
    /// The network as an ONNX model.
    pub fn to_model(&self) -> pb::ModelProto {
        let mut graph = Exporter::default();
        for node in &self.nodes {
            graph.node(self, node);
        }
        graph.constants(self);
        let input = float_info(&self.input, &self.shapes[&self.input]);
        let mut model = model(graph.finish(&self.name, vec![input], self), self.opset);
        model.metadata_props = self
            .metadata
            .iter()
            .map(|(k, v)| pb::StringStringEntryProto { key: k.clone(), value: v.clone() })
            .collect();
        model
    }

    /// Writes the network as an ONNX file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        save(&self.to_model(), path)
    }
}

/// Writes a model, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn save(model: &pb::ModelProto, path: &Path) -> Result<(), Error> {
    Ok(seam_runtime::writer::write_file(path, &model.encode_to_vec())?)
}

/// A model of one graph.
pub(crate) fn model(graph: pb::GraphProto, opset: i64) -> pb::ModelProto {
    // The first format version that knows each operator set.
    let ir_version = match opset {
        ..=13 => 7,
        14..=18 => 8,
        19..=20 => 9,
        _ => 10,
    };
    pb::ModelProto {
        ir_version,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: opset }],
        producer_name: "seam".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        ..Default::default()
    }
}

/// A declared value of floats.
pub(crate) fn float_info(name: &str, dims: &[usize]) -> pb::ValueInfoProto {
    info(name, DataType::Float, Some(dims))
}

/// A declared value.
pub(crate) fn info(name: &str, kind: DataType, dims: Option<&[usize]>) -> pb::ValueInfoProto {
    let dimension =
        |&d: &usize| Dimension { value: Some(Value::DimValue(d as i64)), ..Default::default() };
    let shape = dims.map(|d| pb::TensorShapeProto { dim: d.iter().map(dimension).collect() });
    let tensor = pb::type_proto::Tensor { elem_type: kind as i32, shape };
    pb::ValueInfoProto {
        name: name.into(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A graph being written.
#[derive(Default)]
pub(crate) struct Exporter {
    pub(crate) graph: pb::GraphProto,
}

impl Exporter {
    /// Writes the protobuf nodes of `node`.
    pub(crate) fn node(&mut self, network: &Network, node: &Node) {
        let (x, y, name) = (&node.inputs[0], node.output(), &node.name);
        let inputs: Vec<&str> = node.inputs.iter().map(String::as_str).collect();
        match &node.op {
            Op::Conv(conv) => {
                let weights = self.floats(y, "weight", &conv.dims, &conv.weights);
                let bias = self.floats(y, "bias", &[conv.bias.len()], &conv.bias);
                let mut attributes = window(&conv.window);
                attributes.push(int("group", conv.groups as i64));
                self.push("Conv", name, &[x, &weights, &bias], y, attributes);
            }
            Op::Linear(linear) => {
                let dims = [linear.outputs, linear.inputs];
                let weights = self.floats(y, "weight", &dims, &linear.weights);
                let bias = self.floats(y, "bias", &[linear.bias.len()], &linear.bias);
                self.push("Gemm", name, &[x, &weights, &bias], y, vec![int("transB", 1)]);
            }
            Op::Affine { scale, shift } => {
                let rank = network.dims(y).map_or(1, <[usize]>::len);
                let mut dims = vec![1; rank];
                if scale.len() > 1 {
                    dims[1] = scale.len();
                }
                let scale = self.floats(y, "scale", &dims, scale);
                let shift = self.floats(y, "shift", &dims, shift);
                let scaled = format!("{y}::scaled");
                self.push("Mul", &format!("{name}.scale"), &[x, &scale], &scaled, vec![]);
                self.push("Add", name, &[&scaled, &shift], y, vec![]);
            }
            &Op::Clamp { min, max } => {
                if (min, max) == (0.0, f32::INFINITY) {
                    return self.push("Relu", name, &[x], y, vec![]);
                }
                let mut bound = |what: &str, value: f32| match value.is_finite() {
                    true => self.floats(y, what, &[], &[value]),
                    false => String::new(),
                };
                let (min, max) = (bound("min", min), bound("max", max));
                self.push("Clip", name, &[x, &min, &max], y, vec![]);
            }
            &Op::Unary(Unary::LeakyRelu { alpha }) => {
                self.push("LeakyRelu", name, &[x], y, vec![float("alpha", alpha)]);
            }
            &Op::Unary(Unary::HardSigmoid { alpha, beta }) => {
                let attributes = vec![float("alpha", alpha), float("beta", beta)];
                self.push("HardSigmoid", name, &[x], y, attributes);
            }
            Op::Unary(Unary::HardSwish) => {
                let gate = format!("{y}::gate");
                let attributes = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
                self.push("HardSigmoid", &format!("{name}.gate"), &[x], &gate, attributes);
                self.push("Mul", name, &[x, &gate], y, vec![]);
            }
            Op::MaxPool(p) => self.push("MaxPool", name, &[x], y, pool(p)),
            Op::AveragePool { pool: p, count_include_pad } => {
                let mut attributes = pool(p);
                // Dilation of average pools came with operator set 19.
                if p.window.dilation == [1, 1] {
                    attributes.retain(|a| a.name != "dilations");
                }
                attributes.push(int("count_include_pad", i64::from(*count_include_pad)));
                self.push("AveragePool", name, &[x], y, attributes);
            }
            Op::Concat => self.push("Concat", name, &inputs, y, vec![int("axis", 1)]),
            &Op::Lrn { size, alpha, beta, bias } => {
                let attributes = vec![
                    int("size", i64::from(size)),
                    float("alpha", alpha),
                    float("beta", beta),
                    float("bias", bias),
                ];
                self.push("LRN", name, &[x], y, attributes);
            }
            Op::Softmax => self.push("Softmax", name, &[x], y, vec![int("axis", 1)]),
            Op::Reshape => {
                let dims: Vec<i64> = network.shapes[y].iter().map(|&d| d as i64).collect();
                let shape = self.ints(y, "shape", dims);
                self.push("Reshape", name, &[x, &shape], y, vec![]);
            }
            Op::Transpose(perm) => {
                let perm = perm.iter().map(|&a| a as i64).collect();
                self.push("Transpose", name, &[x], y, vec![int_list("perm", perm)]);
            }
            Op::Pad { before, after } => {
                let mut pads = vec![0i64];
                pads.extend(before.iter().map(|&p| p as i64));
                pads.push(0);
                pads.extend(after.iter().map(|&p| p as i64));
                let pads = self.ints(y, "pads", pads);
                self.push("Pad", name, &[x, &pads], y, vec![]);
            }
            Op::Slice { start, step } => {
                let out = &network.shapes[y];
                let axes: Vec<i64> = (1..out.len() as i64).collect();
                let n = axes.len();
                let starts: Vec<i64> = start[..n].iter().map(|&s| s as i64).collect();
                let steps: Vec<i64> = step[..n].iter().map(|&s| s as i64).collect();
                let ends =
                    (0..n).map(|i| starts[i] + (out[i + 1] as i64 - 1) * steps[i] + 1).collect();
                let starts = self.ints(y, "starts", starts);
                let ends = self.ints(y, "ends", ends);
                let axes = self.ints(y, "axes", axes);
                let steps = self.ints(y, "steps", steps);
                self.push("Slice", name, &[x, &starts, &ends, &axes, &steps], y, vec![]);
            }
            Op::Other { proto, .. } => self.graph.node.push((**proto).clone()),
            Op::Unary(Unary::Sigmoid | Unary::Tanh) | Op::GlobalAveragePool | Op::Add => {
                self.push(node.operator(), name, &inputs, y, vec![]);
            }
        }
    }

    /// Writes the constants that the nodes so far read by name.
    pub(crate) fn constants(&mut self, network: &Network) {
        for (name, constant) in &network.constants {
            if self.graph.node.iter().any(|n| n.input.contains(name)) {
                self.graph.initializer.push(tensor::encode(name, constant));
            }
        }
    }

    /// The graph from `input` to the network's output.
    pub(crate) fn finish(
        mut self,
        name: &str,
        input: Vec<pb::ValueInfoProto>,
        network: &Network,
    ) -> pb::GraphProto {
        self.graph.name = if name.is_empty() { "network".into() } else { name.into() };
        self.graph.input = input;
        self.graph.output = vec![info(&network.output, DataType::Float, network.output_dims())];
        self.graph
    }

    pub(crate) fn push(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<pb::AttributeProto>,
    ) {
        let used = inputs.iter().rposition(|i| !i.is_empty()).map_or(0, |i| i + 1);
        self.graph.node.push(pb::NodeProto {
            op_type: operator.into(),
            name: name.into(),
            input: inputs[..used].iter().map(|&i| i.into()).collect(),
            output: vec![output.into()],
            attribute,
            ..Default::default()
        });
    }

    /// Adds an initializer named after the value `of`; its name.
    pub(crate) fn floats(&mut self, of: &str, what: &str, dims: &[usize], x: &[f32]) -> String {
        self.initializer(of, what, Constant { dims: dims.into(), data: Data::F32(x.into()) })
    }

    pub(crate) fn ints(&mut self, of: &str, what: &str, x: Vec<i64>) -> String {
        self.initializer(of, what, Constant { dims: vec![x.len()], data: Data::I64(x) })
    }

    fn initializer(&mut self, of: &str, what: &str, constant: Constant) -> String {
        let name = format!("{of}::{what}");
        self.graph.initializer.push(tensor::encode(&name, &constant));
        name
    }
}

fn window(w: &Sliding) -> Vec<pb::AttributeProto> {
    let list = |v: &[usize]| v.iter().map(|&x| x as i64).collect();
    vec![
        int_list("kernel_shape", list(&w.kernel)),
        int_list("strides", list(&w.stride)),
        int_list("dilations", list(&w.dilation)),
        int_list("pads", list(&w.pads)),
    ]
}

fn pool(pool: &Pool) -> Vec<pb::AttributeProto> {
    let mut attributes = window(&pool.window);
    attributes.push(int("ceil_mode", i64::from(pool.ceil_mode)));
    attributes
}

pub(crate) fn int(name: &str, i: i64) -> pb::AttributeProto {
    let name = name.into();
    pb::AttributeProto { name, i, r#type: AttributeType::Int as i32, ..Default::default() }
}

fn float(name: &str, f: f32) -> pb::AttributeProto {
    let name = name.into();
    pb::AttributeProto { name, f, r#type: AttributeType::Float as i32, ..Default::default() }
}

pub(crate) fn int_list(name: &str, ints: Vec<i64>) -> pb::AttributeProto {
    let name = name.into();
    pb::AttributeProto { name, ints, r#type: AttributeType::Ints as i32, ..Default::default() }
}
