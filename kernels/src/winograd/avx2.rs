//! AVX2: `vpmaddwd`. A register tile is 6 × 16: twelve sums, two vectors of weights and one pair of
//! codes in sixteen registers.

use std::arch::x86_64::*;

use super::form::{Form, Vector};
use super::input::{self, Input};
use super::output::{self, Output};
use super::{Kernel, Product, Sums, Words};
use crate::gemm::with_rows;
use crate::requantize::Requantize;
use crate::requantize::x86::{Stage, store_first};

pub(crate) struct Avx2;

// SAFETY: `product` reads and writes what the trait says, a vector holding eight columns.
unsafe impl Kernel for Avx2 {
    type Words = I16x16;
    type Sums = I32x8;
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;

    unsafe fn input<F: Form<O, I>, const O: usize, const I: usize>(job: &Input) {
        // SAFETY: the caller's.
        unsafe { input::<F, O, I>(job) }
    }

    unsafe fn product(job: &Product) {
        // SAFETY: the caller's.
        unsafe {
            with_rows!(job.rows, [1 2 3 4 5 6], R => {
                if job.half { product::<R, 1>(job) } else { product::<R, 2>(job) }
            })
        }
    }

    unsafe fn output<F: Form<O, I>, const O: usize, const I: usize>(job: &Output) {
        // SAFETY: the caller's.
        unsafe { output::<F, O, I>(job) }
    }
}

#[target_feature(enable = "avx2")]
pub(super) unsafe fn input<F: Form<O, I>, const O: usize, const I: usize>(job: &Input) {
    // SAFETY: the caller's.
    unsafe { input::transform::<I16x16, F, O, I>(job) }
}

#[target_feature(enable = "avx2")]
pub(super) unsafe fn output<F: Form<O, I>, const O: usize, const I: usize>(job: &Output) {
    // SAFETY: the caller's.
    unsafe { output::transform::<Avx2, F, O, I>(job) }
}

#[target_feature(enable = "avx2")]
unsafe fn product<const R: usize, const V: usize>(job: &Product) {
    // SAFETY: the contract of `Kernel`.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); V]; R];
        for row in &mut sums {
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = _mm256_loadu_si256(job.start.add(8 * v).cast());
            }
        }
        let a: [*const i16; R] = std::array::from_fn(|r| job.a.add(r * job.a_stride));
        let (mut b, mut next) = (job.b, job.next);
        for pair in 0..job.pairs {
            _mm_prefetch::<_MM_HINT_T0>(next.cast());
            next = next.wrapping_add(job.next_step);
            let mut w = [_mm256_setzero_si256(); V];
            for (v, w) in w.iter_mut().enumerate() {
                *w = _mm256_loadu_si256(b.add(16 * v).cast());
            }
            for (r, row) in sums.iter_mut().enumerate() {
                let codes = _mm256_set1_epi32(a[r].add(2 * pair).cast::<i32>().read_unaligned());
                for (sum, w) in row.iter_mut().zip(w) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(codes, w));
                }
            }
            b = b.add(16 * V);
        }
        for (r, row) in sums.into_iter().enumerate() {
            for (v, sum) in row.into_iter().enumerate() {
                _mm256_storeu_si256(job.to.add(r * job.to_stride + 8 * v).cast(), sum);
            }
        }
    }
}

/// Sixteen i16.
#[derive(Clone, Copy)]
pub(crate) struct I16x16(__m256i);

// SAFETY: AVX2, as the kernels that use it are compiled for.
unsafe impl Vector for I16x16 {
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { I16x16(_mm256_add_epi16(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { I16x16(_mm256_sub_epi16(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn shl<const N: i32>(self) -> Self {
        // SAFETY: the caller's.
        unsafe { I16x16(_mm256_slli_epi16::<N>(self.0)) }
    }
}

// SAFETY: as above; 16 bytes are read of codes, 32 of elements.
unsafe impl Words for I16x16 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn codes(from: *const u8) -> Self {
        // SAFETY: the caller's.
        unsafe { I16x16(_mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i16) -> Self {
        // SAFETY: the caller's.
        unsafe { I16x16(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i16) {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }
}

/// Eight i32.
#[derive(Clone, Copy)]
pub(crate) struct I32x8(__m256i);

// SAFETY: AVX2, as the kernels that use it are compiled for.
unsafe impl Vector for I32x8 {
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x8(_mm256_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x8(_mm256_sub_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn shl<const N: i32>(self) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x8(_mm256_slli_epi32::<N>(self.0)) }
    }
}

// SAFETY: as above; 32 bytes are read and written.
unsafe impl Sums for I32x8 {
    const LANES: usize = 8;
    type Stage = Stage;

    #[inline(always)]
    unsafe fn stage(stage: Requantize) -> Stage {
        // SAFETY: the caller's.
        unsafe { Stage::new(stage) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x8(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn divide(self, factor: i32, shift: u32) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let whole = match factor {
                1 => self.0,
                _ => _mm256_mullo_epi32(self.0, _mm256_set1_epi32(factor)),
            };
            I32x8(_mm256_sra_epi32(whole, _mm_cvtsi32_si128(shift as i32)))
        }
    }

    #[inline(always)]
    unsafe fn store_codes(self, stage: Stage, multipliers: *const f32, y: *mut u8, n: usize) {
        // SAFETY: the caller's.
        unsafe { store_first(y, stage.bytes8(self.0, _mm256_loadu_ps(multipliers)), n) }
    }
}
