//! The graph, field by field. Reading checks what the bytes can say at all (enums, flags, counts);
//! [`crate::validate`] checks what the values mean together.

use seam_kernels::{ConvGeometry, PoolGeometry, Shape, Window};

use super::bytes::{Reader, Record, Writer};
use crate::error::Result;
use crate::graph::{Candidate, Element, Graph, Lrn, Op, Pad, Slice, Step, Stop, Tensor, TensorId};
use crate::preprocess::{Channels, Geometry, Preprocess};

/// The tags of operators in the file.
mod tag {
    pub(super) const CONV: u8 = 1;
    pub(super) const FLOAT_CONV: u8 = 2;
    pub(super) const MAX_POOL: u8 = 3;
    pub(super) const AVERAGE_POOL: u8 = 4;
    pub(super) const GLOBAL_AVERAGE_POOL: u8 = 5;
    pub(super) const ADD: u8 = 6;
    pub(super) const CONCAT: u8 = 7;
    pub(super) const LRN: u8 = 8;
    pub(super) const SOFTMAX: u8 = 9;
    pub(super) const TABLE: u8 = 10;
    pub(super) const SLICE: u8 = 11;
    pub(super) const PAD: u8 = 12;
    pub(super) const RESHAPE: u8 = 13;
}

pub(crate) fn write(w: &mut Writer, graph: &Graph) {
    w.string(&graph.name);
    write_preprocess(w, &graph.preprocess);
    w.size(graph.tensors.len());
    for tensor in &graph.tensors {
        w.string(&tensor.name);
        write_shape(w, tensor.shape);
        match tensor.element {
            Element::U8 { scale, zero_point } => {
                w.u8(0);
                w.f32(scale);
                w.u8(zero_point);
            }
            Element::F32 => w.u8(1),
        }
    }
    w.size(graph.layers.len());
    graph.layers.iter().for_each(|layer| w.string(layer));
    w.size(graph.steps.len());
    for step in &graph.steps {
        w.string(&step.name);
        w.u32(step.layer);
        w.size(step.inputs.len());
        step.inputs.iter().for_each(|id| w.u32(id.0));
        w.u32(step.output.0);
        write_op(w, &step.op);
    }
    w.u32(graph.input.0);
    w.u8(graph.output.is_some().into());
    graph.output.iter().for_each(|id| w.u32(id.0));
    w.size(graph.candidates.len());
    for candidate in &graph.candidates {
        w.string(&candidate.name);
        w.u32(candidate.steps);
        w.u32(candidate.boundary.0);
    }
    w.u8(graph.stop.is_some().into());
    if let Some(stop) = &graph.stop {
        [&stop.node, &stop.operator, &stop.reason].into_iter().for_each(|s| w.string(s));
    }
}

pub(crate) fn read(r: &mut Reader) -> Result<Graph> {
    let name = r.string("name")?;
    r.record(Record::Named("preprocess"));
    let preprocess = read_preprocess(r)?;

    r.record(Record::Named("header"));
    let count = r.count(15, "tensors")?;
    let mut tensors = Vec::with_capacity(count);
    for i in 0..count {
        r.record(Record::Nth("tensor", i));
        let (name, shape) = (r.string("name")?, read_shape(r, "shape")?);
        let element = match r.u8("element")? {
            0 => Element::U8 { scale: r.f32("scale")?, zero_point: r.u8("zero point")? },
            1 => Element::F32,
            other => return Err(r.error("element", format!("no element has the number {other}"))),
        };
        tensors.push(Tensor { name, shape, element });
    }

    r.record(Record::Named("header"));
    let count = r.count(2, "layers")?;
    let mut layers = Vec::with_capacity(count);
    for i in 0..count {
        r.record(Record::Nth("layer", i));
        layers.push(r.string("name")?);
    }

    r.record(Record::Named("header"));
    let count = r.count(15, "steps")?;
    let mut steps = Vec::with_capacity(count);
    for i in 0..count {
        r.record(Record::Nth("step", i));
        let (name, layer) = (r.string("name")?, r.u32("layer")?);
        let count = r.count(4, "inputs")?;
        let inputs = (0..count).map(|_| r.u32("inputs").map(TensorId)).collect::<Result<_>>()?;
        let output = TensorId(r.u32("output")?);
        steps.push(Step { name, layer, inputs, output, op: read_op(r)? });
    }

    r.record(Record::Named("header"));
    let input = TensorId(r.u32("input")?);
    let output = match r.flag("output")? {
        true => Some(TensorId(r.u32("output")?)),
        false => None,
    };
    let count = r.count(10, "candidates")?;
    let mut candidates = Vec::with_capacity(count);
    for i in 0..count {
        r.record(Record::Nth("candidate", i));
        let (name, steps) = (r.string("name")?, r.u32("steps")?);
        candidates.push(Candidate { name, steps, boundary: TensorId(r.u32("boundary")?) });
    }
    r.record(Record::Named("stop"));
    let stop = match r.flag("presence")? {
        true => Some(Stop {
            node: r.string("node")?,
            operator: r.string("operator")?,
            reason: r.string("reason")?,
        }),
        false => None,
    };
    Ok(Graph { name, preprocess, tensors, layers, steps, input, output, candidates, stop })
}

