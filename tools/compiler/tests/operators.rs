//! Every operator: what is imported and folded computes what the file says, and INT8 comes close.

mod common;

use common::{Both, Net, assert_close, float, int, ints, run, sqnr, string, tensor};
use seam_compiler::pb::ModelProto;
use seam_runtime::graph::{Op, Point};

/// Imports `model`, checks the folded FP32 network against the original, and INT8 (at the output)
/// against FP32. The answer has to be a vector, or one channel: the order of memory is ONNX's then.
fn check(model: ModelProto, operators: &[&str], floor_db: f64) -> Both {
    let both = Both::new(model.clone(), &[]);
    let shape = both.network.input_shape();
    let pixels = both.pixels();
    let input = both.graph().preprocess.to_f32(&pixels);
    let dims = [1, shape.c, shape.h, shape.w];
    let original = run(&model, tensor(&dims, &input));
    let folded = run(&both.network.to_model(), tensor(&dims, &input));
    assert_close(&original, &folded, 1e-4, "folded network");
    assert_close(&original, &both.fp32(&pixels), 1e-4, "FP32 engine");
    assert_eq!(both.graph().stop, None);
    let found: Vec<&str> = both.graph().steps.iter().map(|s| kind(&s.op)).collect();
    assert_eq!(found, operators);
    let (_, int8) = both.split(&pixels, Point::Output);
    let db = sqnr(&original, &int8);
    assert!(db > floor_db, "{db:.1} dB: {original:?} against {int8:?}");
    both
}

fn kind(op: &Op) -> &'static str {
    match op {
        Op::Conv { .. } => "conv",
        Op::FloatConv { .. } => "float",
        Op::MaxPool(_) => "max",
        Op::AveragePool { .. } => "average",
        Op::GlobalAveragePool => "global",
        Op::Add { .. } => "add",
        Op::Concat => "concat",
        Op::Lrn(_) => "lrn",
        Op::Softmax => "softmax",
        Op::Table(_) => "table",
        Op::Slice(_) => "slice",
        Op::Pad(_) => "pad",
        Op::Reshape => "reshape",
    }
}

/// A convolution before, global pooling and a fully connected layer behind what is tested.
fn around(opset: i64, channels: usize, middle: impl FnOnce(Net) -> Net) -> ModelProto {
    let net = Net::new(opset, &[1, 3, 9, 9]).conv("x", "a", [8, 3, 3, 3], vec![]);
    middle(net)
        .node("GlobalAveragePool", &["m"], "g", vec![])
        .node("Flatten", &["g"], "f", vec![])
        .random("w", &[5, channels])
        .node("Gemm", &["f", "w"], "y", vec![int("transB", 1)])
        .model()
}

const TAIL: [&str; 2] = ["global", "conv"];

fn with_tail(middle: &[&'static str]) -> Vec<&'static str> {
    [&["conv"], middle, &TAIL].concat()
}

#[test]
fn convolutions_of_every_kind() {
    for (dims, attributes) in [
        ([8, 8, 3, 3], vec![ints("pads", &[1, 1, 1, 1])]),
        ([8, 8, 3, 3], vec![ints("pads", &[0, 0, 1, 1]), ints("strides", &[2, 2])]),
        ([8, 1, 3, 3], vec![int("group", 8)]),
        ([4, 4, 1, 3], vec![int("group", 2), ints("pads", &[0, 2, 0, 1])]),
        ([4, 8, 3, 3], vec![ints("dilations", &[2, 2])]),
        ([4, 8, 4, 3], vec![string("auto_pad", "SAME_UPPER"), ints("strides", &[2, 3])]),
        ([4, 8, 4, 4], vec![string("auto_pad", "SAME_LOWER")]),
        ([4, 8, 2, 2], vec![string("auto_pad", "VALID")]),
    ] {
        let model = around(13, dims[0], |net| net.conv("a", "m", dims, attributes));
        check(model, &with_tail(&["conv"]), 25.0);
    }
}

#[test]
fn activations_are_fused_or_become_tables() {
    let relu = |net: Net| net.node("Relu", &["a"], "m", vec![]);
    let both = check(around(13, 8, relu), &with_tail(&[]), 25.0);
    // After a ReLU no code is spent on negative numbers.
    let Op::Conv { lo: 0, .. } = both.graph().steps[0].op else { panic!("{:?}", both.graph()) };

    let clip = |net: Net| {
        net.floats("lo", &[], &[-0.5]).floats("hi", &[], &[0.75]).node(
            "Clip",
            &["a", "lo", "hi"],
            "m",
            vec![],
        )
    };
    check(around(13, 8, clip), &with_tail(&[]), 25.0);
    for (operator, attributes) in [
        ("LeakyRelu", vec![float("alpha", 0.1)]),
        ("Sigmoid", vec![]),
        ("Tanh", vec![]),
        ("HardSigmoid", vec![float("alpha", 0.3)]),
    ] {
        let middle = |net: Net| net.node(operator, &["a"], "m", attributes);
        check(around(13, 8, middle), &with_tail(&["table"]), 25.0);
    }
    check(
        around(14, 8, |net| net.node("HardSwish", &["a"], "m", vec![])),
        &with_tail(&["table"]),
        25.0,
    );
}

#[test]
fn an_activation_that_is_not_the_only_reader_is_not_fused() {
    let middle =
        |net: Net| net.node("Relu", &["a"], "r", vec![]).node("Add", &["a", "r"], "m", vec![]);
    check(around(13, 8, middle), &with_tail(&["table", "add"]), 25.0);
}

#[test]
fn pools_of_every_kind() {
    for (operator, attributes, kind) in [
        ("MaxPool", vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])], "max"),
        (
            "MaxPool",
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)],
            "max",
        ),
        ("AveragePool", vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4])], "average"),
        (
            "AveragePool",
            vec![ints("kernel_shape", &[2, 2]), ints("pads", &[1; 4]), int("count_include_pad", 1)],
            "average",
        ),
        ("GlobalMaxPool", vec![], "max"),
    ] {
        let middle = |net: Net| net.node(operator, &["a"], "m", attributes);
        let both = check(around(13, 8, middle), &with_tail(&[kind]), 25.0);
        if kind == "max" {
            let graph = both.graph();
            let step = &graph.steps[1];
            let element = |id| graph.tensor(id).element;
            assert_eq!(element(step.inputs[0]), element(step.output));
        }
    }
}

