//! AVX2: `vpmaddwd` sums two taps of eight channels.

use std::arch::x86_64::*;

use super::x86::{self, Ops};
use super::{Kernel, Row};

pub(crate) struct Avx2;

// SAFETY: as `x86::run`.
unsafe impl Kernel for Avx2 {
    const NAME: &'static str = "x86-u8i8-avx2-depthwise";
    const BLOCK: usize = x86::BLOCK;
    const TAPS: usize = 2;
    const WEIGHT_BYTES: usize = 2;

    fn channel(lane: usize) -> usize {
        x86::channel(lane)
    }

    unsafe fn run(row: &Row) {
        // SAFETY: the caller's.
        unsafe { x86::run::<Avx2>(row) }
    }
}

// SAFETY: `tiles` is compiled for the instructions of all.
unsafe impl Ops for Avx2 {
    unsafe fn tiles<const K: usize, const S: usize>(row: &Row) {
        #[target_feature(enable = "avx2")]
        unsafe fn tiles<const K: usize, const S: usize>(row: &Row) {
            // SAFETY: the caller's.
            unsafe { x86::tiles::<Avx2, K, S>(row) }
        }
        // SAFETY: the caller's.
        unsafe { tiles::<K, S>(row) }
    }

    #[inline(always)]
    unsafe fn interleave<const HIGH: bool>([a, b, ..]: [__m256i; 4]) -> [__m256i; 2] {
        // SAFETY: the caller's.
        unsafe {
            let zero = _mm256_setzero_si256();
            let ab = if HIGH { _mm256_unpackhi_epi8(a, b) } else { _mm256_unpacklo_epi8(a, b) };
            [_mm256_unpacklo_epi8(ab, zero), _mm256_unpackhi_epi8(ab, zero)]
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)) }
    }
}
