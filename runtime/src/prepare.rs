//! From a step to prepared kernel calls: every choice and every constant that a run needs is made
//! here, once.

use std::ops::Range;

use aligned_vec::{AVec, ConstAlign};
use seam_kernels::add::Add;
use seam_kernels::conv::{Algorithm, Conv};
use seam_kernels::float::{self, Input, Output};
use seam_kernels::lrn::Lrn;
use seam_kernels::pool::{self, AveragePool, GlobalAveragePool};
use seam_kernels::softmax::Softmax;
use seam_kernels::table::{self, Table};
use seam_kernels::{Clamp, ConvGeometry, Isa, PoolGeometry, Shape, Team, View, ViewMut};
use seam_kernels::{rearrange, requantize};

use crate::error::{Error, Result};
use crate::graph::{Element, Graph, Op, StepWeights, TensorId};
use crate::memory::{MemoryPlan, Placement, Work};
use crate::model::Model;
use crate::pack::{Pack, algorithms};

/// A step, ready to be called.
pub(crate) struct Prepared {
    call: Call,
    inputs: Vec<Slot>,
    output: Slot,
    /// Bytes of scratch memory.
    pub(crate) scratch: usize,
    /// Bytes of weights laid out here.
    pub(crate) packed_here: usize,
}

/// Where a tensor lies in the arena.
#[derive(Clone, Debug)]
struct Slot {
    bytes: Range<usize>,
    shape: Shape,
    stride: usize,
    element: Element,
}

enum Call {
    Nothing,
    Conv {
        conv: Box<Conv>,
        packed: Packed,
    },
    FloatConv {
        geometry: ConvGeometry,
        min: f32,
        max: f32,
    },
    MaxPool(PoolGeometry),
    AveragePool(AveragePool),
    GlobalAveragePool(GlobalAveragePool),
    Add(Add),
    AddInPlace(Add),
    /// Input, place in the output, and a table where the scales differ.
    Concat(Vec<(usize, Slot, Option<Box<Table>>)>),
    Lrn(Box<Lrn>),
    Softmax(Softmax),
    Table(Box<Table>),
    TableInPlace(Box<Table>),
    Slice {
        start: [usize; 3],
        step: [usize; 3],
    },
    Pad {
        before: [usize; 3],
        value: u8,
    },
    Copy,
}

/// Weights in the kernel's layout.
enum Packed {
    Here(AVec<u8, ConstAlign<64>>),
    /// A range of the pack.
    There(Range<usize>),
}

/// What all steps of a session share.
pub(crate) struct Context<'a> {
    pub(crate) model: &'a Model,
    pub(crate) plan: &'a MemoryPlan,
    pub(crate) isa: Isa,
    pub(crate) threads: usize,
    pub(crate) pack: Option<&'a Pack>,
}

