use super::requantize;
use crate::{Clamp, ConvGeometry, View, ViewMut};

/// `sum (x - zx) * w + bias` for every output value, NHWC.
pub fn accumulate(
    geometry: &ConvGeometry,
    input_zero_point: u8,
    weights: &[i8],
    bias: &[i32],
    x: View,
) -> Vec<i32> {
    let g = geometry;
    let inputs = g.group_inputs();
    let mut acc = Vec::with_capacity(g.output.len());
    for oy in 0..g.output.h {
        for ox in 0..g.output.w {
            for (oc, &bias) in bias.iter().enumerate().take(g.output.c) {
                let first_input = oc / g.group_outputs() * inputs;
                let mut sum = bias;
                for ky in 0..g.window.kernel[0] {
                    for kx in 0..g.window.kernel[1] {
                        // Padding holds zero, the code zx.
                        let Some([y, ix]) = g.window.tap(g.input, [oy, ox], [ky, kx]) else {
                            continue;
                        };
                        let pixel = x.pixel(y * g.input.w + ix);
                        let tap = (oc * g.window.kernel[0] + ky) * g.window.kernel[1] + kx;
                        for ic in 0..inputs {
                            let a =
                                i32::from(pixel[first_input + ic]) - i32::from(input_zero_point);
                            sum += a * i32::from(weights[tap * inputs + ic]);
                        }
                    }
                }
                acc.push(sum);
            }
        }
    }
    acc
}

/// Convolution with the contract's requantization; see [`crate::conv::Conv`] for the operands.
#[allow(clippy::too_many_arguments)]
pub fn conv(
    geometry: &ConvGeometry,
    input_zero_point: u8,
    clamp: Clamp,
    weights: &[i8],
    bias: &[i32],
    multipliers: &[f32],
    x: View,
    mut y: ViewMut,
) {
    let channels = geometry.output.c;
    let acc = accumulate(geometry, input_zero_point, weights, bias, x);
    for (i, acc) in acc.into_iter().enumerate() {
        let oc = i % channels;
        y.pixel(i / channels)[oc] = requantize(acc, multipliers[oc], clamp);
    }
}
