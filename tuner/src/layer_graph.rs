//! The network as the paper's rules see it: a DAG of operators, each with one output tensor.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;

/// One operator of the folded network (BatchNormalization and constants already folded away).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Unique; the layer's name where this node begins a layer.
    pub name: String,
    /// It has trained weights (convolution, fully connected): it begins a layer.
    pub parametric: bool,
    /// The activation tensors that it reads; constants are not among them.
    pub inputs: Vec<Value>,
    /// The edge can run it.
    pub on_edge: bool,
}

/// An activation tensor: named by who writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// The network's input.
    Input,
    /// The output of the node of that index.
    Node(usize),
}

/// A network with one input and one output, its nodes in an order in which they can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerGraph {
    nodes: Vec<Node>,
    output: usize,
    readers: Vec<Vec<usize>>,
    /// The answer depends on the node.
    live: Vec<bool>,
    /// The edge can run the node and all that it depends on.
    runs: Vec<bool>,
    /// How the rest of the network passes each node by.
    passing: Vec<Passing>,
    /// Per node, the node that begins its layer.
    layer: Vec<usize>,
}

impl LayerGraph {
    /// The network of `nodes`, each standing behind all that it reads, whose answer is what node
    /// `output` writes.
    ///
    /// # Errors
    /// A name occurs twice, a node reads nothing or one that does not stand before it, or there
    /// is no node `output`.
    pub fn new(nodes: Vec<Node>, output: usize) -> Result<LayerGraph, Error> {
        if output >= nodes.len() {
            return Err(Error::NoOutput { output, nodes: nodes.len() });
        }
        let mut names = BTreeSet::new();
        let mut readers = vec![Vec::new(); nodes.len()];
        for (i, node) in nodes.iter().enumerate() {
            if !names.insert(node.name.as_str()) {
                return Err(Error::DuplicateLayer(node.name.clone()));
            }
            if node.inputs.is_empty() {
                return Err(Error::LayerWithoutInput(node.name.clone()));
            }
            for &input in &node.inputs {
                match input {
                    Value::Input => {}
                    Value::Node(j) if j < i => readers[j].push(i),
                    Value::Node(input) => {
                        return Err(Error::LayerNotBefore { node: node.name.clone(), input });
                    }
                }
            }
        }
        let live = reach(nodes.len(), [output], |i| predecessors(&nodes[i]));
        let mut runs: Vec<bool> = Vec::with_capacity(nodes.len());
        for node in &nodes {
            runs.push(node.on_edge && predecessors(node).all(|i| runs[i]));
        }
        let passing = passing(&nodes, &readers, &live);
        let layer = layers(&nodes);
        Ok(LayerGraph { nodes, output, readers, live, runs, passing, layer })
    }

    /// The nodes, in an order in which they can run.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Index of the node that writes the network's answer.
    pub fn output(&self) -> usize {
        self.output
    }

    /// Per node, the node that begins the layer it belongs to: rule 3 of the paper
    /// (see [`mod@crate::candidates`]). A layer is called after that node.
    pub fn layer_of(&self, node: usize) -> usize {
        self.layer[node]
    }

    /// The answer depends on the node.
    pub fn is_live(&self, node: usize) -> bool {
        self.live[node]
    }

    /// The edge can run the node and all that it depends on.
    pub fn runs_on_edge(&self, node: usize) -> bool {
        self.runs[node]
    }

    /// How the rest of the network passes `node` by.
    pub(crate) fn passing(&self, node: usize) -> Passing {
        self.passing[node]
    }

    /// The nodes that `node` depends on.
    pub(crate) fn ancestors(&self, node: usize) -> Vec<bool> {
        reach(self.nodes.len(), predecessors(&self.nodes[node]), |i| predecessors(&self.nodes[i]))
    }

    /// The nodes that depend on `node`.
    pub(crate) fn descendants(&self, node: usize) -> Vec<bool> {
        let readers = |i: usize| self.readers[i].iter().copied();
        reach(self.nodes.len(), readers(node), readers)
    }
}

/// How the live rest of the network passes a live node by.
///
/// Everything that stands before a node leads to it exactly if each of those nodes has a reader that
/// does not stand behind: go on from reader to reader. Likewise everything behind comes from it if
/// each of those reads one that does not stand before. So one sweep each way sees what takes a
/// search from every node by the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passing {
    /// Something that stands before the node is read behind it only, or something that stands
    /// behind it reads only what stands before: the node neither depends on it nor leads to it.
    pub(crate) beside: bool,
    /// A tensor written before the node is read behind it.
    pub(crate) over: bool,
}

