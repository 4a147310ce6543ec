//! What a script sees of `seam-edge`: exit codes, one line an error, nothing else on stdout.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use seam_kernels::{ConvGeometry, Shape, Window};
use seam_runtime::graph::{Candidate, Element, Graph, Op, Step, StepData, Tensor, TensorId};
use seam_runtime::preprocess::{Channels, Preprocess};
use seam_runtime::{Codec, Model, Pack, writer};
use seam_tuner::profile::{CLOUD_PROFILE_SCHEMA, SEAM_VERSION, TailProfile, Times};
use seam_tuner::{CloudProfile, Environment, Objective, Outline, Plan, Profile, Request};
use serde_json::Value;

/// Two pointwise layers over 4×4 colour images, written to `FOLDER/net.seam`.
fn network(folder: &Path) -> PathBuf {
    let shape = Shape::new(4, 4, 3);
    let tensor = |name: &str, zero_point| Tensor {
        name: name.into(),
        shape,
        element: Element::U8 { scale: 0.1, zero_point },
    };
    let window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0, 0] };
    let geometry = ConvGeometry { input: shape, output: shape, window, groups: 1 };
    let step = |i: u32| Step {
        name: format!("conv{i}"),
        layer: i,
        inputs: vec![TensorId(i)],
        output: TensorId(i + 1),
        op: Op::Conv { geometry, lo: 0, hi: 255 },
    };
    let data = StepData::Int8 {
        scales: vec![0.01; 3],
        bias: vec![5, -5, 0],
        weights: vec![10, -20, 30, 127, -127, 0, 1, 2, 3],
    };
    let graph = Graph {
        name: "net".into(),
        preprocess: Preprocess::new(Channels::Rgb),
        tensors: vec![tensor("image", 0), tensor("a", 100), tensor("b", 120)],
        layers: vec!["conv0".into(), "conv1".into()],
        steps: vec![step(0), step(1)],
        input: TensorId(0),
        output: Some(TensorId(2)),
        candidates: vec![Candidate { name: "conv0".into(), steps: 1, boundary: TensorId(1) }],
        stop: None,
    };
    let path = folder.join("net.seam");
    writer::write(&path, &graph, &[data.clone(), data]).unwrap();
    path
}

#[test]
fn a_reader_that_goes_ends_the_command_without_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_seam-edge"));
    let output = command.arg("info").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn image(folder: &Path, side: u32) -> PathBuf {
    let path = folder.join("image.png");
    image::RgbImage::from_fn(side, side, |x, y| image::Rgb([x as u8 * 60, y as u8 * 60, 7]))
        .save(&path)
        .unwrap();
    path
}

