//! Convolution and fully connected layers in f32, for layers that are kept in float.
//!
//! Weights are stored as f16 and widened as they are read. The order of summation is fixed, so
//! that every CPU gives the same bits: the products of input channel `i` (counted over taps and
//! channels) go to partial sum `i mod 8` of their tap, partial sums are added pairwise, then the
//! bias. Nothing is fused.

use half::f16;
use half::slice::HalfFloatSliceExt;

pub use crate::quantize::{dequantize, quantize};

use crate::geometry::ConvGeometry;
use crate::isa::Isa;
use crate::quantize::{dequantize_value, quantize_value};
use crate::split;
use crate::stamp::stamped;
use crate::team::Team;
use crate::view::{View, ViewMut};

/// What a float layer reads.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// Codes, with their scale and zero point.
    U8(View<'a>, (f32, u8)),
    /// Real values, NHWC without gaps.
    F32(&'a [f32]),
}

/// What a float layer writes.
pub enum Output<'a> {
    /// Codes, with their scale and zero point.
    U8(ViewMut<'a>, (f32, u8)),
    /// Real values, NHWC without gaps.
    F32(&'a mut [f32]),
}

/// Partial sums, and values widened at once.
const LANES: usize = 8;
const CHUNK: usize = 64;

/// ONNX `Conv`, then a clamp to `min..=max` (infinities for none).
///
/// `weights` are OHWI, `bias` one per output channel.
///
/// # Panics
/// A length or shape is not the geometry's.
#[allow(clippy::too_many_arguments)]
pub fn conv(
    isa: Isa,
    geometry: &ConvGeometry,
    weights: &[f16],
    bias: &[f32],
    x: Input,
    y: Output,
    [min, max]: [f32; 2],
    team: &Team,
) {
    assert_eq!(weights.len(), geometry.weights());
    assert_eq!(bias.len(), geometry.output.c);
    match x {
        Input::U8(view, _) => assert_eq!(view.shape(), geometry.input),
        Input::F32(values) => assert_eq!(values.len(), geometry.input.len()),
    }
    let layer = Layer { geometry, weights, bias, x, min, max };
    let (pixels, channels) = (geometry.output.pixels(), geometry.output.c);
    let cost = geometry.depth() * 4;
    // Whole pixels a task, or channels of the only pixel.
    let part = if pixels == 1 {
        split::part(team, channels, cost)
    } else {
        split::part(team, pixels, cost * channels) * channels
    };
    match y {
        Output::F32(y) => {
            assert_eq!(y.len(), geometry.output.len());
            split::chunks(team, y, part, &|task, y| {
                for (i, y) in y.iter_mut().enumerate() {
                    let at = task * part + i;
                    layer.value(isa, at / channels, at % channels, y);
                }
            });
        }
        Output::U8(mut y, (scale, zero_point)) => {
            assert_eq!(y.shape(), geometry.output);
            let stride = y.pixel_stride();
            let part = if pixels == 1 { part } else { part / channels * stride };
            let bytes = &mut y.data()[..geometry.output.span(stride)];
            split::chunks(team, bytes, part, &|task, y| {
                for (i, y) in y.iter_mut().enumerate() {
                    let at = task * part + i;
                    if at % stride < channels {
                        let mut v = 0.0;
                        layer.value(isa, at / stride, at % stride, &mut v);
                        *y = quantize_value(v, scale, zero_point);
                    }
                }
            });
        }
    }
}

struct Layer<'a> {
    geometry: &'a ConvGeometry,
    weights: &'a [f16],
    bias: &'a [f32],
    x: Input<'a>,
    min: f32,
    max: f32,
}

impl Layer<'_> {
    /// Output channel `channel` of pixel `pixel`.
    fn value(&self, isa: Isa, pixel: usize, channel: usize, y: &mut f32) {
        let ConvGeometry { input, output, window, .. } = *self.geometry;
        let depth = self.geometry.group_inputs();
        let first = channel / self.geometry.group_outputs() * depth;
        let filter = &self.weights[channel * self.geometry.depth()..][..self.geometry.depth()];
        let mut sums = [0.0; LANES];
        for ky in 0..window.kernel[0] {
            for kx in 0..window.kernel[1] {
                let at = [pixel / output.w, pixel % output.w];
                let Some([row, column]) = window.tap(input, at, [ky, kx]) else { continue };
                let weights = &filter[(ky * window.kernel[1] + kx) * depth..][..depth];
                let x_pixel = row * input.w + column;
                match self.x {
                    Input::U8(view, quantization) => {
                        let x = &view.pixel(x_pixel)[first..][..depth];
                        dot_codes(isa, x, quantization, weights, &mut sums);
                    }
                    Input::F32(values) => {
                        let x = &values[x_pixel * input.c + first..][..depth];
                        dot(isa, x, weights, &mut sums);
                    }
                }
            }
        }
        let [a, b, c, d, e, f, g, h] = sums;
        let sum = ((a + e) + (c + g)) + ((b + f) + (d + h)) + self.bias[channel];
        *y = crate::stamp::limit(sum, self.min, self.max);
    }
}

stamped! {
    fn dot(x: &[f32], weights: &[f16], sums: &mut [f32; LANES]) {
        for (x, weights) in x.chunks(CHUNK).zip(weights.chunks(CHUNK)) {
            add_products(x, weights, sums);
        }
    }
}

stamped! {
    fn dot_codes(x: &[u8], quantization: (f32, u8), weights: &[f16], sums: &mut [f32; LANES]) {
        for (x, weights) in x.chunks(CHUNK).zip(weights.chunks(CHUNK)) {
            let mut values = [0.0; CHUNK];
            for (value, &q) in values.iter_mut().zip(x) {
                *value = dequantize_value(q, quantization.0, quantization.1);
            }
            add_products(&values[..x.len()], weights, sums);
        }
    }
}

/// Adds the products of at most [`CHUNK`] values to the partial sums.
#[inline(always)]
fn add_products(x: &[f32], weights: &[f16], sums: &mut [f32; LANES]) {
    let mut widened = [0.0; CHUNK];
    let widened = &mut widened[..weights.len()];
    weights.convert_to_f32_slice(widened);
    for (x, weights) in x.chunks(LANES).zip(widened.chunks(LANES)) {
        for ((sum, x), weight) in sums.iter_mut().zip(x).zip(weights) {
            *sum += x * weight;
        }
    }
}
