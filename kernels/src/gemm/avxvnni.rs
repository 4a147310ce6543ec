//! AVX-VNNI: `vpdpbusd` on 256-bit registers, four u8 × i8 products into each i32, exact.

use std::arch::x86_64::*;

use super::avx2::{end, start};
use super::rows::{self, Bytes, Rows};
use super::{Kernel, Tile, with_rows};

pub(crate) struct AvxVnni;

// SAFETY: `tile` reads `DEPTH` activations of each row and `DEPTH` weights of each column per
// group, and writes as the trait says.
unsafe impl Kernel for AvxVnni {
    const NAME: &'static str = "x86-u8i8-avxvnni-6x16";
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;
    const HALVES: bool = true;
    const DEPTH: usize = 4;
    const SUBTRACTED: i32 = 0;
    const WIDE: bool = false;
    const DEPTH_BLOCK: usize = 1280;

    unsafe fn pack_rows(job: &Rows) {
        // SAFETY: the caller's.
        unsafe { rows::pack::<Bytes>(job) }
    }

    unsafe fn tile(t: &Tile) {
        // SAFETY: the caller's.
        unsafe {
            with_rows!(t.rows, [1 2 3 4 5 6], R => {
                if t.half { tile::<R, 1>(t) } else { tile::<R, 2>(t) }
            })
        }
    }
}

#[target_feature(enable = "avx2,avxvnni")]
unsafe fn tile<const R: usize, const V: usize>(t: &Tile) {
    // SAFETY: the contract of `Kernel`; a vector holds eight columns.
    unsafe {
        let mut sums = start::<R, V>(t.start);
        let a: [*const u8; R] = t.a.cast::<[*const u8; R]>().read();
        let mut b = t.b;
        for group in 0..t.groups {
            let mut w = [_mm256_setzero_si256(); V];
            for (v, w) in w.iter_mut().enumerate() {
                *w = _mm256_loadu_si256(b.add(32 * v).cast());
            }
            b = b.add(32 * V);
            for r in 0..R {
                let a = _mm256_set1_epi32(a[r].add(4 * group).cast::<i32>().read_unaligned());
                for v in 0..V {
                    sums[r][v] = _mm256_dpbusd_avx_epi32(sums[r][v], a, w[v]);
                }
            }
        }
        end(t.end, sums);
    }
}
