//! Depthwise convolution: one input channel per output channel, vectorised over channels.
//!
//! A kernel computes a row of output pixels. It gets a table of pointers, one per row of the window
//! and column of the padded input; where either lies on padding the pointer leads to a pixel of
//! zero points. So no kernel tests for an edge, one bias serves every pixel, and neighbouring
//! output pixels find what they share in the table's columns. Channels go in blocks of
//! [`Kernel::BLOCK`]: the last block overlaps the one before it rather than end early; with fewer
//! channels than a block, pixels near the end of the input are copied, so that a whole block may
//! be read.
//!
//! Packed bytes: bias and multiplier of every block's lanes, then every block's weights: for each
//! group of [`Kernel::TAPS`] taps in the [`order`] of taps, for each lane, its taps.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avxvnni;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use crate::conv::{Conv, Stage};
use crate::requantize::Requantize;
use crate::{ConvGeometry, Team, View, ViewMut};

/// Tasks per thread, so that a slow thread holds the others up by little.
const TASKS_PER_THREAD: usize = 4;
/// Multiply-accumulates of a task, a few microseconds: below that, handing it to another thread
/// costs more than it saves.
const TASK_MACS: u64 = 32 << 10;

/// A row of output pixels.
pub(crate) struct Row {
    /// For each row of the window, a pointer per column of the padded input.
    pub(crate) table: *const *const u8,
    /// Columns of the table.
    pub(crate) columns: usize,
    /// Rows and columns of the window.
    pub(crate) kernel: [usize; 2],
    /// Columns of the table from pixel to pixel, and from tap to tap.
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) pixels: usize,
    /// Which blocks of channels to compute.
    pub(crate) blocks: Range<usize>,
    /// Channels of the whole tensor.
    pub(crate) channels: usize,
    pub(crate) bias: *const i32,
    pub(crate) multipliers: *const f32,
    pub(crate) weights: *const u8,
    pub(crate) stage: Requantize,
    /// The first pixel's codes, and the bytes from pixel to pixel.
    pub(crate) y: *mut u8,
    pub(crate) y_stride: usize,
}

/// A depthwise microkernel.
///
/// # Safety
/// An implementation reads of each pointer in the table only the blocks of channels asked for, and
/// writes only the pixels' channels of those blocks.
pub(crate) unsafe trait Kernel {
    /// `{arch}-u8i8-{variant}`.
    const NAME: &'static str;
    /// Channels of a block, and lanes of its packed weights.
    const BLOCK: usize;
    /// Taps that one lane sums.
    const TAPS: usize;
    /// Bytes of a packed weight.
    const WEIGHT_BYTES: usize;

    /// The channel of a block that lane `lane` works on.
    fn channel(lane: usize) -> usize {
        lane
    }

    /// Computes the pixels.
    ///
    /// # Safety
    /// The CPU has the instructions, and everything that the trait says is read or written may be.
    unsafe fn run(row: &Row);
}

/// The taps, as row and column, in the order in which kernels of `per` taps to a group take them:
/// column by column, so that a group serves every pixel that has its column under its window. A
/// row that is left over is taken along itself. `None` fills a group up.
pub(crate) fn order(
    [rows, columns]: [usize; 2],
    per: usize,
) -> impl Iterator<Item = Option<[usize; 2]>> {
    let along = per > 1 && rows % per == 1;
    let upright = rows - usize::from(along);
    let in_column = upright.next_multiple_of(per);
    let in_row = if along { columns.next_multiple_of(per) } else { 0 };
    let column = move |x| (0..in_column).map(move |y| (y < upright).then_some([y, x]));
    let row = (0..in_row).map(move |x| (x < columns).then_some([upright, x]));
    (0..columns).flat_map(column).chain(row)
}

/// The first channel of block `block` of `width` channels.
#[inline(always)]
pub(crate) fn block_start(block: usize, width: usize, channels: usize) -> usize {
    (block * width).min(channels.saturating_sub(width))
}

impl Row {
    /// The pointer of tap (`y`, `x`) at output pixel `pixel`.
    ///
    /// # Safety
    /// The pixel is one of the row's, the tap one of the window's.
    #[inline(always)]
    pub(crate) unsafe fn tap(&self, pixel: usize, [y, x]: [usize; 2]) -> *const u8 {
        let at = y * self.columns + pixel * self.stride + x * self.dilation;
        // SAFETY: the caller's.
        unsafe { *self.table.add(at) }
    }
}

/// Whether this is a depthwise convolution with one output per input channel.
pub(crate) fn supports(g: &ConvGeometry) -> bool {
    g.is_depthwise() && g.group_outputs() == 1
}

/// Where everything lies in packed bytes.
struct Layout {
    /// Lanes of all blocks.
    lanes: usize,
    /// Bytes of a block's weights.
    block: usize,
    blocks: usize,
}

