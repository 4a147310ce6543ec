//! The cloud host as the board sees it: a blocking HTTP client.
//!
//! No redirects and no proxy: a board talks to the host that it was given.

use std::io::Read;
use std::time::Duration;

use seam_runtime::Codec;
use seam_tuner::{CloudProfile, CodecChoice, Environment, Objective, Plan, Profile};
use serde::Deserialize;
use serde_json::{Map, Value};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use crate::Error;

/// The header that says how many bytes of an inference body are JSON.
const JSON_LENGTH_HEADER: &str = "inference-header-content-length";
/// Longest answer that is read, prefixes aside: every answer is far smaller.
const ANSWER_LIMIT: u64 = 64 << 20;
/// Longest error message that is repeated.
const MESSAGE_LIMIT: usize = 400;
/// The request header that says which model the boundary comes from.
const MODEL_HEADER: &str = "seam-model";
/// The response parameter in which the host reports its own time, in nanoseconds.
const CLOUD_NS: &str = "cloud_ns";
/// The response parameter in which the host reports the load that the request met.
const CLOUD_LOAD: &str = "cloud_load";

/// How long the client waits.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes to come or to go.
    pub stall: Duration,
    /// For the answer to begin: the host may have to build a tail or to measure itself.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(5),
            stall: Duration::from_secs(30),
            answer: Duration::from_secs(300),
        }
    }
}

/// A cloud host. Connections are kept open between requests.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    url: String,
}

/// The cloud's part of an inference.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The network's output.
    pub values: Vec<f32>,
    /// What the host spent between the last byte of the request and the first of the answer;
    /// `None` where the server does not say.
    pub cloud: Option<Duration>,
    /// The load that the request met there; `None` where the server does not say.
    pub load: Option<f64>,
}

