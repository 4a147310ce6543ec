//! Open Inference Protocol v2: an inference request and its answer, as JSON and with the binary
//! tensor extension.
//!
//! With the extension a body is `N` bytes of JSON (`N` stands in the header
//! [`JSON_LENGTH_HEADER`]) and then the raw tensors, in the order of the inputs that carry
//! `"parameters": {"binary_data_size": B}`. Without it the whole body is JSON.
//!
//! Seam's own extension: an input of type `UINT8` may name a codec beside its binary_data_size,
//! `{"codec": "zstd", "binary_data_size": B}`. Its `B` bytes then are the codec's, and its shape and
//! datatype still those of the tensor that they stand for. The server's metadata lists the codecs.

use std::fmt;

use axum::body::Bytes;
use seam_kernels::Shape;
use seam_runtime::Codec;
use seam_runtime::boundary::CODEC_PARAMETER;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// The header that says how many bytes of the body are JSON.
pub(crate) const JSON_LENGTH_HEADER: &str = "inference-header-content-length";

/// The element types that cross a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Datatype {
    /// One byte.
    #[serde(rename = "UINT8")]
    Uint8,
    /// IEEE half, two bytes, little-endian.
    #[serde(rename = "FP16")]
    Fp16,
    /// IEEE single, four bytes, little-endian.
    #[serde(rename = "FP32")]
    Fp32,
}

impl Datatype {
    /// Bytes of one element.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Datatype::Uint8 => 1,
            Datatype::Fp16 => 2,
            Datatype::Fp32 => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Datatype::Uint8 => "UINT8",
            Datatype::Fp16 => "FP16",
            Datatype::Fp32 => "FP32",
        }
    }
}

/// A tensor as model metadata lists it, and as a request's tensors are held to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) datatype: Datatype,
    pub(crate) shape: Vec<usize>,
}

impl Spec {
    /// Bytes of the tensor's raw form.
    pub(crate) fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.datatype.bytes()
    }
}

/// A request that fits its model.
#[derive(Debug)]
pub(crate) struct Request {
    /// Given back in the answer.
    pub(crate) id: Option<String>,
    /// The raw tensors, in the order of the model's inputs.
    pub(crate) tensors: Vec<Bytes>,
    /// What to answer with: index into the model's outputs, and whether in binary form.
    pub(crate) outputs: Vec<(usize, bool)>,
}

#[derive(Deserialize)]
struct Head {
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<HeadInput>,
    #[serde(default)]
    outputs: Vec<HeadOutput>,
}

#[derive(Deserialize)]
struct HeadInput {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    #[serde(default)]
    parameters: Map<String, Value>,
    data: Option<Codes>,
}

