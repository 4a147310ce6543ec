//! AVX512-VNNI: `vpdpwssd` on 512-bit registers. A register tile is 12 × 32: 24 sums, two vectors of
//! weights and a pair of codes. Codes are transformed by AVX2, sums by AVX-512.

use std::arch::asm;
use std::arch::x86_64::*;

use super::avx2::{self, I16x16};
use super::form::{Form, Vector};
use super::input::Input;
use super::output::{self, Output};
use super::x86::{self, MultiplyAdd};
use super::{Kernel, PIXELS, Product, Sums};
use crate::gemm::avx512vnni::requantize;
use crate::gemm::with_rows;
use crate::requantize::Requantize;

pub(crate) struct Avx512Vnni;

/// Tiles of a full register tile.
const ROWS: usize = 12;

// SAFETY: `product` reads and writes what the trait says, a vector holding sixteen columns.
unsafe impl Kernel for Avx512Vnni {
    type Words = I16x16;
    type Sums = I32x16;
    const COLUMNS: usize = 32;

    unsafe fn input<F: Form>(job: &Input) {
        // SAFETY: the caller's.
        unsafe { avx2::input::<F>(job) }
    }

    unsafe fn product(job: &Product) {
        let (rows, times) = job.rows(ROWS);
        // SAFETY: the caller's.
        unsafe {
            with_rows!(rows, [1 2 3 4 5 6 7 8 9 10 11 12], R => {
                if job.half {
                    product::<R, { R - 1 }, 1>(job, times)
                } else {
                    product::<R, { R - 1 }, 2>(job, times)
                }
            })
        }
    }

    unsafe fn output<F: Form>(job: &Output) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        unsafe fn output<F: Form>(job: &Output) {
            // SAFETY: the caller's.
            unsafe { output::transform::<Avx512Vnni, F>(job) }
        }
        // SAFETY: the caller's.
        unsafe { output::<F>(job) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn product<const R: usize, const S: usize, const V: usize>(
    job: &Product,
    times: [usize; 2],
) {
    // SAFETY: the caller's.
    unsafe { x86::product::<Avx512Vnni, R, S, V>(job, times) }
}

// SAFETY: AVX512-VNNI, as `product` is compiled for.
unsafe impl MultiplyAdd for Avx512Vnni {
    /// `_mm512_dpwssd_epi32`, which the compiler likes to take apart into `vpmaddwd` and `vpaddd`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn multiply_add(mut sums: I32x16, codes: I32x16, weights: I32x16) -> I32x16 {
        // SAFETY: registers alone are read and written.
        unsafe {
            asm!(
                "vpdpwssd {sums}, {codes}, {weights}",
                sums = inout(zmm_reg) sums.0,
                codes = in(zmm_reg) codes.0,
                weights = in(zmm_reg) weights.0,
                options(pure, nomem, nostack, preserves_flags),
            )
        }
        sums
    }
}

/// Sixteen i32.
#[derive(Clone, Copy)]
pub(crate) struct I32x16(__m512i);

// SAFETY: AVX-512 F, as the kernels that use it are compiled for.
unsafe impl Vector for I32x16 {
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x16(_mm512_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x16(_mm512_sub_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn shl<const N: i32>(self) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x16(_mm512_sll_epi32(self.0, _mm_cvtsi32_si128(N))) }
    }
}

// SAFETY: AVX-512 F, BW and VL, as the kernels that use it are compiled for; 64 bytes are read and
// written.
unsafe impl Sums for I32x16 {
    const LANES: usize = 16;
    type Stage = Requantize;

    #[inline(always)]
    unsafe fn stage(stage: Requantize) -> Requantize {
        stage
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x16(_mm512_loadu_si512(from.cast())) }
    }

    #[inline(always)]
    unsafe fn splat(value: i32) -> Self {
        // SAFETY: the caller's.
        unsafe { I32x16(_mm512_set1_epi32(value)) }
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut i32) {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn divide(self, factor: i32, shift: u32) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let whole = match factor {
                1 => self.0,
                _ => _mm512_mullo_epi32(self.0, _mm512_set1_epi32(factor)),
            };
            I32x16(_mm512_sra_epi32(whole, _mm_cvtsi32_si128(shift as i32)))
        }
    }

    #[inline(always)]
    unsafe fn store(pixels: [(Self, *mut u8); PIXELS], stage: Requantize, multipliers: *const f32) {
        // SAFETY: the caller's.
        unsafe {
            let multipliers = [_mm512_loadu_ps(multipliers); PIXELS];
            let sums = pixels.map(|(sum, _)| sum.0);
            let codes = match stage.saturates {
                true => requantize::<PIXELS, true>(stage, &sums, &multipliers),
                false => requantize::<PIXELS, false>(stage, &sums, &multipliers),
            };
            let codes = [
                _mm512_castsi512_si128(codes),
                _mm512_extracti32x4_epi32::<1>(codes),
                _mm512_extracti32x4_epi32::<2>(codes),
                _mm512_extracti32x4_epi32::<3>(codes),
            ];
            for (codes, (_, to)) in codes.into_iter().zip(pixels) {
                _mm_storeu_si128(to.cast(), codes);
            }
        }
    }
}
