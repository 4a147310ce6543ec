//! What a graph must satisfy before anything is computed from it: everything a session, the memory
//! plan and the kernels take for granted. The writer checks the same as the reader.

use std::collections::HashSet;

use seam_kernels::{ConvGeometry, PoolGeometry, Shape, Window};

use crate::error::{Error, Result};
use crate::format::bytes::Record;
use crate::format::layout::array_bytes;
use crate::graph::{Element, Graph, INPUT, OUTPUT, Op, Step, StepWeights, TensorId};

/// Most steps and most tensors of a graph.
pub const MAX_RECORDS: usize = 8192;
/// Most rows, columns or channels of a tensor, and largest number in a window.
pub const MAX_EXTENT: usize = 65_535;
/// Most bytes of one tensor.
pub const MAX_TENSOR_BYTES: usize = 1 << 28;
/// Most bytes of all weights.
pub const MAX_WEIGHT_BYTES: usize = 1 << 34;
/// Scales lie within 2^±40, so that no ratio of them leaves f32.
pub const MAX_SCALE: f32 = (1u64 << 40) as f32;
/// See [`MAX_SCALE`].
pub const MIN_SCALE: f32 = 1.0 / MAX_SCALE;
/// Most channels in a sum of LRN.
const MAX_LRN: u32 = seam_kernels::lrn::MAX_SIZE as u32;
/// Most padding on a side of a convolution, beyond its window.
const MAX_PAD: usize = 4096;

/// Checks `graph`.
///
/// # Errors
/// [`Error::Field`], naming the record and the field.
pub fn graph(graph: &Graph) -> Result<()> {
    let header = Record::Named("header");
    for (field, count) in [("tensors", graph.tensors.len()), ("steps", graph.steps.len())] {
        check(count <= MAX_RECORDS, header, field, || format!("{count}, at most {MAX_RECORDS}"))?;
    }
    name(&graph.name, header, "name")?;
    for (i, tensor) in graph.tensors.iter().enumerate() {
        let record = Record::Nth("tensor", i);
        name(&tensor.name, record, "name")?;
        shape(tensor.shape, record)?;
        let bytes = tensor.bytes();
        check(bytes <= MAX_TENSOR_BYTES, record, "shape", || {
            format!("{} is {bytes} bytes, at most {MAX_TENSOR_BYTES}", tensor.shape)
        })?;
        if let Element::U8 { scale, .. } = tensor.element {
            check((MIN_SCALE..=MAX_SCALE).contains(&scale), record, "scale", || {
                format!("{scale} is not between {MIN_SCALE:e} and {MAX_SCALE:e}")
            })?;
        }
    }
    graph
        .layers
        .iter()
        .enumerate()
        .try_for_each(|(i, s)| name(s, Record::Nth("layer", i), "name"))?;
    preprocess(graph)?;
    steps(graph)?;
    candidates(graph)?;
    if let Some(stop) = &graph.stop {
        let record = Record::Named("stop");
        name(&stop.node, record, "node")?;
        name(&stop.operator, record, "operator")?;
        name(&stop.reason, record, "reason")?;
    }
    let last = graph.steps.last().map(|s| s.output);
    check(graph.output.is_none() || graph.output == last, header, "output", || {
        "not what the last step writes".into()
    })?;
    check(graph.output.is_some() != graph.stop.is_some(), header, "output", || {
        "a network has either an output or an operator that the edge cannot run".into()
    })
}

