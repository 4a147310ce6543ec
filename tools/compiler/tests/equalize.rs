//! Equalization leaves the FP32 network as it is and spends the codes of u8 better.

mod common;

use common::{Net, import, int, ints, pixels, preprocess, run, sqnr, tensor};
use seam_compiler::{Engine, Inputs, Method, Network, Options, calibrate, compile, equalize};
use seam_runtime::graph::Point;
use seam_runtime::{Model, Session, session, writer};

/// Channels of very different size in front of layers that weigh them to like contributions.
fn unequal() -> Network {
    let ranges: Vec<f32> = (0..8).map(|c| 1.7f32.powi(c)).collect();
    let back: Vec<f32> = ranges.iter().map(|r| 1.0 / r).collect();
    let net = Net::new(13, &[1, 3, 9, 9])
        .conv("x", "a", [8, 3, 3, 3], vec![])
        .floats("up", &[8, 1, 1], &ranges)
        .node("Mul", &["a", "up"], "b", vec![])
        .node("Relu", &["b"], "c", vec![])
        .node("MaxPool", &["c"], "d", vec![ints("kernel_shape", &[2, 2])])
        .conv("d", "e", [8, 1, 3, 3], vec![int("group", 8)])
        .floats("down", &[8, 1, 1], &back)
        .node("Mul", &["e", "down"], "f", vec![])
        .node("Flatten", &["f"], "g", vec![])
        .random("w", &[128, 6])
        .node("MatMul", &["g", "w"], "y", vec![]);
    import(net.model()).expect("valid")
}

fn int8(network: &Network, pixels: &[u8]) -> Vec<f32> {
    let (graph, data) = common::quantize(network, &[], Method::MinMax).expect("quantizes");
    let bytes = writer::encode(&graph, &data).expect("writes");
    let model = std::sync::Arc::new(Model::from_bytes(bytes).expect("reads"));
    let mut session =
        Session::new(model, session::Options::from_env().expect("ISA")).expect("session");
    let seam_runtime::graph::Element::U8 { scale, zero_point } = graph.tensor(graph.input).element
    else {
        panic!("the input is quantized");
    };
    let tables = graph.preprocess.tables(scale, zero_point);
    seam_runtime::preprocess::codes(&tables, pixels, session.input());
    session.run();
    let mut values = vec![0.0; 6];
    session.output_f32(&mut values);
    values
}

#[test]
fn fp32_stays_bit_for_bit_and_int8_gains() {
    let network = unequal();
    let preprocess = preprocess(&network);
    let len = network.input_shape().len();
    let at = |i: usize| Ok(preprocess.to_f32(&pixels(i as u64 + 1, len)));
    let calibration =
        calibrate(&network, &Inputs { count: 3, at: &at }, Method::MinMax, &|_, _| {})
            .expect("calibrates");
    let mut equal = network.clone();
    assert!(equalize(&mut equal, &calibration) >= 4);
    let (mut before, mut after) = (0.0, 0.0);
    for seed in 1..4 {
        let pixels = pixels(seed, len);
        let input = tensor(&[1, 3, 9, 9], &preprocess.to_f32(&pixels));
        let fp32 = run(&network.to_model(), input.clone());
        assert_eq!(fp32, run(&equal.to_model(), input));
        before += sqnr(&fp32, &int8(&network, &pixels)) / 3.0;
        after += sqnr(&fp32, &int8(&equal, &pixels)) / 3.0;
    }
    assert!(after > before + 3.0, "{before:.1} dB before, {after:.1} dB after");
}

#[test]
fn the_tail_of_an_equalized_network_fits_its_edge_part() {
    let network = unequal();
    let preprocess = preprocess(&network);
    let len = network.input_shape().len();
    let at = |i: usize| Ok(preprocess.to_f32(&pixels(i as u64 + 1, len)));
    let inputs = Inputs { count: 3, at: &at };
    let measure = |network: &Network| {
        calibrate(network, &inputs, Method::MinMax, &|_, _| {}).expect("calibrates")
    };
    let mut equal = network.clone();
    equalize(&mut equal, &measure(&network));
    let options =
        Options { name: "net".into(), preprocess: preprocess.clone(), keep_float: vec![] };
    let (graph, _) = compile(&equal, &measure(&equal), &options).expect("compiles");
    let engine = Engine::new(&equal, &graph).expect("engine");
    // The boundary's reals are those of the equalized network: half of all codes, dequantized.
    let point = Point::Candidate(0);
    let shape = graph.tensor(graph.boundary(point)).shape;
    let tail = engine.tail(point).expect("tail").run(&[&vec![90; shape.len()]]).expect("runs");
    let file = seam_compiler::cut(&equal, &graph, point).expect("cuts");
    let input = tensor(&[1, shape.h, shape.w, shape.c], &vec![90u8; shape.len()]);
    common::assert_close(&tail, &run(&file, input), 1e-5, "tail");
}
