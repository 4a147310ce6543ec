//! 3×3 convolution with fewer products, by Winograd's minimal filtering, exact in integers.
//!
//! # The transforms
//!
//! F(m, 3) computes m outputs `y = Aᵀ[(G g) ⊙ (Bᵀ d)]` of a filter of three taps from m + 2
//! inputs, with m + 2 products where the definition takes 3m. Nested in two dimensions, F(2×2)
//! spends 16 products on 4 outputs (36 by definition), F(4×4) 36 on 16 (144).
//! An image is cut into tiles of so many outputs; every tile's inputs are transformed, so are the
//! weights when they are packed, and what is left between them is, for each of the positions, a
//! product of matrices (tiles × input channels) · (input channels × output channels): that is where
//! the time goes, in pairs of i16 (`vpmaddwd`, `vpdpwssd`, `smlal`).
//!
//! At stride 2 the outer taps meet even inputs alone, the middle tap odd ones: F(m, 2) of the even
//! ones, m + 1 products, and m products of the middle tap, which the output's transform adds up.
//! That is 25 products instead of 36 for tiles of 2×2, 81 instead of 144 for 4×4. Positions of the
//! middle tap share its weights.
//!
//! # Whole numbers
//!
//! `Bᵀ` and `Aᵀ` are integers; `G` has fractions. Each row of `G` is multiplied by the smallest
//! factor that makes it whole, and what that factor lacks to a common one is made up for in the
//! output's transform. For F(4, 3) the rows (1, 0, 0)/4, −(1, 1, 1)/6, −(1, −1, 1)/6,
//! (1, 2, 4)/24, (1, −2, 4)/24, (0, 0, 1) lose their denominators, products are multiplied by
//! 6, 4, 4, 1, 1, 24, and the outcome is 24·y. The four outputs' sums have the common factors
//! 1, 2, 4, 4, which are never multiplied in: 24, 12, 6, 6 times y. In two dimensions the factors
//! multiply: 576·y for a tile's first output, 36·y for its last. For F(2, 3) all of `G` is doubled
//! and every output comes out as 4·y. F(4, 3) at stride 2 has all of `G` six times as large, and
//! 36·y; F(2, 3) at stride 2 has no fractions.
//!
//! # Sixteen bits suffice for the operands
//!
//! Codes are transformed as they are, without their zero point. A code lies in 0..=255, so a
//! transformed one is at most 255 times the larger of the sums of the positive and of the negative
//! coefficients: 68·255 = 17,340 for F(4×4) (two of its middle rows), less for the others. A
//! transformed weight is at most 7·7·127 = 6,223. Intermediate values may wrap around, since
//! addition modulo 2^16 does not mind.
//!
//! # Sums modulo 2^32
//!
//! Products are summed in i32, where they may well wrap around: 512 channels of extreme weights and
//! codes pass 2^31 many times over. It does no harm. Everything from the products on is addition and
//! multiplication of integers, so the outcome is right modulo 2^32: at the worst position it is
//! 576·y = 9·2^6·y. Multiplying by 954,437,177, the inverse of 9 modulo 2^32, leaves 2^6·y, and an
//! arithmetic shift to the right by 6 leaves y, provided that −2^25 <= y < 2^25.
//!
//! # The proof
//!
//! Nothing keeps y in that range by itself, so it is proved for each output channel when weights are
//! packed. Let P and N be the sums of its positive and of its negative weights' magnitudes: the sum
//! of products of codes lies between −255·N and 255·P, whatever the codes. Only its width matters,
//! since an offset can centre it: `255 (P + N) < 2^26` is enough, for every zero point, padding and
//! bias. (The other forms have 30 or 32 bits instead of 26.) The offset costs nothing: every output
//! gets the same from position (1, 1), so the sums of that position start from 36 (or 4, or 1)
//! times the offset. The bias, the zero point's part `−zx · Σw` and the offset taken back are one
//! number that is added behind the shift.
//!
//! Layers with a channel that breaks the bound are refused ([`pack::is_exact`]) and run by another
//! algorithm. It takes more than 230 input channels, all of whose weights are ±127.
//!
//! # The way of the data
//!
//! | hop | file |
//! |---|---|
//! | the matrices, one dimension at a time | [`form`] |
//! | weights transformed and laid out, the bound | [`pack`] |
//! | codes to transformed codes | [`input`] |
//! | products | a file per instruction set; the loops of x86-64 in `x86` |
//! | sums to codes | [`output`] |
//! | blocks of tiles, tasks | [`driver`] |

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avxvnni;
pub(crate) mod driver;
pub(crate) mod form;
mod input;
mod output;
pub(crate) mod pack;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::ConvGeometry;
use crate::requantize::Requantize;
use form::{Form, Vector};
use input::Input;
use output::Output;

