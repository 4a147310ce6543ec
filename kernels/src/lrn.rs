//! ONNX `LRN`: local response normalization across channels.
//!
//! `y = x * (bias + alpha / size * sum)^-beta`, the sum over the squares of `size` neighbouring
//! channels. On codes the squares' sum is an exact integer `S` in units of the input's scale
//! squared, so neither its order nor the instruction set shows. The rest is f32, one rounding per
//! operation and nothing fused:
//!
//! 1. `t = bias + (alpha / size * sx^2) * f32(S)`, not below the smallest normal number;
//! 2. `p = -beta * log2(t)`, by a polynomial of degree 6 on the mantissa;
//! 3. `f = 2^p`, by a polynomial of degree 5 on the fraction;
//! 4. `v = (x - zx) * (sx / sy) * f`; `y = rne(clamp(v, lo - zy, hi - zy)) + zy`.
//!
//! For beta up to 1, `f` is within 5e-6 of the true power, so a code differs from the correctly
//! rounded one only where the real value is within 255 * 5e-6 of half-way. Square roots would do for the usual beta = 3/4 only, and cost a
//! small board's core more than the polynomials.

use std::f32::consts::LN_2;

use crate::geometry::Clamp;
use crate::isa::Isa;
use crate::split;
use crate::stamp::{limit, round_code, stamped};
use crate::team::Team;
use crate::view::{Shape, View, ViewMut};

/// Local response normalization of one tensor.
#[derive(Clone, Debug)]
pub struct Lrn {
    isa: Isa,
    form: Form,
}

/// The parameters in the units of the codes.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// Channels of the window before and from its own one on.
    before: usize,
    size: usize,
    zero_point: i32,
    bias: f32,
    /// `alpha / size * sx^2`.
    alpha: f32,
    neg_beta: f32,
    /// `sx / sy`.
    ratio: f32,
    clamp: [f32; 2],
    output_zero_point: i32,
}

impl Lrn {
    /// ONNX's `size`, `alpha`, `beta` and `bias`; `input` is scale and zero point of the input.
    ///
    /// # Panics
    /// `size` is 0 or above 4096 (a sum of squares would leave i32).
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        isa: Isa,
        size: usize,
        alpha: f32,
        beta: f32,
        bias: f32,
        input: (f32, u8),
        output_scale: f32,
        clamp: Clamp,
    ) -> Lrn {
        Lrn { isa, form: Form::new(size, alpha, beta, bias, input, output_scale, clamp) }
    }

    /// Normalizes `x` into `y`.
    ///
    /// # Panics
    /// The shapes differ.
    pub fn run(&self, x: View, mut y: ViewMut, team: &Team) {
        assert_eq!(x.shape(), y.shape());
        let (shape, stride) = (y.shape(), y.pixel_stride());
        split::pixels(team, &mut y, 16 * shape.c, &|pixels, y| {
            let x_bytes = &x.data()[pixels.start * x.pixel_stride()..];
            let shape = Shape::new(1, pixels.len(), shape.c);
            normalize(self.isa, self.form, shape, x_bytes, x.pixel_stride(), y, stride);
        });
    }
}

impl Form {
    fn new(
        size: usize,
        alpha: f32,
        beta: f32,
        bias: f32,
        (scale, zero_point): (f32, u8),
        output_scale: f32,
        clamp: Clamp,
    ) -> Form {
        assert!((1..=4096).contains(&size), "LRN over {size} channels");
        let output_zero_point = i32::from(clamp.zero_point);
        let scale_squared = f64::from(scale) * f64::from(scale);
        Form {
            before: (size - 1) / 2,
            size,
            zero_point: i32::from(zero_point),
            bias,
            alpha: (f64::from(alpha) / size as f64 * scale_squared) as f32,
            neg_beta: -beta,
            ratio: scale / output_scale,
            clamp: [clamp.lo, clamp.hi].map(|q| (i32::from(q) - output_zero_point) as f32),
            output_zero_point,
        }
    }

    /// The square of a code's distance from zero.
    #[inline(always)]
    fn square(self, q: u8) -> i32 {
        let d = i32::from(q) - self.zero_point;
        d * d
    }

    /// The squares of the channels from `at - before` on; 0 for those that the pixel does not have.
    #[inline(always)]
    fn squares(self, x: &[u8], at: usize, squares: &mut [i32]) {
        let missing = self.before.saturating_sub(at).min(squares.len());
        let from = (at + missing).saturating_sub(self.before).min(x.len());
        let present = (x.len() - from).min(squares.len() - missing);
        let (before, rest) = squares.split_at_mut(missing);
        let (inside, after) = rest.split_at_mut(present);
        before.fill(0);
        for (square, &q) in inside.iter_mut().zip(&x[from..]) {
            *square = self.square(q);
        }
        after.fill(0);
    }

