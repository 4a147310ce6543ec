//! What crosses the uplink: the body of an Open Inference Protocol v2 request with binary tensors.
//!
//! ```text
//! {"inputs":[{"name":…,"shape":[1,h,w,c],"datatype":"UINT8","parameters":{"binary_data_size":n}}],
//!  "parameters":{"binary_data_output":true}}  n raw bytes
//! ```
//!
//! u8 tensors cross as they are (`UINT8`), f32 tensors as `FP16`; at the point `input` the u8
//! pixels cross, after crop and resize and before normalization.
//!
//! A u8 tensor may cross in fewer bytes: then the input's parameters name the [`Codec`] as well,
//! `{"codec":"zstd","binary_data_size":n}`, `n` is the number of bytes that cross, and shape and
//! datatype still state the tensor. One that would not shrink crosses raw, and its request names no
//! codec. Both forms of the parameters are written into the same place, filled up with spaces, so
//! that the JSON keeps its length: it is written once, into the body that every request is encoded
//! into.

use std::fmt;
use std::io::Write;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;
use seam_kernels::Shape;
use serde_json::json;

use crate::codec::{Codec, Encoder};
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

    /// As what a tensor's elements cross: reals cross as f16.
    pub const fn of(element: Element) -> Datatype {
        match element {
            Element::U8 { .. } => Datatype::Uint8,
            Element::F32 => Datatype::Fp16,
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
    let datatype = Datatype::of(record.element);
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

/// The parameter by which an input names its codec.
pub const CODEC_PARAMETER: &str = "codec";

/// A request body, made once for a point and filled again for every image.
pub struct Frame {
    point: Point,
    description: Description,
    /// The JSON and room for the tensor.
    body: Vec<u8>,
    header: usize,
    /// Bytes behind the JSON, as last encoded.
    payload: usize,
    coded: Option<Coded>,
}

/// What a frame needs beside its body to send its tensor in fewer bytes.
struct Coded {
    encoder: Encoder,
    raw: Vec<u8>,
    /// Where the input's parameters stand in the JSON, with room for the longest.
    parameters: Range<usize>,
}

impl Frame {
    /// The body of requests at `point`; `id` is the request's, where the server is to repeat it.
    ///
    /// # Panics
    /// `point` is not of this graph.
    pub fn new(graph: &Graph, point: Point, id: Option<&str>) -> Frame {
        Frame::made(graph, point, id, None)
    }

    /// The same, of a tensor that crosses by `codec`. Tensors that are no u8 have no codec: their
    /// frames are those of [`Frame::new`].
    ///
    /// # Panics
    /// `point` is not of this graph.
    pub fn coded(graph: &Graph, point: Point, id: Option<&str>, codec: Codec) -> Frame {
        Frame::made(graph, point, id, Some(codec))
    }

    fn made(graph: &Graph, point: Point, id: Option<&str>, codec: Option<Codec>) -> Frame {
        let description = describe(graph, point);
        let (payload, [_, h, w, c]) = (description.bytes, description.shape);
        let codec = codec.filter(|_| description.datatype == Datatype::Uint8);
        let parameters = Parameters { codec, bytes: payload }.to_string();
        let (mut body, start) = header(&description, &parameters, id);
        let header = body.len();
        body.resize(header + payload, 0);
        let coded = codec.map(|codec| Coded {
            encoder: codec.encoder(Shape::new(h, w, c)),
            raw: vec![0; payload],
            parameters: start..start + parameters.len(),
        });
        let mut frame = Frame { point, description, body, header, payload, coded };
        frame.finish();
        frame
    }

    /// The point at which this frame cuts.
    pub fn point(&self) -> Point {
        self.point
    }

    /// The tensor that it carries.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The codec that it was made with.
    pub fn codec(&self) -> Option<Codec> {
        self.coded.as_ref().map(|coded| coded.encoder.codec())
    }

    /// Bytes of the JSON in front: the request's `Inference-Header-Content-Length`.
    pub fn header_len(&self) -> usize {
        self.header
    }

    /// The whole body as last encoded.
    pub fn body(&self) -> &[u8] {
        &self.body[..self.header + self.payload]
    }

    /// The raw tensor as last encoded, whatever form it crosses in.
    pub fn tensor(&self) -> &[u8] {
        match &self.coded {
            Some(coded) => &coded.raw,
            None => &self.body[self.header..],
        }
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
        let out = match &mut self.coded {
            Some(coded) => &mut coded.raw[..],
            None => &mut self.body[self.header..],
        };
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
        self.finish()
    }

    /// Fills in the pixels that cross at the point `input`, as [`crate::Preprocess::pixels`] makes
    /// them, and returns the body. Allocates nothing.
    ///
    /// # Panics
    /// The point is not `input`, or `pixels` has another length than the input tensor.
    pub fn encode_pixels(&mut self, pixels: &[u8]) -> &[u8] {
        assert_eq!(self.point, Point::Input, "pixels cross at `input` only");
        match &mut self.coded {
            Some(coded) => coded.raw.copy_from_slice(pixels),
            None => self.body[self.header..].copy_from_slice(pixels),
        }
        self.finish()
    }

    /// Encodes the raw tensor, where this frame has a codec, and says so in the JSON.
    fn finish(&mut self) -> &[u8] {
        if let Some(Coded { encoder, raw, parameters }) = &mut self.coded {
            let (json, payload) = self.body.split_at_mut(self.header);
            // Room for one byte less than the tensor: what does not shrink crosses as it is.
            let room = payload.len() - 1;
            let encoded = encoder.encode(raw, &mut payload[..room]);
            if encoded.is_none() {
                payload.copy_from_slice(raw);
            }
            self.payload = encoded.unwrap_or(raw.len());
            let codec = encoded.map(|_| encoder.codec());
            let mut place = &mut json[parameters.clone()];
            place.fill(b' ');
            write!(place, "{}", Parameters { codec, bytes: self.payload })
                .expect("no parameters are longer than those of the raw size with a codec");
        }
        self.body()
    }
}

/// The parameters of a request's input, without the braces.
struct Parameters {
    codec: Option<Codec>,
    bytes: usize,
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(codec) = self.codec {
            write!(f, "\"{CODEC_PARAMETER}\":\"{codec}\",")?;
        }
        write!(f, "\"binary_data_size\":{}", self.bytes)
    }
}

/// The request's JSON, and where in it the input's `parameters` begin.
fn header(description: &Description, parameters: &str, id: Option<&str>) -> (Vec<u8>, usize) {
    let mut input = json!({
        "name": description.name,
        "shape": description.shape,
        "datatype": description.datatype.name(),
    })
    .to_string();
    // The closing brace.
    input.pop();
    let before = format!("{{\"inputs\":[{input},\"parameters\":{{");
    let id = id.map_or(String::new(), |id| format!(",\"id\":{}", json!(id)));
    let after = format!("}}}}],\"parameters\":{{\"binary_data_output\":true}}{id}}}");
    let start = before.len();
    ((before + parameters + &after).into_bytes(), start)
}
