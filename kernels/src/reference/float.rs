use half::f16;

use crate::ConvGeometry;

/// Convolution in f32 with f16 weights; dense NHWC in and out. See [`crate::float::conv`].
pub fn float_conv(
    geometry: &ConvGeometry,
    weights: &[f16],
    bias: &[f32],
    x: &[f32],
    [min, max]: [f32; 2],
) -> Vec<f32> {
    let g = geometry;
    let inputs = g.group_inputs();
    let mut y = Vec::with_capacity(g.output.len());
    for oy in 0..g.output.h {
        for ox in 0..g.output.w {
            for (oc, bias) in bias.iter().enumerate() {
                let first = oc / g.group_outputs() * inputs;
                let mut sums = [0.0_f32; 8];
                for ky in 0..g.window.kernel[0] {
                    for kx in 0..g.window.kernel[1] {
                        let Some([row, column]) = g.window.tap(g.input, [oy, ox], [ky, kx]) else {
                            continue;
                        };
                        let tap = (oc * g.window.kernel[0] + ky) * g.window.kernel[1] + kx;
                        for i in 0..inputs {
                            let x = x[(row * g.input.w + column) * g.input.c + first + i];
                            sums[i % 8] += x * weights[tap * inputs + i].to_f32();
                        }
                    }
                }
                let [a, b, c, d, e, f, g, h] = sums;
                let sum = ((a + e) + (c + g)) + ((b + f) + (d + h)) + bias;
                y.push(if sum < min {
                    min
                } else if sum > max {
                    max
                } else {
                    sum
                });
            }
        }
    }
    y
}
