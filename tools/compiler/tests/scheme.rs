//! The paper's scheme as a reference executor: its steps are Formula 1 and 2, and it stays near to
//! the integer path.

mod common;

use std::collections::HashMap;

use common::{Both, Net, float, import, int, ints, noise, pixels};
use seam_compiler::{Error, Inputs, Network, PaperScheme, pb};
use seam_kernels::paper::Thresholds;
use seam_runtime::graph::{Element, Point};

/// Three images, as `common::quantize` calibrates on.
fn scheme<'a>(network: &'a Network) -> PaperScheme<'a> {
    let preprocess = common::preprocess(network);
    let len = network.input_shape().len();
    let at = |i: usize| Ok(preprocess.to_f32(&pixels(i as u64 + 1, len)));
    PaperScheme::new(network, &Inputs { count: 3, at: &at }).expect("thresholds")
}

fn initializer(model: &pb::ModelProto, name: &str) -> Vec<f32> {
    let graph = model.graph.as_ref().expect("graph");
    let tensor = graph.initializer.iter().find(|t| t.name == name).expect("initializer");
    tensor.raw_data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Two layers in two groups, padded on one side only, with a stride; then every kind of operator.
fn net() -> pb::ModelProto {
    let same = || vec![ints("pads", &[1, 1, 1, 1])];
    Net::new(13, &[1, 3, 9, 9])
        .conv("x", "a", [8, 3, 3, 3], vec![ints("pads", &[1, 0, 0, 1]), ints("strides", &[2, 1])])
        .node("Relu", &["a"], "ar", vec![])
        .node("LRN", &["ar"], "n", vec![int("size", 5), float("alpha", 0.1), float("beta", 0.75)])
        .conv("n", "b", [8, 4, 3, 3], [same(), vec![int("group", 2)]].concat())
        .node("Add", &["b", "n"], "s", vec![])
        .node("Relu", &["s"], "sr", vec![])
        .conv("sr", "c", [4, 8, 1, 1], vec![])
        .node("MaxPool", &["sr"], "m", [same(), vec![ints("kernel_shape", &[3, 3])]].concat())
        .node("Concat", &["c", "m"], "k", vec![int("axis", 1)])
        .node("GlobalAveragePool", &["k"], "g", vec![])
        .node("Flatten", &["g"], "f", vec![int("axis", 1)])
        .random("w_y", &[5, 12])
        .random("b_y", &[5])
        .node("Gemm", &["f", "w_y", "b_y"], "y", vec![int("transB", 1)])
        .model()
}

/// A tensor as Formula 2 gives it back after Formula 1.
fn through(values: &[f64], t: Thresholds) -> Vec<f64> {
    values.iter().map(|&x| t.dequantize(t.quantize(x))).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// Dimensions and attributes of a convolution, channels first.
struct Geometry {
    input: [usize; 3],
    output: [usize; 3],
    kernel: usize,
    stride: [usize; 2],
    pad: [usize; 2],
    groups: usize,
}

/// The convolution of reals, tap by tap.
fn convolved(x: &[f64], w: &[f64], bias: &[f32], g: &Geometry) -> Vec<f64> {
    let ([_, h, width], [outputs, oh, ow]) = (g.input, g.output);
    let (depth, k) = (g.input[0] / g.groups, g.kernel);
    let mut y = Vec::new();
    for (o, row, column) in (0..outputs * oh * ow).map(|i| (i / (oh * ow), i / ow % oh, i % ow)) {
        let mut sum = f64::from(bias[o]);
        for (i, ky, kx) in (0..depth * k * k).map(|i| (i / (k * k), i / k % k, i % k)) {
            let at = [row * g.stride[0] + ky, column * g.stride[1] + kx];
            let (Some(iy), Some(ix)) = (at[0].checked_sub(g.pad[0]), at[1].checked_sub(g.pad[1]))
            else {
                continue;
            };
            if iy < h && ix < width {
                let channel = o / (outputs / g.groups) * depth + i;
                sum += x[(channel * h + iy) * width + ix] * w[((o * depth + i) * k + ky) * k + kx];
            }
        }
        y.push(sum);
    }
    y
}

fn assert_same(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-9 * scale, "{what}[{i}]: {a} against {b}");
    }
}

