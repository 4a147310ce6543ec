//! Steps + ranges → the graph that the edge runs, and its weights.
//!
//! Activations: u8, one scale and zero point a tensor, from a range that holds zero. Tensors that
//! exchange bytes unchanged (max pool, slice, pad, views, concat) share one. Weights: i8 in
//! −127..=127, one scale an output channel, absmax / 127. Biases: i32 in units of input scale times
//! weight scale.

use std::collections::{HashMap, HashSet};

use half::f16;
use seam_kernels::quantize::quantize_value;
use seam_kernels::table::Table;
use seam_kernels::{ConvGeometry, Shape};
use seam_runtime::graph::{self, Candidate, Element, Graph, Op, Step, StepData, Tensor, TensorId};
use seam_runtime::preprocess::Preprocess;
use seam_runtime::validate::accumulator_fits;

use crate::calibrate::ChannelStatistics;
use crate::lower::{Bounds, Kind, LowStep, Program, Weights, lower};
use crate::{Calibration, Error, Network};

/// What a network does not say by itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network's name.
    pub name: String,
    /// From an image to the network's input.
    pub preprocess: Preprocess,
    /// Layers that run in f32 on the edge.
    pub keep_float: Vec<String>,
}

/// Quantizes a network to the program that the edge runs. An operator that the edge cannot run ends
/// the program there ([`Graph::stop`]).
///
/// # Errors
/// The edge cannot run even the first layer, `keep_float` names no layer, the preprocessing has
/// other channels than the network, or the calibration is of another network.
pub fn compile(
    network: &Network,
    calibration: &Calibration,
    options: &Options,
) -> Result<(Graph, Vec<StepData>), Error> {
    let float: HashSet<&str> = options.keep_float.iter().map(String::as_str).collect();
    if let Some(name) = float.iter().find(|name| network.layers().all(|layer| layer != **name)) {
        let layers = network.layers().collect::<Vec<_>>().join(", ");
        return Err(Error::UnknownLayer { name: (*name).into(), layers });
    }
    check_channels(&options.preprocess, network.input_shape())?;
    // A layer whose accumulators could pass i32 shows only once its weights are codes.
    let mut refused = HashMap::new();
    loop {
        let program = lower(network, &refused)?;
        match quantize(&program, calibration, options, &float)? {
            Ok(compiled) => return Ok(compiled),
            Err(step) => {
                let reason = "its 32-bit accumulators could overflow: too many inputs a value";
                refused.insert(step, reason.to_string());
            }
        }
    }
}

fn check_channels(preprocess: &Preprocess, input: Shape) -> Result<(), Error> {
    let channels = preprocess.channels.count();
    let per_channel = [preprocess.mean.len(), preprocess.std.len()];
    if channels != input.c || per_channel != [input.c; 2] {
        return Err(Error::Preprocess {
            found: format!(
                "{channels} channels with {} means and {} deviations",
                per_channel[0], per_channel[1]
            ),
            expected: format!("{} of each", input.c),
        });
    }
    Ok(())
}

