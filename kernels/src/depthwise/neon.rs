//! ARMv8.0: `smlal` on eight channels at a time.

use std::arch::aarch64::*;

use super::{BLOCK, Kernel, Pixel, block_start};
use crate::requantize::neon::{Stage, store_first};

pub(crate) struct Neon;

// SAFETY: reads blocks from `block_start` on and writes at most the pixel's channels.
unsafe impl Kernel for Neon {
    const NAME: &'static str = "arm-u8i8-neon-depthwise";
    const TAPS: usize = 1;

    unsafe fn pixel(p: &Pixel) {
        // SAFETY: the caller's.
        unsafe {
            match p.groups {
                // 3×3 and 5×5: a loop of known length is unrolled.
                9 => pixel::<9>(p, 9),
                25 => pixel::<25>(p, 25),
                groups => pixel::<0>(p, groups),
            }
        }
    }
}

/// `TAPS` is `taps`, or 0 where that is known only at run time.
#[target_feature(enable = "neon")]
unsafe fn pixel<const TAPS: usize>(p: &Pixel, taps: usize) {
    let taps = if TAPS > 0 { TAPS } else { taps };
    let stage = Stage::new(p.stage);
    for block in 0..p.channels.div_ceil(BLOCK) {
        let start = block_start(block, p.channels);
        // SAFETY: the contract of `Kernel`.
        unsafe {
            let bias = p.bias.add(block * BLOCK);
            let mut sums = [0, 4, 8, 12].map(|i| vld1q_s32(bias.add(i)));
            let mut w = p.weights.add(block * taps * BLOCK);
            for tap in 0..taps {
                let x = vld1q_u8((*p.taps.add(tap)).add(start));
                let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x)));
                let high = vreinterpretq_s16_u16(vmovl_high_u8(x));
                let (w0, w1) = (vld1q_s16(w), vld1q_s16(w.add(8)));
                sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(w0));
                sums[1] = vmlal_high_s16(sums[1], low, w0);
                sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(w1));
                sums[3] = vmlal_high_s16(sums[3], high, w1);
                w = w.add(BLOCK);
            }
            let m = p.multipliers.add(block * BLOCK);
            let m = [0, 4, 8, 12].map(|i| vld1q_f32(m.add(i)));
            let y = p.y.add(start);
            store_first(y, stage.bytes8([sums[0], sums[1]], [m[0], m[1]]), p.channels.min(8));
            let rest = p.channels.min(BLOCK).saturating_sub(8);
            let bytes = stage.bytes8([sums[2], sums[3]], [m[2], m[3]]);
            store_first(y.wrapping_add(8), bytes, rest);
        }
    }
}
