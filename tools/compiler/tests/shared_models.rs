//! The trained networks of `../shared`: they import, fold, compile, and run from every point.

use std::path::{Path, PathBuf};

use seam_compiler::{Calibration, Engine, Inputs, Method, Network, Options, calibrate, compile};
use seam_runtime::graph::{Graph, Point, StepData};
use seam_runtime::preprocess::{Channels, Preprocess};

/// `../shared` beside the workspace, or `None` with a line that says so.
fn shared() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if path.join("MANIFEST.json").exists() {
        return Some(path);
    }
    assert!(std::env::var_os("SEAM_REQUIRE_SHARED").is_none(), "{} is missing", path.display());
    println!("skipped: {} is not there", path.display());
    None
}

/// Smooth pixels, of the phase `seed`.
fn pixels(network: &Network, seed: usize) -> Vec<u8> {
    let shape = network.input_shape();
    let value = |i: usize| {
        let (p, c) = (i / shape.c, i % shape.c);
        let (y, x) = ((p / shape.w) as f32, (p % shape.w) as f32);
        let wave = (y * 0.13 + seed as f32).sin() * (x * 0.09 + c as f32).cos();
        (127.5 + 120.0 * wave) as u8
    };
    (0..shape.len()).map(value).collect()
}

fn quantized(network: &Network) -> (Graph, Vec<StepData>) {
    let channels = if network.input_shape().c == 1 { Channels::Gray } else { Channels::Rgb };
    let preprocess = Preprocess { scale: 1.0 / 128.0, ..Preprocess::new(channels) };
    let at = |i: usize| Ok(preprocess.to_f32(&pixels(network, i)));
    let inputs = Inputs { count: 2, at: &at };
    let calibration: Calibration =
        calibrate(network, &inputs, Method::MinMax, &|_, _| {}).expect("calibration");
    let options =
        Options { name: "net".into(), preprocess: preprocess.clone(), keep_float: vec![] };
    compile(network, &calibration, &options).expect("compiles")
}

#[test]
fn trained_networks_compile_whole_and_have_a_tail_behind_every_point() {
    let Some(shared) = shared() else { return };
    let manifest = std::fs::read_to_string(shared.join("MANIFEST.json")).expect("manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    for model in manifest["models"].as_array().expect("models") {
        let name = model["name"].as_str().expect("name");
        let path = shared.join(model["file"].as_str().expect("file"));
        let network = seam_compiler::import(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (graph, data) = quantized(&network);
        assert_eq!(graph.stop, None, "{name}");
        assert!(graph.output.is_some() && !graph.candidates.is_empty(), "{name}");
        seam_runtime::writer::encode(&graph, &data).unwrap_or_else(|e| panic!("{name}: {e}"));
        let engine = Engine::new(&network, &graph).unwrap_or_else(|e| panic!("{name}: {e}"));
        for i in 0..graph.candidates.len() {
            let tail = engine.tail(Point::Candidate(i)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(tail.output().name, model["output"].as_str().expect("output"), "{name}");
        }
        let names: Vec<_> = graph.candidates.iter().map(|c| c.name.as_str()).collect();
        println!("{name}: {} steps, points {}", graph.steps.len(), names.join(" "));
    }
}
