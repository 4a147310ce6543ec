//! One ONNX node (in the form of operator set 13 or later) → typed operators with shapes.

use std::sync::Arc;

use super::import::constant;
use crate::network::{Constant, Conv, Data, Linear, Network, Node, Op, Pool, Sliding, Unary};
use crate::{Error, pb};

/// What a node turns out to be.
pub(crate) enum Parsed {
    /// The same value as that one.
    Alias(String),
    /// Known without running the network.
    Constant(Box<Constant>),
    /// Typed operators, with the dimensions of what they write; the last writes the node's output.
    Nodes(Vec<(Node, Vec<usize>)>),
    /// The edge cannot run it, for this reason.
    Other(String),
}

/// A node and what is known so far.
pub(crate) struct Reader<'a> {
    pub(crate) name: &'a str,
    pub(crate) proto: &'a pb::NodeProto,
    pub(crate) network: &'a Network,
}

type Result<T = Parsed> = std::result::Result<T, Error>;

impl Reader<'_> {
    pub(crate) fn parse(&self) -> Result {
        if !matches!(self.proto.domain.as_str(), "" | "ai.onnx") {
            return other(format!("operators of {} have no kernel", self.proto.domain));
        }
        match self.proto.op_type.as_str() {
            "Constant" => return self.constant_node(),
            "Shape" => return self.shape(),
            _ => {}
        }
        if self.input(0).is_some_and(|x| constant(self.network, x).is_some())
            && !matches!(self.proto.op_type.as_str(), "Add" | "Mul" | "Sub")
        {
            return other("it reads a constant where an activation is expected");
        }
        match self.proto.op_type.as_str() {
            "Identity" | "Dropout" => self.alias(),
            "Cast" => self.cast(),
            "Conv" => self.conv(),
            "Gemm" => self.gemm(),
            "MatMul" => self.matmul(),
            "BatchNormalization" => self.batch_norm(),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(),
            "Relu" => self.elementwise(Op::Clamp { min: 0.0, max: f32::INFINITY }),
            "Clip" => self.clip(),
            "LeakyRelu" => {
                self.elementwise(Op::Unary(Unary::LeakyRelu { alpha: self.f("alpha", 0.01) }))
            }
            "Sigmoid" => self.elementwise(Op::Unary(Unary::Sigmoid)),
            "Tanh" => self.elementwise(Op::Unary(Unary::Tanh)),
            "HardSigmoid" => self.elementwise(Op::Unary(Unary::HardSigmoid {
                alpha: self.f("alpha", 0.2),
                beta: self.f("beta", 0.5),
            })),
            "HardSwish" => self.elementwise(Op::Unary(Unary::HardSwish)),
            "MaxPool" | "AveragePool" => self.pool(),
            "GlobalAveragePool" => self.global_average(true),
            "GlobalMaxPool" => self.global_max(),
            "ReduceMean" => self.reduce_mean(),
            "Concat" => self.concat(),
            "LRN" => self.lrn(),
            "Softmax" => self.softmax(),
            "Flatten" => self.flatten(),
            "Reshape" => self.reshape(),
            "Squeeze" | "Unsqueeze" => self.squeeze(),
            "Transpose" => self.transpose(),
            "Pad" => self.pad(),
            "Slice" => self.slice(),
            operator => other(format!("{operator} has no INT8 kernel")),
        }
    }

    // ---- layers with weights ------------------------------------------------------------------

    fn conv(&self) -> Result {
        let Some(&[_, c, h, w]) = self.dims4() else { return self.no_image() };
        let (Some(weights), Some(bias)) = (self.floats(1), self.bias(2)) else {
            return other("its weights are no constants");
        };
        let &[outputs, group_inputs, kh, kw] = &weights.dims[..] else {
            return other("only convolutions over height and width have a kernel");
        };
        let groups = self.count("group", 1)?;
        if groups == 0 || outputs % groups != 0 || group_inputs * groups != c || outputs == 0 {
            return self.invalid(format!(
                "weights {:?} in {groups} groups do not fit {c} channels",
                weights.dims
            ));
        }
        if bias.as_ref().is_some_and(|b| b.len() != outputs) {
            return self
                .invalid(format!("its bias is not one value for each of {outputs} channels"));
        }
        let Some((window, [oh, ow])) = self.window([kh, kw], [h, w], false)? else {
            return other("negative padding has no kernel");
        };
        let conv = Conv {
            window,
            groups,
            dims: [outputs, group_inputs, kh, kw],
            bias: bias.unwrap_or_else(|| vec![0.0; outputs]),
            weights: weights.floats().unwrap_or_default().to_vec(),
        };
        self.finite(&conv.weights)?;
        self.finite(&conv.bias)?;
        self.one(Op::Conv(Arc::new(conv)), vec![1, outputs, oh, ow])
    }

    fn gemm(&self) -> Result {
        let Some(&[1, k]) = self.dims(0) else { return other("its input is no row vector") };
        let Some(b) = self.floats(1) else { return other("its weights are no constants") };
        if self.i("transA", 0) != 0 {
            return other("transA has no kernel");
        }
        let (alpha, beta) = (self.f("alpha", 1.0), self.f("beta", 1.0));
        let Some(mut linear) = linear(b, self.i("transB", 0) != 0) else {
            return self.invalid("its weights are no matrix".into());
        };
        if linear.inputs != k {
            return self.invalid(format!("weights for {} inputs meet {k}", linear.inputs));
        }
        linear.weights.iter_mut().for_each(|w| *w *= alpha);
        if self.input(2).is_some() {
            let Some(c) = self.floats(2) else { return other("its bias is no constant") };
            let values = c.floats().unwrap_or_default();
            let n = linear.outputs;
            linear.bias = match values.len() {
                1 => vec![values[0] * beta; n],
                len if len == n => values.iter().map(|x| x * beta).collect(),
                len => return self.invalid(format!("a bias of {len} values meets {n} outputs")),
            };
        }
        self.finite(&linear.weights)?;
        self.finite(&linear.bias)?;
        let outputs = linear.outputs;
        self.one(Op::Linear(Arc::new(linear)), vec![1, outputs])
    }

    fn matmul(&self) -> Result {
        let Some(dims) = self.dims(0) else { return self.no_shape() };
        let Some(b) = self.floats(1) else { return other("its second factor is no constant") };
        let Some((&k, 1)) = dims.split_last().map(|(k, rest)| (k, rest.iter().product())) else {
            return other("its first factor is no row vector");
        };
        let Some(linear) = linear(b, false) else {
            return other("its second factor is no matrix");
        };
        if linear.inputs != k {
            return self.invalid(format!("weights for {} inputs meet {k}", linear.inputs));
        }
        self.finite(&linear.weights)?;
        let outputs = linear.outputs;
        let op = Op::Linear(Arc::new(linear));
        if dims.len() == 2 {
            return self.one(op, vec![1, outputs]);
        }
        // A row vector with more leading ones: the views around it cost nothing.
        let y = &self.proto.output[0];
        let (row, flat) = (format!("{y}.row"), format!("{y}.flat"));
        let mut answer = dims[..dims.len() - 1].to_vec();
        answer.push(outputs);
        let node = |name: String, op, x: &str, y: &str| Node {
            name,
            op,
            inputs: vec![x.into()],
            outputs: vec![y.into()],
        };
        let x = &self.proto.input[0];
        Ok(Parsed::Nodes(vec![
            (node(format!("{}.row", self.name), Op::Reshape, x, &row), vec![1, k]),
            (node(self.name.into(), op, &row, &flat), vec![1, outputs]),
            (node(format!("{}.answer", self.name), Op::Reshape, &flat, y), answer),
        ]))
    }

    fn batch_norm(&self) -> Result {
        let Some(dims) = self.dims(0).map(<[usize]>::to_vec) else { return self.no_shape() };
        let statistics: Option<Vec<&[f32]>> =
            (1..5).map(|i| self.floats(i).and_then(Constant::floats)).collect();
        let Some(statistics) = statistics else { return other("its statistics are no constants") };
        if self.i("training_mode", 0) != 0 {
            return other("training_mode has no kernel: export the network for inference");
        }
        let [gamma, beta, mean, variance] = statistics[..] else { return self.no_shape() };
        let c = dims.get(1).copied().unwrap_or(0);
        if [gamma, beta, mean, variance].iter().any(|s| s.len() != c) {
            return self
                .invalid(format!("its statistics are not one value for each of {c} channels"));
        }
        // In f64: the two results are rounded once.
        let epsilon = f64::from(self.f("epsilon", 1e-5));
        let factor = |i: usize| f64::from(gamma[i]) / (f64::from(variance[i]) + epsilon).sqrt();
        let scale = (0..c).map(|i| factor(i) as f32).collect();
        let shift =
            (0..c).map(|i| (f64::from(beta[i]) - f64::from(mean[i]) * factor(i)) as f32).collect();
        self.affine(0, scale, shift)
    }

    // ---- element-wise ---------------------------------------------------------------------------

    fn arithmetic(&self) -> Result {
        let operator = self.proto.op_type.as_str();
        let (Some(a), Some(b)) = (self.input(0), self.input(1)) else {
            return self.invalid("it takes two inputs".into());
        };
        let constants = [constant(self.network, a), constant(self.network, b)];
        let (x, constant) = match constants {
            [None, Some(c)] => (0, c),
            [Some(c), None] => (1, c),
            [Some(_), Some(_)] => return other("both inputs are constants"),
            [None, None] => {
                let (Some(da), Some(db)) = (self.dims(0), self.dims(1)) else {
                    return self.no_shape();
                };
                if operator != "Add" {
                    return other(format!("{operator} of two activations has no INT8 kernel"));
                }
                if da != db {
                    return other(format!("Add of shapes {da:?} and {db:?} has no INT8 kernel"));
                }
                let dims = da.to_vec();
                return self.nodes(Op::Add, &[0, 1], dims);
            }
        };
        let (Some(dims), Some(values)) = (self.dims(x), constant.floats()) else {
            return other("its constant is no float");
        };
        let Some(values) = per_channel(&constant.dims, values, dims) else {
            return other(format!(
                "{operator} with a constant of shape {:?} has no INT8 kernel",
                constant.dims
            ));
        };
        let (scale, shift) = match (operator, x) {
            ("Add", _) => (vec![1.0; values.len()], values),
            ("Sub", 0) => (vec![1.0; values.len()], values.iter().map(|v| -v).collect()),
            ("Sub", _) => (vec![-1.0; values.len()], values),
            ("Mul", _) => (values.clone(), vec![0.0; values.len()]),
            ("Div", 0) if values.iter().all(|v| *v != 0.0) => {
                (values.iter().map(|v| 1.0 / v).collect(), vec![0.0; values.len()])
            }
            _ => return other("division by an activation or zero has no INT8 kernel"),
        };
        self.affine(x, scale, shift)
    }

    fn affine(&self, x: usize, scale: Vec<f32>, shift: Vec<f32>) -> Result {
        self.finite(&scale)?;
        self.finite(&shift)?;
        let Some(dims) = self.dims(x).map(<[usize]>::to_vec) else { return self.no_shape() };
        self.nodes(Op::Affine { scale, shift }, &[x], dims)
    }

    fn clip(&self) -> Result {
        let bound = |i: usize, default: f32| match self.input(i) {
            None => Some(default),
            Some(_) => self.floats(i)?.floats()?.first().copied(),
        };
        match (bound(1, f32::NEG_INFINITY), bound(2, f32::INFINITY)) {
            (Some(min), Some(max)) if min <= max => self.elementwise(Op::Clamp { min, max }),
            (Some(_), Some(_)) => self.invalid("its minimum is above its maximum".into()),
            _ => other("its bounds are no constants"),
        }
    }

    fn elementwise(&self, op: Op) -> Result {
        let Some(dims) = self.dims(0).map(<[usize]>::to_vec) else { return self.no_shape() };
        self.one(op, dims)
    }

    // ---- windows --------------------------------------------------------------------------------

    fn pool(&self) -> Result {
        let Some(&[_, c, h, w]) = self.dims4() else { return self.no_image() };
        if self.proto.output.iter().skip(1).any(|o| !o.is_empty()) {
            return other("its second output has no kernel");
        }
        let kernel = self.ints("kernel_shape", &[]);
        let &[kh, kw] = &kernel[..] else {
            return other("only pools over height and width have a kernel");
        };
        let kernel = [self.natural(kh, "kernel_shape")?, self.natural(kw, "kernel_shape")?];
        let ceil_mode = self.i("ceil_mode", 0) != 0;
        let Some((window, [oh, ow])) = self.window(kernel, [h, w], ceil_mode)? else {
            return other("negative padding has no kernel");
        };
        let reach = |i: usize| (kernel[i] - 1) * window.dilation[i] + 1;
        let [top, left, bottom, right] = window.pads;
        if top.max(bottom) >= reach(0) || left.max(right) >= reach(1) {
            return self.invalid("its padding is not below its kernel".into());
        }
        let pool = Pool { window, ceil_mode };
        let op = match self.proto.op_type.as_str() {
            "MaxPool" => Op::MaxPool(pool),
            _ => {
                let count_include_pad = self.i("count_include_pad", 0) != 0;
                Op::AveragePool { pool, count_include_pad }
            }
        };
        self.one(op, vec![1, c, oh, ow])
    }

    /// Window and output size; `None` where padding is negative.
    fn window(
        &self,
        kernel: [usize; 2],
        size: [usize; 2],
        ceil_mode: bool,
    ) -> Result<Option<(Sliding, [usize; 2])>> {
        let pair = |name: &str| -> Result<[usize; 2]> {
            match self.ints(name, &[1, 1])[..] {
                [a, b] => Ok([self.natural(a, name)?, self.natural(b, name)?]),
                _ => Err(self.error(format!("{name} are not two numbers"))),
            }
        };
        let (stride, dilation) = (pair("strides")?, pair("dilations")?);
        let mut pads = [0usize; 4];
        let auto = self.s("auto_pad");
        let explicit = self.ints("pads", &[0; 4]);
        if explicit.len() != 4 {
            return Err(self.error("pads are not four numbers".into()));
        }
        if explicit.iter().any(|&p| p < 0) {
            return Ok(None);
        }
        let mut output = [0; 2];
        for i in 0..2 {
            if kernel[i] == 0 || stride[i] == 0 || dilation[i] == 0 {
                return Err(self.error("its kernel, stride or dilation is zero".into()));
            }
            let too_large = || self.error("its window is too large".into());
            let reach = (kernel[i] - 1)
                .checked_mul(dilation[i])
                .and_then(|r| r.checked_add(1))
                .filter(|&r| r < 1 << 24 && stride[i] < 1 << 24)
                .ok_or_else(too_large)?;
            match auto {
                "SAME_UPPER" | "SAME_LOWER" => {
                    let out = size[i].div_ceil(stride[i]);
                    let total = ((out - 1) * stride[i] + reach).saturating_sub(size[i]);
                    let small = total / 2;
                    let upper = auto == "SAME_UPPER";
                    pads[i] = if upper { small } else { total - small };
                    pads[i + 2] = total - pads[i];
                }
                "VALID" => {}
                "" | "NOTSET" => {
                    let limit = |p: i64| usize::try_from(p).ok().filter(|&p| p < 1 << 24);
                    pads[i] = limit(explicit[i]).ok_or_else(too_large)?;
                    pads[i + 2] = limit(explicit[i + 2]).ok_or_else(too_large)?;
                }
                other => return Err(self.error(format!("auto_pad {other} is unknown"))),
            }
            let padded = size[i] + pads[i] + pads[i + 2];
            let Some(room) = padded.checked_sub(reach) else {
                return Err(self.error(format!("a window of {reach} does not fit into {padded}")));
            };
            output[i] = room / stride[i] + 1;
            if ceil_mode && room % stride[i] != 0 && output[i] * stride[i] < size[i] + pads[i] {
                output[i] += 1;
            }
        }
        Ok(Some((Sliding { kernel, stride, dilation, pads }, output)))
    }

    fn global_average(&self, keep: bool) -> Result {
        let Some(&[_, c, _, _]) = self.dims4() else { return self.no_image() };
        if keep {
            return self.one(Op::GlobalAveragePool, vec![1, c, 1, 1]);
        }
        let y = &self.proto.output[0];
        let pooled = format!("{y}.pooled");
        let node = |name: String, op, x: &str, y: &str| Node {
            name,
            op,
            inputs: vec![x.into()],
            outputs: vec![y.into()],
        };
        let x = &self.proto.input[0];
        Ok(Parsed::Nodes(vec![
            (node(self.name.into(), Op::GlobalAveragePool, x, &pooled), vec![1, c, 1, 1]),
            (node(format!("{}.flat", self.name), Op::Reshape, &pooled, y), vec![1, c]),
        ]))
    }

    fn global_max(&self) -> Result {
        let Some(&[_, c, h, w]) = self.dims4() else { return self.no_image() };
        let window =
            Sliding { kernel: [h, w], stride: [1, 1], dilation: [1, 1], pads: [0, 0, 0, 0] };
        self.one(Op::MaxPool(Pool { window, ceil_mode: false }), vec![1, c, 1, 1])
    }

    fn reduce_mean(&self) -> Result {
        let Some(dims) = self.dims4() else { return self.no_image() };
        let axes = match self.input(1) {
            Some(_) => match self.const_ints(1) {
                Some(axes) => axes,
                None => return other("its axes are no constants"),
            },
            None => self.ints("axes", &[]),
        };
        let mut axes =
            axes.iter().map(|&a| self.axis(a, dims.len())).collect::<Result<Vec<usize>>>()?;
        axes.sort_unstable();
        match axes[..] {
            [2, 3] => self.global_average(self.i("keepdims", 1) != 0),
            _ => other("only means over height and width have a kernel"),
        }
    }

    // ---- channels -------------------------------------------------------------------------------

    fn concat(&self) -> Result {
        let count = self.proto.input.len();
        let dims: Option<Vec<&[usize]>> = (0..count).map(|i| self.dims(i)).collect();
        let Some(dims) = dims.filter(|d| !d.is_empty()) else {
            return other("it joins constants or values of unknown shape");
        };
        let first = dims[0];
        if self.axis(self.i("axis", 1), first.len())? != 1 {
            return other("only Concat of channels has a kernel");
        }
        let differs = |d: &&[usize]| {
            d.len() != first.len() || (0..d.len()).any(|i| i != 1 && d[i] != first[i])
        };
        if dims.iter().any(differs) {
            return self.invalid(format!("the shapes {dims:?} do not join"));
        }
        if count == 1 {
            return self.alias();
        }
        let mut joined = first.to_vec();
        joined[1] = dims.iter().map(|d| d[1]).sum();
        self.nodes(Op::Concat, &(0..count).collect::<Vec<_>>(), joined)
    }

    fn lrn(&self) -> Result {
        let Some(dims) = self.dims4().map(|d| d.to_vec()) else { return self.no_image() };
        let size = self.count("size", 0)?;
        let (alpha, beta, bias) =
            (self.f("alpha", 1e-4), self.f("beta", 0.75), self.f("bias", 1.0));
        self.finite(&[alpha, beta, bias])?;
        match u32::try_from(size) {
            Ok(size @ 1..) => self.one(Op::Lrn { size, alpha, beta, bias }, dims),
            _ => self.invalid("its size is zero or too large".into()),
        }
    }

    fn softmax(&self) -> Result {
        let Some(dims) = self.dims(0).map(<[usize]>::to_vec) else { return self.no_shape() };
        match (self.axis(self.i("axis", -1), dims.len())?, dims.len()) {
            (1, 2 | 4) => self.one(Op::Softmax, dims),
            _ => other("only Softmax over channels has a kernel"),
        }
    }

    // ---- views and moves ------------------------------------------------------------------------

    fn alias(&self) -> Result {
        match self.input(0) {
            Some(x) => Ok(Parsed::Alias(x.into())),
            None => self.invalid("it has no input".into()),
        }
    }

    /// Between floats, whose width is not kept; anything else is no kernel of the edge.
    fn cast(&self) -> Result {
        use pb::tensor_proto::DataType;
        let to = i32::try_from(self.i("to", 0)).ok().and_then(|t| DataType::try_from(t).ok());
        match to {
            Some(DataType::Float | DataType::Float16 | DataType::Double) => self.alias(),
            _ => other("casts to integers have no kernel"),
        }
    }

    fn view(&self, dims: Vec<usize>) -> Result {
        let Some(from) = self.dims(0) else { return self.no_shape() };
        if from == dims {
            return self.alias();
        }
        if from.iter().product::<usize>() != dims.iter().product::<usize>() {
            return self.invalid(format!("{from:?} does not reshape to {dims:?}"));
        }
        self.one(Op::Reshape, dims)
    }

    fn flatten(&self) -> Result {
        let Some(dims) = self.dims(0) else { return self.no_shape() };
        let axis = match self.i("axis", 1) {
            a if a == dims.len() as i64 => dims.len(),
            a => self.axis(a, dims.len())?,
        };
        self.view(vec![dims[..axis].iter().product(), dims[axis..].iter().product()])
    }

    fn reshape(&self) -> Result {
        let Some(dims) = self.dims(0) else { return self.no_shape() };
        let Some(target) = self.const_ints(1) else { return other("its shape is no constant") };
        let allow_zero = self.i("allowzero", 0) != 0;
        let total: usize = dims.iter().product();
        let mut shape = Vec::new();
        let mut open = None;
        for (i, &d) in target.iter().enumerate() {
            shape.push(match d {
                -1 if open.is_none() => {
                    open = Some(i);
                    1
                }
                0 if !allow_zero => match dims.get(i) {
                    Some(&d) => d,
                    None => return self.invalid(format!("shape {target:?} copies a missing axis")),
                },
                d => self.natural(d, "shape")?,
            });
        }
        let known = super::tensor::elements(&self.proto.output[0], &shape)?;
        if let Some(i) = open {
            if known == 0 || !total.is_multiple_of(known) {
                return self.invalid(format!("{dims:?} does not reshape to {target:?}"));
            }
            shape[i] = total / known;
        }
        self.view(shape)
    }

    fn squeeze(&self) -> Result {
        let Some(dims) = self.dims(0) else { return self.no_shape() };
        let axes = match self.input(1) {
            Some(_) => match self.const_ints(1) {
                Some(axes) => Some(axes),
                None => return other("its axes are no constants"),
            },
            None => None,
        };
        if self.proto.op_type == "Squeeze" {
            let axes = match axes {
                Some(axes) => {
                    axes.iter().map(|&a| self.axis(a, dims.len())).collect::<Result<Vec<_>>>()?
                }
                None => (0..dims.len()).filter(|&i| dims[i] == 1).collect(),
            };
            if axes.iter().any(|&a| dims[a] != 1) {
                return self.invalid(format!("{dims:?} has more than one element on an axis"));
            }
            return self
                .view((0..dims.len()).filter(|i| !axes.contains(i)).map(|i| dims[i]).collect());
        }
        let Some(axes) = axes else { return self.invalid("it has no axes".into()) };
        let rank = dims.len() + axes.len();
        let axes = axes.iter().map(|&a| self.axis(a, rank)).collect::<Result<Vec<_>>>()?;
        let mut rest = dims.iter().copied();
        let shape: Vec<usize> = (0..rank)
            .map(|i| if axes.contains(&i) { 1 } else { rest.next().unwrap_or(1) })
            .collect();
        self.view(shape)
    }

    fn transpose(&self) -> Result {
        let Some(dims) = self.dims(0) else { return self.no_shape() };
        let default: Vec<i64> = (0..dims.len() as i64).rev().collect();
        let perm = self
            .ints("perm", &default)
            .iter()
            .map(|&a| self.axis(a, dims.len()))
            .collect::<Result<Vec<usize>>>()?;
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..dims.len()) {
            return self.invalid(format!("{perm:?} is no permutation"));
        }
        let shape: Vec<usize> = perm.iter().map(|&a| dims[a]).collect();
        let moved: Vec<usize> = perm.iter().copied().filter(|&a| dims[a] != 1).collect();
        if moved.is_sorted() {
            return self.view(shape);
        }
        self.one(Op::Transpose(perm), shape)
    }

    fn pad(&self) -> Result {
        let Some(dims) = self.dims4() else { return self.no_image() };
        if !matches!(self.s("mode"), "" | "constant") {
            return other(format!("{} padding has no kernel", self.s("mode")));
        }
        let value = match self.input(2) {
            Some(_) => self.floats(2).and_then(Constant::floats).and_then(|v| v.first().copied()),
            None => Some(0.0),
        };
        if value != Some(0.0) {
            return other("padding with anything but zero has no kernel");
        }
        let Some(pads) = self.const_ints(1) else { return other("its padding is no constant") };
        let axes = match self.input(3) {
            Some(_) => match self.const_ints(3) {
                Some(axes) => axes,
                None => return other("its axes are no constants"),
            },
            None => (0..4).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return self.invalid(format!("{} pads meet {} axes", pads.len(), axes.len()));
        }
        let mut amounts = [[0usize; 2]; 4];
        for (i, &a) in axes.iter().enumerate() {
            let axis = self.axis(a, 4)?;
            for (side, pad) in [pads[i], pads[i + axes.len()]].into_iter().enumerate() {
                if pad < 0 {
                    return other("negative padding has no kernel");
                }
                amounts[axis][side] = self.natural(pad, "pads")?;
            }
        }
        if amounts[0] != [0, 0] {
            return other("padding of the batch has no kernel");
        }
        if amounts == [[0; 2]; 4] {
            return self.alias();
        }
        let shape: Vec<usize> = (0..4).map(|a| dims[a] + amounts[a][0] + amounts[a][1]).collect();
        let side = |s: usize| [amounts[1][s], amounts[2][s], amounts[3][s]];
        self.one(Op::Pad { before: side(0), after: side(1) }, shape)
    }

    fn slice(&self) -> Result {
        let Some(dims) = self.dims(0) else { return self.no_shape() };
        let rank = dims.len();
        let list = |i: usize, default: Vec<i64>| match self.input(i) {
            Some(_) => self.const_ints(i),
            None => Some(default),
        };
        let (Some(starts), Some(ends)) = (list(1, vec![]), list(2, vec![])) else {
            return other("its bounds are no constants");
        };
        let (Some(axes), Some(steps)) =
            (list(3, (0..starts.len() as i64).collect()), list(4, vec![1; starts.len()]))
        else {
            return other("its axes or steps are no constants");
        };
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return self.invalid("its starts, ends, axes and steps differ in number".into());
        }
        let (mut start, mut step, mut shape) = (vec![0; rank], vec![1; rank], dims.to_vec());
        for i in 0..starts.len() {
            let axis = self.axis(axes[i], rank)?;
            if steps[i] < 1 {
                return other("negative steps have no kernel");
            }
            let size = dims[axis] as i64;
            let clamp = |x: i64| if x < 0 { x.saturating_add(size) } else { x }.clamp(0, size);
            let (from, to) = (clamp(starts[i]), clamp(ends[i]));
            if from >= to {
                return self.invalid(format!("it leaves nothing of axis {axis}"));
            }
            start[axis] = from as usize;
            step[axis] = steps[i].min(size) as usize;
            shape[axis] = (to - from) as usize;
            shape[axis] = shape[axis].div_ceil(step[axis]);
        }
        if shape == dims {
            return self.alias();
        }
        let picked = |v: &[usize], fill: usize| -> Option<[usize; 3]> {
            match *v {
                [_, c, h, w] => Some([c, h, w]),
                [_, c] => Some([c, fill, fill]),
                _ => None,
            }
        };
        match (picked(&start, 0), picked(&step, 1)) {
            (Some(start), Some(step)) => self.one(Op::Slice { start, step }, shape),
            _ => other("only slices of images and vectors have a kernel"),
        }
    }

    // ---- constants ------------------------------------------------------------------------------

    fn constant_node(&self) -> Result {
        let Some(attribute) = self.proto.attribute.first() else {
            return self.invalid("it has no value".into());
        };
        let scalar = |data| Ok(Parsed::Constant(Box::new(Constant { dims: vec![], data })));
        let list = |n, data| Ok(Parsed::Constant(Box::new(Constant { dims: vec![n], data })));
        match (attribute.name.as_str(), &attribute.t) {
            ("value", Some(proto)) => {
                let named = pb::TensorProto { name: self.name.into(), ..proto.clone() };
                Ok(Parsed::Constant(Box::new(super::tensor::decode(
                    &named,
                    std::path::Path::new(""),
                )?)))
            }
            ("value_float", _) => scalar(Data::F32(vec![attribute.f])),
            ("value_int", _) => scalar(Data::I64(vec![attribute.i])),
            ("value_floats", _) => {
                list(attribute.floats.len(), Data::F32(attribute.floats.clone()))
            }
            ("value_ints", _) => list(attribute.ints.len(), Data::I64(attribute.ints.clone())),
            (name, _) => other(format!("constants given as {name} have no kernel")),
        }
    }

    fn shape(&self) -> Result {
        let known = self.input(0).and_then(|x| match constant(self.network, x) {
            Some(constant) => Some(constant.dims.as_slice()),
            None => self.network.dims(x),
        });
        let Some(dims) = known else { return self.no_shape() };
        let rank = dims.len() as i64;
        let bound = |x: i64| if x < 0 { x.saturating_add(rank) } else { x }.clamp(0, rank) as usize;
        let (start, end) = (bound(self.i("start", 0)), bound(self.i("end", rank)));
        let values: Vec<i64> =
            dims.get(start..end).unwrap_or_default().iter().map(|&d| d as i64).collect();
        Ok(Parsed::Constant(Box::new(Constant {
            dims: vec![values.len()],
            data: Data::I64(values),
        })))
    }

    // ---- access ---------------------------------------------------------------------------------

    fn one(&self, op: Op, dims: Vec<usize>) -> Result {
        self.nodes(op, &[0], dims)
    }

    fn nodes(&self, op: Op, inputs: &[usize], dims: Vec<usize>) -> Result {
        let node = Node {
            name: self.name.into(),
            op,
            inputs: inputs.iter().map(|&i| self.proto.input[i].clone()).collect(),
            outputs: vec![self.proto.output[0].clone()],
        };
        Ok(Parsed::Nodes(vec![(node, dims)]))
    }

    fn input(&self, i: usize) -> Option<&str> {
        self.proto.input.get(i).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn dims(&self, i: usize) -> Option<&[usize]> {
        self.network.dims(self.input(i)?)
    }

    /// Dimensions of an image of batch 1.
    fn dims4(&self) -> Option<&[usize; 4]> {
        self.dims(0)?
            .try_into()
            .ok()
            .filter(|d: &&[usize; 4]| d[0] == 1 && d.iter().all(|&n| n > 0))
    }

    fn floats(&self, i: usize) -> Option<&Constant> {
        constant(self.network, self.input(i)?).filter(|c| c.floats().is_some())
    }

    /// The optional bias at input `i`: `None` where it is no constant.
    fn bias(&self, i: usize) -> Option<Option<Vec<f32>>> {
        match self.input(i) {
            None => Some(None),
            Some(_) => self.floats(i)?.floats().map(|b| Some(b.to_vec())),
        }
    }

    fn const_ints(&self, i: usize) -> Option<Vec<i64>> {
        constant(self.network, self.input(i)?)?.ints()
    }

    fn attribute(&self, name: &str) -> Option<&pb::AttributeProto> {
        self.proto.attribute.iter().find(|a| a.name == name)
    }

    fn i(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i)
    }

    fn f(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |a| a.f)
    }

    fn s(&self, name: &str) -> &str {
        self.attribute(name).and_then(|a| std::str::from_utf8(&a.s).ok()).unwrap_or("")
    }

    fn ints(&self, name: &str, default: &[i64]) -> Vec<i64> {
        self.attribute(name).map_or_else(|| default.to_vec(), |a| a.ints.clone())
    }

    fn count(&self, name: &str, default: i64) -> Result<usize> {
        self.natural(self.i(name, default), name)
    }

    fn natural(&self, value: i64, name: &str) -> Result<usize> {
        usize::try_from(value)
            .ok()
            .filter(|&n| n <= super::tensor::MAX_ELEMENTS)
            .ok_or_else(|| self.error(format!("{name} has the value {value}")))
    }

    fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let wrapped = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        usize::try_from(wrapped)
            .ok()
            .filter(|&a| a < rank)
            .ok_or_else(|| self.error(format!("axis {axis} is not among {rank}")))
    }

    fn finite(&self, values: &[f32]) -> Result<()> {
        match values.iter().all(|x| x.is_finite()) {
            true => Ok(()),
            false => Err(Error::NotFiniteConstant { node: self.name.into() }),
        }
    }

    fn no_shape(&self) -> Result {
        other("the shape of its input is not known")
    }

    fn no_image(&self) -> Result {
        match self.dims(0) {
            None => self.no_shape(),
            Some(dims) => other(format!("its input of shape {dims:?} is no image")),
        }
    }

    fn invalid(&self, reason: String) -> Result {
        Err(self.error(reason))
    }

    fn error(&self, reason: String) -> Error {
        let (node, operator) = (self.name.into(), self.proto.op_type.clone());
        Error::Node { node, operator, reason }
    }
}