/// Every layer is Formula 1, a convolution of what Formula 2 gives back, and nothing else; every
/// other operator is its own definition on reals.
#[test]
fn the_executor_equals_the_formulas() {
    let model = net();
    let network = import(model.clone()).expect("imports");
    let scheme = scheme(&network);
    let x = noise(9, network.input_shape().len());
    let run = scheme.run(&x).expect("runs");
    let of = |name: &str| run.reals(name).unwrap_or_else(|| panic!("no value {name}")).to_vec();
    let layer = |input: &str, name: &str, geometry: &Geometry| {
        let [w, b] = ["w", "b"].map(|kind| initializer(&model, &format!("{kind}_{name}")));
        let weights = through(&wide(&w), Thresholds::of(&w).unwrap());
        convolved(&through(&of(input), scheme.thresholds(input).unwrap()), &weights, &b, geometry)
    };
    let relu = |x: Vec<f64>| x.into_iter().map(|x| x.max(0.0)).collect::<Vec<_>>();
    let [s, t, u] = [[3, 9, 9], [8, 4, 8], [4, 4, 8]];

    let a = Geometry { input: s, output: t, kernel: 3, stride: [2, 1], pad: [1, 0], groups: 1 };
    assert_same(&of("ar"), &relu(layer("x", "a", &a)), "first layer, padded on two sides");
    let plane: usize = 32;
    let normalized: Vec<f64> = (0..8 * plane)
        .map(|i| {
            let (c, pixel, ar) = (i / plane, i % plane, of("ar"));
            let near = c.saturating_sub(2)..(c + 3).min(8);
            let squares: f64 = near.map(|c| ar[c * plane + pixel].powi(2)).sum();
            ar[i] / (1.0 + f64::from(0.1f32) / 5.0 * squares).powf(0.75)
        })
        .collect();
    assert_same(&of("n"), &normalized, "LRN");
    let b = Geometry { input: t, output: t, kernel: 3, stride: [1, 1], pad: [1, 1], groups: 2 };
    let sum = layer("n", "b", &b).iter().zip(of("n")).map(|(b, n)| b + n).collect();
    assert_same(&of("sr"), &relu(sum), "residual");
    let c = Geometry { input: t, output: u, kernel: 1, stride: [1, 1], pad: [0, 0], groups: 1 };
    let sr = of("sr");
    let pooled = (0..8 * plane).map(|i| {
        let (channel, row, column) = (i / plane, i / 8 % 4, i % 8);
        let rows = row.saturating_sub(1)..(row + 2).min(4);
        let at = |row: usize| {
            let columns = column.saturating_sub(1)..(column + 2).min(8);
            let row = &sr[channel * plane + row * 8..][columns];
            row.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        };
        rows.map(at).fold(f64::NEG_INFINITY, f64::max)
    });
    let both: Vec<f64> = layer("sr", "c", &c).into_iter().chain(pooled).collect();
    assert_same(&of("k"), &both, "concat of a layer and a pool");
    let means: Vec<f64> =
        both.chunks_exact(plane).map(|p| p.iter().sum::<f64>() / plane as f64).collect();
    assert_same(&of("f"), &means, "global average");
    let y = Geometry { input: [12, 1, 1], output: [5, 1, 1], ..c };
    assert_same(&of("y"), &layer("f", "y", &y), "fully connected");
}

#[test]
fn thresholds_are_what_was_seen_and_codes_are_formula_1() {
    let network = import(net()).expect("imports");
    let scheme = scheme(&network);
    let preprocess = common::preprocess(&network);
    let len = network.input_shape().len();
    let images: Vec<f32> = (1..=3).flat_map(|i| preprocess.to_f32(&pixels(i, len))).collect();
    assert_eq!(scheme.thresholds("x"), Thresholds::of(&images));
    let x = scheme.thresholds("x").unwrap();
    assert!(x.quantize(0.0) > 0 && x.dequantize(x.quantize(0.0)) != 0.0, "zero is no code");
    let run = scheme.run(&images[..len]).unwrap();
    let codes = scheme.codes(&run, "sr").unwrap();
    let t = scheme.thresholds("sr").unwrap();
    let expected: Vec<u8> = run.reals("sr").unwrap().iter().map(|&x| t.quantize(x)).collect();
    assert_eq!(codes, expected);
    let reals = scheme.reals("sr", &codes).unwrap();
    assert!(reals.iter().zip(&codes).all(|(r, q)| *r == t.dequantize(*q) as f32));
    assert!(scheme.thresholds("nothing").is_none() && scheme.codes(&run, "nothing").is_none());
}

