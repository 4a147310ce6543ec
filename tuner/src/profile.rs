//! Profiles: what was measured on the board (`seam.profile/1`) and in the cloud
//! (`seam.cloud-profile/1`), as JSON.
//!
//! A reader refuses another schema or version, fields that are missing, and values that no
//! measurement gives; a [`Profile`] or [`CloudProfile`] that was read is sound in itself. Whether
//! it fits a model is checked by [`crate::prediction::measured_points`].
//!
//! All times are nanoseconds.

use std::collections::BTreeSet;
use std::path::Path;

use seam_runtime::Codec;
use seam_runtime::boundary::{Datatype, Description};
use seam_runtime::graph::{INPUT, OUTPUT};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::error::MEASURE_ANEW;
use crate::work::Work;

/// Schema of [`Profile`].
pub const PROFILE_SCHEMA: &str = "seam.profile/1";
/// Version of Seam that measures now, for [`Profile::seam_version`].
pub const SEAM_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Schema of [`CloudProfile`].
pub const CLOUD_PROFILE_SCHEMA: &str = "seam.cloud-profile/1";

/// What a board takes for every step and point of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// [`PROFILE_SCHEMA`].
    pub schema: String,
    /// The model that ran.
    pub model: ModelRef,
    /// The version of Seam that ran: another one may have other kernels.
    pub seam_version: String,
    /// Where it ran.
    pub device: Device,
    /// How it was timed.
    pub method: Method,
    /// How the board was kept busy before, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sustained: Vec<Minute>,
    /// SHA-256 of the profiles that estimated times were fitted to; none where all was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fitted_from: Vec<String>,
    /// A whole run of every step.
    pub total: Times,
    /// Every step, in the order in which they run.
    pub steps: Vec<StepProfile>,
    /// Every point that the model on the board reaches, shallowest first: `input`, candidates,
    /// and `output` where the board runs the whole network.
    pub points: Vec<PointProfile>,
}

/// What a cloud host takes for the rest of a model after every point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloudProfile {
    /// [`CLOUD_PROFILE_SCHEMA`].
    pub schema: String,
    /// The model whose tails ran.
    pub model: ModelRef,
    /// The version of Seam that ran.
    pub seam_version: String,
    /// Where they ran.
    pub device: Device,
    /// What ran them: name and version of the FP32 engine.
    pub engine: String,
    /// How they were timed.
    pub method: Method,
    /// The tail after every point, shallowest first; `output` has none.
    pub points: Vec<TailProfile>,
}

/// A model: its name and the hash that all its prefixes share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// The network's name.
    pub name: String,
    /// `seam_runtime::model::Model::id` in hexadecimal.
    pub sha256: String,
}

/// A machine, and the part of it that was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// The CPU's name, as the system gives it.
    pub cpu: String,
    /// The instruction set that the kernels used.
    pub isa: String,
    /// Cores that the process may use.
    pub cores: u32,
    /// Threads that ran.
    pub threads: u32,
    /// Clock of the fastest core before the run, where the system tells.
    pub mhz_before: Option<f64>,
    /// Clock of the fastest core after the run.
    pub mhz_after: Option<f64>,
}

/// How something was timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// Runs before the first that counts.
    pub warm_up: u32,
    /// Runs that count.
    pub repeats: u32,
    /// The half-width of the median's 95% interval that was asked for, as a part of the median.
    pub target: f64,
    /// The half-width reached.
    pub reached: f64,
    /// `reached` is within `target`; if not, the time allowed ran out first.
    pub met: bool,
}

/// A minute of runs that follow each other without a pause.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Minute {
    /// Whole runs.
    pub runs: u32,
    /// The median of a whole run, in nanoseconds.
    pub p50: f64,
    /// Clock of the fastest core at its end, where the system tells.
    pub mhz: Option<f64>,
}

/// The distribution of a time over the runs that count, in nanoseconds; or an estimate of it, by a
/// [cost model](crate::cost_model).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The shortest.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// Nine runs of ten took no longer.
    pub p90: f64,
    /// The 95% interval of the median, by order statistics. Of an estimate: by the held-out error
    /// of its model.
    pub ci95: [f64; 2],
    /// Not measured: estimated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepProfile {
    /// The step's name.
    pub name: String,
    /// The layer that it belongs to.
    pub layer: String,
    /// The kernel that ran.
    pub kernel: String,
    /// What it has to do.
    #[serde(flatten)]
    pub work: Work,
    /// How long it took.
    pub ns: Times,
}

