//! ARMv8.0: `smlal` on eight channels at a time.

use std::arch::aarch64::*;

use super::{Kernel, Row, block_start};
use crate::requantize::neon::{Stage, store_first};

pub(crate) struct Neon;

const BLOCK: usize = 16;

// SAFETY: reads and writes blocks from `block_start` on.
unsafe impl Kernel for Neon {
    const NAME: &'static str = "arm-u8i8-neon-depthwise";
    const BLOCK: usize = BLOCK;
    const TAPS: usize = 1;
    const WEIGHT_BYTES: usize = 2;

    unsafe fn run(p: &Row) {
        // SAFETY: the caller's.
        unsafe {
            match p.kernel {
                // Loops of known length are unrolled.
                [3, 3] => run(p, [3, 3]),
                [5, 5] => run(p, [5, 5]),
                kernel => run(p, kernel),
            }
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
unsafe fn run(p: &Row, kernel: [usize; 2]) {
    // All channels of a few pixels, then the next pixels: the input streams through the cache.
    for pixel in (0..p.pixels - 1).step_by(2) {
        for block in p.blocks.clone() {
            // SAFETY: the caller's.
            unsafe { block_of::<2>(p, kernel, block, pixel) }
        }
    }
    if p.pixels % 2 == 1 {
        for block in p.blocks.clone() {
            // SAFETY: the caller's.
            unsafe { block_of::<1>(p, kernel, block, p.pixels - 1) }
        }
    }
}

/// One block of channels of `N` pixels, which share the weights' loads.
///
/// # Safety
/// The contract of [`Kernel`].
#[inline(always)]
unsafe fn block_of<const N: usize>(
    p: &Row,
    [rows, columns]: [usize; 2],
    block: usize,
    pixel: usize,
) {
    let start = block_start(block, BLOCK, p.channels);
    // SAFETY: the caller's.
    unsafe {
        let bias = p.bias.add(block * BLOCK);
        let mut sums = [[0, 4, 8, 12].map(|i| vld1q_s32(bias.add(i))); N];
        let mut w = p.weights.cast::<i16>().add(block * rows * columns * BLOCK);
        for column in 0..columns {
            for row in 0..rows {
                let (w0, w1) = (vld1q_s16(w), vld1q_s16(w.add(8)));
                for (n, sums) in sums.iter_mut().enumerate() {
                    let x = vld1q_u8(p.tap(pixel + n, [row, column]).add(start));
                    let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x)));
                    let high = vreinterpretq_s16_u16(vmovl_high_u8(x));
                    sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(w0));
                    sums[1] = vmlal_high_s16(sums[1], low, w0);
                    sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(w1));
                    sums[3] = vmlal_high_s16(sums[3], high, w1);
                }
                w = w.add(BLOCK);
            }
        }
        let stage = Stage::new(p.stage);
        let m = p.multipliers.add(block * BLOCK);
        let m = [0, 4, 8, 12].map(|i| vld1q_f32(m.add(i)));
        for (n, sums) in sums.iter().enumerate() {
            let y = p.y.add((pixel + n) * p.y_stride + start);
            store_first(y, stage.bytes8([sums[0], sums[1]], [m[0], m[1]]), p.channels.min(8));
            let rest = p.channels.min(BLOCK).saturating_sub(8);
            let bytes = stage.bytes8([sums[2], sums[3]], [m[2], m[3]]);
            store_first(y.wrapping_add(8), bytes, rest);
        }
    }
}
