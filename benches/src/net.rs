//! A small network, made in memory, and what the oracle makes of it.

use seam_kernels::{Clamp, ConvGeometry, PoolGeometry, Shape, View, ViewMut, Window};
use seam_kernels::{reference, requantize};
use seam_runtime::graph::{Element, Graph, Op, Step, StepData, Tensor, TensorId};
use seam_runtime::preprocess::{Channels, Preprocess};
use seam_runtime::writer;

use crate::bytes;

/// Scale and zero point of every tensor.
const QUANTIZATION: (f32, u8) = (0.05, 121);

/// A network of one step of each common kind, about 40 million multiply-accumulates.
pub struct Net {
    graph: Graph,
    data: Vec<StepData>,
    /// The input, then what the oracle gives for each step.
    values: Vec<Vec<u8>>,
}

impl Net {
    /// The network and its values.
    pub fn new() -> Net {
        let shape = Shape::new(112, 112, 3);
        let mut net = Net {
            graph: Graph {
                name: "bench".into(),
                preprocess: Preprocess::new(Channels::Rgb),
                tensors: vec![tensor("image", shape)],
                layers: Vec::new(),
                steps: Vec::new(),
                input: TensorId(0),
                output: None,
                candidates: Vec::new(),
                stop: None,
            },
            data: Vec::new(),
            values: vec![bytes(shape.len()).collect()],
        };
        let wide = Window { kernel: [3, 3], pad: [1, 1], ..Window::POINTWISE };
        let halving = Window { stride: [2, 2], ..wide };
        let x = net.conv(TensorId(0), 32, halving, 1);
        let x = net.conv(x, 32, wide, 32);
        let x = net.conv(x, 64, Window::POINTWISE, 1);
        let x = net.max_pool(x, halving);
        let y = net.conv(x, 64, wide, 1);
        let x = net.add(x, y);
        let x = net.global_average_pool(x);
        let x = net.conv(x, 1000, Window::POINTWISE, 1);
        net.graph.output = Some(x);
        net
    }

    /// The codes of the input tensor.
    pub fn input(&self) -> &[u8] {
        &self.values[0]
    }

    /// What the oracle gives for the output.
    pub fn output(&self) -> &[u8] {
        self.values.last().expect("the input at least")
    }

    /// The bytes of its `.seam` file.
    ///
    /// # Errors
    /// The writer's.
    pub fn encode(&self) -> seam_runtime::Result<Vec<u8>> {
        writer::encode(&self.graph, &self.data)
    }

    fn shape(&self, id: TensorId) -> Shape {
        self.graph.tensor(id).shape
    }

    fn view(&self, id: TensorId) -> View<'_> {
        View::dense(&self.values[id.0 as usize], self.shape(id))
    }

    fn push(
        &mut self,
        op: Op,
        inputs: &[TensorId],
        shape: Shape,
        data: StepData,
        value: Vec<u8>,
    ) -> TensorId {
        let (index, id) = (self.graph.steps.len(), TensorId(self.graph.tensors.len() as u32));
        let name = format!("{}{index}", op.name());
        self.graph.tensors.push(tensor(&format!("{name}_out"), shape));
        self.graph.layers.push(name.clone());
        let layer = index as u32;
        self.graph.steps.push(Step { name, layer, inputs: inputs.to_vec(), output: id, op });
        self.data.push(data);
        self.values.push(value);
        id
    }

    fn conv(&mut self, x: TensorId, c: usize, window: Window, groups: usize) -> TensorId {
        let input = self.shape(x);
        let geometry = ConvGeometry { input, output: output(input, c, &window), window, groups };
        let scale = 1.0 / ((geometry.depth() as f32).sqrt() * 90.0);
        let (scales, bias) = (vec![scale; c], vec![100; c]);
        let weights: Vec<i8> = bytes(geometry.weights()).map(|b| (b as i8).max(-127)).collect();
        let (s, zero_point) = QUANTIZATION;
        let clamp = Clamp { zero_point, lo: zero_point, hi: 255 };
        let mut value = vec![0; geometry.output.len()];
        let multipliers = requantize::multipliers(s, &scales, s);
        let y = ViewMut::dense(&mut value, geometry.output);
        let x_view = self.view(x);
        reference::conv(&geometry, zero_point, clamp, &weights, &bias, &multipliers, x_view, y);
        let op = Op::Conv { geometry, lo: clamp.lo, hi: clamp.hi };
        let data = StepData::Int8 { scales, bias, weights };
        self.push(op, &[x], geometry.output, data, value)
    }

    fn max_pool(&mut self, x: TensorId, window: Window) -> TensorId {
        let input = self.shape(x);
        let geometry = PoolGeometry { input, output: output(input, input.c, &window), window };
        let value = reference::max_pool(&geometry, self.view(x));
        self.push(Op::MaxPool(geometry), &[x], geometry.output, StepData::None, value)
    }

    fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let (s, zero_point) = QUANTIZATION;
        let operand = |x| (self.view(x), s, zero_point);
        let value = reference::add(operand(a), operand(b), QUANTIZATION, 0, 255);
        let op = Op::Add { lo: 0, hi: 255 };
        self.push(op, &[a, b], self.shape(a), StepData::None, value)
    }

    fn global_average_pool(&mut self, x: TensorId) -> TensorId {
        let (s, zero_point) = QUANTIZATION;
        let clamp = Clamp::none(zero_point);
        let value = reference::global_average_pool(QUANTIZATION, s, clamp, self.view(x));
        let shape = Shape::new(1, 1, self.shape(x).c);
        self.push(Op::GlobalAveragePool, &[x], shape, StepData::None, value)
    }
}

impl Default for Net {
    fn default() -> Net {
        Net::new()
    }
}

fn tensor(name: &str, shape: Shape) -> Tensor {
    let (scale, zero_point) = QUANTIZATION;
    Tensor { name: name.into(), shape, element: Element::U8 { scale, zero_point } }
}

fn output(input: Shape, c: usize, window: &Window) -> Shape {
    let side = |axis: usize, size: usize| {
        (size + 2 * window.pad[axis] - window.kernel[axis]) / window.stride[axis] + 1
    };
    Shape::new(side(0, input.h), side(1, input.w), c)
}