/// One point, seen from the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointProfile {
    /// The point's name.
    pub name: String,
    /// Steps that run on the edge: the first `steps` of [`Profile::steps`].
    pub steps: u32,
    /// The tensors that cross; none at `output`.
    pub boundary: Vec<BoundaryTensor>,
    /// Bytes of those tensors as they cross.
    pub raw_bytes: u64,
    /// Bytes of the whole boundary frame: the tensors and the request's JSON; 0 at `output`.
    pub frame_bytes: u64,
    /// The edge part: the steps before this point, summed within each run.
    pub edge_ns: Times,
    /// From the session's tensors to the frame's bytes.
    pub encode_ns: Times,
    /// The same with every codec, on real activations; none where the profile was measured without
    /// images, and at points whose boundary has no codec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<CodecEncoding>,
}

/// What a codec makes of a point's boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodecEncoding {
    /// The codec.
    pub codec: Codec,
    /// Bytes of the whole boundary frame: the median over the images.
    pub bytes: u64,
    /// From the session's tensors to the frame's bytes.
    pub encode_ns: Times,
}

/// A tensor that crosses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundaryTensor {
    /// The ONNX value's name.
    pub name: String,
    /// Rows, columns, channels.
    pub shape: [u64; 3],
    /// `u8`, or `f16` for a tensor kept in float.
    pub element: String,
}

/// One point, seen from the cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailProfile {
    /// The point's name.
    pub name: String,
    /// From the boundary's tensors to the answer.
    pub tail_ns: Times,
    /// What must be added for every codec that the host knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<CodecDecoding>,
}

/// What a codec takes in the cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodecDecoding {
    /// The codec.
    pub codec: Codec,
    /// From the request's bytes to the boundary's tensor.
    pub decode_ns: Times,
}

impl Profile {
    /// Reads the JSON of a profile.
    ///
    /// # Errors
    /// It is no JSON, has another schema, lacks a field or holds a value out of its range.
    pub fn from_json(json: &[u8]) -> Result<Profile, Error> {
        let profile: Profile = parse(json, Document::measured("the edge profile", PROFILE_SCHEMA))?;
        profile.check()?;
        Ok(profile)
    }

    /// Reads a profile from a file.
    ///
    /// # Errors
    /// As [`Profile::from_json`], or the file cannot be read.
    pub fn read(path: &Path) -> Result<Profile, Error> {
        read(path, Profile::from_json)
    }

    /// The JSON that [`Profile::from_json`] reads; the same bytes for the same profile.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// SHA-256 of [`Profile::to_json`].
    pub fn sha256(&self) -> String {
        sha256(&self.to_json())
    }

    fn check(&self) -> Result<(), Error> {
        let check = Check("the edge profile");
        check.model(&self.model)?;
        check.method(&self.method)?;
        check.times("total", &self.total)?;
        for minute in &self.sustained {
            let sound = minute.p50.is_finite() && minute.p50 >= 0.0;
            check.that(
                sound,
                || "sustained[].p50".into(),
                minute.p50,
                "finite and not negative",
            )?;
        }
        for step in &self.steps {
            check.times(&format!("steps[{:?}].ns", step.name), &step.ns)?;
        }
        check.points(self.points.iter().map(|p| p.name.as_str()))?;
        let mut deepest = 0;
        for point in &self.points {
            let field = |name: &str| format!("points[{:?}].{name}", point.name);
            check.times(&field("edge_ns"), &point.edge_ns)?;
            check.times(&field("encode_ns"), &point.encode_ns)?;
            let range = match point.name.as_str() {
                INPUT => 0..=0,
                _ => deepest..=self.steps.len() as u32,
            };
            check.that(
                range.contains(&point.steps),
                || field("steps"),
                point.steps,
                "0 at `input`, then no less than at the point before and no more than all steps",
            )?;
            deepest = point.steps;
            check.that(
                point.frame_bytes >= point.raw_bytes,
                || field("frame_bytes"),
                point.frame_bytes,
                "no less than raw_bytes",
            )?;
            check.that(
                (point.raw_bytes == 0) == (point.name == OUTPUT),
                || field("raw_bytes"),
                point.raw_bytes,
                "0 at `output` and above 0 at every other point",
            )?;
            for codec in &point.codecs {
                let field = |name: &str| field(&format!("codecs[{:?}].{name}", codec.codec.name()));
                check.times(&field("encode_ns"), &codec.encode_ns)?;
                check.that(codec.bytes > 0, || field("bytes"), codec.bytes, "above 0")?;
            }
            let codecs = point.codecs.iter().map(|c| c.codec.name());
            check.once(|| field("codecs"), codecs)?;
            check.that(
                point.codecs.is_empty() || point.name != OUTPUT,
                || field("codecs"),
                point.codecs.len(),
                "none at `output`",
            )?;
        }
        Ok(())
    }
}

