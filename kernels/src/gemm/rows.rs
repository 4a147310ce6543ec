//! Windows to rows: the left matrix, a block at a time.

use std::ops::Range;

use crate::ConvGeometry;

/// Rows to lay side by side: for every pixel the activations under its window, taps row by row,
/// channels within a tap, cut to a range of depth.
pub(crate) struct Rows<'a> {
    pub(crate) geometry: &'a ConvGeometry,
    /// What lies on padding.
    pub(crate) zero_point: u8,
    /// The input's bytes and pixel stride.
    pub(crate) data: &'a [u8],
    pub(crate) pixel_stride: usize,
    pub(crate) group: usize,
    /// Output pixels, counted row by row.
    pub(crate) pixels: Range<usize>,
    /// The part of each row.
    pub(crate) depth: Range<usize>,
    /// The first row, and the bytes from row to row.
    pub(crate) to: *mut u8,
    pub(crate) to_stride: usize,
}

/// How a kernel's rows are written: `len` activations copied, or one repeated.
///
/// # Safety
/// Implementations read `len` bytes, write `len` elements, and need no instruction that the caller
/// of [`pack`] was not compiled for.
pub(crate) unsafe trait Write {
    /// Bytes of an element.
    const BYTES: usize;
    /// # Safety
    /// `from` may be read and `to` written for `len` elements.
    unsafe fn copy(to: *mut u8, from: *const u8, len: usize);
    /// Copies `len` activations and up to [`SLACK`] more.
    ///
    /// # Safety
    /// `from` may be read and `to` written for `len + SLACK` elements.
    unsafe fn copy_over(to: *mut u8, from: *const u8, len: usize);
    /// # Safety
    /// `to` may be written for `len` elements.
    unsafe fn fill(to: *mut u8, value: u8, len: usize);
}

/// Elements that [`Write::copy_over`] may touch behind the last: rows lie at least so far apart.
pub(crate) const SLACK: usize = 15;

/// Rows of u8.
pub(crate) struct Bytes;

// SAFETY: plain loads and stores of `len` bytes.
unsafe impl Write for Bytes {
    const BYTES: usize = 1;

