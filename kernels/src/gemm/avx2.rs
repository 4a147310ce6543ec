//! AVX2: `vpmaddwd` on i16 operands, exact for every u8 and i8.
//!
//! `vpmaddubsw` would take u8 and i8 directly, but saturates its sums of two products. Weights are
//! packed as i8, half the bytes to stream; where several tiles share a panel it is widened once
//! into the first-level cache, otherwise in the loop. A tile is 6 × 16: twelve sums, two vectors
//! of weights and one pair of activations in sixteen registers.

use std::arch::x86_64::*;

use super::rows::{self, Rows, Write};
use super::{End, Kernel, Start, Tile, with_rows};
use crate::requantize::x86::{Stage, store_first};

pub(crate) struct Avx2;

const COLUMNS: usize = 16;
/// Products of a pair.
const DEPTH: usize = 2;

// SAFETY: `tile` reads `DEPTH` activations of each row and `DEPTH` weights of each column per
// group, and writes as the trait says.
unsafe impl Kernel for Avx2 {
    const NAME: &'static str = "x86-u8i8-avx2-6x16";
    const ROWS: usize = 6;
    const COLUMNS: usize = COLUMNS;
    const HALVES: bool = true;
    const DEPTH: usize = DEPTH;
    const SUBTRACTED: i32 = 0;
    const WIDE: bool = true;
    const DEPTH_BLOCK: usize = 640;

    unsafe fn pack_rows(job: &Rows) {
        #[target_feature(enable = "avx2")]
        unsafe fn pack(job: &Rows) {
            // SAFETY: the caller's.
            unsafe { rows::pack::<Words>(job) }
        }
        // SAFETY: the caller's.
        unsafe { pack(job) }
    }

    unsafe fn widen(to: *mut u8, from: *const u8, len: usize) {
        #[target_feature(enable = "avx2")]
        unsafe fn widen(to: *mut u8, from: *const u8, len: usize) {
            for at in (0..len).step_by(16) {
                // SAFETY: `len` is a multiple of 16, and the caller's.
                unsafe {
                    let w = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(at).cast()));
                    _mm256_storeu_si256(to.add(2 * at).cast(), w);
                }
            }
        }
        // SAFETY: the caller's.
        unsafe { widen(to, from, len) }
    }

    unsafe fn tile(t: &Tile) {
        // SAFETY: the caller's.
        unsafe {
            with_rows!(t.rows, [1 2 3 4 5 6], R => match (t.half, t.b_is_wide) {
                (false, true) => tile::<R, 2, true>(t),
                (false, false) => tile::<R, 2, false>(t),
                (true, true) => tile::<R, 1, true>(t),
                (true, false) => tile::<R, 1, false>(t),
            })
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn tile<const R: usize, const V: usize, const WIDE: bool>(t: &Tile) {
    // SAFETY: the contract of `Kernel`; a vector holds eight columns.
    unsafe {
        let mut sums = start::<R, V>(t.start);
        let a: [*const u8; R] = t.a.cast::<[*const u8; R]>().read();
        let mut b = t.b;
        let mut pair = |group: usize| {
            let mut w = [_mm256_setzero_si256(); V];
            for (v, w) in w.iter_mut().enumerate() {
                *w = if WIDE {
                    _mm256_loadu_si256(b.add(32 * v).cast())
                } else {
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(16 * v).cast()))
                };
            }
            b = b.add(if WIDE { 32 * V } else { 16 * V });
            for r in 0..R {
                let a = _mm256_set1_epi32(a[r].add(4 * group).cast::<i32>().read_unaligned());
                for v in 0..V {
                    sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(a, w[v]));
                }
            }
        };
        // Unrolled: the loop's own instructions would take issue slots from the products.
        for twice in 0..t.groups / 2 {
            pair(2 * twice);
            pair(2 * twice + 1);
        }
        if t.groups % 2 == 1 {
            pair(t.groups - 1);
        }
        end(t.end, sums);
    }
}

/// What the sums of `R` rows of `V` vectors start from.
///
/// # Safety
/// The caller is compiled for AVX2, and [`Start`] may be read for that many.
#[inline(always)]
pub(super) unsafe fn start<const R: usize, const V: usize>(start: Start) -> [[__m256i; V]; R] {
    // SAFETY: the caller's.
    let mut sums = unsafe { [[_mm256_setzero_si256(); V]; R] };
    for (r, row) in sums.iter_mut().enumerate() {
        for (v, sum) in row.iter_mut().enumerate() {
            let from = match start {
                Start::Bias(bias) => bias,
                // SAFETY: the caller's.
                Start::Sums(sums) => unsafe { sums.add(r * COLUMNS) },
            };
            // SAFETY: the caller's.
            *sum = unsafe { _mm256_loadu_si256(from.add(8 * v).cast()) };
        }
    }
    sums
}

/// Stores the sums, or sends them through the output stage.
///
/// # Safety
/// The caller is compiled for AVX2, and [`End`] may be written for `R` rows of `V` vectors.
#[inline(always)]
pub(super) unsafe fn end<const R: usize, const V: usize>(end: End, sums: [[__m256i; V]; R]) {
    // SAFETY: the caller's.
    unsafe {
        match end {
            End::Sums(to) => {
                for (r, row) in sums.iter().enumerate() {
                    for (v, &sum) in row.iter().enumerate() {
                        _mm256_storeu_si256(to.add(r * COLUMNS + 8 * v).cast(), sum);
                    }
                }
            }
            End::Codes { multipliers, stage, y, y_stride, columns } => {
                let stage = Stage::new(stage);
                let mut m = [_mm256_setzero_ps(); V];
                for (v, m) in m.iter_mut().enumerate() {
                    *m = _mm256_loadu_ps(multipliers.add(8 * v));
                }
                for (r, row) in sums.iter().enumerate() {
                    let bytes = if V == 2 {
                        stage.bytes16([row[0], row[V - 1]], [m[0], m[V - 1]])
                    } else {
                        stage.bytes8(row[0], m[0])
                    };
                    store_first(y.add(r * y_stride), bytes, columns);
                }
            }
        }
    }
}

/// Rows of i16.
struct Words;

// SAFETY: AVX2, as `Avx2::pack_rows`, the only caller, is compiled for; loads end at or before
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
                    sixteen(len - 16);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn copy_over(to: *mut u8, from: *const u8, len: usize) {
        for at in (0..len).step_by(16) {
            // SAFETY: the caller's, and as above.
            unsafe {
                let words = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.add(at).cast()));
                _mm256_storeu_si256(to.add(2 * at).cast(), words);
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