fn seam_edge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seam-edge")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A URL where nothing listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn usage_is_2_failure_is_1_and_one_line() {
    let adaptive = ["infer", "a", "b", "--adaptive"];
    for wrong in [
        &["bench"][..],
        &["nonsense"],
        &["infer", "a", "b"],
        &adaptive,
        &[&adaptive[..], &["--cloud", "http://h", "--at", "output"]].concat(),
        &["infer", "a", "b", "--repeat", "2", "--at", "output"],
        &["infer", "a", "b", "--at", "output", "--codec", "brotli"],
        &["push", "p.json"],
        &[],
    ] {
        assert_eq!(seam_edge(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let net = network(folder.path());
    let net = net.to_str().unwrap();
    let image = image(folder.path(), 4);
    let image = image.to_str().unwrap();
    let wide = folder.path().join("garbage.png");
    std::fs::write(&wide, b"not an image").unwrap();
    let wide = wide.to_str().unwrap();
    let url = nowhere();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let empty = empty.to_str().unwrap();
    for (arguments, cause) in [
        (&["bench", "missing.seam"][..], "missing.seam"),
        (&["bench", image], "magic"),
        (&["infer", net, "missing.jpg", "--at", "output"], "missing.jpg"),
        (&["infer", net, wide, "--at", "output"], "garbage.png"),
        (&["infer", net, image, "--at", "conv9"], "conv9"),
        (&["infer", net, image, "--at", "conv0"], "--cloud"),
        (&["infer", net, image, "--at", "conv0", "--cloud", &url], "seam cloud serve"),
        (&["infer", net, image, "--cloud", "https://host"], "http://HOST:PORT"),
        (&["infer", net, image, "--plan", image], "plan"),
        (&["infer", net, image, image, "--at", "output"], "--adaptive"),
        (&["infer", net, empty, "--adaptive", "--cloud", &url], "no JPEG"),
        (&["infer", net, image, "--at", "conv0", "--codec", "zstd"], "--cloud"),
        (&["profile", net, "--images", empty, "-o", "p.json"], "no JPEG"),
        (&["profile", net, "--images", "missing", "-o", "p.json"], "missing"),
        (&["push", image, "--cloud", &url], "profile"),
        (&["pull", "net", "--cloud", &url, "-o", net], "seam cloud serve"),
    ] {
        let output = seam_edge(arguments);
        let line = text(&output.stderr);
        let line = line.lines().filter(|l| !l.contains("laid out")).collect::<Vec<_>>();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {line:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(line.len() == 1 && line[0].contains(cause), "{arguments:?}: {line:?}");
        assert!(line[0].starts_with("seam-edge: "), "{line:?}");
    }
}

#[test]
fn the_wrong_image_size_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (net, image) = (network(folder.path()), image(folder.path(), 5));
    let output =
        seam_edge(&["infer", net.to_str().unwrap(), image.to_str().unwrap(), "--at", "output"]);
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("5x5") && line.contains("4x4"), "{line}");
}

#[test]
fn every_command_helps_with_an_example() {
    for command in ["info", "kernels", "bench", "tune", "profile", "push", "pull", "infer"] {
        let output = seam_edge(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("Example"), "{command}");
        assert!(text(&output.stdout).contains(&format!("seam-edge {command}")), "{command}");
    }
}

#[test]
fn live_bench_answers_numbers_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let net = network(folder.path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_seam-edge"))
        .args(["bench", net.to_str().unwrap(), "--live", "--threads", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut requests = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for reps in [3, 1, 5] {
        writeln!(requests, "{reps}").unwrap();
        for _ in 0..reps {
            let ms: f64 = answers.next().unwrap().unwrap().parse().unwrap();
            assert!(ms > 0.0);
        }
    }
    drop(requests);
    assert!(answers.next().is_none(), "nothing is left at the end");
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_a_cloud_host_everything_runs_here_unless_a_point_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (net, image) = (network(folder.path()), image(folder.path(), 4));
    let infer = |more: &[&str]| {
        let start = ["infer", net.to_str().unwrap(), image.to_str().unwrap(), "--json"];
        seam_edge(&[&start[..], more].concat())
    };
    let here = infer(&["--at", "output"]);
    assert!(here.status.success(), "{}", text(&here.stderr));
    let here: Value = serde_json::from_slice(&here.stdout).unwrap();
    let fallback = infer(&["--cloud", &nowhere()]);
    assert!(fallback.status.success(), "{}", text(&fallback.stderr));
    assert!(text(&fallback.stderr).contains("running all of the network here"));
    let fallback: Value = serde_json::from_slice(&fallback.stdout).unwrap();
    assert_eq!(fallback["point"], "output");
    assert_eq!(fallback["output"], here["output"]);
    assert_eq!(here["output"].as_array().unwrap().len(), 48);
    assert!(!infer(&["--cloud", &nowhere(), "--at", "conv0"]).status.success());
}

#[test]
fn many_images_without_a_cloud_host_all_run_here_and_that_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let net = network(folder.path());
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("notes.txt"), "no image").unwrap();
    for name in ["b.png", "a.PNG"] {
        std::fs::rename(image(folder.path(), 4), photos.join(name)).unwrap();
    }
    let last = image(folder.path(), 4);
    let infer = |more: &[&str]| {
        let images = [photos.to_str().unwrap(), last.to_str().unwrap()];
        let start = ["infer", net.to_str().unwrap(), images[0], images[1], "--adaptive"];
        let url = nowhere();
        let output = seam_edge(&[&start[..], &["--cloud", &url], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr).matches("until it is back").count(), 1);
        text(&output.stdout).to_string()
    };
    let lines = infer(&["--json", "--repeat", "2"]);
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let names: Vec<_> = lines.iter().map(|l| l["image"].as_str().unwrap()).collect();
    let names: Vec<_> = names.iter().map(|n| n.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["a.PNG", "b.png", "image.png"].repeat(2));
    for line in &lines {
        assert_eq!((&line["point"], &line["environment"]), (&"output".into(), &Value::Null));
        assert_eq!(line["output"], lines[0]["output"]);
    }
    assert!(infer(&[]).contains("3 images, the cut moved 0 times"));
}

#[test]
fn seam_isa_and_the_pack_change_no_bit_of_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (net, image) = (network(folder.path()), image(folder.path(), 4));
    let infer = |isa: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_seam-edge"))
            .args(["infer", net.to_str().unwrap(), image.to_str().unwrap()])
            .args(["--at", "output", "--json"])
            .env("SEAM_ISA", isa)
            .output()
            .unwrap();
        assert!(output.status.success(), "{isa}: {}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (answer["output"].clone(), text(&output.stderr).to_string())
    };
    let (expected, said) = infer("all");
    assert!(said.contains("laid out"), "{said}");
    assert_eq!(infer("portable").0, expected);
    let tuned = seam_edge(&["tune", net.to_str().unwrap(), "--seconds", "1"]);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    let pack = Pack::open(&net.with_extension("pack")).unwrap();
    let (values, said) = infer("all");
    assert_eq!((values, said.as_str()), (expected.clone(), ""), "the pack is used");
    if pack.isa() != "portable" {
        let (values, said) = infer("portable");
        assert_eq!(values, expected);
        assert!(said.contains("without the pack"), "{said}");
    }
    let unknown = Command::new(env!("CARGO_BIN_EXE_seam-edge"))
        .args(["info"])
        .env("SEAM_ISA", "avx9000")
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("avx9000"));
}

