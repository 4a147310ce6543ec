//! `seam plan` as typed: the table, the JSON, the file, and its refusals on one line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use seam_kernels::{ConvGeometry, Shape, Window};
use seam_runtime::graph::{Candidate, Element, Graph, Op, Step, StepData, Tensor, TensorId};
use seam_runtime::{Model, writer};
use seam_tuner::profile::{
    BoundaryTensor, CLOUD_PROFILE_SCHEMA, Device, Method, ModelRef, PROFILE_SCHEMA, PointProfile,
    SEAM_VERSION, TailProfile, Times,
};
use seam_tuner::{CloudProfile, Plan, Profile, Work};

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
            seam_version: SEAM_VERSION.into(),
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
    assert!(text(&output.stderr).contains("least-download or throughput"), "{output:?}");
}

#[test]
fn a_constraint_stands_beside_the_points_that_it_forbids() {
    let files = Files::new();
    let output =
        files.plan(&["--uplink", "100KiB/s", "--min-depth", "conv1", "--pin", "conv2=cloud"]);
    assert!(output.status.success(), "{output:?}");
    let table = text(&output.stdout);
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(row("input").ends_with("excluded: before conv1"), "{table}");
    assert!(row("output").ends_with("excluded: conv2 in the cloud"), "{table}");
    assert!(table.ends_with("cut at conv1 (best)\n"), "{table}");

    let model = Model::open(&files.path("net.seam")).unwrap();
    let limit = |point: &str| format!("{}B", model.prefix_len(model.point(point).unwrap()));
    let chosen = |flag: &str, size: &str| {
        let output = files.plan(&["--uplink", "100B/s", flag, size, "--json"]);
        Plan::from_json(&output.stdout).unwrap().chosen
    };
    assert_eq!(chosen("--max-download", "1MiB"), "output");
    assert_eq!(chosen("--max-download", &limit("conv1")), "conv1");
    assert_eq!(chosen("--max-memory", "1MiB"), "output");
}

#[test]
fn what_cannot_be_obeyed_is_refused_on_one_line() {
    let files = Files::new();
    let refused = |further: &[&str]| {
        let output = files.plan(&[&["--uplink", "1MiB/s", "-o", "plan.json"], further].concat());
        assert!(!files.path("plan.json").exists());
        refusal(&output).to_string()
    };
    let nothing = refused(&["--max-memory", "1B", "--pin", "conv1"]);
    assert!(nothing.contains("memory up to 1 B, conv1 on the edge"), "{nothing}");
    assert!(refused(&["--min-depth", "conv7"]).contains("conv7"));
    assert!(refused(&["--pin", "conv7"]).contains("conv7"));
    assert!(refused(&["--general", "--objective", "throughput"]).contains("throughput"));
    let pin = files.plan(&["--uplink", "1MiB/s", "--pin", "=cloud"]);
    assert_eq!(pin.status.code(), Some(2), "{pin:?}");
}

#[test]
fn the_general_cut_stands_under_the_table_and_in_the_plan() {
    let files = Files::new();
    let run =
        |further: &[&str]| files.plan(&[&["--uplink", "100KiB/s", "--general"], further].concat());
    let output = run(&[]);
    let table = text(&output.stdout);
    assert!(table.contains("general cut, predicted only: 81.06 ms"), "{table}");
    // A chain has no cut but its points.
    assert!(table.contains("no less than the least point"), "{table}");
    assert!(table.contains("crosses: conv1 (3 B)"), "{table}");
    let plan = Plan::from_json(&run(&["--json"]).stdout).unwrap();
    assert_eq!(plan.general.unwrap().prefix, "conv1");
    let without = files.plan(&["--uplink", "100KiB/s", "--json"]);
    assert!(Plan::from_json(&without.stdout).unwrap().general.is_none());
}

