//! Plain Rust, for any CPU.

use super::driver::requantize_row;
use super::region::{self, Bytes, Region};
use super::{End, Kernel, Start, Tiles, with_rows};

pub(crate) struct Portable;

const ROWS: usize = 4;
const COLUMNS: usize = 8;

// SAFETY: `tile` reads a weight of each column and an activation of each row per product, and
// writes as the trait says.
unsafe impl Kernel for Portable {
    const NAME: &'static str = "portable-u8i8-4x8";
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;
    const LANES: usize = COLUMNS;
    const DEPTH: usize = 1;
    const READ: usize = 1;
    const SUBTRACTED: i32 = 0;
    const WIDE: bool = false;
    const DEPTH_BLOCK: usize = 2048;

    unsafe fn fill(region: &Region) {
        // SAFETY: the caller's.
        unsafe { region::fill::<Bytes>(region) }
    }

    unsafe fn run(t: &Tiles) {
        // SAFETY: the caller's.
        unsafe { with_rows!(t.rows, [1 2 3 4], R => tiles::<R>(t)) }
    }
}

unsafe fn tiles<const R: usize>(t: &Tiles) {
    for tile in 0..t.count {
        let mut sums = [[0i32; COLUMNS]; R];
        // SAFETY: the contract of `Kernel`.
        unsafe {
            for (r, row) in sums.iter_mut().enumerate() {
                *row = match t.start {
                    Start::Bias(bias) => bias.cast::<[i32; COLUMNS]>().read(),
                    Start::Sums(sums) => {
                        sums.add((tile * R + r) * COLUMNS).cast::<[i32; COLUMNS]>().read()
                    }
                };
            }
            let a: [*const u8; R] = t.a.add(tile * R).cast::<[*const u8; R]>().read();
            let mut b = t.b;
            for run in t.runs {
                for at in run.offset..run.offset + run.groups {
                    let w = b.cast::<[i8; COLUMNS]>().read();
                    b = b.add(COLUMNS);
                    for (row, a) in sums.iter_mut().zip(a) {
                        let a = i16::from(*a.add(at));
                        for (sum, &w) in row.iter_mut().zip(&w) {
                            // |a * w| <= 255 * 128 fits i16.
                            *sum = sum.wrapping_add(i32::from(a * i16::from(w)));
                        }
                    }
                }
            }
            for (r, row) in sums.iter().enumerate() {
                match t.end {
                    End::Sums(to) => {
                        to.add((tile * R + r) * COLUMNS).cast::<[i32; COLUMNS]>().write(*row)
                    }
                    End::Codes { multipliers, stage, y, y_stride, columns } => {
                        requantize_row(
                            stage,
                            row,
                            multipliers,
                            y.add((tile * R + r) * y_stride),
                            columns,
                        );
                    }
                }
            }
        }
    }
}
