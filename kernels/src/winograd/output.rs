//! Sums to codes: the output's transform, the shift, and the output stage.

use std::ops::Range;

use super::form::{Form, Vector};
use super::{Codes, Kernel, Sums};
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
pub(super) unsafe fn transform<K: Kernel, F: Form<O, I>, const O: usize, const I: usize>(
    job: &Output,
) {
    let shape = job.geometry.output;
    // SAFETY: the caller's.
    unsafe {
        let stage = K::Sums::stage(job.stage);
        // Both passes go through memory: registers hold a row or a column, not a tile.
        let mut rows = [[K::Sums::load(job.behind); I]; O];
        for tile in job.tiles.clone() {
            let [oy, ox] = [tile / job.tiles_in_row * O, tile % job.tiles_in_row * O];
            let (high, wide) = ((shape.h - oy).min(O), (shape.w - ox).min(O));
            let y = job.y.add((oy * shape.w + ox) * job.y_stride);
            let sums = job.sums.add((tile - job.tiles.start) * job.tile_stride);
            for channel in (0..job.channels).step_by(K::Sums::LANES) {
                let (panel, column) = (channel / K::COLUMNS, channel % K::COLUMNS);
                let sums = sums.add(panel * I * I * K::COLUMNS + column);
                for j in 0..I {
                    let mut m = [rows[0][0]; I];
                    for (i, m) in m.iter_mut().enumerate() {
                        *m = K::Sums::load(sums.add((i * I + j) * K::COLUMNS));
                    }
                    for (row, v) in rows.iter_mut().zip(F::output(m)) {
                        row[j] = v;
                    }
                }
                let behind = K::Sums::load(job.behind.add(channel));
                let multipliers = job.multipliers.add(channel);
                let channels = (job.channels - channel).min(K::Sums::LANES);
                for (i, row) in rows.iter().enumerate() {
                    if i < high {
                        let mut sums = F::output(*row);
                        for (j, sum) in sums.iter_mut().enumerate() {
                            let shift = F::SHIFTS[i] + F::SHIFTS[j];
                            *sum = sum.divide(F::INVERSE, shift).add(behind);
                        }
                        let y = y.add(i * shape.w * job.y_stride + channel);
                        let codes = Codes { y, y_stride: job.y_stride, pixels: wide, channels };
                        K::Sums::store(sums, stage, multipliers, codes);
                    }
                }
            }
        }
    }
}