#[test]
fn the_map_is_printed_and_drawn() {
    let files = Files::new();
    let output = files.plan(&["--uplink", "100KiB/s", "--map", "map.svg"]);
    let table = text(&output.stdout);
    // 4000 bytes save 48 ms of 90; 12,000 bytes more cost less than 39 ms from 300.5 KiB/s on.
    let fastest = "  fastest: output up to 81.4 KiB/s, conv1 up to 300.5 KiB/s, then input";
    assert!(table.lines().any(|line| line == fastest), "{table}");
    assert!(table.contains("  least-download: conv1 at any rate"), "{table}");
    let svg = std::fs::read_to_string(files.path("map.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    for part in ["fastest", "throughput", "81.4 KiB/s to", ">net</text>", "where to cut"] {
        assert!(svg.contains(part), "{part:?} is not in {svg}");
    }
    files.plan(&["--uplink", "100KiB/s", "--map", "again.svg"]);
    assert_eq!(svg, std::fs::read_to_string(files.path("again.svg")).unwrap());
}

#[test]
fn points_that_the_board_has_not_run_are_estimated_and_say_so() {
    let mut files = Files::new();
    files.edge.points.pop();
    files.edge.steps.pop();
    let output = files.plan(&["--uplink", "100KiB/s"]);
    assert!(output.status.success(), "{output:?}");
    let row = |name: &str| text(&output.stdout).lines().find(|line| line.starts_with(name));
    assert!(row("output").unwrap().ends_with("estimated"), "{output:?}");
    assert!(!row("conv1").unwrap().contains("estimated"), "{output:?}");
    let warning = text(&output.stderr).trim_end();
    assert!(warning.starts_with("seam: edge times at output are estimates"), "{warning}");
    assert_eq!(warning.lines().count(), 1, "{warning}");
}

#[test]
fn a_network_that_never_ran_is_planned_from_profiles_of_others() {
    let mut files = Files::new();
    let cloud = files.cloud.clone();
    files.edge.model = ModelRef::new("other", &[7; 32]);
    files.plan(&["--uplink", "100KiB/s"]);
    let arguments = |further: &[&str]| {
        let mut arguments = vec!["plan", "net.seam", "--cloud", "cloud.json", "--uplink", "1MiB/s"];
        arguments.extend(further);
        Command::new(env!("CARGO_BIN_EXE_seam"))
            .current_dir(files.folder.path())
            .args(arguments)
            .output()
            .unwrap()
    };
    let output = arguments(&["--fit", "edge.json", "--json"]);
    let plan = Plan::from_json(&output.stdout).unwrap();
    assert_eq!((plan.model.name.as_str(), plan.points.len()), ("net", 3));
    assert_eq!(plan.model.sha256, cloud.model.sha256);
    assert!(plan.points.iter().all(|point| point.estimated));
    assert_eq!(plan.inputs.fitted_from, [files.edge.sha256()]);
    assert_eq!(arguments(&["--fit", "edge.json", "--json"]).stdout, output.stdout);
    assert_eq!(arguments(&[]).status.code(), Some(2), "--edge or --fit must be there");
}

#[test]
fn a_profile_of_another_version_is_flagged() {
    let mut files = Files::new();
    files.edge.seam_version = "0.0.1".into();
    let output = files.plan(&["--uplink", "100KiB/s", "--json"]);
    let plan = Plan::from_json(&output.stdout).unwrap();
    let warning = text(&output.stderr).trim_end();
    assert_eq!(warning, format!("seam: {}", plan.warnings[0]));
    assert!(warning.contains("Seam 0.0.1") && warning.contains("measure it again"), "{warning}");
}

#[test]
fn fit_shows_coefficients_and_held_out_errors() {
    let files = Files::new();
    let (a, mut b) = (files.edge.clone(), files.edge.clone());
    b.model = ModelRef::new("other", &[7; 32]);
    std::fs::write(files.path("a.json"), a.to_json()).unwrap();
    std::fs::write(files.path("b.json"), b.to_json()).unwrap();
    let fit = |further: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_seam"))
            .current_dir(files.folder.path())
            .args(["fit", "a.json", "b.json"])
            .args(further)
            .output()
            .unwrap()
    };
    let table = fit(&[]);
    let lines: Vec<&str> = text(&table.stdout).lines().collect();
    let of = |start: &str| lines.iter().find(|line| line.starts_with(start)).unwrap();
    assert!(of("operator").contains("ns/MMAC"), "{lines:?}");
    assert!(of("conv").contains("portable"), "{lines:?}");
    assert!(of("net ").contains("+0.0%") && of("other").contains("+0.0%"), "{lines:?}");
    let json: serde_json::Value = serde_json::from_slice(&fit(&["--json"]).stdout).unwrap();
    assert_eq!(json["schema"], "seam.cost-model/1");
    assert_eq!(json["held_out"]["networks"][1]["name"], "other");
    assert_eq!(json["classes"][0]["class"], serde_json::json!(["conv", "portable"]));

    b.device.threads = 9;
    std::fs::write(files.path("b.json"), b.to_json()).unwrap();
    assert!(refusal(&fit(&[])).contains("9 threads"), "{}", refusal(&fit(&[])));
}
