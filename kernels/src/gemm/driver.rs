//! Blocks, tasks and the loop over tiles.
//!
//! A task is a block of output rows times a range of panels of one group of channels. Inside of it:
//! write the region under the rows (it stays in the second-level cache), and for every panel and
//! every depth block of it (first-level cache) run the tiles down the pixels. Sums of all but the
//! last depth block wait in scratch memory; the last one goes through the output stage straight
//! from registers. Where it pays, tiles keep within bands of output rows, and leave out the rows of
//! the window that lie on padding there.

use std::ops::Range;

use super::pack::{Band, Layout};
use super::region::{Bytes, Grid, Region, Write};
use super::{End, Kernel, Run, Start, Tiles};
use crate::conv::{Conv, Stage};
use crate::requantize::Requantize;
use crate::{ConvGeometry, Shape, Team, View, ViewMut, Window};

/// Bytes of the activations of a task: a third of a small second-level cache.
const REGION_BYTES: usize = 160 << 10;
/// Tasks per thread, so that a slow thread holds the others up by little.
const TASKS_PER_THREAD: usize = 4;
/// Multiply-accumulates of a task, a few microseconds: below that, handing it to another thread
/// costs more than it saves.
const TASK_MACS: u64 = 128 << 10;

/// How a convolution is cut into blocks and tasks.
struct Plan {
    geometry: ConvGeometry,
    layout: Layout,
    grid: Grid,
    /// Activations are read where they lie.
    in_place: bool,
    /// Groups of products of a depth block.
    block_groups: usize,
    depth_blocks: usize,
    /// Output rows and panels of a task.
    rows: usize,
    panels: usize,
    row_blocks: usize,
    panel_blocks: usize,
    /// Bytes from row to row where rows are laid side by side.
    row_stride: usize,
    /// Offsets in a thread's scratch memory, and its size. It starts with the number of the block
    /// whose region it holds, plus 1.
    region: usize,
    side_by_side: usize,
    pointers: usize,
    runs: usize,
    sums: usize,
    scratch: usize,
}

impl Plan {
    fn new<K: Kernel>(geometry: &ConvGeometry, threads: usize) -> Plan {
        let g = flat(geometry);
        let layout = Layout::new::<K>(&g);
        let grid = Grid::new(&g);
        let pixels = g.output.pixels();
        let in_place = !K::WIDE && is_sliced(&g) && g.group_inputs().is_multiple_of(K::READ);
        // A few pixels, as of a fully connected layer: every panel is read once, front to back.
        let few = pixels <= K::ROWS;
        let wanted = (layout.groups() * K::DEPTH).div_ceil(K::DEPTH_BLOCK);
        let block_groups = layout.groups().div_ceil(if few { 1 } else { wanted });
        let block_groups = block_groups.next_multiple_of(K::READ / K::DEPTH);
        let depth_blocks = layout.groups().div_ceil(block_groups);

        let element = if K::WIDE { 2 } else { 1 };
        let pixel_bytes = g.group_inputs() * element;
        let row_stride = (layout.groups() * K::DEPTH).next_multiple_of(K::READ) * element;
        let region_bytes = |rows: usize| grid.pixels(rows) * pixel_bytes;
        let (one, more) = (region_bytes(1), region_bytes(2) - region_bytes(1));
        let most_rows = 1 + REGION_BYTES.saturating_sub(one) / more;
        let mut row_blocks = g.output.h.div_ceil(most_rows);
        let mut panel_blocks = 1;
        if threads > 1 {
            let worthwhile = g.macs().div_ceil(TASK_MACS).min((threads * TASKS_PER_THREAD) as u64);
            let wanted = (worthwhile as usize).div_ceil(g.groups);
            if row_blocks < wanted {
                // Cutting rows costs a pass over the panels, cutting panels one over the rows.
                if pixels >= 8 * K::ROWS * wanted && g.output.h >= wanted {
                    row_blocks = wanted;
                } else {
                    panel_blocks = wanted.div_ceil(row_blocks).min(layout.panels);
                }
            }
        }
        let rows = g.output.h.div_ceil(row_blocks);
        let panels = layout.panels.div_ceil(panel_blocks);

        let aligned = |len: usize| len.next_multiple_of(64);
        let most = rows * g.output.w;
        // What a tile may read behind the last activation of a run.
        let slack = K::READ * element;
        let region = 64;
        let region_len = if in_place { 0 } else { region_bytes(rows) + slack };
        let side_by_side = region + aligned(region_len);
        let rows_len = if layout.side_by_side { most * row_stride } else { 0 };
        let pointers = side_by_side + aligned(rows_len);
        let runs = pointers + aligned(most * size_of::<*const u8>());
        let sums = runs + aligned((layout.segments + depth_blocks) * size_of::<Run>());
        // One tile at least, for output stages that have no vector form.
        let waiting = if depth_blocks > 1 { most } else { K::ROWS };
        let scratch = sums + aligned(4 * waiting * K::COLUMNS);
        Plan {
            geometry: g,
            layout,
            grid,
            in_place,
            block_groups,
            depth_blocks,
            rows,
            panels,
            row_blocks: g.output.h.div_ceil(rows),
            panel_blocks: layout.panels.div_ceil(panels),
            row_stride,
            region,
            side_by_side,
            pointers,
            runs,
            sums,
            scratch,
        }
    }
}

