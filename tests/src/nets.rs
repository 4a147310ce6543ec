//! Small networks with seeded weights, and what the oracle makes of them.

use half::f16;
use seam_kernels::reference;
use seam_kernels::{Clamp, ConvGeometry, PoolGeometry, Shape, View, ViewMut, Window};
use seam_kernels::{requantize, table};
use seam_runtime::graph::{
    Candidate, Element, Graph, Lrn, Op, Pad, Slice, Step, StepData, Tensor, TensorId,
};
use seam_runtime::preprocess::{Channels, Preprocess};

/// Numbers that depend on the seed only (splitmix64).
#[derive(Default)]
pub struct Random(u64);

impl Random {
    /// Begins at `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A number from -1 to 1.
    pub fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Any codes.
    pub fn codes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A network under construction.
pub struct Builder {
    graph: Graph,
    data: Vec<StepData>,
    random: Random,
}

/// Scales and zero points in use: few, so that some tensors share one.
const PALETTE: [(f32, u8); 3] = [(0.05, 128), (0.04, 3), (0.07, 200)];

impl Builder {
    /// A network over `height`×`width` colour images.
    pub fn new(seed: u64, height: usize, width: usize) -> Builder {
        let input = Tensor {
            name: "image".into(),
            shape: Shape::new(height, width, 3),
            element: Element::U8 { scale: 0.02, zero_point: 114 },
        };
        let graph = Graph {
            name: format!("net{seed}"),
            preprocess: Preprocess::new(Channels::Rgb),
            tensors: vec![input],
            layers: Vec::new(),
            steps: Vec::new(),
            input: TensorId(0),
            output: None,
            candidates: Vec::new(),
            stop: None,
        };
        Builder { graph, data: Vec::new(), random: Random::new(seed) }
    }

    /// The input tensor.
    pub fn input(&self) -> TensorId {
        self.graph.input
    }

    fn shape(&self, id: TensorId) -> Shape {
        self.graph.tensor(id).shape
    }

    fn quantization(&self, id: TensorId) -> (f32, u8) {
        self.graph.tensor(id).element.quantization().unwrap_or((1.0, 0))
    }

    fn any_element(&mut self) -> Element {
        let (scale, zero_point) = PALETTE[self.random.below(PALETTE.len())];
        Element::U8 { scale, zero_point }
    }

    fn push(
        &mut self,
        op: Op,
        inputs: &[TensorId],
        shape: Shape,
        element: Element,
        data: StepData,
    ) -> TensorId {
        let id = TensorId(self.graph.tensors.len() as u32);
        let name = format!("{}{}", op.name().to_lowercase(), self.graph.steps.len());
        self.graph.tensors.push(Tensor { name: format!("{name}_out"), shape, element });
        self.graph.layers.push(name.clone());
        let layer = self.graph.steps.len() as u32;
        self.graph.steps.push(Step { name, layer, inputs: inputs.to_vec(), output: id, op });
        self.data.push(data);
        id
    }

    fn geometry(&self, x: TensorId, c: usize, window: Window, groups: usize) -> ConvGeometry {
        let input = self.shape(x);
        let extent = |axis: usize, n: usize| {
            let reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1;
            (n + 2 * window.pad[axis] - reach) / window.stride[axis] + 1
        };
        let output = Shape::new(extent(0, input.h), extent(1, input.w), c);
        ConvGeometry { input, output, window, groups }
    }

    /// A convolution to `c` channels.
    pub fn conv(&mut self, x: TensorId, c: usize, window: Window, groups: usize) -> TensorId {
        let element = self.any_element();
        self.conv_to(x, c, window, groups, element)
    }

