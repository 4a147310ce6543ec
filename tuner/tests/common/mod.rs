//! Profiles written down by hand.

#![allow(dead_code, reason = "every test file uses its part")]

use seam_tuner::profile::{
    BoundaryTensor, CLOUD_PROFILE_SCHEMA, CloudProfile, Device, Method, ModelRef, PROFILE_SCHEMA,
    PointProfile, Profile, StepProfile, TailProfile, Times,
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
        kind: "conv".into(),
        kernel: "portable".into(),
        macs: 1_000_000,
        weight_bytes: 1000,
        ns: Times::exactly((rows[i].2 - rows[i - 1].2).abs() * 1e6),
    });
    Profile {
        schema: PROFILE_SCHEMA.into(),
        model: model(),
        device: device(),
        method: method(),
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
        model: model(),
        device: device(),
        engine: "test".into(),
        method: method(),
        points: tails.collect(),
    }
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
