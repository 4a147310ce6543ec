//! Blocks of tiles, tasks, and the order of the products.
//!
//! A block of tiles is transformed as a whole. Then, for a chunk of panels and for every position,
//! each panel (first-level cache) meets all tiles of the block (second-level cache), and the
//! chunk's sums, complete, go through the output's transform. The panels, by far the most bytes,
//! stream through once a block: the larger the block, the less often; but its transformed codes
//! are read once a chunk and have to stay near.
//!
//! With several threads a task is a block; if that gave small blocks, all threads work on the same
//! one, first on channels of its input, then on panels.

use std::ops::Range;

use super::form::Form;
use super::input::{self, Input};
use super::output::Output;
use super::pack::Layout;
use super::{Kernel, Product, Words};
use crate::conv::{Conv, Stage};
use crate::requantize::Requantize;
use crate::{ConvGeometry, Team, View, ViewMut};

/// Bytes of a block's transformed codes: half of a small second-level cache.
const CODES_BYTES: usize = 256 << 10;
/// Bytes of the sums of a chunk.
const SUMS_BYTES: usize = 128 << 10;
/// Fewest tiles of a block, where there are as many: a panel streams from the third-level cache
/// while it is multiplied with a block.
const FEWEST_TILES: usize = 24;
/// Tasks per thread, so that a slow thread holds the others up by little.
const TASKS_PER_THREAD: usize = 4;

/// How a convolution is cut into blocks and tasks.
struct Plan {
    layout: Layout,
    tiles: usize,
    tiles_in_row: usize,
    blocks: usize,
    /// All threads work on one block.
    shared: bool,
    /// Panels of a chunk.
    chunk: usize,
    /// Elements of codes from tile to tile and from position to position.
    codes_tile: usize,
    codes_position: usize,
    /// Elements of sums from tile to tile.
    sums_tile: usize,
    /// Bytes of a block's transformed codes, of a chunk's sums, and of a run's columns.
    codes: usize,
    sums: usize,
    columns: usize,
}

impl Plan {
    fn new<K: Kernel, F: Form>(g: &ConvGeometry, threads: usize) -> Plan {
        let layout = Layout::new::<K, F>(g);
        let tiles_in_row = g.output.w.div_ceil(F::OUTPUTS);
        let tiles = g.output.h.div_ceil(F::OUTPUTS) * tiles_in_row;
        let row = g.group_inputs().next_multiple_of(K::Words::LANES);
        let most_tiles = CODES_BYTES / (2 * F::POSITIONS * row);
        let most_blocks = (tiles / FEWEST_TILES).max(1);
        let shared = threads > 1 && most_blocks < threads;
        let blocks = match tiles.div_ceil(most_tiles.max(1)).next_multiple_of(threads) {
            _ if shared => 1,
            blocks if blocks <= most_blocks => blocks,
            _ => most_blocks - most_blocks % threads,
        };
        let block = tiles.div_ceil(blocks);
        let panels = layout.panel_count::<K>();
        let chunk = (SUMS_BYTES / (4 * F::POSITIONS * block * K::COLUMNS)).clamp(1, panels);

        // An odd number of cache lines: positions that lie a power of two apart would share sets.
        let codes_position = ((2 * block * row).div_ceil(64) | 1) * 32;
        let sums_tile = chunk * F::POSITIONS * K::COLUMNS;
        let aligned = |bytes: usize| bytes.next_multiple_of(64);
        Plan {
            layout,
            tiles,
            tiles_in_row,
            blocks,
            shared,
            chunk,
            codes_tile: row,
            codes_position,
            sums_tile,
            codes: 2 * F::POSITIONS * codes_position,
            sums: aligned(4 * block * sums_tile),
            columns: aligned(2 * input::columns_len::<K::Words, F>()),
        }
    }

    /// Bytes of scratch memory: for every thread its columns and sums; codes for each, or for all.
    fn scratch(&self, threads: usize) -> usize {
        let codes = if self.shared { 1 } else { threads };
        codes * self.codes + threads * (self.sums + self.columns)
    }

