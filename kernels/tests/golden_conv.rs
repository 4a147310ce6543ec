//! Promise: convolutions and matrix products give ONNX Runtime's bytes, by every kernel of this
//! CPU.

mod common;

use aligned_vec::avec;
use common::{Case, channels_last, golden};
use seam_kernels::conv::Conv;
use seam_kernels::requantize::multipliers;
use seam_kernels::{Clamp, ConvGeometry, Isa, Shape, Team, View, ViewMut, Window, reference};

fn per_channel<T: Copy>(values: Vec<T>, channels: usize) -> Vec<T> {
    if values.len() == 1 { vec![values[0]; channels] } else { values }
}

/// Runs `x` through every kernel and compares with `want`; returns how many kernels ran.
#[allow(clippy::too_many_arguments)]
fn check(
    name: &str,
    geometry: ConvGeometry,
    zero_points: [u8; 2],
    weights: &[i8],
    bias: &[i32],
    scales: &[f32],
    x: &[u8],
    want: &[u8],
) -> usize {
    let clamp = Clamp::none(zero_points[1]);
    let view = View::dense(x, geometry.input);
    let mut y = vec![0; geometry.output.len()];
    let out = ViewMut::dense(&mut y, geometry.output);
    reference::conv(&geometry, zero_points[0], clamp, weights, bias, scales, view, out);
    assert_eq!(y, want, "{name}: the reference");

    let mut ran = 0;
    for threads in [1, 2] {
        let team = Team::new(threads).unwrap();
        for algorithm in Conv::algorithms(Isa::best(), &geometry) {
            if !algorithm.is_exact(&geometry, weights) {
                continue;
            }
            let conv = Conv::with_algorithm(geometry, zero_points[0], clamp, algorithm);
            let mut packed = avec![[64]| 0u8; conv.packed_len()];
            conv.pack(weights, bias, scales, &mut packed);
            let mut scratch = vec![0x55; conv.scratch_len(threads)];
            let mut y = vec![0; geometry.output.len()];
            let out = ViewMut::dense(&mut y, geometry.output);
            conv.run(&packed, view, out, &mut scratch, &team);
            assert_eq!(y, want, "{name}: {} on {threads} threads", conv.name());
            ran += 1;
        }
    }
    ran
}

fn conv_case(case: &Case) -> usize {
    let [n, c, h, w] = case.shape("x").try_into().unwrap();
    let [m, inputs, kh, kw] = case.shape("w").try_into().unwrap();
    let [_, _, oh, ow] = case.shape("y").try_into().unwrap();
    let pair = |name: &str| -> [usize; 2] {
        let list = case.sizes(name).unwrap();
        [list[0], list[1]]
    };
    let geometry = ConvGeometry {
        input: Shape::new(h, w, c),
        output: Shape::new(oh, ow, m),
        window: Window {
            kernel: [kh, kw],
            stride: pair("strides"),
            dilation: pair("dilations"),
            pad: pair("pads"),
        },
        groups: case.attr("group", 1) as usize,
    };
    let weights = channels_last(&case.s8("w"), inputs, kh * kw);
    let bias = if case.has("bias") { case.i32("bias") } else { vec![0; m] };
    let scales = per_channel(case.f32("w_scale"), m);
    let scales = multipliers(case.real("x_scale"), &scales, case.real("y_scale"));
    let acc = case.has("acc").then(|| case.i32("acc"));
    let zero_points = [case.int("x_zp") as u8, case.int("y_zp") as u8];
    let mut ran = 0;
    for image in 0..n {
        let of_image = |len: usize| image * len..(image + 1) * len;
        let x = channels_last(&case.u8("x")[of_image(c * h * w)], c, h * w);
        let outputs = of_image(m * oh * ow);
        let want = channels_last(&case.u8("y")[outputs.clone()], m, oh * ow);
        if let Some(acc) = &acc {
            let view = View::dense(&x, geometry.input);
            let got = reference::accumulate(&geometry, zero_points[0], &weights, &bias, view);
            assert_eq!(got, channels_last(&acc[outputs], m, oh * ow), "{}", case.name);
        }
        ran += check(&case.name, geometry, zero_points, &weights, &bias, &scales, &x, &want);
    }
    ran
}

fn matmul_case(case: &Case) -> usize {
    let (a, b) = (case.shape("a"), case.shape("b"));
    let k = *a.last().unwrap();
    let m: usize = a.iter().product::<usize>() / k;
    let (n, weights) = if case.attr("transB", 0) == 1 {
        (b[0], case.s8("b"))
    } else {
        (b[1], channels_last(&case.s8("b"), k, b[1]))
    };
    // A matrix product is a 1×1 convolution over a column of pixels.
    let geometry = ConvGeometry {
        input: Shape::new(m, 1, k),
        output: Shape::new(m, 1, n),
        window: Window::POINTWISE,
        groups: 1,
    };
    let bias = if case.has("bias") { per_channel(case.i32("bias"), n) } else { vec![0; n] };
    let scales = per_channel(case.f32("b_scale"), n);
    let scales = multipliers(case.real("a_scale"), &scales, case.real("y_scale"));
    let zero_points = [case.int("a_zp") as u8, case.int("y_zp") as u8];
    check(&case.name, geometry, zero_points, &weights, &bias, &scales, &case.u8("a"), &case.u8("y"))
}

#[test]
fn convolutions_are_onnx_runtimes() {
    let Some(golden) = golden("qlinear/qlinear_conv") else { return };
    let ran: usize = golden.cases.iter().map(conv_case).sum();
    assert!(ran >= golden.cases.len() * Isa::available().count());
}

#[test]
fn matrix_products_are_onnx_runtimes() {
    let Some(golden) = golden("qlinear/qlinear_matmul") else { return };
    let ran: usize = golden.cases.iter().map(matmul_case).sum();
    assert!(ran >= golden.cases.len() * Isa::available().count());
}
