//! A small model with both profiles, for the commands that plan.

use std::path::PathBuf;
use std::process::{Command, Output};

use seam_kernels::{ConvGeometry, Shape, Window};
use seam_runtime::graph::{Candidate, Element, Graph, Op, Step, StepData, Tensor, TensorId};
use seam_runtime::{Model, writer};
use seam_tuner::profile::{
    BoundaryTensor, CLOUD_PROFILE_SCHEMA, Device, Method, ModelRef, PROFILE_SCHEMA, PointProfile,
    SEAM_VERSION, TailProfile, Times,
};
use seam_tuner::{CloudProfile, Profile, Work};

/// A model of two 1×1 convolutions with both profiles, in a folder of its own.
pub(crate) struct Files {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) edge: Profile,
    pub(crate) cloud: CloudProfile,
}

impl Files {
    pub(crate) fn new() -> Files {
        Files::named("conv1")
    }

    /// With this name for the first layer, its step and its point.
    pub(crate) fn named(first: &str) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.seam");
        writer::write(&path, &graph(first), &[weights(), weights()]).unwrap();
        let id = Model::open(&path).unwrap().id();
        let model = ModelRef::new("net", &id);
        let device = Device::here("portable", 1);
        let method = Method { warm_up: 0, repeats: 1, target: 0.02, reached: 0.0, met: true };
        // Bytes, milliseconds on the edge, milliseconds of the tail.
        let points =
            [("input", 16_000, 0.0, 3.0), (first, 4_000, 40.0, 2.0), ("output", 0, 90.0, 0.0)];
        let at = |(steps, &(name, bytes, ms, _)): (usize, &(&str, u64, f64, f64))| PointProfile {
            name: name.into(),
            steps: steps as u32,
            boundary: vec![BoundaryTensor {
                name: name.into(),
                shape: [1, 1, bytes],
                element: "u8".into(),
            }],
            raw_bytes: bytes,
            frame_bytes: bytes,
            edge_ns: Times::exactly(ms * 1e6),
            encode_ns: Times::default(),
            codecs: Vec::new(),
        };
        let step = |name: &str| seam_tuner::profile::StepProfile {
            name: name.into(),
            layer: name.into(),
            kernel: "portable".into(),
            work: Work { kind: "conv".into(), macs: 1, ..Work::default() },
            ns: Times::exactly(1.0),
        };
        let edge = Profile {
            schema: PROFILE_SCHEMA.into(),
            seam_version: SEAM_VERSION.into(),
            model: model.clone(),
            device: device.clone(),
            method: method.clone(),
            sustained: Vec::new(),
            fitted_from: Vec::new(),
            total: Times::exactly(90e6),
            steps: [first, "conv2"].map(step).into(),
            points: points.iter().enumerate().map(at).collect(),
        };
        let tails = points[..2].iter().map(|&(name, _, _, ms)| TailProfile {
            name: name.into(),
            tail_ns: Times::exactly(ms * 1e6),
            codecs: Vec::new(),
        });
        let cloud = CloudProfile {
            schema: CLOUD_PROFILE_SCHEMA.into(),
            seam_version: SEAM_VERSION.into(),
            model,
            device,
            engine: "test".into(),
            method,
            points: tails.collect(),
        };
        Files { folder, edge, cloud }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes both profiles and runs `seam` in the folder.
    pub(crate) fn seam(&self, arguments: &[&str]) -> Output {
        std::fs::write(self.path("edge.json"), self.edge.to_json()).unwrap();
        std::fs::write(self.path("cloud.json"), self.cloud.to_json()).unwrap();
        seam(&self.folder, arguments)
    }
}

/// Runs `seam` in a folder.
pub(crate) fn seam(folder: &tempfile::TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seam")).current_dir(folder).args(arguments).output().unwrap()
}

fn graph(first: &str) -> Graph {
    let shape = Shape::new(1, 1, 3);
    let tensor = |name: &str| Tensor {
        name: name.into(),
        shape,
        element: Element::U8 { scale: 0.1, zero_point: 0 },
    };
    let conv = |name: &str, layer: u32| Step {
        name: name.into(),
        layer,
        inputs: vec![TensorId(layer)],
        output: TensorId(layer + 1),
        op: Op::Conv {
            geometry: ConvGeometry {
                input: shape,
                output: shape,
                window: Window::POINTWISE,
                groups: 1,
            },
            lo: 0,
            hi: 255,
        },
    };
    Graph {
        name: "net".into(),
        preprocess: "resize:1,channels:RGB".parse().unwrap(),
        tensors: ["data", first, "conv2"].map(tensor).into(),
        layers: [first, "conv2"].map(String::from).into(),
        steps: vec![conv(first, 0), conv("conv2", 1)],
        input: TensorId(0),
        output: Some(TensorId(2)),
        candidates: vec![Candidate { name: first.into(), steps: 1, boundary: TensorId(1) }],
        stop: None,
    }
}

fn weights() -> StepData {
    StepData::Int8 { scales: vec![0.1; 3], bias: vec![0; 3], weights: vec![1; 9] }
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The one line on stderr of a command that failed.
pub(crate) fn refusal(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let message = text(&output.stderr).trim_end();
    assert!(message.starts_with("seam: ") && message.lines().count() == 1, "{message}");
    message
}
