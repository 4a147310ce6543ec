//! What crosses the uplink at every place inside a block: the paper's Tables 1 and 2.
//!
//! Between two candidates a network has more places to cut than the rules admit: one on every wire,
//! that is, between a tensor and each layer or merging node that reads it, and where a tensor has
//! several readers one more in front of the fork. What is merged into a layer (activation, pooling)
//! is behind no place of its own.
//!
//! A place that every path passes through needs its own tensor and nothing else. Any other has
//! brothers, and they run on one side or on the other:
//!
//! * *on the edge*: all that does not depend on the place runs there, so the tensors that brother
//!   branches write cross too, as codes;
//! * *in the cloud*: only what the place depends on runs on the edge, so what brother branches read,
//!   the block's input, crosses too, as the reals that FP32 layers need.
//!
//! A shortcut is a branch without a layer: nothing on it is quantized, so it crosses in FP32
//! wherever its other end is.

use std::collections::BTreeSet;
use std::fmt;

use crate::LayerGraph;
use crate::candidates::{has_brother_branch, inside_shortcut};
use crate::layer_graph::{Node, Value};

/// A place to cut between two candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tensor that is cut.
    pub value: Value,
    /// The node behind the cut; `None` in front of the fork to several, or of whatever follows the
    /// block.
    pub reader: Option<usize>,
    /// Rule 1 refuses it.
    pub brother_branch: bool,
    /// Rule 2 refuses it.
    pub inside_shortcut: bool,
    /// What may cross there: one way or two.
    pub modes: Vec<Mode>,
}

/// What crosses at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Where brother branches run; `None` where there are none.
    pub brothers: Option<Side>,
    /// The tensors, each with its precision.
    pub tensors: BTreeSet<(Value, Precision)>,
}

/// Where something runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On the board.
    Edge,
    /// On the cloud host.
    Cloud,
}

/// How a tensor crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// One byte a value.
    Int8,
    /// Four bytes a value.
    Fp32,
}

/// The places from the tensor of node `first` to that of node `last`, both included, branch by
/// branch; shortcuts stand last. Both nodes must be candidates' (every path passes through them),
/// `first` in front of `last`.
pub fn places(graph: &LayerGraph, first: usize, last: usize) -> Vec<Place> {
    let (before, after) = (graph.ancestors(last), graph.descendants(first));
    let mut sorted: Vec<([usize; 3], Place)> = Vec::new();
    for node in (first..last).filter(|&i| i == first || before[i] && after[i]) {
        let readers = readers(graph, Value::Node(node));
        if let [reader] = readers[..]
            && is_merged(&graph.nodes()[reader])
        {
            continue;
        }
        if readers.len() > 1 {
            sorted.push(([0, node, 0], place(graph, node, &readers, None)));
        }
        for reader in readers {
            let value = Value::Node(node);
            let order = if is_shortcut(graph, value, value, reader) {
                [1, node, 0]
            } else if graph.nodes()[reader].merges() {
                // The end of its branch.
                [0, node, 1]
            } else {
                [0, reader, 0]
            };
            sorted.push((order, place(graph, node, &[reader], Some(reader))));
        }
    }
    let readers = readers(graph, Value::Node(last));
    sorted.push(([0, last, 0], place(graph, last, &readers, None)));
    sorted.sort_by_key(|(order, _)| *order);
    sorted.into_iter().map(|(_, place)| place).collect()
}

/// The place between `node` and `readers`, with what crosses there.
fn place(graph: &LayerGraph, node: usize, readers: &[usize], reader: Option<usize>) -> Place {
    let (tapped, tap) = tapped(graph, node, readers);
    let brother_branch = has_brother_branch(&tapped, tap);
    let inside_shortcut = inside_shortcut(&tapped, tap);
    let mut modes: Vec<Mode> = Vec::new();
    if brother_branch || inside_shortcut {
        for side in [Side::Edge, Side::Cloud] {
            let mode = mode(&tapped, tap, side);
            if modes.iter().all(|known| known.to_string() != mode.to_string()) {
                modes.push(mode);
            }
        }
    } else {
        let tensors = BTreeSet::from([(Value::Node(node), Precision::Int8)]);
        modes.push(Mode { brothers: None, tensors });
    }
    Place { value: Value::Node(node), reader, brother_branch, inside_shortcut, modes }
}

