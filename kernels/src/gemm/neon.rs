//! ARMv8.0: `smull`, `smlal2`, `sadalp`, sixteen products in three instructions.
//!
//! Two products are summed in 16 bits before they are widened: |a| <= 128 and |w| <= 127, so the
//! sum of two stays below 32,513. Activations are u8: flipping the top bit while loading subtracts
//! 128, which the bias makes good. A tile is 4 × 4: sixteen vectors, each with four partial sums
//! of one row and column.

use std::arch::aarch64::*;

use super::region::{self, Bytes, Region};
use super::{End, Kernel, Start, Tiles, with_rows};
use crate::requantize::neon::{Stage, store_first};

pub(crate) struct Neon;

const COLUMNS: usize = 4;
const DEPTH: usize = 16;

// SAFETY: `tile` reads `DEPTH` activations of each row and `DEPTH` weights of each column per
// group, and writes as the trait says.
unsafe impl Kernel for Neon {
    const NAME: &'static str = "arm-u8i8-neon-4x4";
    const ROWS: usize = 4;
    const COLUMNS: usize = COLUMNS;
    const LANES: usize = COLUMNS;
    const DEPTH: usize = DEPTH;
    const READ: usize = DEPTH;
    const SUBTRACTED: i32 = 128;
    const WIDE: bool = false;
    const DEPTH_BLOCK: usize = 2048;

    unsafe fn fill(region: &Region) {
        // SAFETY: the caller's.
        unsafe { region::fill::<Bytes>(region) }
    }

    unsafe fn run(t: &Tiles) {
        // SAFETY: the caller's.
        unsafe { with_rows!(t.rows, [1 2 3 4], R => tiles::<R>(t)) }
    }
}

#[target_feature(enable = "neon")]
unsafe fn tiles<const R: usize>(t: &Tiles) {
    for tile in 0..t.count {
        // SAFETY: the contract of `Kernel`.
        unsafe {
            let mut partial = [[vdupq_n_s32(0); COLUMNS]; R];
            let rows: [*const u8; R] = t.a.add(tile * R).cast::<[*const u8; R]>().read();
            let flip = vdupq_n_u8(0x80);
            let mut b = t.b.cast::<i8>();
            for run in t.runs {
                let mut at = run.offset;
                for _ in 0..run.groups {
                    let mut a = [vdupq_n_s8(0); R];
                    for (a, row) in a.iter_mut().zip(rows) {
                        *a = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(row.add(at)), flip));
                    }
                    at += DEPTH;
                    for c in 0..COLUMNS {
                        let w = vld1q_s8(b.add(DEPTH * c));
                        for r in 0..R {
                            let low = vmull_s8(vget_low_s8(a[r]), vget_low_s8(w));
                            let both = vmlal_high_s8(low, a[r], w);
                            partial[r][c] = vpadalq_s16(partial[r][c], both);
                        }
                    }
                    b = b.add(DEPTH * COLUMNS);
                }
            }
            for (r, [p0, p1, p2, p3]) in partial.into_iter().enumerate() {
                let start = match t.start {
                    Start::Bias(bias) => bias,
                    Start::Sums(sums) => sums.add((tile * R + r) * COLUMNS),
                };
                let sums = vpaddq_s32(vpaddq_s32(p0, p1), vpaddq_s32(p2, p3));
                let sums = vaddq_s32(sums, vld1q_s32(start));
                match t.end {
                    End::Sums(to) => vst1q_s32(to.add((tile * R + r) * COLUMNS), sums),
                    End::Codes { multipliers, stage, y, y_stride, columns } => {
                        let m = vld1q_f32(multipliers);
                        let bytes = Stage::new(stage).bytes8([sums, sums], [m, m]);
                        store_first(y.add((tile * R + r) * y_stride), bytes, columns);
                    }
                }
            }
        }
    }
}
