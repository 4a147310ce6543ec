//! Equalization: channels of one tensor brought to like ranges, so that one scale serves them all
//! (Nagel, van Baalen, Blankevoort, Welling: *Data-Free Quantization Through Weight Equalization
//! and Bias Correction*, ICCV 2019, section 4.1).
//!
//! Where nothing but operators with `f(s x) = s f(x)` for s > 0 stands between two layers, channel
//! `c` of the first may be multiplied by `s` and its weights in the second divided by it. Factors
//! here are powers of two: the FP32 network gives the same bits as before.
//!
//! A factor above one makes the channel's rounding error smaller and that of the weights which read
//! it larger. With Δ the step of the tensor, δ the step of each output's weights (those that are
//! not zero: zero is exact), x the channel and p its share of values that are not zero, the error behind the second layer is in proportion to
//!
//! ```text
//! p Δ² Σ w² / s²  +  s² E[x²] Σ δ²        least at  s⁴ = p Δ² Σ w² / (E[x²] Σ δ²)
//! ```
//!
//! and the channel must stay within the tensor's range, which so remains what it was. That takes
//! weights to be spread evenly between two codes. Where they lie on a grid they are not, so the
//! errors of the weights are then counted as they are, for these factors and for smaller ones, and
//! the best set is taken; often it is none.

use std::sync::Arc;

use crate::Calibration;
use crate::calibrate::ChannelStatistics;
use crate::network::{Conv, Linear, Network, Op, Unary};

/// Equalizes every pair of layers that admits it, by the ranges of `calibration`; how many channels
/// have a new range. The network is the same function, but its calibration is not: calibrate it
/// again.
pub fn equalize(network: &mut Network, calibration: &Calibration) -> usize {
    let mut changed = 0;
    for first in 0..network.nodes.len() {
        let Some((second, path)) = pair(network, first) else { continue };
        let Some(statistics) = path.iter().find_map(|value| calibration.channels.get(value)) else {
            continue;
        };
        let factors = factors(statistics, &network.nodes[second].op);
        changed += factors.iter().filter(|s| **s != 1.0).count();
        multiply_outputs(&mut network.nodes[first].op, &factors);
        divide_inputs(&mut network.nodes[second].op, &factors);
    }
    changed
}

/// The layer that alone reads what layer `first` writes, and the values in between.
fn pair(network: &Network, first: usize) -> Option<(usize, Vec<String>)> {
    if !network.nodes[first].is_parametric() {
        return None;
    }
    let mut value = network.nodes[first].output();
    let mut path = Vec::new();
    loop {
        path.push(value.to_string());
        let mut readers = (0..network.nodes.len())
            .filter(|&i| network.nodes[i].inputs.iter().any(|input| input == value));
        let (next, None) = (readers.next()?, readers.next()) else { return None };
        let node = &network.nodes[next];
        if value == network.output || node.inputs.len() != 1 {
            return None;
        }
        match &node.op {
            Op::Conv(_) | Op::Linear(_) => return Some((next, path)),
            Op::Clamp { min: 0.0, max: f32::INFINITY }
            | Op::Unary(Unary::LeakyRelu { .. })
            | Op::MaxPool(_)
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool => {}
            // Flatten: channels stay the slowest axis.
            Op::Reshape if network.dims(node.output()).is_some_and(|d| d.len() == 2) => {}
            _ => return None,
        }
        value = node.output();
    }
}

/// One power of two for each channel between two layers.
fn factors(statistics: &ChannelStatistics, second: &Op) -> Vec<f32> {
    let channels = statistics.min.len();
    let (min, max) = statistics.range();
    let step = f64::from(max - min) / 255.0;
    let readers = readers(second, channels);
    let exponent = |c: usize| {
        let Reader { weights, steps, alone, .. } = readers[c];
        let room = |bound: f32, own: f32| match own == 0.0 {
            true => f64::INFINITY,
            false => f64::from(bound / own),
        };
        let room = room(max, statistics.max[c]).min(room(min, statistics.min[c]));
        // A layer that reads this channel alone loses nothing by its weights' new scale.
        let best = match alone {
            true => f64::INFINITY,
            false => {
                let rounding = 12.0 * statistics.rounding_error(c, step);
                (rounding * weights / (statistics.mean_square(c) * steps)).powf(0.25)
            }
        };
        // Neither a dead channel nor one that nobody weighs has a best factor.
        let exponent = best.log2().round().min(room.log2().floor());
        if exponent.is_finite() { exponent.max(0.0) } else { 0.0 }
    };
    let exponents: Vec<f64> = (0..channels).map(exponent).collect();
    let capped =
        |cap: f64| -> Vec<f32> { exponents.iter().map(|e| e.min(cap).exp2() as f32).collect() };
    let error = |factors: &[f32]| -> f64 {
        let mut scaled = second.clone();
        divide_inputs(&mut scaled, factors);
        let readers = self::readers(&scaled, channels);
        let of = |c: usize| {
            let (s, Reader { weights, errors, .. }) = (f64::from(factors[c]), readers[c]);
            // `weights` are divided by s already.
            s * s
                * (statistics.rounding_error(c, step / s) * weights
                    + statistics.mean_square(c) * errors)
        };
        (0..channels).map(of).sum()
    };
    // What is no clear gain is left alone.
    let none = vec![1.0; channels];
    let mut best = (0.95 * error(&none), none);
    for cap in [1.0, 2.0, 3.0, 8.0] {
        let factors = capped(cap);
        let error = error(&factors);
        if error < best.0 {
            best = (error, factors);
        }
    }
    best.1
}

