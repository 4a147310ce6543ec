//! A reconstruction of the profile that the paper's board, a Jetson TX2, must have had.
//!
//! The paper prints totals at the best points, not times of layers. Each total fixes the edge's time
//! at one point (total less upload less cloud), and that every other point was worse bounds the
//! edge's time there from below:
//!
//! ```text
//! edge(p) > total at the best point - bytes(p) / uplink - tail(p)
//! ```
//!
//! What follows is one profile within those bounds, not a measurement: convolutions take their
//! multiplications divided by a rate. The rate up to the paper's point follows from Table 3; that
//! of the first layer, whose window of three channels is much copying for few multiplications (and
//! in AlexNet is followed by LRN), and that of the small matrices behind the point are chosen. Fully
//! connected layers read each weight once, at the speed of memory. The cloud's times are those of a
//! graphics card that runs each network in a few milliseconds.

use seam_runtime::graph::OUTPUT;
use seam_tuner::Work;
use seam_tuner::profile::{
    BoundaryTensor, CLOUD_PROFILE_SCHEMA, CloudProfile, Device, Method, ModelRef, PROFILE_SCHEMA,
    PointProfile, Profile, SEAM_VERSION, StepProfile, TailProfile, Times,
};

use super::cases::Case;
use super::points::{Point, points};
use crate::nets::{Net, Op};

/// What marks every figure that comes from here.
pub(crate) const LABEL: &str = "reconstruction, not measured";

/// Multiply-accumulates a second that are chosen, by network: in the first layer, and behind the
/// paper's point.
const RATES: [(&str, f64, f64); 4] = [
    ("alexnet", 0.9e9, 1.0e9),
    ("vgg16", 0.7e9, 0.9e9),
    ("resnet18", 0.9e9, 0.8e9),
    ("googlenet", 1.2e9, 1.2e9),
];
/// Weights of a fully connected layer a second: each is read once.
const WEIGHTS_PER_S: f64 = 1e9;
/// What a run takes in the cloud at least.
const CLOUD_LEAST_S: f64 = 1e-3;
/// Multiply-accumulates a second in the cloud.
const CLOUD_MACS_PER_S: f64 = 4e12;

/// The board's profile and the cloud's.
pub(crate) fn profiles(case: &Case, net: &Net) -> (Profile, CloudProfile) {
    let points = points(net);
    let seconds = layer_seconds(case, net, &points);
    let model = model(net);
    let method = Method { warm_up: 0, repeats: 1, target: 0.0, reached: 0.0, met: true };
    let edge_s = |point: &Point| point.edge.iter().map(|&i| seconds[i]).sum::<f64>();
    let steps = net.nodes.iter().enumerate().map(|(i, node)| StepProfile {
        name: node.name.clone(),
        layer: node.name.clone(),
        kernel: LABEL.into(),
        work: Work {
            kind: format!("{:?}", node.op).chars().take_while(|c| c.is_alphanumeric()).collect(),
            macs: net.macs(i),
            weight_bytes: node.weights,
            ..Work::default()
        },
        ns: Times::exactly(seconds[i] * 1e9),
    });
    let point_profile = |point: &Point| PointProfile {
        name: point.name.clone(),
        steps: point.edge.last().map_or(0, |last| *last as u32 + 1),
        boundary: match point.crosses {
            0 => Vec::new(),
            bytes => vec![BoundaryTensor {
                name: point.name.clone(),
                shape: [1, 1, bytes],
                element: "u8".into(),
            }],
        },
        raw_bytes: point.crosses,
        frame_bytes: point.crosses,
        edge_ns: Times::exactly(edge_s(point) * 1e9),
        encode_ns: Times::exactly(0.0),
        codecs: Vec::new(),
    };
    let edge = Profile {
        schema: PROFILE_SCHEMA.into(),
        seam_version: SEAM_VERSION.into(),
        model: model.clone(),
        device: device("Jetson TX2", "gemmlowp with im2col"),
        method: method.clone(),
        sustained: Vec::new(),
        fitted_from: Vec::new(),
        total: Times::exactly(seconds.iter().sum::<f64>() * 1e9),
        steps: steps.collect(),
        points: points.iter().map(point_profile).collect(),
    };
    let tails = points.iter().filter(|point| point.name != OUTPUT).map(|point| TailProfile {
        name: point.name.clone(),
        tail_ns: Times::exactly(tail_seconds(net, point) * 1e9),
        codecs: Vec::new(),
    });
    let cloud = CloudProfile {
        schema: CLOUD_PROFILE_SCHEMA.into(),
        seam_version: SEAM_VERSION.into(),
        model,
        device: device("TITAN Xp", "FP32"),
        engine: LABEL.into(),
        method,
        points: tails.collect(),
    };
    (edge, cloud)
}

/// No file stands behind it: its hash is zero.
pub(crate) fn model(net: &Net) -> ModelRef {
    ModelRef::new(net.name, &[0; 32])
}

/// What each node takes on the board.
fn layer_seconds(case: &Case, net: &Net, points: &[Point]) -> Vec<f64> {
    let (first_rate, rate_behind) = RATES
        .iter()
        .find(|(name, ..)| *name == net.name)
        .map_or((1e9, 1e9), |&(_, first, behind)| (first, behind));
    let is_conv = |i: usize| matches!(net.nodes[i].op, Op::Conv { .. });
    let first = (0..net.nodes.len()).find(|&i| is_conv(i)).unwrap_or(0);
    let at = points.iter().find(|point| point.name == case.point);
    let before: &[usize] = at.map_or(&[], |point| &point.edge);
    // The edge's time at the paper's point, and the rate that leaves to the layers up to there.
    let edge_s = at.map_or(0.0, |point| {
        case.total_s - point.crosses as f64 / case.uplink() - tail_seconds(net, point)
    });
    let macs: u64 = before.iter().filter(|&&i| i != first).map(|&i| net.macs(i)).sum();
    let rate_before = macs as f64 / (edge_s - net.macs(first) as f64 / first_rate);
    let seconds = |i: usize| match net.nodes[i].op {
        Op::Conv { .. } if i == first => net.macs(i) as f64 / first_rate,
        Op::Conv { .. } if before.contains(&i) => net.macs(i) as f64 / rate_before,
        Op::Conv { .. } => net.macs(i) as f64 / rate_behind,
        Op::FullyConnected => net.nodes[i].weights as f64 / WEIGHTS_PER_S,
        _ => 0.0,
    };
    (0..net.nodes.len()).map(seconds).collect()
}

/// What the rest of the network behind `point` takes in the cloud.
fn tail_seconds(net: &Net, point: &Point) -> f64 {
    let behind = (0..net.nodes.len()).filter(|i| !point.edge.contains(i));
    let macs: u64 = behind.map(|i| net.macs(i)).sum();
    CLOUD_LEAST_S + macs as f64 / CLOUD_MACS_PER_S
}

fn device(cpu: &str, isa: &str) -> Device {
    Device {
        cpu: format!("{cpu} ({LABEL})"),
        isa: isa.into(),
        cores: 1,
        threads: 1,
        mhz_before: None,
        mhz_after: None,
    }
}
