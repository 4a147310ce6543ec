//! Promise: the fixed-point output stage is gemmlowp's, bit for bit.

mod common;

use common::{Case, golden};
use seam_kernels::fixed_point::{
    FixedPoint, rounding_divide_by_pot, saturating_rounding_doubling_high_mul,
};
use seam_kernels::reference;

fn stage(case: &Case, clamped: bool) -> FixedPoint {
    let clamp = if clamped {
        [case.int("clamp_min") as i32, case.int("clamp_max") as i32]
    } else {
        [0, 255]
    };
    FixedPoint {
        multiplier: case.int("multiplier") as i32,
        shift: case.int("shift") as i32,
        offset: case.int("offset_after_shift") as i32,
        min: clamp[0],
        max: clamp[1],
    }
}

fn check_stage(case: &Case, acc: &[i32]) {
    let plain = stage(case, false);
    let scaled: Vec<i32> = acc.iter().map(|&a| plain.scale(a)).collect();
    assert_eq!(scaled, case.i32("quantized_i32"), "{}", case.name);
    let codes: Vec<u8> = acc.iter().map(|&a| plain.apply(a)).collect();
    assert_eq!(codes, case.u8("out_u8"), "{}", case.name);
    let clamped = stage(case, true);
    let codes: Vec<u8> = acc.iter().map(|&a| clamped.apply(a)).collect();
    assert_eq!(codes, case.u8("out_clamped_u8"), "{}", case.name);
}

#[test]
fn products_and_pipelines_are_gemmlowps() {
    let Some(golden) = golden("gemmlowp/gemmlowp_gemm") else { return };
    for case in &golden.cases {
        if case.op == "OutputPipeline" {
            check_stage(case, &case.i32("acc"));
            continue;
        }
        let [m, k, n] = ["m", "k", "n"].map(|name| case.int(name) as usize);
        let offsets = ["lhs_offset", "rhs_offset"].map(|name| case.int(name) as i32);
        let mut acc =
            reference::gemm([m, k, n], &case.u8("lhs"), offsets[0], &case.u8("rhs"), offsets[1]);
        assert_eq!(acc, case.i32("result_i32"), "{}", case.name);
        if case.has("bias") {
            let bias = case.i32("bias");
            let by_row = case.attrs["bias_axis"] == "m";
            for (i, acc) in acc.iter_mut().enumerate() {
                *acc = acc.wrapping_add(bias[if by_row { i / n } else { i % n }]);
            }
        }
        check_stage(case, &acc);
    }
}

#[test]
fn its_two_primitives_are_gemmlowps() {
    let Some(golden) = golden("gemmlowp/gemmlowp_scalars") else { return };
    for case in &golden.cases {
        let got: Vec<i32> = if case.op == "SaturatingRoundingDoublingHighMul" {
            let pairs = case.i32("a").into_iter().zip(case.i32("b"));
            pairs.map(|(a, b)| saturating_rounding_doubling_high_mul(a, b)).collect()
        } else {
            let pairs = case.i32("x").into_iter().zip(case.i32("exponent"));
            pairs.map(|(x, e)| rounding_divide_by_pot(x, e as u32)).collect()
        };
        assert_eq!(got, case.i32("y"), "{}", case.name);
    }
}