    fn conv_to(
        &mut self,
        x: TensorId,
        c: usize,
        window: Window,
        groups: usize,
        element: Element,
    ) -> TensorId {
        let geometry = self.geometry(x, c, window, groups);
        let (sx, zx) = self.quantization(x);
        let (sy, zy) = element.quantization().unwrap_or((1.0, 0));
        let scale = sy / (sx * (geometry.depth() as f32).sqrt() * 90.0);
        let scales: Vec<f32> = (0..c).map(|_| scale * (1.0 + 0.5 * self.random.real())).collect();
        let weights: Vec<i8> =
            (0..geometry.weights()).map(|_| (self.random.real() * 127.0) as i8).collect();
        // Centred: what the zero point adds is taken off again.
        let bias = weights.chunks(geometry.depth()).map(|w| {
            let sum: i32 = w.iter().map(|&w| i32::from(w)).sum();
            (i32::from(zx) - 128) * sum
        });
        let data = StepData::Int8 { scales, bias: bias.collect(), weights };
        let relu = self.random.below(2) == 0;
        let op = Op::Conv { geometry, lo: if relu { zy } else { 0 }, hi: 255 };
        self.push(op, &[x], geometry.output, element, data)
    }

    /// A convolution in f32, to codes or to f32.
    pub fn float_conv(&mut self, x: TensorId, c: usize, window: Window, to_f32: bool) -> TensorId {
        let geometry = self.geometry(x, c, window, 1);
        let element = if to_f32 { Element::F32 } else { self.any_element() };
        let scale = 1.0 / (geometry.depth() as f32).sqrt();
        let data = StepData::Float {
            bias: (0..c).map(|_| self.random.real()).collect(),
            weights: (0..geometry.weights())
                .map(|_| f16::from_f32(scale * self.random.real()))
                .collect(),
        };
        let op = Op::FloatConv { geometry, min: -3.0, max: f32::INFINITY };
        self.push(op, &[x], geometry.output, element, data)
    }

    /// A fully connected layer over all of `x`.
    pub fn fully_connected(&mut self, x: TensorId, outputs: usize) -> TensorId {
        let len = self.shape(x).len();
        let flat = self.reshape(x, Shape::new(1, 1, len));
        self.conv(flat, outputs, Window::POINTWISE, 1)
    }

    /// Pooling: maximum, or average with or without padding in the count.
    pub fn pool(&mut self, x: TensorId, window: Window, average: Option<bool>) -> TensorId {
        let ConvGeometry { input, output, .. } = self.geometry(x, self.shape(x).c, window, 1);
        let geometry = PoolGeometry { input, output, window };
        let element = match average {
            None => self.graph.tensor(x).element,
            Some(_) => self.any_element(),
        };
        let op = match average {
            None => Op::MaxPool(geometry),
            Some(count_include_pad) => Op::AveragePool { geometry, count_include_pad },
        };
        self.push(op, &[x], output, element, StepData::None)
    }

    /// The mean of every channel.
    pub fn global_average_pool(&mut self, x: TensorId) -> TensorId {
        let (shape, element) = (Shape::new(1, 1, self.shape(x).c), self.any_element());
        self.push(Op::GlobalAveragePool, &[x], shape, element, StepData::None)
    }

    /// The sum of two tensors of one shape.
    pub fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let (shape, element) = (self.shape(a), self.any_element());
        self.push(Op::Add { lo: 2, hi: 250 }, &[a, b], shape, element, StepData::None)
    }

    /// Channels side by side, with the quantization of the first input or another.
    pub fn concat(&mut self, inputs: &[TensorId], like_first: bool) -> TensorId {
        let c = inputs.iter().map(|&id| self.shape(id).c).sum();
        let shape = Shape { c, ..self.shape(inputs[0]) };
        let element = match like_first {
            true => self.graph.tensor(inputs[0]).element,
            false => self.any_element(),
        };
        self.push(Op::Concat, inputs, shape, element, StepData::None)
    }

    /// An arbitrary function of every code.
    pub fn table(&mut self, x: TensorId) -> TensorId {
        let (shape, element) = (self.shape(x), self.any_element());
        let codes: [u8; 256] = self.random.codes(256).try_into().expect("256 codes");
        self.push(Op::Table(Box::new(codes)), &[x], shape, element, StepData::None)
    }

