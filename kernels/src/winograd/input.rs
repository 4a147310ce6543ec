//! Codes to transformed codes.
//!
//! Tiles overlap, so a run of tiles of one row of tiles is transformed in two passes: all its
//! columns of pixels first, each once, then tile by tile along the rows.

use std::ops::Range;

use super::Words;
use super::form::Form;
use crate::ConvGeometry;

/// Tiles of a run: its columns stay in the first-level cache.
pub(super) const RUN: usize = 8;

/// Tiles to transform.
pub(crate) struct Input<'a> {
    pub(super) geometry: &'a ConvGeometry,
    /// What lies on padding.
    pub(super) zero_point: u8,
    /// The input's bytes and pixel stride.
    pub(super) data: &'a [u8],
    pub(super) pixel_stride: usize,
    /// Input channels, from a multiple of the lanes on.
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

/// Elements of [`Input::columns`].
pub(super) const fn columns_len<W: Words, const O: usize, const I: usize>() -> usize {
    I * (RUN * O + I - O) * W::LANES
}

/// Transforms the tiles. Lanes behind the last channel are written too, with anything: their
/// weights are zero.
///
/// # Safety
/// `job.columns` has [`columns_len`] elements, `job.to` room for the tiles' channels rounded up to
/// whole vectors, at every position; `job.data` holds the geometry's input; the CPU has the
/// vector's instructions.
#[inline(always)]
pub(super) unsafe fn transform<W: Words, F: Form<O, I>, const O: usize, const I: usize>(
    job: &Input,
) {
    let mut tile = job.tiles.start;
    while tile < job.tiles.end {
        let (ty, tx) = (tile / job.tiles_in_row, tile % job.tiles_in_row);
        let count = (job.tiles_in_row - tx).min(job.tiles.end - tile).min(RUN);
        for channel in job.channels.clone().step_by(W::LANES) {
            let first = (tile - job.tiles.start) * job.tile_stride + channel - job.channels.start;
            // SAFETY: the caller's.
            unsafe {
                columns::<W, F, O, I>(job, ty, tx, count, channel);
                rows::<W, F, O, I>(job, count, job.to.add(first));
            }
        }
        tile += count;
    }
}

/// The first pass: every column of pixels under the tiles.
///
/// # Safety
/// As [`transform`].
#[inline(always)]
unsafe fn columns<W: Words, F: Form<O, I>, const O: usize, const I: usize>(
    job: &Input,
    ty: usize,
    tx: usize,
    count: usize,
    channel: usize,
) {
    let g = job.geometry;
    let padding = [job.zero_point; 64];
    let inside = |at: usize, pad: usize, size: usize| at.checked_sub(pad).filter(|&at| at < size);
    // A row on padding does not advance.
    let mut from = [padding.as_ptr(); I];
    let mut advances = [0; I];
    let mut last_row = 0;
    for i in 0..I {
        if let Some(y) = inside(ty * O + i, g.window.pad[0], g.input.h) {
            let at = y * g.input.w * job.pixel_stride + channel;
            (from[i], advances[i]) = (job.data[at..].as_ptr(), usize::MAX);
            last_row = at;
        }
    }
    let first_column = tx * O;
    let wide = count * O + I - O;
    // Whether a vector may be read of the last pixel.
    let right = (first_column + wide).saturating_sub(g.window.pad[1]).clamp(1, g.input.w) - 1;
    let reaches = last_row + right * job.pixel_stride + W::LANES <= job.data.len();
    // SAFETY: a tap inside the image has at least its channel in `data`; `reaches` says whether it
    // has a whole vector, otherwise what there is is copied. The columns have room for the run.
    unsafe {
        for column in 0..wide {
            let mut d = [W::codes(padding.as_ptr()); I];
            if let Some(x) = inside(first_column + column, g.window.pad[1], g.input.w) {
                let offset = x * job.pixel_stride;
                for i in 0..I {
                    let at = from[i].wrapping_add(offset & advances[i]);
                    d[i] = if reaches || advances[i] == 0 {
                        W::codes(at)
                    } else {
                        let left = job.data.as_ptr_range().end.offset_from_unsigned(at);
                        let mut copy = padding;
                        copy.as_mut_ptr().copy_from_nonoverlapping(at, left.min(W::LANES));
                        W::codes(copy.as_ptr())
                    };
                }
            }
            for (i, v) in F::input(d).into_iter().enumerate() {
                v.store(job.columns.add((i * (RUN * O + I - O) + column) * W::LANES));
            }
        }
    }
}

/// The second pass: every tile's rows.
///
/// # Safety
/// As [`transform`], after [`columns`].
#[inline(always)]
unsafe fn rows<W: Words, F: Form<O, I>, const O: usize, const I: usize>(
    job: &Input,
    count: usize,
    to: *mut i16,
) {
    // SAFETY: the caller's.
    unsafe {
        for tile in 0..count {
            let to = to.add(tile * job.tile_stride);
            for i in 0..I {
                let from = job.columns.add((i * (RUN * O + I - O) + tile * O) * W::LANES);
                let mut d = [W::load(from); I];
                for (j, d) in d.iter_mut().enumerate().skip(1) {
                    *d = W::load(from.add(j * W::LANES));
                }
                for (j, v) in F::input(d).into_iter().enumerate() {
                    v.store(to.add((i * I + j) * job.position_stride));
                }
            }
        }
    }
}
