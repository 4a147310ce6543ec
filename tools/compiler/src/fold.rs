//! Folding: the same function with fewer operators.
//!
//! | what | into what | where it is exact |
//! |---|---|---|
//! | per-channel `x * scale + shift` (BatchNormalization, Mul, Add, …) | the layer in front | always |
//! | the same | the layer behind | no padding, or `shift` is zero |
//! | Pad with zeros | convolution behind | always |
//! | Pad with zeros | average pool behind | the pool had no padding of its own; then padding counts |
//! | Clip of Clip | one Clip | always |
//!
//! A value that a second node reads stays.

use std::collections::HashMap;
use std::sync::Arc;

use crate::network::{Conv, Linear, Network, Node, Op};
use crate::onnx::import::remove_dead;

/// Folds until nothing changes.
pub(crate) fn fold(network: &mut Network) {
    while pass(network) {}
    isolate_affines(network);
    remove_dead(network);
}

/// Folds each node into the one in front of it where a rule says so; whether anything changed.
fn pass(network: &mut Network) -> bool {
    let mut changed = false;
    let mut i = 0;
    while i < network.nodes.len() {
        let Some((front, node)) = fold_into_front(network, i) else {
            i += 1;
            continue;
        };
        // The merged node stands where the second stood: all that either reads is there. It may
        // fold further, so it is looked at again.
        network.nodes[i] = node;
        network.nodes.remove(front);
        i -= 1;
        changed = true;
    }
    changed
}

/// The index of the node in front of node `i`, and what replaces the two.
fn fold_into_front(network: &Network, i: usize) -> Option<(usize, Node)> {
    let behind = &network.nodes[i];
    if behind.inputs.len() != 1 || behind.outputs.len() != 1 {
        return None;
    }
    let index = network.nodes[..i].iter().rposition(|n| n.output() == behind.inputs[0])?;
    let front = &network.nodes[index];
    if !sole_reader(network, front.output()) {
        return None;
    }
    let (op, keep) = merged(network, front, behind)?;
    let name = match keep {
        Keep::Front => front.name.clone(),
        Keep::Behind => behind.name.clone(),
    };
    Some((index, Node { name, op, inputs: front.inputs.clone(), outputs: behind.outputs.clone() }))
}

/// Whose name the merged node bears.
enum Keep {
    Front,
    Behind,
}

fn sole_reader(network: &Network, value: &str) -> bool {
    let reads = |n: &Node| n.inputs.iter().filter(|i| *i == value).count();
    value != network.output && network.nodes.iter().map(reads).sum::<usize>() == 1
}

/// One operator for two in a row.
fn merged(network: &Network, front: &Node, behind: &Node) -> Option<(Op, Keep)> {
    match (&front.op, &behind.op) {
        (Op::Conv(conv), Op::Affine { scale, shift }) => {
            Some((Op::Conv(Arc::new(conv_then_affine(conv, scale, shift))), Keep::Front))
        }
        (Op::Linear(linear), Op::Affine { scale, shift }) => {
            Some((Op::Linear(Arc::new(linear_then_affine(linear, scale, shift))), Keep::Front))
        }
        (Op::Affine { scale: a, shift: b }, Op::Affine { scale: c, shift: d }) => {
            let n = a.len().max(c.len());
            let at = |v: &[f32], i: usize| v[i % v.len()];
            let scale = (0..n).map(|i| at(a, i) * at(c, i)).collect();
            let shift = (0..n).map(|i| at(b, i) * at(c, i) + at(d, i)).collect();
            Some((Op::Affine { scale, shift }, Keep::Front))
        }
        (Op::Affine { scale, shift }, Op::Conv(conv)) => {
            let padded = conv.window.pads != [0; 4] && shift.iter().any(|s| *s != 0.0);
            (!padded)
                .then(|| (Op::Conv(Arc::new(affine_then_conv(scale, shift, conv))), Keep::Behind))
        }
        (Op::Affine { scale, shift }, Op::Linear(linear)) => {
            Some((Op::Linear(Arc::new(affine_then_linear(scale, shift, linear))), Keep::Behind))
        }
        (Op::Pad { before, after }, Op::Conv(conv)) if before[0] == 0 && after[0] == 0 => {
            let mut conv = Conv::clone(conv);
            widen(&mut conv.window.pads, before, after);
            Some((Op::Conv(Arc::new(conv)), Keep::Behind))
        }
        (Op::Pad { before, after }, Op::AveragePool { pool, .. })
            if before[0] == 0 && after[0] == 0 && pool.window.pads == [0; 4] && !pool.ceil_mode =>
        {
            let mut pool = *pool;
            widen(&mut pool.window.pads, before, after);
            let reach = |i: usize| (pool.window.kernel[i] - 1) * pool.window.dilation[i] + 1;
            let [top, left, bottom, right] = pool.window.pads;
            (top.max(bottom) < reach(0) && left.max(right) < reach(1))
                .then_some((Op::AveragePool { pool, count_include_pad: true }, Keep::Behind))
        }
        (&Op::Clamp { min: a, max: b }, &Op::Clamp { min: c, max: d }) => {
            // The second has the last word where the two do not meet.
            Some((Op::Clamp { min: a.clamp(c, d), max: b.clamp(c, d) }, Keep::Front))
        }
        (Op::Reshape, Op::Reshape) => Some((Op::Reshape, Keep::Front)),
        _ => None,
    }
    .filter(|_| network.dims(&front.inputs[0]).is_some())
}

