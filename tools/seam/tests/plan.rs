//! `seam plan` as typed: the table, the JSON, the file, and its refusals on one line.

mod common;

use std::process::{Command, Output};

use seam_runtime::Model;
use seam_tuner::Plan;
use seam_tuner::profile::ModelRef;

use common::{Files, refusal, text};

const PLAN: [&str; 6] = ["plan", "net.seam", "--edge", "edge.json", "--cloud", "cloud.json"];

impl Files {
    /// Runs `seam plan` with the further arguments.
    fn plan(&self, further: &[&str]) -> Output {
        self.seam(&[&PLAN, further].concat())
    }
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
fn what_fits_into_the_uplinks_burst_takes_no_time_to_upload() {
    let output =
        Files::new().plan(&["--uplink", "100KiB/s", "--burst", "4kB", "--rtt", "1ms", "--json"]);
    let plan = Plan::from_json(&output.stdout).unwrap();
    let point = plan.point("conv1").unwrap();
    assert_eq!((point.predicted.bytes, point.predicted.upload_ns), (4000, 0.0));
    assert_eq!(point.predicted.total_ns, 43e6);
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
    let missing = common::seam(&files.folder, &[&PLAN[..], &["--uplink", "1MiB/s"]].concat());
    assert!(refusal(&missing).contains("edge.json"), "{}", refusal(&missing));
    std::fs::write(files.path("edge.json"), "{").unwrap();
    std::fs::write(files.path("cloud.json"), "{").unwrap();
    let malformed = common::seam(&files.folder, &[&PLAN[..], &["--uplink", "1MiB/s"]].concat());
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
fn profiles_that_are_fitted_to_are_flagged_too() {
    let mut files = Files::new();
    let mut old = files.edge.clone();
    old.model = ModelRef::new("older", &[7; 32]);
    (old.seam_version, old.method.met) = ("0.0.1".into(), false);
    std::fs::write(files.path("old.json"), old.to_json()).unwrap();
    files.edge.points.pop();
    files.edge.steps.pop();
    let plan = files.plan(&["--uplink", "100KiB/s", "--fit", "old.json"]);
    let fit = files.seam(&["fit", "old.json"]);
    for output in [plan, fit] {
        let warnings = text(&output.stderr);
        for words in
            ["that was fitted to was measured by Seam 0.0.1", "medians of the profile of older"]
        {
            assert!(output.status.success() && warnings.contains(words), "{words}: {output:?}");
        }
    }
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
