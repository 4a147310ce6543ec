//! ONNX `LRN`: local response normalization across channels.
//!
//! `y = x * (bias + alpha / size * sum)^-beta`, the sum over the squares of `size` neighbouring
//! channels. On codes the squares' sum is an integer `S` in units of the input's scale squared, and
//! below 2^24, where f32 holds every integer: neither its order nor the instruction set shows. The
//! rest is f32, one rounding per operation:
//!
//! 1. `t = fma(alpha / size * sx^2, S, bias)`, the bias not below the smallest normal number;
//! 2. `p = t^-beta * sx / sy`;
//! 3. `y = rne(d * p) + zy`, the product not rounded before, limited to `lo..=hi`; `d = x - zx`.
//!
//! For the usual beta = 3/4, `p` starts from the bits of `t`: they are a logarithm in straight
//! pieces, and three quarters of them, subtracted from a constant, the bits of a first guess `g`.
//! What is missing is `(g^4 t^3)^(-1/4)`, by a polynomial of degree 4 in `e = 1 - g^4 t^3`, which
//! lies within 0.172. For any other beta `p` is `2^(-beta log2(t))`, by a polynomial of degree 6 on
//! the mantissa and one of degree 5 on the fraction.
//!
//! `p` is within 2e-6 of the true power (5e-6 where beta is not 3/4, for beta up to 1), so a code
//! differs from the correctly rounded one only where the real value is within 255 * 5e-6 of
//! half-way. Square roots and a division would cost more than the polynomial: they are not
//! pipelined.

use std::f32::consts::LN_2;

use crate::geometry::Clamp;
use crate::isa::Isa;
use crate::split;
use crate::stamp::{limit, stamped};
use crate::team::Team;
use crate::view::{Shape, View, ViewMut};

/// Most channels of a window: 256 squares of up to 255^2 stay below 2^24.
pub const MAX_SIZE: usize = 256;

/// Local response normalization of one tensor.
#[derive(Clone, Debug)]
pub struct Lrn {
    isa: Isa,
    form: Form,
}

/// The parameters in the units of the codes.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// Channels of the window before its own.
    before: usize,
    size: usize,
    zero_point: f32,
    bias: f32,
    /// `alpha / size * sx^2`.
    alpha: f32,
    power: Power,
    /// `lo - zy` and `hi - zy`, above [`ROUND`].
    limits: [f32; 2],
    /// The bits of [`ROUND`], as an integer, less the output's zero point.
    zero_code: i32,
}

/// `t^-beta * sx / sy`.
#[derive(Clone, Copy, Debug)]
enum Power {
    /// beta = 3/4, by the polynomial's coefficients times `sx / sy`.
    ThreeQuarters([f32; 5]),
    /// -beta and `sx / sy`.
    Any(f32, f32),
}

/// Adding 1.5 * 2^23 leaves no bits for a fraction: the addition itself rounds, half to even,
/// and the integer is what the sum's bits, as an integer, exceed those of this by.
const ROUND: f32 = 12_582_912.0;

