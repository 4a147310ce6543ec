//! The predicted time of a point: the paper's PredictPerformance, from profiles, measured
//! or completed by [estimates](crate::estimate).
//!
//! ```text
//! total(p) = edge(p) + encode(p) + max(0, bytes(p) - burst) / uplink + rtt
//!          + (decode(p) + tail(p)) * (1 + load)
//! ```
//!
//! At `input` nothing runs on the edge, at `output` nothing crosses and nothing runs in the cloud.
//!
//! A boundary crosses raw or by one of the codecs that both sides were measured with: whatever takes
//! the least in the environment at hand.

use seam_runtime::Codec;
use seam_runtime::graph::{INPUT, OUTPUT};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::environment::Environment;
use crate::profile::{CloudProfile, CodecEncoding, ModelRef, Profile, Times};

/// One point's measurements: all that the environment does not change. Times are medians in
/// nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredPoint {
    /// The point's name.
    pub name: String,
    /// Steps that run on the edge.
    pub steps: u32,
    /// Bytes that cross the uplink raw.
    pub bytes: u64,
    /// The edge part.
    pub edge_ns: f64,
    /// From the session's tensors to the raw frame's bytes.
    pub encode_ns: f64,
    /// The tail on an idle cloud.
    pub tail_ns: f64,
    /// One of the times was not measured but [estimated](crate::estimate).
    pub estimated: bool,
    /// The codecs that the boundary may cross by.
    pub codecs: Vec<MeasuredCodec>,
}

/// What a codec takes at a point, and what it leaves to cross. Times are medians in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasuredCodec {
    /// The codec.
    pub codec: Codec,
    /// Bytes that cross the uplink.
    pub bytes: u64,
    /// From the session's tensors to the frame's bytes.
    pub encode_ns: f64,
    /// From the frame's bytes to the tensor, on an idle cloud.
    pub decode_ns: f64,
}

/// What a point takes in an environment, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// How the boundary crosses; none where it does so raw, or nothing crosses.
    pub codec: Option<Codec>,
    /// Bytes that cross the uplink.
    pub bytes: u64,
    /// The edge part.
    pub edge_ns: f64,
    /// From the session's tensors to the frame's bytes.
    pub encode_ns: f64,
    /// The frame over the uplink.
    pub upload_ns: f64,
    /// The round trip.
    pub rtt_ns: f64,
    /// From the frame's bytes to the tensor under the cloud's load; 0 raw.
    pub decode_ns: f64,
    /// The tail under the cloud's load. The host reports this and the decoding as one.
    pub cloud_ns: f64,
    /// All of it.
    pub total_ns: f64,
}

impl Prediction {
    /// The longest stage when images follow one another: while the cloud works on one, the next
    /// crosses the uplink and the board works on the one after it. The round trip delays answers but
    /// holds up nobody.
    pub fn longest_stage_ns(&self) -> f64 {
        (self.edge_ns + self.encode_ns).max(self.upload_ns).max(self.decode_ns + self.cloud_ns)
    }
}

/// Joins both profiles of `model` at each of its `points` (in the order given).
///
/// # Errors
/// A profile is of another model, or lacks one of the points.
pub fn measured_points<'a>(
    model: &ModelRef,
    points: impl IntoIterator<Item = &'a str>,
    edge: &Profile,
    cloud: &CloudProfile,
) -> Result<Vec<MeasuredPoint>, Error> {
    const EDGE: &str = "the edge profile";
    const CLOUD: &str = "the cloud profile";
    same_model(EDGE, &edge.model, model)?;
    same_model(CLOUD, &cloud.model, model)?;
    let joined = points.into_iter().map(|name| {
        let missing = |what| Error::MissingPoint { what, point: name.into() };
        let here = edge.points.iter().find(|p| p.name == name).ok_or_else(|| missing(EDGE))?;
        let (tail_ns, decodings) = match cloud.points.iter().find(|p| p.name == name) {
            _ if name == OUTPUT => (Times::default(), &[][..]),
            Some(there) => (there.tail_ns, &there.codecs[..]),
            None => return Err(missing(CLOUD)),
        };
        let times = [here.edge_ns, here.encode_ns, tail_ns];
        // A codec that only one side knows is of no use.
        let both = |encoding: &CodecEncoding| {
            let decoding = decodings.iter().find(|decoding| decoding.codec == encoding.codec)?;
            Some(MeasuredCodec {
                codec: encoding.codec,
                bytes: encoding.bytes,
                encode_ns: encoding.encode_ns.p50,
                decode_ns: decoding.decode_ns.p50,
            })
        };
        Ok(MeasuredPoint {
            name: name.into(),
            steps: here.steps,
            bytes: here.frame_bytes,
            edge_ns: here.edge_ns.p50,
            encode_ns: here.encode_ns.p50,
            tail_ns: tail_ns.p50,
            estimated: times.iter().any(|times| times.estimated),
            codecs: here.codecs.iter().filter_map(both).collect(),
        })
    });
    joined.collect()
}

