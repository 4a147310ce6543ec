//! Sums to codes: the output's transform, the shift, and the output stage.

use std::ops::Range;

use super::Sums;
use super::form::Form;
use crate::ConvGeometry;
use crate::requantize::Requantize;

/// Tiles to transform.
pub(crate) struct Output<'a> {
    pub(super) geometry: &'a ConvGeometry,
    pub(super) stage: Requantize,
    /// Tiles, counted row by row, and how many lie in a row.
    pub(super) tiles: Range<usize>,
    pub(super) tiles_in_row: usize,
    /// The first sum of the first tile; elements from tile to tile and from position to position.
    pub(super) sums: *const i32,
    pub(super) tile_stride: usize,
    pub(super) position_stride: usize,
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
/// `job.sums` holds the tiles' channels rounded up to whole vectors, at every position;
/// `job.behind` and `job.multipliers` as many; `job.y` may be written for `job.channels` of every
/// pixel of the output; the CPU has the vector's instructions.
#[inline(always)]
pub(super) unsafe fn transform<S: Sums, F: Form<O, I>, const O: usize, const I: usize>(
    job: &Output,
) {
    // SAFETY: the caller's.
    unsafe {
        let stage = S::stage(job.stage);
        for tile in job.tiles.clone() {
            let [oy, ox] = [tile / job.tiles_in_row * O, tile % job.tiles_in_row * O];
            let shape = job.geometry.output;
            let (high, wide) = ((shape.h - oy).min(O), (shape.w - ox).min(O));
            let y = job.y.add((oy * shape.w + ox) * job.y_stride);
            let sums = job.sums.add((tile - job.tiles.start) * job.tile_stride);
            for channel in (0..job.channels).step_by(S::LANES) {
                let behind = S::load(job.behind.add(channel));
                let multipliers = job.multipliers.add(channel);
                let n = (job.channels - channel).min(S::LANES);
                // Columns first, then rows.
                let mut columns = [[behind; O]; I];
                for (j, column) in columns.iter_mut().enumerate() {
                    let mut m = [behind; I];
                    for (i, m) in m.iter_mut().enumerate() {
                        *m = S::load(sums.add((i * I + j) * job.position_stride + channel));
                    }
                    *column = F::output(m);
                }
                for i in 0..high {
                    let row = columns.map(|column| column[i]);
                    for (j, v) in F::output(row).into_iter().enumerate().take(wide) {
                        let shift = F::SHIFTS[i] + F::SHIFTS[j];
                        let acc = v.divide(F::INVERSE, shift).add(behind);
                        let y = y.add((i * shape.w + j) * job.y_stride + channel);
                        acc.store_codes(stage, multipliers, y, n);
                    }
                }
            }
        }
    }
}