/// The compiled program, or the name of a step whose accumulators could overflow.
fn quantize(
    program: &Program,
    calibration: &Calibration,
    options: &Options,
    float: &HashSet<&str>,
) -> Result<Result<(Graph, Vec<StepData>), String>, Error> {
    let elements = elements(program, calibration, float)?;
    let mut steps = Vec::new();
    let mut data = Vec::new();
    for low in &program.steps {
        let element = |i: usize| elements[i];
        let output = element(low.output);
        let op = match &low.kind {
            Kind::Conv { geometry, weights, clamp } if float.contains(low.name.as_str()) => {
                data.push(float_weights(&low.name, geometry, weights)?);
                Op::FloatConv { geometry: *geometry, min: clamp.min, max: clamp.max }
            }
            Kind::Conv { geometry, weights, clamp } => {
                let (sx, zx) = codes(element(low.inputs[0]));
                let seen = calibration.channels.get(&program.tensors[low.inputs[0]].name);
                match int8_weights(geometry, weights, sx, zx, seen) {
                    Some(weights) => data.push(weights),
                    None => return Ok(Err(low.name.clone())),
                }
                let (lo, hi) = code_bounds(*clamp, output);
                Op::Conv { geometry: *geometry, lo, hi }
            }
            Kind::MaxPool(geometry) => Op::MaxPool(*geometry),
            Kind::AveragePool { geometry, count_include_pad } => {
                Op::AveragePool { geometry: *geometry, count_include_pad: *count_include_pad }
            }
            Kind::GlobalAveragePool => Op::GlobalAveragePool,
            Kind::Add(clamp) => {
                let (lo, hi) = code_bounds(*clamp, output);
                Op::Add { lo, hi }
            }
            Kind::Concat => Op::Concat,
            &Kind::Lrn { size, alpha, beta, bias } => {
                Op::Lrn(graph::Lrn { size, alpha, beta, bias })
            }
            Kind::Softmax => Op::Softmax,
            Kind::Table(function) => {
                let from = codes(element(low.inputs[0]));
                let table = Table::unary(|x| function.apply(x), from, codes(output));
                Op::Table(Box::new(table.0))
            }
            Kind::Slice { start, step } => {
                Op::Slice(graph::Slice { start: u32s(*start), step: u32s(*step) })
            }
            Kind::Pad { before, after } => {
                Op::Pad(graph::Pad { before: u32s(*before), after: u32s(*after) })
            }
            Kind::Reshape => Op::Reshape,
        };
        data.resize(steps.len() + 1, StepData::None);
        steps.push(Step {
            name: low.name.clone(),
            layer: low.layer as u32,
            inputs: low.inputs.iter().map(|&i| id(i)).collect(),
            output: id(low.output),
            op,
        });
    }
    let tensor = |(t, element): (&crate::lower::EdgeTensor, &Element)| Tensor {
        name: t.name.clone(),
        shape: t.shape,
        element: *element,
    };
    let graph = Graph {
        name: options.name.clone(),
        preprocess: options.preprocess.clone(),
        tensors: program.tensors.iter().zip(&elements).map(tensor).collect(),
        layers: program.layers.clone(),
        steps,
        input: id(0),
        output: program.output.map(id),
        candidates: program
            .candidates
            .iter()
            .map(|c| Candidate {
                name: c.name.clone(),
                steps: c.steps as u32,
                boundary: id(c.boundary),
            })
            .collect(),
        stop: program.stop.clone(),
    };
    Ok(Ok((graph, data)))
}

fn id(tensor: usize) -> TensorId {
    TensorId(tensor as u32)
}

/// Every value below 2^30 (see the importer).
fn u32s(values: [usize; 3]) -> [u32; 3] {
    values.map(|v| v as u32)
}

// ---- activations --------------------------------------------------------------------------------

/// What every tensor's elements are.
fn elements(
    program: &Program,
    calibration: &Calibration,
    float: &HashSet<&str>,
) -> Result<Vec<Element>, Error> {
    let runs_float = |s: &LowStep| float.contains(s.name.as_str());
    let mut group: Vec<usize> = (0..program.tensors.len()).collect();
    let mut derived = vec![false; program.tensors.len()];
    let mut real = vec![false; program.tensors.len()];
    for step in &program.steps {
        if runs_float(step) {
            let mut readers =
                program.steps.iter().filter(|s| s.inputs.contains(&step.output)).peekable();
            // Reals where only float layers read them, and as the network's answer.
            let answer = program.output == Some(step.output);
            real[step.output] = (answer || readers.peek().is_some()) && readers.all(runs_float);
        }
        if matches!(
            step.kind,
            Kind::MaxPool(_) | Kind::Concat | Kind::Slice { .. } | Kind::Pad { .. } | Kind::Reshape
        ) {
            derived[step.output] = true;
            for &input in &step.inputs {
                unite(&mut group, input, step.output);
            }
        }
    }
    let mut ranges: HashMap<usize, (f32, f32)> = HashMap::new();
    for (i, tensor) in program.tensors.iter().enumerate() {
        if derived[i] || real[i] {
            continue;
        }
        let range = match fixed_range(program, i) {
            Some(range) => range,
            None => *calibration
                .ranges
                .get(&tensor.name)
                .ok_or_else(|| Error::NoRange(tensor.name.clone()))?,
        };
        let entry = ranges.entry(root(&group, i)).or_insert((0.0, 0.0));
        *entry = (entry.0.min(range.0), entry.1.max(range.1));
    }
    Ok((0..program.tensors.len())
        .map(|i| match ranges.get(&root(&group, i)) {
            Some(&range) if !real[i] => {
                let (scale, zero_point) = affine(range);
                Element::U8 { scale, zero_point }
            }
            _ => Element::F32,
        })
        .collect())
}

/// Softmax yields shares of one: 1/256 a code, as ONNX Runtime has it.
fn fixed_range(program: &Program, tensor: usize) -> Option<(f32, f32)> {
    let softmax = |s: &&LowStep| s.output == tensor && matches!(s.kind, Kind::Softmax);
    program.steps.iter().find(softmax).map(|_| (0.0, 255.0 / 256.0))
}

