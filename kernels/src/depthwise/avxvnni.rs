//! AVX-VNNI: `vpdpbusd` sums four taps of eight channels.

use std::arch::x86_64::*;

use super::x86::{self, Ops, quads};
use super::{Kernel, Row};

pub(crate) struct AvxVnni;

// SAFETY: as `x86::run`.
unsafe impl Kernel for AvxVnni {
    const NAME: &'static str = "x86-u8i8-avxvnni-depthwise";
    const BLOCK: usize = x86::BLOCK;
    const TAPS: usize = 4;
    const WEIGHT_BYTES: usize = 1;

    fn channel(lane: usize) -> usize {
        x86::channel(lane)
    }

    unsafe fn run(row: &Row) {
        // SAFETY: the caller's.
        unsafe { x86::run::<AvxVnni>(row) }
    }
}

// SAFETY: `tiles` is compiled for the instructions of all.
unsafe impl Ops for AvxVnni {
    unsafe fn tiles<const K: usize, const S: usize>(row: &Row) {
        #[target_feature(enable = "avx2,avxvnni")]
        unsafe fn tiles<const K: usize, const S: usize>(row: &Row) {
            // SAFETY: the caller's.
            unsafe { x86::tiles::<AvxVnni, K, S>(row) }
        }
        // SAFETY: the caller's.
        unsafe { tiles::<K, S>(row) }
    }

    #[inline(always)]
    unsafe fn interleave<const HIGH: bool>(taps: [__m256i; 4]) -> [__m256i; 2] {
        // SAFETY: the caller's.
        unsafe { quads::<HIGH>(taps) }
    }

    #[inline(always)]
    unsafe fn dot(sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_dpbusd_avx_epi32(sum, x, w) }
    }
}
