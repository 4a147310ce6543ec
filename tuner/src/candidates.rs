//! The points that the paper's rules admit (DESIGN §5), one function a rule.
//!
//! The paper's rules 1 and 2 together say: a point is a candidate when one tensor crosses it, that
//! is, when every path from the input to the output passes through the node in front of it. What
//! avoids a node either runs beside it (a brother branch) or jumps over it (a shortcut); there is
//! no third way, which `tests` below hold against the definition by paths.

use crate::layer_graph::{LayerGraph, Value};

/// A point that the rules admit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The point's name: that of the layer (or merging node) in front of it.
    pub name: String,
    /// Index of the last node before the cut; what it writes is what crosses. The edge part is
    /// this node and all that it depends on.
    pub node: usize,
}

/// The points that the rules admit, shallowest first; `input` and `output` are not among them.
///
/// A layer that the edge can run only in part is cut in front of the first operator that it
/// cannot run.
pub fn candidates(graph: &LayerGraph) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut last_layer = None;
    for node in (0..graph.nodes().len()).filter(|&node| node != graph.output()) {
        if !graph.is_live(node)
            || precedes_every_layer(graph, node)
            || has_brother_branch(graph, node)
            || inside_shortcut(graph, node)
            || !runs_on_edge(graph, node)
        {
            continue;
        }
        let layer = graph.layer_of(node);
        // Rule 3: the point after a layer stands behind all that is merged into it.
        if last_layer.replace(layer) == Some(layer) {
            candidates.pop();
        }
        candidates.push(Candidate { name: graph.nodes()[layer].name.clone(), node });
    }
    // The last layer's point is `output`.
    let output = graph.output();
    if last_layer == Some(graph.layer_of(output)) && runs_on_edge(graph, output) {
        candidates.pop();
    }
    candidates
}

/// Rule 1: a branch that leaves the same tensor and merges again runs beside `node`.
pub fn has_brother_branch(graph: &LayerGraph, node: usize) -> bool {
    let (before, after) = (graph.ancestors(node), graph.descendants(node));
    (0..graph.nodes().len())
        .any(|other| graph.is_live(other) && other != node && !before[other] && !after[other])
}

/// Rule 2: a tensor from before `node` is read behind it.
pub fn inside_shortcut(graph: &LayerGraph, node: usize) -> bool {
    let (before, after) = (graph.ancestors(node), graph.descendants(node));
    let is_before = |value: &Value| match value {
        Value::Input => true,
        Value::Node(i) => before[*i],
    };
    let behind = |i: usize| after[i] && graph.is_live(i);
    graph.nodes().iter().enumerate().any(|(i, n)| behind(i) && n.inputs.iter().any(is_before))
}

/// Rule 3's edge case: `node` only prepares the input, no layer has run yet.
pub fn precedes_every_layer(graph: &LayerGraph, node: usize) -> bool {
    graph.layer_of(node) > node
}

/// Rule 4: the edge can run `node` and all that it depends on.
pub fn runs_on_edge(graph: &LayerGraph, node: usize) -> bool {
    let mut needed = graph.ancestors(node);
    needed[node] = true;
    graph.nodes().iter().zip(needed).all(|(n, needed)| n.on_edge || !needed)
}
