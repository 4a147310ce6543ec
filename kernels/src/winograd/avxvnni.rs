//! AVX-VNNI: `vpdpwssd` on 256-bit registers, `vpmaddwd` and `vpaddd` in one.

use std::arch::asm;

use super::avx2::{self, I16x16, I32x8, ROWS};
use super::form::Form;
use super::input::Input;
use super::output::Output;
use super::x86::{self, MultiplyAdd};
use super::{Kernel, Product};
use crate::gemm::with_rows;

pub(crate) struct AvxVnni;

// SAFETY: as `Avx2`; a CPU with AVX-VNNI has AVX2.
unsafe impl Kernel for AvxVnni {
    type Words = I16x16;
    type Sums = I32x8;
    const COLUMNS: usize = 16;

    unsafe fn input<F: Form>(job: &Input) {
        // SAFETY: the caller's.
        unsafe { avx2::input::<F>(job) }
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
        unsafe { avx2::output::<Self, F>(job) }
    }
}

#[target_feature(enable = "avx2,avxvnni")]
unsafe fn product<const R: usize, const S: usize, const V: usize>(
    job: &Product,
    times: [usize; 2],
) {
    // SAFETY: the caller's.
    unsafe { x86::product::<AvxVnni, R, S, V>(job, times) }
}

// SAFETY: AVX-VNNI, as `product` is compiled for.
unsafe impl MultiplyAdd for AvxVnni {
    /// `_mm256_dpwssd_avx_epi32`, which the compiler likes to take apart into `vpmaddwd` and
    /// `vpaddd`.
    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn multiply_add(mut sums: I32x8, codes: I32x8, weights: I32x8) -> I32x8 {
        // SAFETY: registers alone are read and written.
        unsafe {
            asm!(
                "{{vex}} vpdpwssd {sums}, {codes}, {weights}",
                sums = inout(ymm_reg) sums.0,
                codes = in(ymm_reg) codes.0,
                weights = in(ymm_reg) weights.0,
                options(pure, nomem, nostack, preserves_flags),
            )
        }
        sums
    }
}