#[derive(Deserialize)]
struct HeadOutput {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Reads the request in `body` for a model of these `inputs` and `outputs`. `json_length` is the
/// value of [`JSON_LENGTH_HEADER`].
pub(crate) fn parse(
    body: &Bytes,
    json_length: Option<usize>,
    inputs: &[Spec],
    outputs: &[Spec],
) -> Result<Request, Failure> {
    let split = json_length.unwrap_or(body.len());
    if split > body.len() {
        return Err(Failure::bad(format!(
            "Inference-Header-Content-Length says {split} bytes of JSON, but the body has {} bytes",
            body.len()
        )));
    }
    let head: Head = serde_json::from_slice(&body[..split])
        .map_err(|e| Failure::bad(format!("the request's JSON cannot be read: {e}")))?;
    let given = tensors(head.inputs, &body.slice(split..), inputs)?;
    let mut tensors = Vec::with_capacity(inputs.len());
    for (spec, tensor) in inputs.iter().zip(given) {
        tensors.push(tensor.ok_or_else(|| {
            Failure::bad(format!("input {:?} is missing from the request", spec.name))
        })?);
    }
    let outputs = requested(&head.outputs, &head.parameters, outputs)?;
    Ok(Request { id: head.id, tensors, outputs })
}

/// The tensors of a request by the model's inputs; `raw` is the body behind the JSON.
fn tensors(
    given: Vec<HeadInput>,
    raw: &Bytes,
    specs: &[Spec],
) -> Result<Vec<Option<Bytes>>, Failure> {
    let mut found = vec![None; specs.len()];
    let mut at = 0;
    for input in given {
        let name = &input.name;
        let at_spec = specs.iter().position(|s| s.name == *name).ok_or_else(|| {
            Failure::bad(format!("the model has no input {name:?}; it has {}", names(specs)))
        })?;
        let spec = &specs[at_spec];
        if input.datatype != spec.datatype.name() || input.shape != spec.shape {
            return Err(Failure::bad(format!(
                "input {name:?} is {} {:?}, the model takes {} {:?}",
                input.datatype,
                input.shape,
                spec.datatype.name(),
                spec.shape
            )));
        }
        let tensor = match (input.parameters.get("binary_data_size"), input.data) {
            (Some(_), Some(_)) => {
                return Err(Failure::bad(format!(
                    "input {name:?} has both data and binary_data_size"
                )));
            }
            (Some(size), None) => {
                let size = size
                    .as_u64()
                    .and_then(|size| usize::try_from(size).ok())
                    .filter(|&size| size <= raw.len() - at)
                    .ok_or_else(|| {
                        Failure::bad(format!(
                            "input {name:?} says binary_data_size {size}, but {} bytes are left \
                             behind the JSON",
                            raw.len() - at
                        ))
                    })?;
                at += size;
                let raw = raw.slice(at - size..at);
                match input.parameters.get(CODEC_PARAMETER) {
                    None => raw,
                    Some(codec) => decoded(spec, codec, &raw)?,
                }
            }
            (None, Some(codes)) if spec.datatype == Datatype::Uint8 => Bytes::from(codes.0),
            (None, Some(_)) => {
                return Err(Failure::bad(format!(
                    "input {name:?} is {}, which JSON data cannot carry: send it as binary data",
                    spec.datatype.name()
                )));
            }
            (None, None) => {
                return Err(Failure::bad(format!(
                    "input {name:?} has neither data nor binary_data_size"
                )));
            }
        };
        if tensor.len() != spec.bytes() {
            return Err(Failure::bad(format!(
                "input {name:?} holds {} bytes, its shape {:?} needs {}",
                tensor.len(),
                spec.shape,
                spec.bytes()
            )));
        }
        if found[at_spec].replace(tensor).is_some() {
            return Err(Failure::bad(format!("input {name:?} is given twice")));
        }
    }
    if at != raw.len() {
        return Err(Failure::bad(format!(
            "{} bytes behind the JSON belong to no input",
            raw.len() - at
        )));
    }
    Ok(found)
}

/// The tensor that an input's bytes stand for by its codec.
fn decoded(spec: &Spec, codec: &Value, encoded: &[u8]) -> Result<Bytes, Failure> {
    let refused = |cause: String| Failure::bad(format!("input {:?}: {cause}", spec.name));
    let codec: Codec = match codec.as_str().map(str::parse) {
        Some(Ok(codec)) => codec,
        _ => {
            let known = Codec::names();
            return Err(refused(format!("no codec {codec} here: this host has {known}")));
        }
    };
    let (Datatype::Uint8, &[1, h, w, c]) = (spec.datatype, &spec.shape[..]) else {
        return Err(refused(format!("no codec is for {} {:?}", spec.datatype.name(), spec.shape)));
    };
    let mut codes = vec![0; spec.bytes()];
    codec.decode(Shape::new(h, w, c), encoded, &mut codes).map_err(|e| refused(e.to_string()))?;
    Ok(codes.into())
}

/// The outputs asked for, all of the model's where none are named.
fn requested(
    given: &[HeadOutput],
    parameters: &Map<String, Value>,
    specs: &[Spec],
) -> Result<Vec<(usize, bool)>, Failure> {
    let all_binary = flag(parameters, "binary_data_output")?.unwrap_or(false);
    if given.is_empty() {
        return Ok((0..specs.len()).map(|i| (i, all_binary)).collect());
    }
    let one = |output: &HeadOutput| {
        let at = specs.iter().position(|s| s.name == output.name).ok_or_else(|| {
            Failure::bad(format!(
                "the model has no output {:?}; it has {}",
                output.name,
                names(specs)
            ))
        })?;
        if output.parameters.contains_key("classification") {
            return Err(Failure::bad(
                "the classification extension is not supported: ask for the tensor",
            ));
        }
        Ok((at, flag(&output.parameters, "binary_data")?.unwrap_or(all_binary)))
    };
    given.iter().map(one).collect()
}

fn flag(parameters: &Map<String, Value>, name: &str) -> Result<Option<bool>, Failure> {
    match parameters.get(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(Failure::bad(format!("parameter {name} is {other}, not true or false"))),
    }
}

fn names(specs: &[Spec]) -> String {
    specs.iter().map(|s| format!("{:?}", s.name)).collect::<Vec<_>>().join(", ")
}

/// The codes of a `UINT8` tensor from JSON: a list, nested as deep as its shape or flat.
struct Codes(Vec<u8>);

impl<'de> Deserialize<'de> for Codes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Codes, D::Error> {
        let mut codes = Vec::new();
        deserializer.deserialize_seq(Flatten(&mut codes))?;
        Ok(Codes(codes))
    }
}