fn widen(pads: &mut [usize; 4], before: &[usize; 3], after: &[usize; 3]) {
    for (pad, more) in pads.iter_mut().zip([before[1], before[2], after[1], after[2]]) {
        *pad += more;
    }
}

fn conv_then_affine(conv: &Conv, scale: &[f32], shift: &[f32]) -> Conv {
    let mut folded = conv.clone();
    let depth = conv.weights.len() / conv.dims[0];
    scale_rows(&mut folded.weights, &mut folded.bias, depth, scale, shift);
    folded
}

fn linear_then_affine(linear: &Linear, scale: &[f32], shift: &[f32]) -> Linear {
    let mut folded = linear.clone();
    scale_rows(&mut folded.weights, &mut folded.bias, linear.inputs, scale, shift);
    folded
}

fn scale_rows(weights: &mut [f32], bias: &mut [f32], depth: usize, scale: &[f32], shift: &[f32]) {
    for (o, (row, bias)) in weights.chunks_exact_mut(depth).zip(bias).enumerate() {
        let (scale, shift) = (scale[o % scale.len()], shift[o % shift.len()]);
        row.iter_mut().for_each(|w| *w *= scale);
        *bias = (f64::from(*bias) * f64::from(scale) + f64::from(shift)) as f32;
    }
}

fn affine_then_conv(scale: &[f32], shift: &[f32], conv: &Conv) -> Conv {
    let mut folded = conv.clone();
    let [outputs, group_inputs, kh, kw] = conv.dims;
    let group_outputs = outputs / conv.groups;
    for o in 0..outputs {
        let first = o / group_outputs * group_inputs;
        let mut sum = f64::from(conv.bias[o]);
        for i in 0..group_inputs {
            let (s, t) = (scale[(first + i) % scale.len()], shift[(first + i) % shift.len()]);
            let taps = (o * group_inputs + i) * kh * kw;
            for w in &mut folded.weights[taps..taps + kh * kw] {
                sum += f64::from(*w) * f64::from(t);
                *w *= s;
            }
        }
        folded.bias[o] = sum as f32;
    }
    folded
}

fn affine_then_linear(scale: &[f32], shift: &[f32], linear: &Linear) -> Linear {
    let mut folded = linear.clone();
    for (row, bias) in folded.weights.chunks_exact_mut(linear.inputs).zip(&mut folded.bias) {
        let mut sum = f64::from(*bias);
        for (i, w) in row.iter_mut().enumerate() {
            sum += f64::from(*w) * f64::from(shift[i % shift.len()]);
            *w *= scale[i % scale.len()];
        }
        *bias = sum as f32;
    }
    folded
}

/// What no neighbour could take becomes a 1×1 convolution of each channel by itself, which the edge
/// has a kernel for; one pair for all channels stays, as a table.
fn isolate_affines(network: &mut Network) {
    let shapes: &HashMap<String, Vec<usize>> = &network.shapes;
    for node in &mut network.nodes {
        let Op::Affine { scale, shift } = &node.op else { continue };
        let Some(&[1, c, _, _]) = shapes.get(&node.inputs[0]).map(Vec::as_slice) else { continue };
        if scale.len() != c || c == 1 {
            continue;
        }
        let window = crate::network::Sliding {
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
        };
        let dims = [c, 1, 1, 1];
        let conv = Conv { window, groups: c, dims, weights: scale.clone(), bias: shift.clone() };
        node.op = Op::Conv(Arc::new(conv));
    }
}