impl Layout {
    fn new<K: Kernel>(g: &ConvGeometry) -> Layout {
        let blocks = g.output.c.div_ceil(K::BLOCK);
        let taps = order(g.window.kernel, K::TAPS).count();
        Layout { lanes: blocks * K::BLOCK, block: K::BLOCK * taps * K::WEIGHT_BYTES, blocks }
    }

    fn multipliers(&self) -> usize {
        4 * self.lanes
    }

    fn weights(&self) -> usize {
        8 * self.lanes
    }

    fn len(&self) -> usize {
        self.weights() + self.blocks * self.block
    }
}

pub(crate) fn packed_len<K: Kernel>(g: &ConvGeometry) -> usize {
    Layout::new::<K>(g).len()
}

pub(crate) fn pack<K: Kernel>(
    g: &ConvGeometry,
    input_zero_point: u8,
    weights: &[i8],
    bias: &[i32],
    multipliers: &[f32],
    packed: &mut [u8],
) {
    let layout = Layout::new::<K>(g);
    let (channels, taps) = (g.output.c, g.window.taps());
    packed.fill(0);
    for slot in 0..layout.lanes {
        let (block, lane) = (slot / K::BLOCK, slot % K::BLOCK);
        let channel = block_start(block, K::BLOCK, channels) + K::channel(lane);
        if channel >= channels {
            continue;
        }
        let weights = &weights[channel * taps..][..taps];
        let sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
        let bias = bias[channel].wrapping_sub(i32::from(input_zero_point).wrapping_mul(sum));
        packed[4 * slot..][..4].copy_from_slice(&bias.to_le_bytes());
        packed[layout.multipliers() + 4 * slot..][..4]
            .copy_from_slice(&multipliers[channel].to_le_bytes());
        for (i, tap) in order(g.window.kernel, K::TAPS).enumerate() {
            let Some([y, x]) = tap else { continue };
            let at = (i / K::TAPS * K::BLOCK + lane) * K::TAPS + i % K::TAPS;
            let at = layout.weights() + block * layout.block + at * K::WEIGHT_BYTES;
            let w = i16::from(weights[y * g.window.kernel[1] + x]).to_le_bytes();
            packed[at..][..K::WEIGHT_BYTES].copy_from_slice(&w[..K::WEIGHT_BYTES]);
        }
    }
}

/// A pixel of zero points, copies of the last pixels, then for each thread its table.
struct Scratch {
    padding: usize,
    copies: usize,
    table: usize,
}

impl Scratch {
    fn new<K: Kernel>(g: &ConvGeometry) -> Scratch {
        let copies = if g.input.c < K::BLOCK { K::BLOCK * K::BLOCK } else { 0 };
        let table = g.window.kernel[0] * columns(g) * size_of::<*const u8>();
        Scratch {
            padding: g.input.c.next_multiple_of(64),
            copies: copies.next_multiple_of(64),
            table: table.next_multiple_of(64),
        }
    }
}

/// Columns of the padded input that the windows of a row of output pixels cover.
fn columns(g: &ConvGeometry) -> usize {
    (g.output.w - 1) * g.window.stride[1] + (g.window.kernel[1] - 1) * g.window.dilation[1] + 1
}

pub(crate) fn scratch_len<K: Kernel>(g: &ConvGeometry, threads: usize) -> usize {
    let scratch = Scratch::new::<K>(g);
    scratch.padding + scratch.copies + threads * scratch.table + 64
}

/// What every task reads.
struct Job<'a> {
    geometry: &'a ConvGeometry,
    layout: Layout,
    stage: Requantize,
    packed: &'a [u8],
    x: View<'a>,
    padding: &'a [u8],
    /// Blocks of the pixels from `first_copy` on, of which no whole block may be read.
    copies: &'a [u8],
    first_copy: usize,
    /// A table per thread, this many bytes apart.
    tables: *mut u8,
    table: usize,
    y: *mut u8,
    y_stride: usize,
}

// SAFETY: tasks write disjoint rows or blocks of `y`, and each thread its own table.
unsafe impl Sync for Job<'_> {}

