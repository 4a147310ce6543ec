//! `exp` in f64 from additions, multiplications and divisions alone: the system's own differs from
//! platform to platform in the last bit, and kernels must not.

use std::f64::consts::LOG2_E;

/// ln 2 in two parts; the first has 21 trailing zero bits, so that its product with an exponent
/// is exact.
const LN_2_HI: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
const LN_2_LO: f64 = 1.908_214_929_270_587_7e-10;

/// e to the power `x`, within a few units of the last place.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    if x < -708.0 {
        return 0.0;
    }
    let n = (x * LOG2_E).round_ties_even();
    let r = (x - n * LN_2_HI) - n * LN_2_LO;
    // |r| <= ln(2) / 2: the Taylor series to r^14 leaves 2e-19.
    let mut sum = 1.0;
    for k in (1..=14).rev() {
        sum = 1.0 + sum * r / f64::from(k);
    }
    sum * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_within_a_few_units_of_the_last_place() {
        for i in -70_000..70_000 {
            let x = f64::from(i) * 0.01;
            let (own, system) = (super::exp(x), x.exp());
            assert!((own - system).abs() <= 8.0 * f64::EPSILON * system, "{x}: {own} {system}");
        }
        assert_eq!(super::exp(0.0), 1.0);
        assert_eq!(super::exp(-1e30), 0.0);
        assert_eq!(super::exp(1e30), f64::INFINITY);
        assert!(super::exp(f64::NAN).is_nan());
    }
}
