//! ONNX `Softmax` over the channels of every pixel (a 1×1 tensor: over all its values).
//!
//! `exp(v - max)` depends only on the distance of two codes, so 256 exponentials, computed once in
//! f64 without the system's library, serve every pixel. The sum is f64 in channel order, the
//! quotient is rounded to f32 once and then quantized as ONNX `QuantizeLinear` does.

use crate::math;
use crate::quantize::quantize_value;
use crate::split;
use crate::team::Team;
use crate::view::{View, ViewMut};

/// Softmax of one tensor.
#[derive(Clone)]
pub struct Softmax {
    /// `exp(-scale * distance)`.
    exps: Box<[f64; 256]>,
    output: (f32, u8),
}

impl Softmax {
    /// `input_scale` of the logits (their zero point cancels), scale and zero point of the output.
    pub fn new(input_scale: f32, output: (f32, u8)) -> Softmax {
        let exp = |distance| math::exp(-f64::from(input_scale) * distance as f64);
        Softmax { exps: Box::new(std::array::from_fn(exp)), output }
    }

    /// Probabilities of `x` into `y`.
    ///
    /// # Panics
    /// The shapes differ.
    pub fn run(&self, x: View, mut y: ViewMut, team: &Team) {
        assert_eq!(x.shape(), y.shape());
        let (c, stride) = (y.shape().c, y.pixel_stride());
        split::pixels(team, &mut y, 16 * c, &|pixels, y| {
            for (i, pixel) in pixels.enumerate() {
                self.pixel(x.pixel(pixel), &mut y[i * stride..][..c]);
            }
        });
    }

    fn pixel(&self, x: &[u8], y: &mut [u8]) {
        let max = x.iter().copied().max().unwrap_or(0);
        let exp = |q: u8| self.exps[usize::from(max - q)];
        let sum: f64 = x.iter().map(|&q| exp(q)).sum();
        for (y, &q) in y.iter_mut().zip(x) {
            *y = quantize_value((exp(q) / sum) as f32, self.output.0, self.output.1);
        }
    }
}
