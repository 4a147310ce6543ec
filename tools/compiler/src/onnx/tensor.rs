//! Initializers: typed fields, raw bytes, or a file beside the network.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use half::f16;

use crate::network::{Constant, Data};
use crate::pb::tensor_proto::{DataLocation, DataType};
use crate::{Error, pb};

/// The largest count of elements that Seam addresses in one tensor.
pub(crate) const MAX_ELEMENTS: usize = 1 << 30;

/// Decodes an initializer. `dir` is where the network's external data lie.
pub(crate) fn decode(proto: &pb::TensorProto, dir: &Path) -> Result<Constant, Error> {
    let invalid = |reason: String| Error::Initializer { tensor: proto.name.clone(), reason };
    let dims = proto
        .dims
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| invalid(format!("dimension {d} is negative"))))
        .collect::<Result<Vec<usize>, Error>>()?;
    let count = elements(&proto.name, &dims)?;
    let external;
    let raw = if proto.data_location == Some(DataLocation::External as i32) {
        external = read_external(proto, dir)?;
        &external
    } else {
        &proto.raw_data
    };
    let typed = |found: usize| match found == count {
        true => Ok(()),
        false => Err(invalid(format!("it has {found} elements, its shape says {count}"))),
    };
    let bytes = |size: usize| match raw.len() == count * size {
        true => Ok(raw.chunks_exact(size)),
        false => {
            Err(invalid(format!("it has {} bytes, its shape says {}", raw.len(), count * size)))
        }
    };
    let data = match DataType::try_from(proto.data_type) {
        Ok(DataType::Float) if !proto.float_data.is_empty() => {
            typed(proto.float_data.len())?;
            Data::F32(proto.float_data.clone())
        }
        Ok(DataType::Float) => Data::F32(bytes(4)?.map(|b| f32::from_le_bytes(array(b))).collect()),
        Ok(DataType::Double) if !proto.double_data.is_empty() => {
            typed(proto.double_data.len())?;
            Data::F32(proto.double_data.iter().map(|&x| x as f32).collect())
        }
        Ok(DataType::Double) => {
            Data::F32(bytes(8)?.map(|b| f64::from_le_bytes(array(b)) as f32).collect())
        }
        Ok(DataType::Float16) if !proto.int32_data.is_empty() => {
            typed(proto.int32_data.len())?;
            let widen = |&x: &i32| f16::from_bits(x as u16).to_f32();
            Data::F32(proto.int32_data.iter().map(widen).collect())
        }
        Ok(DataType::Float16) => {
            Data::F32(bytes(2)?.map(|b| f16::from_le_bytes(array(b)).to_f32()).collect())
        }
        Ok(DataType::Int64) if !proto.int64_data.is_empty() => {
            typed(proto.int64_data.len())?;
            Data::I64(proto.int64_data.clone())
        }
        Ok(DataType::Int64) => Data::I64(bytes(8)?.map(|b| i64::from_le_bytes(array(b))).collect()),
        Ok(DataType::Int32) if !proto.int32_data.is_empty() => {
            typed(proto.int32_data.len())?;
            Data::Raw(Box::new(proto.clone()))
        }
        Ok(DataType::Int32) => {
            let _ = bytes(4)?;
            Data::Raw(Box::new(embedded(proto, raw)))
        }
        Ok(other) => match element_bytes(other) {
            Some(size) if !raw.is_empty() => {
                let _ = bytes(size)?;
                Data::Raw(Box::new(embedded(proto, raw)))
            }
            _ => Data::Raw(Box::new(proto.clone())),
        },
        Err(_) => return Err(invalid(format!("element type {} is unknown", proto.data_type))),
    };
    Ok(Constant { dims, data })
}

/// Elements of a tensor of `dims`.
pub(crate) fn elements(value: &str, dims: &[usize]) -> Result<usize, Error> {
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    count.filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| Error::TooLarge {
        value: value.into(),
        elements: dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x"),
    })
}

/// The elements of an int32 tensor that [`decode`] has checked.
pub(crate) fn int32s(proto: &pb::TensorProto) -> Option<Vec<i64>> {
    if proto.data_type != DataType::Int32 as i32 {
        return None;
    }
    Some(if proto.raw_data.is_empty() {
        proto.int32_data.iter().map(|&x| i64::from(x)).collect()
    } else {
        proto.raw_data.chunks_exact(4).map(|b| i64::from(i32::from_le_bytes(array(b)))).collect()
    })
}

/// The protobuf form of `constant`.
pub(crate) fn encode(name: &str, constant: &Constant) -> pb::TensorProto {
    let (data_type, raw_data) = match &constant.data {
        Data::F32(values) => {
            (DataType::Float, values.iter().flat_map(|x| x.to_le_bytes()).collect())
        }
        Data::I64(values) => {
            (DataType::Int64, values.iter().flat_map(|x| x.to_le_bytes()).collect())
        }
        Data::Raw(proto) => return pb::TensorProto { name: name.into(), ..(**proto).clone() },
    };
    pb::TensorProto {
        name: name.into(),
        dims: constant.dims.iter().map(|&d| d as i64).collect(),
        data_type: data_type as i32,
        raw_data,
        ..Default::default()
    }
}

/// The same tensor with its bytes inside.
fn embedded(proto: &pb::TensorProto, raw: &[u8]) -> pb::TensorProto {
    pb::TensorProto {
        raw_data: raw.to_vec(),
        data_location: None,
        external_data: Vec::new(),
        ..proto.clone()
    }
}

fn element_bytes(kind: DataType) -> Option<usize> {
    match kind {
        DataType::Bool | DataType::Int8 | DataType::Uint8 => Some(1),
        DataType::Int16 | DataType::Uint16 | DataType::Bfloat16 => Some(2),
        DataType::Uint32 => Some(4),
        DataType::Uint64 => Some(8),
        _ => None,
    }
}

fn read_external(proto: &pb::TensorProto, dir: &Path) -> Result<Vec<u8>, Error> {
    let entry =
        |key: &str| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let location = entry("location").unwrap_or_default();
    let path = dir.join(location);
    let fail = |reason: String| Error::ExternalData {
        tensor: proto.name.clone(),
        path: path.clone(),
        reason,
    };
    let inside = |c| matches!(c, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !Path::new(location).components().all(inside) {
        return Err(fail("its location is no relative path below the network's folder".into()));
    }
    let number = |key: &str| match entry(key) {
        Some(text) => {
            text.parse::<u64>().map(Some).map_err(|_| fail(format!("its {key} is no number")))
        }
        None => Ok(None),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    let mut file = File::open(&path).map_err(|e| fail(e.to_string()))?;
    let size = file.metadata().map_err(|e| fail(e.to_string()))?.len();
    let length = length.unwrap_or(size.saturating_sub(offset));
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(fail(format!("it is too short, {size} bytes")));
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.take(length).read_to_end(&mut bytes))
        .map_err(|e| fail(e.to_string()))?;
    Ok(bytes)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}
