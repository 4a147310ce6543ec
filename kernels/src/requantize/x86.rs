//! The output stage on AVX2 registers.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::Requantize;

/// The constants of one output tensor.
#[derive(Clone, Copy)]
pub(crate) struct Stage {
    saturates: bool,
    hi: __m256,
    /// `lo` as codes, and the zero point as i16.
    lo8: __m256i,
    zero_point16: __m256i,
}

impl Stage {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn new(stage: Requantize) -> Stage {
        Stage {
            saturates: stage.saturates,
            hi: _mm256_set1_ps(stage.bounds[1]),
            lo8: _mm256_set1_epi8(stage.lo as i8),
            zero_point16: _mm256_set1_epi16(stage.zero_point as i16),
        }
    }

    /// Sixteen accumulators to words: the low halves of both vectors, then the high halves. Where
    /// the clamp stands is told at [`store`].
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn words16(&self, acc: [__m256i; 2], multipliers: [__m256; 2]) -> __m256i {
        let rounded = |acc, multipliers| {
            let v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), multipliers);
            _mm256_cvtps_epi32(if self.saturates { v } else { _mm256_min_ps(v, self.hi) })
        };
        let (low, high) = (rounded(acc[0], multipliers[0]), rounded(acc[1], multipliers[1]));
        _mm256_adds_epi16(_mm256_packs_epi32(low, high), self.zero_point16)
    }

    /// The words of two vectors to bytes: the low halves of both, then the high halves.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn bytes32(&self, words: [__m256i; 2]) -> __m256i {
        let bytes = _mm256_packus_epi16(words[0], words[1]);
        if self.saturates { bytes } else { _mm256_max_epu8(bytes, self.lo8) }
    }
}

/// `R` rows of `V` vectors of accumulators, `V` one or two, to codes: `columns` of every row.
///
/// # Safety
/// `multipliers` may be read for `8 * V` elements, and `y` written for `columns <= 8 * V` bytes of
/// `R` rows `y_stride` apart. The caller is compiled for AVX2.
#[inline(always)]
pub(crate) unsafe fn store_columns<const R: usize, const V: usize>(
    stage: Stage,
    sums: &[[__m256i; V]; R],
    multipliers: *const f32,
    y: *mut u8,
    y_stride: usize,
    columns: usize,
) {
    let mut partial = [MaybeUninit::<[u8; 16]>::uninit(); R];
    // SAFETY: the caller's.
    unsafe {
        // A panel's last columns may be padding: those go through memory of our own.
        let (to, to_stride) =
            if columns == 8 * V { (y, y_stride) } else { (partial.as_mut_ptr().cast(), 16) };
        store(stage, sums, multipliers, |row| to.add(row * to_stride));
        if columns < 8 * V {
            for (r, row) in partial.iter().enumerate() {
                y.add(r * y_stride).copy_from_nonoverlapping(row.as_ptr().cast(), columns);
            }
        }
    }
}

/// `R` rows of `V` vectors of accumulators, `V` one or two, to codes at `to(row)`.
///
/// Half of the clamp stands before the rounding, where it keeps the conversion from overflowing
/// upwards; an overflow downwards gives the least integer, which saturates to `lo` as it should.
///
/// # Safety
/// `multipliers` may be read for `8 * V` elements, and `to` written for as many bytes of every row.
/// The caller is compiled for AVX2.
#[inline(always)]
pub(crate) unsafe fn store<const R: usize, const V: usize>(
    stage: Stage,
    sums: &[[__m256i; V]; R],
    multipliers: *const f32,
    to: impl Fn(usize) -> *mut u8,
) {
    // SAFETY: the caller's.
    unsafe {
        if stage.saturates {
            store_as::<R, V, true>(stage, sums, multipliers, to);
        } else {
            store_as::<R, V, false>(stage, sums, multipliers, to);
        }
    }
}

/// [`store`] where [`Stage::saturates`] is known.
///
/// # Safety
/// As [`store`].
#[inline(always)]
unsafe fn store_as<const R: usize, const V: usize, const SATURATES: bool>(
    stage: Stage,
    sums: &[[__m256i; V]; R],
    multipliers: *const f32,
    to: impl Fn(usize) -> *mut u8,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut m = [_mm256_setzero_ps(); V];
        for (v, m) in m.iter_mut().enumerate() {
            *m = _mm256_loadu_ps(multipliers.add(8 * v));
        }
        let whole = |row: usize, v: usize| {
            let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[row.min(R - 1)][v]), m[v]);
            _mm256_cvtps_epi32(if SATURATES { scaled } else { _mm256_min_ps(scaled, stage.hi) })
        };
        // Packing works within 128-bit halves, so the four parts of each half lie four apart.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let bytes = |parts: [__m256i; 4]| {
            let low = _mm256_adds_epi16(_mm256_packs_epi32(parts[0], parts[1]), stage.zero_point16);
            let high =
                _mm256_adds_epi16(_mm256_packs_epi32(parts[2], parts[3]), stage.zero_point16);
            let bytes = _mm256_packus_epi16(low, high);
            let bytes = if SATURATES { bytes } else { _mm256_max_epu8(bytes, stage.lo8) };
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)]
        };
        if V == 2 {
            for r in (0..R).step_by(2) {
                let parts = [whole(r, 0), whole(r, 1), whole(r + 1, 0), whole(r + 1, 1)];
                for (i, bytes) in bytes(parts).into_iter().enumerate() {
                    if r + i < R {
                        _mm_storeu_si128(to(r + i).cast(), bytes);
                    }
                }
            }
        } else {
            for r in (0..R).step_by(4) {
                let parts = [whole(r, 0), whole(r + 1, 0), whole(r + 2, 0), whole(r + 3, 0)];
                let [a, b] = bytes(parts);
                let rows = [a, _mm_unpackhi_epi64(a, a), b, _mm_unpackhi_epi64(b, b)];
                for (i, bytes) in rows.into_iter().enumerate() {
                    if r + i < R {
                        _mm_storel_epi64(to(r + i).cast(), bytes);
                    }
                }
            }
        }
    }
}

/// Writes the first `n` bytes of `bytes`.
///
/// # Safety
/// `y..y + n` may be written and `n <= 16`.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn store_first(y: *mut u8, bytes: __m128i, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        match n {
            16 => _mm_storeu_si128(y.cast(), bytes),
            8 => _mm_storel_epi64(y.cast(), bytes),
            _ => {
                let mut all = [0u8; 16];
                _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
                std::ptr::copy_nonoverlapping(all.as_ptr(), y, n);
            }
        }
    }
}