/// Appends a number, or every number of a list, to the codes.
struct Flatten<'a>(&'a mut Vec<u8>);

impl<'de> Visitor<'de> for Flatten<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("integers from 0 to 255, or lists of them")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        let code = u8::try_from(number)
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))?;
        self.0.push(code);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Flatten(self.0))?.is_some() {}
        Ok(())
    }
}

impl<'de> de::DeserializeSeed<'de> for Flatten<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What an answer says beside its tensors.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) model_name: &'a str,
    pub(crate) model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Free for the server to use: the host reports its own time here.
    pub(crate) parameters: Map<String, Value>,
}

#[derive(Serialize)]
struct AnswerHead<'a> {
    #[serde(flatten)]
    answer: &'a Answer<'a>,
    outputs: Vec<AnswerOutput<'a>>,
}

#[derive(Serialize)]
struct AnswerOutput<'a> {
    name: &'a str,
    datatype: Datatype,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a [f32]>,
}

/// The body of an answer, and how many of its bytes are JSON where it carries binary tensors.
/// Every output is an `FP32` tensor: its spec, its values, and whether it goes in binary form.
pub(crate) fn encode(
    answer: &Answer<'_>,
    outputs: &[(&Spec, &[f32], bool)],
) -> Result<(Vec<u8>, Option<usize>), Failure> {
    let head = AnswerHead {
        answer,
        outputs: outputs
            .iter()
            .map(|&(spec, values, binary)| AnswerOutput {
                name: &spec.name,
                datatype: Datatype::Fp32,
                shape: &spec.shape,
                parameters: binary
                    .then(|| serde_json::json!({ "binary_data_size": size_of_val(values) })),
                data: (!binary).then_some(values),
            })
            .collect(),
    };
    let mut body = serde_json::to_vec(&head).map_err(Failure::internal)?;
    let json = body.len();
    let mut binaries = outputs.iter().filter(|(_, _, binary)| *binary).peekable();
    let length = binaries.peek().map(|_| json);
    for (_, values, _) in binaries {
        body.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    Ok((body, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> Vec<Spec> {
        vec![
            Spec { name: "a".into(), datatype: Datatype::Uint8, shape: vec![1, 2, 1, 2] },
            Spec { name: "b".into(), datatype: Datatype::Fp16, shape: vec![1, 1] },
        ]
    }

    fn outputs() -> Vec<Spec> {
        vec![Spec { name: "y".into(), datatype: Datatype::Fp32, shape: vec![1, 3] }]
    }

    fn read(json: &str, raw: &[u8]) -> Result<Request, String> {
        let body = Bytes::from([json.as_bytes(), raw].concat());
        parse(&body, Some(json.len()), &specs(), &outputs()).map_err(|f| f.message())
    }

    const A: &str =
        r#"{"name":"a","datatype":"UINT8","shape":[1,2,1,2],"data":[[[[1,2]],[[3,255]]]]}"#;
    const B: &str =
        r#"{"name":"b","datatype":"FP16","shape":[1,1],"parameters":{"binary_data_size":2}}"#;

    #[test]
    fn json_and_binary_inputs_mix_in_any_order() {
        for inputs in [format!("{A},{B}"), format!("{B},{A}")] {
            let request = read(&format!(r#"{{"id":"7","inputs":[{inputs}]}}"#), &[8, 9]).unwrap();
            assert_eq!(request.id.as_deref(), Some("7"));
            assert_eq!(request.tensors, [&[1u8, 2, 3, 255][..], &[8, 9]]);
            assert_eq!(request.outputs, [(0, false)]);
        }
    }

    #[test]
    fn binary_output_is_asked_for_one_by_one_or_for_all() {
        let with = |tail: &str| read(&format!(r#"{{"inputs":[{A},{B}],{tail}}}"#), &[8, 9]);
        let all = r#""parameters":{"binary_data_output":true}"#;
        assert_eq!(with(all).unwrap().outputs, [(0, true)]);
        let one = r#""outputs":[{"name":"y","parameters":{"binary_data":true}}]"#;
        assert_eq!(with(one).unwrap().outputs, [(0, true)]);
        let not_this = r#""parameters":{"binary_data_output":true},
            "outputs":[{"name":"y","parameters":{"binary_data":false}}]"#;
        assert_eq!(with(not_this).unwrap().outputs, [(0, false)]);
    }

    #[test]
    fn a_wrong_request_is_refused_with_its_cause() {
        let b4 = B.replace(":2}", ":4}");
        let cases = [
            (format!(r#"{{"inputs":[{A}]}}"#), &[][..], "\"b\" is missing"),
            (format!(r#"{{"inputs":[{A},{A},{B}]}}"#), &[8, 9], "given twice"),
            (format!(r#"{{"inputs":[{A},{B}]}}"#), &[8, 9, 10], "1 bytes behind the JSON"),
            (format!(r#"{{"inputs":[{A},{B}]}}"#), &[8], "1 bytes are left"),
            (format!(r#"{{"inputs":[{A},{b4}]}}"#), &[8, 9, 8, 9], "holds 4 bytes"),
            (format!(r#"{{"inputs":[{}]}}"#, A.replace("255", "256")), &[], "256"),
            (format!(r#"{{"inputs":[{}]}}"#, A.replace("255", "2.5")), &[], "2.5"),
            (format!(r#"{{"inputs":[{}]}}"#, A.replace("[1,2,1,2]", "[2,2]")), &[], "[2, 2]"),
            (format!(r#"{{"inputs":[{}]}}"#, A.replace("UINT8", "INT8")), &[], "INT8"),
            (format!(r#"{{"inputs":[{}]}}"#, A.replace("\"a\"", "\"c\"")), &[], "no input \"c\""),
            (
                format!(r#"{{"inputs":[{A},{B}],"outputs":[{{"name":"z"}}]}}"#),
                &[8, 9],
                "no output \"z\"",
            ),
            ("{".into(), &[], "cannot be read"),
        ];
        for (json, raw, cause) in cases {
            let message = read(&json, raw).unwrap_err();
            assert!(message.contains(cause), "{message:?} should name {cause:?}");
        }
        let body = Bytes::from_static(b"{}");
        assert!(parse(&body, Some(3), &specs(), &outputs()).is_err());
    }

    #[test]
    fn an_input_that_names_its_codec_is_decoded() {
        let shape = Shape::new(2, 1, 2);
        let coded = |codec: &str, bytes: usize| {
            let parameters = format!(r#"{{"codec":{codec},  "binary_data_size":{bytes} }}"#);
            let a = A.replace(r#""data":[[[[1,2]],[[3,255]]]]"#, "\"parameters\":PARAMETERS");
            format!(r#"{{"inputs":[{},{B}]}}"#, a.replace("PARAMETERS", &parameters))
        };
        for codec in Codec::ALL {
            let mut bytes = [0; 100];
            let n = codec.encoder(shape).encode(&[1, 2, 3, 255], &mut bytes).unwrap();
            let raw = [&bytes[..n], &[8, 9]].concat();
            let request = read(&coded(&format!("{:?}", codec.name()), n), &raw).unwrap();
            assert_eq!(request.tensors, [&[1u8, 2, 3, 255][..], &[8, 9]], "{codec}");
            // Bytes of another tensor, and bytes of none.
            let message =
                read(&coded(&format!("{:?}", codec.name()), n - 1), &raw[1..]).unwrap_err();
            assert!(message.contains("\"a\"") && message.contains(codec.name()), "{message}");
        }
        for unknown in ["\"gzip\"", "7", "null", "\"\""] {
            let message = read(&coded(unknown, 2), &[1, 2, 8, 9]).unwrap_err();
            assert!(message.contains(unknown) && message.contains(&Codec::names()), "{message}");
        }
        let b = B.replace("{\"bin", "{\"codec\":\"zstd\",\"bin");
        let message = read(&format!(r#"{{"inputs":[{A},{b}]}}"#), &[8, 9]).unwrap_err();
        assert!(message.contains("no codec is for FP16"), "{message}");
    }

    #[test]
    fn an_answer_carries_its_tensors_in_the_form_asked_for() {
        let specs = outputs();
        let answer = Answer {
            model_name: "m@p",
            model_version: "1",
            id: Some("7".into()),
            parameters: Map::new(),
        };
        let values = [1.5f32, -2.0, 0.1];
        let (body, length) = encode(&answer, &[(&specs[0], &values, false)]).unwrap();
        assert_eq!(length, None);
        let json: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["id"], "7");
        assert_eq!(json["outputs"][0]["data"][2].as_f64().unwrap() as f32, 0.1);

        let (body, length) = encode(&answer, &[(&specs[0], &values, true)]).unwrap();
        let json: Value = serde_json::from_slice(&body[..length.unwrap()]).unwrap();
        assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 12);
        assert_eq!(body[length.unwrap()..], values.map(f32::to_le_bytes).concat());
    }
}
