//! Nodes put one behind the other; every shape follows from what a node reads.

use seam_kernels::Shape;
use seam_tuner::layer_graph::Value;

use super::{Net, Node, Op, Window};

/// A network that grows.
pub(super) struct Builder(Net);

/// `kernel`×`kernel` at stride 1 without padding.
pub(super) const fn window(kernel: usize) -> Window {
    Window { kernel, stride: 1, pad: 0 }
}

impl Window {
    pub(super) const fn stride(self, stride: usize) -> Window {
        Window { stride, ..self }
    }

    pub(super) const fn pad(self, pad: usize) -> Window {
        Window { pad, ..self }
    }

    /// How often it fits into `side`; with `up`, a last one may stand over the end, but must begin
    /// inside of the image or its first padding.
    fn fits(self, side: usize, up: bool) -> usize {
        let Window { kernel, stride, pad } = self;
        let span = side + 2 * pad - kernel;
        let count = if up { span.div_ceil(stride) } else { span / stride } + 1;
        if up && (count - 1) * stride >= side + pad { count - 1 } else { count }
    }
}

impl Builder {
    /// A network that reads `size`×`size` pixels of three channels.
    pub(super) fn new(name: &'static str, size: usize) -> Builder {
        Builder(Net { name, input: Shape::new(size, size, 3), nodes: Vec::new() })
    }

    pub(super) fn finish(self) -> Net {
        self.0
    }

    /// A convolution with biases.
    pub(super) fn conv(&mut self, x: Value, name: &str, outputs: usize, window: Window) -> Value {
        self.convolution(x, name, outputs, window, 1, true)
    }

    /// A convolution with biases in two groups of channels.
    pub(super) fn conv_in_two(
        &mut self,
        x: Value,
        name: &str,
        outputs: usize,
        window: Window,
    ) -> Value {
        self.convolution(x, name, outputs, window, 2, true)
    }

    /// A convolution and its BatchNormalization `bn`.
    pub(super) fn conv_bn(
        &mut self,
        x: Value,
        name: &str,
        bn: &str,
        outputs: usize,
        window: Window,
    ) -> Value {
        let x = self.convolution(x, name, outputs, window, 1, false);
        self.same_shape(x, bn, Op::BatchNorm)
    }

    fn convolution(
        &mut self,
        x: Value,
        name: &str,
        outputs: usize,
        window: Window,
        groups: usize,
        bias: bool,
    ) -> Value {
        let Shape { h, w, c } = self.0.shape(x);
        let output = Shape::new(window.fits(h, false), window.fits(w, false), outputs);
        let weights = outputs * (c / groups) * window.kernel * window.kernel;
        self.node(&[x], name, Op::Conv { window, groups, bias }, output, weights)
    }

    pub(super) fn fully_connected(&mut self, x: Value, name: &str, outputs: usize) -> Value {
        let weights = self.0.shape(x).len() * outputs;
        self.node(&[x], name, Op::FullyConnected, Shape::new(1, 1, outputs), weights)
    }

    pub(super) fn relu(&mut self, x: Value, name: &str) -> Value {
        self.same_shape(x, name, Op::Relu)
    }

    pub(super) fn lrn(&mut self, x: Value, name: &str) -> Value {
        self.same_shape(x, name, Op::Lrn)
    }

    pub(super) fn softmax(&mut self, x: Value, name: &str) -> Value {
        self.same_shape(x, name, Op::Softmax)
    }

    pub(super) fn max_pool(&mut self, x: Value, name: &str, window: Window) -> Value {
        let Shape { h, w, c } = self.0.shape(x);
        let output = Shape::new(window.fits(h, true), window.fits(w, true), c);
        self.node(&[x], name, Op::MaxPool(window), output, 0)
    }

    pub(super) fn average_pool(&mut self, x: Value, name: &str) -> Value {
        let output = Shape::new(1, 1, self.0.shape(x).c);
        self.node(&[x], name, Op::AveragePool, output, 0)
    }

    pub(super) fn add(&mut self, a: Value, b: Value, name: &str) -> Value {
        assert_eq!(self.0.shape(a), self.0.shape(b), "{name}");
        let output = self.0.shape(a);
        self.node(&[a, b], name, Op::Add, output, 0)
    }

    pub(super) fn concat(&mut self, parts: &[Value], name: &str) -> Value {
        let Shape { h, w, .. } = self.0.shape(parts[0]);
        let channels = parts.iter().map(|&part| self.0.shape(part).c).sum();
        self.node(parts, name, Op::Concat, Shape::new(h, w, channels), 0)
    }

    pub(super) fn flatten(&mut self, x: Value, name: &str) -> Value {
        let output = Shape::new(1, 1, self.0.shape(x).len());
        self.node(&[x], name, Op::Flatten, output, 0)
    }

    /// What AlexNet and VGG16 end with: two hidden layers of 4096, a thousand classes.
    pub(super) fn classifier(&mut self, x: Value) {
        let mut x = self.flatten(x, "flatten");
        for i in [6, 7] {
            x = self.fully_connected(x, &format!("fc{i}"), 4096);
            x = self.relu(x, &format!("relu{i}"));
        }
        x = self.fully_connected(x, "fc8", 1000);
        self.softmax(x, "prob");
    }

    fn same_shape(&mut self, x: Value, name: &str, op: Op) -> Value {
        let output = self.0.shape(x);
        self.node(&[x], name, op, output, 0)
    }

    fn node(
        &mut self,
        inputs: &[Value],
        name: &str,
        op: Op,
        output: Shape,
        weights: usize,
    ) -> Value {
        let (name, inputs, weights) = (name.into(), inputs.to_vec(), weights as u64);
        self.0.nodes.push(Node { name, op, inputs, output, weights });
        Value::Node(self.0.nodes.len() - 1)
    }
}
