//! AVX512-VNNI: `vpdpbusd` on 512-bit registers, four u8 × i8 products into each i32, exact.

use std::arch::x86_64::*;

use super::rows::{self, Bytes, Rows};
use super::{End, Kernel, Start, Tile, with_rows};
use crate::requantize::Requantize;

pub(crate) struct Avx512Vnni;

const COLUMNS: usize = 32;

// SAFETY: `tile` reads `DEPTH` activations of each row and `DEPTH` weights of each column per
// group, and writes as the trait says.
unsafe impl Kernel for Avx512Vnni {
    const NAME: &'static str = "x86-u8i8-avx512vnni-8x32";
    const ROWS: usize = 8;
    const COLUMNS: usize = COLUMNS;
    const HALVES: bool = true;
    const DEPTH: usize = 4;
    const SUBTRACTED: i32 = 0;
    const WIDE: bool = false;
    const DEPTH_BLOCK: usize = 768;

    unsafe fn pack_rows(job: &Rows) {
        // SAFETY: the caller's.
        unsafe { rows::pack::<Bytes>(job) }
    }

    unsafe fn tile(t: &Tile) {
        // SAFETY: the caller's.
        unsafe {
            with_rows!(t.rows, [1 2 3 4 5 6 7 8], R => {
                if t.half { tile::<R, 1>(t) } else { tile::<R, 2>(t) }
            })
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const R: usize, const V: usize>(t: &Tile) {
    // SAFETY: the contract of `Kernel`; a vector holds sixteen columns.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); V]; R];
        for (r, row) in sums.iter_mut().enumerate() {
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = match t.start {
                    Start::Bias(bias) => _mm512_loadu_si512(bias.add(16 * v).cast()),
                    Start::Sums(sums) => _mm512_loadu_si512(sums.add(r * COLUMNS + 16 * v).cast()),
                };
            }
        }
        let a: [*const u8; R] = t.a.cast::<[*const u8; R]>().read();
        let mut b = t.b;
        for group in 0..t.groups {
            let mut w = [_mm512_setzero_si512(); V];
            for (v, w) in w.iter_mut().enumerate() {
                *w = _mm512_loadu_si512(b.add(64 * v).cast());
            }
            b = b.add(64 * V);
            for r in 0..R {
                let a = _mm512_set1_epi32(a[r].add(4 * group).cast::<i32>().read_unaligned());
                for v in 0..V {
                    sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], a, w[v]);
                }
            }
        }
        match t.end {
            End::Sums(to) => {
                for (r, row) in sums.iter().enumerate() {
                    for (v, &sum) in row.iter().enumerate() {
                        _mm512_storeu_si512(to.add(r * COLUMNS + 16 * v).cast(), sum);
                    }
                }
            }
            End::Codes { multipliers, stage, y, y_stride, columns } => {
                for v in 0..V {
                    let multipliers = _mm512_loadu_ps(multipliers.add(16 * v));
                    let columns = columns.saturating_sub(16 * v).min(16);
                    let mask = ((1u32 << columns) - 1) as __mmask16;
                    for (r, row) in sums.iter().enumerate() {
                        let bytes = requantize(stage, row[v], multipliers);
                        // Columns of padding may lie past the end of `y`; their mask is empty.
                        let y = y.add(r * y_stride).wrapping_add(16 * v);
                        _mm_mask_storeu_epi8(y.cast(), mask, bytes);
                    }
                }
            }
        }
    }
}

/// Sixteen accumulators to sixteen codes.
#[inline]
#[target_feature(enable = "avx512f")]
fn requantize(stage: Requantize, acc: __m512i, multipliers: __m512) -> __m128i {
    let [lo, hi] = stage.bounds;
    let v = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), multipliers);
    let v = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(lo)), _mm512_set1_ps(hi));
    let codes = _mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(stage.zero_point));
    _mm512_cvtepi32_epi8(codes)
}