#[test]
fn means_over_height_and_width_are_global_pools() {
    for (opset, keep) in [(13, 0), (13, 1), (18, 0)] {
        let net = Net::new(opset, &[1, 3, 6, 6]).conv("x", "a", [8, 3, 3, 3], vec![]);
        let net = match opset {
            13 => net.node(
                "ReduceMean",
                &["a"],
                "r",
                vec![ints("axes", &[-1, 2]), int("keepdims", keep)],
            ),
            _ => net.ints("axes", &[2, 3]).node(
                "ReduceMean",
                &["a", "axes"],
                "r",
                vec![int("keepdims", keep)],
            ),
        };
        let net = net.node("Flatten", &["r"], "f", vec![]).random("w", &[8, 4]);
        let model = net.node("MatMul", &["f", "w"], "y", vec![]).model();
        check(model, &["conv", "global", "conv"], 25.0);
    }
}

#[test]
fn branches_meet_in_add_and_concat() {
    let add = |net: Net| {
        net.conv("a", "b", [8, 8, 1, 1], vec![]).node("Add", &["a", "b"], "s", vec![]).node(
            "Relu",
            &["s"],
            "m",
            vec![],
        )
    };
    check(around(13, 8, add), &with_tail(&["conv", "add"]), 25.0);
    let concat = |net: Net| {
        net.conv("a", "b", [4, 8, 1, 1], vec![])
            .conv("a", "c", [6, 8, 1, 1], vec![])
            .node("Relu", &["c"], "r", vec![])
            .node("Concat", &["b", "r"], "m", vec![int("axis", 1)])
    };
    let both = check(around(13, 10, concat), &with_tail(&["conv", "conv", "concat"]), 25.0);
    let graph = both.graph();
    let concat = &graph.steps[3];
    for &input in &concat.inputs {
        assert_eq!(graph.tensor(input).element, graph.tensor(concat.output).element);
    }
}

#[test]
fn lrn_and_softmax() {
    let attributes =
        vec![int("size", 5), float("alpha", 0.5), float("beta", 0.75), float("bias", 2.0)];
    let middle = |net: Net| net.node("LRN", &["a"], "m", attributes);
    check(around(13, 8, middle), &with_tail(&["lrn"]), 25.0);
    let net = Net::new(13, &[1, 3, 4, 4]).conv("x", "a", [6, 3, 4, 4], vec![]);
    let net = net.node("Flatten", &["a"], "f", vec![]);
    check(net.node("Softmax", &["f"], "y", vec![]).model(), &["conv", "softmax"], 25.0);
}