    /// Local response normalization.
    pub fn lrn(&mut self, x: TensorId) -> TensorId {
        let (shape, element) = (self.shape(x), self.any_element());
        let op = Op::Lrn(Lrn { size: 5, alpha: 0.3, beta: 0.75, bias: 1.0 });
        self.push(op, &[x], shape, element, StepData::None)
    }

    /// Softmax over channels.
    pub fn softmax(&mut self, x: TensorId) -> TensorId {
        let element = Element::U8 { scale: 1.0 / 256.0, zero_point: 0 };
        self.push(Op::Softmax, &[x], self.shape(x), element, StepData::None)
    }

    /// Every second row and column from the second on, all channels but the first.
    pub fn slice(&mut self, x: TensorId) -> TensorId {
        let (s, element) = (self.shape(x), self.graph.tensor(x).element);
        let shape = Shape::new(s.h / 2, s.w / 2, s.c - 1);
        let op = Op::Slice(Slice { start: [1, 1, 1], step: [2, 2, 1] });
        self.push(op, &[x], shape, element, StepData::None)
    }

    /// Zeros around the image and behind the channels.
    pub fn pad(&mut self, x: TensorId) -> TensorId {
        let (s, element) = (self.shape(x), self.graph.tensor(x).element);
        let op = Op::Pad(Pad { before: [1, 0, 1], after: [0, 2, 2] });
        self.push(op, &[x], Shape::new(s.h + 1, s.w + 2, s.c + 3), element, StepData::None)
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, x: TensorId, shape: Shape) -> TensorId {
        let element = self.graph.tensor(x).element;
        self.push(Op::Reshape, &[x], shape, element, StepData::None)
    }

    /// The network, with every point at which one tensor crosses as a candidate.
    pub fn finish(mut self) -> (Graph, Vec<StepData>) {
        let graph = &mut self.graph;
        graph.output = graph.steps.last().map(|s| s.output);
        for cut in 1..graph.steps.len() {
            let (before, behind) = graph.steps.split_at(cut);
            let mut crossing: Vec<TensorId> = behind
                .iter()
                .flat_map(|s| &s.inputs)
                .copied()
                .filter(|&id| id == graph.input || before.iter().any(|s| s.output == id))
                .collect();
            crossing.sort();
            crossing.dedup();
            if let [boundary] = crossing[..]
                && boundary != graph.input
            {
                let name = format!("after/{}", before[cut - 1].name);
                graph.candidates.push(Candidate { name, steps: cut as u32, boundary });
            }
        }
        (self.graph, self.data)
    }
}

/// A window of `k`×`k`.
pub fn window(k: usize, stride: usize, pad: usize) -> Window {
    Window { kernel: [k, k], stride: [stride, stride], dilation: [1, 1], pad: [pad, pad] }
}

/// A network in which every operator occurs: a residual block, an inception block with nested
/// concats, a depthwise block, float layers, slices and pads.
pub fn every_operator(seed: u64) -> (Graph, Vec<StepData>) {
    let mut b = Builder::new(seed, 24, 20);
    let stem = b.conv(b.input(), 16, window(3, 2, 1), 1);
    let pooled = b.pool(stem, window(3, 1, 1), None);
    // A residual block.
    let main = b.conv(pooled, 16, window(3, 1, 1), 2);
    let sum = b.add(main, pooled);
    let relu = b.table(sum);
    // An inception block; a concat inside a concat, a tensor used twice, one of another scale.
    let one = b.conv(relu, 8, Window::POINTWISE, 1);
    let element = b.graph.tensor(one).element;
    let three = b.conv_to(relu, 12, window(3, 1, 1), 1, element);
    let inner = b.concat(&[one, three], true);
    let five = b.pool(relu, window(5, 1, 2), Some(true));
    let outer = b.concat(&[inner, five, one], true);
    // Depthwise, then what a shortcut of option A does: slice and pad.
    let wide = b.shape(outer).c;
    let dilated = Window { dilation: [2, 1], pad: [2, 1], ..window(3, 1, 1) };
    let depthwise = b.conv(outer, wide, dilated, wide);
    let sliced = b.slice(depthwise);
    let padded = b.pad(sliced);
    let normalized = b.lrn(padded);
    // Two float layers with f32 between them.
    let float = b.float_conv(normalized, 9, window(3, 1, 1), true);
    let s = b.shape(float);
    let turned = b.reshape(float, Shape::new(s.w, s.h, s.c));
    let codes = b.float_conv(turned, 12, Window::POINTWISE, false);
    let averaged = b.pool(codes, window(2, 2, 0), Some(false));
    let mean = b.global_average_pool(averaged);
    let flat = b.fully_connected(averaged, 10);
    let short = b.conv(mean, 10, Window::POINTWISE, 1);
    let logits = b.add(flat, short);
    b.softmax(logits);
    b.finish()
}