impl CloudProfile {
    /// Reads the JSON of a cloud profile.
    ///
    /// # Errors
    /// It is no JSON, has another schema, lacks a field or holds a value out of its range.
    pub fn from_json(json: &[u8]) -> Result<CloudProfile, Error> {
        let document = Document::measured("the cloud profile", CLOUD_PROFILE_SCHEMA);
        let profile: CloudProfile = parse(json, document)?;
        profile.check()?;
        Ok(profile)
    }

    /// Reads a cloud profile from a file.
    ///
    /// # Errors
    /// As [`CloudProfile::from_json`], or the file cannot be read.
    pub fn read(path: &Path) -> Result<CloudProfile, Error> {
        read(path, CloudProfile::from_json)
    }

    /// The JSON that [`CloudProfile::from_json`] reads; the same bytes for the same profile.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// SHA-256 of [`CloudProfile::to_json`].
    pub fn sha256(&self) -> String {
        sha256(&self.to_json())
    }

    fn check(&self) -> Result<(), Error> {
        let check = Check("the cloud profile");
        check.model(&self.model)?;
        check.method(&self.method)?;
        check.points(self.points.iter().map(|p| p.name.as_str()))?;
        for point in &self.points {
            let field = |name: &str| format!("points[{:?}].{name}", point.name);
            check.times(&field("tail_ns"), &point.tail_ns)?;
            for CodecDecoding { codec, decode_ns } in &point.codecs {
                check.times(&field(&format!("codecs[{:?}].decode_ns", codec.name())), decode_ns)?;
            }
            check.once(|| field("codecs"), point.codecs.iter().map(|c| c.codec.name()))?;
        }
        Ok(())
    }
}

impl BoundaryTensor {
    /// The tensor of that description.
    pub fn of(tensor: &Description) -> BoundaryTensor {
        let [_, h, w, c] = tensor.shape.map(|side| side as u64);
        let element = match tensor.datatype {
            Datatype::Uint8 => "u8",
            Datatype::Fp16 => "f16",
        };
        BoundaryTensor { name: tensor.name.clone(), shape: [h, w, c], element: element.into() }
    }
}

impl ModelRef {
    /// The model of that name and [`Model::id`](seam_runtime::model::Model::id).
    pub fn new(name: &str, id: &[u8; 32]) -> ModelRef {
        ModelRef { name: name.into(), sha256: hex(id) }
    }
}

impl Times {
    /// A time that does not vary, in nanoseconds.
    pub fn exactly(ns: f64) -> Times {
        Times { min: ns, p50: ns, p90: ns, ci95: [ns, ns], estimated: false }
    }

    /// A time that was not measured, in nanoseconds, right to `error` (a part of it).
    pub fn estimated(ns: f64, error: f64) -> Times {
        let ci95 = [ns * (1.0 - error).max(0.0), ns * (1.0 + error)];
        Times { ci95, estimated: true, ..Times::exactly(ns) }
    }

    /// This time and then an estimated one.
    pub fn then(&self, estimate: &Times) -> Times {
        Times {
            min: self.min + estimate.min,
            p50: self.p50 + estimate.p50,
            p90: self.p90 + estimate.p90,
            ci95: [self.ci95[0] + estimate.ci95[0], self.ci95[1] + estimate.ci95[1]],
            estimated: self.estimated || estimate.estimated,
        }
    }

    /// The distribution of `samples` (nanoseconds, any order); all zero without a sample.
    pub fn of(samples: &[u64]) -> Times {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let Some(last) = sorted.len().checked_sub(1) else { return Times::default() };
        let at = |rank: f64| sorted[(rank.max(0.0) as usize).min(last)] as f64;
        let (half, n) = (last as f64 / 2.0, sorted.len() as f64);
        // The number of samples below the median is binomial(n, 1/2): its 95% range gives the
        // ranks between which the median lies.
        let spread = 1.96 * n.sqrt() / 2.0;
        Times {
            min: at(0.0),
            p50: (at(half.floor()) + at(half.ceil())) / 2.0,
            p90: at((0.9 * n).ceil() - 1.0),
            ci95: [at((half - spread).floor()), at((half + spread).ceil())],
            estimated: false,
        }
    }