#[test]
fn normalisation_and_constants_fold_into_the_layer_in_front() {
    let statistics = |net: Net, c: usize| {
        let positive: Vec<f32> = common::noise(77, c).iter().map(|v| 0.5 + v.abs()).collect();
        net.random("gamma", &[c]).random("beta", &[c]).random("mean", &[c]).floats(
            "variance",
            &[c],
            &positive,
        )
    };
    let norm = ["gamma", "beta", "mean", "variance"];
    let behind = |net: Net| {
        statistics(net, 8)
            .node("BatchNormalization", &[&["a"], &norm[..]].concat(), "n", vec![])
            .floats("k", &[8, 1, 1], &[0.5, 1.0, 1.5, 2.0, 0.1, -0.3, 1.0, 3.0])
            .node("Mul", &["n", "k"], "o", vec![])
            .floats("t", &[1], &[0.25])
            .node("Sub", &["o", "t"], "p", vec![])
            .node("Add", &["k", "p"], "q", vec![])
            .floats("two", &[], &[2.0])
            .node("Div", &["q", "two"], "m", vec![])
    };
    check(around(13, 8, behind), &with_tail(&[]), 25.0);
    // In front of a layer without padding.
    let front = |net: Net| {
        statistics(net, 8)
            .node("Relu", &["a"], "r", vec![])
            .node("BatchNormalization", &[&["r"], &norm[..]].concat(), "n", vec![])
            .conv("n", "m", [4, 8, 3, 3], vec![])
    };
    check(around(13, 4, front), &with_tail(&["conv"]), 25.0);
    // In front of one with padding it would not be exact: a layer of its own.
    let padded = |net: Net| {
        statistics(net, 8)
            .node("Relu", &["a"], "r", vec![])
            .node("BatchNormalization", &[&["r"], &norm[..]].concat(), "n", vec![])
            .conv("n", "m", [4, 8, 3, 3], vec![ints("pads", &[1; 4])])
    };
    check(around(13, 4, padded), &with_tail(&["conv", "conv"]), 25.0);
}

#[test]
fn normalisation_of_the_input_inside_the_network() {
    let net = Net::new(13, &[1, 3, 9, 9])
        .floats("mean", &[3, 1, 1], &[0.1, 0.2, -0.3])
        .floats("std", &[1, 3, 1, 1], &[0.5, 2.0, 1.0])
        .node("Sub", &["x", "mean"], "c", vec![])
        .node("Div", &["c", "std"], "d", vec![])
        .conv("d", "y0", [4, 3, 3, 3], vec![])
        .node("GlobalAveragePool", &["y0"], "y", vec![]);
    check(net.model(), &["conv", "global"], 25.0);
}

#[test]
fn padding_folds_where_it_may() {
    let pads = [0, 0, 1, 2, 0, 0, 2, 1];
    let pad = |net: Net| net.ints("p", &pads).node("Pad", &["a", "p"], "q", vec![]);
    let conv = |net: Net| pad(net).conv("q", "m", [4, 8, 3, 3], vec![ints("pads", &[1, 0, 0, 0])]);
    check(around(13, 4, conv), &with_tail(&["conv"]), 25.0);
    let average =
        |net: Net| pad(net).node("AveragePool", &["q"], "m", vec![ints("kernel_shape", &[3, 3])]);
    let both = check(around(13, 8, average), &with_tail(&["average"]), 25.0);
    let Op::AveragePool { count_include_pad: true, .. } = both.graph().steps[1].op else {
        panic!("padding counts")
    };
    let max = |net: Net| pad(net).node("MaxPool", &["q"], "m", vec![ints("kernel_shape", &[3, 3])]);
    check(around(13, 8, max), &with_tail(&["pad", "max"]), 25.0);
}

#[test]
fn slices_and_channel_padding_make_a_shortcut() {
    let middle = |net: Net| {
        net.ints("s", &[0, 1])
            .ints("e", &[i64::MAX, 7])
            .ints("ax", &[2, 3])
            .ints("st", &[2, 2])
            .node("Slice", &["a", "s", "e", "ax", "st"], "sl", vec![])
            .ints("p", &[0, 4, 0, 0, 0, 4, 0, 0])
            .node("Pad", &["sl", "p"], "pa", vec![])
            .conv(
                "a",
                "b",
                [16, 8, 3, 3],
                vec![ints("strides", &[2, 2]), ints("pads", &[1, 0, 1, 0])],
            )
            .node("Add", &["b", "pa"], "m", vec![])
    };
    check(around(13, 16, middle), &with_tail(&["slice", "pad", "conv", "add"]), 25.0);
}