/// One layer by both schemes, against the bound that follows from their rounding: each input is off
/// by at most half a step under either, each weight by half a step of its own grid, and the integer
/// path rounds its bias, corrects it for its weights' rounding, and rounds its output.
#[test]
fn one_layer_differs_from_the_integer_path_within_the_bound_of_rounding() {
    let model = Net::new(13, &[1, 3, 9, 9])
        .conv("x", "a", [8, 3, 3, 3], vec![ints("pads", &[1, 1, 1, 1])])
        .node("Relu", &["a"], "ar", vec![])
        .conv("ar", "y", [4, 8, 3, 3], vec![])
        .model();
    let both = Both::new(model.clone(), &[]);
    let scheme = scheme(&both.network);
    let pixels = both.pixels();
    let graph = both.graph();
    let point = graph.point("n_a").expect("a candidate");
    let (codes, _) = both.split(&pixels, point);
    let run = scheme.run(&graph.preprocess.to_f32(&pixels)).unwrap();
    let reals = scheme.reals("ar", &scheme.codes(&run, "ar").unwrap()).unwrap();

    let quantization = |id| match graph.tensor(id) {
        t if t.element == Element::F32 => panic!("{} is quantized", t.name),
        t => t.element.quantization().unwrap(),
    };
    let (sx, _) = quantization(graph.input);
    let (sy, zy) = quantization(graph.boundary(point));
    let (w, b) = (initializer(&model, "w_a"), initializer(&model, "b_a"));
    let x = scheme.thresholds("x").unwrap();
    let w_step = Thresholds::of(&w).unwrap().step();
    let largest_x = x.min().abs().max(x.max().abs()) + f64::from(sx);
    let mut worst: f64 = 0.0;
    for channel in 0..8 {
        let row = &w[channel * 27..][..27];
        let largest_w = row.iter().fold(0f64, |m, w| m.max(w.abs().into()));
        // A channel's own grid, or a coarser one where its bias asks for it.
        let int8 =
            (largest_w / 127.0).max(f64::from(b[channel].abs()) / f64::from(sx) / 2f64.powi(30));
        let sum_w: f64 = row.iter().map(|w| f64::from(w.abs()) + w_step / 2.0).sum();
        let from_x = (x.step() / 2.0 + f64::from(sx)) * sum_w;
        let from_w = 27.0 * largest_x * (w_step / 2.0 + int8 / 2.0);
        let from_bias = 27.0 * largest_x * int8 / 2.0 + f64::from(sx) * int8;
        let from_output = f64::from(sy);
        let bound = from_x + from_w + from_bias + from_output;
        for pixel in 0..81 {
            let integer = (f64::from(codes[pixel * 8 + channel]) - f64::from(zy)) * f64::from(sy);
            let difference = (integer - f64::from(reals[channel * 81 + pixel])).abs();
            assert!(difference <= bound, "channel {channel}: {difference} against {bound}");
            worst = worst.max(difference / f64::from(sy));
        }
    }
    // The bound is a worst case; what is seen is a code or two.
    assert!(worst > 0.0 && worst <= 4.0, "{worst} codes");
}

#[test]
fn answers_stay_near_to_the_integer_path_through_a_whole_network() {
    let both = Both::new(net(), &[]);
    let scheme = scheme(&both.network);
    let pixels = both.pixels();
    let run = scheme.run(&both.graph().preprocess.to_f32(&pixels)).unwrap();
    let fp32 = both.fp32(&pixels);
    let (_, integer) = both.split(&pixels, Point::Output);
    let paper: Vec<f32> = run.reals("y").unwrap().iter().map(|&x| x as f32).collect();
    assert!(common::sqnr(&fp32, &paper) > 20.0, "{fp32:?} {paper:?}");
    assert!(common::sqnr(&integer, &paper) > 20.0, "{integer:?} {paper:?}");
    assert_ne!(integer, paper, "they are two schemes");
}