fn write_shape(w: &mut Writer, shape: Shape) {
    [shape.h, shape.w, shape.c].into_iter().for_each(|n| w.size(n));
}

fn read_shape(r: &mut Reader, field: &'static str) -> Result<Shape> {
    Ok(Shape::new(r.size(field)?, r.size(field)?, r.size(field)?))
}

fn write_window(w: &mut Writer, window: &Window) {
    let Window { kernel, stride, dilation, pad } = window;
    [kernel, stride, dilation, pad].into_iter().flatten().for_each(|&n| w.size(n));
}

fn read_window(r: &mut Reader) -> Result<Window> {
    let mut pair = |field| -> Result<_> { Ok([r.size(field)?, r.size(field)?]) };
    Ok(Window {
        kernel: pair("kernel")?,
        stride: pair("stride")?,
        dilation: pair("dilation")?,
        pad: pair("pad")?,
    })
}

fn write_conv(w: &mut Writer, geometry: &ConvGeometry) {
    write_shape(w, geometry.input);
    write_shape(w, geometry.output);
    write_window(w, &geometry.window);
    w.size(geometry.groups);
}

fn read_conv(r: &mut Reader) -> Result<ConvGeometry> {
    Ok(ConvGeometry {
        input: read_shape(r, "input shape")?,
        output: read_shape(r, "output shape")?,
        window: read_window(r)?,
        groups: r.size("groups")?,
    })
}

fn write_pool(w: &mut Writer, geometry: &PoolGeometry) {
    write_shape(w, geometry.input);
    write_shape(w, geometry.output);
    write_window(w, &geometry.window);
}

fn read_pool(r: &mut Reader) -> Result<PoolGeometry> {
    Ok(PoolGeometry {
        input: read_shape(r, "input shape")?,
        output: read_shape(r, "output shape")?,
        window: read_window(r)?,
    })
}

fn write_op(w: &mut Writer, op: &Op) {
    match op {
        Op::Conv { geometry, lo, hi } => {
            w.u8(tag::CONV);
            write_conv(w, geometry);
            w.u8(*lo);
            w.u8(*hi);
        }
        Op::FloatConv { geometry, min, max } => {
            w.u8(tag::FLOAT_CONV);
            write_conv(w, geometry);
            w.f32(*min);
            w.f32(*max);
        }
        Op::MaxPool(geometry) => {
            w.u8(tag::MAX_POOL);
            write_pool(w, geometry);
        }
        Op::AveragePool { geometry, count_include_pad } => {
            w.u8(tag::AVERAGE_POOL);
            write_pool(w, geometry);
            w.u8((*count_include_pad).into());
        }
        Op::GlobalAveragePool => w.u8(tag::GLOBAL_AVERAGE_POOL),
        Op::Add { lo, hi } => {
            w.u8(tag::ADD);
            w.u8(*lo);
            w.u8(*hi);
        }
        Op::Concat => w.u8(tag::CONCAT),
        Op::Lrn(lrn) => {
            w.u8(tag::LRN);
            w.u32(lrn.size);
            [lrn.alpha, lrn.beta, lrn.bias].into_iter().for_each(|v| w.f32(v));
        }
        Op::Softmax => w.u8(tag::SOFTMAX),
        Op::Table(table) => {
            w.u8(tag::TABLE);
            w.bytes.extend_from_slice(&table[..]);
        }
        Op::Slice(slice) => {
            w.u8(tag::SLICE);
            slice.start.into_iter().chain(slice.step).for_each(|n| w.u32(n));
        }
        Op::Pad(pad) => {
            w.u8(tag::PAD);
            pad.before.into_iter().chain(pad.after).for_each(|n| w.u32(n));
        }
        Op::Reshape => w.u8(tag::RESHAPE),
    }
}