/// Checks what opening a file does not look at: scales and weights of `step`, and that no sum can
/// pass the accumulator when the input's zero point is `input_zero_point`.
///
/// # Errors
/// [`Error::Weights`] or [`Error::Accumulator`].
pub fn weights(step: &Step, input_zero_point: u8, weights: StepWeights<'_>) -> Result<()> {
    let refuse =
        |field, index, cause| Err(Error::Weights { step: step.name.clone(), field, index, cause });
    match weights {
        StepWeights::None => Ok(()),
        StepWeights::Int8 { scales, bias, weights } => {
            if let Some(i) = scales.iter().position(|&s| !(s > 0.0 && s <= MAX_SCALE)) {
                return refuse("scales", i, "not positive and finite");
            }
            if let Some(i) = weights.iter().position(|&w| w == i8::MIN) {
                return refuse("weights", i, "-128 is no weight");
            }
            let depth = weights.len() / bias.len().max(1);
            match bias
                .iter()
                .zip(weights.chunks_exact(depth.max(1)))
                .position(|(&bias, w)| !accumulator_fits(input_zero_point, bias, w))
            {
                Some(channel) => Err(Error::Accumulator { step: step.name.clone(), channel }),
                None => Ok(()),
            }
        }
        StepWeights::Float { bias, weights } => {
            if let Some(i) = bias.iter().position(|b| !b.is_finite()) {
                return refuse("bias", i, "not finite");
            }
            match weights.iter().position(|w| !w.is_finite()) {
                Some(i) => refuse("weights", i, "not finite"),
                None => Ok(()),
            }
        }
    }
}

/// Whether `sum (x - zero_point) * w + bias` stays within i32 for every x in 0..=255, with any of
/// the taps on padding (where the product is zero), in any order of summation, and with the zero
/// point folded into the bias (`sum x * w + (bias - zero_point * sum w)`) as well.
pub fn accumulator_fits(zero_point: u8, bias: i32, weights: &[i8]) -> bool {
    let (mut positive, mut negative) = (0i64, 0i64);
    for &w in weights {
        match w > 0 {
            true => positive += i64::from(w),
            false => negative -= i64::from(w),
        }
    }
    let (bias, zero) = (i64::from(bias), i64::from(zero_point));
    // Direct: x - zero spans [-zero, 255 - zero]; folded: x spans [0, 255] on top of another bias.
    let direct =
        (-(zero * positive + (255 - zero) * negative), (255 - zero) * positive + zero * negative);
    let folded_bias = bias - zero * (positive - negative);
    [(bias, direct.0, direct.1), (folded_bias, -255 * negative, 255 * positive)].iter().all(
        |&(bias, low, high)| {
            [bias, bias + low, bias + high, low, high].iter().all(|&v| i32::try_from(v).is_ok())
        },
    )
}

fn check(
    holds: bool,
    record: Record,
    field: &'static str,
    cause: impl FnOnce() -> String,
) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::field(record, field, cause())) }
}

fn name(text: &str, record: Record, field: &'static str) -> Result<()> {
    check(text.len() <= MAX_EXTENT, record, field, || {
        format!("{} bytes, at most {MAX_EXTENT}", text.len())
    })
}

fn shape(shape: Shape, record: Record) -> Result<()> {
    let within = [shape.h, shape.w, shape.c].iter().all(|n| (1..=MAX_EXTENT).contains(n));
    check(within, record, "shape", || format!("{shape}: every extent is 1 to {MAX_EXTENT}"))?;
    let elements = shape.h as u64 * shape.w as u64 * shape.c as u64;
    check(elements <= MAX_TENSOR_BYTES as u64, record, "shape", || {
        format!("{shape} has {elements} elements, at most {MAX_TENSOR_BYTES}")
    })
}

fn preprocess(graph: &Graph) -> Result<()> {
    let record = Record::Named("preprocess");
    let cause = |e: Error| match e {
        Error::Preprocess(cause) => cause,
        other => other.to_string(),
    };
    graph.preprocess.validate().map_err(|e| Error::field(record, "rules", cause(e)))?;
    let Some(input) = graph.tensors.get(graph.input.0 as usize) else {
        return Err(Error::field("header", "input", format!("no tensor {}", graph.input.0)));
    };
    check(matches!(input.element, Element::U8 { .. }), Record::Named("header"), "input", || {
        "the input tensor must hold u8".into()
    })?;
    let channels = graph.preprocess.channels.count();
    check(channels == input.shape.c, record, "channels", || {
        format!("{channels}, but the input tensor has {}", input.shape.c)
    })?;
    match graph.preprocess.fixed_size() {
        Some([h, w]) => check(
            [h as usize, w as usize] == [input.shape.h, input.shape.w],
            record,
            "size",
            || format!("{h}x{w}, but the network takes {}x{}", input.shape.h, input.shape.w),
        ),
        None => Ok(()),
    }
}

