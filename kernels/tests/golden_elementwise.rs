//! Pools, add, concat, unary operators and (de)quantization give ONNX Runtime's golden bytes on
//! every instruction set of this CPU; the paper's formulas give the exact values.

mod common;

use common::{Case, channels_last, golden, golden_folder};
use seam_kernels::add::Add;
use seam_kernels::paper::Thresholds;
use seam_kernels::pool::{self, AveragePool, GlobalAveragePool};
use seam_kernels::quantize::{dequantize, quantize};
use seam_kernels::table::{self, Table, functions};
use seam_kernels::{Clamp, Isa, PoolGeometry, Shape, Team, View, ViewMut, Window};

/// Calls `check` for every case of `group` on every instruction set; returns how many ran.
fn each(group: &str, check: impl Fn(&Case, Isa, &Team)) -> usize {
    let Some(golden) = golden(group) else { return 0 };
    let team = Team::new(2).unwrap();
    for isa in Isa::available() {
        golden.cases.iter().for_each(|case| check(case, isa, &team));
    }
    golden.cases.len()
}

fn zero_point(case: &Case, name: &str) -> u8 {
    u8::try_from(case.int(name)).unwrap()
}

fn quantization(case: &Case, tensor: &str) -> (f32, u8) {
    (case.real(&format!("{tensor}_scale")), zero_point(case, &format!("{tensor}_zp")))
}

/// `[n, c, h, w]` of a tensor; missing axes are 1.
fn nchw(case: &Case, tensor: &str) -> (usize, Shape) {
    let shape = case.shape(tensor);
    let at = |axis: usize| shape.get(axis).copied().unwrap_or(1);
    assert!(shape.len() <= 4);
    (at(0), Shape::new(at(2), at(3), at(1)))
}

/// Runs `kernel` on every image of `x` and returns all outputs beside the expected ones, NHWC.
fn images(case: &Case, kernel: impl Fn(View, ViewMut)) -> (Vec<u8>, Vec<u8>) {
    let ((n, from), (_, to)) = (nchw(case, "x"), nchw(case, "y"));
    let x = channels_last(&case.u8("x"), from.c, from.pixels());
    let expected = channels_last(&case.u8("y"), to.c, to.pixels());
    let mut y = vec![0; n * to.len()];
    for (x, y) in x.chunks(from.len()).zip(y.chunks_mut(to.len())) {
        kernel(View::dense(x, from), ViewMut::dense(y, to));
    }
    (y, expected)
}

fn pool_geometry(case: &Case) -> PoolGeometry {
    let list = |name| case.sizes(name);
    let pair = |name| list(name).map_or([1, 1], |v| [v[0], v[1]]);
    PoolGeometry {
        input: nchw(case, "x").1,
        output: nchw(case, "y").1,
        window: Window {
            kernel: pair("kernel_shape"),
            stride: pair("strides"),
            dilation: pair("dilations"),
            pad: list("pads").map_or([0, 0], |v| [v[0], v[1]]),
        },
    }
}

#[test]
fn max_pool_gives_the_golden_bytes() {
    each("qlinear/maxpool_u8", |case, isa, team| {
        let geometry = pool_geometry(case);
        let (y, expected) = images(case, |x, y| pool::max(isa, &geometry, x, y, team));
        assert_eq!(y, expected, "{} on {isa}", case.name);
    });
}

#[test]
fn average_pool_is_off_by_one_at_ties_alone() {
    let differing = std::cell::Cell::new(0);
    let cases = each("qlinear/qlinear_avgpool", |case, isa, team| {
        let (x_scale, x_zp) = quantization(case, "x");
        let (y_scale, y_zp) = quantization(case, "y");
        let include_pad = case.attr("count_include_pad", 0) == 1;
        let clamp = Clamp::none(y_zp);
        let geometry = pool_geometry(case);
        let kernel = AveragePool::new(isa, geometry, include_pad, x_scale, x_zp, y_scale, clamp);
        let (y, expected) = images(case, |x, y| kernel.run(x, y, team));
        for (y, expected) in y.iter().zip(&expected) {
            assert!(y.abs_diff(*expected) <= 1, "{} on {isa}", case.name);
            differing.set(differing.get() + usize::from(y != expected));
        }
    });
    if cases > 0 {
        // The count that pool.rs explains, and that the golden README has for the integer form.
        assert_eq!(differing.get(), 100 * Isa::available().count());
    }
}

