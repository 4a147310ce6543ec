//! The tail behind a point as an ONNX file of its own.

use std::collections::HashSet;

use seam_runtime::graph::{Element, Graph, Point};

use crate::network::Op;
use crate::onnx::export::{self, Exporter, int, int_list};
use crate::pb::tensor_proto::DataType;
use crate::{Error, Network, pb};

/// The FP32 tail of `network` behind `point`, operator set 13 or later.
///
/// Behind a candidate its input is the boundary's u8 tensor `[1, h, w, c]`, which goes through
/// DequantizeLinear and a Transpose to NCHW (a tensor kept in float: f16, which goes through a
/// Cast). At `input` it is the cropped and resized pixels, u8 `[1, h, w, c]`, which are normalised.
///
/// # Errors
/// `point` is `output`, or `graph` names a tensor that `network` lacks.
pub fn cut(network: &Network, graph: &Graph, point: Point) -> Result<pb::ModelProto, Error> {
    let (id, value) = match point {
        Point::Output => return Err(Error::NoTail),
        Point::Input => (graph.input, network.input.clone()),
        Point::Candidate(i) => {
            let id = graph.candidates[i].boundary;
            (id, graph.tensor(id).name.clone())
        }
    };
    let tensor = graph.tensor(id);
    let Some(dims) = network.dims(&value) else { return Err(Error::OtherNetwork(value)) };
    let shape = tensor.shape;
    // The input bears the tensor's name: requests name it so, whoever serves the tail.
    let input = value.clone();
    let [reals, image, inner] = ["reals", "nchw", "inner"].map(|s| format!("{value}::{s}"));
    let mut tail = Exporter::default();
    let element = match (point, tensor.element) {
        (Point::Input, _) => {
            normalise(&mut tail, graph, &input, &reals);
            DataType::Uint8
        }
        (_, Element::U8 { scale, zero_point }) => {
            let scale = tail.floats(&value, "step", &[], &[scale]);
            let zero = format!("{value}::zero_point");
            tail.graph.initializer.push(pb::TensorProto {
                name: zero.clone(),
                data_type: DataType::Uint8 as i32,
                raw_data: vec![zero_point],
                ..Default::default()
            });
            tail.push("DequantizeLinear", "dequantize", &[&input, &scale, &zero], &reals, vec![]);
            DataType::Uint8
        }
        (_, Element::F32) => {
            let to = int("to", DataType::Float as i64);
            tail.push("Cast", "widen", &[&input], &reals, vec![to]);
            DataType::Float16
        }
    };
    let perm = int_list("perm", vec![0, 3, 1, 2]);
    if *dims == [1, shape.c, shape.h, shape.w] {
        tail.push("Transpose", "channels_first", &[&reals], &inner, vec![perm]);
    } else {
        tail.push("Transpose", "channels_first", &[&reals], &image, vec![perm]);
        let target = tail.ints(&value, "dims", dims.iter().map(|&d| d as i64).collect());
        tail.push("Reshape", "as_declared", &[&image, &target], &inner, vec![]);
    }
    write_between(network, [&value, &network.output], &inner, &mut tail);
    let nhwc = [1, shape.h, shape.w, shape.c];
    let info = export::info(&input, element, Some(&nhwc));
    let name = format!("{}@{}", graph.name, graph.point_name(point));
    Ok(export::model(tail.finish(&name, vec![info], network), network.opset))
}

/// The part of the network from the reals of the value `from` to those of `to`.
pub(crate) fn between(network: &Network, from: &str, to: &str) -> pb::ModelProto {
    let mut part = Exporter::default();
    write_between(network, [from, to], from, &mut part);
    let input = export::float_info(from, network.dims(from).unwrap_or_default());
    let mut graph = part.finish(to, vec![input], network);
    graph.output = vec![pb::ValueInfoProto { name: to.into(), ..Default::default() }];
    export::model(graph, network.opset)
}

/// Writes the nodes that `to` depends on, back to the value `from`, which they read as `inner`.
fn write_between(network: &Network, [from, to]: [&str; 2], inner: &str, part: &mut Exporter) {
    let mut needed = HashSet::from([to]);
    let mut live = Vec::new();
    for node in network.nodes.iter().rev() {
        if node.outputs.iter().any(|o| o != from && needed.contains(o.as_str())) {
            needed.extend(node.inputs.iter().map(String::as_str));
            let mut node = node.clone();
            let protos = match &mut node.op {
                Op::Other { proto, .. } => proto.input.as_mut_slice(),
                _ => &mut [],
            };
            for input in node.inputs.iter_mut().chain(protos).filter(|i| *i == from) {
                *input = inner.into();
            }
            live.push(node);
        }
    }
    live.iter().rev().for_each(|node| part.node(network, node));
    part.constants(network);
}

/// Pixels → `(pixel * scale - mean) / std`, channels last.
fn normalise(tail: &mut Exporter, graph: &Graph, input: &str, output: &str) {
    let p = &graph.preprocess;
    let [cast, scaled, centred] = ["cast", "scaled", "centred"].map(|s| format!("{output}.{s}"));
    tail.push("Cast", "widen", &[input], &cast, vec![int("to", DataType::Float as i64)]);
    let scale = tail.floats(output, "scale", &[], &[p.scale]);
    tail.push("Mul", "scale", &[&cast, &scale], &scaled, vec![]);
    let mean = tail.floats(output, "mean", &[p.mean.len()], &p.mean);
    tail.push("Sub", "centre", &[&scaled, &mean], &centred, vec![]);
    let std = tail.floats(output, "std", &[p.std.len()], &p.std);
    tail.push("Div", "normalise", &[&centred, &std], output, vec![]);
}