/// How the second layer reads a channel.
#[derive(Clone, Copy, Default)]
struct Reader {
    /// Sum of squares of the weights that do.
    weights: f64,
    /// Sum of squares of their steps, one for each weight that is not zero.
    steps: f64,
    /// Sum of squares of their rounding errors.
    errors: f64,
    /// Outputs that read it read nothing else.
    alone: bool,
}

impl Reader {
    fn add(&mut self, weights: &[f32], step: f64) {
        for w in weights.iter().map(|w| f64::from(*w)).filter(|w| *w != 0.0) {
            self.weights += w * w;
            self.steps += step * step;
            self.errors += (w - (w / step).round() * step).powi(2);
        }
    }
}

/// How the layer `op` reads each of its input's channels.
fn readers(op: &Op, channels: usize) -> Vec<Reader> {
    match op {
        Op::Conv(conv) => conv_readers(conv, channels),
        Op::Linear(linear) => linear_readers(linear, channels),
        _ => vec![Reader::default(); channels],
    }
}

fn row_step(row: &[f32]) -> f64 {
    f64::from(row.iter().fold(0f32, |m, w| m.max(w.abs()))) / 127.0
}

fn conv_readers(conv: &Conv, channels: usize) -> Vec<Reader> {
    let [outputs, inputs, kh, kw] = conv.dims;
    let mut readers = vec![Reader { alone: inputs == 1, ..Reader::default() }; channels];
    for (o, row) in conv.weights.chunks_exact(inputs * kh * kw).enumerate() {
        let first = o / (outputs / conv.groups) * inputs;
        let step = row_step(row);
        for (i, taps) in row.chunks_exact(kh * kw).enumerate() {
            readers[first + i].add(taps, step);
        }
    }
    readers
}

fn linear_readers(linear: &Linear, channels: usize) -> Vec<Reader> {
    let mut readers = vec![Reader::default(); channels];
    for row in linear.weights.chunks_exact(linear.inputs) {
        let step = row_step(row);
        for (reader, taps) in readers.iter_mut().zip(row.chunks_exact(linear.inputs / channels)) {
            reader.add(taps, step);
        }
    }
    readers
}

fn multiply_outputs(layer: &mut Op, factors: &[f32]) {
    let (weights, bias) = match layer {
        Op::Conv(conv) => {
            let conv = Arc::make_mut(conv);
            (&mut conv.weights, &mut conv.bias)
        }
        Op::Linear(linear) => {
            let linear = Arc::make_mut(linear);
            (&mut linear.weights, &mut linear.bias)
        }
        _ => return,
    };
    let depth = weights.len() / factors.len();
    for ((row, bias), s) in weights.chunks_exact_mut(depth).zip(bias).zip(factors) {
        row.iter_mut().for_each(|w| *w *= s);
        *bias *= s;
    }
}

fn divide_inputs(layer: &mut Op, factors: &[f32]) {
    match layer {
        Op::Conv(conv) => {
            let conv = Arc::make_mut(conv);
            let [outputs, inputs, kh, kw] = conv.dims;
            let rows = conv.weights.chunks_exact_mut(inputs * kh * kw);
            for (o, row) in rows.enumerate() {
                let first = o / (outputs / conv.groups) * inputs;
                for (taps, s) in row.chunks_exact_mut(kh * kw).zip(&factors[first..]) {
                    taps.iter_mut().for_each(|w| *w /= s);
                }
            }
        }
        Op::Linear(linear) => {
            let linear = Arc::make_mut(linear);
            let pixels = linear.inputs / factors.len();
            for row in linear.weights.chunks_exact_mut(linear.inputs) {
                for (taps, s) in row.chunks_exact_mut(pixels).zip(factors) {
                    taps.iter_mut().for_each(|w| *w /= s);
                }
            }
        }
        _ => {}
    }
}
