//! Convolution and fully connected layers as a product of two matrices, in gemmlowp's structure.
//!
//! The left matrix has a row per output pixel: the `depth` activations under its window. The right
//! matrix has a column per output channel. The zero point of the activations is factored out of
//! the product, `sum (a - z) w = sum a w - z sum w`, and its part goes into the bias when the
//! weights are packed; rows hold the zero point where the window lies on padding, so the same bias
//! serves every pixel.
//!
//! | hop | file |
//! |---|---|
//! | weights to panels, offsets into the bias | [`pack`] |
//! | activations with their padding, in the second-level cache | [`region`] |
//! | blocks, tasks, the loop over tiles | [`driver`] |
//! | one tile: products, then the output stage | a file per instruction set |
//!
//! A kernel is a type that implements [`Kernel`]: it owns the layout of its panels through the
//! trait's constants, and supplies the tile. Everything else is written once.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avxvnni;
#[cfg(target_arch = "aarch64")]
pub(crate) mod dotprod;
pub(crate) mod driver;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod pack;
pub(crate) mod portable;
pub(crate) mod region;

use crate::requantize::Requantize;
use region::Region;

/// Bytes of weights that a tile of one row fetches ahead: it reads them once, from memory, and the
/// hardware's own streams stop at every page. Against none, 14 to 20 GB/s on one core of Zen 3;
/// 4 KiB gives 17.
#[cfg(target_arch = "x86_64")]
pub(crate) const AHEAD: usize = 1024;

/// A column of register tiles, one below the other, over a depth block: each has the sums of `rows`
/// pixels and `vectors` vectors of columns.
pub(crate) struct Tiles<'a> {
    /// Tiles.
    pub(crate) count: usize,
    /// Rows of each, no more than [`Kernel::rows`].
    pub(crate) rows: usize,
    /// Vectors of [`Kernel::LANES`] columns of the panel.
    pub(crate) vectors: usize,
    /// Pointers to each row's first activation: u8, or i16 where [`Kernel::WIDE`].
    pub(crate) a: *const *const u8,
    /// Where the products of the block lie in every row.
    pub(crate) runs: &'a [Run],
    /// The panel at this depth block.
    pub(crate) b: *const u8,
    /// What the sums start from.
    pub(crate) start: Start,
    /// Where they go.
    pub(crate) end: End,
}

/// Activations that follow each other in every row.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Bytes from the row's first activation on.
    pub(crate) offset: usize,
    /// Groups of [`Kernel::DEPTH`] products.
    pub(crate) groups: usize,
}

/// What sums start from.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// One bias per column.
    Bias(*const i32),
    /// The sums so far, row after row.
    Sums(*const i32),
}

/// Where sums go.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// To memory, row after row.
    Sums(*mut i32),
    /// Through the output stage.
    Codes {
        /// One per column.
        multipliers: *const f32,
        stage: Requantize,
        /// The code of the first row and column.
        y: *mut u8,
        /// Bytes from row to row.
        y_stride: usize,
        /// Columns that are channels of the output; the rest is padding of the panel.
        columns: usize,
    },
}

/// A microkernel and the layout of its operands.
///
/// A panel holds up to `COLUMNS` columns, whole vectors of `LANES`: for every group of `DEPTH`
/// products, for every column, `DEPTH` weights.
///
/// # Safety
/// An implementation reads of [`Tiles`] only `groups * DEPTH`, rounded up to a multiple of `READ`,
/// activations of each row's runs, `groups * DEPTH` weights and one bias and multiplier of each of
/// the panel's columns, and writes only the `rows × columns` codes or the `rows × vectors` sums.
pub(crate) unsafe trait Kernel {
    /// `{arch}-u8i8-{variant}`.
    const NAME: &'static str;
    /// Most rows of a tile.
    const ROWS: usize;
    /// Columns of a full panel.
    const COLUMNS: usize;
    /// Columns of a vector of sums.
    const LANES: usize;
    /// Consecutive products that one lane sums.
    const DEPTH: usize;
    /// Activations that a tile reads at once, a multiple of `DEPTH`.
    const READ: usize;
    /// What a tile subtracts from every activation, to make it an i8.
    const SUBTRACTED: i32;
    /// Activations are i16 in scratch memory.
    const WIDE: bool;
    /// Most products of a depth block: a panel and a tile's rows stay in the first-level cache.
    const DEPTH_BLOCK: usize;

    /// Rows of a full tile of so many vectors.
    fn rows(_vectors: usize) -> usize {
        Self::ROWS
    }

    /// Writes a region in the kernel's form of activations.
    ///
    /// # Safety
    /// The CPU has the instructions, and [`region::fill`]'s conditions hold.
    unsafe fn fill(region: &Region);

    /// Runs a column of tiles.
    ///
    /// # Safety
    /// The CPU has the instructions, and everything that the trait says is read or written may be.
    unsafe fn run(tiles: &Tiles);
}

/// Calls the function of the constant that equals the number of rows.
macro_rules! with_rows {
    ($rows:expr, [$($n:literal)+], $n_is:ident => $call:expr) => {
        match $rows {
            $($n => { const $n_is: usize = $n; $call })+
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}
pub(crate) use with_rows;
