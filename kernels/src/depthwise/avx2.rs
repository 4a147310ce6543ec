//! AVX2: `vpmaddwd` sums two taps of eight channels.

use std::arch::x86_64::*;

use super::{BLOCK, Kernel, Run, block_start};
use crate::requantize::x86::{Stage, store_first};

pub(crate) struct Avx2;

// SAFETY: reads blocks from `block_start` on and writes at most the pixels' channels.
unsafe impl Kernel for Avx2 {
    const NAME: &'static str = "x86-u8i8-avx2-depthwise";
    const TAPS: usize = 2;

    unsafe fn run(p: &Run) {
        // SAFETY: the caller's.
        unsafe {
            match p.groups {
                // 3×3 and 5×5: a loop of known length is unrolled.
                5 => run::<5>(p, 5),
                13 => run::<13>(p, 13),
                groups => run::<0>(p, groups),
            }
        }
    }
}

/// `GROUPS` is `groups`, or 0 where that is known only at run time.
#[target_feature(enable = "avx2")]
unsafe fn run<const GROUPS: usize>(p: &Run, groups: usize) {
    let groups = if GROUPS > 0 { GROUPS } else { groups };
    // All channels of a few pixels, then the next pixels: the input streams through the cache.
    let blocks = p.channels.div_ceil(BLOCK);
    for pixel in (0..p.pixels - 1).step_by(2) {
        for block in 0..blocks {
            // SAFETY: the caller's.
            unsafe { block_of::<2>(p, groups, block, pixel) }
        }
    }
    if p.pixels % 2 == 1 {
        for block in 0..blocks {
            // SAFETY: the caller's.
            unsafe { block_of::<1>(p, groups, block, p.pixels - 1) }
        }
    }
}

/// One block of channels of `N` pixels, which share the weights' loads.
///
/// # Safety
/// The contract of [`Kernel`], in a caller that is compiled for AVX2.
#[inline(always)]
unsafe fn block_of<const N: usize>(p: &Run, groups: usize, block: usize, pixel: usize) {
    let start = block_start(block, p.channels);
    // SAFETY: the caller's.
    unsafe {
        let bias = p.bias.add(block * BLOCK);
        let bias = [_mm256_loadu_si256(bias.cast()), _mm256_loadu_si256(bias.add(8).cast())];
        let mut sums = [bias; N];
        let mut w = p.weights.add(block * groups * 2 * BLOCK).cast::<__m256i>();
        for group in 0..groups {
            let [a, b] = p.taps.add(2 * group).cast::<[*const u8; 2]>().read();
            let (w0, w1) = (_mm256_loadu_si256(w), _mm256_loadu_si256(w.add(1)));
            for (n, [low, high]) in sums.iter_mut().enumerate() {
                let at = (pixel + n) * p.step + start;
                let a = _mm_loadu_si128(a.add(at).cast());
                let b = _mm_loadu_si128(b.add(at).cast());
                let pairs = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
                *low = _mm256_add_epi32(*low, _mm256_madd_epi16(pairs, w0));
                let pairs = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
                *high = _mm256_add_epi32(*high, _mm256_madd_epi16(pairs, w1));
            }
            w = w.add(2);
        }
        let stage = Stage::new(p.stage);
        let m = p.multipliers.add(block * BLOCK);
        let m = [_mm256_loadu_ps(m), _mm256_loadu_ps(m.add(8))];
        for (n, &sums) in sums.iter().enumerate() {
            let y = p.y.add((pixel + n) * p.y_stride + start);
            store_first(y, stage.bytes16(sums, m), p.channels.min(BLOCK));
        }
    }
}