fn other(reason: impl Into<String>) -> Result {
    Ok(Parsed::Other(reason.into()))
}

/// The fully connected layer of a constant matrix, `[inputs, outputs]` or transposed.
fn linear(matrix: &Constant, transposed: bool) -> Option<Linear> {
    let &[rows, columns] = &matrix.dims[..] else { return None };
    let values = matrix.floats()?;
    let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
    let weights = match transposed {
        true => values.to_vec(),
        false => {
            (0..outputs).flat_map(|o| (0..inputs).map(move |i| values[i * outputs + o])).collect()
        }
    };
    let valid = inputs > 0 && outputs > 0;
    valid.then(|| Linear { inputs, outputs, weights, bias: vec![0.0; outputs] })
}

/// A constant that broadcasts to `dims` as one value per channel, or one for all.
fn per_channel(constant: &[usize], values: &[f32], dims: &[usize]) -> Option<Vec<f32>> {
    if constant.len() > dims.len() {
        return None;
    }
    if values.len() == 1 {
        return Some(values.to_vec());
    }
    let offset = dims.len() - constant.len();
    let channels = |(i, &n): (usize, &usize)| match i + offset {
        1 => n == dims[1],
        _ => n == 1,
    };
    constant.iter().enumerate().all(channels).then(|| values.to_vec())
}
