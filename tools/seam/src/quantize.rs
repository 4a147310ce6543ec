//! `seam quantize`: from an ONNX file to a `.seam` file and the folded FP32 network beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use seam_compiler::{Calibration, Inputs, Method, Network, calibrate, compile, equalize};
use seam_runtime::graph::{Graph, Point, StepData};
use seam_runtime::preprocess::{Channels, Geometry};
use seam_runtime::{Model, Preprocess, writer};
use serde_json::json;

use crate::images::{self, Item};

/// Quantizes an ONNX network to INT8 for the edge
///
/// Writes NET.seam, and beside it NET.onnx: the folded FP32 network that the cloud runs tails of.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  seam quantize resnet18.onnx --images photos/ -o models/resnet18.seam \\
    --preprocess center-crop:224,scale:0.00392157,mean:0.485:0.456:0.406,std:0.229:0.224:0.225")]
pub(crate) struct Args {
    /// The trained network: one image input of a fixed size, operator set 9 to 22
    #[arg(value_name = "NET.onnx")]
    network: PathBuf,
    /// A folder of JPEG or PNG images like those that the network will see
    #[arg(long, value_name = "DIR", required_unless_present = "noise")]
    images: Option<PathBuf>,
    /// The file to write
    #[arg(short, long, value_name = "NET.seam")]
    output: PathBuf,
    /// How ranges follow from the values seen: minmax, percentile, entropy or mse
    #[arg(long, default_value = "minmax", value_parser = method)]
    method: Method,
    /// From an image to the network's input: rules, a JSON object, or a file with either
    #[arg(long, value_name = "SPEC", required_unless_present = "noise")]
    preprocess: Option<String>,
    /// Most images to calibrate on
    #[arg(long, value_name = "N", default_value_t = 100)]
    calibration: usize,
    /// Calibrates on the first, then every K-th image
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Takes the images in the order of this list (rows of file,label) instead of by name
    #[arg(long, value_name = "CSV", requires = "images")]
    labels: Option<PathBuf>,
    /// Calibrates on N inputs of Gaussian noise instead of images: times will be true, answers not
    #[arg(long, value_name = "N", conflicts_with = "images")]
    noise: Option<usize>,
    /// Layers that stay in float on the edge, separated by commas
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    keep_float: Vec<String>,
    /// Leaves the channels' ranges as they are instead of bringing them together between layers
    #[arg(long)]
    no_equalize: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "minmax" => Ok(Method::MinMax),
        "percentile" => Ok(Method::Percentile),
        "entropy" => Ok(Method::Entropy),
        "mse" => Ok(Method::Mse),
        _ => Err("use minmax, percentile, entropy or mse".into()),
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    let seam = &args.output;
    let fp32 = seam.with_extension("onnx");
    check_outputs(&args.network, seam, &fp32)?;
    let mut network = seam_compiler::import(&args.network)?;
    let preprocess = match &args.preprocess {
        Some(argument) => Preprocess::from_argument(argument)?,
        None => noise_preprocess(&network)?,
    };
    let items = match &args.images {
        Some(folder) => listed(&args, folder)?,
        None => Vec::new(),
    };
    let (shape, std) = (network.input_shape(), network.input_std().unwrap_or(1.0));
    let input = |i: usize| match args.noise {
        Some(_) => Ok(gaussian(i as u64, shape.len(), std)),
        None => Ok(preprocess.to_f32(&images::pixels(&items[i].path, &preprocess, shape)?)),
    };
    let inputs = Inputs { count: args.noise.unwrap_or(items.len()), at: &input };
    let name = seam.file_stem().and_then(|s| s.to_str()).unwrap_or("network").to_string();
    let (preprocess, keep_float) = (preprocess.clone(), args.keep_float.clone());
    let options = seam_compiler::Options { name, preprocess, keep_float };
    let (graph, data) = quantized(&mut network, &inputs, args.method, !args.no_equalize, &options)?;
    let inputs = inputs.count;
    // The FP32 side first: a .seam file without it would be half a network.
    network.save(&fp32)?;
    writer::write(seam, &graph, &data)?;
    report(&network, &graph, &Model::open(seam)?, &fp32, inputs, args.json)
}

/// Refuses to write over the user's network.
fn check_outputs(network: &Path, seam: &Path, fp32: &Path) -> Result<()> {
    ensure!(
        seam.extension().is_some_and(|e| e == "seam"),
        "-o {}: the file's name must end in .seam",
        seam.display()
    );
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    ensure!(
        real(fp32).is_none() || real(fp32) != real(network),
        "{} would be overwritten by the folded network: choose another name or folder with -o",
        fp32.display()
    );
    Ok(())
}

/// The images that calibrate.
fn listed(args: &Args, folder: &Path) -> Result<Vec<Item>> {
    let items = images::list(folder, args.labels.as_deref())?;
    Ok(items.into_iter().step_by(args.every as usize).take(args.calibration).collect())
}