/// The same convolution, with every pixel a row of its own where rows make no difference.
fn flat(g: &ConvGeometry) -> ConvGeometry {
    let same = (g.input.h, g.input.w) == (g.output.h, g.output.w);
    if g.window.kernel != [1, 1]
        || g.window != (Window { dilation: g.window.dilation, ..Window::POINTWISE })
        || !same
    {
        return *g;
    }
    let column = |shape: Shape| Shape::new(shape.pixels(), 1, shape.c);
    ConvGeometry { input: column(g.input), output: column(g.output), ..*g }
}

/// Whether every window is a pixel of the input.
fn is_sliced(g: &ConvGeometry) -> bool {
    let last = |outputs: usize, stride: usize| (outputs - 1) * stride;
    g.window.kernel == [1, 1]
        && g.window.pad == [0, 0]
        && last(g.output.h, g.window.stride[0]) < g.input.h
        && last(g.output.w, g.window.stride[1]) < g.input.w
}

/// Bytes of scratch memory for a team of `threads`.
pub(crate) fn scratch_len<K: Kernel>(geometry: &ConvGeometry, threads: usize) -> usize {
    threads * Plan::new::<K>(geometry, threads).scratch + 64
}

/// Most columns of any kernel's panels.
const MOST_COLUMNS: usize = 64;

/// The sums of a band's pixels and a panel's columns over a part of the depth.
struct Sums<'a> {
    pixels: usize,
    /// Vectors of columns, and columns that are channels of the output.
    vectors: usize,
    columns: usize,
    /// As in [`Tiles`].
    a: *const *const u8,
    runs: &'a [Run],
    b: *const u8,
    /// What the sums start from; `None` where those so far wait.
    bias: Option<*const i32>,
    /// Where they wait, or room for a tile's.
    sums: *mut i32,
    /// Nothing is added to them any more.
    last: bool,
    multipliers: *const f32,
    /// The code of the first pixel and column.
    y: *mut u8,
}

/// What every task reads.
struct Job<'a> {
    conv: &'a Conv,
    stage: Stage,
    plan: Plan,
    packed: &'a [u8],
    x: View<'a>,
    y: *mut u8,
    y_stride: usize,
    scratch: *mut u8,
}

// SAFETY: tasks write disjoint rows and columns of `y`, and each thread its own part of `scratch`.
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
    let plan = Plan::new::<K>(conv.geometry(), team.threads());
    let tasks = plan.geometry.groups * plan.row_blocks * plan.panel_blocks;
    let padding = scratch.as_ptr().align_offset(64);
    let scratch = &mut scratch[padding..][..team.threads() * plan.scratch];
    for part in scratch.chunks_exact_mut(plan.scratch) {
        // No region yet.
        part[..size_of::<usize>()].fill(0);
    }
    let multipliers = &packed[plan.layout.multipliers..plan.layout.first_panel];
    let stage = match conv.stage() {
        Stage::Requantize(stage) => Stage::Requantize(stage.with(multipliers)),
        fixed => fixed,
    };
    let job = Job {
        stage,
        packed,
        x,
        y_stride: y.pixel_stride(),
        y: y.data().as_mut_ptr(),
        scratch: scratch.as_mut_ptr(),
        conv,
        plan,
    };
    // SAFETY: the caller's; `thread` is below the team's threads.
    team.run(tasks, &|task, thread| unsafe { job.task::<K>(task, thread) });
}

