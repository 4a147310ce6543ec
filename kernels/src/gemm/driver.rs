//! Blocks, tasks and the loop over tiles.
//!
//! A task is a block of rows times a range of panels of one group. Inside of it: for every depth
//! block, lay out the rows (they stay in the second-level cache), and for every panel (first-level
//! cache) run the tiles down the rows. Sums of all but the last depth block wait in scratch memory;
//! the last one goes through the output stage straight from registers.

use std::ops::Range;

use super::pack::Layout;
use super::rows::{self, Rows};
use super::{DEPTH_ALIGN, End, Kernel, Start, Tile};
use crate::conv::{Conv, Stage};
use crate::requantize::Requantize;
use crate::{ConvGeometry, Team, View, ViewMut};

/// Bytes of a block of rows: a quarter of a small second-level cache.
const ROWS_BYTES: usize = 128 << 10;
/// Bytes of the sums that wait for the next depth block.
const SUMS_BYTES: usize = 256 << 10;
/// Tasks per thread, so that a slow thread holds the others up by little.
const TASKS_PER_THREAD: usize = 4;
/// Multiply-accumulates of a task, a few microseconds: below that, handing it to another thread
/// costs more than it saves.
const TASK_MACS: u64 = 128 << 10;

/// How a convolution is cut into blocks and tasks.
struct Plan {
    layout: Layout,
    /// Rows are read where they lie.
    slices: bool,
    depth_block: usize,
    depth_blocks: usize,
    /// Rows and panels of a task.
    rows: usize,
    panels: usize,
    row_blocks: usize,
    panel_blocks: usize,
    /// Bytes from row to row in scratch memory.
    row_stride: usize,
    /// Offsets in a thread's scratch memory, and its size.
    pointers: usize,
    panel: usize,
    sums: usize,
    scratch: usize,
}

impl Plan {
    fn new<K: Kernel>(g: &ConvGeometry, threads: usize) -> Plan {
        let layout = Layout::new::<K>(g);
        let pixels = g.output.pixels();
        let panel_count = layout.panel_count::<K>();
        // A few rows, as of a fully connected layer: every panel is read once, front to back.
        let few = pixels <= K::ROWS;
        let depth_blocks = if few { 1 } else { layout.depth.div_ceil(K::DEPTH_BLOCK) };
        let depth_block = layout.depth.div_ceil(depth_blocks).next_multiple_of(DEPTH_ALIGN);
        let depth_blocks = layout.depth.div_ceil(depth_block);
        // An odd number of cache lines: rows that lie a power of two apart would share cache sets.
        let row_bytes = (depth_block + rows::SLACK) * if K::WIDE { 2 } else { 1 };
        let row_stride = (row_bytes.div_ceil(64) | 1) * 64;

        let most_rows = (ROWS_BYTES / row_stride / K::ROWS).max(1) * K::ROWS;
        let even = |blocks: usize| pixels.div_ceil(blocks).next_multiple_of(K::ROWS).max(K::ROWS);
        let mut row_blocks = pixels.div_ceil(most_rows).max(1);
        let mut panel_blocks = 1;
        if depth_blocks > 1 {
            let rows = even(row_blocks);
            panel_blocks = (rows * layout.columns * 4).div_ceil(SUMS_BYTES).min(panel_count);
        }
        if threads > 1 {
            let worthwhile = g.macs().div_ceil(TASK_MACS).min((threads * TASKS_PER_THREAD) as u64);
            let wanted = (worthwhile as usize).div_ceil(g.groups);
            if row_blocks * panel_blocks < wanted {
                // Cutting rows costs a pass over the panels, cutting panels one over the rows.
                if pixels >= 8 * K::ROWS * wanted {
                    row_blocks = row_blocks.max(wanted.div_ceil(panel_blocks));
                } else {
                    panel_blocks = wanted.div_ceil(row_blocks).clamp(panel_blocks, panel_count);
                }
            }
        }
        let rows = even(row_blocks);
        let panels = panel_count.div_ceil(panel_blocks);

        let aligned = |len: usize| len.next_multiple_of(64);
        let pointers = aligned(rows * row_stride);
        let panel = pointers + aligned(rows * size_of::<*const u8>());
        let sums = panel + if K::WIDE { aligned(2 * depth_block * K::COLUMNS) } else { 0 };
        // One tile at least, for output stages that have no vector form.
        let waiting = if depth_blocks > 1 { rows * panels } else { K::ROWS };
        let scratch = sums + aligned(4 * waiting * K::COLUMNS);
        Plan {
            layout,
            slices: rows::are_slices(g) && !K::WIDE,
            depth_block,
            depth_blocks,
            rows,
            panels,
            row_blocks: pixels.div_ceil(rows),
            panel_blocks: panel_count.div_ceil(panels),
            row_stride,
            pointers,
            panel,
            sums,
            scratch,
        }
    }
}

/// Bytes of scratch memory for a team of `threads`.
pub(crate) fn scratch_len<K: Kernel>(geometry: &ConvGeometry, threads: usize) -> usize {
    threads * Plan::new::<K>(geometry, threads).scratch + 64
}

