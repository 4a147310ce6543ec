use std::f32::consts::LN_2;

use crate::{Clamp, View};

/// The parameters of [`lrn`].
#[derive(Clone, Copy, Debug)]
pub struct Lrn {
    /// Channels of a window.
    pub size: usize,
    /// Scales the mean of squares.
    pub alpha: f32,
    /// The exponent.
    pub beta: f32,
    /// Added before the power.
    pub bias: f32,
    /// Scale and zero point of the input.
    pub input: (f32, u8),
    /// Scale of the output.
    pub output_scale: f32,
    /// Zero point and limits of the output.
    pub clamp: Clamp,
}

/// Local response normalization across channels; dense NHWC.
pub fn lrn(p: &Lrn, x: View) -> Vec<u8> {
    let channels = x.shape().c;
    let (scale, zero) = (p.input.0, i32::from(p.input.1));
    let alpha = (f64::from(p.alpha) / p.size as f64 * (f64::from(scale) * f64::from(scale))) as f32;
    let ratio = scale / p.output_scale;
    let output_zero = f64::from(p.clamp.zero_point);
    let mut y = Vec::with_capacity(x.shape().len());
    for i in 0..x.shape().pixels() {
        for c in 0..channels {
            let first = c as isize - (p.size as isize - 1) / 2;
            let mut sum = 0;
            for o in first..first + p.size as isize {
                if (0..channels as isize).contains(&o) {
                    let d = i32::from(x.pixel(i)[o as usize]) - zero;
                    sum += d * d;
                }
            }
            let t = alpha.mul_add(sum as f32, p.bias.max(f32::MIN_POSITIVE));
            let factor = match p.beta == 0.75 {
                true => three_quarters(t, ratio),
                false => power_of_two(-p.beta * log2(t)) * ratio,
            };
            // In f64 the product is exact.
            let d = i32::from(x.pixel(i)[c]) - zero;
            let v = (f64::from(d) * f64::from(factor)).round_ties_even() + output_zero;
            y.push(v.clamp(f64::from(p.clamp.lo), f64::from(p.clamp.hi)) as u8);
        }
    }
    y
}

/// t^(-3/4) * ratio: a guess from the bits of t, times (1 - e)^(-1/4) by pairs of terms.
fn three_quarters(t: f32, ratio: f32) -> f32 {
    let bits = t.to_bits();
    let guess = f32::from_bits(1_863_605_128 - (bits - bits / 4));
    let quarter = guess * t;
    let e = (-(quarter * quarter)).mul_add(quarter * guess, 1.0);
    let coefficients = [1.000_000_1_f32, 0.249_977_63, 0.156_207_26, 0.120_220_765, 0.098_667_84];
    let [a, b, c, d, last] = coefficients.map(|c| c * ratio);
    let pairs = [e.mul_add(b, a), e.mul_add(d, c), last];
    let terms = pairs.into_iter().rev();
    guess * terms.reduce(|sum, pair| sum.mul_add(e * e, pair)).unwrap_or(0.0)
}

/// log2(t): the exponent, and a polynomial of what the mantissa, taken from [sqrt(1/2), sqrt(2)),
/// has above 1.
fn log2(t: f32) -> f32 {
    const SQRT_HALF: f32 = f32::from_bits(0x3F35_04F3);
    let mut mantissa = t;
    let mut exponent = 0;
    while mantissa >= 2.0 * SQRT_HALF {
        mantissa *= 0.5;
        exponent += 1;
    }
    while mantissa < SQRT_HALF {
        mantissa *= 2.0;
        exponent -= 1;
    }
    let f = mantissa - 1.0;
    let coefficients =
        [1.442_701_8, -0.721_208_45, 0.479_793_88, -0.366_413_27, 0.318_407_12, -0.206_858_13];
    exponent as f32 + polynomial(&coefficients, f) * f
}

/// 2^p for p limited to [-126, 127]: a polynomial of the fraction, times a power of two.
fn power_of_two(p: f32) -> f32 {
    let p = p.clamp(-126.0, 127.0);
    let whole = p.round_ties_even();
    let coefficients = [1.0, LN_2, 0.240_223_48, 0.055_503_57, 0.009_666_374, 0.001_339_086_7];
    polynomial(&coefficients, p - whole) * 2.0_f32.powi(whole as i32)
}

/// Horner's scheme in the square of x, over pairs of terms.
fn polynomial(coefficients: &[f32], x: f32) -> f32 {
    let (pairs, _) = coefficients.as_chunks::<2>();
    let pairs = pairs.iter().rev().map(|[even, odd]| even + odd * x);
    pairs.reduce(|sum, pair| pair + x * x * sum).unwrap_or(0.0)
}