/// A random network of `steps` operators, then a small head.
pub fn random(seed: u64, steps: usize) -> (Graph, Vec<StepData>) {
    let mut b = Builder::new(seed, 9, 7);
    let mut tensors = vec![b.conv(b.graph.input, 8, window(3, 1, 1), 1)];
    for _ in 0..steps {
        let recent = tensors.len().min(4);
        let pick = b.random.below(recent);
        let x = tensors[tensors.len() - 1 - pick];
        let shape = b.shape(x);
        let small = shape.h < 4 || shape.w < 4;
        let alike = |b: &mut Builder, same_channels: bool| -> Vec<TensorId> {
            let fits = |id: &TensorId| {
                let s = b.graph.tensor(*id).shape;
                (s.h, s.w) == (shape.h, shape.w) && (!same_channels || s.c == shape.c)
            };
            tensors.iter().copied().filter(fits).collect()
        };
        let y = match b.random.below(12) {
            0 | 1 => {
                let c = 4 + 4 * b.random.below(3);
                b.conv(x, c, window(3, 1, 1), 1)
            }
            2 => b.conv(x, shape.c, window(3, 1, 1), shape.c),
            3 | 4 => {
                let others = alike(&mut b, true);
                let other = others[b.random.below(others.len())];
                if b.random.below(2) == 0 { b.add(x, other) } else { b.add(other, x) }
            }
            5..=7 => {
                let others = alike(&mut b, false);
                let mut inputs = vec![x];
                for _ in 0..1 + b.random.below(2) {
                    inputs.push(others[b.random.below(others.len())]);
                }
                let total: usize = inputs.iter().map(|&id| b.shape(id).c).sum();
                if total > 64 {
                    b.conv(x, 6, Window::POINTWISE, 1)
                } else {
                    b.concat(&inputs, true)
                }
            }
            8 | 9 => b.table(x),
            10 if !small => b.pool(x, window(2, 2, 0), None),
            10 => b.lrn(x),
            _ => b.reshape(x, Shape::new(shape.w, shape.h, shape.c)),
        };
        tensors.push(y);
    }
    let last = tensors[tensors.len() - 1];
    b.fully_connected(last, 10);
    b.finish()
}

/// The bytes of every tensor, without gaps, as the oracle computes them from the input's codes.
pub fn oracle(graph: &Graph, data: &[StepData], input: &[u8]) -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = vec![Vec::new(); graph.tensors.len()];
    values[graph.input.0 as usize] = input.to_vec();
    for (step, data) in graph.steps.iter().zip(data) {
        let y = run_step(graph, step, data, &values);
        values[step.output.0 as usize] = y;
    }
    values
}