/// What crosses at node `tap`, which stands on a wire of its own, when its brothers run on `side`.
fn mode(graph: &LayerGraph, tap: usize, side: Side) -> Mode {
    let (before, after) = (graph.ancestors(tap), graph.descendants(tap));
    let on_edge = |i: usize| match side {
        Side::Edge => !after[i],
        Side::Cloud => before[i] || i == tap,
    };
    let untapped = |value| match value {
        Value::Node(i) if i == tap => graph.nodes()[tap].inputs[0],
        value => value,
    };
    let mut tensors = BTreeSet::new();
    for (reader, node) in graph.nodes().iter().enumerate() {
        if on_edge(reader) || !graph.is_live(reader) {
            continue;
        }
        for &input in node.inputs.iter().filter(|input| match **input {
            Value::Node(i) => on_edge(i),
            Value::Input => true,
        }) {
            let real = match side {
                Side::Edge => is_shortcut(graph, untapped(input), input, reader),
                Side::Cloud => input != Value::Node(tap),
            };
            let precision = if real { Precision::Fp32 } else { Precision::Int8 };
            tensors.insert((original(untapped(input), tap), precision));
        }
    }
    Mode { brothers: Some(side), tensors }
}

/// `graph` with a node between `node` and `readers` that does nothing, and its index.
fn tapped(graph: &LayerGraph, node: usize, readers: &[usize]) -> (LayerGraph, usize) {
    let tap = node + 1;
    let moved = |i: usize| if i >= tap { i + 1 } else { i };
    let mut nodes: Vec<Node> = graph.nodes().to_vec();
    for (i, n) in nodes.iter_mut().enumerate() {
        for input in &mut n.inputs {
            if let Value::Node(j) = *input {
                let cut = j == node && readers.contains(&i);
                *input = Value::Node(if cut { tap } else { moved(j) });
            }
        }
    }
    // A line feed is in no other node's name.
    let name = format!("{}\n", nodes[node].name);
    nodes.insert(
        tap,
        Node { name, parametric: false, inputs: vec![Value::Node(node)], on_edge: true },
    );
    let tapped = LayerGraph::new(nodes, moved(graph.output()));
    (tapped.expect("a network with one node more on a wire is a network"), tap)
}

/// The tensor's name in the graph without the tap.
fn original(value: Value, tap: usize) -> Value {
    match value {
        Value::Node(i) if i > tap => Value::Node(i - 1),
        value => value,
    }
}

/// The nodes that read `value` and matter to the answer.
fn readers(graph: &LayerGraph, value: Value) -> Vec<usize> {
    let reads = |&i: &usize| graph.is_live(i) && graph.nodes()[i].inputs.contains(&value);
    (0..graph.nodes().len()).filter(reads).collect()
}

/// It belongs to the layer in front of it.
fn is_merged(node: &Node) -> bool {
    !node.parametric && !node.merges()
}

/// What `reader` reads as `input` is the tensor `value`, and `reader` depends on that by another
/// way too: here it has jumped over layers.
fn is_shortcut(graph: &LayerGraph, value: Value, input: Value, reader: usize) -> bool {
    let Value::Node(source) = value else { return graph.nodes()[reader].merges() };
    let after = graph.descendants(source);
    let others = graph.nodes()[reader].inputs.iter().filter(|other| **other != input);
    others.into_iter().any(|other| matches!(*other, Value::Node(i) if after[i]))
}

impl Mode {
    /// How many tensors cross at that precision.
    pub fn count(&self, precision: Precision) -> usize {
        self.tensors.iter().filter(|(_, p)| *p == precision).count()
    }
}

/// As the paper writes it: `INT8×1+FP32×1`.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |(precision, word): (Precision, &str)| match self.count(precision) {
            0 => None,
            count => Some(format!("{word}×{count}")),
        };
        let parts = [(Precision::Int8, "INT8"), (Precision::Fp32, "FP32")];
        f.write_str(&parts.into_iter().filter_map(part).collect::<Vec<_>>().join("+"))
    }
}