fn passing(nodes: &[Node], readers: &[Vec<usize>], live: &[bool]) -> Vec<Passing> {
    let mut passing = vec![Passing { beside: false, over: false }; nodes.len()];
    let live_readers = |i: usize| readers[i].iter().copied().filter(|&reader| live[reader]);
    let reads_input = |i: &usize| live[*i] && nodes[*i].inputs.contains(&Value::Input);
    // Of what stands before: where it is first read at the latest, and last read.
    let mut first_read = 0;
    let mut last_read = (0..nodes.len()).rev().find(reads_input).unwrap_or(0);
    for node in (0..nodes.len()).filter(|&node| live[node]) {
        passing[node].beside |= first_read > node;
        passing[node].over |= last_read > node;
        first_read = first_read.max(live_readers(node).min().unwrap_or(0));
        last_read = last_read.max(live_readers(node).max().unwrap_or(0));
    }
    // Of what stands behind: the deepest that it reads at the least.
    let mut deepest_read = nodes.len();
    for node in (0..nodes.len()).rev().filter(|&node| live[node]) {
        passing[node].beside |= deepest_read < node + 1;
        // Counted from one: the input is 0.
        let deepest = predecessors(&nodes[node]).max().map_or(0, |i| i + 1);
        deepest_read = deepest_read.min(deepest);
    }
    passing
}

impl Node {
    /// Several tensors meet here (Add, Concat). A node that reads one tensor twice merges nothing.
    pub fn merges(&self) -> bool {
        self.inputs.iter().any(|input| *input != self.inputs[0])
    }
}

/// Rule 3: a parametric or merging node begins a layer; any other is merged into the layer of the
/// node that it reads. Before the first layer there is none to merge into: such nodes belong to
/// the layer that follows them.
fn layers(nodes: &[Node]) -> Vec<usize> {
    let mut layer: Vec<Option<usize>> = Vec::with_capacity(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        layer.push(match node.inputs[0] {
            _ if node.parametric || node.merges() => Some(i),
            Value::Node(j) => layer[j],
            Value::Input => None,
        });
    }
    let mut following = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate().rev() {
        let own = layer[i].or_else(|| following.get(&i).copied()).unwrap_or(i);
        layer[i] = Some(own);
        for j in predecessors(node).filter(|&j| layer[j].is_none()) {
            following.insert(j, own);
        }
    }
    layer.into_iter().flatten().collect()
}

fn predecessors(node: &Node) -> impl Iterator<Item = usize> {
    node.inputs.iter().filter_map(|input| match input {
        Value::Input => None,
        Value::Node(i) => Some(*i),
    })
}

/// Marks `from` and every node that `next` leads to from there.
fn reach<I: IntoIterator<Item = usize>>(
    nodes: usize,
    from: impl IntoIterator<Item = usize>,
    next: impl Fn(usize) -> I,
) -> Vec<bool> {
    let mut seen = vec![false; nodes];
    let mut stack: Vec<usize> = from.into_iter().collect();
    while let Some(i) = stack.pop() {
        if !std::mem::replace(&mut seen[i], true) {
            stack.extend(next(i));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, inputs: &[Value]) -> Node {
        Node { name: name.into(), parametric: true, inputs: inputs.to_vec(), on_edge: true }
    }

    #[test]
    fn a_list_that_is_no_network_is_refused() {
        let (a, reads) = (|inputs: &[Value]| node("a", inputs), [Value::Input]);
        assert!(matches!(LayerGraph::new(vec![], 0), Err(Error::NoOutput { .. })));
        assert!(matches!(LayerGraph::new(vec![a(&reads)], 1), Err(Error::NoOutput { .. })));
        assert!(matches!(LayerGraph::new(vec![a(&[])], 0), Err(Error::LayerWithoutInput(_))));
        let twice = LayerGraph::new(vec![a(&reads), a(&reads)], 0);
        assert!(matches!(twice, Err(Error::DuplicateLayer(name)) if name == "a"));
        let itself = LayerGraph::new(vec![a(&[Value::Node(0)])], 0);
        assert!(matches!(itself, Err(Error::LayerNotBefore { input: 0, .. })));
    }

    #[test]
    fn reading_one_tensor_twice_merges_nothing() {
        assert!(!node("a", &[Value::Input, Value::Input]).merges());
        assert!(node("a", &[Value::Node(0), Value::Input]).merges());
    }
}