/// Refuses a profile of another model than the one at hand. Two models of one name may differ:
/// the hash decides.
pub(crate) fn same_model(
    what: &'static str,
    found: &ModelRef,
    expected: &ModelRef,
) -> Result<(), Error> {
    if found.sha256.eq_ignore_ascii_case(&expected.sha256) {
        return Ok(());
    }
    let digits = |model: &ModelRef| model.sha256.chars().take(12).collect();
    Err(Error::OtherModel {
        what,
        found: found.name.clone(),
        found_id: digits(found),
        expected: expected.name.clone(),
        expected_id: digits(expected),
    })
}

impl MeasuredPoint {
    /// Nothing runs on the edge: the raw input leaves the board.
    pub fn is_input(&self) -> bool {
        self.name == INPUT
    }

    /// All of the network runs on the edge: nothing leaves the board.
    pub fn is_output(&self) -> bool {
        self.name == OUTPUT
    }
}

/// What `point` takes in `environment`, its boundary raw or by a codec: whatever takes the least,
/// of equals the first of [`crossings`].
pub fn predict(point: &MeasuredPoint, environment: &Environment) -> Prediction {
    let less = |least: Prediction, next: Prediction| {
        if next.total_ns < least.total_ns { next } else { least }
    };
    crossings(point, environment).reduce(less).expect("a boundary can always cross raw")
}

/// What `point` takes with every way for its boundary to cross: raw first, then by its codecs.
pub fn crossings<'a>(
    point: &'a MeasuredPoint,
    environment: &'a Environment,
) -> impl Iterator<Item = Prediction> + 'a {
    let MeasuredPoint { bytes, encode_ns, .. } = *point;
    let raw = across(point, environment, None, bytes, encode_ns, 0.0);
    let coded = point.codecs.iter().map(|&MeasuredCodec { codec, bytes, encode_ns, decode_ns }| {
        across(point, environment, Some(codec), bytes, encode_ns, decode_ns)
    });
    std::iter::once(raw).chain(coded)
}

fn across(
    point: &MeasuredPoint,
    environment: &Environment,
    codec: Option<Codec>,
    bytes: u64,
    encode_ns: f64,
    decode_ns: f64,
) -> Prediction {
    let load = 1.0 + environment.cloud_load;
    let (upload_ns, rtt_ns, decode_ns, cloud_ns) = if point.is_output() {
        (0.0, 0.0, 0.0, 0.0)
    } else {
        (environment.upload_ns(bytes), environment.rtt_ns, decode_ns * load, point.tail_ns * load)
    };
    let edge_ns = point.edge_ns;
    // What no uplink changes is summed first: with a faster one, no rounding then lets the total
    // of a point grow.
    let total_ns = (edge_ns + encode_ns + rtt_ns + decode_ns + cloud_ns) + upload_ns;
    Prediction {
        codec,
        bytes,
        edge_ns,
        encode_ns,
        upload_ns,
        rtt_ns,
        decode_ns,
        cloud_ns,
        total_ns,
    }
}