fn steps(graph: &Graph) -> Result<()> {
    let mut names = HashSet::new();
    let mut written = vec![false; graph.tensors.len()];
    // `preprocess` has seen that the input exists.
    written[graph.input.0 as usize] = true;
    let mut weight_bytes = 0usize;
    for (i, step) in graph.steps.iter().enumerate() {
        let record = Record::Nth("step", i);
        name(&step.name, record, "name")?;
        check(names.insert(step.name.as_str()), record, "name", || {
            format!("`{}` stands twice", step.name)
        })?;
        check((step.layer as usize) < graph.layers.len(), record, "layer", || {
            format!("{} of {}", step.layer, graph.layers.len())
        })?;
        for id in &step.inputs {
            let known = written.get(id.0 as usize).copied();
            check(known == Some(true), record, "inputs", || match known {
                None => format!("no tensor {}", id.0),
                Some(_) => format!("tensor {} is read before it is written", id.0),
            })?;
        }
        match written.get_mut(step.output.0 as usize) {
            None => {
                return Err(Error::field(record, "output", format!("no tensor {}", step.output.0)));
            }
            Some(true) => {
                let cause = format!("tensor {} is written twice", step.output.0);
                return Err(Error::field(record, "output", cause));
            }
            Some(written) => *written = true,
        }
        operator(graph, step, record)?;
        for bytes in array_bytes(step) {
            weight_bytes = weight_bytes.saturating_add(bytes);
        }
        check(weight_bytes <= MAX_WEIGHT_BYTES, record, "weights", || {
            format!("all weights up to here are {weight_bytes} bytes, at most {MAX_WEIGHT_BYTES}")
        })?;
    }
    match written.iter().position(|w| !w) {
        Some(i) => Err(Error::field(Record::Nth("tensor", i), "use", "no step writes it")),
        None => Ok(()),
    }
}

fn operator(graph: &Graph, step: &Step, record: Record) -> Result<()> {
    let inputs = match step.op {
        Op::Add { .. } => 2..=2,
        Op::Concat => 1..=1024,
        _ => 1..=1,
    };
    check(inputs.contains(&step.inputs.len()), record, "inputs", || {
        format!("{}, the operator takes {inputs:?}", step.inputs.len())
    })?;
    let tensor = |id: TensorId| graph.tensor(id);
    let (x, y) = (tensor(step.inputs[0]), tensor(step.output));
    let u8_only = !matches!(step.op, Op::FloatConv { .. } | Op::Reshape);
    let all_u8 = step
        .inputs
        .iter()
        .chain([&step.output])
        .all(|&id| matches!(tensor(id).element, Element::U8 { .. }));
    check(!u8_only || all_u8, record, "element", || "the operator works on u8 only".into())?;
    let range =
        |lo: u8, hi: u8| check(lo <= hi, record, "lo", || format!("{lo} is above hi, {hi}"));
    let same_scale = || {
        check(x.element == y.element, record, "scale", || {
            "input and output must have one scale and zero point".into()
        })
    };
    let expect = |expected: Shape| {
        check(y.shape == expected, record, "output shape", || {
            format!("tensor {} is {}, the operator makes {expected}", step.output.0, y.shape)
        })
    };
    match &step.op {
        Op::Conv { geometry, lo, hi } => {
            conv(geometry, [x.shape, y.shape], record)?;
            range(*lo, *hi)
        }
        Op::FloatConv { geometry, min, max } => {
            conv(geometry, [x.shape, y.shape], record)?;
            check(min <= max, record, "min", || format!("{min} is not below max, {max}"))
        }
        Op::MaxPool(geometry) => {
            pool(geometry, [x.shape, y.shape], record)?;
            same_scale()
        }
        Op::AveragePool { geometry, .. } => pool(geometry, [x.shape, y.shape], record),
        Op::GlobalAveragePool => expect(Shape::new(1, 1, x.shape.c)),
        Op::Add { lo, hi } => {
            let b = tensor(step.inputs[1]).shape;
            check(b == x.shape, record, "inputs", || format!("{} and {b} differ", x.shape))?;
            expect(x.shape)?;
            range(*lo, *hi)
        }
        Op::Concat => {
            let shapes = step.inputs.iter().map(|&id| tensor(id).shape);
            let channels = shapes.clone().map(|s| s.c).sum();
            check(
                shapes.clone().all(|s| (s.h, s.w) == (x.shape.h, x.shape.w)),
                record,
                "inputs",
                || "they differ in height or width".into(),
            )?;
            expect(Shape { c: channels, ..x.shape })
        }
        Op::Lrn(lrn) => {
            check((1..=MAX_LRN).contains(&lrn.size), record, "size", || {
                format!("{} channels in a sum", lrn.size)
            })?;
            let finite = [lrn.alpha, lrn.beta, lrn.bias].iter().all(|v| v.is_finite());
            check(finite && lrn.alpha >= 0.0 && lrn.bias > 0.0, record, "alpha", || {
                "alpha, beta and bias must be finite, alpha not negative, bias positive".into()
            })?;
            expect(x.shape)
        }
        Op::Softmax | Op::Table(_) => expect(x.shape),
        Op::Slice(slice) => {
            let last = |axis: usize, out: usize| {
                slice.start[axis] as u64 + (out as u64 - 1) * u64::from(slice.step[axis])
            };
            let axes = [(x.shape.h, y.shape.h), (x.shape.w, y.shape.w), (x.shape.c, y.shape.c)];
            for (axis, (input, out)) in axes.into_iter().enumerate() {
                check(slice.step[axis] >= 1, record, "step", || "0 steps nowhere".into())?;
                check(last(axis, out) < input as u64, record, "start", || {
                    format!("axis {axis}: element {} of {input}", last(axis, out))
                })?;
            }
            same_scale()
        }
        Op::Pad(pad) => {
            let sum = |axis: usize, extent: usize| {
                (pad.before[axis] as usize)
                    .saturating_add(extent)
                    .saturating_add(pad.after[axis] as usize)
            };
            expect(Shape::new(sum(0, x.shape.h), sum(1, x.shape.w), sum(2, x.shape.c)))?;
            same_scale()
        }
        Op::Reshape => {
            let lens = (x.shape.len(), y.shape.len());
            check(lens.0 == lens.1, record, "output shape", || {
                format!("{} elements become {}", lens.0, lens.1)
            })?;
            same_scale()
        }
    }
}

