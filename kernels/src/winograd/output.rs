//! Sums to codes: the output's transform, the shift, and the output stage.

use std::ops::Range;

use super::form::{Form, MOST_INPUTS, MOST_OUTPUTS, Vector};
use super::{Kernel, PIXELS, Sums};
use crate::ConvGeometry;
use crate::requantize::Requantize;

/// Tiles to transform.
pub(crate) struct Output<'a> {
    pub(super) geometry: &'a ConvGeometry,
    pub(super) stage: Requantize,
    /// Tiles, counted row by row, and how many lie in a row.
    pub(super) tiles: Range<usize>,
    pub(super) tiles_in_row: usize,
    /// For every tile, for every panel, for every position, [`Kernel::COLUMNS`] sums; elements from
    /// tile to tile.
    pub(super) sums: *const i32,
    pub(super) tile_stride: usize,
    /// Channels to write.
    pub(super) channels: usize,
    /// One per channel, padded to whole vectors: what is added behind the shift.
    pub(super) behind: *const i32,
    pub(super) multipliers: *const f32,
    /// The first channel of the first pixel of the output, and bytes from pixel to pixel.
    pub(super) y: *mut u8,
    pub(super) y_stride: usize,
}

/// Transforms the tiles and writes their pixels, where they lie in the output.
///
/// # Safety
/// `job.sums`, `job.behind` and `job.multipliers` hold what they say; `job.y` may be written for
/// `job.channels` of every pixel of the output; the CPU has the vector's instructions.
#[inline(always)]
pub(super) unsafe fn transform<K: Kernel, F: Form>(job: &Output) {
    let shape = job.geometry.output;
    let lanes = K::Sums::LANES;
    // Tiles that reach beyond the image, and channels that do not fill a vector, are stored here
    // first.
    let mut apart = [0u8; MOST_OUTPUTS * MOST_OUTPUTS * 16];
    // SAFETY: the caller's; a vector has at most 16 lanes.
    unsafe {
        let stage = K::Sums::stage(job.stage);
        // Both passes go through memory: registers hold a row or a column, not a tile.
        let mut rows = [[K::Sums::load(job.behind); MOST_INPUTS]; MOST_OUTPUTS];
        for tile in job.tiles.clone() {
            let oy = tile / job.tiles_in_row * F::OUTPUTS;
            let ox = tile % job.tiles_in_row * F::OUTPUTS;
            let high = (shape.h - oy).min(F::OUTPUTS);
            let wide = (shape.w - ox).min(F::OUTPUTS);
            let y = job.y.add((oy * shape.w + ox) * job.y_stride);
            let sums = job.sums.add((tile - job.tiles.start) * job.tile_stride);
            for channel in (0..job.channels).step_by(lanes) {
                let (panel, column) = (channel / K::COLUMNS, channel % K::COLUMNS);
                let sums = sums.add(panel * F::POSITIONS * K::COLUMNS + column);
                for j in 0..F::INPUTS {
                    let mut m = [rows[0][0]; MOST_INPUTS];
                    for (i, m) in m.iter_mut().enumerate().take(F::INPUTS) {
                        *m = K::Sums::load(sums.add((i * F::INPUTS + j) * K::COLUMNS));
                    }
                    for (row, v) in rows.iter_mut().zip(F::output(m)).take(F::OUTPUTS) {
                        row[j] = v;
                    }
                }
                let behind = K::Sums::load(job.behind.add(channel));
                let multipliers = job.multipliers.add(channel);
                let channels = (job.channels - channel).min(lanes);
                let y = y.add(channel);
                let whole = [high, wide, channels] == [F::OUTPUTS, F::OUTPUTS, lanes];
                let (to, row_stride, stride) = match whole {
                    true => (y, shape.w * job.y_stride, job.y_stride),
                    false => (apart.as_mut_ptr(), F::OUTPUTS * lanes, lanes),
                };
                // As many rows together as make a store.
                for first in (0..high).step_by(PIXELS / F::OUTPUTS) {
                    let mut pixels = [(behind, to); PIXELS];
                    for (p, pixels) in pixels.chunks_exact_mut(F::OUTPUTS).enumerate() {
                        let i = first + p;
                        for (j, (pixel, sum)) in
                            pixels.iter_mut().zip(F::output(rows[i])).enumerate()
                        {
                            let shift = F::SHIFTS[i] + F::SHIFTS[j];
                            *pixel = (
                                sum.divide(F::INVERSE, shift).add(behind),
                                to.add(i * row_stride + j * stride),
                            );
                        }
                    }
                    K::Sums::store(pixels, stage, multipliers);
                }
                if !whole {
                    for (i, j) in (0..high).flat_map(|i| (0..wide).map(move |j| (i, j))) {
                        let from = to.add(i * row_stride + j * stride);
                        let to = y.add((i * shape.w + j) * job.y_stride);
                        // A copy of a length that is known is one instruction.
                        if channels == lanes {
                            to.copy_from_nonoverlapping(from, lanes);
                        } else {
                            to.copy_from_nonoverlapping(from, channels);
                        }
                    }
                }
            }
        }
    }
}