#[test]
fn global_average_pool_gives_the_golden_bytes() {
    each("qlinear/qlinear_gap", |case, isa, team| {
        let (x_scale, x_zp) = quantization(case, "x");
        let (y_scale, y_zp) = quantization(case, "y");
        let shape = nchw(case, "x").1;
        let clamp = Clamp::none(y_zp);
        let kernel = GlobalAveragePool::new(isa, shape, x_scale, x_zp, y_scale, clamp);
        let (y, expected) = images(case, |x, y| kernel.run(x, y, team));
        assert_eq!(y, expected, "{} on {isa}", case.name);
    });
}

/// `tensor` repeated as numpy broadcasting to the shape of `y` does.
fn broadcast(case: &Case, tensor: &str) -> Vec<u8> {
    let (from, to, data) = (case.shape(tensor), case.shape("y"), case.u8(tensor));
    let missing = to.len() - from.len();
    (0..to.iter().product())
        .map(|mut flat: usize| {
            let (mut at, mut step) = (0, 1);
            for axis in (0..to.len()).rev() {
                let i = flat % to[axis];
                flat /= to[axis];
                if axis >= missing && from[axis - missing] != 1 {
                    at += i * step;
                    step *= from[axis - missing];
                }
            }
            data[at]
        })
        .collect()
}

#[test]
fn add_gives_the_golden_bytes_of_the_fused_form() {
    each("qlinear/qlinear_add", |case, isa, team| {
        let (a, b, expected) = (broadcast(case, "a"), broadcast(case, "b"), case.u8("y"));
        let [qa, qb, qy] = ["a", "b", "y"].map(|t| quantization(case, t));
        let shape = Shape::new(1, 1, expected.len());
        let kernel = Add::new(isa, qa, qb, qy, 0, 255);
        let mut y = vec![0; expected.len()];
        let (a, b) = (View::dense(&a, shape), View::dense(&b, shape));
        kernel.run(a, b, ViewMut::dense(&mut y, shape), team);
        assert_eq!(y, expected, "{} on {isa}", case.name);
        y.copy_from_slice(a.data());
        kernel.run_in_place(ViewMut::dense(&mut y, shape), b, team);
        assert_eq!(y, expected, "{} in place on {isa}", case.name);
    });
}

#[test]
fn concat_gives_the_golden_bytes() {
    each("qlinear/qlinear_concat", |case, isa, team| {
        let shape = case.shape("y");
        let axis = case.attr("axis", 1).rem_euclid(shape.len() as i64) as usize;
        // In memory, concat is one of rows: everything from the axis on.
        let (rows, width): (usize, usize) =
            (shape[..axis].iter().product(), shape[axis..].iter().product());
        let mut y = vec![0; rows * width];
        let mut start = 0;
        for input in 0..case.int("inputs") {
            let tensor = format!("x{input}");
            let x = case.u8(&tensor);
            let part = Shape::new(1, rows, x.len() / rows);
            let table = Table::requantize(quantization(case, &tensor), quantization(case, "y"));
            let slice = ViewMut::new(&mut y[start..], part, width);
            table::apply(isa, &table, View::dense(&x, part), slice, team);
            start += part.c;
        }
        assert_eq!(start, width);
        assert_eq!(y, case.u8("y"), "{} on {isa}", case.name);
    });
}

#[test]
fn unary_operators_give_the_golden_bytes() {
    each("qlinear/qlinear_unary", |case, isa, team| {
        let f: Box<dyn Fn(f32) -> f32> = match case.op.as_str() {
            "QLinearSigmoid" => Box::new(functions::sigmoid),
            "QLinearLeakyRelu" => {
                let alpha = case.attrs["alpha"].as_f64().unwrap() as f32;
                Box::new(move |v| functions::leaky_relu(v, alpha))
            }
            other => panic!("no function for {other}"),
        };
        let table = Table::unary(f, quantization(case, "x"), quantization(case, "y"));
        let x = case.u8("x");
        let shape = Shape::new(1, 1, x.len());
        let mut y = vec![0; x.len()];
        let (view, out) = (View::dense(&x, shape), ViewMut::dense(&mut y, shape));
        table::apply(isa, &table, view, out, team);
        assert_eq!(y, case.u8("y"), "{} on {isa}", case.name);
    });
}

