//! Moving bytes: copy, slice, pad.

use crate::split::{self, runs};
use crate::team::Team;
use crate::view::{View, ViewMut};

/// Copies `x` to `y`, pixel strides aside; into a slice of channels of a wider tensor this is
/// ONNX `Concat` of inputs that have the output's scale and zero point.
///
/// # Panics
/// The shapes differ.
pub fn copy(x: View, mut y: ViewMut, team: &Team) {
    assert_eq!(x.shape(), y.shape());
    let (c, stride) = (x.shape().c, y.pixel_stride());
    split::pixels(team, &mut y, 2 * c, &|pixels, y| {
        let x_bytes = &x.data()[pixels.start * x.pixel_stride()..];
        let (count, len) = runs(pixels.len(), c, [x.pixel_stride(), stride]);
        for i in 0..count {
            y[i * stride..][..len].copy_from_slice(&x_bytes[i * x.pixel_stride()..][..len]);
        }
    });
}

/// ONNX `Slice`: element (row, column, channel) of `y` is element `start + step * (row, column,
/// channel)` of `x`.
///
/// # Panics
/// An element of `y` lies outside of `x`.
pub fn slice(start: [usize; 3], step: [usize; 3], x: View, mut y: ViewMut, team: &Team) {
    let (from, to) = (x.shape(), y.shape());
    for (axis, (from, to)) in [(from.h, to.h), (from.w, to.w), (from.c, to.c)].iter().enumerate() {
        assert!(*to == 0 || start[axis] + (to - 1) * step[axis] < *from, "slice of axis {axis}");
    }
    let stride = y.pixel_stride();
    split::pixels(team, &mut y, 2 * to.c, &|pixels, y| {
        for (i, pixel) in pixels.enumerate() {
            let row = start[0] + pixel / to.w * step[0];
            let column = start[1] + pixel % to.w * step[1];
            let x = &x.pixel(row * from.w + column)[start[2]..];
            let y = &mut y[i * stride..][..to.c];
            if step[2] == 1 {
                y.copy_from_slice(&x[..to.c]);
            } else {
                y.iter_mut().zip(x.iter().step_by(step[2])).for_each(|(y, x)| *y = *x);
            }
        }
    });
}

/// ONNX `Pad` with a constant: `x` from (row, column, channel) `before` on, `value` (the zero
/// point, for a real zero) everywhere else.
///
/// # Panics
/// `before` and `x` reach beyond `y`.
pub fn pad(before: [usize; 3], value: u8, x: View, mut y: ViewMut, team: &Team) {
    let (from, to) = (x.shape(), y.shape());
    let fits = |axis: usize, from: usize, to: usize| before[axis] + from <= to;
    assert!(fits(0, from.h, to.h) && fits(1, from.w, to.w) && fits(2, from.c, to.c));
    let stride = y.pixel_stride();
    split::pixels(team, &mut y, 2 * to.c, &|pixels, y| {
        for (i, pixel) in pixels.enumerate() {
            let y = &mut y[i * stride..][..to.c];
            let row = (pixel / to.w).checked_sub(before[0]).filter(|&row| row < from.h);
            let column = (pixel % to.w).checked_sub(before[1]).filter(|&column| column < from.w);
            y.fill(value);
            if let (Some(row), Some(column)) = (row, column) {
                y[before[2]..][..from.c].copy_from_slice(x.pixel(row * from.w + column));
            }
        }
    });
}
