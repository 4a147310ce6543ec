//! The activations that a block of output pixels reads, with the padding around them, as the
//! kernel's elements: what lets a window be read where it lies.
//!
//! A region is a part of the rows of a grid: the input with its padding, or, under windows of one
//! tap, the pixels that the stride hits. Its pixels lie side by side, so the taps of a row of the
//! window are one run of activations, and the rows of a window start equally far apart under every
//! output pixel: nothing is copied more than once.

use std::ops::Range;

use crate::ConvGeometry;

/// The grid of a geometry.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    /// Input rows and columns from one row and column of the grid to the next.
    step: [usize; 2],
    /// Rows and columns of the grid from one output pixel to the next.
    stride: [usize; 2],
    /// Rows of the grid under one window.
    window_rows: usize,
    /// Pixels in a row of the grid.
    width: usize,
}

impl Grid {
    pub(crate) fn new(g: &ConvGeometry) -> Grid {
        let w = &g.window;
        let reach = |axis: usize| (w.kernel[axis] - 1) * w.dilation[axis] + 1;
        let one_tap = w.kernel == [1, 1] && w.pad == [0, 0];
        let (step, stride) = if one_tap { (w.stride, [1, 1]) } else { ([1, 1], w.stride) };
        Grid { step, stride, window_rows: reach(0), width: (g.output.w - 1) * stride[1] + reach(1) }
    }

    /// Pixels of the region under `rows` rows of the output.
    pub(crate) fn pixels(&self, rows: usize) -> usize {
        ((rows - 1) * self.stride[0] + self.window_rows) * self.width
    }

    /// Rows of the region under `rows` rows of the output.
    fn rows(&self, rows: &Range<usize>) -> Range<usize> {
        let first = rows.start * self.stride[0];
        first..first + (rows.len() - 1) * self.stride[0] + self.window_rows
    }

    /// The pixel of the region that lies under the first tap of an output pixel, whose row counts
    /// from the first of the block.
    pub(crate) fn pixel(&self, [y, x]: [usize; 2]) -> usize {
        y * self.stride[0] * self.width + x * self.stride[1]
    }

    /// The pixel under tap (`ky`, `kx`), from that under the first tap on.
    pub(crate) fn tap(&self, g: &ConvGeometry, [ky, kx]: [usize; 2]) -> usize {
        let [dilation_y, dilation_x] = g.window.dilation;
        ky * dilation_y * self.width + kx * dilation_x
    }
}

/// How a kernel's activations are written.
///
/// # Safety
/// Implementations read `len` bytes, write `len` elements, and need no instruction that the caller
/// of [`fill`] was not compiled for.
pub(crate) unsafe trait Write {
    /// Bytes of an element.
    const BYTES: usize;
    /// # Safety
    /// `from` may be read and `to` written for `len` elements.
    unsafe fn copy(to: *mut u8, from: *const u8, len: usize);
    /// # Safety
    /// `to` may be written for `len` elements.
    unsafe fn fill(to: *mut u8, value: u8, len: usize);
}

/// Activations as they are.
pub(crate) struct Bytes;

// SAFETY: plain loads and stores of `len` bytes.
unsafe impl Write for Bytes {
    const BYTES: usize = 1;

    /// Pieces are often short, a pixel: no call of `memcpy` for those.
    #[inline(always)]
    unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
        #[inline(always)]
        unsafe fn one<T>(to: *mut u8, from: *const u8, at: usize) {
            // SAFETY: the caller keeps `at + size_of::<T>() <= len`.
            unsafe {
                to.add(at).cast::<T>().write_unaligned(from.add(at).cast::<T>().read_unaligned())
            }
        }
        // SAFETY: every access ends at or before `len`; the last one overlaps the one before.
        unsafe {
            match len {
                0..4 => (0..len).for_each(|i| *to.add(i) = *from.add(i)),
                4..8 => {
                    one::<u32>(to, from, 0);
                    one::<u32>(to, from, len - 4);
                }
                8..16 => {
                    one::<u64>(to, from, 0);
                    one::<u64>(to, from, len - 8);
                }
                16..256 => {
                    for at in (0..len - 15).step_by(16) {
                        one::<u128>(to, from, at);
                    }
                    one::<u128>(to, from, len - 16);
                }
                _ => to.copy_from_nonoverlapping(from, len),
            }
        }
    }

    #[inline(always)]
    unsafe fn fill(to: *mut u8, value: u8, len: usize) {
        // SAFETY: the caller's.
        unsafe { to.write_bytes(value, len) }
    }
}

/// A region to write.
pub(crate) struct Region<'a> {
    pub(crate) geometry: &'a ConvGeometry,
    pub(crate) grid: &'a Grid,
    /// What lies on padding.
    pub(crate) zero_point: u8,
    /// The input's bytes and pixel stride.
    pub(crate) data: &'a [u8],
    pub(crate) pixel_stride: usize,
    pub(crate) group: usize,
    /// Rows of the output.
    pub(crate) rows: Range<usize>,
    pub(crate) to: *mut u8,
}

/// Writes a region: pixels of `group_inputs` elements side by side.
///
/// # Safety
/// `job.to` may be written for [`Grid::pixels`] pixels, and `job.data` holds the geometry's input.
#[inline(always)]
pub(crate) unsafe fn fill<W: Write>(job: &Region) {
    let (g, grid) = (job.geometry, job.grid);
    let channels = g.group_inputs();
    let row_stride = g.input.w * job.pixel_stride;
    let left = g.window.pad[1].min(grid.width);
    let inside = g.input.w.div_ceil(grid.step[1]).min(grid.width - left);
    let dense = job.pixel_stride == channels && grid.step[1] == 1;
    let rows = grid.rows(&job.rows);
    if dense && inside == grid.width && grid.width == g.input.w && g.window.pad[0] == 0 {
        let last = (rows.end - 1) * grid.step[0];
        if grid.step[0] == 1 && last < g.input.h {
            // The rows themselves lie side by side.
            let from = &job.data[rows.start * row_stride..][..rows.len() * row_stride];
            // SAFETY: the region's pixels are these.
            return unsafe { W::copy(job.to, from.as_ptr(), from.len()) };
        }
    }
    for (i, row) in rows.enumerate() {
        // SAFETY: pieces of row `i` of the region follow each other and end at its end; `piece`
        // checks that what is read lies in `data`.
        unsafe {
            let at = |pixel: usize| job.to.add((i * grid.width + pixel) * channels * W::BYTES);
            let y = (row * grid.step[0]).checked_sub(g.window.pad[0]).filter(|&y| y < g.input.h);
            let Some(y) = y else {
                W::fill(at(0), job.zero_point, grid.width * channels);
                continue;
            };
            let first = y * row_stride + job.group * channels;
            let piece = |pixel: usize, from: usize, len: usize| {
                let from = &job.data[first + from..][..len];
                W::copy(at(pixel), from.as_ptr(), len);
            };
            W::fill(at(0), job.zero_point, left * channels);
            if dense {
                piece(left, 0, inside * channels);
            } else {
                let step = grid.step[1] * job.pixel_stride;
                if inside > 0 {
                    let row = &job.data[first..][..(inside - 1) * step + channels];
                    for x in 0..inside {
                        W::copy(at(left + x), row.as_ptr().add(x * step), channels);
                    }
                }
            }
            let right = grid.width - left - inside;
            W::fill(at(left + inside), job.zero_point, right * channels);
        }
    }
}