/// A zero point of u8 or s8 and what lifts s8 codes to u8: shifting codes and zero point by 128
/// together changes no real value.
fn lifted(zero_point: i64, signed: bool) -> u8 {
    u8::try_from(zero_point + if signed { 128 } else { 0 }).unwrap()
}

#[test]
fn quantize_and_dequantize_give_the_golden_values() {
    each("qlinear/quantize_dequantize", |case, isa, _| {
        let to_u8 = |codes: Vec<i8>| codes.iter().map(|&q| q as u8 ^ 0x80).collect::<Vec<u8>>();
        let signed = case.name.ends_with("s8");
        if case.has("scale") {
            per_axis(case, isa);
        } else if case.op == "QuantizeLinear" {
            let x = case.f32("x");
            let mut y = vec![0; x.len()];
            let zero_point = lifted(case.int("y_zp"), signed);
            quantize(isa, &x, case.real("y_scale"), zero_point, &mut y);
            let expected = if signed { to_u8(case.s8("y")) } else { case.u8("y") };
            assert_eq!(y, expected, "{} on {isa}", case.name);
        } else if !case.name.ends_with("i32") {
            // i32 tensors (biases) are never dequantized on the edge.
            let x = if signed { to_u8(case.s8("x")) } else { case.u8("x") };
            let mut y = vec![0.0; x.len()];
            let zero_point = lifted(case.int("x_zp"), signed);
            dequantize(isa, &x, case.real("x_scale"), zero_point, &mut y);
            assert_eq!(y, case.f32("y"), "{} on {isa}", case.name);
        }
    });
}

/// A scale and zero point for every index of one axis: quantized activations (u8) and dequantized
/// weights (s8).
fn per_axis(case: &Case, isa: Isa) {
    let shape = case.shape("x");
    let axis = case.attr("axis", 1).rem_euclid(shape.len() as i64) as usize;
    let inner: usize = shape[axis + 1..].iter().product();
    let scales = case.f32("scale");
    let at = |i: usize| i / inner % shape[axis];
    if case.op == "QuantizeLinear" {
        let (x, zero_points) = (case.f32("x"), case.u8("zp"));
        for (i, expected) in case.u8("y").iter().enumerate() {
            let mut y = [0];
            quantize(isa, &x[i..][..1], scales[at(i)], zero_points[at(i)], &mut y);
            assert_eq!(y[0], *expected, "{} on {isa}", case.name);
        }
    } else {
        let (x, zero_points) = (case.s8("x"), case.s8("zp"));
        for (i, expected) in case.f32("y").iter().enumerate() {
            let mut y = [0.0];
            let zero_point = lifted(zero_points[at(i)].into(), true);
            dequantize(isa, &[x[i] as u8 ^ 0x80], scales[at(i)], zero_point, &mut y);
            assert_eq!(y[0], *expected, "{} on {isa}", case.name);
        }
    }
}

#[test]
fn the_papers_formulas_give_the_exact_values() {
    let Some(folder) = golden_folder() else { return };
    let text = std::fs::read(folder.join("paper/formulas.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mut rows = 0;
    for range in file["ranges"].as_array().unwrap() {
        let real = |v: &serde_json::Value| v.as_f64().unwrap();
        let thresholds = Thresholds::new(real(&range["t_min"]), real(&range["t_max"])).unwrap();
        for row in range["quantize"].as_array().unwrap() {
            let q = thresholds.quantize(real(&row[0]));
            assert_eq!(u64::from(q), row[1].as_u64().unwrap(), "{row} within {thresholds:?}");
            rows += 1;
        }
        for row in range["dequantize"].as_array().unwrap() {
            let v = thresholds.dequantize(row[0].as_u64().unwrap() as u8);
            let (exact, single) = (real(&row[2]), real(&row[3]) as f32);
            // Two roundings from exact, each relative to the larger of the operands.
            let unit = f64::EPSILON * thresholds.min().abs().max(thresholds.max().abs());
            assert!((v - exact).abs() <= 2.0 * unit, "{row} within {thresholds:?}: {v}");
            assert_eq!(v as f32, single, "{row} within {thresholds:?}");
            rows += 1;
        }
    }
    assert_eq!(rows, 3180 + 3840);
}