/// What every task reads.
struct Job<'a> {
    conv: &'a Conv,
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
    let tasks = conv.geometry().groups * plan.row_blocks * plan.panel_blocks;
    let padding = scratch.as_ptr().align_offset(64);
    let job = Job {
        packed,
        x,
        y_stride: y.pixel_stride(),
        y: y.data().as_mut_ptr(),
        scratch: scratch[padding..][..team.threads() * plan.scratch].as_mut_ptr(),
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
        let g = self.conv.geometry();
        let (group, block) = (
            task / (plan.row_blocks * plan.panel_blocks),
            task % (plan.row_blocks * plan.panel_blocks),
        );
        let (panel_block, row_block) = (block / plan.row_blocks, block % plan.row_blocks);
        let range =
            |block: usize, size: usize, all: usize| block * size..(block * size + size).min(all);
        let pixels = range(row_block, plan.rows, g.output.pixels());
        let panels = range(panel_block, plan.panels, plan.layout.panel_count::<K>());
        // SAFETY: `scratch` holds a part for every thread.
        let scratch = unsafe { self.scratch.add(thread * plan.scratch) };
        for block in 0..plan.depth_blocks {
            let depth = range(block, plan.depth_block, g.depth());
            // SAFETY: ranges lie within the geometry; `scratch` was laid out for them.
            unsafe {
                self.rows::<K>(group, &pixels, &depth, scratch);
                for panel in panels.clone() {
                    let column = (panel - panels.start) * K::COLUMNS;
                    self.panel::<K>(group, &pixels, &depth, panel, column, scratch);
                }
            }
        }
    }

    /// Lays out the rows, or finds them, and writes the table of pointers to them.
    ///
    /// # Safety
    /// As [`Job::task`].
    unsafe fn rows<K: Kernel>(
        &self,
        group: usize,
        pixels: &Range<usize>,
        depth: &Range<usize>,
        scratch: *mut u8,
    ) {
        let plan = &self.plan;
        let g = self.conv.geometry();
        let job = |pixels: Range<usize>, to: *mut u8| Rows {
            geometry: g,
            zero_point: self.conv.input_zero_point(),
            data: self.x.data(),
            pixel_stride: self.x.pixel_stride(),
            group,
            pixels,
            depth: depth.clone(),
            to,
            to_stride: plan.row_stride,
        };
        // SAFETY: the scratch memory holds `rows` rows and pointers, and `pixels` is no longer.
        unsafe {
            if !plan.slices {
                K::pack_rows(&job(pixels.clone(), scratch));
            }
            let pointers = scratch.add(plan.pointers).cast::<*const u8>();
            let reads = depth.len().next_multiple_of(DEPTH_ALIGN);
            for (i, pixel) in pixels.clone().enumerate() {
                let packed = scratch.add(i * plan.row_stride);
                *pointers.add(i) = if plan.slices {
                    let at =
                        rows::slice_offset(g, self.x.pixel_stride(), group, pixel) + depth.start;
                    match self.x.data().get(at..at + reads) {
                        Some(row) => row.as_ptr(),
                        // A tile would read past the last pixel: give it a copy.
                        None => {
                            K::pack_rows(&job(pixel..pixel + 1, packed));
                            packed
                        }
                    }
                } else {
                    packed
                };
            }
        }
    }

    /// Runs the tiles of one panel; its sums wait at column `column` of the task's.
    ///
    /// # Safety
    /// As [`Job::task`], after [`Job::rows`].
    unsafe fn panel<K: Kernel>(
        &self,
        group: usize,
        pixels: &Range<usize>,
        depth: &Range<usize>,
        panel: usize,
        column: usize,
        scratch: *mut u8,
    ) {
        let plan = &self.plan;
        let layout = &plan.layout;
        let g = self.conv.geometry();
        let (first, last) = (depth.start == 0, depth.end == g.depth());
        let width = layout.width::<K>(panel);
        let groups = depth.len().div_ceil(K::DEPTH);
        let channel = group * layout.columns + panel * K::COLUMNS;
        // SAFETY: offsets are those of `Layout`, and `packed` has its length; the scratch memory
        // holds what the plan says; channels from `panel * COLUMNS` on are the output's.
        unsafe {
            let packed = self.packed.as_ptr();
            let mut b = packed.add(layout.panel::<K>(group, panel, depth.start));
            let b_is_wide = K::WIDE && pixels.len() > K::ROWS;
            if b_is_wide {
                let wide = scratch.add(plan.panel);
                K::widen(wide, b, groups * K::DEPTH * width);
                b = wide;
            }
            let pointers = scratch.add(plan.pointers).cast::<*const u8>();
            let bias = packed.add(4 * channel).cast::<i32>();
            let multipliers = packed.add(layout.multipliers + 4 * channel).cast::<f32>();
            let columns = (g.group_outputs() - panel * K::COLUMNS).min(width);
            let y = self.y.add(group * g.group_outputs() + panel * K::COLUMNS);
            let sums = scratch.add(plan.sums).cast::<i32>();
            for row in (0..pixels.len()).step_by(K::ROWS) {
                let rows = (pixels.len() - row).min(K::ROWS);
                let waiting = if plan.depth_blocks > 1 {
                    sums.add(column * plan.rows + row * K::COLUMNS)
                } else {
                    sums
                };
                let y = y.add((pixels.start + row) * self.y_stride);
                let end = match self.conv.stage() {
                    Stage::Requantize(stage) if last => {
                        End::Codes { multipliers, stage, y, y_stride: self.y_stride, columns }
                    }
                    _ => End::Sums(waiting),
                };
                K::tile(&Tile {
                    a: pointers.add(row),
                    rows,
                    b,
                    b_is_wide,
                    half: width < K::COLUMNS,
                    groups,
                    start: if first { Start::Bias(bias) } else { Start::Sums(waiting) },
                    end,
                });
                if let (true, Stage::FixedPoint(stage)) = (last, self.conv.stage()) {
                    for i in 0..rows {
                        for j in 0..columns {
                            *y.add(i * self.y_stride + j) =
                                stage.apply(*waiting.add(i * K::COLUMNS + j));
                        }
                    }
                }
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
