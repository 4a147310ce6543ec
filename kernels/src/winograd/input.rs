//! Codes to transformed codes.
//!
//! Tiles overlap, so a run of tiles of one row of tiles is transformed in two passes: all its
//! columns of pixels first, each once, then tile by tile along the rows.

use std::ops::Range;

use super::Words;
use super::form::{Form, MOST_INPUTS};
use crate::ConvGeometry;

/// Tiles of a run: its columns stay in the first-level cache.
const RUN: usize = 8;

/// Tiles to transform.
pub(crate) struct Input<'a> {
    pub(super) geometry: &'a ConvGeometry,
    /// The input's bytes and pixel stride.
    pub(super) data: &'a [u8],
    pub(super) pixel_stride: usize,
    /// What lies on padding.
    pub(super) zero_point: u8,
    /// Input channels: at least as many as a vector has lanes.
    pub(super) channels: Range<usize>,
    /// Tiles, counted row by row, and how many lie in a row.
    pub(super) tiles: Range<usize>,
    pub(super) tiles_in_row: usize,
    /// Room for the columns of a run ([`columns_len`]).
    pub(super) columns: *mut i16,
    /// Channel `channels.start` of the first tile; elements from tile to tile and from position to
    /// position.
    pub(super) to: *mut i16,
    pub(super) tile_stride: usize,
    pub(super) position_stride: usize,
}

/// Columns of pixels under `tiles` tiles of a row.
const fn columns_of<F: Form>(tiles: usize) -> usize {
    (tiles - 1) * F::OUTPUTS * F::STRIDE + F::INPUTS
}

/// Elements of [`Input::columns`].
pub(super) const fn columns_len<W: Words, F: Form>() -> usize {
    F::INPUTS * columns_of::<F>(RUN) * W::LANES
}

/// Transforms the tiles.
///
/// # Safety
/// `job.columns` has [`columns_len`] elements, `job.to` has room for the tiles' channels at
/// every position, `job.data` holds the geometry's input, and the CPU has the vector's
/// instructions.
#[inline(always)]
pub(super) unsafe fn transform<W: Words, F: Form>(job: &Input) {
    let mut tile = job.tiles.start;
    while tile < job.tiles.end {
        let (ty, tx) = (tile / job.tiles_in_row, tile % job.tiles_in_row);
        let count = (job.tiles_in_row - tx).min(job.tiles.end - tile).min(RUN);
        let to = (tile - job.tiles.start) * job.tile_stride;
        for first in job.channels.clone().step_by(W::LANES) {
            // The last vector overlaps the one before rather than end late.
            let channel = first.min(job.channels.end - W::LANES);
            // SAFETY: the caller's; vectors end with the channels.
            unsafe {
                let left = tx * F::OUTPUTS * F::STRIDE;
                let right = left + columns_of::<F>(count);
                columns::<W, F>(job, ty * F::OUTPUTS * F::STRIDE, left..right, channel);
                rows::<W, F>(job, count, job.to.add(to + channel - job.channels.start));
            }
        }
        tile += count;
    }
}

/// The first pass: columns of pixels from row `top` on, of the padded image.
///
/// # Safety
/// As [`transform`]; a vector of channels from `channel` on lies in a pixel.
#[inline(always)]
unsafe fn columns<W: Words, F: Form>(
    job: &Input,
    top: usize,
    columns: Range<usize>,
    channel: usize,
) {
    let input = job.geometry.input;
    let [pad_y, pad_x] = job.geometry.window.pad;
    let padding = [job.zero_point; 16];
    // Where the lines of pixels start; a line of padding does not advance.
    let mut lines = [(padding.as_ptr(), 0); MOST_INPUTS];
    for (i, line) in lines.iter_mut().enumerate().take(F::INPUTS) {
        let y = (top + i).wrapping_sub(pad_y);
        if y < input.h {
            let first = y * input.w * job.pixel_stride + channel;
            *line = (job.data[first..].as_ptr(), usize::MAX);
        }
    }
    // SAFETY: the caller's; columns outside of the image are padding too.
    unsafe {
        let mut to = job.columns;
        for column in columns {
            let x = column.wrapping_sub(pad_x);
            let mut d = [W::codes(padding.as_ptr()); MOST_INPUTS];
            if x < input.w {
                let offset = x * job.pixel_stride;
                for (d, (line, advances)) in d.iter_mut().zip(lines).take(F::INPUTS) {
                    *d = W::codes(line.add(offset & advances));
                }
            }
            for (i, v) in F::input(d).into_iter().enumerate().take(F::INPUTS) {
                v.store(to.add(i * columns_of::<F>(RUN) * W::LANES));
            }
            to = to.add(W::LANES);
        }
    }
}

/// The second pass: every tile's rows.
///
/// # Safety
/// As [`transform`], after [`columns`].
#[inline(always)]
unsafe fn rows<W: Words, F: Form>(job: &Input, count: usize, to: *mut i16) {
    let inputs = F::INPUTS;
    // SAFETY: the caller's.
    unsafe {
        for i in 0..F::INPUTS {
            let mut from = job.columns.add(i * columns_of::<F>(RUN) * W::LANES);
            let mut to = to.add(i * inputs * job.position_stride);
            for _ in 0..count {
                let mut d = [W::load(from); MOST_INPUTS];
                for (j, d) in d.iter_mut().enumerate().take(inputs).skip(1) {
                    *d = W::load(from.add(j * W::LANES));
                }
                for (j, v) in F::input(d).into_iter().enumerate().take(inputs) {
                    v.store(to.add(j * job.position_stride));
                }
                from = from.add(F::OUTPUTS * F::STRIDE * W::LANES);
                to = to.add(job.tile_stride);
            }
        }
    }
}
