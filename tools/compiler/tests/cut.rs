//! A tail behind a point gives the same answer in memory, as a file, and as the whole network.

mod common;

use common::{Both, Net, assert_close, float, int, ints, run, sqnr, tensor};
use half::f16;
use seam_compiler::pb::ModelProto;
use seam_runtime::graph::{Element, Point};
use tract_onnx::prelude::Tensor;

/// Stem, residual block, inception block, an operator set 9 tail.
fn blocks(opset: i64) -> ModelProto {
    let same = || vec![ints("pads", &[1; 4])];
    let clip = |net: Net, x: &str, y: &str| match opset {
        9 => net.node("Clip", &[x], y, vec![float("min", 0.0), float("max", 6.0)]),
        _ => net.floats("six", &[], &[6.0]).floats("zero", &[], &[0.0]).node(
            "Clip",
            &[x, "zero", "six"],
            y,
            vec![],
        ),
    };
    let net = Net::new(opset, &[1, 3, 12, 12])
        .conv("x", "stem", [8, 3, 3, 3], same())
        .node("Relu", &["stem"], "stem_r", vec![])
        .node(
            "MaxPool",
            &["stem_r"],
            "pool",
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])],
        )
        .conv("pool", "res1", [8, 8, 3, 3], same())
        .node("Relu", &["res1"], "res1_r", vec![])
        .conv("res1_r", "res2", [8, 8, 3, 3], same())
        .node("Add", &["res2", "pool"], "sum", vec![])
        .node("Relu", &["sum"], "sum_r", vec![])
        .conv("sum_r", "left", [6, 8, 1, 1], vec![])
        .conv("sum_r", "right", [4, 8, 3, 3], same())
        .node("Concat", &["left", "right"], "both", vec![int("axis", 1)])
        .conv("both", "last", [10, 10, 3, 3], vec![]);
    clip(net, "last", "last_c")
        .node("Flatten", &["last_c"], "flat", vec![])
        .random("w1", &[160, 12])
        .node("MatMul", &["flat", "w1"], "fc1", vec![])
        .random("w2", &[12, 7])
        .node("MatMul", &["fc1", "w2"], "y", vec![])
        .model()
}

fn boundary(both: &Both, point: Point, bytes: &[u8]) -> Tensor {
    let tensor_of = both.graph().tensor(both.graph().boundary(point));
    let shape = tensor_of.shape;
    let dims = [1, shape.h, shape.w, shape.c];
    match tensor_of.element {
        Element::U8 { .. } => tensor(&dims, bytes),
        Element::F32 => {
            let reals: Vec<f16> =
                bytes.chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
            tensor(&dims, &reals)
        }
    }
}

#[test]
fn files_and_memory_agree_behind_every_point() {
    for (opset, keep) in [(13, &[][..]), (9, &[]), (17, &["n_last", "n_fc1", "n_y"])] {
        let both = Both::new(blocks(opset), keep);
        let pixels = both.pixels();
        let fp32 = both.fp32(&pixels);
        let graph = both.graph();
        let names: Vec<_> = graph.candidates.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["n_stem", "n_sum", "n_both", "n_last", "n_fc1"]);
        for point in graph.points().filter(|&p| p != Point::Output) {
            let name = graph.point_name(point);
            let (bytes, memory) = both.split(&pixels, point);
            let file = seam_compiler::cut(&both.network, graph, point).expect("cuts");
            assert!(file.opset_import[0].version >= 13);
            let declared = &file.graph.as_ref().expect("graph").input[0].name;
            assert_eq!(*declared, seam_runtime::boundary::describe(graph, point).name);
            let file = run(&file, boundary(&both, point, &bytes));
            assert_close(&memory, &file, 1e-4, name);
            let floor = if point == Point::Input { 80.0 } else { 22.0 };
            let db = sqnr(&fp32, &memory);
            assert!(db > floor, "{name}: {db:.1} dB");
        }
        let (_, int8) = both.split(&pixels, Point::Output);
        let db = sqnr(&fp32, &int8);
        assert!(db > 22.0, "output: {db:.1} dB");
        assert!(both.engine.tail(Point::Output).is_err());
    }
}

#[test]
fn tails_behind_operators_that_the_edge_cannot_run() {
    // Old forms of operators that stay as they are must be brought up to the tail's operator set.
    let net = Net::new(9, &[1, 3, 8, 8])
        .conv("x", "a", [4, 3, 3, 3], vec![])
        .node("Elu", &["a"], "e", vec![])
        .node("Clip", &["e"], "c", vec![float("min", -0.5), float("max", 0.5)])
        .node("Unsqueeze", &["c"], "u", vec![ints("axes", &[0])])
        .node("ReduceSum", &["u"], "s", vec![ints("axes", &[3, 4]), int("keepdims", 0)])
        .node("Squeeze", &["s"], "y", vec![ints("axes", &[0])]);
    let model = net.model();
    let both = Both::new(model.clone(), &[]);
    assert_eq!(both.graph().stop.as_ref().expect("a stop").operator, "Elu");
    let pixels = both.pixels();
    let input = tensor(&[1, 3, 8, 8], &both.graph().preprocess.to_f32(&pixels));
    assert_close(&run(&model, input), &both.fp32(&pixels), 1e-4, "FP32 engine");
    let point = Point::Candidate(0);
    let (bytes, memory) = both.split(&pixels, point);
    let file = seam_compiler::cut(&both.network, both.graph(), point).expect("cuts");
    assert_close(&memory, &run(&file, boundary(&both, point, &bytes)), 1e-4, "tail");
}

#[test]
fn tails_refuse_bytes_of_another_length_and_run_on_many_threads() {
    let both = Both::new(blocks(13), &[]);
    let point = Point::Candidate(1);
    let (bytes, answer) = both.split(&both.pixels(), point);
    let tail = both.engine.tail(point).expect("tail");
    assert!(tail.run(&[&bytes[1..]]).is_err() && tail.run(&[]).is_err());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(tail.run(&[&bytes]).expect("runs"), answer));
        }
    });
}

#[test]
fn an_engine_of_another_network_is_refused() {
    let both = Both::new(blocks(13), &[]);
    let other =
        common::import(Net::new(13, &[1, 3, 8, 8]).conv("x", "y", [4, 3, 3, 3], vec![]).model());
    let error = seam_compiler::Engine::new(&other.expect("valid"), both.graph());
    assert!(matches!(error, Err(seam_compiler::Error::OtherNetwork(_))));
}
