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

/// Rule 1: a branch that leaves the same tensor and merges again runs beside `node`, which the
/// answer depends on.
pub fn has_brother_branch(graph: &LayerGraph, node: usize) -> bool {
    graph.passing(node).beside
}

/// Rule 2: a tensor from before `node`, which the answer depends on, is read behind it.
pub fn inside_shortcut(graph: &LayerGraph, node: usize) -> bool {
    // Where everything else leads to the node or comes from it, its place in the order says it all.
    if !has_brother_branch(graph, node) || !graph.passing(node).over {
        return graph.passing(node).over;
    }
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
    graph.runs_on_edge(node)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layer_graph::Node;

    /// A network written down node by node; names of nodes stand for their tensors.
    #[derive(Default)]
    struct Net(Vec<Node>);

    impl Net {
        fn node(&mut self, name: &str, parametric: bool, inputs: &[&str]) -> String {
            let value = |input: &&str| match *input {
                "data" => Value::Input,
                name => Value::Node(self.0.iter().position(|n| n.name == name).unwrap()),
            };
            let inputs = inputs.iter().map(value).collect();
            self.0.push(Node { name: name.to_string(), parametric, inputs, on_edge: true });
            name.to_string()
        }

        /// A convolution or fully connected layer.
        fn layer(&mut self, input: &str, name: &str) -> String {
            self.node(name, true, &[input])
        }

        /// Anything without weights: of one tensor, or merging several.
        fn op(&mut self, inputs: &[&str], name: &str) -> String {
            self.node(name, false, inputs)
        }

        /// A layer and its ReLU.
        fn relu(&mut self, input: &str, name: &str) -> String {
            let layer = self.layer(input, name);
            self.op(&[&layer], &format!("{name}/relu"))
        }

        fn graph(self) -> LayerGraph {
            let output = self.0.len() - 1;
            LayerGraph::new(self.0, output).unwrap()
        }
    }

    fn names(graph: &LayerGraph) -> Vec<String> {
        candidates(graph).into_iter().map(|c| c.name).collect()
    }

    /// The nodes that the candidates stand behind.
    fn last_nodes(graph: &LayerGraph) -> Vec<&str> {
        candidates(graph).into_iter().map(|c| graph.nodes()[c.node].name.as_str()).collect()
    }

    fn without(mut net: Net, node: &str) -> LayerGraph {
        net.0.iter_mut().find(|n| n.name == node).unwrap().on_edge = false;
        net.graph()
    }

    fn alexnet() -> Net {
        let mut n = Net::default();
        let mut x = "data".to_string();
        for i in 1..=5 {
            x = n.relu(&x, &format!("conv{i}"));
            if i <= 2 {
                x = n.op(&[&x], &format!("norm{i}"));
            }
            if i <= 2 || i == 5 {
                x = n.op(&[&x], &format!("pool{i}"));
            }
        }
        x = n.op(&[&x], "flatten");
        x = n.relu(&x, "fc6");
        x = n.relu(&x, "fc7");
        x = n.layer(&x, "fc8");
        n.op(&[&x], "prob");
        n
    }

    fn inception(n: &mut Net, x: &str, block: &str) -> String {
        let one = n.relu(x, &format!("{block}/1x1"));
        let three = n.relu(x, &format!("{block}/3x3_reduce"));
        let three = n.relu(&three, &format!("{block}/3x3"));
        let five = n.relu(x, &format!("{block}/5x5_reduce"));
        let five = n.relu(&five, &format!("{block}/5x5"));
        let pool = n.op(&[x], &format!("{block}/pool"));
        let pool = n.relu(&pool, &format!("{block}/pool_proj"));
        n.op(&[&one, &three, &five, &pool], &format!("{block}/output"))
    }

    fn googlenet() -> Net {
        let mut n = Net::default();
        let mut x = n.relu("data", "conv1");
        x = n.op(&[&x], "pool1");
        x = n.op(&[&x], "norm1");
        x = n.relu(&x, "conv2_reduce");
        x = n.relu(&x, "conv2");
        x = n.op(&[&x], "norm2");
        x = n.op(&[&x], "pool2");
        for block in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"] {
            x = inception(&mut n, &x, &format!("inception_{block}"));
            if matches!(block, "3b" | "4e" | "5b") {
                x = n.op(&[&x], &format!("pool_{block}"));
            }
        }
        x = n.layer(&x, "classifier");
        n.op(&[&x], "prob");
        n
    }

    fn residual(n: &mut Net, x: &str, block: &str, projected: bool) -> String {
        let y = n.relu(x, &format!("{block}_branch2a"));
        let y = n.layer(&y, &format!("{block}_branch2b"));
        let x = if projected { n.layer(x, &format!("{block}_branch1")) } else { x.to_string() };
        let sum = n.op(&[&x, &y], block);
        n.op(&[&sum], &format!("{block}_relu"))
    }

    fn resnet18() -> Net {
        let mut n = Net::default();
        let mut x = n.relu("data", "conv1");
        x = n.op(&[&x], "pool1");
        for stage in 2..=5 {
            x = residual(&mut n, &x, &format!("res{stage}a"), true);
            x = residual(&mut n, &x, &format!("res{stage}b"), false);
        }
        x = n.op(&[&x], "pool5");
        n.layer(&x, "fc1000");
        n
    }

    #[test]
    fn a_chain_is_cut_behind_every_layer_but_the_last() {
        let graph = alexnet().graph();
        assert_eq!(names(&graph), ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]);
        assert_eq!(
            last_nodes(&graph),
            ["pool1", "pool2", "conv3/relu", "conv4/relu", "flatten", "fc6/relu", "fc7/relu"]
        );

        let mut vgg = Net::default();
        let mut x = "data".to_string();
        let mut expected = Vec::new();
        for (block, layers) in [(1, 2), (2, 2), (3, 3), (4, 3), (5, 3)] {
            for layer in 1..=layers {
                expected.push(format!("conv{block}_{layer}"));
                x = vgg.relu(&x, &format!("conv{block}_{layer}"));
            }
            x = vgg.op(&[&x], &format!("pool{block}"));
        }
        x = vgg.relu(&x, "fc6");
        x = vgg.relu(&x, "fc7");
        vgg.layer(&x, "fc8");
        expected.extend(["fc6", "fc7"].map(String::from));
        assert_eq!(names(&vgg.graph()), expected);
    }

    #[test]
    fn residual_networks_are_cut_between_blocks() {
        let graph = resnet18().graph();
        assert_eq!(
            names(&graph),
            ["conv1", "res2a", "res2b", "res3a", "res3b", "res4a", "res4b", "res5a", "res5b"]
        );
        assert_eq!(last_nodes(&graph)[0], "pool1");
        assert_eq!(last_nodes(&graph)[1], "res2a_relu");
        assert_eq!(last_nodes(&graph)[8], "pool5", "what follows the merge folds into it");
    }

    #[test]
    fn inception_networks_are_cut_between_blocks() {
        let graph = googlenet().graph();
        let blocks = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"];
        let outputs = blocks.map(|b| format!("inception_{b}/output"));
        let expected: Vec<_> = ["conv1", "conv2_reduce", "conv2"]
            .map(String::from)
            .into_iter()
            .chain(outputs)
            .collect();
        assert_eq!(names(&graph), expected);
        assert_eq!(last_nodes(&graph)[2], "pool2");
        assert_eq!(last_nodes(&graph)[4], "pool_3b");
    }

    /// The paper's Table 1: between the tensor that an inception block reads and its concat, every
    /// point has brothers; none jumps over another.
    #[test]
    fn every_layer_inside_an_inception_block_has_a_brother_branch() {
        let mut n = Net::default();
        let x = n.relu("data", "stem");
        let x = inception(&mut n, &x, "block");
        n.layer(&x, "head");
        let graph = n.graph();
        for (i, node) in graph.nodes().iter().enumerate() {
            let inside = node.name.starts_with("block/") && node.name != "block/output";
            assert_eq!(has_brother_branch(&graph, i), inside, "{}", node.name);
            assert!(!inside_shortcut(&graph, i), "{}", node.name);
        }
        assert_eq!(names(&graph), ["stem", "block/output"]);
    }

    /// The paper's Table 2: inside a block with an identity shortcut rule 2 speaks, and where the
    /// shortcut is a projection rule 1 does.
    #[test]
    fn every_layer_inside_a_residual_block_is_under_its_shortcut() {
        for projected in [false, true] {
            let mut n = Net::default();
            let x = n.relu("data", "stem");
            let x = residual(&mut n, &x, "res", projected);
            n.layer(&x, "head");
            let graph = n.graph();
            for (i, node) in graph.nodes().iter().enumerate() {
                let inside = node.name.starts_with("res_branch");
                assert_eq!(inside_shortcut(&graph, i), inside && !projected, "{}", node.name);
                assert_eq!(has_brother_branch(&graph, i), inside && projected, "{}", node.name);
            }
            assert_eq!(names(&graph), ["stem", "res"]);
        }
    }

    #[test]
    fn an_operator_that_the_edge_cannot_run_ends_the_candidates() {
        let none: [&str; 0] = [];
        assert_eq!(names(&without(alexnet(), "conv3")), ["conv1", "conv2"]);
        assert_eq!(names(&without(alexnet(), "conv1")), none);
        assert_eq!(names(&without(resnet18(), "res3a_branch1"))[..], ["conv1", "res2a", "res2b"]);
        assert_eq!(names(&without(googlenet(), "inception_3a/pool")).last().unwrap(), "conv2");
    }

    #[test]
    fn a_layer_that_runs_in_part_is_cut_in_front_of_what_does_not() {
        let graph = without(alexnet(), "norm1");
        assert_eq!((names(&graph), last_nodes(&graph)), (vec!["conv1".into()], vec!["conv1/relu"]));
        let graph = without(alexnet(), "prob");
        assert_eq!(names(&graph).last().unwrap(), "fc8", "the last layer's point is not output");
    }

    #[test]
    fn what_prepares_the_input_is_no_candidate() {
        let mut n = Net::default();
        let x = n.op(&["data"], "pad");
        let x = n.relu(&x, "conv1");
        n.layer(&x, "conv2");
        let graph = n.graph();
        assert_eq!(names(&graph), ["conv1"]);
        assert_eq!(graph.layer_of(0), 1, "it belongs to the layer that follows");
    }

    #[test]
    fn dead_branches_hinder_nothing() {
        let mut n = Net::default();
        let x = n.relu("data", "conv1");
        n.relu(&x, "auxiliary");
        n.layer(&x, "conv2");
        assert_eq!(names(&n.graph()), ["conv1"]);
    }

    /// Whether every path from the input to the output passes through `node`, by walking them all.
    fn on_every_path(graph: &LayerGraph, node: usize) -> bool {
        fn avoids(graph: &LayerGraph, at: usize, node: usize) -> bool {
            at != node
                && graph.nodes()[at].inputs.iter().any(|input| match *input {
                    Value::Input => true,
                    Value::Node(i) => avoids(graph, i, node),
                })
        }
        !avoids(graph, graph.output(), node)
    }

    /// The tensors that cross when `node` and all that it depends on run on the edge.
    fn crossing(graph: &LayerGraph, node: usize) -> Vec<Value> {
        let edge = |i: usize| i == node || graph.ancestors(node)[i];
        let cloud = (0..graph.nodes().len()).filter(|&i| graph.is_live(i) && !edge(i));
        let mut tensors: Vec<Value> = cloud
            .flat_map(|i| graph.nodes()[i].inputs.clone())
            .filter(|value| match *value {
                Value::Input => true,
                Value::Node(i) => edge(i),
            })
            .collect();
        tensors.sort();
        tensors.dedup();
        tensors
    }

    fn any_graph() -> impl Strategy<Value = LayerGraph> {
        let node =
            (any::<bool>(), prop::collection::vec(any::<prop::sample::Index>(), 1..=3), 0..8);
        prop::collection::vec(node, 1..12).prop_map(|nodes| {
            let nodes: Vec<Node> = nodes
                .into_iter()
                .enumerate()
                .map(|(i, (parametric, inputs, edge))| Node {
                    name: format!("n{i}"),
                    parametric,
                    // Mostly near nodes, so that chains and blocks occur and not only tangles.
                    inputs: inputs
                        .iter()
                        .map(|index| match i.saturating_sub(index.index(4)) {
                            0 => Value::Input,
                            j => Value::Node(j - 1),
                        })
                        .collect(),
                    on_edge: edge > 0,
                })
                .collect();
            let output = nodes.len() - 1;
            LayerGraph::new(nodes, output).unwrap()
        })
    }

    /// Rules 1 and 2 as they are worded, by a search from every node.
    fn by_definition(graph: &LayerGraph, node: usize) -> (bool, bool) {
        let (before, after) = (graph.ancestors(node), graph.descendants(node));
        let live = |&i: &usize| graph.is_live(i);
        let nodes = || (0..graph.nodes().len()).filter(live);
        let brother = nodes().any(|other| other != node && !before[other] && !after[other]);
        let from_before = |value: &Value| match *value {
            Value::Input => true,
            Value::Node(i) => before[i],
        };
        let shortcut = nodes().any(|i| after[i] && graph.nodes()[i].inputs.iter().any(from_before));
        (brother, shortcut)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_rules_are_what_they_say(graph in any_graph()) {
            for node in (0..graph.nodes().len()).filter(|&node| graph.is_live(node)) {
                let found = (has_brother_branch(&graph, node), inside_shortcut(&graph, node));
                prop_assert_eq!(found, by_definition(&graph, node));
            }
        }

        /// The rules against the definition: exactly the nodes that all paths pass through, one
        /// point a layer, the deepest that the edge can run; one tensor crosses at each.
        #[test]
        fn candidates_are_the_nodes_on_every_path(graph in any_graph()) {
            let mut expected: Vec<Candidate> = Vec::new();
            for node in 0..graph.nodes().len() {
                let begins = graph.layer_of(node);
                let name = graph.nodes()[begins].name.clone();
                let edge = (0..=node)
                    .filter(|&i| i == node || graph.ancestors(node)[i])
                    .all(|i| graph.nodes()[i].on_edge);
                if on_every_path(&graph, node) && edge && begins <= node {
                    expected.retain(|c| c.name != name);
                    expected.push(Candidate { name, node });
                }
            }
            if expected.last().is_some_and(|c| c.node == graph.output()) {
                expected.pop();
            }
            let found = candidates(&graph);
            prop_assert_eq!(&found, &expected);
            for candidate in found {
                prop_assert_eq!(crossing(&graph, candidate.node), [Value::Node(candidate.node)]);
            }
        }
    }
}
