//! Plain Rust, for any CPU.

use super::{BLOCK, Kernel, Run, block_start};

pub(crate) struct Portable;

// SAFETY: reads blocks from `block_start` on and writes at most the pixels' channels.
unsafe impl Kernel for Portable {
    const NAME: &'static str = "portable-u8i8-depthwise";
    const TAPS: usize = 1;

    unsafe fn run(p: &Run) {
        for block in 0..p.channels.div_ceil(BLOCK) {
            for pixel in 0..p.pixels {
                // SAFETY: the contract of `Kernel`.
                unsafe { one(p, block, pixel) }
            }
        }
    }
}

unsafe fn one(p: &Run, block: usize, pixel: usize) {
    let start = block_start(block, p.channels);
    // SAFETY: the contract of `Kernel`.
    unsafe {
        let mut sums = p.bias.add(block * BLOCK).cast::<[i32; BLOCK]>().read();
        for tap in 0..p.groups {
            let x = (*p.taps.add(tap)).add(pixel * p.step + start).cast::<[u8; BLOCK]>().read();
            let at = (block * p.groups + tap) * BLOCK;
            let w = p.weights.add(at).cast::<[i16; BLOCK]>().read();
            for i in 0..BLOCK {
                // |x * w| <= 255 * 128 fits i16.
                sums[i] = sums[i].wrapping_add(i32::from(i16::from(x[i]) * w[i]));
            }
        }
        let y = p.y.add(pixel * p.y_stride + start);
        for (i, &sum) in sums.iter().enumerate().take(p.channels) {
            *y.add(i) = p.stage.apply(sum, *p.multipliers.add(block * BLOCK + i));
        }
    }
}