impl Job<'_> {
    /// # Safety
    /// As [`run`]; no other running task has this `thread`.
    unsafe fn task<K: Kernel>(&self, task: usize, thread: usize) {
        let plan = &self.plan;
        let g = &plan.geometry;
        let (block, panel_block) = (task / plan.panel_blocks, task % plan.panel_blocks);
        let (channels, row_block) = (block / plan.row_blocks, block % plan.row_blocks);
        let range =
            |block: usize, size: usize, all: usize| block * size..(block * size + size).min(all);
        let rows = range(row_block, plan.rows, g.output.h);
        // SAFETY: `scratch` holds a part for every thread; ranges lie within the geometry, and the
        // part was laid out for them.
        unsafe {
            let scratch = self.scratch.add(thread * plan.scratch);
            let holds = scratch.cast::<usize>();
            if *holds != block + 1 {
                self.activations::<K>(channels, &rows, scratch);
                *holds = block + 1;
            }
            for panel in range(panel_block, plan.panels, plan.layout.panels) {
                self.panel::<K>(channels, &rows, panel, scratch);
            }
        }
    }

    /// Writes the region of a block of rows, the pointers to its pixels and the runs of all depth
    /// blocks.
    ///
    /// # Safety
    /// As [`Job::task`].
    unsafe fn activations<K: Kernel>(
        &self,
        channels: usize,
        rows: &Range<usize>,
        scratch: *mut u8,
    ) {
        let Plan { geometry: g, grid, layout, .. } = &self.plan;
        let pixel_stride = self.x.pixel_stride();
        let pixel_bytes = g.group_inputs() * if K::WIDE { 2 } else { 1 };
        // SAFETY: the scratch memory holds what the plan says, and `rows` is no longer than its
        // blocks; where activations are read in place, every pixel is one of the input.
        unsafe {
            let region = scratch.add(self.plan.region);
            if !self.plan.in_place {
                K::fill(&Region {
                    geometry: g,
                    grid,
                    zero_point: self.conv.input_zero_point(),
                    data: self.x.data(),
                    pixel_stride,
                    group: channels,
                    rows: rows.clone(),
                    to: region,
                });
            }
            let mut pointer = scratch.add(self.plan.pointers).cast::<*const u8>();
            let mut row = scratch.add(self.plan.side_by_side);
            for y in 0..rows.len() {
                for x in 0..g.output.w {
                    *pointer = if self.plan.in_place {
                        let [stride_y, stride_x] = g.window.stride;
                        let pixel = (rows.start + y) * stride_y * g.input.w + x * stride_x;
                        let from = pixel * pixel_stride + channels * g.group_inputs();
                        self.x.data()[from..][..g.group_inputs()].as_ptr()
                    } else {
                        region.add(grid.pixel([y, x]) * pixel_bytes)
                    };
                    if layout.side_by_side {
                        lay_side_by_side(g, grid, *pointer, row, pixel_bytes);
                        *pointer = row;
                        row = row.add(self.plan.row_stride);
                    }
                    pointer = pointer.add(1);
                }
            }
            let mut run = scratch.add(self.plan.runs).cast::<Run>();
            for block in 0..self.plan.depth_blocks {
                for one in self.runs::<K>(block) {
                    *run = one;
                    run = run.add(1);
                }
            }
        }
    }

    /// The groups of products of a depth block.
    fn block(&self, block: usize) -> Range<usize> {
        let first = block * self.plan.block_groups;
        first..(first + self.plan.block_groups).min(self.plan.layout.groups())
    }

    /// The runs of a depth block.
    fn runs<K: Kernel>(&self, block: usize) -> impl ExactSizeIterator<Item = Run> {
        let Plan { geometry: g, grid, layout, .. } = &self.plan;
        let groups = self.block(block);
        let element = if K::WIDE { 2 } else { 1 };
        let segments =
            groups.start / layout.segment_groups..(groups.end - 1) / layout.segment_groups + 1;
        segments.map(move |segment| {
            let all = segment * layout.segment_groups..(segment + 1) * layout.segment_groups;
            let part = groups.start.max(all.start)..groups.end.min(all.end);
            let kernel_w = g.window.kernel[1];
            let tap = match layout.segments == g.window.kernel[0] {
                true => [segment, 0],
                false => [segment / kernel_w, segment % kernel_w],
            };
            let first = if segment == 0 { 0 } else { grid.tap(g, tap) * g.group_inputs() };
            let offset = (first + (part.start - all.start) * K::DEPTH) * element;
            Run { offset, groups: part.len() }
        })
    }

    /// Runs the tiles of one panel.
    ///
    /// # Safety
    /// As [`Job::task`], after [`Job::activations`].
    unsafe fn panel<K: Kernel>(
        &self,
        channels: usize,
        rows: &Range<usize>,
        panel: usize,
        scratch: *mut u8,
    ) {
        const { assert!(K::COLUMNS <= MOST_COLUMNS) }
        let Plan { geometry: g, layout, depth_blocks, .. } = &self.plan;
        let vectors = layout.width(panel);
        let width = vectors * K::LANES;
        let column = layout.vectors_before(panel) * K::LANES;
        let slot = channels * layout.columns + column;
        let columns = (g.group_outputs() - column).min(width);
        let channel = channels * g.group_outputs() + column;
        let segment = layout.segment_groups;
        // SAFETY: offsets are those of `Layout`, and `packed` has its length; the scratch memory
        // holds what the plan says; channels from `column` on are the output's.
        unsafe {
            let packed = self.packed.as_ptr();
            let bias = packed.add(4 * slot).cast::<i32>();
            let multipliers = packed.add(layout.multipliers + 4 * slot).cast::<f32>();
            let pointers = scratch.add(self.plan.pointers).cast::<*const u8>();
            let sums = scratch.add(self.plan.sums).cast::<i32>();
            let mut runs = scratch.add(self.plan.runs).cast::<Run>().cast_const();
            for block in 0..*depth_blocks {
                let groups = self.block(block);
                let count = self.runs::<K>(block).len();
                let of_block = std::slice::from_raw_parts(runs, count);
                runs = runs.add(count);
                for Band { rows: band, segments } in layout.bands(g, rows.clone()) {
                    let (start, end) = (segments.start * segment, segments.end * segment);
                    let part = groups.start.max(start)..groups.end.min(end);
                    if part.is_empty() {
                        continue;
                    }
                    let run = |group: usize| group / segment - groups.start / segment;
                    let before = (band.start - rows.start) * g.output.w;
                    let mut biases = [0; MOST_COLUMNS];
                    let bias = (part.start == start).then(|| match segments.len() {
                        len if len == layout.segments => bias,
                        _ => self.biases(slot, &segments, &mut biases[..width]),
                    });
                    self.tiles::<K>(&Sums {
                        pixels: band.len() * g.output.w,
                        vectors,
                        columns,
                        a: pointers.add(before),
                        runs: &of_block[run(part.start)..=run(part.end - 1)],
                        b: packed.add(layout.panel::<K>(channels, panel, part.start)),
                        bias,
                        sums: if *depth_blocks > 1 { sums.add(before * width) } else { sums },
                        last: part.end == end,
                        multipliers,
                        y: self.y.add(band.start * g.output.w * self.y_stride + channel),
                    });
                }
            }
        }
    }

    /// The biases of the columns from `slot` on for sums over `segments` alone.
    ///
    /// # Safety
    /// The packed bytes hold so many columns, and the parts of the biases.
    unsafe fn biases(
        &self,
        slot: usize,
        segments: &Range<usize>,
        biases: &mut [i32],
    ) -> *const i32 {
        let layout = &self.plan.layout;
        let number = |row: usize, i: usize| {
            // SAFETY: the caller's; parts follow the biases row by row of the window.
            unsafe {
                let at = self.packed.as_ptr().add(row * layout.of_columns + 4 * (slot + i));
                at.cast::<i32>().read()
            }
        };
        for (i, bias) in biases.iter_mut().enumerate() {
            *bias = number(0, i);
            for skipped in (0..segments.start).chain(segments.end..layout.segments) {
                *bias = bias.wrapping_sub(number(1 + skipped, i));
            }
        }
        biases.as_ptr()
    }

    /// Runs tiles down the pixels of a band.
    ///
    /// # Safety
    /// As [`Job::task`]; `s` points to what it says.
    unsafe fn tiles<K: Kernel>(&self, s: &Sums) {
        let width = s.vectors * K::LANES;
        // Sums wait for another depth block.
        let wait = self.plan.depth_blocks > 1;
        // Tiles of even size: a last one of a row or two would cost nearly as much as a full one.
        let tiles = s.pixels.div_ceil(K::rows(s.vectors));
        let (least, larger) = (s.pixels / tiles, s.pixels % tiles);
        let mut row = 0;
        for (rows, count) in [(least + 1, larger), (least, tiles - larger)] {
            let scalar = s.last && matches!(self.stage, Stage::FixedPoint(_));
            let step = if scalar { 1 } else { count.max(1) };
            for _ in (0..count).step_by(step) {
                // SAFETY: the caller's; `row` is one of the pixels.
                unsafe {
                    let sums = if wait { s.sums.add(row * width) } else { s.sums };
                    let y = s.y.add(row * self.y_stride);
                    let end = match self.stage {
                        Stage::Requantize(stage) if s.last => End::Codes {
                            multipliers: s.multipliers,
                            stage,
                            y,
                            y_stride: self.y_stride,
                            columns: s.columns,
                        },
                        _ => End::Sums(sums),
                    };
                    K::run(&Tiles {
                        count: step,
                        rows,
                        vectors: s.vectors,
                        a: s.a.add(row),
                        runs: s.runs,
                        b: s.b,
                        start: s.bias.map_or(Start::Sums(sums), Start::Bias),
                        end,
                    });
                    if let (true, Stage::FixedPoint(stage)) = (s.last, self.stage) {
                        for i in 0..rows {
                            for j in 0..s.columns {
                                *y.add(i * self.y_stride + j) =
                                    stage.apply(*sums.add(i * width + j));
                            }
                        }
                    }
                }
                row += step * rows;
            }
        }
    }
}