fn window(window: &Window, record: Record) -> Result<()> {
    let fields = [
        ("kernel", window.kernel, 1),
        ("stride", window.stride, 1),
        ("dilation", window.dilation, 1),
        ("pad", window.pad, 0),
    ];
    for (field, values, least) in fields {
        let within = values.iter().all(|n| (least..=MAX_EXTENT).contains(n));
        check(within, record, field, || format!("{values:?}: {least} to {MAX_EXTENT}"))?;
    }
    Ok(())
}

/// The shapes that a window operator names must be those of its tensors.
fn window_shapes(named: [Shape; 2], tensors: [Shape; 2], record: Record) -> Result<()> {
    for (i, field) in ["input shape", "output shape"].into_iter().enumerate() {
        check(named[i] == tensors[i], record, field, || {
            format!("{}, but the tensor is {}", named[i], tensors[i])
        })?;
    }
    Ok(())
}

fn conv(g: &ConvGeometry, tensors: [Shape; 2], record: Record) -> Result<()> {
    window(&g.window, record)?;
    window_shapes([g.input, g.output], tensors, record)?;
    let divides =
        g.groups >= 1 && g.input.c.is_multiple_of(g.groups) && g.output.c.is_multiple_of(g.groups);
    check(divides, record, "groups", || {
        format!("{} groups of {} input and {} output channels", g.groups, g.input.c, g.output.c)
    })?;
    // Extents are below 2^16 each, so the product of four is below 2^64.
    let weights = [g.output.c, g.window.kernel[0], g.window.kernel[1], g.group_inputs()]
        .iter()
        .map(|&n| n as u64)
        .product::<u64>();
    check(weights <= 1 << 31, record, "kernel", || format!("{weights} weights, at most 2^31"))?;
    for (axis, (input, output)) in extents(g.input, g.output).into_iter().enumerate() {
        let Window { kernel, stride, dilation, pad } = g.window;
        let reach = (kernel[axis] - 1) * dilation[axis] + 1;
        let used = (output - 1) * stride[axis] + reach;
        let there = input + pad[axis];
        check(pad[axis] <= reach + MAX_PAD, record, "pad", || format!("{} before", pad[axis]))?;
        check(used <= there + reach + MAX_PAD, record, "output shape", || {
            format!("axis {axis}: {output} positions reach {used} elements of {there}")
        })?;
        let least = (there.saturating_sub(reach)) / stride[axis] + usize::from(there >= reach);
        check(output >= least, record, "output shape", || {
            format!("axis {axis}: {output} positions, but the window has at least {least}")
        })?;
    }
    Ok(())
}