/// Scale and zero point of a range that holds zero.
fn affine((min, max): (f32, f32)) -> (f32, u8) {
    // A tensor that is zero throughout has any scale; so small a one that products of scales
    // vanish has none.
    let scale = (max - min) / 255.0;
    if scale < 1e-12 {
        return (1.0, 0);
    }
    let zero_point = (-min / scale).round_ties_even().clamp(0.0, 255.0);
    (scale, zero_point as u8)
}

fn root(group: &[usize], mut i: usize) -> usize {
    while group[i] != i {
        i = group[i];
    }
    i
}

fn unite(group: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(group, a), root(group, b));
    group[a.max(b)] = a.min(b);
}

fn codes(element: Element) -> (f32, u8) {
    match element {
        Element::U8 { scale, zero_point } => (scale, zero_point),
        // Only float layers touch such tensors, and they ask for no codes.
        Element::F32 => (1.0, 0),
    }
}

/// The codes that a fused activation lets through.
fn code_bounds(bounds: Bounds, output: Element) -> (u8, u8) {
    let (scale, zero_point) = codes(output);
    let code = |x: f32| quantize_value(x, scale, zero_point);
    (code(bounds.min), code(bounds.max))
}

// ---- weights ------------------------------------------------------------------------------------

/// Largest bias: leaves the products the other half of i32.
const MAX_BIAS: f64 = (1u32 << 30) as f64;

