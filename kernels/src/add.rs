//! ONNX `Add` of two quantized tensors.
//!
//! The definition is the form of ONNX Runtime's `QLinearAdd` on x86-64 with FMA: with
//! `ra = a_scale / y_scale`, `rb = b_scale / y_scale` and
//! `fixed = y_zp - fma(ra, a_zp, rb * b_zp)`,
//! `y = rne(clamp(fma(a, ra, fma(b, rb, fixed)), lo, hi))`. The zero point is inside the rounding.
//! AVX2 machines and NEON have the fused operation; the portable build calls the system's `fma`,
//! which is exact wherever it runs and slow where the CPU has none.

use crate::isa::Isa;
use crate::split::{self, runs};
use crate::stamp::{limit, round_code, stamped};
use crate::team::Team;
use crate::view::{View, ViewMut};

/// The sum of two tensors of one shape.
#[derive(Clone, Debug)]
pub struct Add {
    isa: Isa,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
struct Form {
    ra: f32,
    rb: f32,
    fixed: f32,
    lo: f32,
    hi: f32,
}

impl Form {
    #[inline(always)]
    fn sum(self, a: u8, b: u8) -> u8 {
        let inner = f32::from(b).mul_add(self.rb, self.fixed);
        let v = f32::from(a).mul_add(self.ra, inner);
        round_code(limit(v, self.lo, self.hi), 0)
    }
}

impl Add {
    /// `a`, `b` and `y` are scale and zero point of the operands and the sum; `lo..=hi` are the
    /// codes that a fused activation lets through.
    pub fn new(isa: Isa, a: (f32, u8), b: (f32, u8), y: (f32, u8), lo: u8, hi: u8) -> Add {
        let (ra, rb) = (a.0 / y.0, b.0 / y.0);
        let fixed = f32::from(y.1) - ra.mul_add(f32::from(a.1), rb * f32::from(b.1));
        Add { isa, form: Form { ra, rb, fixed, lo: f32::from(lo), hi: f32::from(hi) } }
    }

    /// `y = a + b`.
    ///
    /// # Panics
    /// The shapes differ.
    pub fn run(&self, a: View, b: View, mut y: ViewMut, team: &Team) {
        assert!(a.shape() == y.shape() && b.shape() == y.shape());
        let (c, stride) = (y.shape().c, y.pixel_stride());
        split::pixels(team, &mut y, 3 * c, &|pixels, y| {
            let a_bytes = &a.data()[pixels.start * a.pixel_stride()..];
            let b_bytes = &b.data()[pixels.start * b.pixel_stride()..];
            let strides = [a.pixel_stride(), b.pixel_stride(), stride];
            let (count, len) = runs(pixels.len(), c, strides);
            add(self.isa, self.form, count, len, a_bytes, b_bytes, y, strides);
        });
    }

    /// `ab = ab + b`: `ab` holds the operand `a` and takes the sum.
    ///
    /// # Panics
    /// The shapes differ.
    pub fn run_in_place(&self, mut ab: ViewMut, b: View, team: &Team) {
        assert_eq!(ab.shape(), b.shape());
        let (c, stride) = (ab.shape().c, ab.pixel_stride());
        split::pixels(team, &mut ab, 3 * c, &|pixels, ab| {
            let b_bytes = &b.data()[pixels.start * b.pixel_stride()..];
            let (count, len) = runs(pixels.len(), c, [stride, b.pixel_stride()]);
            add_in_place(self.isa, self.form, count, len, ab, b_bytes, [stride, b.pixel_stride()]);
        });
    }
}

stamped! {
    fn add(
        form: Form,
        count: usize,
        len: usize,
        a: &[u8],
        b: &[u8],
        y: &mut [u8],
        strides: [usize; 3],
    ) {
        let [a_stride, b_stride, y_stride] = strides;
        for i in 0..count {
            let a = &a[i * a_stride..][..len];
            let b = &b[i * b_stride..][..len];
            let y = &mut y[i * y_stride..][..len];
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = form.sum(a, b);
            }
        }
    }
}

stamped! {
    fn add_in_place(
        form: Form,
        count: usize,
        len: usize,
        ab: &mut [u8],
        b: &[u8],
        strides: [usize; 2],
    ) {
        let [a_stride, b_stride] = strides;
        for i in 0..count {
            let ab = &mut ab[i * a_stride..][..len];
            let b = &b[i * b_stride..][..len];
            for (ab, &b) in ab.iter_mut().zip(b) {
                *ab = form.sum(*ab, b);
            }
        }
    }
}