    fn block(&self, block: usize) -> Range<usize> {
        part(self.tiles, block, self.blocks)
    }
}

/// Part `i` of `count` even ones of `0..all`.
fn part(all: usize, i: usize, count: usize) -> Range<usize> {
    all * i / count..all * (i + 1) / count
}

/// Bytes of scratch memory for a team of `threads`.
pub(crate) fn scratch_len<K: Kernel, F: Form>(geometry: &ConvGeometry, threads: usize) -> usize {
    Plan::new::<K, F>(geometry, threads).scratch(threads) + 64
}

/// What every task reads.
struct Job<'a> {
    conv: &'a Conv,
    stage: Requantize,
    plan: Plan,
    packed: &'a [u8],
    x: View<'a>,
    y: *mut u8,
    y_stride: usize,
    /// As [`Plan::scratch`] says.
    scratch: *mut u8,
    threads: usize,
}

// SAFETY: tasks write disjoint tiles and channels of `y`, and each thread its own part of
// `scratch`, or disjoint channels of the codes that all share.
unsafe impl Sync for Job<'_> {}

/// Runs the convolution.
///
/// # Safety
/// The CPU has the instructions of `K`. Lengths and shapes were checked by [`Conv::run`].
pub(crate) unsafe fn run<K: Kernel, F: Form>(
    conv: &Conv,
    packed: &[u8],
    x: View,
    mut y: ViewMut,
    scratch: &mut [u8],
    team: &Team,
) {
    let Stage::Requantize(stage) = conv.stage() else {
        unreachable!("`Conv::with_fixed_point` takes no Winograd kernel")
    };
    let (g, threads) = (conv.geometry(), team.threads());
    let plan = Plan::new::<K, F>(g, threads);
    let unaligned = scratch.as_ptr().align_offset(64);
    let scratch = &mut scratch[unaligned..][..plan.scratch(threads)];
    let multipliers = &packed[plan.layout.multipliers..plan.layout.starts];
    let job = Job {
        conv,
        stage: stage.with(multipliers),
        packed,
        x,
        y_stride: y.pixel_stride(),
        y: y.data().as_mut_ptr(),
        scratch: scratch.as_mut_ptr(),
        threads,
        plan,
    };
    let plan = &job.plan;
    let (inputs, panels) = (g.group_inputs(), plan.layout.panel_count::<K>());
    if !plan.shared {
        team.run(g.groups * plan.blocks, &|task, thread| {
            let (group, tiles) = (task / plan.blocks, plan.block(task % plan.blocks));
            // SAFETY: the caller's; every block of a group belongs to one task, and `thread` is
            // below the team's threads.
            unsafe {
                job.input::<K, F>(group, &tiles, 0..inputs, thread);
                job.products::<K, F>(group, &tiles, 0..panels, thread);
            }
        });
        return;
    }
    let tiles = 0..plan.tiles;
    // The last one may be longer.
    let vectors = inputs / K::Words::LANES;
    let most = threads * TASKS_PER_THREAD;
    for group in 0..g.groups {
        let tasks = vectors.min(most);
        team.run(tasks, &|task, thread| {
            let part = part(vectors, task, tasks);
            let end = if part.end == vectors { inputs } else { part.end * K::Words::LANES };
            let channels = part.start * K::Words::LANES..end;
            // SAFETY: the caller's; every channel belongs to one task.
            unsafe { job.input::<K, F>(group, &tiles, channels, thread) }
        });
        let tasks = panels.min(most);
        team.run(tasks, &|task, thread| {
            // SAFETY: the caller's; every panel belongs to one task.
            unsafe { job.products::<K, F>(group, &tiles, part(panels, task, tasks), thread) }
        });
    }
}

