//! Profiles written down by hand, and a small model.

#![allow(dead_code, reason = "every test file uses its part")]

pub(crate) mod link;

use seam_kernels::{ConvGeometry, Shape, Window};
use seam_runtime::graph::{Candidate, Element, Graph, Op, Step, StepData, Tensor, TensorId};
use seam_runtime::writer;
use seam_tuner::Work;
use seam_tuner::outline::OutlinePoint;
use seam_tuner::profile::{
    BoundaryTensor, CLOUD_PROFILE_SCHEMA, CloudProfile, Device, Method, ModelRef, PROFILE_SCHEMA,
    PointProfile, Profile, SEAM_VERSION, StepProfile, TailProfile, Times,
};
use seam_tuner::{
    Constraints, Environment, Error, MeasuredPoint, Objective, Outline, Plan, Request,
};

/// Name, bytes that cross, milliseconds on the edge, milliseconds of the tail.
pub(crate) type Row = (&'static str, u64, f64, f64);

/// A board slower than the cloud; the deeper the cut, the fewer bytes.
pub(crate) const ROWS: [Row; 4] = [
    ("input", 150_528, 0.0, 9.0),
    ("conv1", 60_000, 100.0, 6.0),
    ("conv2", 9_000, 250.0, 3.0),
    ("output", 0, 700.0, 0.0),
];

pub(crate) fn model() -> ModelRef {
    ModelRef::new("net", &[0xa5; 32])
}

pub(crate) fn names(rows: &[Row]) -> Vec<&'static str> {
    rows.iter().map(|row| row.0).collect()
}

/// A model whose points are those of `rows`, each one layer and 1000 bytes further than the one
/// before; every point needs 500 bytes of activations.
pub(crate) fn outline(rows: &[Row]) -> Outline {
    let point = |(steps, row): (u32, &Row)| OutlinePoint {
        name: row.0.into(),
        steps,
        download_bytes: 100 + 1000 * u64::from(steps),
        memory_bytes: 600 + 1000 * u64::from(steps),
    };
    let layers = (0..).zip(&rows[1..]).map(|(step, row)| (row.0.into(), vec![step]));
    Outline {
        model: model(),
        points: (0..).zip(rows).map(point).collect(),
        layers: layers.collect(),
    }
}

/// The plan of `rows` under `constraints`.
pub(crate) fn plan(
    rows: &[Row],
    environment: Environment,
    objective: Objective,
    constraints: Constraints,
) -> Result<Plan, Error> {
    let (outline, edge, cloud) = (outline(rows), edge(rows), cloud(rows));
    let request = Request::new(&outline, &edge, &cloud, environment, objective);
    Plan::new(&Request { constraints, ..request })
}

pub(crate) fn edge(rows: &[Row]) -> Profile {
    let points = rows.iter().enumerate().map(|(i, &(name, bytes, edge_ms, _))| PointProfile {
        name: name.into(),
        steps: i as u32,
        boundary: vec![BoundaryTensor {
            name: format!("{name}_tensor"),
            shape: [1, 1, bytes],
            element: "u8".into(),
        }],
        raw_bytes: bytes,
        frame_bytes: bytes,
        edge_ns: Times::exactly(edge_ms * 1e6),
        encode_ns: Times::exactly(0.0),
        codecs: Vec::new(),
    });
    let steps = (1..rows.len()).map(|i| StepProfile {
        name: format!("step{i}"),
        layer: rows[i].0.into(),
        kernel: "portable".into(),
        work: Work { kind: "conv".into(), macs: 1_000_000, weight_bytes: 1000, ..Work::default() },
        ns: Times::exactly((rows[i].2 - rows[i - 1].2).abs() * 1e6),
    });
    Profile {
        schema: PROFILE_SCHEMA.into(),
        seam_version: SEAM_VERSION.into(),
        model: model(),
        device: device(),
        method: method(),
        sustained: Vec::new(),
        fitted_from: Vec::new(),
        total: Times::exactly(rows.last().unwrap().2 * 1e6),
        steps: steps.collect(),
        points: points.collect(),
    }
}

pub(crate) fn cloud(rows: &[Row]) -> CloudProfile {
    let tails = rows.iter().filter(|row| row.0 != "output").map(|row| TailProfile {
        name: row.0.into(),
        tail_ns: Times::exactly(row.3 * 1e6),
        codecs: Vec::new(),
    });
    CloudProfile {
        schema: CLOUD_PROFILE_SCHEMA.into(),
        seam_version: SEAM_VERSION.into(),
        model: model(),
        device: device(),
        engine: "test".into(),
        method: method(),
        points: tails.collect(),
    }
}

/// A point that neither encoding nor codecs cost anything at.
pub(crate) fn measured_point(
    name: &str,
    steps: u32,
    bytes: u64,
    edge_ms: f64,
    tail_ms: f64,
) -> MeasuredPoint {
    MeasuredPoint {
        name: name.into(),
        steps,
        bytes,
        edge_ns: edge_ms * 1e6,
        encode_ns: 0.0,
        tail_ns: tail_ms * 1e6,
        estimated: false,
        codecs: Vec::new(),
    }
}

/// A `.seam` file of 3×3 convolutions on 16×16 pixels, `conv1` of 3 to 8 channels and the others of
/// 8 to 8, each but the last a candidate.
pub(crate) fn convolutions(count: u32) -> Vec<u8> {
    let shape = |c| Shape::new(16, 16, c);
    let channels = |i: u32| if i == 0 { 3 } else { 8 };
    let name = |i: u32| format!("conv{}", i + 1);
    let tensor = |i: u32| Tensor {
        name: ["data", "a", "b", "c", "d", "e", "f"][i as usize].into(),
        shape: shape(channels(i)),
        element: Element::U8 { scale: 0.05, zero_point: 3 },
    };
    let step = |i: u32| Step {
        name: name(i),
        layer: i,
        inputs: vec![TensorId(i)],
        output: TensorId(i + 1),
        op: Op::Conv {
            geometry: ConvGeometry {
                input: shape(channels(i)),
                output: shape(8),
                window: Window { kernel: [3, 3], pad: [1, 1], ..Window::POINTWISE },
                groups: 1,
            },
            lo: 3,
            hi: 255,
        },
    };
    let candidate = |i: u32| Candidate { name: name(i), steps: i + 1, boundary: TensorId(i + 1) };
    let weights = |i: u32| StepData::Int8 {
        scales: vec![0.01; 8],
        bias: vec![5; 8],
        weights: (0..8 * 9 * channels(i)).map(|i| (i * 37 % 255) as u8 as i8 / 2).collect(),
    };
    let graph = Graph {
        name: "net".into(),
        preprocess: "resize:16,channels:RGB".parse().unwrap(),
        tensors: (0..=count).map(tensor).collect(),
        layers: (0..count).map(name).collect(),
        steps: (0..count).map(step).collect(),
        input: TensorId(0),
        output: Some(TensorId(count)),
        candidates: (0..count - 1).map(candidate).collect(),
        stop: None,
    };
    writer::encode(&graph, &(0..count).map(weights).collect::<Vec<_>>()).unwrap()
}

fn device() -> Device {
    Device {
        cpu: "test".into(),
        isa: "portable".into(),
        cores: 1,
        threads: 1,
        mhz_before: None,
        mhz_after: Some(2000.0),
    }
}

fn method() -> Method {
    Method { warm_up: 1, repeats: 10, target: 0.02, reached: 0.01, met: true }
}
