//! AVX2: `vpmaddwd` on i16 operands, exact for every u8 and i8.
//!
//! `vpmaddubsw` would take u8 and i8 directly, but saturates its sums of two products.
//! Activations are widened once, when a region is written; weights are packed as i8, half the bytes
//! to stream, and widened in the loop, where six rows share a vector. A tile is 6 × 16: twelve
//! sums, two vectors of weights and one pair of activations in sixteen registers.

use std::arch::asm;
use std::arch::x86_64::*;

use super::region::{self, Region, Write};
use super::{AHEAD, End, Kernel, Run, Start, Tiles, with_rows};
use crate::requantize::x86::{Stage, store_columns};

pub(crate) struct Avx2;

/// Columns of a vector.
const LANES: usize = 8;
/// Products of a pair.
const DEPTH: usize = 2;

// SAFETY: `tile` reads `DEPTH` activations of each row and `DEPTH` weights of each column per
// group, and writes as the trait says.
unsafe impl Kernel for Avx2 {
    const NAME: &'static str = "x86-u8i8-avx2-6x16";
    const ROWS: usize = 6;
    const COLUMNS: usize = 2 * LANES;
    const LANES: usize = LANES;
    const DEPTH: usize = DEPTH;
    const READ: usize = DEPTH;
    const SUBTRACTED: i32 = 0;
    const WIDE: bool = true;
    const DEPTH_BLOCK: usize = 1024;

    unsafe fn fill(region: &Region) {
        #[target_feature(enable = "avx2")]
        unsafe fn fill(region: &Region) {
            // SAFETY: the caller's.
            unsafe { region::fill::<Words>(region) }
        }
        // SAFETY: the caller's.
        unsafe { fill(region) }
    }

    unsafe fn run(t: &Tiles) {
        // SAFETY: the caller's.
        unsafe {
            with_rows!(t.rows, [1 2 3 4 5 6], R => {
                if t.vectors == 1 { tiles::<R, 1>(t) } else { tiles::<R, 2>(t) }
            })
        }
    }
}

/// [`products`] of tiles of two vectors, for the tiles that nearly all of the time goes to: for
/// every row its number and names of its pointer and its two sums.
///
/// Assembly for two reasons: the loop starts on a line of the cache (5% on Zen 3), and weights are
/// not addressed by an index, which would split their loads from the widening (10% there).
macro_rules! products {
    ($sums:ident, $a:ident, $b:ident, $run:ident,
     [$($r:literal $row:ident $low:ident $high:ident),+]) => {{
        let mut end = $b;
        asm!(
            ".p2align 6",
            "2:",
            "vpmovsxbw {w0}, [{b}]",
            "vpmovsxbw {w1}, [{b} + 16]",
            "add {b}, 32",
            $(
                concat!("vpbroadcastd {x}, [{", stringify!($row), "} + {at}]"),
                "vpmaddwd {product}, {x}, {w0}",
                concat!("vpaddd {", stringify!($low), "}, {", stringify!($low), "}, {product}"),
                "vpmaddwd {x}, {x}, {w1}",
                concat!("vpaddd {", stringify!($high), "}, {", stringify!($high), "}, {x}"),
            )+
            "add {at}, 4",
            "dec {groups}",
            "jnz 2b",
            b = inout(reg) end,
            at = inout(reg) $run.offset => _,
            groups = inout(reg) $run.groups => _,
            $(
                $row = in(reg) $a[$r],
                $low = inout(ymm_reg) $sums[$r][0],
                $high = inout(ymm_reg) $sums[$r][1],
            )+
            w0 = out(ymm_reg) _,
            w1 = out(ymm_reg) _,
            x = out(ymm_reg) _,
            product = out(ymm_reg) _,
            options(nostack, readonly),
        );
        end
    }};
}

#[target_feature(enable = "avx2")]
unsafe fn tiles<const R: usize, const V: usize>(t: &Tiles) {
    for tile in 0..t.count {
        // SAFETY: the contract of `Kernel`; a run has a group at least.
        unsafe {
            let mut sums = start::<R, V>(t, tile);
            let a: [*const u8; R] = t.a.add(tile * R).cast::<[*const u8; R]>().read();
            let mut b = t.b;
            for run in t.runs {
                b = match (R, V) {
                    (6, 2) => products!(sums, a, b, run, [
                        0 a0 s0 t0, 1 a1 s1 t1, 2 a2 s2 t2, 3 a3 s3 t3, 4 a4 s4 t4, 5 a5 s5 t5
                    ]),
                    (5, 2) => products!(sums, a, b, run, [
                        0 a0 s0 t0, 1 a1 s1 t1, 2 a2 s2 t2, 3 a3 s3 t3, 4 a4 s4 t4
                    ]),
                    _ => products(&mut sums, a, b, run),
                };
            }
            end(t, tile, sums);
        }
    }
}

