//! Plain Rust, for any CPU.

use super::{Kernel, Row, block_start, order};

pub(crate) struct Portable;

const BLOCK: usize = 16;

// SAFETY: reads and writes blocks from `block_start` on.
unsafe impl Kernel for Portable {
    const NAME: &'static str = "portable-u8i8-depthwise";
    const BLOCK: usize = BLOCK;
    const TAPS: usize = 1;
    const WEIGHT_BYTES: usize = 2;

    unsafe fn run(p: &Row) {
        for block in p.blocks.clone() {
            for pixel in 0..p.pixels {
                // SAFETY: the contract of `Kernel`.
                unsafe { one(p, block, pixel) }
            }
        }
    }
}

unsafe fn one(p: &Row, block: usize, pixel: usize) {
    let start = block_start(block, BLOCK, p.channels);
    let taps = p.kernel[0] * p.kernel[1];
    // SAFETY: the contract of `Kernel`.
    unsafe {
        let mut sums = p.bias.add(block * BLOCK).cast::<[i32; BLOCK]>().read();
        let weights = p.weights.cast::<[i16; BLOCK]>().add(block * taps);
        for (i, tap) in order(p.kernel, 1).flatten().enumerate() {
            let x = p.tap(pixel, tap).add(start).cast::<[u8; BLOCK]>().read();
            let w = weights.add(i).read();
            for (sum, (&x, &w)) in sums.iter_mut().zip(x.iter().zip(&w)) {
                // |x * w| <= 255 * 128 fits i16.
                *sum = sum.wrapping_add(i32::from(i16::from(x) * w));
            }
        }
        let y = p.y.add(pixel * p.y_stride + start);
        for (i, &sum) in sums.iter().enumerate().take(p.channels) {
            *y.add(i) = p.stage.apply(sum, *p.multipliers.add(block * BLOCK + i));
        }
    }
}