#[test]
fn flattened_images_reach_a_fully_connected_layer_in_its_order() {
    for view in ["Flatten", "Reshape", "Shape"] {
        let net = Net::new(13, &[1, 3, 6, 5]).conv("x", "a", [4, 3, 3, 3], vec![]);
        let net = net.node("Relu", &["a"], "r", vec![]);
        let net = match view {
            "Flatten" => net.node("Flatten", &["r"], "f", vec![]),
            "Reshape" => net.ints("s", &[0, -1]).node("Reshape", &["r", "s"], "f", vec![]),
            // As PyTorch writes x.view(x.size(0), -1).
            _ => net
                .node("Shape", &["r"], "shape", vec![])
                .ints("zero", &[0])
                .node("Gather", &["shape", "zero"], "batch", vec![int("axis", 0)])
                .ints("rest", &[-1])
                .node("Concat", &["batch", "rest"], "s", vec![int("axis", 0)])
                .node("Reshape", &["r", "s"], "f", vec![]),
        };
        let net = net
            .node("Dropout", &["f"], "d", vec![])
            .random("w", &[7, 48])
            .random("b", &[7])
            .node(
                "Gemm",
                &["d", "w", "b"],
                "h",
                vec![int("transB", 1), float("alpha", 0.5), float("beta", 2.0)],
            )
            .node("Relu", &["h"], "hr", vec![])
            .random("v", &[7, 5])
            .node("MatMul", &["hr", "v"], "i", vec![])
            .random("c", &[5])
            .node("Add", &["i", "c"], "j", vec![])
            .node("Identity", &["j"], "y", vec![]);
        check(net.model(), &["conv", "reshape", "conv", "conv"], 25.0);
    }
}

#[test]
fn channels_last_flattening_needs_no_permutation() {
    let net = Net::new(13, &[1, 3, 6, 5])
        .conv("x", "a", [4, 3, 3, 3], vec![])
        .node("Transpose", &["a"], "t", vec![ints("perm", &[0, 2, 3, 1])])
        .node("Flatten", &["t"], "f", vec![])
        .random("w", &[48, 7])
        .node("MatMul", &["f", "w"], "y", vec![]);
    check(net.model(), &["conv", "reshape", "conv"], 25.0);
}

#[test]
fn views_at_one_pixel_cost_nothing() {
    let net = Net::new(13, &[1, 3, 6, 5])
        .conv("x", "a", [4, 3, 3, 3], vec![])
        .node("GlobalAveragePool", &["a"], "g", vec![])
        .ints("axes", &[2, 3])
        .node("Squeeze", &["g", "axes"], "s", vec![])
        .node("Unsqueeze", &["s", "axes"], "u", vec![])
        .node("Transpose", &["u"], "t", vec![ints("perm", &[0, 2, 3, 1])])
        .node("Flatten", &["t"], "f", vec![])
        .random("w", &[4, 7])
        .node("MatMul", &["f", "w"], "y", vec![]);
    check(net.model(), &["conv", "global", "conv"], 25.0);
}

#[test]
fn older_forms_mean_the_same() {
    let net = Net::new(9, &[1, 3, 9, 9])
        .conv("x", "a", [8, 3, 3, 3], vec![])
        .node("Clip", &["a"], "c", vec![float("min", 0.0), float("max", 1.5)])
        .node("Pad", &["c"], "p", vec![ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])])
        .node("MaxPool", &["p"], "m", vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])])
        .node(
            "Slice",
            &["m"],
            "s",
            vec![ints("starts", &[1, 0]), ints("ends", &[3, 3]), ints("axes", &[2, 3])],
        )
        .node("GlobalAveragePool", &["s"], "g", vec![])
        .node("Squeeze", &["g"], "q", vec![ints("axes", &[2, 3])])
        .node("Dropout", &["q"], "d", vec![float("ratio", 0.5)])
        .random("w", &[8, 6])
        .node("MatMul", &["d", "w"], "l", vec![])
        .node("Softmax", &["l"], "y", vec![int("axis", 1)]);
    check(net.model(), &["conv", "pad", "max", "slice", "global", "conv", "softmax"], 25.0);
}

#[test]
fn layers_kept_in_float_lose_nothing() {
    let net = Net::new(13, &[1, 3, 9, 9])
        .conv("x", "a", [8, 3, 3, 3], vec![])
        .node("Relu", &["a"], "r", vec![])
        .conv("r", "b", [8, 8, 3, 3], vec![])
        .node("Relu", &["b"], "s", vec![])
        .conv("s", "c", [6, 8, 5, 5], vec![])
        .node("Flatten", &["c"], "y", vec![]);
    let model = net.model();
    let quantized = Both::new(model.clone(), &[]);
    let float = Both::new(model, &["n_b", "n_c"]);
    let found: Vec<_> = float.graph().steps.iter().map(|s| kind(&s.op)).collect();
    assert_eq!(found, ["conv", "float", "float"]);
    let pixels = float.pixels();
    let fp32 = float.fp32(&pixels);
    let [int8, kept] =
        [&quantized, &float].map(|b| sqnr(&fp32, &b.split(&pixels, Point::Output).1));
    assert!(kept > int8 + 1.0, "{kept:.1} dB against {int8:.1}");
    // Between the two float layers the tensor crosses as f16.
    let point = float.graph().point("n_b").expect("a point");
    let (bytes, answer) = float.split(&pixels, point);
    assert_eq!(bytes.len(), 2 * 5 * 5 * 8);
    assert!(sqnr(&fp32, &answer) > kept - 0.5);
}
