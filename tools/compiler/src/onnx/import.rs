//! From an ONNX file to a [`Network`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use prost::Message;

use super::evaluate::{self, Operand};
use super::operator::{Parsed, Reader};
use super::{tensor, upgrade};
use crate::network::{Constant, Network, Node, Op};
use crate::pb::tensor_proto::DataType;
use crate::pb::tensor_shape_proto::dimension::Value as Dimension;
use crate::{Error, pb};

/// The operator sets whose forms the parser knows.
const OPSETS: std::ops::RangeInclusive<i64> = 9..=22;

/// Reads the file and its external data; nothing is folded but constants.
pub(crate) fn read(path: &Path) -> Result<Network, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let malformed = |reason: String| Error::Malformed { path: path.into(), reason };
    let model = pb::ModelProto::decode(bytes.as_slice()).map_err(|e| malformed(e.to_string()))?;
    drop(bytes);
    if model.graph.as_ref().is_none_or(|graph| graph.node.is_empty()) {
        return Err(malformed("it holds no graph".into()));
    }
    from_model(model, path.parent().unwrap_or(Path::new(".")))
}

/// The network of a decoded file whose external data lie in `dir`.
pub(crate) fn from_model(model: pb::ModelProto, dir: &Path) -> Result<Network, Error> {
    let standard = |d: &str| d.is_empty() || d == "ai.onnx";
    let opset = model.opset_import.iter().find(|o| standard(&o.domain)).map_or(0, |o| o.version);
    if !OPSETS.contains(&opset) {
        return Err(Error::Opset(opset));
    }
    let mut graph = model.graph.unwrap_or_default();
    upgrade::upgrade(&mut graph, opset);
    let mut constants = BTreeMap::new();
    for proto in std::mem::take(&mut graph.initializer) {
        let constant = Arc::new(tensor::decode(&proto, dir)?);
        if constants.insert(proto.name.clone(), constant).is_some() {
            return Err(Error::WrittenTwice(proto.name));
        }
    }
    graph.input.retain(|input| !constants.contains_key(&input.name));
    let input = single("input", &graph.input)?;
    let output = single("output", &graph.output)?.name.clone();
    let dims = input_dims(input)?;
    let mut importer = Importer {
        network: Network {
            name: graph.name.clone(),
            opset: opset.max(13),
            input: input.name.clone(),
            output,
            nodes: Vec::new(),
            shapes: HashMap::from([(input.name.clone(), dims)]),
            constants,
            metadata: model.metadata_props.into_iter().map(|e| (e.key, e.value)).collect(),
        },
        aliases: HashMap::new(),
        activations: HashSet::from([input.name.clone()]),
        names: HashSet::from(["input".into(), "output".into()]),
    };
    for node in &graph.node {
        importer.add(node, &graph.node)?;
    }
    importer.finish()
}

fn single<'a>(
    what: &'static str,
    values: &'a [pb::ValueInfoProto],
) -> Result<&'a pb::ValueInfoProto, Error> {
    match values {
        [value] => Ok(value),
        _ => {
            let names: Vec<_> = values.iter().map(|v| v.name.as_str()).collect();
            Err(Error::NotSingle { what, count: values.len(), names: names.join(", ") })
        }
    }
}

