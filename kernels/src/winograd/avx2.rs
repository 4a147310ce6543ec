//! AVX2: `vpmaddwd`. A register tile is 6 × 16: twelve sums, two vectors of weights and one pair of
//! codes in sixteen registers.

use std::arch::x86_64::*;

use super::form::{Form, Vector};
use super::input::{self, Input};
use super::output::{self, Output};
use super::x86::{self, MultiplyAdd};
use super::{Kernel, PIXELS, Product, Sums, Words};
use crate::gemm::with_rows;
use crate::requantize::Requantize;
use crate::requantize::x86::{Stage, store};

pub(crate) struct Avx2;

/// Tiles of a full register tile.
pub(super) const ROWS: usize = 6;

// SAFETY: `product` reads and writes what the trait says, a vector holding eight columns.
unsafe impl Kernel for Avx2 {
    type Words = I16x16;
    type Sums = I32x8;
    const COLUMNS: usize = 16;

    unsafe fn input<F: Form>(job: &Input) {
        // SAFETY: the caller's.
        unsafe { input::<F>(job) }
    }

    unsafe fn product(job: &Product) {
        let (rows, times) = job.rows(ROWS);
        // SAFETY: the caller's.
        unsafe {
            with_rows!(rows, [1 2 3 4 5 6], R => {
                if job.half {
                    product::<R, { R - 1 }, 1>(job, times)
                } else {
                    product::<R, { R - 1 }, 2>(job, times)
                }
            })
        }
    }

    unsafe fn output<F: Form>(job: &Output) {
        // SAFETY: the caller's.
        unsafe { output::<Self, F>(job) }
    }
}

#[target_feature(enable = "avx2")]
pub(super) unsafe fn input<F: Form>(job: &Input) {
    // SAFETY: the caller's.
    unsafe { input::transform::<I16x16, F>(job) }
}

#[target_feature(enable = "avx2")]
pub(super) unsafe fn output<K: Kernel, F: Form>(job: &Output) {
    // SAFETY: the caller's.
    unsafe { output::transform::<K, F>(job) }
}

#[target_feature(enable = "avx2")]
unsafe fn product<const R: usize, const S: usize, const V: usize>(
    job: &Product,
    times: [usize; 2],
) {
    // SAFETY: the caller's.
    unsafe { x86::product::<Avx2, R, S, V>(job, times) }
}

// SAFETY: AVX2, as `product` is compiled for.
unsafe impl MultiplyAdd for Avx2 {
    #[inline(always)]
    unsafe fn multiply_add(sums: I32x8, codes: I32x8, weights: I32x8) -> I32x8 {
        // SAFETY: the caller's.
        unsafe { I32x8(_mm256_add_epi32(sums.0, _mm256_madd_epi16(codes.0, weights.0))) }
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
pub(crate) struct I32x8(pub(super) __m256i);

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
    unsafe fn splat(value: i32) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x8(_mm256_set1_epi32(value)) }
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut i32) {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
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
    unsafe fn store(pixels: [(Self, *mut u8); PIXELS], stage: Stage, multipliers: *const f32) {
        let sums = pixels.map(|(sum, _)| [sum.0]);
        // SAFETY: the caller's.
        unsafe { store(stage, &sums, multipliers, |pixel| pixels[pixel].1) }
    }
}
