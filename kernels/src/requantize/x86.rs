//! The output stage on AVX2 registers.

use std::arch::x86_64::*;

use super::Requantize;

/// The constants of one output tensor.
#[derive(Clone, Copy)]
pub(crate) struct Stage {
    lo: __m256,
    hi: __m256,
    zero_point: __m256i,
}

impl Stage {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn new(stage: Requantize) -> Stage {
        Stage {
            lo: _mm256_set1_ps(stage.bounds[0]),
            hi: _mm256_set1_ps(stage.bounds[1]),
            zero_point: _mm256_set1_epi32(stage.zero_point),
        }
    }

    /// Eight accumulators to eight codes, still i32.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn codes(&self, acc: __m256i, multipliers: __m256) -> __m256i {
        let v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), multipliers);
        let v = _mm256_min_ps(_mm256_max_ps(v, self.lo), self.hi);
        _mm256_add_epi32(_mm256_cvtps_epi32(v), self.zero_point)
    }

    /// Sixteen accumulators to sixteen bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn bytes16(&self, acc: [__m256i; 2], multipliers: [__m256; 2]) -> __m128i {
        let low = self.codes(acc[0], multipliers[0]);
        let high = self.codes(acc[1], multipliers[1]);
        // Packing works within 128-bit halves: [l0 h0 | l1 h1] -> [l0 l1 | h0 h1].
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words))
    }

    /// Eight accumulators to eight bytes, in the low half.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn bytes8(&self, acc: __m256i, multipliers: __m256) -> __m128i {
        let codes = self.codes(acc, multipliers);
        let words =
            _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256::<1>(codes));
        _mm_packus_epi16(words, words)
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
