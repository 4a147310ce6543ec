//! `seam plan` as typed: the table, the JSON, the file, and its refusals on one line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use seam_kernels::{ConvGeometry, Shape, Window};
use seam_runtime::graph::{Candidate, Element, Graph, Op, Step, StepData, Tensor, TensorId};
use seam_runtime::{Model, writer};
use seam_tuner::profile::{
    BoundaryTensor, CLOUD_PROFILE_SCHEMA, Device, Method, ModelRef, PROFILE_SCHEMA, PointProfile,
    TailProfile, Times,
};
use seam_tuner::{CloudProfile, Plan, Profile};

/// A model of two 1×1 convolutions with both profiles, in a folder of its own.
struct Files {
    folder: tempfile::TempDir,
    edge: Profile,
    cloud: CloudProfile,
}

impl Files {
    fn new() -> Files {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.seam");
        writer::write(&path, &graph(), &[weights(), weights()]).unwrap();
        let id = Model::open(&path).unwrap().id();
        let model = ModelRef::new("net", &id);
        let device = Device::here("portable", 1);
        let method = Method { warm_up: 0, repeats: 1, target: 0.02, reached: 0.0, met: true };
        // Bytes, milliseconds on the edge, milliseconds of the tail.
        let points =
            [("input", 16_000, 0.0, 3.0), ("conv1", 4_000, 40.0, 2.0), ("output", 0, 90.0, 0.0)];
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
            kind: "conv".into(),
            kernel: "portable".into(),
            macs: 1,
            weight_bytes: 1,
            ns: Times::exactly(1.0),
        };
        let edge = Profile {
            schema: PROFILE_SCHEMA.into(),
            model: model.clone(),
            device: device.clone(),
            method: method.clone(),
            total: Times::exactly(90e6),
            steps: ["conv1", "conv2"].map(step).into(),
            points: points.iter().enumerate().map(at).collect(),
        };
        let tails = points[..2].iter().map(|&(name, _, _, ms)| TailProfile {
            name: name.into(),
            tail_ns: Times::exactly(ms * 1e6),
            codecs: Vec::new(),
        });
        let cloud = CloudProfile {
            schema: CLOUD_PROFILE_SCHEMA.into(),
            model,
            device,
            engine: "test".into(),
            method,
            points: tails.collect(),
        };
        Files { folder, edge, cloud }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes both profiles and runs `seam plan` with the further arguments.
    fn plan(&self, further: &[&str]) -> Output {
        std::fs::write(self.path("edge.json"), self.edge.to_json()).unwrap();
        std::fs::write(self.path("cloud.json"), self.cloud.to_json()).unwrap();
        seam(self.folder.path(), further)
    }
}

fn seam(folder: &Path, further: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seam"))
        .current_dir(folder)
        .args(["plan", "net.seam", "--edge", "edge.json", "--cloud", "cloud.json"])
        .args(further)
        .output()
        .unwrap()
}

fn graph() -> Graph {
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
        tensors: ["data", "conv1", "conv2"].map(tensor).into(),
        layers: ["conv1", "conv2"].map(String::from).into(),
        steps: vec![conv("conv1", 0), conv("conv2", 1)],
        input: TensorId(0),
        output: Some(TensorId(2)),
        candidates: vec![Candidate { name: "conv1".into(), steps: 1, boundary: TensorId(1) }],
        stop: None,
    }
}

fn weights() -> StepData {
    StepData::Int8 { scales: vec![0.1; 3], bias: vec![0; 3], weights: vec![1; 9] }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The one line on stderr of a command that failed.
fn refusal(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let message = text(&output.stderr).trim_end();
    assert!(message.starts_with("seam: ") && message.lines().count() == 1, "{message}");
    message
}

#[test]
fn the_table_names_the_point_to_cut_at() {
    let output = Files::new().plan(&["--uplink", "100KiB/s", "--rtt", "1ms"]);
    assert!(output.status.success(), "{output:?}");
    let table = text(&output.stdout);
    let row = table.lines().find(|line| line.starts_with("conv1")).unwrap();
    // 40 + 4000 / 102.4 + 1 + 2 milliseconds.
    assert!(row.contains("82.06") && row.ends_with("best, fastest"), "{table}");
    assert!(table.ends_with("cut at conv1 (best)\n"), "{table}");
}

#[test]
fn the_objective_decides_whether_the_input_may_be_sent() {
    let files = Files::new();
    let chosen = |objective: &str| {
        let output = files.plan(&["--uplink", "100Mbit/s", "--objective", objective, "--json"]);
        Plan::from_json(&output.stdout).unwrap().chosen
    };
    assert_eq!(chosen("fastest"), "input");
    assert_eq!(chosen("best"), "conv1");
}

#[test]
fn the_plan_written_is_the_plan_printed_and_the_same_every_time() {
    let files = Files::new();
    let run = |name: &str| {
        let output = files.plan(&["--uplink", "100KiB/s", "--json", "-o", name]);
        assert_eq!(output.stdout, std::fs::read(files.path(name)).unwrap());
        output.stdout
    };
    assert_eq!(run("a.json"), run("b.json"));
    let plan = Plan::read(&files.path("a.json")).unwrap();
    assert_eq!(plan.inputs.edge_profile_sha256, files.edge.sha256());
}

#[test]
fn a_profile_that_does_not_fit_is_refused_on_one_line() {
    let mut files = Files::new();
    files.edge.model.sha256 = "5a".repeat(32);
    let output = files.plan(&["--uplink", "1MiB/s", "-o", "plan.json"]);
    assert!(refusal(&output).contains("edge profile") && refusal(&output).contains("5a5a5a"));
    assert!(!files.path("plan.json").exists());

    let mut files = Files::new();
    files.cloud.points.pop();
    let output = files.plan(&["--uplink", "1MiB/s"]);
    assert!(refusal(&output).contains("cloud profile") && refusal(&output).contains("conv1"));

    let mut files = Files::new();
    files.cloud.schema = "seam.cloud-profile/7".into();
    let output = files.plan(&["--uplink", "1MiB/s"]);
    assert!(refusal(&output).contains("cloud.json"), "{}", refusal(&output));
    assert!(refusal(&output).contains("seam.cloud-profile/7"), "{}", refusal(&output));
}

#[test]
fn a_file_that_is_missing_or_no_profile_is_refused_by_its_name() {
    let files = Files::new();
    let missing = seam(files.folder.path(), &["--uplink", "1MiB/s"]);
    assert!(refusal(&missing).contains("edge.json"), "{}", refusal(&missing));
    std::fs::write(files.path("edge.json"), "{").unwrap();
    std::fs::write(files.path("cloud.json"), "{").unwrap();
    let malformed = seam(files.folder.path(), &["--uplink", "1MiB/s"]);
    assert!(refusal(&malformed).contains("edge.json"), "{}", refusal(&malformed));
}

#[test]
fn what_is_no_rate_is_a_mistake_of_usage() {
    for rate in ["250", "250KB/s", "0KiB/s", "fast"] {
        let output = Files::new().plan(&["--uplink", rate]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(rate), "{output:?}");
    }
    let output = Files::new().plan(&["--uplink", "1MiB/s", "--objective", "cheapest"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("best or fastest"), "{output:?}");
}