    /// Pieces are short (a tap, or a row of taps), so no call of `memcpy`.
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
                _ => {
                    let mut at = 0;
                    while at + 16 <= len {
                        one::<u128>(to, from, at);
                        at += 16;
                    }
                    one::<u128>(to, from, len - 16);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn copy_over(to: *mut u8, from: *const u8, len: usize) {
        for at in (0..len).step_by(16) {
            // SAFETY: the caller's.
            unsafe {
                let sixteen = from.add(at).cast::<u128>().read_unaligned();
                to.add(at).cast::<u128>().write_unaligned(sixteen);
            }
        }
    }

    #[inline(always)]
    unsafe fn fill(to: *mut u8, value: u8, len: usize) {
        // SAFETY: the caller's.
        unsafe { to.write_bytes(value, len) }
    }
}

/// Writes the rows of `job`.
///
/// # Safety
/// `job.to` may be written for `pixels.len()` rows of `depth.len() + SLACK` elements, and `job.data` holds
/// the geometry's input.
#[inline(always)]
pub(crate) unsafe fn pack<W: Write>(job: &Rows) {
    let g = job.geometry;
    let [kernel_h, kernel_w] = g.window.kernel;
    let [dilation_y, dilation_x] = g.window.dilation;
    let channels = g.group_inputs();
    let first_channel = job.group * channels;
    // The taps of a row lie side by side: one copy.
    let contiguous = kernel_w == 1 || (dilation_x == 1 && job.pixel_stride == channels);
    let whole = job.depth == (0..g.depth());
    let segment = kernel_w * channels;
    let row_stride = g.input.w * job.pixel_stride;
    let last_row = g.input.h as isize - 1;
    let (mut next_oy, mut next_ox) = (job.pixels.start / g.output.w, job.pixels.start % g.output.w);
    for i in 0..job.pixels.len() {
        let (oy, ox) = (next_oy, next_ox);
        next_ox += 1;
        if next_ox == g.output.w {
            (next_oy, next_ox) = (oy + 1, 0);
        }
        // SAFETY: row `i` of the caller's rows.
        let to = unsafe { job.to.add(i * job.to_stride) };
        // Copies the activations `k` from `from` on, or fills with the zero point.
        let piece = |k: Range<usize>, from: Option<usize>| {
            let (lo, hi) = (k.start.max(job.depth.start), k.end.min(job.depth.end));
            if lo >= hi {
                return;
            }
            // SAFETY: `lo..hi` is within `depth`, so within the row; `from` is the offset of a tap
            // inside the image, and `hi - lo` elements of it, or of consecutive taps inside the
            // same image row, are within `data`.
            unsafe {
                let to = to.add((lo - job.depth.start) * W::BYTES);
                match from {
                    Some(from) => {
                        let from = &job.data[from + lo - k.start..][..hi - lo];
                        W::copy(to, from.as_ptr(), hi - lo);
                    }
                    None => W::fill(to, job.zero_point, hi - lo),
                }
            }
        };
        let top = (oy * g.window.stride[0]) as isize - g.window.pad[0] as isize;
        let left = (ox * g.window.stride[1]) as isize - g.window.pad[1] as isize;
        // Taps `inside` lie between the image's left and right edge.
        let inside = {
            let reach = |x: isize| {
                let taps =
                    if dilation_x == 1 { x } else { (x - 1).div_euclid(dilation_x as isize) + 1 };
                taps.clamp(0, kernel_w as isize) as usize
            };
            reach(-left)..reach(g.input.w as isize - left)
        };
        let rows_inside = top >= 0 && top + ((kernel_h - 1) * dilation_y) as isize <= last_row;
        if contiguous && whole && rows_inside && inside == (0..kernel_w) {
            // The common case, without a branch per segment: each overwrites the excess of the one
            // before.
            let first =
                (top as usize * g.input.w + left as usize) * job.pixel_stride + first_channel;
            let last = first + (kernel_h - 1) * dilation_y * row_stride;
            if last + segment + SLACK <= job.data.len() {
                for ky in 0..kernel_h {
                    // SAFETY: no segment starts behind `last`; the last one ends `SLACK` before the
                    // end of `data`, and at the end of the row.
                    unsafe {
                        let from = job.data.as_ptr().add(first + ky * dilation_y * row_stride);
                        W::copy_over(to.add(ky * segment * W::BYTES), from, segment);
                    }
                }
                continue;
            }
        }
        for ky in 0..kernel_h {
            let k = ky * segment;
            let y = top + (ky * dilation_y) as isize;
            if y < 0 || y >= g.input.h as isize || inside.is_empty() {
                piece(k..k + segment, None);
                continue;
            }
            let pixel = |kx: usize| {
                let x = left + (kx * dilation_x) as isize;
                (y as usize * g.input.w + x as usize) * job.pixel_stride + first_channel
            };
            piece(k..k + inside.start * channels, None);
            if contiguous {
                let k = k + inside.start * channels..k + inside.end * channels;
                piece(k, Some(pixel(inside.start)));
            } else {
                for kx in inside.clone() {
                    piece(k + kx * channels..k + (kx + 1) * channels, Some(pixel(kx)));
                }
            }
            piece(k + inside.end * channels..k + segment, None);
        }
    }
}

/// Whether a row is a slice of the input: 1×1 windows, none of them on padding.
pub(crate) fn are_slices(g: &ConvGeometry) -> bool {
    let last = |outputs: usize, stride: usize| outputs.saturating_sub(1) * stride;
    g.window.kernel == [1, 1]
        && g.window.pad == [0, 0]
        && last(g.output.h, g.window.stride[0]) < g.input.h
        && last(g.output.w, g.window.stride[1]) < g.input.w
}

/// Offset in the input of the row of output pixel `pixel`, where [`are_slices`].
pub(crate) fn slice_offset(
    g: &ConvGeometry,
    pixel_stride: usize,
    group: usize,
    pixel: usize,
) -> usize {
    let input_pixel = if g.window.stride == [1, 1] && g.output.w == g.input.w {
        pixel
    } else {
        let (oy, ox) = (pixel / g.output.w, pixel % g.output.w);
        oy * g.window.stride[0] * g.input.w + ox * g.window.stride[1]
    };
    input_pixel * pixel_stride + group * g.group_inputs()
}