impl Prepared {
    /// Prepares step `step`; `algorithm` names its kernel, where not the preferred one.
    pub(crate) fn new(cx: &Context, step: usize, algorithm: Option<&str>) -> Result<Prepared> {
        let graph = cx.model.graph();
        let record = &graph.steps[step];
        let slot = |id: TensorId| slot(graph, cx.plan, id);
        let inputs: Vec<Slot> = record.inputs.iter().map(|&id| slot(id)).collect();
        let output = slot(record.output);
        let x = &inputs[0];
        let in_place = cx.plan.work[step] == Work::InPlace;
        let clamp = |lo, hi| Clamp { zero_point: output.quantization().1, lo, hi };
        let all = clamp(0, 255);
        let (sx, zx) = x.quantization();
        let (sy, _) = output.quantization();
        let mut scratch = 0;
        let mut packed_here = 0;
        let call = match (&record.op, &cx.plan.work[step]) {
            (_, Work::Nothing) => Call::Nothing,
            (Op::Conv { .. }, _) => {
                let (conv, packed) = match cx.pack {
                    Some(pack) => {
                        let (name, range) = pack.entry(graph, step)?;
                        let conv = named_conv(graph, step, cx.isa, name)?;
                        if range.len() != conv.packed_len() {
                            let (found, expected) = (range.len(), conv.packed_len());
                            let cause = format!("{found} bytes, the kernel's are {expected}");
                            return Err(Error::field(&record.name, "pack", cause));
                        }
                        (conv, Packed::There(range))
                    }
                    None => {
                        let (conv, packed) = pack_step(cx.model, step, cx.isa, algorithm)?;
                        packed_here = packed.len();
                        (conv, Packed::Here(packed))
                    }
                };
                scratch = conv.scratch_len(cx.threads);
                Call::Conv { conv: Box::new(conv), packed }
            }
            (Op::FloatConv { geometry, min, max }, _) => {
                cx.model.verify_step(step)?;
                Call::FloatConv { geometry: *geometry, min: *min, max: *max }
            }
            (Op::MaxPool(geometry), _) => Call::MaxPool(*geometry),
            (Op::AveragePool { geometry, count_include_pad }, _) => Call::AveragePool(
                AveragePool::new(cx.isa, *geometry, *count_include_pad, sx, zx, sy, all),
            ),
            (Op::GlobalAveragePool, _) => {
                Call::GlobalAveragePool(GlobalAveragePool::new(cx.isa, x.shape, sx, zx, sy, all))
            }
            (Op::Add { lo, hi }, _) => {
                let [a, b, y] = [x, &inputs[1], &output].map(Slot::quantization);
                let add = Add::new(cx.isa, a, b, y, *lo, *hi);
                if in_place { Call::AddInPlace(add) } else { Call::Add(add) }
            }
            (Op::Concat, Work::Copies(copied)) => Call::Concat(pieces(&inputs, &output, copied)),
            (Op::Concat, _) => Call::Nothing,
            (Op::Lrn(lrn), _) => Call::Lrn(Box::new(Lrn::new(
                cx.isa,
                lrn.size as usize,
                lrn.alpha,
                lrn.beta,
                lrn.bias,
                (sx, zx),
                sy,
                all,
            ))),
            (Op::Softmax, _) => Call::Softmax(Softmax::new(sx, output.quantization())),
            (Op::Table(codes), _) => {
                let table = Box::new(Table(**codes));
                if in_place { Call::TableInPlace(table) } else { Call::Table(table) }
            }
            (Op::Slice(slice), _) => {
                Call::Slice { start: sizes(slice.start), step: sizes(slice.step) }
            }
            (Op::Pad(pad), _) => Call::Pad { before: sizes(pad.before), value: zx },
            (Op::Reshape, _) => Call::Copy,
        };
        Ok(Prepared { call, inputs, output, scratch, packed_here })
    }