fn run_step(graph: &Graph, step: &Step, data: &StepData, values: &[Vec<u8>]) -> Vec<u8> {
    let quantization = |id: TensorId| graph.tensor(id).element.quantization();
    let view = |k: usize| {
        let id = step.inputs[k];
        View::dense(&values[id.0 as usize], graph.tensor(id).shape)
    };
    let y_shape = graph.tensor(step.output).shape;
    let x = quantization(step.inputs[0]);
    let y = quantization(step.output).unwrap_or((1.0, 0));
    let clamp = |lo, hi| Clamp { zero_point: y.1, lo, hi };
    let codes = || x.expect("u8");
    match (&step.op, data) {
        (Op::Conv { geometry, lo, hi }, StepData::Int8 { scales, bias, weights }) => {
            let mut out = vec![0; y_shape.len()];
            let multipliers = requantize::multipliers(codes().0, scales, y.0);
            reference::conv(
                geometry,
                codes().1,
                clamp(*lo, *hi),
                weights,
                bias,
                &multipliers,
                view(0),
                ViewMut::dense(&mut out, y_shape),
            );
            out
        }
        (Op::FloatConv { geometry, min, max }, StepData::Float { bias, weights }) => {
            let bytes = &values[step.inputs[0].0 as usize];
            let real: Vec<f32> = match x {
                Some((scale, zero)) => bytes
                    .iter()
                    .map(|&q| f32::from(i16::from(q) - i16::from(zero)) * scale)
                    .collect(),
                None => bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect(),
            };
            let out = reference::float_conv(geometry, weights, bias, &real, [*min, *max]);
            match quantization(step.output) {
                None => out.iter().flat_map(|v| v.to_le_bytes()).collect(),
                Some((scale, zero)) => {
                    let zero = f32::from(zero);
                    out.iter()
                        .map(|v| {
                            ((v / scale).clamp(-zero, 255.0 - zero).round_ties_even() + zero) as u8
                        })
                        .collect()
                }
            }
        }
        (Op::MaxPool(geometry), _) => reference::max_pool(geometry, view(0)),
        (Op::AveragePool { geometry, count_include_pad }, _) => reference::average_pool(
            geometry,
            *count_include_pad,
            codes(),
            y.0,
            clamp(0, 255),
            view(0),
        ),
        (Op::GlobalAveragePool, _) => {
            reference::global_average_pool(codes(), y.0, clamp(0, 255), view(0))
        }
        (Op::Add { lo, hi }, _) => {
            let (sb, zb) = quantization(step.inputs[1]).expect("u8");
            let (a, b) = ((view(0), codes().0, codes().1), (view(1), sb, zb));
            reference::add(a, b, y, *lo, *hi)
        }
        (Op::Concat, _) => {
            let parts: Vec<Vec<u8>> = (0..step.inputs.len())
                .map(|k| {
                    let from = quantization(step.inputs[k]).expect("u8");
                    reference::look_up(&table::Table::requantize(from, y).0, view(k))
                })
                .collect();
            let mut out = Vec::with_capacity(y_shape.len());
            for i in 0..y_shape.pixels() {
                for (k, part) in parts.iter().enumerate() {
                    let c = view(k).shape().c;
                    out.extend_from_slice(&part[i * c..][..c]);
                }
            }
            out
        }
        (Op::Lrn(p), _) => reference::lrn(
            &reference::Lrn {
                size: p.size as usize,
                alpha: p.alpha,
                beta: p.beta,
                bias: p.bias,
                input: codes(),
                output_scale: y.0,
                clamp: clamp(0, 255),
            },
            view(0),
        ),
        (Op::Softmax, _) => reference::softmax(codes().0, y, view(0)),
        (Op::Table(table), _) => reference::look_up(table, view(0)),
        (Op::Slice(slice), _) => reference::slice(
            slice.start.map(|n| n as usize),
            slice.step.map(|n| n as usize),
            view(0),
            y_shape,
        ),
        (Op::Pad(pad), _) => {
            reference::pad(pad.before.map(|n| n as usize), codes().1, view(0), y_shape)
        }
        (Op::Reshape, _) => values[step.inputs[0].0 as usize].clone(),
        (op, _) => panic!("{} without its weights", op.name()),
    }
}