/// The operators that the larger network lacks, against the FP32 engine: what is left is the
/// rounding of the first layer's codes.
#[test]
fn every_operator_without_weights_follows_its_definition() {
    let one = |operator: &str, inputs: &[&str], attributes: Vec<pb::AttributeProto>| {
        Net::new(13, &[1, 3, 6, 6])
            .conv("x", "a", [4, 3, 3, 3], vec![ints("pads", &[1, 1, 1, 1])])
            .ints("four", &[0, 0, 1, 2, 0, 0, 0, 1])
            .ints("starts", &[1, 0])
            .ints("ends", &[6, 6])
            .ints("axes", &[2, 3])
            .ints("steps", &[2, 1])
            .node(operator, inputs, "y", attributes)
            .model()
    };
    let window = || vec![ints("kernel_shape", &[3, 2]), ints("strides", &[2, 2])];
    let padded =
        |include| [window(), vec![ints("pads", &[1, 0, 1, 1]), int("count_include_pad", include)]];
    for (name, model) in HashMap::from([
        ("LeakyRelu", one("LeakyRelu", &["a"], vec![float("alpha", 0.2)])),
        ("Sigmoid", one("Sigmoid", &["a"], vec![])),
        ("average", one("AveragePool", &["a"], padded(0).concat())),
        ("padded average", one("AveragePool", &["a"], padded(1).concat())),
        ("ceil", one("MaxPool", &["a"], [window(), vec![int("ceil_mode", 1)]].concat())),
        ("Softmax", one("Softmax", &["a"], vec![int("axis", 1)])),
        ("Pad", one("Pad", &["a", "four"], vec![])),
        ("Slice", one("Slice", &["a", "starts", "ends", "axes", "steps"], vec![])),
        ("Transpose", one("Transpose", &["a"], vec![ints("perm", &[0, 2, 3, 1])])),
    ]) {
        let network = import(model.clone()).expect(name);
        let scheme = scheme(&network);
        let x = common::preprocess(&network).to_f32(&pixels(1, network.input_shape().len()));
        let run = scheme.run(&x).expect(name);
        let fp32 = common::run(&model, common::tensor(&[1, 3, 6, 6], &x));
        let paper: Vec<f32> = run.reals("y").expect(name).iter().map(|&x| x as f32).collect();
        common::assert_close(&fp32, &paper, 0.03, name);
    }
}

#[test]
fn what_the_scheme_cannot_run_is_refused() {
    let network = import(net()).expect("imports");
    let none = |_: usize| -> Result<Vec<f32>, Error> { Ok(Vec::new()) };
    let refused = PaperScheme::new(&network, &Inputs { count: 0, at: &none }).err();
    assert!(matches!(refused, Some(Error::NoInputs)));
    let short = scheme(&network).run(&[0.0; 5]).err();
    assert!(matches!(short, Some(Error::InputLength { .. })));

    let deep = Net::new(13, &[1, 3, 110, 110])
        .node("Flatten", &["x"], "f", vec![int("axis", 1)])
        .random("w", &[2, 36_300])
        .node("Gemm", &["f", "w"], "y", vec![int("transB", 1)])
        .model();
    let network = import(deep).expect("imports");
    let input = |_: usize| Ok(vec![0.5; 36_300]);
    let refused = PaperScheme::new(&network, &Inputs { count: 1, at: &input }).err();
    let text = refused.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(matches!(refused, Some(Error::SchemeDepth { depth: 36_300, .. })), "{text}");
    assert!(text.contains("n_y") && !text.contains('\n'), "{text}");
}

/// What the edge cannot run is not run here either; the points in front of it remain.
#[test]
fn the_executor_ends_where_the_edge_does() {
    let model = Net::new(13, &[1, 3, 8, 8])
        .conv("x", "a", [4, 3, 3, 3], vec![])
        .node("Elu", &["a"], "e", vec![])
        .conv("e", "y", [4, 4, 3, 3], vec![])
        .model();
    let network = import(model).expect("imports");
    let scheme = scheme(&network);
    let run = scheme.run(&noise(1, 192)).expect("runs");
    assert!(run.reals("a").is_some() && run.reals("e").is_none() && run.reals("y").is_none());
}