/// Dimensions of the network's input: a batch of one image in floats.
fn input_dims(info: &pb::ValueInfoProto) -> Result<Vec<usize>, Error> {
    let wrong = |shape: &str| Error::InputShape { name: info.name.clone(), shape: shape.into() };
    let Some(pb::type_proto::Value::TensorType(tensor)) =
        info.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(wrong("unknown"));
    };
    match DataType::try_from(tensor.elem_type) {
        Ok(DataType::Float | DataType::Float16 | DataType::Double) => {}
        other => return Err(wrong(other.map_or("of unknown type", |t| t.as_str_name()))),
    }
    let shape = tensor.shape.as_ref().ok_or_else(|| wrong("unknown"))?;
    let text = |d: &pb::tensor_shape_proto::Dimension| match &d.value {
        Some(Dimension::DimValue(n)) => n.to_string(),
        Some(Dimension::DimParam(symbol)) if !symbol.is_empty() => symbol.clone(),
        _ => "?".into(),
    };
    let written = shape.dim.iter().map(text).collect::<Vec<_>>().join("x");
    if shape.dim.len() != 4 {
        return Err(wrong(&written));
    }
    let mut dims = vec![1];
    match &shape.dim[0].value {
        Some(Dimension::DimValue(n)) if *n > 1 => return Err(wrong(&written)),
        _ => {}
    }
    for (axis, dimension) in shape.dim.iter().enumerate().skip(1) {
        match &dimension.value {
            Some(Dimension::DimValue(n)) if *n > 0 => {
                dims.push(usize::try_from(*n).map_err(|_| wrong(&written))?);
            }
            _ => {
                return Err(Error::DynamicDimension {
                    name: info.name.clone(),
                    axis,
                    dimension: text(dimension),
                });
            }
        }
    }
    tensor::elements(&info.name, &dims)?;
    Ok(dims)
}

struct Importer {
    network: Network,
    /// Values that are another value: outputs of Identity, Dropout and views that change nothing.
    aliases: HashMap<String, String>,
    /// Values that depend on the input.
    activations: HashSet<String>,
    /// Names of nodes, and the two points that are no nodes.
    names: HashSet<String>,
}

impl Importer {
    fn add(&mut self, proto: &pb::NodeProto, all: &[pb::NodeProto]) -> Result<(), Error> {
        let mut proto = proto.clone();
        let given = match proto.name.is_empty() {
            true => proto.output.first().cloned().unwrap_or_default(),
            false => proto.name.clone(),
        };
        for input in &mut proto.input {
            if let Some(value) = self.aliases.get(input) {
                *input = value.clone();
            }
            if input.is_empty()
                || self.activations.contains(input)
                || self.network.constants.contains_key(input)
            {
                continue;
            }
            let (node, value) = (given.clone(), input.clone());
            return Err(match all.iter().any(|n| n.output.contains(input)) {
                true => Error::NotSorted { node, value },
                false => Error::MissingInitializer { node, value },
            });
        }
        while proto.input.last().is_some_and(String::is_empty) {
            proto.input.pop();
        }
        let outputs: Vec<String> = proto.output.iter().filter(|o| !o.is_empty()).cloned().collect();
        for output in &outputs {
            let known = self.activations.contains(output) || self.aliases.contains_key(output);
            if known || self.network.constants.contains_key(output) {
                return Err(Error::WrittenTwice(output.clone()));
            }
        }
        let Some(output) = outputs.first().cloned() else { return Ok(()) };
        let name = self.unique(&given);
        let reader = Reader { name: &name, proto: &proto, network: &self.network };
        let parsed = reader.parse()?;
        match parsed {
            Parsed::Alias(value) => {
                // Dropout's mask and the like have no reader that could be served.
                self.names.remove(&name);
                self.aliases.insert(output, value);
            }
            Parsed::Constant(constant) => {
                self.names.remove(&name);
                self.network.constants.insert(output, Arc::new(*constant));
            }
            Parsed::Nodes(nodes) => {
                for (node, dims) in nodes {
                    tensor::elements(node.output(), &dims)?;
                    self.network.shapes.insert(node.output().into(), dims);
                    self.activations.insert(node.output().into());
                    self.network.nodes.push(node);
                }
            }
            Parsed::Other(reason) => self.other(name, proto, outputs, reason)?,
        }
        Ok(())
    }