fn pool(g: &PoolGeometry, tensors: [Shape; 2], record: Record) -> Result<()> {
    window(&g.window, record)?;
    window_shapes([g.input, g.output], tensors, record)?;
    check(g.input.c == g.output.c, record, "output shape", || {
        format!("{} channels become {}", g.input.c, g.output.c)
    })?;
    for (axis, (input, output)) in extents(g.input, g.output).into_iter().enumerate() {
        let Window { kernel, stride, dilation, pad } = g.window;
        // The first tap that is not above the image must exist and lie in it.
        let touches = |o: usize| {
            let start = o * stride[axis];
            let first = pad[axis].saturating_sub(start).div_ceil(dilation[axis]);
            first < kernel[axis] && start + first * dilation[axis] - pad[axis] < input
        };
        if let Some(o) = (0..output).find(|&o| !touches(o)) {
            let cause = format!("axis {axis}: position {o} lies on padding only");
            return Err(Error::field(record, "output shape", cause));
        }
    }
    Ok(())
}

fn extents(input: Shape, output: Shape) -> [(usize, usize); 2] {
    [(input.h, output.h), (input.w, output.w)]
}

fn candidates(graph: &Graph) -> Result<()> {
    let mut names = HashSet::from([INPUT, OUTPUT]);
    let mut written_by = vec![0; graph.tensors.len()];
    let mut last_read = vec![0; graph.tensors.len()];
    for (i, step) in graph.steps.iter().enumerate() {
        written_by[step.output.0 as usize] = i + 1;
        step.inputs.iter().for_each(|id| last_read[id.0 as usize] = i + 1);
    }
    let mut before = 1;
    for (i, candidate) in graph.candidates.iter().enumerate() {
        let record = Record::Nth("candidate", i);
        name(&candidate.name, record, "name")?;
        check(names.insert(&candidate.name), record, "name", || {
            format!("`{}` is taken", candidate.name)
        })?;
        let steps = candidate.steps as usize;
        check((before..=graph.steps.len()).contains(&steps), record, "steps", || {
            format!("{steps}: {before} to {}", graph.steps.len())
        })?;
        before = steps;
        let boundary = candidate.boundary.0 as usize;
        let written = written_by.get(boundary).copied();
        check(written.is_some_and(|w| (1..=steps).contains(&w)), record, "boundary", || {
            format!("tensor {boundary} is not written by the steps before")
        })?;
        let other = (0..graph.tensors.len())
            .find(|&t| t != boundary && written_by[t] <= steps && last_read[t] > steps);
        if let Some(t) = other {
            let cause = format!("tensor {t} crosses too");
            return Err(Error::field(record, "boundary", cause));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accumulator_is_bounded_by_its_worst_case() {
        // 255 * 127 * n is the most that n weights of one sign can make.
        let most = (i32::MAX / (255 * 127)) as usize;
        assert!(accumulator_fits(0, 0, &vec![127; most]));
        assert!(!accumulator_fits(0, 0, &vec![127; most + 1]));
        assert!(accumulator_fits(255, 0, &vec![-127; most]));
        assert!(!accumulator_fits(255, 0, &vec![-127; most + 1]));
        assert!(accumulator_fits(128, i32::MAX - 127 * 127, &[127]));
        assert!(!accumulator_fits(128, i32::MAX - 127 * 127 + 1, &[127]));
        assert!(accumulator_fits(128, i32::MAX, &[]));
    }
}