impl Lrn {
    /// ONNX's `size`, `alpha`, `beta` and `bias`; `input` is scale and zero point of the input.
    ///
    /// # Panics
    /// `size` is 0 or above [`MAX_SIZE`], or `alpha` negative.
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
        split::pixels(team, &mut y, 8 * shape.c, &|pixels, y| {
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
        assert!((1..=MAX_SIZE).contains(&size), "LRN over {size} channels");
        assert!(alpha >= 0.0, "LRN with alpha {alpha}");
        let scale_squared = f64::from(scale) * f64::from(scale);
        let ratio = scale / output_scale;
        // (1 - e)^(-1/4) on [-0.172, 0.172], fitted for the least relative error.
        let c = [1.000_000_1, 0.249_977_63, 0.156_207_26, 0.120_220_765, 0.098_667_84];
        Form {
            before: (size - 1) / 2,
            size,
            zero_point: f32::from(zero_point),
            bias: bias.max(f32::MIN_POSITIVE),
            alpha: (f64::from(alpha) / size as f64 * scale_squared) as f32,
            power: match beta == 0.75 {
                true => Power::ThreeQuarters(c.map(|c| c * ratio)),
                false => Power::Any(-beta, ratio),
            },
            limits: [clamp.lo, clamp.hi]
                .map(|q| ROUND + (f32::from(q) - f32::from(clamp.zero_point))),
            zero_code: ROUND.to_bits() as i32 - i32::from(clamp.zero_point),
        }
    }

    /// Distances from zero of the channels from `at - before` on; 0 for those that the pixel does
    /// not have.
    #[inline(always)]
    fn distances(&self, x: &[u8], at: usize, distances: &mut [f32]) {
        let missing = self.before.saturating_sub(at).min(distances.len());
        let from = (at + missing).saturating_sub(self.before).min(x.len());
        let present = (x.len() - from).min(distances.len() - missing);
        let (before, rest) = distances.split_at_mut(missing);
        let (inside, after) = rest.split_at_mut(present);
        before.fill(0.0);
        for (d, &q) in inside.iter_mut().zip(&x[from..]) {
            *d = f32::from(q) - self.zero_point;
        }
        after.fill(0.0);
    }

    /// Replaces sums of squares by factors.
    #[inline(always)]
    fn factors(&self, values: &mut [f32], misses: &mut [f32]) {
        match self.power {
            // Two loops: a CPU looks ahead by so many instructions only, and one chain of all
            // these operations would leave it waiting.
            Power::ThreeQuarters(c) => {
                for (sum, e) in values.iter_mut().zip(&mut *misses) {
                    let t = sum.mul_add(self.alpha, self.bias);
                    let g = guess(t);
                    // (g t)^2 is t^(1/2) and g^2 t is t^(-1/2): neither overflows nor vanishes.
                    let quarter = g * t;
                    *e = (-(quarter * quarter)).mul_add(quarter * g, 1.0);
                    *sum = g;
                }
                for (g, &e) in values.iter_mut().zip(&*misses) {
                    let low = e.mul_add(c[1], c[0]);
                    let high = (e * e).mul_add(c[4], e.mul_add(c[3], c[2]));
                    *g *= (e * e).mul_add(high, low);
                }
            }
            Power::Any(beta, ratio) => {
                for sum in values {
                    let t = sum.mul_add(self.alpha, self.bias);
                    *sum = exp2(beta * log2(t)) * ratio;
                }
            }
        }
    }

    /// The codes of distances, each times its factor.
    #[inline(always)]
    fn codes(&self, distances: &[f32], factors: &[f32], y: &mut [u8]) {
        let ((d, d_rest), (f, f_rest)) = (distances.as_chunks(), factors.as_chunks());
        let (y, y_rest) = y.as_chunks_mut();
        for ((y, d), f) in y.iter_mut().zip(d).zip(f) {
            self.chunk::<32>(d, f, y);
        }
        for ((y, &d), &f) in y_rest.iter_mut().zip(d_rest).zip(f_rest) {
            self.chunk::<1>(&[d], &[f], std::array::from_mut(y));
        }
    }

    #[inline(always)]
    fn chunk<const N: usize>(&self, distances: &[f32; N], factors: &[f32; N], y: &mut [u8; N]) {
        for i in 0..N {
            let v = distances[i].mul_add(factors[i], ROUND);
            let v = limit(v, self.limits[0], self.limits[1]);
            let code = v.to_bits() as i32 - self.zero_code;
            // It is a code already; said so, the compiler packs 32 of them at once.
            y[i] = code.clamp(0, 255) as u8;
        }
    }
}

/// About `t^(-3/4)`, of a positive normal number.
#[inline(always)]
fn guess(t: f32) -> f32 {
    f32::from_bits(0x6F14_5B88 - (t.to_bits() - (t.to_bits() >> 2)))
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

/// Channels of a pixel normalized at once, and values of several pixels together: few enough for
/// the first-level cache, and so many that what one loop has stored is out of the store buffer when
/// the next one loads it at other offsets.
const BATCH: usize = 1024;
/// Offsets of the window that one pass takes.
const PASS: usize = 8;

const LEN: usize = BATCH + MAX_SIZE;

/// No vector of it crosses a cache line.
#[repr(align(64))]
struct Buffer([f32; LEN]);

stamped! {
    fn normalize(
        form: Form,
        shape: Shape,
        x: &[u8],
        x_stride: usize,
        y: &mut [u8],
        y_stride: usize,
    ) {
        let mut buffers = [const { Buffer([0.0; LEN]) }; 3];
        let [Buffer(distances), Buffer(values), Buffer(misses)] = &mut buffers;
        for start in (0..shape.c).step_by(BATCH) {
            let n = BATCH.min(shape.c - start);
            // A pixel has beside its channels those that the windows of its ends need.
            let wide = n + form.size - 1;
            for first in (0..shape.pixels()).step_by(LEN / wide) {
                let count = (LEN / wide).min(shape.pixels() - first);
                for (i, distances) in distances.chunks_mut(wide).take(count).enumerate() {
                    form.distances(&x[(first + i) * x_stride..][..shape.c], start, distances);
                }
                // The sums between two pixels have no use.
                let values = &mut values[..count * wide - (form.size - 1)];
                window_sums(form.size, distances, values);
                form.factors(values, misses);
                for i in 0..count {
                    let y = &mut y[(first + i) * y_stride + start..][..n];
                    let distances = &distances[i * wide + form.before..][..n];
                    form.codes(distances, &values[i * wide..][..n], y);
                }
            }
        }
    }
}

/// The sums of the squares of `size` distances, each from its own place on.
#[inline(always)]
fn window_sums(size: usize, distances: &[f32], sums: &mut [f32]) {
    for first in (0..size).step_by(PASS) {
        let distances = &distances[first..];
        match PASS.min(size - first) {
            1 => add_windows::<1>(first > 0, sums, distances),
            2 => add_windows::<2>(first > 0, sums, distances),
            3 => add_windows::<3>(first > 0, sums, distances),
            4 => add_windows::<4>(first > 0, sums, distances),
            5 => add_windows::<5>(first > 0, sums, distances),
            6 => add_windows::<6>(first > 0, sums, distances),
            7 => add_windows::<7>(first > 0, sums, distances),
            _ => add_windows::<PASS>(first > 0, sums, distances),
        }
    }
}

/// `N` squares; `add`ed to the sums, or in their place. All are integers that f32 holds, so nothing
/// is rounded.
#[inline(always)]
fn add_windows<const N: usize>(add: bool, sums: &mut [f32], distances: &[f32]) {
    for (sum, window) in sums.iter_mut().zip(distances.windows(N)) {
        let start = if add { *sum } else { 0.0 };
        *sum = window.iter().fold(start, |sum, &d| d.mul_add(d, sum));
    }
}
