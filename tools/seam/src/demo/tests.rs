//! What the embedded network and its pictures promise.

use seam_compiler::Engine;
use seam_edge::{Inference, top};
use seam_runtime::graph::{Graph, Op};
use seam_runtime::{Options, Point};
use tempfile::TempDir;

use super::data::{self, Data};
use crate::quantized::Quantized;
use crate::stages::Stages;

/// The embedded network, quantized as the demo does it.
fn quantized() -> (TempDir, Data, Quantized) {
    let directory = TempDir::new().unwrap();
    let data = Data::embedded().unwrap();
    let onnx = directory.path().join("trained.onnx");
    std::fs::write(&onnx, data::NETWORK).unwrap();
    let network = seam_compiler::import(&onnx).unwrap();
    let stages = Stages::new();
    let quantized = Quantized::new(
        "shapes",
        &network,
        data::PREPROCESS.parse().unwrap(),
        &data.calibration,
        directory.path(),
        &stages.next("test"),
    );
    (directory, data, quantized.unwrap())
}

fn has(graph: &Graph, what: impl Fn(&Op) -> bool) -> bool {
    graph.steps.iter().any(|step| what(&step.op))
}

#[test]
fn every_rule_has_something_to_say_and_leaves_these_candidates() {
    let (_directory, _, quantized) = quantized();
    let graph = quantized.model.graph();
    let names: Vec<_> = graph.points().map(|point| graph.point_name(point)).collect();
    // Not the layers of the residual block (rule 2) and of the branches (rule 1), and no ReLU or
    // pooling by itself (rule 3); `fc` is the last layer, so its point is `output`.
    let expected =
        ["input", "conv1", "res2", "inception3", "conv4", "dw5", "pw5", "conv6", "output"];
    assert_eq!(names, expected);
    assert!(has(graph, |op| matches!(op, Op::Conv { geometry, .. } if geometry.is_depthwise())));
    assert!(has(graph, |op| matches!(op, Op::MaxPool(_))));
    assert!(has(graph, |op| matches!(op, Op::Add { .. })));
    assert!(has(graph, |op| matches!(op, Op::Concat)));
}

#[test]
fn int8_loses_at_most_two_points_of_accuracy() {
    let (directory, data, quantized) = quantized();
    let engine = Engine::open(&directory.path().join("shapes.seam")).unwrap();
    let graph = quantized.model.graph();
    let shape = graph.tensor(graph.input).shape;
    let options = Options::from_env().unwrap();
    let mut edge =
        Inference::new(quantized.model.clone(), &[Point::Output], options, None).unwrap();
    let [mut fp32, mut int8] = [0; 2];
    for picture in &data.test {
        let pixels = graph.preprocess.pixels(&picture.pixels, shape).unwrap();
        let reals = engine.run(&graph.preprocess.to_f32(&pixels)).unwrap();
        let codes = edge.run(&picture.pixels).unwrap().values;
        fp32 += usize::from(top(&reals, 1)[0].0 == picture.label);
        int8 += usize::from(top(&codes, 1)[0].0 == picture.label);
    }
    let percent = |right: usize| 100.0 * right as f64 / data.test.len() as f64;
    let (fp32, int8) = (percent(fp32), percent(int8));
    assert!(fp32 >= FLOOR, "FP32 {fp32:.1} %");
    assert!(int8 >= fp32 - 2.0, "INT8 {int8:.1} %, FP32 {fp32:.1} %");
}

/// Per cent of the held-out pictures. ONNX Runtime counts 92.5; a decoder of JPEG that rounds
/// otherwise may turn a picture or two.
const FLOOR: f64 = 91.0;

#[test]
fn the_pictures_hold_every_class_as_often() {
    let data = Data::embedded().unwrap();
    for class in 0..data.classes.len() {
        let count = data.test.iter().filter(|picture| picture.label == class).count();
        assert_eq!(count * data.classes.len(), data.test.len(), "{}", data.classes[class]);
    }
}