impl Client {
    /// A client of the host at `url`, `http://HOST[:PORT]`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(url: &str, timeouts: Timeouts) -> Result<Client, Error> {
        let wrong = |cause| Error::Address { url: url.into(), cause };
        let host = match url.trim().split_once("://") {
            None => url.trim(),
            Some(("http", host)) => host,
            Some(("https", _)) => {
                return Err(wrong("asks for TLS, which seam-edge does not speak"));
            }
            Some(_) => return Err(wrong("is not of the http scheme")),
        };
        let base = format!("http://{}", host.trim_end_matches('/'));
        let uri: ureq::http::Uri = base.parse().map_err(|_| wrong("cannot be parsed"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(wrong("names no host"));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_per_read(Some(timeouts.stall.max(timeouts.answer)))
            .timeout_per_write(Some(timeouts.stall))
            .timeout_recv_response(Some(timeouts.answer))
            .build()
            .into();
        Ok(Client { agent, url: base })
    }

    /// The host's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Is the host there and does it speak the protocol?
    ///
    /// # Errors
    /// It does not.
    pub fn live(&self) -> Result<(), Error> {
        let response = self.sent(self.agent.get(self.at("/v2/health/live")).call())?;
        self.accepted(response).map(drop)
    }

    /// The codecs by which boundaries may cross to this host; none where it does not know Seam's
    /// extension of the protocol. Those that this version does not know are left out.
    ///
    /// # Errors
    /// The host is unreachable, refuses, or answers nonsense.
    pub fn codecs(&self) -> Result<Vec<Codec>, Error> {
        let response = self.sent(self.agent.get(self.at("/v2")).call())?;
        let mut response = self.accepted(response)?;
        let body = self.read(&mut response)?;
        let metadata: ServerMetadata =
            serde_json::from_slice(&body).map_err(|e| self.nonsense(e.to_string()))?;
        let known = metadata.codecs.iter().filter_map(|name| name.as_str()?.parse().ok());
        Ok(known.collect())
    }

    /// Sends the inference request `body`, whose first `json_length` bytes are JSON, to the model
    /// `tail`, and reads the one output tensor of the answer. With `model`, the identity of the
    /// `.seam` file, the host refuses codes of another calibration than its own.
    ///
    /// # Errors
    /// The host is unreachable, refuses, or answers nonsense.
    pub fn infer(
        &self,
        tail: &str,
        model: Option<&str>,
        json_length: usize,
        body: &[u8],
    ) -> Result<Reply, Error> {
        let mut request = self
            .agent
            .post(self.at(&format!("/v2/models/{}/infer", encoded(tail))))
            .content_type("application/octet-stream")
            .header(JSON_LENGTH_HEADER, json_length.to_string());
        if let Some(model) = model {
            request = request.header(MODEL_HEADER, model);
        }
        let response = self.sent(request.send(body))?;
        let mut response = self.accepted(response)?;
        let json_length =
            match response.headers().get(JSON_LENGTH_HEADER) {
                None => None,
                Some(value) => {
                    Some(value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(
                        || self.nonsense("Inference-Header-Content-Length is no number"),
                    )?)
                }
            };
        let body = self.read(&mut response)?;
        reply(&body, json_length).map_err(|cause| self.nonsense(cause))
    }

    /// Stores `profile` as that of `device`.
    ///
    /// # Errors
    /// The host is unreachable or refuses the profile.
    pub fn push_profile(&self, device: &str, profile: &Profile) -> Result<(), Error> {
        let request = self
            .agent
            .put(self.at(&format!("/v2/seam/devices/{}/profile", encoded(device))))
            .content_type("application/json");
        let response = self.sent(request.send(profile.to_json()))?;
        self.accepted(response).map(drop)
    }

    /// The host's plan for `network` on `device`, from the profile that the device has pushed, with
    /// the codecs of `choice`.
    ///
    /// # Errors
    /// The host is unreachable, has no such profile, or answers nonsense.
    pub fn plan(
        &self,
        device: &str,
        network: &str,
        environment: Environment,
        objective: Objective,
        choice: CodecChoice,
    ) -> Result<Plan, Error> {
        let query = [
            ("model", network.to_string()),
            ("uplink", format!("{}B/s", environment.uplink_bytes_per_s)),
            ("burst", format!("{}B", environment.burst_bytes)),
            ("rtt", format!("{}ns", environment.rtt_ns)),
            ("load", environment.cloud_load.to_string()),
            ("objective", objective.name().to_string()),
            ("codec", choice.to_string()),
        ];
        let request = self
            .agent
            .get(self.at(&format!("/v2/seam/devices/{}/plan", encoded(device))))
            .query_pairs(query.iter().map(|(name, value)| (*name, value.as_str())));
        let body = self.answer(request.call())?;
        Plan::from_json(&body).map_err(|e| self.nonsense(e.to_string()))
    }

    /// What `device` has pushed as its profile of `network`.
    ///
    /// # Errors
    /// The host is unreachable, has no such profile, or answers nonsense.
    pub fn profile(&self, device: &str, network: &str) -> Result<Profile, Error> {
        let path = format!("/v2/seam/devices/{}/profile", encoded(device));
        let body = self.answer(self.agent.get(self.at(&path)).query("model", network).call())?;
        Profile::from_json(&body).map_err(|e| self.nonsense(e.to_string()))
    }

    /// The host's own times for the tails of `network`.
    ///
    /// # Errors
    /// The host is unreachable, has no such network, or answers nonsense.
    pub fn cloud_profile(&self, network: &str) -> Result<CloudProfile, Error> {
        let path = format!("/v2/seam/models/{}/profile", encoded(network));
        let body = self.answer(self.agent.get(self.at(&path)).call())?;
        CloudProfile::from_json(&body).map_err(|e| self.nonsense(e.to_string()))
    }

    /// PUTs `body` to `path` and returns the answer.
    pub(crate) fn put(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
        self.answer(self.agent.put(self.at(path)).send(body))
    }

    /// GETs `path` from byte `from` on, if it still is `etag` where one is given.
    pub(crate) fn get_from(
        &self,
        path: &str,
        query: &[(&str, &str)],
        from: u64,
        etag: Option<&str>,
    ) -> Result<Response<Body>, Error> {
        let mut request = self.agent.get(self.at(path)).query_pairs(query.iter().copied());
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
            if let Some(etag) = etag {
                request = request.header("if-range", etag);
            }
        }
        self.sent(request.call())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The body of an answer of success.
    fn answer(&self, result: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, Error> {
        let mut response = self.accepted(self.sent(result)?)?;
        self.read(&mut response)
    }

    fn sent(&self, result: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Error> {
        use ureq::Error::{BodyExceedsLimit, Http, LargeResponseHeader, Protocol};
        result.map_err(|e| match e {
            Http(_) | Protocol(_) | LargeResponseHeader(..) | BodyExceedsLimit(_) => {
                self.nonsense(e.to_string())
            }
            other => Error::Unreachable { url: self.url.clone(), cause: other.to_string() },
        })
    }

    /// `response` if its status is one of success, else the host's own error.
    pub(crate) fn accepted(&self, mut response: Response<Body>) -> Result<Response<Body>, Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.read(&mut response).unwrap_or_default();
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => Err(Error::Refused {
                url: self.url.clone(),
                status: status.as_u16(),
                message: one_line(&refusal.error),
            }),
            Err(_) => Err(self.nonsense(format!("status {status} without an error message"))),
        }
    }

    fn read(&self, response: &mut Response<Body>) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        let mut reader = response.body_mut().as_reader().take(ANSWER_LIMIT + 1);
        match reader.read_to_end(&mut body) {
            Err(e) => Err(Error::Unreachable { url: self.url.clone(), cause: e.to_string() }),
            Ok(n) if n as u64 > ANSWER_LIMIT => {
                Err(self.nonsense(format!("more than {ANSWER_LIMIT} bytes")))
            }
            Ok(_) => Ok(body),
        }
    }