/// Fewest input and output channels of a group: a vector of the widest [`Words`], and what fills
/// half of the lanes.
const FEWEST_CHANNELS: [usize; 2] = [16, 8];

/// Whether this is a convolution that the form is made for.
pub(crate) fn supports<F: Form>(g: &ConvGeometry) -> bool {
    g.window.kernel == [3, 3]
        && g.window.stride == [F::STRIDE; 2]
        && g.window.dilation == [1, 1]
        && g.group_inputs() >= FEWEST_CHANNELS[0]
        && g.group_outputs() >= FEWEST_CHANNELS[1]
}

/// Products of pairs of i16 and, in their terms, what else the form costs: an estimate.
pub(crate) fn cost<F: Form>(g: &ConvGeometry) -> u64 {
    /// Streaming the panels takes as long as multiplying them with so many tiles.
    const STREAM_TILES: usize = 12;
    let tiles = g.output.h.div_ceil(F::OUTPUTS) * g.output.w.div_ceil(F::OUTPUTS);
    let rows = (F::POSITIONS * tiles).max(F::SETS * STREAM_TILES);
    let products = rows * g.group_inputs() * g.output.c;
    // The transforms take about a fifth of the products' time.
    products as u64 / 4 * 5
}

/// The products of a block of tiles and a few panels of output channels: position by position, and
/// panel by panel at each.
pub(crate) struct Product {
    /// Transformed codes of the first tile, and elements from tile to tile and from position to
    /// position.
    pub(crate) a: *const i16,
    pub(crate) a_tile: usize,
    pub(crate) a_position: usize,
    pub(crate) tiles: usize,
    /// Transformed weights: for every panel, for every set, for every pair of input channels, for
    /// every column, the pair.
    pub(crate) b: *const i16,
    pub(crate) panels: usize,
    /// Elements from panel to panel and from set to set.
    pub(crate) b_panel: usize,
    pub(crate) b_set: usize,
    /// The set of each position.
    pub(crate) sets: &'static [usize],
    /// What is read next, to be fetched meanwhile.
    pub(crate) next: *const i16,
    /// The panel, one then, has half of [`Kernel::COLUMNS`].
    pub(crate) half: bool,
    /// Pairs of input channels.
    pub(crate) pairs: usize,
    /// What the sums of every tile start from at one position, one per column.
    pub(crate) start: *const i32,
    pub(crate) centre: usize,
    /// Where they go, for every panel, for every position, [`Kernel::COLUMNS`]; elements from tile to
    /// tile.
    pub(crate) to: *mut i32,
    pub(crate) to_tile: usize,
}

/// A panel at a position.
pub(crate) struct Part {
    pub(crate) a: *const i16,
    pub(crate) b: *const i16,
    pub(crate) next: *const i16,
    /// Sums start from zero otherwise.
    pub(crate) start: Option<*const i32>,
    pub(crate) to: *mut i32,
}

impl Product {
    /// Register tiles of at most `most` rows, as few and as even as can be: rows of the larger
    /// ones, how many there are, and how many of a row less.
    pub(crate) fn rows(&self, most: usize) -> (usize, [usize; 2]) {
        let times = self.tiles.div_ceil(most);
        match self.tiles % times {
            0 => (self.tiles / times, [times, 0]),
            longer => (self.tiles / times + 1, [longer, times - longer]),
        }
    }

