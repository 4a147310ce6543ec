//! ONNX `LRN`: local response normalization across channels.
//!
//! `y = x * (bias + alpha / size * sum)^-beta`, the sum over the squares of `size` neighbouring
//! channels. On codes the squares' sum is an exact integer `S` in units of the input's scale
//! squared, so neither its order nor the instruction set shows. The rest is f32, one rounding per
//! operation and nothing fused:
//!
//! 1. `t = bias + (alpha / size * sx^2) * f32(S)`, not below the smallest normal number;
//! 2. `p = -beta * log2(t)`, by a polynomial of degree 8 on the mantissa;
//! 3. `f = 2^p`, by a polynomial of degree 5 on the fraction;
//! 4. `v = (x - zx) * (sx / sy) * f`; `y = rne(clamp(v, lo - zy, hi - zy)) + zy`.
//!
//! `f` is within 2e-6 of the true power, so a code differs from the correctly rounded one only
//! within 2e-6 * 255 of half-way. Square roots would do for the usual beta = 3/4 only, and cost a
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
#[derive(Clone, Debug)]
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
            normalize(self.isa, &self.form, shape, x_bytes, x.pixel_stride(), y, stride);
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
    fn square(&self, q: u8) -> i32 {
        let d = i32::from(q) - self.zero_point;
        d * d
    }

    /// The output code of code `q` whose window's squares sum to `sum`.
    #[inline(always)]
    fn code(&self, q: u8, sum: i32) -> u8 {
        let t = limit(self.bias + self.alpha * sum as f32, f32::MIN_POSITIVE, f32::MAX);
        let factor = exp2(self.neg_beta * log2(t));
        let v = (i32::from(q) - self.zero_point) as f32 * self.ratio * factor;
        round_code(limit(v, self.clamp[0], self.clamp[1]), self.output_zero_point)
    }
}

/// log2 of a positive normal number; absolute error below 3e-7 for results near zero.
#[inline(always)]
fn log2(t: f32) -> f32 {
    // The mantissa is taken from [sqrt(1/2), sqrt(2)), so that t near 1 loses nothing.
    const SQRT_HALF: i32 = 0x3F35_04F3;
    let bits = t.to_bits() as i32;
    let exponent = (bits - SQRT_HALF) >> 23;
    let f = f32::from_bits((bits - (exponent << 23)) as u32) - 1.0;
    // log2(1 + f) / f, fitted at Chebyshev nodes.
    let mut p = -0.146_203_53_f32;
    for c in [0.234_209_85, -0.248_821_81, 0.287_075_6, -0.360_241_98, 0.480_924_04, -0.721_352_76]
    {
        p = p * f + c;
    }
    p = p * f + 1.442_694_9;
    exponent as f32 + p * f
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
    let mut y = 0.001_340_043_3_f32;
    for c in [0.009_676_037, 0.055_503_27, 0.240_221_07, LN_2, 1.0] {
        y = y * g + c;
    }
    y * f32::from_bits(((n + 127) << 23) as u32)
}

/// Channels normalized at once.
const BLOCK: usize = 64;
/// Offsets of the window that one pass over a block takes.
const PASS: usize = 16;

stamped! {
    fn normalize(
        form: &Form,
        shape: Shape,
        x: &[u8],
        x_stride: usize,
        y: &mut [u8],
        y_stride: usize,
    ) {
        for pixel in 0..shape.pixels() {
            let x = &x[pixel * x_stride..][..shape.c];
            let y = &mut y[pixel * y_stride..][..shape.c];
            for start in (0..shape.c).step_by(BLOCK) {
                let n = BLOCK.min(shape.c - start);
                let mut sums = [0; BLOCK];
                for first in (0..form.size).step_by(PASS) {
                    let offsets = PASS.min(form.size - first);
                    add_squares(form, x, start + first, offsets, &mut sums);
                }
                let mut codes = [0; BLOCK];
                codes[..n].copy_from_slice(&x[start..][..n]);
                for (code, sum) in codes.iter_mut().zip(sums) {
                    *code = form.code(*code, sum);
                }
                y[start..][..n].copy_from_slice(&codes[..n]);
            }
        }
    }
}

/// Adds to `sums[i]` the squares of the channels `i + at - before + o` for `o` in `0..offsets`;
/// channels outside of the pixel count nothing.
#[inline(always)]
fn add_squares(form: &Form, x: &[u8], at: usize, offsets: usize, sums: &mut [i32; BLOCK]) {
    // Channel `at - before` stands first; what lies outside stays zero.
    let mut squares = [0; BLOCK + PASS];
    let skipped = form.before.saturating_sub(at);
    let from = (at + skipped).saturating_sub(form.before);
    let inside = x.get(from..).unwrap_or(&[]);
    if let Some(squares) = squares.get_mut(skipped..) {
        for (square, &q) in squares.iter_mut().zip(inside) {
            *square = form.square(q);
        }
    }
    for o in 0..offsets {
        for (sum, square) in sums.iter_mut().zip(&squares[o..]) {
            *sum += square;
        }
    }
}
