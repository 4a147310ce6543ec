//! AVX-VNNI: `vpdpbusd` on 256-bit registers, four u8 × i8 products into each i32, exact.

use std::arch::x86_64::*;

use super::avx2::{end, start};
use super::region::{self, Bytes, Region};
use super::{AHEAD, Kernel, Tiles, with_rows};

pub(crate) struct AvxVnni;

/// Columns of a vector.
const LANES: usize = 8;
const DEPTH: usize = 4;

// SAFETY: `tile` reads `DEPTH` activations of each row and `DEPTH` weights of each column per
// group, and writes as the trait says.
unsafe impl Kernel for AvxVnni {
    const NAME: &'static str = "x86-u8i8-avxvnni-6x16";
    const ROWS: usize = 6;
    const COLUMNS: usize = 2 * LANES;
    const LANES: usize = LANES;
    const DEPTH: usize = DEPTH;
    const READ: usize = DEPTH;
    const SUBTRACTED: i32 = 0;
    const WIDE: bool = false;
    const DEPTH_BLOCK: usize = 1280;

    unsafe fn fill(region: &Region) {
        // SAFETY: the caller's.
        unsafe { region::fill::<Bytes>(region) }
    }

    unsafe fn run(t: &Tiles) {
        // SAFETY: the caller's.
        unsafe {
            with_rows!(t.rows, [1 2 3 4 5 6], R => {
                // An instruction takes five cycles, and two can start in each; there are sixteen
                // registers.
                const SETS: usize = if R < 4 { 2 } else { 1 };
                if t.vectors == 1 { tiles::<R, 1, 2>(t) } else { tiles::<R, 2, SETS>(t) }
            })
        }
    }
}

/// Tiles whose groups go to `SETS` sets of sums in turn.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn tiles<const R: usize, const V: usize, const SETS: usize>(t: &Tiles) {
    for tile in 0..t.count {
        // SAFETY: the contract of `Kernel`.
        unsafe {
            let mut sums = [[[_mm256_setzero_si256(); V]; R]; SETS];
            sums[0] = start::<R, V>(t, tile);
            let a: [*const u8; R] = t.a.add(tile * R).cast::<[*const u8; R]>().read();
            let mut b = t.b;
            let mut group = |sums: &mut [[__m256i; V]; R], at: usize| {
                if R == 1 {
                    _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD).cast());
                }
                let mut w = [_mm256_setzero_si256(); V];
                for (v, w) in w.iter_mut().enumerate() {
                    *w = _mm256_loadu_si256(b.add(32 * v).cast());
                }
                b = b.add(32 * V);
                for r in 0..R {
                    let a = _mm256_set1_epi32(a[r].add(at).cast::<i32>().read_unaligned());
                    for v in 0..V {
                        sums[r][v] = _mm256_dpbusd_avx_epi32(sums[r][v], a, w[v]);
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
                    *sum = _mm256_add_epi32(*sum, other);
                }
            }
            end(t, tile, *all);
        }
    }
}