fn read_op(r: &mut Reader) -> Result<Op> {
    Ok(match r.u8("operator")? {
        tag::CONV => Op::Conv { geometry: read_conv(r)?, lo: r.u8("lo")?, hi: r.u8("hi")? },
        tag::FLOAT_CONV => {
            Op::FloatConv { geometry: read_conv(r)?, min: r.f32("min")?, max: r.f32("max")? }
        }
        tag::MAX_POOL => Op::MaxPool(read_pool(r)?),
        tag::AVERAGE_POOL => Op::AveragePool {
            geometry: read_pool(r)?,
            count_include_pad: r.flag("count_include_pad")?,
        },
        tag::GLOBAL_AVERAGE_POOL => Op::GlobalAveragePool,
        tag::ADD => Op::Add { lo: r.u8("lo")?, hi: r.u8("hi")? },
        tag::CONCAT => Op::Concat,
        tag::LRN => Op::Lrn(Lrn {
            size: r.u32("size")?,
            alpha: r.f32("alpha")?,
            beta: r.f32("beta")?,
            bias: r.f32("bias")?,
        }),
        tag::SOFTMAX => Op::Softmax,
        tag::TABLE => {
            let mut table = Box::new([0; 256]);
            table.copy_from_slice(r.take(256, "table")?);
            Op::Table(table)
        }
        tag::SLICE => {
            Op::Slice(Slice { start: read_axes(r, "start")?, step: read_axes(r, "step")? })
        }
        tag::PAD => Op::Pad(Pad { before: read_axes(r, "before")?, after: read_axes(r, "after")? }),
        tag::RESHAPE => Op::Reshape,
        other => {
            return Err(r.error("operator", format!("no operator has the number {other}")));
        }
    })
}

fn read_axes(r: &mut Reader, field: &'static str) -> Result<[u32; 3]> {
    Ok([r.u32(field)?, r.u32(field)?, r.u32(field)?])
}

fn write_preprocess(w: &mut Writer, preprocess: &Preprocess) {
    w.size(preprocess.geometry.len());
    for rule in &preprocess.geometry {
        let (tag, [a, b]) = match *rule {
            Geometry::CenterCrop { height, width } => (0, [height, width]),
            Geometry::Resize { height, width } => (1, [height, width]),
            Geometry::ShortSide(side) => (2, [side, 0]),
        };
        w.u8(tag);
        w.u32(a);
        w.u32(b);
    }
    w.u8(match preprocess.channels {
        Channels::Rgb => 0,
        Channels::Bgr => 1,
        Channels::Gray => 2,
    });
    w.f32(preprocess.scale);
    for values in [&preprocess.mean, &preprocess.std] {
        w.size(values.len());
        values.iter().for_each(|&v| w.f32(v));
    }
}

fn read_preprocess(r: &mut Reader) -> Result<Preprocess> {
    let count = r.count(9, "geometry")?;
    let mut geometry = Vec::with_capacity(count);
    for _ in 0..count {
        let (tag, a, b) = (r.u8("geometry")?, r.u32("geometry")?, r.u32("geometry")?);
        geometry.push(match tag {
            0 => Geometry::CenterCrop { height: a, width: b },
            1 => Geometry::Resize { height: a, width: b },
            2 => Geometry::ShortSide(a),
            other => return Err(r.error("geometry", format!("no rule has the number {other}"))),
        });
    }
    let channels = match r.u8("channels")? {
        0 => Channels::Rgb,
        1 => Channels::Bgr,
        2 => Channels::Gray,
        other => return Err(r.error("channels", format!("no order has the number {other}"))),
    };
    let scale = r.f32("scale")?;
    let mut values = |field| -> Result<Vec<f32>> {
        let count = r.count(4, field)?;
        (0..count).map(|_| r.f32(field)).collect()
    };
    Ok(Preprocess { geometry, channels, scale, mean: values("mean")?, std: values("std")? })
}
