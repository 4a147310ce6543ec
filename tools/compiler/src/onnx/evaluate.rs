//! What single nodes yield, asked of the FP32 engine: values of nodes that read only constants, and
//! shapes behind operators that the edge does not know.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;

use crate::network::{Constant, Data};
use crate::onnx::tensor;
use crate::pb::{self, tensor_proto::DataType};

/// A value that a node reads.
pub(crate) enum Operand<'a> {
    Constant(&'a Arc<Constant>),
    /// f32 of these dimensions.
    Activation(&'a [usize]),
}

/// The output of a node that reads only constants; `None` where the engine cannot tell.
pub(crate) fn value(
    node: &pb::NodeProto,
    opset: i64,
    operands: &[(&str, Operand<'_>)],
) -> Option<Constant> {
    let outputs = guarded(|| {
        let model = single(node, opset, operands).ok()?;
        model.into_typed().and_then(|m| m.into_runnable()).and_then(|m| m.run(tvec!())).ok()
    })?;
    constant(outputs.first()?)
}

/// Dimensions of every output of a node; `None` where the engine cannot tell or they are not fixed.
pub(crate) fn shapes(
    node: &pb::NodeProto,
    opset: i64,
    operands: &[(&str, Operand<'_>)],
) -> Option<Vec<Vec<usize>>> {
    guarded(|| {
        let model = single(node, opset, operands).and_then(|m| m.into_typed()).ok()?;
        let outlets = model.output_outlets().ok()?.to_vec();
        let dims = |outlet| {
            let fact = model.outlet_fact(outlet).ok()?;
            fact.shape.as_concrete().map(<[usize]>::to_vec)
        };
        outlets.into_iter().map(dims).collect()
    })
}

/// The engine trusts its input more than a file from outside deserves.
fn guarded<T>(f: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok().flatten()
}

fn single(
    node: &pb::NodeProto,
    opset: i64,
    operands: &[(&str, Operand<'_>)],
) -> TractResult<InferenceModel> {
    let mut graph = pb::GraphProto { node: vec![node.clone()], ..Default::default() };
    for (name, operand) in operands {
        match operand {
            Operand::Constant(constant) => graph.initializer.push(tensor::encode(name, constant)),
            Operand::Activation(dims) => graph.input.push(super::export::float_info(name, dims)),
        }
    }
    graph.output = node
        .output
        .iter()
        .filter(|o| !o.is_empty())
        .map(|o| pb::ValueInfoProto { name: o.clone(), ..Default::default() })
        .collect();
    let model = super::export::model(graph, opset);
    Ok(tract_onnx::onnx().parse(&model, None)?.model)
}

fn constant(value: &TValue) -> Option<Constant> {
    let dims = value.shape().to_vec();
    let data = match value.datum_type() {
        DatumType::F32 => Data::F32(elements(value)?),
        DatumType::I64 => Data::I64(elements(value)?),
        DatumType::TDim => Data::I64(elements(value.cast_to::<i64>().ok()?.as_ref())?),
        DatumType::I32 => Data::Raw(raw(&dims, DataType::Int32, &elements::<i32>(value)?)),
        DatumType::Bool => {
            let bits: Vec<i32> = elements::<bool>(value)?.into_iter().map(i32::from).collect();
            Data::Raw(raw(&dims, DataType::Bool, &bits))
        }
        _ => return None,
    };
    Some(Constant { dims, data })
}

fn elements<T: Datum + Copy>(tensor: &Tensor) -> Option<Vec<T>> {
    Some(tensor.to_plain_array_view::<T>().ok()?.iter().copied().collect())
}

fn raw(dims: &[usize], kind: DataType, values: &[i32]) -> Box<pb::TensorProto> {
    Box::new(pb::TensorProto {
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: kind as i32,
        int32_data: values.to_vec(),
        ..Default::default()
    })
}