impl Job<'_> {
    /// Where `thread` has its columns and sums, and the codes that it works on.
    fn scratch(&self, thread: usize) -> (*mut i16, *mut i32, *mut i16) {
        let plan = &self.plan;
        let own = plan.columns + plan.sums;
        let at = |offset: usize| self.scratch.wrapping_add(offset);
        let codes = if plan.shared { 0 } else { thread * plan.codes };
        (
            at(thread * own).cast(),
            at(thread * own + plan.columns).cast(),
            at(self.threads * own + codes).cast(),
        )
    }

    /// Transforms the codes of `channels`, counted within the group.
    ///
    /// # Safety
    /// As [`run`]; no other running task has this `thread`, or these channels of shared codes.
    unsafe fn input<K: Kernel, F: Form>(
        &self,
        group: usize,
        tiles: &Range<usize>,
        channels: Range<usize>,
        thread: usize,
    ) {
        let (columns, _, codes) = self.scratch(thread);
        let geometry = self.conv.geometry();
        let first = group * geometry.group_inputs();
        // SAFETY: the scratch memory holds the block's codes and a run's columns; the rest is the
        // caller's.
        unsafe {
            K::input::<F>(&Input {
                geometry,
                data: self.x.data(),
                pixel_stride: self.x.pixel_stride(),
                zero_point: self.conv.input_zero_point(),
                to: codes.add(channels.start),
                channels: first + channels.start..first + channels.end,
                tiles: tiles.clone(),
                tiles_in_row: self.plan.tiles_in_row,
                columns,
                tile_stride: self.plan.codes_tile,
                position_stride: self.plan.codes_position,
            });
        }
    }

    /// Multiplies the block's codes with `panels` and writes their channels.
    ///
    /// # Safety
    /// As [`run`], after [`Job::input`] of all channels; no other running task has this `thread`,
    /// or these tiles and panels.
    unsafe fn products<K: Kernel, F: Form>(
        &self,
        group: usize,
        tiles: &Range<usize>,
        panels: Range<usize>,
        thread: usize,
    ) {
        let plan = &self.plan;
        let layout = &plan.layout;
        let outputs = self.conv.geometry().group_outputs();
        let (_, sums, codes) = self.scratch(thread);
        let mut first = panels.start;
        while first < panels.end {
            // A half panel, the last one, stands alone.
            let half = layout.width::<K>(first) < K::COLUMNS;
            let whole = panels.end.min(layout.whole_panels::<K>());
            let end = if half { panels.end } else { whole.min(first + plan.chunk) };
            let column = group * layout.columns + first * K::COLUMNS;
            let channel = first * K::COLUMNS;
            let panel_bytes = layout.panel_len::<K>(first);
            // SAFETY: offsets are those of `Layout`, and `packed` has its length; the scratch
            // memory holds what the plan says; the panels' channels are the output's.
            unsafe {
                let packed = self.packed.as_ptr();
                let panel_at =
                    |panel| packed.wrapping_add(layout.panel::<K>(group, panel)).cast::<i16>();
                K::product(&Product {
                    a: codes,
                    a_tile: plan.codes_tile,
                    a_position: plan.codes_position,
                    tiles: tiles.len(),
                    b: panel_at(first),
                    panels: end - first,
                    b_panel: panel_bytes / 2,
                    b_set: panel_bytes / 2 / F::SETS,
                    sets: &F::SET_OF[..F::POSITIONS],
                    next: panel_at(end.min(panels.end - 1)),
                    half,
                    pairs: layout.pairs,
                    start: packed.add(layout.starts + 4 * column).cast(),
                    centre: F::CENTRE,
                    to: sums,
                    to_tile: plan.sums_tile,
                });
                K::output::<F>(&Output {
                    geometry: self.conv.geometry(),
                    stage: self.stage,
                    tiles: tiles.clone(),
                    tiles_in_row: plan.tiles_in_row,
                    sums,
                    tile_stride: plan.sums_tile,
                    channels: (outputs - channel).min((end - first) * K::COLUMNS),
                    behind: packed.add(4 * column).cast(),
                    multipliers: packed.add(layout.multipliers + 4 * column).cast(),
                    y: self.y.add(group * outputs + channel),
                    y_stride: self.y_stride,
                });
            }
            first = end;
        }
    }
}