    /// The kernel's name.
    pub(crate) fn name(&self) -> &'static str {
        match &self.call {
            Call::Nothing => "none",
            Call::Conv { conv, .. } => conv.name(),
            Call::FloatConv { .. } => "f32f16-conv",
            Call::MaxPool(_) => "u8-max-pool",
            Call::AveragePool(_) => "u8-average-pool",
            Call::GlobalAveragePool(_) => "u8-global-average-pool",
            Call::Add(_) => "u8-add",
            Call::AddInPlace(_) => "u8-add-in-place",
            Call::Concat(pieces) if pieces.is_empty() => "none",
            Call::Concat(_) => "u8-concat",
            Call::Lrn(_) => "u8-lrn",
            Call::Softmax(_) => "u8-softmax",
            Call::Table(_) => "u8-table",
            Call::TableInPlace(_) => "u8-table-in-place",
            Call::Slice { .. } => "u8-slice",
            Call::Pad { .. } => "u8-pad",
            Call::Copy => "copy",
        }
    }

    /// Runs the step, number `step` of `resources.model`, on `arena`. Allocates nothing.
    pub(crate) fn run(
        &self,
        step: usize,
        resources: &Resources,
        arena: &mut [u8],
        scratch: &mut [u8],
    ) {
        let &Resources { model, pack, isa, team } = resources;
        if matches!(self.call, Call::Nothing) {
            return;
        }
        if let Call::Concat(pieces) = &self.call {
            for (input, place, table) in pieces {
                let (others, y) = Others::around(arena, place);
                let x = others.view(&self.inputs[*input]);
                match table {
                    Some(table) => table::apply(isa, table, x, y, team),
                    None => rearrange::copy(x, y, team),
                }
            }
            return;
        }
        let (others, mut y) = Others::around(arena, &self.output);
        let input = |i: usize| others.view(&self.inputs[i]);
        match &self.call {
            Call::Conv { conv, packed } => {
                let packed = match (packed, pack) {
                    (Packed::Here(bytes), _) => &bytes[..],
                    (Packed::There(range), Some(pack)) => pack.bytes(range.clone()),
                    (Packed::There(_), None) => unreachable!("prepared with a pack"),
                };
                conv.run(packed, input(0), y, scratch, team);
            }
            Call::FloatConv { geometry, min, max } => {
                let StepWeights::Float { bias, weights } = model.weights(step) else {
                    unreachable!("a float layer has float weights");
                };
                let x = match self.inputs[0].element {
                    Element::U8 { scale, zero_point } => Input::U8(input(0), (scale, zero_point)),
                    Element::F32 => Input::F32(bytemuck::cast_slice(others.bytes(&self.inputs[0]))),
                };
                let y = match self.output.element {
                    Element::U8 { scale, zero_point } => Output::U8(y, (scale, zero_point)),
                    Element::F32 => Output::F32(bytemuck::cast_slice_mut(y.data())),
                };
                float::conv(isa, geometry, weights, bias, x, y, [*min, *max], team);
            }
            Call::MaxPool(geometry) => pool::max(isa, geometry, input(0), y, team),
            Call::AveragePool(pool) => pool.run(input(0), y, team),
            Call::GlobalAveragePool(pool) => pool.run(input(0), y, team),
            Call::Add(add) => add.run(input(0), input(1), y, team),
            Call::AddInPlace(add) => add.run_in_place(y, input(1), team),
            Call::Lrn(lrn) => lrn.run(input(0), y, team),
            Call::Softmax(softmax) => softmax.run(input(0), y, team),
            Call::Table(table) => table::apply(isa, table, input(0), y, team),
            Call::TableInPlace(table) => table::apply_in_place(isa, table, y, team),
            Call::Slice { start, step } => rearrange::slice(*start, *step, input(0), y, team),
            Call::Pad { before, value } => rearrange::pad(*before, *value, input(0), y, team),
            Call::Copy => reshape(input(0), y),
            Call::Nothing | Call::Concat(_) => {}
        }
    }
}

/// What a running step needs beside its own.
pub(crate) struct Resources<'a> {
    pub(crate) model: &'a Model,
    pub(crate) pack: Option<&'a Pack>,
    pub(crate) isa: Isa,
    pub(crate) team: &'a Team,
}

/// The arena on both sides of what a step writes. The plan has made sure that everything a step
/// reads lies wholly on one side.
struct Others<'a> {
    before: &'a [u8],
    behind: &'a [u8],
    behind_from: usize,
}

impl<'a> Others<'a> {
    fn around(arena: &'a mut [u8], y: &Slot) -> (Others<'a>, ViewMut<'a>) {
        let (before, rest) = arena.split_at_mut(y.bytes.start);
        let (bytes, behind) = rest.split_at_mut(y.bytes.len());
        let others = Others { before, behind, behind_from: y.bytes.end };
        (others, ViewMut::new(bytes, y.byte_shape(), y.stride))
    }

    fn bytes(&self, slot: &Slot) -> &'a [u8] {
        let Range { start, end } = slot.bytes;
        match end <= self.before.len() {
            true => &self.before[start..end],
            false => &self.behind[start - self.behind_from..end - self.behind_from],
        }
    }

    fn view(&self, slot: &Slot) -> View<'a> {
        View::new(self.bytes(slot), slot.byte_shape(), slot.stride)
    }
}

impl Slot {
    /// Scale and zero point; of f32, where no kernel asks for them, anything.
    fn quantization(&self) -> (f32, u8) {
        self.element.quantization().unwrap_or((1.0, 0))
    }

    fn byte_shape(&self) -> Shape {
        Shape { c: self.shape.c * self.element.bytes(), ..self.shape }
    }
}

fn slot(graph: &Graph, plan: &MemoryPlan, id: TensorId) -> Slot {
    let Placement { bytes, pixel_stride, .. } =
        plan.placement(id).expect("the plan places every tensor of the edge part");
    let record = graph.tensor(id);
    let (shape, element) = (record.shape, record.element);
    Slot { bytes: bytes.clone(), shape, stride: *pixel_stride, element }
}

