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
//! | windows to rows | [`rows`] |
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
pub(crate) mod rows;

use crate::requantize::Requantize;
use rows::Rows;

/// Every depth block but the last is a multiple of this, and so is what a tile reads of a row:
/// no kernel's `DEPTH` is larger, and all divide it.
pub(crate) const DEPTH_ALIGN: usize = 16;

/// A register tile: `rows × columns` sums over a depth block.
pub(crate) struct Tile {
    /// Pointers to the first activation of each row: u8, or i16 where [`Kernel::WIDE`].
    pub(crate) a: *const *const u8,
    /// Rows, `1..=Kernel::ROWS`.
    pub(crate) rows: usize,
    /// The panel at this depth block.
    pub(crate) b: *const u8,
    /// The panel went through [`Kernel::widen`].
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(crate) b_is_wide: bool,
    /// The panel has half of [`Kernel::COLUMNS`].
    pub(crate) half: bool,
    /// Groups of [`Kernel::DEPTH`] products.
    pub(crate) groups: usize,
    /// What the sums start from.
    pub(crate) start: Start,
    /// Where they go.
    pub(crate) end: End,
}

/// What the sums of a tile start from.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// One bias per column.
    Bias(*const i32),
    /// The sums so far, [`Kernel::COLUMNS`] apart from row to row.
    Sums(*const i32),
}

/// Where the sums of a tile go.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// To memory, [`Kernel::COLUMNS`] apart from row to row.
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
/// A panel holds `COLUMNS` columns (the last one of a group may hold half): for every group of
/// `DEPTH` products, for every column, `DEPTH` weights.
///
/// # Safety
/// An implementation reads of a [`Tile`] only `groups * DEPTH`, rounded up to [`DEPTH_ALIGN`],
/// activations of each row, `groups * DEPTH` weights and one bias and multiplier of each of the
/// panel's columns, and writes only the `rows × columns` codes or the `rows × COLUMNS` sums.
pub(crate) unsafe trait Kernel {
    /// `{arch}-u8i8-{variant}`.
    const NAME: &'static str;
    /// Rows of a full tile.
    const ROWS: usize;
    /// Columns of a full panel.
    const COLUMNS: usize;
    /// Whether a last panel of at most half the columns is packed, and run, as half a panel.
    const HALVES: bool;
    /// Consecutive products that one lane sums.
    const DEPTH: usize;
    /// What a tile subtracts from every activation, to make it an i8.
    const SUBTRACTED: i32;
    /// Both operands are i16 in scratch memory: rows always, panels where enough tiles share one.
    const WIDE: bool;
    /// Most products of a depth block: a panel and a tile's rows stay in the first-level cache.
    const DEPTH_BLOCK: usize;

    /// Lays the rows of `job` side by side in scratch memory.
    ///
    /// # Safety
    /// The CPU has the instructions, and [`rows::pack`]'s conditions hold.
    unsafe fn pack_rows(job: &Rows);

    /// Widens `len` weights to i16; called only where [`Kernel::WIDE`].
    ///
    /// # Safety
    /// The CPU has the instructions, `len` is a multiple of 16, `from` may be read for `len` bytes
    /// and `to` be written for `2 * len`.
    unsafe fn widen(_to: *mut u8, _from: *const u8, _len: usize) {}

    /// Runs one tile.
    ///
    /// # Safety
    /// The CPU has the instructions, and everything that the trait says is read or written may be.
    unsafe fn tile(tile: &Tile);
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
