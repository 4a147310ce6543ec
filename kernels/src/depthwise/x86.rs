//! What the depthwise kernels of 256-bit registers share: tiles of up to three pixels of 32
//! channels.
//!
//! A column under the window is loaded and its rows' bytes are interleaved once for all pixels of
//! a tile that have it under their window. Interleaving and packing both work within 128-bit
//! halves and undo each other, so lanes hold channels in an order of their own ([`channel`]) and
//! bytes come out in the tensor's.

use std::arch::x86_64::*;
use std::sync::atomic::{Ordering, compiler_fence};

use super::{Kernel, Row, block_start, order};
use crate::requantize::x86::{Stage, store_first};

/// Channels of a block.
pub(super) const BLOCK: usize = 32;
/// Vectors of sums of a block.
const V: usize = 4;
/// Pixels of a tile.
const PIXELS: usize = 3;

/// The channel of lane `lane`: eight lanes of vector `v` are channels `4 v..` of either half.
pub(super) fn channel(lane: usize) -> usize {
    let (vector, lane) = (lane / 8, lane % 8);
    lane / 4 * 16 + vector * 4 + lane % 4
}

/// The instructions of a kernel.
///
/// # Safety
/// Callers are compiled for the implementation's instructions.
pub(super) unsafe trait Ops: Kernel {
    /// [`tiles`], compiled for the instructions.
    ///
    /// # Safety
    /// The CPU has them, and the contract of [`tiles`].
    unsafe fn tiles<const K: usize, const S: usize>(row: &Row);

    /// From 32 channels of each of [`Kernel::TAPS`] taps (the rest is not read) to lanes of a
    /// channel's taps side by side, in the order of [`channel`]: vectors 0 and 1, or 2 and 3.
    ///
    /// # Safety
    /// The trait's.
    unsafe fn interleave<const HIGH: bool>(taps: [__m256i; 4]) -> [__m256i; 2];

    /// Adds to every lane of `sum` the products of its taps.
    ///
    /// # Safety
    /// The trait's.
    unsafe fn dot(sum: __m256i, x: __m256i, w: __m256i) -> __m256i;
}

/// [`Ops::interleave`] of four bytes to a lane.
///
/// # Safety
/// The caller is compiled for AVX2.
#[inline(always)]
pub(super) unsafe fn quads<const HIGH: bool>([a, b, c, d]: [__m256i; 4]) -> [__m256i; 2] {
    // SAFETY: the caller's.
    unsafe {
        let (ab, cd) = if HIGH {
            (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d))
        } else {
            (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d))
        };
        [_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd)]
    }
}

/// Computes a row.
///
/// # Safety
/// The contract of [`Kernel`].
pub(super) unsafe fn run<O: Ops>(p: &Row) {
    // SAFETY: the caller's.
    unsafe {
        match (p.kernel, p.stride, p.dilation) {
            ([3, 3], 1, 1) => O::tiles::<3, 1>(p),
            ([3, 3], 2, 1) => O::tiles::<3, 2>(p),
            ([5, 5], 1, 1) => O::tiles::<5, 1>(p),
            ([5, 5], 2, 1) => O::tiles::<5, 2>(p),
            _ => O::tiles::<0, 0>(p),
        }
    }
}

/// Cuts a row into tiles; a block's weights stay in the first-level cache meanwhile.
///
/// # Safety
/// The contract of [`Kernel`], in a caller that is compiled for `O`; the window is `K` × `K` at
/// stride `S` and not dilated, or `K` is 0.
#[inline(always)]
pub(super) unsafe fn tiles<O: Ops, const K: usize, const S: usize>(p: &Row) {
    let whole = if K == 0 { 0 } else { p.pixels - p.pixels % PIXELS };
    for block in p.blocks.clone() {
        // SAFETY: the caller's.
        unsafe {
            for pixel in (0..whole).step_by(PIXELS) {
                tile::<O, K, S, PIXELS>(p, block, pixel);
            }
            for pixel in whole..p.pixels {
                if K == 0 {
                    any_window::<O>(p, block, pixel);
                } else {
                    tile::<O, K, S, 1>(p, block, pixel);
                }
            }
        }
    }
}

/// Repeats the body for every column of the widest tile, so that no loop is left to the compiler.
/// Without the fences it would load weights and taps once for several columns, and spill them.
macro_rules! each_column {
    ($columns:expr, $c:ident => $body:block) => {
        each_column!(@ $columns, $c => $body, 0 1 2 3 4 5 6 7 8)
    };
    (@ $columns:expr, $c:ident => $body:block, $($n:literal)+) => {
        $( if $n < $columns {
            let $c: usize = $n;
            $body
            compiler_fence(Ordering::SeqCst);
        } )+
    };
}

/// `N` pixels of one block, windows `K` × `K` at stride `S`.
///
/// Half of the channels, then the other half: their sums fit the registers.
#[inline(always)]
unsafe fn tile<O: Ops, const K: usize, const S: usize, const N: usize>(
    p: &Row,
    block: usize,
    pixel: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let low = half_tile::<O, K, S, N, false>(p, block, pixel);
        let high = half_tile::<O, K, S, N, true>(p, block, pixel);
        for (n, (low, high)) in low.into_iter().zip(high).enumerate() {
            store(p, block, pixel + n, [low, high]);
        }
    }
}