/// Weights and biases as integers; `None` where an accumulator could pass i32.
///
/// What rounding the weights adds to a channel's mean, over the inputs that were seen, is taken off
/// its bias (Nagel et al., ICCV 2019, section 4.2, with measured means).
fn int8_weights(
    geometry: &ConvGeometry,
    weights: &Weights,
    sx: f32,
    zx: u8,
    seen: Option<&ChannelStatistics>,
) -> Option<StepData> {
    let depth = geometry.depth();
    let rows = ohwi(geometry, weights);
    let means = seen.map(|seen| tap_means(geometry, seen));
    let biases = biases(weights);
    let mut scales = Vec::with_capacity(biases.len());
    let mut bias = Vec::with_capacity(biases.len());
    let mut codes = Vec::with_capacity(rows.len());
    for (channel, (row, &b)) in rows.chunks_exact(depth).zip(biases).enumerate() {
        let scale = weight_scale(row, b, sx);
        let first = codes.len();
        codes.extend(row.iter().map(|w| (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
        let means = means.iter().flat_map(|m| &m[channel / geometry.group_outputs() * depth..]);
        let error = |(w, q): (&f32, &i8)| f64::from(*q) * f64::from(scale) - f64::from(*w);
        let errors = row.iter().zip(&codes[first..]).map(error);
        let shift: f64 = errors.zip(means).map(|(error, mean)| error * mean).sum();
        let b = ((f64::from(b) - shift) / (f64::from(sx) * f64::from(scale))).round_ties_even();
        let b = b.clamp(-MAX_BIAS, MAX_BIAS) as i32;
        if !accumulator_fits(zx, b, &codes[first..]) {
            return None;
        }
        scales.push(scale);
        bias.push(b);
    }
    Some(StepData::Int8 { scales, bias, weights: codes })
}

/// The mean of what each weight of a group's rows is multiplied by, group after group: its input
/// channel's, times the share of the outputs whose tap lies inside the image.
fn tap_means(geometry: &ConvGeometry, seen: &ChannelStatistics) -> Vec<f64> {
    let ConvGeometry { input, output, window, groups } = geometry;
    let share = |tap: usize| {
        let tap = [tap / window.kernel[1], tap % window.kernel[1]];
        let inside = |&i: &usize| window.tap(*input, [i / output.w, i % output.w], tap).is_some();
        (0..output.pixels()).filter(inside).count() as f64 / output.pixels() as f64
    };
    let shares: Vec<f64> = (0..window.taps()).map(share).collect();
    let mut means = Vec::with_capacity(groups * geometry.depth());
    for group in 0..*groups {
        let first = group * geometry.group_inputs();
        for share in &shares {
            // A flattened image repeats its channels from pixel to pixel.
            let channel = |i: usize| (first + i) % seen.min.len();
            means.extend((0..geometry.group_inputs()).map(|i| share * seen.mean(channel(i))));
        }
    }
    means
}

/// absmax / 127; more where the bias would not fit, or where there is no weight to tell.
fn weight_scale(row: &[f32], bias: f32, sx: f32) -> f32 {
    let absmax = row.iter().fold(0f32, |m, w| m.max(w.abs()));
    let for_bias = f64::from(bias.abs()) / (f64::from(sx) * MAX_BIAS);
    let scale = (absmax / 127.0).max(for_bias as f32);
    match scale {
        // The product with sx stays a normal number.
        s if s >= 1e-20 => s,
        _ => 1e-6,
    }
}

fn float_weights(
    name: &str,
    geometry: &ConvGeometry,
    weights: &Weights,
) -> Result<StepData, Error> {
    let narrow: Vec<f16> = ohwi(geometry, weights).into_iter().map(f16::from_f32).collect();
    if narrow.iter().any(|w| !w.is_finite()) {
        return Err(Error::FloatWeights(name.into()));
    }
    Ok(StepData::Float { bias: biases(weights).to_vec(), weights: narrow })
}

fn biases(weights: &Weights) -> &[f32] {
    match weights {
        Weights::Conv(conv) => &conv.bias,
        Weights::Linear(linear, _) => &linear.bias,
    }
}

/// The weights in the order of memory: output channel, row, column, input channel.
fn ohwi(geometry: &ConvGeometry, weights: &Weights) -> Vec<f32> {
    let mut ordered = Vec::with_capacity(geometry.weights());
    let (source, [outputs, inputs, rows, columns]) = match weights {
        Weights::Conv(conv) => (&conv.weights, conv.dims),
        Weights::Linear(linear, Some(image)) => {
            (&linear.weights, [linear.outputs, image.c, image.h, image.w])
        }
        Weights::Linear(linear, None) => return linear.weights.clone(),
    };
    for o in 0..outputs {
        for y in 0..rows {
            for x in 0..columns {
                for i in 0..inputs {
                    ordered.push(source[((o * inputs + i) * rows + y) * columns + x]);
                }
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::Statistic;
    use crate::network::{Conv, Sliding};
    use seam_kernels::Window;

    #[test]
    fn rounded_weights_leave_the_mean_of_every_channel_where_it_was() {
        let window = Window { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pad: [1, 0] };
        let geometry = ConvGeometry {
            input: Shape { h: 5, w: 7, c: 4 },
            output: Shape { h: 3, w: 3, c: 2 },
            window,
            groups: 2,
        };
        let weights: Vec<f32> = (0..36).map(|i| ((i * 29 % 37) as f32 - 18.0) / 17.0).collect();
        let sliding =
            Sliding { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pads: [1, 0, 1, 0] };
        let bias = vec![0.5, -0.25];
        let conv = Conv { dims: [2, 2, 3, 3], groups: 2, window: sliding, weights, bias };
        let channels = [0.3f32, 2.0, 1.1, 0.7];
        let mut seen = ChannelStatistics::new(4);
        let planes: Vec<f32> = channels.iter().flat_map(|&x| [x; 35]).collect();
        seen.see(&planes);
        // The sum over all outputs on an image whose channels are constant.
        let total = |channel: usize, weight: &dyn Fn(usize, usize, usize) -> f64, bias: f64| {
            let mut total = 9.0 * bias;
            for (o, y, x) in (0..81).map(|i| (i / 9, i / 3 % 3, i % 3)) {
                if window.tap(geometry.input, [o / 3, o % 3], [y, x]).is_some() {
                    for i in 0..2 {
                        total += weight(i, y, x) * f64::from(channels[2 * channel + i]);
                    }
                }
            }
            total
        };
        let weights = Weights::Conv(std::sync::Arc::new(conv.clone()));
        let sx = 0.01;
        let Some(StepData::Int8 { scales, bias, weights: codes }) =
            int8_weights(&geometry, &weights, sx, 0, Some(&seen))
        else {
            panic!("the sums are small");
        };
        for o in 0..2 {
            let of = |i: usize, y: usize, x: usize| ((o * 2 + i) * 3 + y) * 3 + x;
            let fp32 = total(o, &|i, y, x| conv.weights[of(i, y, x)].into(), conv.bias[o].into());
            let scale = f64::from(scales[o]);
            let code = |i: usize, y: usize, x: usize| codes[((o * 3 + y) * 3 + x) * 2 + i];
            let int8 = |bias: f64| total(o, &|i, y, x| scale * f64::from(code(i, y, x)), bias);
            let step = f64::from(sx) * scale;
            let corrected = (int8(f64::from(bias[o]) * step) - fp32).abs();
            assert!(corrected <= 9.0 * step, "{corrected}");
            assert!(
                corrected < (int8(conv.bias[o].into()) - fp32).abs() / 4.0,
                "no correction seen"
            );
        }
    }
}