/// Copies the activations under one window, rows of taps one after the other: only kernels that
/// read u8 ask for it.
///
/// # Safety
/// `first` points to the pixel of a region under the window's first tap, and `row` may be written
/// for the depth of the sum.
unsafe fn lay_side_by_side(
    g: &ConvGeometry,
    grid: &Grid,
    first: *const u8,
    row: *mut u8,
    pixel_bytes: usize,
) {
    let [kernel_h, kernel_w] = g.window.kernel;
    // Taps of a row that lie together are one piece.
    let (pieces, taps) = if g.window.dilation[1] == 1 { (1, kernel_w) } else { (kernel_w, 1) };
    let len = taps * pixel_bytes;
    for ky in 0..kernel_h {
        for kx in 0..pieces {
            // SAFETY: the caller's.
            unsafe {
                let from = first.add(grid.tap(g, [ky, kx]) * pixel_bytes);
                Bytes::copy(row.add((ky * pieces + kx) * len), from, len);
            }
        }
    }
}

/// The output stage of one row of sums, for kernels without vector instructions.
///
/// # Safety
/// `multipliers` may be read and `y` written for `columns` elements.
#[inline(always)]
pub(crate) unsafe fn requantize_row(
    stage: Requantize,
    sums: &[i32],
    multipliers: *const f32,
    y: *mut u8,
    columns: usize,
) {
    for (i, &sum) in sums.iter().take(columns).enumerate() {
        // SAFETY: `i < columns`.
        unsafe { *y.add(i) = stage.apply(sum, *multipliers.add(i)) }
    }
}
