//! The operators without weights on reals: the fourth step of a layer. Values are f64 in ONNX's
//! order, channels first; each operator as the ONNX specification states it.

use std::collections::HashMap;

use crate::network::{Network, Node, Op, Pool};

/// What `node` writes, from what it reads.
pub(super) fn apply(network: &Network, node: &Node, reals: &HashMap<&str, Vec<f64>>) -> Vec<f64> {
    let read = |i: usize| reals[node.inputs[i].as_str()].as_slice();
    let shape = |value: &str| Chw::of(&network.shapes[value]);
    let (x, input, output) = (read(0), shape(&node.inputs[0]), shape(node.output()));
    match &node.op {
        Op::Affine { scale, shift } => {
            let at = |v: &[f32], i: usize| f64::from(v[i / input.plane() % v.len()]);
            x.iter().enumerate().map(|(i, x)| x * at(scale, i) + at(shift, i)).collect()
        }
        &Op::Clamp { min, max } => x.iter().map(|x| x.clamp(min.into(), max.into())).collect(),
        Op::Unary(unary) => x.iter().map(|&x| f64::from(unary.apply(x as f32))).collect(),
        Op::MaxPool(pool) => over_windows(x, input, output, pool, |inside, _| {
            inside.fold(f64::NEG_INFINITY, f64::max)
        }),
        Op::AveragePool { pool, count_include_pad } => {
            over_windows(x, input, output, pool, |inside, padded| {
                let (sum, count) = inside.fold((0.0, 0), |(sum, n), x| (sum + x, n + 1));
                sum / if *count_include_pad { padded } else { count } as f64
            })
        }
        Op::GlobalAveragePool => {
            let mean = |plane: &[f64]| plane.iter().sum::<f64>() / plane.len() as f64;
            x.chunks_exact(input.plane()).map(mean).collect()
        }
        Op::Add => x.iter().zip(read(1)).map(|(a, b)| a + b).collect(),
        Op::Concat => (0..node.inputs.len()).flat_map(|i| read(i).iter().copied()).collect(),
        &Op::Lrn { size, alpha, beta, bias } => {
            let (before, after) = ((size as usize - 1) / 2, size as usize / 2);
            let (plane, x_at) = (input.plane(), |i: usize| x[i]);
            let normalized = |(i, x): (usize, &f64)| {
                let (channel, pixel) = (i / plane, i % plane);
                let window = channel.saturating_sub(before)..(channel + after + 1).min(input.c);
                let squares: f64 = window.map(|c| x_at(c * plane + pixel).powi(2)).sum();
                let mean = f64::from(alpha) / f64::from(size) * squares;
                x / (f64::from(bias) + mean).powf(beta.into())
            };
            x.iter().enumerate().map(normalized).collect()
        }
        Op::Softmax => {
            let plane = input.plane();
            let mut y = vec![0.0; x.len()];
            for pixel in 0..plane {
                let channels = || (0..input.c).map(|c| c * plane + pixel);
                let most = channels().map(|i| x[i]).fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = channels().map(|i| (x[i] - most).exp()).sum();
                channels().for_each(|i| y[i] = (x[i] - most).exp() / sum);
            }
            y
        }
        Op::Reshape => x.to_vec(),
        Op::Transpose(order) => transposed(x, &network.shapes[&node.inputs[0]], order),
        Op::Pad { before, .. } => output.map(|[c, h, w]| {
            let from = [c, h, w].into_iter().zip(before).map(|(i, b)| i.checked_sub(*b));
            let from: Option<Vec<usize>> = from.collect();
            let inside = from.filter(|i| i[0] < input.c && i[1] < input.h && i[2] < input.w);
            inside.map_or(0.0, |i| x[input.index([i[0], i[1], i[2]])])
        }),
        Op::Slice { start, step } => output
            .map(|at| x[input.index([0, 1, 2].map(|axis| start[axis] + at[axis] * step[axis]))]),
        // Layers are not run here, and the executor ends in front of what the edge cannot run.
        Op::Conv(_) | Op::Linear(_) | Op::Other { .. } => Vec::new(),
    }
}

/// Channels, rows and columns of a value; a vector is an image of one pixel.
#[derive(Clone, Copy)]
struct Chw {
    c: usize,
    h: usize,
    w: usize,
}

impl Chw {
    fn of(dims: &[usize]) -> Chw {
        let at = |axis: usize| dims.get(axis).copied().unwrap_or(1);
        Chw { c: at(1), h: at(2), w: dims.iter().skip(3).product() }
    }

    fn plane(self) -> usize {
        self.h * self.w
    }

    fn index(self, [c, h, w]: [usize; 3]) -> usize {
        (c * self.h + h) * self.w + w
    }

    /// A value for each place.
    fn map(self, value: impl Fn([usize; 3]) -> f64) -> Vec<f64> {
        let places =
            (0..self.c * self.plane()).map(|i| [i / self.plane(), i / self.w % self.h, i % self.w]);
        places.map(value).collect()
    }
}

/// Calls `pool_window` with the values of each window that are inside of the image, and with how
/// many places it has inside of the image and its padding.
fn over_windows(
    x: &[f64],
    input: Chw,
    output: Chw,
    pool: &Pool,
    pool_window: impl Fn(&mut dyn Iterator<Item = f64>, usize) -> f64,
) -> Vec<f64> {
    let window = &pool.window;
    let [top, left, bottom, right] = window.pads;
    output.map(|[c, row, column]| {
        // Places count from the corner of the padding.
        let taps = (0..window.kernel[0] * window.kernel[1]).map(|tap| {
            let [ky, kx] = [tap / window.kernel[1], tap % window.kernel[1]];
            let y = row * window.stride[0] + ky * window.dilation[0];
            let x = column * window.stride[1] + kx * window.dilation[1];
            [y, x]
        });
        let padded =
            |at: &[usize; 2]| at[0] < top + input.h + bottom && at[1] < left + input.w + right;
        let count = taps.clone().filter(padded).count();
        let mut inside = taps.filter_map(|[y, column]| {
            let (y, column) = (y.checked_sub(top)?, column.checked_sub(left)?);
            (y < input.h && column < input.w).then(|| x[input.index([c, y, column])])
        });
        pool_window(&mut inside, count)
    })
}

/// ONNX `Transpose`.
fn transposed(x: &[f64], dims: &[usize], order: &[usize]) -> Vec<f64> {
    let stride = |axis: usize| dims[axis + 1..].iter().product::<usize>();
    let mut y = Vec::with_capacity(x.len());
    for i in 0..x.len() {
        let (mut rest, mut from) = (i, 0);
        for &axis in order.iter().rev() {
            from += rest % dims[axis] * stride(axis);
            rest /= dims[axis];
        }
        y.push(x[from]);
    }
    y
}