    /// The output code of code `q` whose window's squares sum to `sum`.
    #[inline(always)]
    fn code(self, q: u8, sum: i32) -> u8 {
        let t = self.bias + self.alpha * sum as f32;
        let t = if t > f32::MIN_POSITIVE { t } else { f32::MIN_POSITIVE };
        let factor = exp2(self.neg_beta * log2(t));
        let v = (i32::from(q) - self.zero_point) as f32 * self.ratio * factor;
        round_code(limit(v, self.clamp[0], self.clamp[1]), self.output_zero_point)
    }
}

/// log2 of a positive normal number.
#[inline(always)]
fn log2(t: f32) -> f32 {
    // The mantissa is taken from [sqrt(1/2), sqrt(2)), so that t near 1 loses nothing.
    const SQRT_HALF: i32 = 0x3F35_04F3;
    let bits = t.to_bits() as i32;
    let exponent = (bits - SQRT_HALF) >> 23;
    let f = f32::from_bits((bits - (exponent << 23)) as u32) - 1.0;
    // log2(1 + f) / f, fitted at Chebyshev nodes.
    let c = [1.442_701_8, -0.721_208_45, 0.479_793_88, -0.366_413_27, 0.318_407_12, -0.206_858_13];
    exponent as f32 + f * polynomial(c, f)
}

/// 2 to the power `p`, `p` first limited to [-126, 127].
#[inline(always)]
fn exp2(p: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    let p = limit(p, -126.0, 127.0);
    let shifted = p + SHIFT;
    let g = p - (shifted - SHIFT);
    let n = shifted.to_bits() as i32 - SHIFT.to_bits() as i32;
    // 2^g on [-1/2, 1/2], fitted at Chebyshev nodes with the constant held at 1.
    let c = [1.0, LN_2, 0.240_223_48, 0.055_503_57, 0.009_666_374, 0.001_339_086_7];
    polynomial(c, g) * f32::from_bits(((n + 127) << 23) as u32)
}

/// Pairs of terms first, then pairs of pairs: a chain of additions and multiplications half as
/// long as Horner's, and the chain's latency is what this kernel waits for.
#[inline(always)]
fn polynomial(c: [f32; 6], x: f32) -> f32 {
    let square = x * x;
    (c[0] + c[1] * x) + square * ((c[2] + c[3] * x) + square * (c[4] + c[5] * x))
}

/// Channels normalized at once: the buffers stay in the first-level cache.
const SEGMENT: usize = 256;
/// Offsets of the window that one pass over a segment takes.
const PASS: usize = 8;

stamped! {
    fn normalize(
        form: Form,
        shape: Shape,
        x: &[u8],
        x_stride: usize,
        y: &mut [u8],
        y_stride: usize,
    ) {
        let mut squares = [0; SEGMENT + PASS];
        let mut sums = [0; SEGMENT];
        for pixel in 0..shape.pixels() {
            let x = &x[pixel * x_stride..][..shape.c];
            let y = &mut y[pixel * y_stride..][..shape.c];
            for start in (0..shape.c).step_by(SEGMENT) {
                let n = SEGMENT.min(shape.c - start);
                let sums = &mut sums[..n];
                sums.fill(0);
                for first in (0..form.size).step_by(PASS) {
                    form.squares(x, start + first, &mut squares[..n + PASS - 1]);
                    match PASS.min(form.size - first) {
                        1 => add_windows::<1>(sums, &squares),
                        2 => add_windows::<2>(sums, &squares),
                        3 => add_windows::<3>(sums, &squares),
                        4 => add_windows::<4>(sums, &squares),
                        5 => add_windows::<5>(sums, &squares),
                        6 => add_windows::<6>(sums, &squares),
                        7 => add_windows::<7>(sums, &squares),
                        _ => add_windows::<PASS>(sums, &squares),
                    }
                }
                let codes = y[start..].iter_mut().zip(&x[start..]);
                for ((y, &q), &sum) in codes.zip(&*sums) {
                    *y = form.code(q, sum);
                }
            }
        }
    }
}

/// Adds to every sum the `N` squares from its own place on.
#[inline(always)]
fn add_windows<const N: usize>(sums: &mut [i32], squares: &[i32; SEGMENT + PASS]) {
    for (sum, window) in sums.iter_mut().zip(squares.windows(N)) {
        *sum += window.iter().sum::<i32>();
    }
}
