//! ARMv8.2 dot product: `sdot` by lane, sixteen products an instruction.
//!
//! Activations are u8: flipping the top bit while loading subtracts 128, which the bias makes
//! good. A tile is 8 × 8: sixteen vectors of four columns' sums, eight of activations (sixteen
//! products deep) and two of weights in thirty-two registers.

use std::arch::aarch64::*;
use std::arch::asm;

use super::region::{self, Bytes, Region};
use super::{End, Kernel, Start, Tiles, with_rows};
use crate::requantize::neon::{Stage, store_first};

pub(crate) struct Dotprod;

const COLUMNS: usize = 8;
/// Products of a lane.
const DEPTH: usize = 4;
/// Lanes of a vector of activations.
const LANES: usize = 4;

// SAFETY: `tile` reads vectors of sixteen activations of each row, `READ`, and `DEPTH`
// weights of each column per group, and writes as the trait says.
unsafe impl Kernel for Dotprod {
    const NAME: &'static str = "arm-u8i8-dotprod-8x8";
    const ROWS: usize = 8;
    const COLUMNS: usize = COLUMNS;
    const LANES: usize = LANES;
    const DEPTH: usize = DEPTH;
    const READ: usize = DEPTH * LANES;
    const SUBTRACTED: i32 = 128;
    const WIDE: bool = false;
    const DEPTH_BLOCK: usize = 1024;

    unsafe fn fill(region: &Region) {
        // SAFETY: the caller's.
        unsafe { region::fill::<Bytes>(region) }
    }

    unsafe fn run(t: &Tiles) {
        // SAFETY: the caller's.
        unsafe {
            with_rows!(t.rows, [1 2 3 4 5 6 7 8], R => {
                if t.vectors == 1 { tiles::<R, 1>(t) } else { tiles::<R, 2>(t) }
            })
        }
    }
}

/// Adds to every lane of `acc` the four products of the lane's bytes of `w` with those of lane
/// `LANE` of `a`. The intrinsic is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: usize>(mut acc: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: registers only.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {w:v}.16b, {a:v}.4b[{lane}]",
            acc = inout(vreg) acc,
            w = in(vreg) w,
            a = in(vreg) a,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

/// One group: `DEPTH` products of `R` rows and `V` vectors of four columns.
///
/// # Safety
/// `b` may be read for `16 * V` bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn group<const R: usize, const V: usize, const LANE: usize>(
    sums: &mut [[int32x4_t; V]; R],
    a: &[int8x16_t; R],
    b: *const u8,
) {
    for v in 0..V {
        // SAFETY: the caller's.
        let w = unsafe { vld1q_s8(b.add(16 * v).cast()) };
        for r in 0..R {
            sums[r][v] = sdot::<LANE>(sums[r][v], w, a[r]);
        }
    }
}

#[target_feature(enable = "neon,dotprod")]
unsafe fn tiles<const R: usize, const V: usize>(t: &Tiles) {
    for tile in 0..t.count {
        // SAFETY: the contract of `Kernel`.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); V]; R];
            for (r, row) in sums.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = match t.start {
                        Start::Bias(bias) => vld1q_s32(bias.add(4 * v)),
                        Start::Sums(sums) => vld1q_s32(sums.add(((tile * R + r) * V + v) * LANES)),
                    };
                }
            }
            let rows: [*const u8; R] = t.a.add(tile * R).cast::<[*const u8; R]>().read();
            let flip = vdupq_n_u8(0x80);
            let load = |at: usize| {
                let mut a = [vdupq_n_s8(0); R];
                for (a, row) in a.iter_mut().zip(rows) {
                    *a = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(row.add(at)), flip));
                }
                a
            };
            let mut b = t.b;
            let step = 16 * V;
            for run in t.runs {
                let mut at = run.offset;
                for _ in 0..run.groups / LANES {
                    let a = load(at);
                    at += DEPTH * LANES;
                    group::<R, V, 0>(&mut sums, &a, b);
                    group::<R, V, 1>(&mut sums, &a, b.add(step));
                    group::<R, V, 2>(&mut sums, &a, b.add(2 * step));
                    group::<R, V, 3>(&mut sums, &a, b.add(3 * step));
                    b = b.add(LANES * step);
                }
                let rest = run.groups % LANES;
                if rest > 0 {
                    let a = load(at);
                    group::<R, V, 0>(&mut sums, &a, b);
                    if rest > 1 {
                        group::<R, V, 1>(&mut sums, &a, b.add(step));
                    }
                    if rest > 2 {
                        group::<R, V, 2>(&mut sums, &a, b.add(2 * step));
                    }
                    b = b.add(rest * step);
                }
            }
            match t.end {
                End::Sums(to) => {
                    for (r, row) in sums.iter().enumerate() {
                        for (v, &sum) in row.iter().enumerate() {
                            vst1q_s32(to.add(((tile * R + r) * V + v) * LANES), sum);
                        }
                    }
                }
                End::Codes { multipliers, stage, y, y_stride, columns } => {
                    let stage = Stage::new(stage);
                    let m = [vld1q_f32(multipliers), vld1q_f32(multipliers.add(4 * (V - 1)))];
                    for (r, row) in sums.iter().enumerate() {
                        let bytes = stage.bytes8([row[0], row[V - 1]], m);
                        store_first(y.add((tile * R + r) * y_stride), bytes, columns);
                    }
                }
            }
        }
    }
}
