//! AVX512-VNNI: `vpdpbusd` on 512-bit registers, four u8 × i8 products into each i32, exact.
//!
//! A tile is 6 × 64: twenty-four sums, four vectors of weights and one of activations in thirty-two
//! registers; a narrower panel has 8 × 48, 8 × 32 or 8 × 16. A broadcast can't be an operand of
//! `vpdpbusd`, whose memory operand is the signed one, but costs no more than the load.

use std::arch::x86_64::*;

use super::region::{self, Bytes, Region};
use super::{AHEAD, End, Kernel, Start, Tiles, with_rows};
use crate::requantize::Requantize;

pub(crate) struct Avx512Vnni;

/// Columns of a vector.
const LANES: usize = 16;
const DEPTH: usize = 4;

// SAFETY: `tile` reads `DEPTH` activations of each row and `DEPTH` weights of each column per
// group, and writes as the trait says.
unsafe impl Kernel for Avx512Vnni {
    const NAME: &'static str = "x86-u8i8-avx512vnni-6x64";
    const ROWS: usize = 8;
    const COLUMNS: usize = 4 * LANES;
    const LANES: usize = LANES;
    const DEPTH: usize = DEPTH;
    const READ: usize = DEPTH;
    const SUBTRACTED: i32 = 0;
    const WIDE: bool = false;
    const DEPTH_BLOCK: usize = 512;

    fn rows(vectors: usize) -> usize {
        if vectors == 4 { 6 } else { 8 }
    }

    unsafe fn fill(region: &Region) {
        // SAFETY: the caller's.
        unsafe { region::fill::<Bytes>(region) }
    }

    unsafe fn run(t: &Tiles) {
        // SAFETY: the caller's; a tile of four vectors has six rows at most.
        unsafe {
            with_rows!(t.rows, [1 2 3 4 5 6 7 8], R => {
                // An instruction takes five cycles, and two can start in each; there are thirty-two
                // registers.
                const SETS: usize = if R < 5 { 2 } else { 1 };
                const SETS_OF_4: usize = if R < 4 { 2 } else { 1 };
                match t.vectors {
                    1 => tiles::<R, 1, 2>(t),
                    2 => tiles::<R, 2, SETS>(t),
                    3 => tiles::<R, 3, SETS>(t),
                    _ => tiles::<{ if R < 6 { R } else { 6 } }, 4, SETS_OF_4>(t),
                }
            })
        }
    }
}

/// Tiles whose groups go to `SETS` sets of sums in turn.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tiles<const R: usize, const V: usize, const SETS: usize>(t: &Tiles) {
    for tile in 0..t.count {
        // SAFETY: the contract of `Kernel`.
        unsafe {
            let mut sums = [[[_mm512_setzero_si512(); V]; R]; SETS];
            for (r, row) in sums[0].iter_mut().enumerate() {
                let from = match t.start {
                    Start::Bias(bias) => bias,
                    Start::Sums(sums) => sums.add((tile * R + r) * V * LANES),
                };
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = _mm512_loadu_si512(from.add(LANES * v).cast());
                }
            }
            let a: [*const u8; R] = t.a.add(tile * R).cast::<[*const u8; R]>().read();
            let mut b = t.b;
            let mut group = |sums: &mut [[__m512i; V]; R], at: usize| {
                let mut w = [_mm512_setzero_si512(); V];
                for (v, w) in w.iter_mut().enumerate() {
                    if R == 1 {
                        _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(64 * v + AHEAD).cast());
                    }
                    *w = _mm512_loadu_si512(b.add(64 * v).cast());
                }
                b = b.add(64 * V);
                for r in 0..R {
                    let a = _mm512_set1_epi32(a[r].add(at).cast::<i32>().read_unaligned());
                    for v in 0..V {
                        sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], a, w[v]);
                    }
                }
            };
            for run in t.runs {
                let mut at = run.offset;
                for _ in 0..run.groups / SETS {
                    for sums in &mut sums {
                        group(sums, at);
                        at += DEPTH;
                    }
                }
                if !run.groups.is_multiple_of(SETS) {
                    group(&mut sums[0], at);
                }
            }
            let [all, more @ ..] = sums.as_mut_slice() else { unreachable!("no set") };
            for set in more {
                for (sum, &other) in all.as_flattened_mut().iter_mut().zip(set.as_flattened()) {
                    *sum = _mm512_add_epi32(*sum, other);
                }
            }
            match t.end {
                End::Sums(to) => {
                    for (i, &sum) in all.as_flattened().iter().enumerate() {
                        _mm512_storeu_si512(to.add((tile * R * V + i) * LANES).cast(), sum);
                    }
                }
                End::Codes { multipliers, stage, y, y_stride, columns } => {
                    let mut m = [_mm512_setzero_ps(); V];
                    for (v, m) in m.iter_mut().enumerate() {
                        *m = _mm512_loadu_ps(multipliers.add(LANES * v));
                    }
                    let mask = u64::MAX >> (64 - columns);
                    for (r, row) in all.iter().enumerate() {
                        let bytes = match stage.saturates {
                            true => requantize::<V, true>(stage, row, &m),
                            false => requantize::<V, false>(stage, row, &m),
                        };
                        _mm512_mask_storeu_epi8(
                            y.add((tile * R + r) * y_stride).cast(),
                            mask,
                            bytes,
                        );
                    }
                }
            }
        }
    }
}

/// Up to four vectors of accumulators to their codes, sixteen bytes each; `SATURATES` is
/// [`Requantize::saturates`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn requantize<const V: usize, const SATURATES: bool>(
    stage: Requantize,
    row: &[__m512i; V],
    m: &[__m512; V],
) -> __m512i {
    let [_, hi] = stage.bounds;
    // Half of the clamp stands before the rounding, where it keeps the conversion from overflowing
    // upwards; an overflow downwards gives the least integer, which saturates to `lo` as it should.
    let code = |v: usize| match v < V {
        true => {
            let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(row[v]), m[v]);
            let hi = _mm512_set1_ps(hi);
            _mm512_cvtps_epi32(if SATURATES { scaled } else { _mm512_min_ps(scaled, hi) })
        }
        false => _mm512_setzero_si512(),
    };
    let zero_point = _mm512_set1_epi16(stage.zero_point as i16);
    let low = _mm512_adds_epi16(_mm512_packs_epi32(code(0), code(1)), zero_point);
    let high = _mm512_adds_epi16(_mm512_packs_epi32(code(2), code(3)), zero_point);
    let bytes = _mm512_packus_epi16(low, high);
    let lo = _mm512_set1_epi8(stage.lo as i8);
    let bytes = if SATURATES { bytes } else { _mm512_max_epu8(bytes, lo) };
    // Packing works within 128-bit quarters: quarter q holds columns 4q.. of every vector.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_permutexvar_epi32(order, bytes)
}
