//! What the kernels of x86-64 share: a register tile of products, and the loops around it.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use super::{Kernel, Part, Product, Sums};

/// Sums of two products. A vector of [`Kernel::Sums`] also holds pairs of i16, one a lane.
///
/// # Safety
/// `multiply_add` needs no instruction that the callers of [`product`] were not compiled for.
pub(super) unsafe trait MultiplyAdd: Kernel {
    /// Adds to every lane the products of its pair of codes and its pair of weights.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn multiply_add(sums: Self::Sums, codes: Self::Sums, weights: Self::Sums) -> Self::Sums;
}

/// Multiplies panels: register tiles of `R` rows, then of `S`, so many.
///
/// # Safety
/// The contract of [`Kernel`], and the caller is compiled for the instructions of `K`.
#[inline(always)]
pub(super) unsafe fn product<K: MultiplyAdd, const R: usize, const S: usize, const V: usize>(
    job: &Product,
    times: [usize; 2],
) {
    let lanes = K::Sums::LANES;
    // Elements of the next part's weights that are fetched with each pair.
    let fetched = 2 * lanes * V / (times[0] + times[1]);
    for position in 0..job.sets.len() {
        for panel in 0..job.panels {
            let Part { mut a, b, mut next, start, mut to } = job.part::<K>(position, panel);
            // SAFETY: the caller's.
            unsafe {
                let mut starts = [K::Sums::splat(0); V];
                if let Some(start) = start {
                    for (v, starts) in starts.iter_mut().enumerate() {
                        *starts = K::Sums::load(start.add(lanes * v));
                    }
                }
                // Behind the last tile the pointers may leave the memory.
                for _ in 0..times[0] {
                    tile::<K, R, V>(job, a, b, starts, to, next, fetched);
                    next = next.wrapping_add(job.pairs * fetched);
                    (a, to) = (a.wrapping_add(R * job.a_tile), to.wrapping_add(R * job.to_tile));
                }
                for _ in 0..times[1] {
                    tile::<K, S, V>(job, a, b, starts, to, next, fetched);
                    next = next.wrapping_add(job.pairs * fetched);
                    (a, to) = (a.wrapping_add(S * job.a_tile), to.wrapping_add(S * job.to_tile));
                }
            }
        }
    }
}

/// One register tile of a part.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn tile<K: MultiplyAdd, const R: usize, const V: usize>(
    job: &Product,
    a: *const i16,
    mut b: *const i16,
    start: [K::Sums; V],
    to: *mut i32,
    mut next: *const i16,
    fetched: usize,
) {
    let lanes = K::Sums::LANES;
    // SAFETY: the caller's; fetching reads nothing.
    unsafe {
        let a: [*const i16; R] = std::array::from_fn(|r| a.add(r * job.a_tile));
        let mut sums = [start; R];
        for pair in 0..job.pairs {
            _mm_prefetch::<_MM_HINT_T0>(next.cast());
            next = next.wrapping_add(fetched);
            // No closure: one that inherits the instructions is not inlined into `from_fn`.
            let mut w = [K::Sums::splat(0); V];
            for (v, w) in w.iter_mut().enumerate() {
                *w = K::Sums::load(b.add(2 * lanes * v).cast());
            }
            b = b.add(2 * lanes * V);
            for (a, row) in a.iter().zip(&mut sums) {
                let codes = K::Sums::splat(a.add(2 * pair).cast::<i32>().read_unaligned());
                for (sum, w) in row.iter_mut().zip(w) {
                    *sum = K::multiply_add(*sum, codes, w);
                }
            }
        }
        for (r, row) in sums.into_iter().enumerate() {
            for (v, sum) in row.into_iter().enumerate() {
                sum.write(to.add(r * job.to_tile + lanes * v));
            }
        }
    }
}
