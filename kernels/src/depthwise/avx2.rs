//! AVX2: `vpmaddwd` sums two taps of eight channels.

use std::arch::x86_64::*;

use super::{BLOCK, Kernel, Pixel, block_start};
use crate::requantize::x86::{Stage, store_first};

pub(crate) struct Avx2;

// SAFETY: reads blocks from `block_start` on and writes at most the pixel's channels.
unsafe impl Kernel for Avx2 {
    const NAME: &'static str = "x86-u8i8-avx2-depthwise";
    const TAPS: usize = 2;

    unsafe fn pixel(p: &Pixel) {
        // SAFETY: the caller's.
        unsafe {
            match p.groups {
                // 3×3 and 5×5: a loop of known length is unrolled.
                5 => pixel::<5>(p, 5),
                13 => pixel::<13>(p, 13),
                groups => pixel::<0>(p, groups),
            }
        }
    }
}

/// `GROUPS` is `groups`, or 0 where that is known only at run time.
#[target_feature(enable = "avx2")]
unsafe fn pixel<const GROUPS: usize>(p: &Pixel, groups: usize) {
    let groups = if GROUPS > 0 { GROUPS } else { groups };
    let stage = Stage::new(p.stage);
    for block in 0..p.channels.div_ceil(BLOCK) {
        let start = block_start(block, p.channels);
        // SAFETY: the contract of `Kernel`.
        unsafe {
            let bias = p.bias.add(block * BLOCK);
            let mut low = _mm256_loadu_si256(bias.cast());
            let mut high = _mm256_loadu_si256(bias.add(8).cast());
            let mut w = p.weights.add(block * groups * 2 * BLOCK).cast::<__m256i>();
            for group in 0..groups {
                let [a, b] = p.taps.add(2 * group).cast::<[*const u8; 2]>().read();
                let a = _mm_loadu_si128(a.add(start).cast());
                let b = _mm_loadu_si128(b.add(start).cast());
                let pairs = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
                low = _mm256_add_epi32(low, _mm256_madd_epi16(pairs, _mm256_loadu_si256(w)));
                let pairs = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
                high =
                    _mm256_add_epi32(high, _mm256_madd_epi16(pairs, _mm256_loadu_si256(w.add(1))));
                w = w.add(2);
            }
            let m = p.multipliers.add(block * BLOCK);
            let m = [_mm256_loadu_ps(m), _mm256_loadu_ps(m.add(8))];
            let bytes = stage.bytes16([low, high], m);
            store_first(p.y.add(start), bytes, p.channels.min(BLOCK));
        }
    }
}