/// The words of vectors 0 and 1 of a tile, or of vectors 2 and 3. Groups of taps go in the order of
/// [`order`].
#[inline(always)]
unsafe fn half_tile<O: Ops, const K: usize, const S: usize, const N: usize, const HIGH: bool>(
    p: &Row,
    block: usize,
    pixel: usize,
) -> [__m256i; N] {
    let along = K % O::TAPS == 1;
    let upright = (K - usize::from(along)).div_ceil(O::TAPS);
    let columns = (N - 1) * S + K;
    let groups = K * upright + if along { K.div_ceil(O::TAPS) } else { 0 };
    let start = block_start(block, BLOCK, p.channels);
    let vector = if HIGH { 2 } else { 0 };
    // SAFETY: the caller's.
    unsafe {
        let load = |row: usize, column: usize| {
            let tap = *p.table.add(row * p.columns + pixel * S + column);
            _mm256_loadu_si256(tap.add(start).cast())
        };
        let weights = p.weights.cast::<__m256i>().add(block * groups * V + vector);
        let mut sums = [bias::<HIGH>(p, block); N];
        each_column!(columns, c => {
            for group in 0..upright {
                let mut taps = [_mm256_setzero_si256(); 4];
                for (i, tap) in taps.iter_mut().enumerate().take(O::TAPS) {
                    if group * O::TAPS + i < K {
                        *tap = load(group * O::TAPS + i, c);
                    }
                }
                let x = O::interleave::<HIGH>(taps);
                for (n, sums) in sums.iter_mut().enumerate() {
                    if c >= n * S && c - n * S < K {
                        add::<O>(sums, x, weights.add(((c - n * S) * upright + group) * V));
                    }
                }
            }
            if along {
                let mut taps = [_mm256_setzero_si256(); 4];
                for (i, tap) in taps.iter_mut().enumerate().take(O::TAPS) {
                    // Behind the tile's end the weights are zero.
                    *tap = load(K - 1, if c + i < columns { c + i } else { c });
                }
                let x = O::interleave::<HIGH>(taps);
                for (n, sums) in sums.iter_mut().enumerate() {
                    if c >= n * S && c - n * S < K && (c - n * S).is_multiple_of(O::TAPS) {
                        let group = K * upright + (c - n * S) / O::TAPS;
                        add::<O>(sums, x, weights.add(group * V));
                    }
                }
            }
        });
        let mut words = [_mm256_setzero_si256(); N];
        for (words, sums) in words.iter_mut().zip(sums) {
            *words = finish::<HIGH>(p, block, sums);
        }
        words
    }
}

/// One pixel of one block, any window.
#[inline(always)]
unsafe fn any_window<O: Ops>(p: &Row, block: usize, pixel: usize) {
    let start = block_start(block, BLOCK, p.channels);
    // SAFETY: the caller's.
    unsafe {
        let groups = order(p.kernel, O::TAPS).count() / O::TAPS;
        let mut weights = p.weights.cast::<__m256i>().add(block * groups * V);
        let mut low = bias::<false>(p, block);
        let mut high = bias::<true>(p, block);
        let mut order = order(p.kernel, O::TAPS);
        for _ in 0..groups {
            let mut taps = [_mm256_setzero_si256(); 4];
            for tap in taps.iter_mut().take(O::TAPS) {
                if let Some(at) = order.next().flatten() {
                    *tap = _mm256_loadu_si256(p.tap(pixel, at).add(start).cast());
                }
            }
            add::<O>(&mut low, O::interleave::<false>(taps), weights);
            add::<O>(&mut high, O::interleave::<true>(taps), weights.add(2));
            weights = weights.add(V);
        }
        let words = [finish::<false>(p, block, low), finish::<true>(p, block, high)];
        store(p, block, pixel, words);
    }
}

/// The biases of half a block.
#[inline(always)]
unsafe fn bias<const HIGH: bool>(p: &Row, block: usize) -> [__m256i; 2] {
    // SAFETY: the caller's.
    unsafe {
        let bias = p.bias.add(block * BLOCK).cast::<__m256i>().add(if HIGH { 2 } else { 0 });
        [_mm256_loadu_si256(bias), _mm256_loadu_si256(bias.add(1))]
    }
}

/// Adds the products of a group of taps.
#[inline(always)]
unsafe fn add<O: Ops>(sums: &mut [__m256i; 2], x: [__m256i; 2], weights: *const __m256i) {
    for (v, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's.
        unsafe { *sum = O::dot(*sum, x[v], _mm256_loadu_si256(weights.add(v))) }
    }
}

/// Sums of half a block to words.
#[inline(always)]
unsafe fn finish<const HIGH: bool>(p: &Row, block: usize, sums: [__m256i; 2]) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let m = p.multipliers.add(block * BLOCK + if HIGH { 16 } else { 0 });
        Stage::new(p.stage).words16(sums, [_mm256_loadu_ps(m), _mm256_loadu_ps(m.add(8))])
    }
}

/// Stores one pixel of one block.
#[inline(always)]
unsafe fn store(p: &Row, block: usize, pixel: usize, words: [__m256i; 2]) {
    // SAFETY: the caller's.
    unsafe {
        let bytes = Stage::new(p.stage).bytes32(words);
        let y = p.y.add(pixel * p.y_stride + block_start(block, BLOCK, p.channels));
        if p.channels >= BLOCK {
            _mm256_storeu_si256(y.cast(), bytes);
        } else {
            let n = p.channels;
            store_first(y, _mm256_castsi256_si128(bytes), n.min(16));
            let rest = _mm256_extracti128_si256::<1>(bytes);
            store_first(y.wrapping_add(16), rest, n.saturating_sub(16));
        }
    }
}