/// The pieces of a concat that are copied.
fn pieces(
    inputs: &[Slot],
    output: &Slot,
    copied: &[usize],
) -> Vec<(usize, Slot, Option<Box<Table>>)> {
    let piece = |&k: &usize| {
        let x = &inputs[k];
        let first: usize = inputs[..k].iter().map(|x| x.shape.c).sum();
        let start = output.bytes.start + first;
        let bytes = start..start + x.shape.span(output.stride);
        let place = Slot { bytes, shape: x.shape, ..output.clone() };
        let (from, to) = (x.quantization(), output.quantization());
        (k, place, (from != to).then(|| Box::new(Table::requantize(from, to))))
    };
    copied.iter().map(piece).collect()
}

/// The kernel `name` of a convolution step, whose weights may be packed already.
fn named_conv(graph: &Graph, step: usize, isa: Isa, name: &str) -> Result<Conv> {
    let (geometry, _) = convolution(graph, step);
    let found = Conv::algorithms(isa, &geometry).into_iter().find(|a| a.name() == name);
    found.map(|found| conv(graph, step, found)).ok_or_else(|| no_algorithm(graph, step, isa, name))
}

fn no_algorithm(graph: &Graph, step: usize, isa: Isa, name: &str) -> Error {
    Error::NoAlgorithm {
        step: graph.steps[step].name.clone(),
        algorithm: name.to_string(),
        isa: isa.name(),
    }
}

fn convolution(graph: &Graph, step: usize) -> (ConvGeometry, [u8; 2]) {
    match graph.steps[step].op {
        Op::Conv { geometry, lo, hi } => (geometry, [lo, hi]),
        _ => unreachable!("only convolutions have kernels to choose from"),
    }
}

fn conv(graph: &Graph, step: usize, algorithm: Algorithm) -> Conv {
    let record = &graph.steps[step];
    let (geometry, [lo, hi]) = convolution(graph, step);
    let quantization = |id| graph.tensor(id).element.quantization().unwrap_or((1.0, 0));
    let ((_, zx), (_, zy)) = (quantization(record.inputs[0]), quantization(record.output));
    Conv::with_algorithm(geometry, zx, Clamp { zero_point: zy, lo, hi }, algorithm)
}

/// The step's kernel (that of the name given, or the preferred one), and its weights, checked and
/// in the kernel's layout.
pub(crate) fn pack_step(
    model: &Model,
    step: usize,
    isa: Isa,
    algorithm: Option<&str>,
) -> Result<(Conv, AVec<u8, ConstAlign<64>>)> {
    model.verify_step(step)?;
    let StepWeights::Int8 { scales, bias, weights } = model.weights(step) else {
        unreachable!("a convolution has i8 weights");
    };
    let graph = model.graph();
    let exact = algorithms(model, step, isa);
    let chosen = exact.into_iter().find(|a| algorithm.is_none_or(|name| a.name() == name));
    let chosen =
        chosen.ok_or_else(|| no_algorithm(graph, step, isa, algorithm.unwrap_or_default()))?;
    let conv = conv(graph, step, chosen);
    let record = &graph.steps[step];
    let scale = |id| graph.tensor(id).element.quantization().map_or(1.0, |(scale, _)| scale);
    let multipliers =
        requantize::multipliers(scale(record.inputs[0]), scales, scale(record.output));
    let mut packed = AVec::new(64);
    packed.resize(conv.packed_len(), 0);
    conv.pack(weights, bias, &multipliers, &mut packed);
    Ok((conv, packed))
}

/// The bytes of `x` in the same order, whatever the pixels on either side: where the plan could not
/// place both together.
fn reshape(x: View, mut y: ViewMut) {
    let mut bytes = (0..x.shape().pixels()).flat_map(|i| x.pixel(i));
    for i in 0..y.shape().pixels() {
        y.pixel(i).iter_mut().zip(&mut bytes).for_each(|(y, &x)| *y = x);
    }
}

fn sizes(values: [u32; 3]) -> [usize; 3] {
    values.map(|n| n as usize)
}