/// Runs the convolution.
///
/// # Safety
/// The CPU has the instructions of `K`. Lengths and shapes were checked by [`Conv::run`].
pub(crate) unsafe fn run<K: Kernel>(
    conv: &Conv,
    packed: &[u8],
    x: View,
    mut y: ViewMut,
    scratch: &mut [u8],
    team: &Team,
) {
    let Stage::Requantize(stage) = conv.stage() else {
        unreachable!("`Conv::with_fixed_point` takes no depthwise kernel")
    };
    let geometry = conv.geometry();
    let aligned = scratch.as_ptr().align_offset(64);
    let sizes = Scratch::new::<K>(geometry);
    let (padding, rest) = scratch[aligned..].split_at_mut(sizes.padding);
    let (copies, tables) = rest.split_at_mut(sizes.copies);
    padding.fill(conv.input_zero_point());
    let first_copy = copy_last_pixels(x, K::BLOCK, copies);
    let tables = &mut tables[..team.threads() * sizes.table];
    let layout = Layout::new::<K>(geometry);
    let (rows, blocks) = (geometry.output.h, layout.blocks);
    let job = Job {
        geometry,
        stage: stage.with(&packed[layout.multipliers()..layout.weights()]),
        layout,
        packed,
        x,
        padding,
        copies,
        first_copy,
        tables: tables.as_mut_ptr(),
        table: sizes.table,
        y_stride: y.pixel_stride(),
        y: y.data().as_mut_ptr(),
    };
    // Parts of a row only where there are too few rows to go round.
    let most = if team.threads() == 1 { 1 } else { team.threads() * TASKS_PER_THREAD };
    let wanted = geometry.macs().div_ceil(TASK_MACS).clamp(1, most as u64) as usize;
    let parts = wanted.div_ceil(rows).min(blocks);
    let tasks = wanted.min(rows * parts);
    let units = rows * parts;
    team.run(tasks, &|task, thread| {
        for unit in units * task / tasks..units * (task + 1) / tasks {
            let (row, part) = (unit / parts, unit % parts);
            let blocks = blocks * part / parts..blocks * (part + 1) / parts;
            // SAFETY: the caller's; every row's blocks belong to one task, and `thread` is below
            // the team's threads.
            unsafe { job.row::<K>(row, blocks, thread) }
        }
    });
}

/// Copies those pixels of `x` of which no block of `width` bytes may be read, and returns the first
/// of them.
fn copy_last_pixels(x: View, width: usize, copies: &mut [u8]) -> usize {
    let (pixels, channels) = (x.shape().pixels(), x.shape().c);
    if channels >= width {
        return pixels;
    }
    let first = match x.data().len().checked_sub(width) {
        Some(last) => pixels.min(last / x.pixel_stride() + 1),
        None => 0,
    };
    for (pixel, copy) in (first..pixels).zip(copies.chunks_mut(width)) {
        copy[..channels].copy_from_slice(x.pixel(pixel));
    }
    first
}

impl Job<'_> {
    /// # Safety
    /// As [`run`]; no other running task has this `thread`, or this row with one of the blocks.
    unsafe fn row<K: Kernel>(&self, oy: usize, blocks: Range<usize>, thread: usize) {
        let g = self.geometry;
        let columns = columns(g);
        // SAFETY: offsets are those of `Scratch` and `Layout`; pixels of `y` lie in it.
        unsafe {
            let table = self.tables.add(thread * self.table).cast::<*const u8>();
            for ky in 0..g.window.kernel[0] {
                let row = std::slice::from_raw_parts_mut(table.add(ky * columns), columns);
                let y = oy * g.window.stride[0] + ky * g.window.dilation[0];
                self.pointers(row, y.checked_sub(g.window.pad[0]), K::BLOCK);
            }
            let packed = self.packed.as_ptr();
            K::run(&Row {
                table,
                columns,
                kernel: g.window.kernel,
                stride: g.window.stride[1],
                dilation: g.window.dilation[1],
                pixels: g.output.w,
                blocks,
                channels: g.output.c,
                bias: packed.cast(),
                multipliers: packed.add(self.layout.multipliers()).cast(),
                weights: packed.add(self.layout.weights()),
                stage: self.stage,
                y: self.y.add(oy * g.output.w * self.y_stride),
                y_stride: self.y_stride,
            });
        }
    }

    /// Pointers to the pixels of row `y` of the input, padded on both sides; to padding alone
    /// where the image has no such row.
    fn pointers(&self, table: &mut [*const u8], y: Option<usize>, block: usize) {
        let g = self.geometry;
        let padding = self.padding.as_ptr();
        let Some(y) = y.filter(|&y| y < g.input.h) else { return table.fill(padding) };
        let before = g.window.pad[1].min(table.len());
        let (left, rest) = table.split_at_mut(before);
        let (inside, right) = rest.split_at_mut(g.input.w.min(rest.len()));
        left.fill(padding);
        right.fill(padding);
        let (first, stride) = (y * g.input.w, self.x.pixel_stride());
        let data = self.x.data().as_ptr();
        for (x, pointer) in inside.iter_mut().enumerate() {
            *pointer = data.wrapping_add((first + x) * stride);
        }
        let whole = self.first_copy.saturating_sub(first).min(inside.len());
        for (pointer, pixel) in inside[whole..].iter_mut().zip(first + whole..) {
            *pointer = self.copies[(pixel - self.first_copy) * block..].as_ptr();
        }
    }
}