    pub(crate) fn nonsense(&self, cause: impl Into<String>) -> Error {
        Error::Nonsense { url: self.url.clone(), cause: cause.into() }
    }
}

impl Error {
    /// Whether there is no host to talk to, as against a host that says no.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Error::Unreachable { .. })
    }

    /// Whether the host says that it has no time for us now.
    pub fn is_busy(&self) -> bool {
        let busy = StatusCode::SERVICE_UNAVAILABLE.as_u16();
        matches!(self, Error::Refused { status, .. } if *status == busy)
    }

    /// Whether the host says that it has no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Refused { status, .. } if *status == StatusCode::NOT_FOUND.as_u16())
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

#[derive(Deserialize)]
struct ServerMetadata {
    #[serde(default)]
    codecs: Vec<Value>,
}

#[derive(Deserialize)]
struct ReplyHead {
    #[serde(default)]
    parameters: Map<String, Value>,
    outputs: Vec<ReplyOutput>,
}

#[derive(Deserialize)]
struct ReplyOutput {
    datatype: String,
    shape: Vec<usize>,
    #[serde(default)]
    parameters: Map<String, Value>,
    data: Option<Vec<f32>>,
}

/// The one output of an inference answer.
fn reply(body: &[u8], json_length: Option<usize>) -> Result<Reply, String> {
    let json = json_length.unwrap_or(body.len());
    let (json, raw) = body
        .split_at_checked(json)
        .ok_or_else(|| format!("{json} bytes of JSON in a body of {} bytes", body.len()))?;
    let head: ReplyHead = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let [output] = &head.outputs[..] else {
        return Err(format!("{} outputs where one was asked for", head.outputs.len()));
    };
    if output.datatype != "FP32" {
        return Err(format!("an output of type {}", one_line(&output.datatype)));
    }
    let values = match (&output.data, output.parameters.get("binary_data_size")) {
        (Some(data), None) => data.clone(),
        (None, Some(size)) if size.as_u64() == Some(raw.len() as u64) && raw.len() % 4 == 0 => {
            raw.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        }
        _ => return Err(format!("an output without its data ({} bytes of it)", raw.len())),
    };
    let expected = output.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if expected != Some(values.len()) || values.is_empty() {
        return Err(format!("{} values in an output of shape {:?}", values.len(), output.shape));
    }
    let cloud = head.parameters.get(CLOUD_NS).and_then(Value::as_u64).map(Duration::from_nanos);
    let load = head.parameters.get(CLOUD_LOAD).and_then(Value::as_f64);
    Ok(Reply { values, cloud, load })
}

/// `text` as a path segment or a query value.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte as char);
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What a host says, fit for one line of a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_work_are_refused_before_anything_is_sent() {
        for url in ["https://host", "ftp://host", "http://", "http://a b", ""] {
            let error = Client::new(url, Timeouts::default()).unwrap_err().to_string();
            assert!(error.contains("http://HOST:PORT"), "{error}");
        }
        let client = Client::new("board.local:8600/", Timeouts::default()).unwrap();
        assert_eq!(client.url(), "http://board.local:8600");
    }

    #[test]
    fn names_survive_the_way_into_a_path() {
        assert_eq!(encoded("net@/block.1/add 2"), "net%40%2Fblock.1%2Fadd%202");
    }

    #[test]
    fn an_answer_is_read_in_either_form() {
        let json = r#"{"parameters":{"cloud_ns":5,"cloud_load":0.5},"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[1,2.5]}]}"#;
        let cloud = Some(Duration::from_nanos(5));
        let expected = Reply { values: vec![1.0, 2.5], cloud, load: Some(0.5) };
        assert_eq!(reply(json.as_bytes(), None).unwrap(), expected);
        let json = json.replace(r#""data":[1,2.5]"#, r#""parameters":{"binary_data_size":8}"#);
        let body = [json.as_bytes(), &1f32.to_le_bytes(), &2.5f32.to_le_bytes()].concat();
        assert_eq!(reply(&body, Some(json.len())).unwrap(), expected);
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_refused() {
        let output = |o: &str| format!(r#"{{"outputs":[{o}]}}"#);
        let cases = [
            ("hello".into(), None),
            ("{}".into(), None),
            (output(""), None),
            (output(r#"{"datatype":"FP32","shape":[2],"data":[1]}"#), None),
            (output(r#"{"datatype":"FP32","shape":[0],"data":[]}"#), None),
            (output(r#"{"datatype":"INT8","shape":[1],"data":[1]}"#), None),
            (output(r#"{"datatype":"FP32","shape":[1]}"#), None),
            (
                output(r#"{"datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}"#),
                None,
            ),
            (output(r#"{"datatype":"FP32","shape":[1],"data":[1]}"#), Some(9999)),
        ];
        for (body, length) in cases {
            assert!(reply(body.as_bytes(), length).is_err(), "{body}");
        }
    }
}