    /// A node that the edge cannot run, or one that reads only constants.
    fn other(
        &mut self,
        name: String,
        mut proto: pb::NodeProto,
        outputs: Vec<String>,
        reason: String,
    ) -> Result<(), Error> {
        let network = &mut self.network;
        let operands: Option<Vec<(&str, Operand<'_>)>> = proto
            .input
            .iter()
            .filter(|input| !input.is_empty())
            .map(|input| {
                let operand = match network.constants.get(input) {
                    Some(constant) => Operand::Constant(constant),
                    None => Operand::Activation(network.shapes.get(input)?),
                };
                Some((input.as_str(), operand))
            })
            .collect();
        if let Some(operands) = &operands {
            let constant = operands.iter().all(|(_, o)| matches!(o, Operand::Constant(_)));
            if constant
                && outputs.len() == 1
                && let Some(value) = evaluate::value(&proto, network.opset, operands)
            {
                self.names.remove(&name);
                network.constants.insert(outputs[0].clone(), Arc::new(value));
                return Ok(());
            }
            if let Some(shapes) = evaluate::shapes(&proto, network.opset, operands) {
                for (output, dims) in outputs.iter().zip(shapes) {
                    tensor::elements(output, &dims)?;
                    network.shapes.insert(output.clone(), dims);
                }
            }
        }
        proto.name = name.clone();
        self.activations.extend(outputs.iter().cloned());
        let inputs = proto.input.iter().filter(|i| !i.is_empty()).cloned().collect();
        let op = Op::Other { proto: Box::new(proto), reason };
        network.nodes.push(Node { name, op, inputs, outputs });
        Ok(())
    }

    /// A node's name with nothing in it that a file name, a URL or a shell would mind, and that no
    /// other node has.
    fn unique(&mut self, given: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let name: String = given.chars().map(|c| if plain(c) { c } else { '_' }).collect();
        let name = match name.trim_matches(|c| matches!(c, '_' | '.' | '-')) {
            "" => "node",
            _ if given.chars().all(plain) => given,
            trimmed => trimmed,
        };
        let mut unique = name.to_string();
        for i in 2.. {
            if self.names.insert(unique.clone()) {
                break;
            }
            unique = format!("{name}_{i}");
        }
        unique
    }

    fn finish(mut self) -> Result<Network, Error> {
        let declared = self.network.output.clone();
        let output = self.aliases.get(&declared).unwrap_or(&declared).clone();
        if !self.activations.contains(&output) || output == self.network.input {
            return Err(Error::MissingInitializer { node: "output".into(), value: declared });
        }
        let network = &mut self.network;
        network.output = output;
        remove_dead(network);
        if network.output != declared {
            let old = std::mem::replace(&mut network.output, declared);
            rename(network, &old);
        }
        Ok(self.network)
    }
}

/// Gives the value `old` the output's name.
fn rename(network: &mut Network, old: &str) {
    let new = network.output.clone();
    for node in &mut network.nodes {
        let protos = match &mut node.op {
            Op::Other { proto, .. } => proto.input.iter_mut().chain(proto.output.iter_mut()),
            _ => [].iter_mut().chain([].iter_mut()),
        };
        for value in protos.chain(&mut node.inputs).chain(&mut node.outputs) {
            if value == old {
                value.clone_from(&new);
            }
        }
    }
    if let Some(dims) = network.shapes.remove(old) {
        network.shapes.insert(new, dims);
    }
}

/// Drops the nodes that the output does not depend on, and the constants that nobody reads.
pub(crate) fn remove_dead(network: &mut Network) {
    let mut needed = HashSet::from([network.output.clone()]);
    let mut live: Vec<Node> = Vec::new();
    for node in std::mem::take(&mut network.nodes).into_iter().rev() {
        if node.outputs.iter().any(|output| needed.contains(output)) {
            needed.extend(node.inputs.iter().cloned());
            live.push(node);
        }
    }
    live.reverse();
    network.nodes = live;
    network.constants.retain(|name, _| needed.contains(name));
}

/// Looks constants up by the name that a node gives.
pub(crate) fn constant<'a>(network: &'a Network, value: &str) -> Option<&'a Constant> {
    network.constants.get(value).map(Arc::as_ref)
}