/// Adds the products of a run, and returns the pointer to the weights behind them.
///
/// # Safety
/// The caller is compiled for AVX2, and `a` and `b` may be read for so many.
#[inline(always)]
unsafe fn products<const R: usize, const V: usize>(
    sums: &mut [[__m256i; V]; R],
    a: [*const u8; R],
    mut b: *const u8,
    run: &Run,
) -> *const u8 {
    // SAFETY: the caller's.
    unsafe {
        for group in 0..run.groups {
            if R == 1 {
                _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD).cast());
            }
            let mut w = [_mm256_setzero_si256(); V];
            for (v, w) in w.iter_mut().enumerate() {
                *w = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(16 * v).cast()));
            }
            b = b.add(16 * V);
            for r in 0..R {
                let a = a[r].add(run.offset + 2 * DEPTH * group).cast::<i32>().read_unaligned();
                let a = _mm256_set1_epi32(a);
                for v in 0..V {
                    sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(a, w[v]));
                }
            }
        }
        b
    }
}

/// What the sums of tile `tile` start from.
///
/// # Safety
/// The caller is compiled for AVX2, and [`Start`] may be read for tiles of `R` rows of `V` vectors.
#[inline(always)]
pub(super) unsafe fn start<const R: usize, const V: usize>(
    t: &Tiles,
    tile: usize,
) -> [[__m256i; V]; R] {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); V]; R];
        match t.start {
            Start::Bias(bias) => {
                let bias = std::array::from_fn(|v| _mm256_loadu_si256(bias.add(LANES * v).cast()));
                sums = [bias; R];
            }
            Start::Sums(from) => {
                let from = from.add(tile * R * V * LANES);
                for (i, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                    *sum = _mm256_loadu_si256(from.add(LANES * i).cast());
                }
            }
        }
        sums
    }
}

/// Stores the sums of tile `tile`, or sends them through the output stage.
///
/// # Safety
/// The caller is compiled for AVX2, and [`End`] may be written for tiles of `R` rows of `V` vectors.
#[inline(always)]
pub(super) unsafe fn end<const R: usize, const V: usize>(
    t: &Tiles,
    tile: usize,
    sums: [[__m256i; V]; R],
) {
    // SAFETY: the caller's.
    unsafe {
        match t.end {
            End::Sums(to) => {
                let to = to.add(tile * R * V * LANES);
                for (i, &sum) in sums.as_flattened().iter().enumerate() {
                    _mm256_storeu_si256(to.add(LANES * i).cast(), sum);
                }
            }
            End::Codes { multipliers, stage, y, y_stride, columns } => {
                let y = y.add(tile * R * y_stride);
                store_columns(Stage::new(stage), &sums, multipliers, y, y_stride, columns);
            }
        }
    }
}

/// Activations as i16.
struct Words;

// SAFETY: AVX2, as `Avx2::fill`, the only caller, is compiled for; loads end at or before
// `len`, and the last one overlaps the one before.
unsafe impl Write for Words {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's, and as above.
        unsafe {
            let sixteen = |at: usize| {
                let words = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.add(at).cast()));
                _mm256_storeu_si256(to.add(2 * at).cast(), words);
            };
            let eight = |at: usize| {
                let words = _mm_cvtepu8_epi16(_mm_loadl_epi64(from.add(at).cast()));
                _mm_storeu_si128(to.add(2 * at).cast(), words);
            };
            match len {
                0..8 => {
                    for i in 0..len {
                        to.cast::<u16>().add(i).write_unaligned(u16::from(*from.add(i)));
                    }
                }
                8..16 => {
                    eight(0);
                    eight(len - 8);
                }
                _ => {
                    for at in (0..len - 15).step_by(16) {
                        sixteen(at);
                    }
                    if !len.is_multiple_of(16) {
                        sixteen(len - 16);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn fill(to: *mut u8, value: u8, len: usize) {
        for i in 0..len {
            // SAFETY: the caller's.
            unsafe { to.cast::<u16>().add(i).write_unaligned(u16::from(value)) }
        }
    }
}
