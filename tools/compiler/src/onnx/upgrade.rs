//! Nodes of operator sets 9 to 12 in the form that set 13 gives them, so that parser and tails know
//! one form.

use crate::network::{Constant, Data};
use crate::onnx::tensor;
use crate::pb::{self, attribute_proto::AttributeType};

/// Rewrites `graph`, whose nodes follow operator set `opset`.
pub(crate) fn upgrade(graph: &mut pb::GraphProto, opset: i64) {
    if opset >= 13 {
        return;
    }
    for mut node in std::mem::take(&mut graph.node) {
        match node.op_type.as_str() {
            "Clip" if opset < 11 => {
                let bound = |name| find(&node, name).map(|a| a.f);
                let (min, max) = (bound("min"), bound("max"));
                for (name, value) in [("min", min), ("max", max)] {
                    let input = value.map_or(String::new(), |x| {
                        initializer(graph, &node, name, Data::F32(vec![x]), vec![])
                    });
                    node.input.push(input);
                }
                node.attribute.clear();
            }
            "Pad" if opset < 11 => {
                let value = find(&node, "value").map_or(0.0, |a| a.f);
                attribute_to_input(graph, &mut node, "pads", 1);
                let value = initializer(graph, &node, "value", Data::F32(vec![value]), vec![]);
                node.input.push(value);
                node.attribute.retain(|a| a.name != "value");
            }
            "Slice" if opset < 10 => {
                attribute_to_input(graph, &mut node, "starts", 1);
                attribute_to_input(graph, &mut node, "ends", 2);
                attribute_to_input(graph, &mut node, "axes", 3);
            }
            "Squeeze" | "Unsqueeze" | "ReduceSum" => {
                attribute_to_input(graph, &mut node, "axes", 1);
            }
            "Split" => attribute_to_input(graph, &mut node, "split", 1),
            "Dropout" if opset < 12 => node.attribute.clear(),
            "Upsample" | "Resize" if opset < 11 => {
                node.op_type = "Resize".into();
                node.input.insert(1, String::new());
                set_string(&mut node, "coordinate_transformation_mode", "asymmetric");
                set_string(&mut node, "nearest_mode", "floor");
            }
            "Softmax" | "LogSoftmax" => {
                graph.node.extend(flattened_softmax(node));
                continue;
            }
            _ => {}
        }
        graph.node.push(node);
    }
}

/// Before set 13 the softmax ran over all axes from `axis` on, taken as one.
fn flattened_softmax(node: pb::NodeProto) -> [pb::NodeProto; 4] {
    let axis = find(&node, "axis").map_or(1, |a| a.i);
    let (x, y) = (first(&node.input), first(&node.output));
    let name = if node.name.is_empty() { y.clone() } else { node.name.clone() };
    let [flat, answer, shape] = ["flat", "answer", "shape"].map(|s| format!("{y}.{s}"));
    let make = |op: &str, suffix: &str, input: Vec<String>, output: &str, axis: Option<i64>| {
        pb::NodeProto {
            op_type: op.into(),
            name: format!("{name}{suffix}"),
            input,
            output: vec![output.into()],
            attribute: axis.map(int_axis).into_iter().collect(),
            ..Default::default()
        }
    };
    [
        make("Flatten", ".flatten", vec![x.clone()], &flat, Some(axis)),
        make(&node.op_type, "", vec![flat.clone()], &answer, Some(-1)),
        make("Shape", ".shape", vec![x], &shape, None),
        make("Reshape", ".reshape", vec![answer.clone(), shape.clone()], &y, None),
    ]
}

fn first(values: &[String]) -> String {
    values.first().cloned().unwrap_or_default()
}

fn int_axis(axis: i64) -> pb::AttributeProto {
    pb::AttributeProto {
        name: "axis".into(),
        r#type: AttributeType::Int as i32,
        i: axis,
        ..Default::default()
    }
}

fn set_string(node: &mut pb::NodeProto, name: &str, value: &str) {
    node.attribute.push(pb::AttributeProto {
        name: name.into(),
        r#type: AttributeType::String as i32,
        s: value.into(),
        ..Default::default()
    });
}

fn find<'a>(node: &'a pb::NodeProto, name: &str) -> Option<&'a pb::AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// Makes the list attribute `name` the node's input number `index`.
fn attribute_to_input(
    graph: &mut pb::GraphProto,
    node: &mut pb::NodeProto,
    name: &str,
    index: usize,
) {
    let Some(values) = find(node, name).map(|a| a.ints.clone()) else { return };
    let dims = vec![values.len()];
    let input = initializer(graph, node, name, Data::I64(values), dims);
    node.attribute.retain(|a| a.name != name);
    node.input.resize(index.max(node.input.len()), String::new());
    node.input.push(input);
}

/// Adds an initializer named after the node's output; its name.
fn initializer(
    graph: &mut pb::GraphProto,
    node: &pb::NodeProto,
    name: &str,
    data: Data,
    dims: Vec<usize>,
) -> String {
    let name = format!("{}.{name}", first(&node.output));
    graph.initializer.push(tensor::encode(&name, &Constant { dims, data }));
    name
}