    /// A panel at a position.
    #[inline(always)]
    pub(crate) fn part<K: Kernel>(&self, position: usize, panel: usize) -> Part {
        let weights = |position: usize, panel: usize| {
            self.b.wrapping_add(panel * self.b_panel + self.sets[position] * self.b_set)
        };
        let next = match (panel + 1 < self.panels, position + 1 < self.sets.len()) {
            (true, _) => weights(position, panel + 1),
            (_, true) => weights(position + 1, 0),
            _ => self.next,
        };
        let column = K::COLUMNS * panel;
        Part {
            a: self.a.wrapping_add(position * self.a_position),
            b: weights(position, panel),
            next,
            start: (position == self.centre).then(|| self.start.wrapping_add(column)),
            to: self.to.wrapping_add(column * self.sets.len() + position * K::COLUMNS),
        }
    }
}

/// The instructions: vectors for the transforms, a register tile for the products.
///
/// # Safety
/// An implementation reads `2 * pairs` codes of each of a [`Product`]'s tiles and positions, the
/// panel's weights and starts, and writes the panel's columns of each tile and position. Its
/// `input` and `output` call [`input::transform`] and [`output::transform`].
pub(crate) unsafe trait Kernel {
    /// Lanes of i16.
    type Words: Words;
    /// Lanes of i32.
    type Sums: Sums;
    /// Columns of a full panel, a multiple of twice the lanes of [`Kernel::Sums`].
    const COLUMNS: usize;

    /// [`input::transform`], compiled for the instructions.
    ///
    /// # Safety
    /// As there, and the CPU has the instructions.
    unsafe fn input<F: Form>(job: &Input);

    /// Multiplies a panel.
    ///
    /// # Safety
    /// The CPU has the instructions, and everything that the trait says is read or written may be.
    unsafe fn product(job: &Product);

    /// [`output::transform`], compiled for the instructions.
    ///
    /// # Safety
    /// As there, and the CPU has the instructions.
    unsafe fn output<F: Form>(job: &Output);
}

/// A vector of i16, for the input's transform.
///
/// # Safety
/// Functions read or write [`Words::LANES`] elements and need no instruction that the
/// [`Kernel`]'s functions were not compiled for.
pub(crate) unsafe trait Words: Vector {
    /// Elements, at most 16.
    const LANES: usize;
    /// Codes, widened.
    ///
    /// # Safety
    /// `from` may be read for that many bytes, and the CPU has the instructions.
    unsafe fn codes(from: *const u8) -> Self;
    /// # Safety
    /// `from` may be read for that many elements, and the CPU has the instructions.
    unsafe fn load(from: *const i16) -> Self;
    /// # Safety
    /// `to` may be written for that many elements, and the CPU has the instructions.
    unsafe fn store(self, to: *mut i16);
}

/// Pixels that are stored together.
pub(crate) const PIXELS: usize = 4;

/// A vector of i32, for the output's transform.
///
/// # Safety
/// Functions read or write [`Sums::LANES`] elements and need no instruction that the
/// [`Kernel`]'s functions were not compiled for.
pub(crate) unsafe trait Sums: Vector {
    /// Elements.
    const LANES: usize;
    /// The output stage's constants.
    type Stage: Copy;
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn stage(stage: Requantize) -> Self::Stage;
    /// # Safety
    /// `from` may be read for that many elements, and the CPU has the instructions.
    unsafe fn load(from: *const i32) -> Self;
    /// `value` in every lane: a sum, or a pair of i16.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn splat(value: i32) -> Self;
    /// # Safety
    /// `to` may be written for that many elements, and the CPU has the instructions.
    unsafe fn write(self, to: *mut i32);
    /// `(self * factor) >> shift`.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn divide(self, factor: i32, shift: u32) -> Self;
    /// Sends the sums of a few pixels through the output stage and stores their codes.
    ///
    /// # Safety
    /// `multipliers` may be read for that many elements, every pixel written for that many bytes,
    /// and the CPU has the instructions.
    unsafe fn store(pixels: [(Self, *mut u8); PIXELS], stage: Self::Stage, multipliers: *const f32);
}
