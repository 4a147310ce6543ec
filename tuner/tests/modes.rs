//! The paper's Tables 1 and 2 come out of the graph.

use seam_tuner::LayerGraph;
use seam_tuner::layer_graph::{Node, Value};
use seam_tuner::modes::{Place, Precision, Side, places};

/// A network written down node by node: name, layer or not, what it reads.
fn graph(nodes: &[(&str, bool, &[&str])]) -> LayerGraph {
    let value = |name: &&str| match nodes.iter().position(|(n, ..)| n == name) {
        Some(i) => Value::Node(i),
        None => Value::Input,
    };
    let node = |(name, parametric, inputs): &(&str, bool, &[&str])| Node {
        name: name.to_string(),
        parametric: *parametric,
        inputs: inputs.iter().map(value).collect(),
        on_edge: true,
    };
    LayerGraph::new(nodes.iter().map(node).collect(), nodes.len() - 1).unwrap()
}

fn index(graph: &LayerGraph, name: &str) -> usize {
    graph.nodes().iter().position(|n| n.name == name).unwrap()
}

/// Every place between two nodes as `tensor>reader: modes`.
fn between(graph: &LayerGraph, first: &str, last: &str) -> (Vec<Place>, Vec<String>) {
    let places = places(graph, index(graph, first), index(graph, last));
    let name = |value| match value {
        Value::Input => "input",
        Value::Node(i) => &graph.nodes()[i].name,
    };
    let text = |place: &Place| {
        let reader = place.reader.map_or("", |i| &graph.nodes()[i].name);
        let modes: Vec<_> = place.modes.iter().map(ToString::to_string).collect();
        format!("{}>{reader}: {}", name(place.value), modes.join(" or "))
    };
    let texts = places.iter().map(text).collect();
    (places, texts)
}

fn inception() -> LayerGraph {
    graph(&[
        ("stem", true, &["data"]),
        ("stem/relu", false, &["stem"]),
        ("1x1", true, &["stem/relu"]),
        ("1x1/relu", false, &["1x1"]),
        ("3x3r", true, &["stem/relu"]),
        ("3x3r/relu", false, &["3x3r"]),
        ("3x3", true, &["3x3r/relu"]),
        ("3x3/relu", false, &["3x3"]),
        ("5x5r", true, &["stem/relu"]),
        ("5x5r/relu", false, &["5x5r"]),
        ("5x5", true, &["5x5r/relu"]),
        ("5x5/relu", false, &["5x5"]),
        ("pool", false, &["stem/relu"]),
        ("proj", true, &["pool"]),
        ("proj/relu", false, &["proj"]),
        ("output", false, &["1x1/relu", "3x3/relu", "5x5/relu", "proj/relu"]),
        ("head", true, &["output"]),
    ])
}

#[test]
fn an_inception_block_has_thirteen_points_in_two_groups() {
    let graph = inception();
    let (places, texts) = between(&graph, "stem/relu", "output");
    let either = "INT8×4 or INT8×1+FP32×1";
    let expected = [
        "stem/relu>: INT8×1".to_string(),
        format!("stem/relu>1x1: {either}"),
        format!("1x1/relu>output: {either}"),
        format!("stem/relu>3x3r: {either}"),
        format!("3x3r/relu>3x3: {either}"),
        format!("3x3/relu>output: {either}"),
        format!("stem/relu>5x5r: {either}"),
        format!("5x5r/relu>5x5: {either}"),
        format!("5x5/relu>output: {either}"),
        format!("stem/relu>pool: {either}"),
        format!("pool>proj: {either}"),
        format!("proj/relu>output: {either}"),
        "output>: INT8×1".to_string(),
    ];
    assert_eq!(texts, expected);
    for place in &places {
        let inside = place.modes.len() == 2;
        assert_eq!((place.brother_branch, place.inside_shortcut), (inside, false));
    }
}

#[test]
fn brothers_in_the_cloud_need_the_blocks_input_as_reals() {
    let graph = inception();
    let (places, _) = between(&graph, "stem/relu", "output");
    let stem = Value::Node(index(&graph, "stem/relu"));
    for place in places.iter().filter(|place| place.modes.len() == 2) {
        let [edge, cloud] = &place.modes[..] else { unreachable!() };
        assert_eq!((edge.brothers, cloud.brothers), (Some(Side::Edge), Some(Side::Cloud)));
        let own = (place.value, Precision::Int8);
        assert!(edge.tensors.contains(&own) && cloud.tensors.contains(&own));
        assert!(cloud.tensors.contains(&(stem, Precision::Fp32)));
        assert_eq!(edge.count(Precision::Fp32), 0);
    }
}

#[test]
fn a_residual_block_has_six_points_in_two_groups() {
    let graph = graph(&[
        ("stem", true, &["data"]),
        ("stem/relu", false, &["stem"]),
        ("a", true, &["stem/relu"]),
        ("a/relu", false, &["a"]),
        ("b", true, &["a/relu"]),
        ("add", false, &["stem/relu", "b"]),
        ("add/relu", false, &["add"]),
        ("head", true, &["add/relu"]),
    ]);
    let (places, texts) = between(&graph, "stem/relu", "add/relu");
    let expected = [
        "stem/relu>: INT8×1",
        "stem/relu>a: INT8×1+FP32×1",
        "a/relu>b: INT8×1+FP32×1",
        "b>add: INT8×1+FP32×1",
        "add/relu>: INT8×1",
        "stem/relu>add: INT8×1+FP32×1",
    ];
    assert_eq!(texts, expected);
    let rules: Vec<_> = places.iter().map(|p| (p.brother_branch, p.inside_shortcut)).collect();
    let shortcut = (false, true);
    // On the shortcut itself the layers that it jumps over are a brother branch.
    assert_eq!(
        rules,
        [(false, false), shortcut, shortcut, shortcut, (false, false), (true, false)]
    );
}

#[test]
fn a_projection_is_a_branch_like_any_other() {
    let graph = graph(&[
        ("stem", true, &["data"]),
        ("proj", true, &["stem"]),
        ("a", true, &["stem"]),
        ("b", true, &["a"]),
        ("add", false, &["proj", "b"]),
        ("head", true, &["add"]),
    ]);
    let (places, texts) = between(&graph, "stem", "add");
    assert_eq!(places.len(), 7);
    for text in &texts[1..6] {
        assert!(text.ends_with("INT8×2 or INT8×1+FP32×1"), "{text}");
    }
}

#[test]
fn a_chain_has_one_point_a_layer_and_dead_branches_none() {
    let graph = graph(&[
        ("one", true, &["data"]),
        ("one/relu", false, &["one"]),
        ("dead", true, &["one/relu"]),
        ("two", true, &["one/relu"]),
        ("three", true, &["two"]),
    ]);
    let (_, texts) = between(&graph, "one/relu", "two");
    assert_eq!(texts, ["one/relu>two: INT8×1", "two>: INT8×1"]);
}
