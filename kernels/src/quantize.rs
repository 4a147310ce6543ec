//! Between real values and codes: ONNX `QuantizeLinear` and `DequantizeLinear`, u8, per tensor.

use crate::stamp::{limit, round_code, stamped};

/// The code of `v`: `rne(clamp(v / scale, -zero_point, 255 - zero_point)) + zero_point`. A division,
/// since multiplying by the reciprocal rounds otherwise. Infinities saturate, NaN becomes code 0.
#[inline(always)]
pub fn quantize_value(v: f32, scale: f32, zero_point: u8) -> u8 {
    let zero = i32::from(zero_point);
    round_code(limit(v / scale, -zero as f32, (255 - zero) as f32), zero)
}

/// The real value of code `q`: `scale * (q - zero_point)`.
#[inline(always)]
pub fn dequantize_value(q: u8, scale: f32, zero_point: u8) -> f32 {
    (i32::from(q) - i32::from(zero_point)) as f32 * scale
}

/// Codes of real values.
///
/// # Panics
/// The lengths differ.
pub fn quantize(isa: crate::Isa, x: &[f32], scale: f32, zero_point: u8, y: &mut [u8]) {
    assert_eq!(x.len(), y.len());
    quantize_run(isa, x, scale, zero_point, y);
}

/// Real values of codes.
///
/// # Panics
/// The lengths differ.
pub fn dequantize(isa: crate::Isa, x: &[u8], scale: f32, zero_point: u8, y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    dequantize_run(isa, x, scale, zero_point, y);
}

stamped! {
    fn quantize_run(x: &[f32], scale: f32, zero_point: u8, y: &mut [u8]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = quantize_value(x, scale, zero_point);
        }
    }
}

stamped! {
    fn dequantize_run(x: &[u8], scale: f32, zero_point: u8, y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = dequantize_value(x, scale, zero_point);
        }
    }
}