    /// Half the width of the 95% interval as a part of the median; 0 where the median is 0.
    pub fn uncertainty(&self) -> f64 {
        if self.p50 > 0.0 { (self.ci95[1] - self.ci95[0]) / 2.0 / self.p50 } else { 0.0 }
    }
}

/// `bytes` in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Pretty JSON and a line feed: what a file of this schema holds.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(value);
    // Structs of strings and numbers: nothing in them can fail to serialize.
    json.expect("profiles and plans have string keys only") + "\n"
}

pub(crate) fn read<T>(path: &Path, parse: fn(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
    let name = || path.display().to_string();
    let json = std::fs::read(path).map_err(|reason| Error::Read { path: name(), reason })?;
    parse(&json).map_err(|reason| Error::File { path: name(), reason: Box::new(reason) })
}

/// What a document is called in errors, the schema that it must have, and what helps where it is
/// refused.
#[derive(Clone, Copy)]
pub(crate) struct Document {
    pub(crate) what: &'static str,
    pub(crate) schema: &'static str,
    pub(crate) remedy: &'static str,
}

impl Document {
    const fn measured(what: &'static str, schema: &'static str) -> Document {
        Document { what, schema, remedy: MEASURE_ANEW }
    }
}

/// Reads a document: its schema first, so that another version is called by its name and not by
/// the first field that it lacks.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8], document: Document) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Header {
        schema: String,
    }
    let Document { what, schema, remedy } = document;
    let malformed = |e: serde_json::Error| Error::Malformed { what, reason: e.to_string(), remedy };
    let header: Header = serde_json::from_slice(json).map_err(malformed)?;
    if header.schema != schema {
        return Err(Error::Schema { what, found: header.schema, expected: schema, remedy });
    }
    serde_json::from_slice(json).map_err(malformed)
}

/// Checks of values, with what the document is called in errors.
#[derive(Clone, Copy)]
struct Check(&'static str);

impl Check {
    fn that(
        self,
        holds: bool,
        field: impl FnOnce() -> String,
        value: impl std::fmt::Debug,
        must_be: &'static str,
    ) -> Result<(), Error> {
        if holds {
            return Ok(());
        }
        let value = format!("{value:?}");
        Err(Error::Nonsense { what: self.0, field: field(), value, must_be })
    }

    fn model(self, model: &ModelRef) -> Result<(), Error> {
        let digits =
            model.sha256.len() == 64 && model.sha256.bytes().all(|b| b.is_ascii_hexdigit());
        self.that(digits, || "model.sha256".into(), &model.sha256, "64 hexadecimal digits")
    }

    fn method(self, method: &Method) -> Result<(), Error> {
        for (field, value) in [("target", method.target), ("reached", method.reached)] {
            let sound = value.is_finite() && value >= 0.0;
            self.that(sound, || format!("method.{field}"), value, "finite and not negative")?;
        }
        self.that(method.repeats > 0, || "method.repeats".into(), 0, "at least 1")
    }

    fn times(self, field: &str, times: &Times) -> Result<(), Error> {
        let all = [times.min, times.p50, times.p90, times.ci95[0], times.ci95[1]];
        for value in all {
            let sound = value.is_finite() && value >= 0.0;
            self.that(sound, || field.into(), value, "finite and not negative")?;
        }
        let sorted = times.min <= times.p50
            && times.p50 <= times.p90
            && times.ci95[0] <= times.p50
            && times.p50 <= times.ci95[1];
        self.that(sorted, || field.into(), all, "min <= p50 <= p90 within ci95")
    }

    /// The first point is `input`, and no name occurs twice.
    fn points<'a>(self, names: impl Iterator<Item = &'a str> + Clone) -> Result<(), Error> {
        let first = names.clone().next();
        self.that(first == Some(INPUT), || "points[0].name".into(), first, "\"input\"")?;
        self.once(|| "points[].name".into(), names)
    }

    /// No name occurs twice.
    fn once<'a>(
        self,
        field: impl Fn() -> String,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        for name in names {
            self.that(seen.insert(name), &field, name, "there once")?;
        }
        Ok(())
    }
}
