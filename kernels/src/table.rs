//! Element-wise functions of one u8 tensor, as tables of 256 codes.
//!
//! A table holds the output code of every input code, so any unary operator and any change of
//! scale costs the same: one look-up per byte. The builders compute
//! `v = scale * (q - zero_point)`, `t = f(v)`, then ONNX `QuantizeLinear`, each operation in f32:
//! that gives ONNX Runtime's `QLinearConcat`, `QLinearSigmoid` and `QLinearLeakyRelu` bit for bit.

use crate::isa::Isa;
use crate::math;
use crate::quantize::{dequantize_value, quantize_value};
use crate::split::{self, runs};
use crate::stamp::stamped;
use crate::team::Team;
use crate::view::{View, ViewMut};

/// The output code of every input code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(pub [u8; 256]);

impl Table {
    /// From codes of `from` to codes of `to` (scale, zero point) of the same real value, as ONNX
    /// `Concat` of differently quantized inputs needs; the identity where both are equal.
    pub fn requantize(from: (f32, u8), to: (f32, u8)) -> Table {
        if from == to {
            return Table(std::array::from_fn(|q| q as u8));
        }
        Table::unary(|v| v, from, to)
    }

    /// `f` from codes of `from` to codes of `to` (scale, zero point).
    pub fn unary(f: impl Fn(f32) -> f32, from: (f32, u8), to: (f32, u8)) -> Table {
        Table(std::array::from_fn(|q| {
            quantize_value(f(dequantize_value(q as u8, from.0, from.1)), to.0, to.1)
        }))
    }

    /// Leaves every code as it is.
    pub fn is_identity(&self) -> bool {
        (0..256).all(|q| self.0[q] == q as u8)
    }
}

/// The functions behind ONNX's activations, for [`Table::unary`].
pub mod functions {
    use super::math;

    /// ONNX `Sigmoid`: `1 / (1 + exp(-v))`, in f64, rounded once.
    pub fn sigmoid(v: f32) -> f32 {
        (1.0 / (1.0 + math::exp(-f64::from(v)))) as f32
    }

    /// ONNX `Tanh`, in f64, rounded once.
    pub fn tanh(v: f32) -> f32 {
        (1.0 - 2.0 / (math::exp(2.0 * f64::from(v)) + 1.0)) as f32
    }

    /// ONNX `Relu`.
    pub fn relu(v: f32) -> f32 {
        if v > 0.0 { v } else { 0.0 }
    }

    /// ONNX `LeakyRelu`.
    pub fn leaky_relu(v: f32, alpha: f32) -> f32 {
        if v >= 0.0 { v } else { alpha * v }
    }

    /// ONNX `Elu`.
    pub fn elu(v: f32, alpha: f32) -> f32 {
        if v >= 0.0 { v } else { (f64::from(alpha) * (math::exp(f64::from(v)) - 1.0)) as f32 }
    }

    /// ONNX `Clip`: the upper bound wins where they cross.
    pub fn clip(v: f32, min: f32, max: f32) -> f32 {
        let v = if v < min { min } else { v };
        if v > max { max } else { v }
    }

    /// ONNX `HardSigmoid`: `max(0, min(1, alpha * v + beta))`.
    pub fn hard_sigmoid(v: f32, alpha: f32, beta: f32) -> f32 {
        clip(alpha * v + beta, 0.0, 1.0)
    }

    /// ONNX `HardSwish`: `v * HardSigmoid(v, 1/6, 1/2)`.
    pub fn hard_swish(v: f32) -> f32 {
        v * hard_sigmoid(v, 1.0 / 6.0, 0.5)
    }
}

/// Replaces every code of `x` by the table's.
///
/// # Panics
/// The shapes differ.
pub fn apply(isa: Isa, table: &Table, x: View, mut y: ViewMut, team: &Team) {
    assert_eq!(x.shape(), y.shape());
    let (c, stride) = (x.shape().c, y.pixel_stride());
    split::pixels(team, &mut y, c, &|pixels, y| {
        let x_bytes = &x.data()[pixels.start * x.pixel_stride()..];
        let (count, len) = runs(pixels.len(), c, [x.pixel_stride(), stride]);
        look_up(isa, &table.0, count, len, x_bytes, x.pixel_stride(), y, stride);
    });
}

/// Replaces every code of `xy` by the table's, in place.
pub fn apply_in_place(isa: Isa, table: &Table, mut xy: ViewMut, team: &Team) {
    let (c, stride) = (xy.shape().c, xy.pixel_stride());
    split::pixels(team, &mut xy, c, &|pixels, xy| {
        let (count, len) = runs(pixels.len(), c, [stride, stride]);
        look_up_in_place(isa, &table.0, count, len, xy, stride);
    });
}

stamped! {
    fn look_up_in_place(table: &[u8; 256], count: usize, len: usize, xy: &mut [u8], stride: usize) {
        for i in 0..count {
            for code in &mut xy[i * stride..][..len] {
                *code = table[usize::from(*code)];
            }
        }
    }
}

stamped! {
    fn look_up(
        table: &[u8; 256],
        count: usize,
        len: usize,
        x: &[u8],
        x_stride: usize,
        y: &mut [u8],
        y_stride: usize,
    ) {
        for i in 0..count {
            let x = &x[i * x_stride..][..len];
            let y = &mut y[i * y_stride..][..len];
            for (y, &x) in y.iter_mut().zip(x) {
                *y = table[usize::from(x)];
            }
        }
    }
}
