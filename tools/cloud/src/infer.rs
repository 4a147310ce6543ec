//! The data plane: metadata of tails, and inference.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use seam_compiler::fp32::Tail;
use seam_runtime::graph::Point;
use serde_json::{Map, Value, json};

use crate::body;
use crate::failure::Failure;
use crate::host::Host;
use crate::models::{Net, VERSION, specs};
use crate::protocol::{self, Answer, JSON_LENGTH_HEADER};

/// The request header by which a board says which model its boundary comes from: codes of one
/// calibration mean nothing to the tail of another.
pub const MODEL_HEADER: &str = "seam-model";
/// The response parameter in which the host reports its own time, in nanoseconds.
pub const CLOUD_NS: &str = "cloud_ns";
/// The response parameter in which the host reports the load that the request met.
pub const CLOUD_LOAD: &str = "cloud_load";

/// What a path below `/v2/models/` asks about.
#[derive(Debug, PartialEq)]
pub(crate) struct Target<'a> {
    pub(crate) model: &'a str,
    pub(crate) verb: &'a str,
}

/// Splits `NET@POINT[/versions/V][/VERB]`. Points bear names of ONNX nodes, which may hold slashes
/// (some clients leave them bare), so the path is read from its end.
pub(crate) fn target<'a>(path: &'a str, verbs: &[&'static str]) -> Result<Target<'a>, Failure> {
    let (rest, verb) = match path.rsplit_once('/') {
        Some((rest, verb)) if verbs.contains(&verb) => (rest, verb),
        _ => (path, ""),
    };
    let model = match rest.rsplit_once("/versions/") {
        Some((model, VERSION)) => model,
        Some((model, version)) if !version.contains('/') => {
            return Err(Failure::missing(format!(
                "{model} has no version {version:?}, only {VERSION}"
            )));
        }
        _ => rest,
    };
    Ok(Target { model, verb })
}

/// `GET /v2/models/NET@POINT[/ready]`.
pub(crate) async fn metadata(host: &Arc<Host>, path: &str) -> Result<Response, Failure> {
    let target = target(path, &["ready"])?;
    let (net, point) = host.models.tail(target.model)?;
    let name = target.model.to_string();
    if target.verb == "ready" {
        return Ok(axum::Json(json!({ "name": name, "ready": true })).into_response());
    }
    let net = net.clone();
    let answer = host
        .heavy(move || {
            let (inputs, outputs) = specs(&*tail(&net, point)?);
            Ok(json!({
                "name": name,
                "versions": [VERSION],
                "platform": "seam_fp32",
                "inputs": inputs,
                "outputs": outputs,
            }))
        })
        .await?;
    Ok(axum::Json(answer).into_response())
}

/// `POST /v2/models/NET@POINT/infer`.
pub(crate) async fn infer(
    host: &Arc<Host>,
    path: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let target = target(path, &["infer"])?;
    if target.verb != "infer" {
        return Err(Failure::missing(format!("nothing to POST to at {path:?} but …/infer")));
    }
    let (net, point) = host.models.tail(target.model)?;
    same_model(net, headers)?;
    let json_length = match headers.get(JSON_LENGTH_HEADER) {
        None => None,
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.parse::<usize>().ok());
            Some(number.ok_or_else(|| {
                Failure::bad("Inference-Header-Content-Length is no number of bytes")
            })?)
        }
    };
    let body = body::whole(headers, body, net.body_limit(point), host.config.patience).await?;
    let met = Met { at: Instant::now(), load: host.load() };
    let (net, name) = (net.clone(), target.model.to_string());
    let (body, json_length) =
        host.heavy(move || answer(&net, point, &name, &body, json_length, &met)).await?;
    let mut response = body.into_response();
    let headers = response.headers_mut();
    match json_length {
        None => {
            headers
                .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        }
        Some(length) => {
            headers.insert(JSON_LENGTH_HEADER, header::HeaderValue::from(length));
        }
    }
    Ok(response)
}

/// Refuses a boundary that says it comes from another model than the host's.
fn same_model(net: &Net, headers: &HeaderMap) -> Result<(), Failure> {
    let Some(given) = headers.get(MODEL_HEADER) else { return Ok(()) };
    let given = String::from_utf8_lossy(given.as_bytes());
    if given == net.id() {
        return Ok(());
    }
    Err(Failure::conflict(format!(
        "the board runs model {given} of {}, this host has {}: `seam-edge pull` it anew, or copy \
         the board's NET.seam and NET.onnx to the host",
        net.name,
        net.id()
    )))
}

fn tail(net: &Net, point: Point) -> Result<Arc<Tail>, Failure> {
    net.engine.tail(point).map_err(Failure::internal)
}

/// How a request found the host once all of it had arrived.
struct Met {
    at: Instant,
    load: f64,
}

/// Reads the request, runs the tail, writes the answer; on a thread that may block.
fn answer(
    net: &Net,
    point: Point,
    name: &str,
    body: &Bytes,
    json_length: Option<usize>,
    met: &Met,
) -> Result<(Vec<u8>, Option<usize>), Failure> {
    let tail = tail(net, point)?;
    let (inputs, outputs) = specs(&tail);
    let request = protocol::parse(body, json_length, &inputs, &outputs)?;
    let tensors: Vec<&[u8]> = request.tensors.iter().map(|t| &t[..]).collect();
    let values = tail.run(&tensors).map_err(Failure::internal)?;
    let mut parameters = Map::new();
    parameters.insert(CLOUD_NS.into(), Value::from(met.at.elapsed().as_nanos() as u64));
    parameters.insert(CLOUD_LOAD.into(), Value::from(met.load));
    let answer = Answer { model_name: name, model_version: VERSION, id: request.id, parameters };
    let tensors: Vec<_> = request
        .outputs
        .iter()
        .map(|&(output, binary)| (&outputs[output], &values[..], binary))
        .collect();
    protocol::encode(&answer, &tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_from_its_end() {
        let read = |path| target(path, &["infer", "ready"]).map(|t| (t.model, t.verb)).ok();
        assert_eq!(read("net@p"), Some(("net@p", "")));
        assert_eq!(read("net@p/infer"), Some(("net@p", "infer")));
        assert_eq!(read("net@/a/b/versions/1/ready"), Some(("net@/a/b", "ready")));
        assert_eq!(read("net@/a/b/versions/1"), Some(("net@/a/b", "")));
        assert_eq!(read("net@p/versions/2/infer"), None);
        assert_eq!(read("net@/a/b"), Some(("net@/a/b", "")));
    }
}