#[test]
fn info_and_profile_speak_json() {
    let info = seam_edge(&["info", "--json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert!(info["available"].as_array().unwrap().contains(&"portable".into()));
    let folder = tempfile::tempdir().unwrap();
    let net = network(folder.path());
    let out = folder.path().join("profile.json");
    let output = seam_edge(&[
        "profile",
        net.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
        "--seconds",
        "1",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let profile = Profile::read(&out).unwrap();
    let points: Vec<_> = profile.points.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(points, ["input", "conv0", "output"]);
}

#[test]
fn with_images_a_profile_tells_what_every_codec_makes_of_every_boundary() {
    let folder = tempfile::tempdir().unwrap();
    let (net, out) = (network(folder.path()), folder.path().join("profile.json"));
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    image(&photos, 4);
    let [net, out, photos] = [&net, &out, &photos].map(|path| path.to_str().unwrap());
    let profile = |further: &[&str]| {
        let output = seam_edge(&[&["profile", net, "-o", out, "--seconds", "1"], further].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        Profile::read(Path::new(out)).unwrap()
    };
    assert!(profile(&[]).points.iter().all(|point| point.codecs.is_empty()));
    for point in profile(&["--images", photos]).points {
        let codecs: Vec<_> = point.codecs.iter().map(|codec| codec.codec).collect();
        let all = if point.name == "output" { &[][..] } else { &Codec::ALL };
        assert_eq!(codecs, all, "{}", point.name);
    }
}

/// A plan from this machine's own profile, cut at `output`.
fn plan(folder: &Path, net: &Path) -> Plan {
    let out = folder.join("profile.json");
    let [net, path] = [net, &out].map(|path| path.to_str().unwrap());
    let output = seam_edge(&["profile", net, "-o", path, "--seconds", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut edge = Profile::read(&out).unwrap();
    edge.method.met = true;
    let tail = |name: &str| TailProfile {
        name: name.into(),
        tail_ns: Times::exactly(1e6),
        codecs: Vec::new(),
    };
    let cloud = CloudProfile {
        schema: CLOUD_PROFILE_SCHEMA.into(),
        seam_version: SEAM_VERSION.into(),
        model: edge.model.clone(),
        device: edge.device.clone(),
        engine: "test".into(),
        method: edge.method.clone(),
        points: ["input", "conv0"].map(tail).into(),
    };
    let environment = Environment::of_uplink(1.0).unwrap();
    let outline = Outline::of(&Model::open(net.as_ref()).unwrap()).unwrap();
    let request = Request::new(&outline, &edge, &cloud, environment, Objective::Best);
    Plan::new(&request).unwrap()
}

#[test]
fn a_plan_for_another_board_is_flagged() {
    let folder = tempfile::tempdir().unwrap();
    let (net, image) = (network(folder.path()), image(folder.path(), 4));
    let infer = |plan: &Plan| {
        let path = folder.path().join("plan.json");
        std::fs::write(&path, plan.to_json()).unwrap();
        let [net, image, plan] = [&net, &image, &path].map(|path| path.to_str().unwrap());
        let output = seam_edge(&["infer", net, image, "--plan", plan]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stderr).lines().filter(|line| !line.contains("laid out"));
        said.map(String::from).collect::<Vec<_>>()
    };
    let own = plan(folder.path(), &net);
    assert_eq!((own.chosen.as_str(), infer(&own)), ("output", vec![]));
    let mut other = own.clone();
    other.device.cpu = "Cortex-A53".into();
    other.warnings.push("the edge profile was measured by Seam 0.0.1".into());
    let said = infer(&other);
    assert_eq!(said[0], "seam-edge: the edge profile was measured by Seam 0.0.1");
    assert!(said[1].contains("Cortex-A53") && said[1].contains("plan anew"), "{said:?}");
    assert_eq!(said.len(), 2);
    let mut threads = own;
    threads.device.threads += 1;
    assert!(infer(&threads)[0].contains("threads"), "the same board used in another way");
}
