//! What crosses the uplink: the body of an Open Inference Protocol v2 request with binary tensors.
//!
//! ```text
//! {"inputs":[{"name":…,"shape":[1,h,w,c],"datatype":"UINT8","parameters":{"binary_data_size":n}}],
//!  "parameters":{"binary_data_output":true}}  n raw bytes
//! ```
//!
//! u8 tensors cross as they are (`UINT8`), f32 tensors as `FP16`; at the point `input` the u8
//! pixels cross, after crop and resize and before normalization. The JSON never changes, so it is
//! written once, into the body that every request is encoded into.

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde_json::json;

use crate::graph::{Element, Graph, Point, TensorId};
use crate::session::Session;

/// How the tensor of a boundary looks on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The tensor.
    pub tensor: TensorId,
    /// Its name, that of the tail's input.
    pub name: String,
    /// What its elements are.
    pub datatype: Datatype,
    /// `[1, height, width, channels]`.
    pub shape: [usize; 4],
    /// Bytes on the wire.
    pub bytes: usize,
}

/// The protocol's word for the elements of a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// One byte: codes, or pixels at the point `input`.
    Uint8,
    /// IEEE half precision.
    Fp16,
}

impl Datatype {
    /// `UINT8` or `FP16`.
    pub const fn name(self) -> &'static str {
        match self {
            Datatype::Uint8 => "UINT8",
            Datatype::Fp16 => "FP16",
        }
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Datatype::Uint8 => 1,
            Datatype::Fp16 => 2,
        }
    }
}

/// The tensor that crosses at `point`; at `output`, the network's answer.
///
/// # Panics
/// `point` is not of this graph.
pub fn describe(graph: &Graph, point: Point) -> Description {
    let tensor = graph.boundary(point);
    let record = graph.tensor(tensor);
    let datatype = match record.element {
        Element::U8 { .. } => Datatype::Uint8,
        Element::F32 => Datatype::Fp16,
    };
    Description {
        tensor,
        name: record.name.clone(),
        datatype,
        shape: [1, record.shape.h, record.shape.w, record.shape.c],
        bytes: record.shape.len() * datatype.bytes(),
    }
}

/// The name under which the cloud serves the tail behind `point`: `NET@POINT`.
///
/// # Panics
/// `point` is not of this graph.
pub fn tail_name(graph: &Graph, point: Point) -> String {
    format!("{}@{}", graph.name, graph.point_name(point))
}

/// A request body, made once for a point and filled again for every image.
pub struct Frame {
    point: Point,
    description: Description,
    body: Vec<u8>,
    header: usize,
}

impl Frame {
    /// The body of requests at `point`; `id` is the request's, where the server is to repeat it.
    ///
    /// # Panics
    /// `point` is not of this graph.
    pub fn new(graph: &Graph, point: Point, id: Option<&str>) -> Frame {
        let description = describe(graph, point);
        let mut json = json!({
            "inputs": [{
                "name": description.name,
                "shape": description.shape,
                "datatype": description.datatype.name(),
                "parameters": { "binary_data_size": description.bytes },
            }],
            "parameters": { "binary_data_output": true },
        });
        if let Some(id) = id {
            json["id"] = id.into();
        }
        let mut body = json.to_string().into_bytes();
        let header = body.len();
        body.resize(header + description.bytes, 0);
        Frame { point, description, body, header }
    }

    /// The point at which this frame cuts.
    pub fn point(&self) -> Point {
        self.point
    }

    /// The tensor that it carries.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Bytes of the JSON in front: the request's `Inference-Header-Content-Length`.
    pub fn header_len(&self) -> usize {
        self.header
    }

    /// The whole body as last encoded.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The raw tensor as last encoded.
    pub fn tensor(&self) -> &[u8] {
        &self.body[self.header..]
    }

    /// Fills in the boundary tensor of `session`, which has run to this frame's point, and returns
    /// the body. Allocates nothing.
    ///
    /// # Panics
    /// The session's model has another graph, or the point is `input` (its pixels are not the
    /// session's: [`Frame::encode_pixels`]).
    pub fn encode(&mut self, session: &Session) -> &[u8] {
        assert_ne!(self.point, Point::Input, "at `input` the pixels cross: use encode_pixels");
        let tensor = session.tensor(self.description.tensor);
        let out = &mut self.body[self.header..];
        match self.description.datatype {
            Datatype::Uint8 => {
                let c = tensor.shape().c;
                for (i, pixel) in out.chunks_exact_mut(c).enumerate() {
                    pixel.copy_from_slice(tensor.pixel(i));
                }
            }
            Datatype::Fp16 => {
                // Through a fixed buffer: the body's tensor may lie at an odd address.
                let values: &[f32] = bytemuck::cast_slice(tensor.data());
                let mut narrow = [f16::ZERO; 64];
                for (values, out) in values.chunks(64).zip(out.chunks_mut(128)) {
                    let narrow = &mut narrow[..values.len()];
                    narrow.convert_from_f32_slice(values);
                    out.copy_from_slice(bytemuck::cast_slice(narrow));
                }
            }
        }
        &self.body
    }

    /// Fills in the pixels that cross at the point `input`, as [`crate::Preprocess::pixels`] makes
    /// them, and returns the body. Allocates nothing.
    ///
    /// # Panics
    /// The point is not `input`, or `pixels` has another length than the input tensor.
    pub fn encode_pixels(&mut self, pixels: &[u8]) -> &[u8] {
        assert_eq!(self.point, Point::Input, "pixels cross at `input` only");
        self.body[self.header..].copy_from_slice(pixels);
        &self.body
    }
}