/// The program that the edge runs. With `equalized`, channels of `network` are first brought to like
/// ranges; the network then is the same function with other weights.
pub(crate) fn quantized(
    network: &mut Network,
    inputs: &Inputs<'_>,
    method: Method,
    equalized: bool,
    options: &seam_compiler::Options,
) -> Result<(Graph, Vec<StepData>)> {
    if equalized {
        let ranges = calibrated(network, inputs, Method::MinMax, "measuring channels")?;
        equalize(network, &ranges);
    }
    let calibration = calibrated(network, inputs, method, "calibrating")?;
    Ok(compile(network, &calibration, options)?)
}

fn calibrated(
    network: &Network,
    inputs: &Inputs<'_>,
    method: Method,
    message: &'static str,
) -> Result<Calibration> {
    let bar = images::progress(inputs.count, message);
    let calibration = calibrate(network, inputs, method, &|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    calibration.context("calibration failed")
}

/// Without images there is no telling what pixels mean: their range spans three deviations.
fn noise_preprocess(network: &Network) -> Result<Preprocess> {
    let shape = network.input_shape();
    let channels = match shape.c {
        1 => Channels::Gray,
        3 => Channels::Rgb,
        c => bail!("the network takes {c} channels, an image has 1 or 3: give --preprocess"),
    };
    let std = 127.5 / (3.0 * network.input_std().unwrap_or(1.0));
    Ok(Preprocess {
        geometry: vec![Geometry::Resize { height: shape.h as u32, width: shape.w as u32 }],
        mean: vec![127.5; shape.c],
        std: vec![std; shape.c],
        ..Preprocess::new(channels)
    })
}

/// `len` values of a normal distribution, the same for the same seed.
fn gaussian(seed: u64, len: usize, std: f32) -> Vec<f32> {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut state = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
    let mut uniform = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    };
    let mut values = Vec::with_capacity(len + 1);
    while values.len() < len {
        // Box and Muller: two uniform numbers make two normal ones.
        let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt() * std;
        let (sin, cos) = (std::f32::consts::TAU * uniform()).sin_cos();
        values.extend([radius * cos, radius * sin]);
    }
    values.truncate(len);
    values
}

fn report(
    network: &Network,
    graph: &Graph,
    model: &Model,
    fp32: &Path,
    inputs: usize,
    as_json: bool,
) -> Result<()> {
    let points: Vec<&str> = graph.points().map(|p| graph.point_name(p)).collect();
    let (float, int8) = (4 * network.parameters() as u64, model.full_len());
    if as_json {
        let stop = graph
            .stop
            .as_ref()
            .map(|s| json!({ "node": s.node, "operator": s.operator, "reason": s.reason }));
        let report = json!({
            "name": graph.name,
            "layers": graph.layers.len(),
            "steps": graph.steps.len(),
            "calibration_inputs": inputs,
            "fp32_bytes": float,
            "seam_bytes": int8,
            "points": points,
            "stop": stop,
            "sha256": model.id_hex(),
        });
        println!("{report:#}");
        return Ok(());
    }
    println!(
        "{}: {} layers in {} steps, calibrated on {inputs} inputs",
        graph.name,
        graph.layers.len(),
        graph.steps.len()
    );
    println!(
        "weights: {:.2} MiB FP32, {:.2} MiB .seam",
        float as f64 / f64::from(1 << 20),
        int8 as f64 / f64::from(1 << 20)
    );
    println!("points: {}", points.join(" "));
    match &graph.stop {
        Some(stop) => println!(
            "the edge stops before {} ({}): {}; deepest point {}",
            stop.node,
            stop.operator,
            stop.reason,
            graph.point_name(graph.points().last().unwrap_or(Point::Input))
        ),
        None => println!("the edge can run the whole network"),
    }
    println!("wrote the model and {}", fp32.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_normal_and_the_same_for_the_same_seed() {
        let x = gaussian(3, 100_001, 2.0);
        assert_eq!(x, gaussian(3, 100_001, 2.0));
        assert_ne!(x[..8], gaussian(4, 8, 2.0)[..]);
        let mean = x.iter().sum::<f32>() / x.len() as f32;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / x.len() as f32;
        assert!(mean.abs() < 0.03 && (variance - 4.0).abs() < 0.1, "{mean} {variance}");
    }

    #[test]
    fn the_users_network_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("folder");
        let network = folder.path().join("net.onnx");
        std::fs::write(&network, b"mine").expect("file");
        let seam = folder.path().join("net.seam");
        let fp32 = seam.with_extension("onnx");
        let error = check_outputs(&network, &seam, &fp32).expect_err("refused").to_string();
        assert!(error.contains("choose another name"), "{error}");
        let other = folder.path().join("other.seam");
        check_outputs(&network, &other, &other.with_extension("onnx")).expect("another name");
    }
}
