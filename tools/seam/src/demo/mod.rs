//! `seam demo`: everything at once, on this machine.
//!
//! | hop | file |
//! |---|---|
//! | the embedded network and its pictures | `data.rs` |
//! | AlexNet's shapes with weights drawn at random | `crate::nets` |
//! | ONNX file → `.seam` file and FP32 network | `crate::quantized` |
//! | the cloud host, on loopback | `host.rs` |
//! | an uplink of a stated speed, on loopback | `link.rs` |
//! | tune → profile → ship → plan → run | `trial.rs` |
//! | what came out, as tables and as a page | `crate::report` |

pub(crate) mod data;
mod host;
mod link;
#[cfg(test)]
mod tests;
mod trial;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use seam_compiler::Engine;
use seam_kernels::Isa;
use seam_runtime::{Options, writer};
use seam_tuner::profile::Device;

use crate::nets;
use crate::quantized::Quantized;
use crate::report::{self, Report, html, text};
use crate::stages::Stages;
use data::Data;
use host::Host;
use trial::Trial;

/// Quantize, serve, profile, plan and run a small embedded network; then plan for AlexNet
///
/// One thread of this machine plays the board, a host on loopback the cloud, and a relay that lets
/// bytes through at the stated speed the uplink.
#[derive(clap::Args)]
#[command(after_help = "Example: seam demo --html demo.html --keep demo-files")]
pub(crate) struct Args {
    /// The page to write
    #[arg(long, value_name = "FILE", default_value = "seam-demo.html")]
    html: PathBuf,
    /// Keep networks, models, profiles and plans in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print JSON in place of tables
    #[arg(long)]
    json: bool,
    /// The board's kernels: `portable` (slow, like a small board), `all` for this CPU's best, or
    /// another of SEAM_ISA's words
    #[arg(long, value_name = "ISA", default_value = "portable")]
    edge_isa: String,
    /// An uplink to plan both networks for, such as 250KiB/s or 20Mbit/s; may be given several
    /// times [default: three for each]
    #[arg(long = "uplink", value_name = "RATE", value_parser = seam_tuner::units::rate)]
    uplinks: Vec<f64>,
}

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;
/// A poor mobile network, a good one, and gigabit Ethernet.
const UPLINKS_OF_SHAPES: [f64; 3] = [100.0 * KIB, 2.0 * MIB, 100.0 * MIB];
/// The paper's uplink first.
const UPLINKS_OF_ALEXNET: [f64; 3] = [250.0 * KIB, 2.0 * MIB, 100.0 * MIB];

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let isa = Isa::capped(&args.edge_isa).context("--edge-isa")?;
    // Found out now, not after a minute.
    let folder = args.html.parent().filter(|path| !path.as_os_str().is_empty());
    ensure!(folder.is_none_or(Path::is_dir), cannot_write(&args.html));
    let board = Options { isa, ..Options::from_env()? };
    let directory = Directory::new(args.keep.as_deref())?;
    let (files, models) = (directory.path(), directory.path().join("models"));
    std::fs::create_dir_all(&models).with_context(|| cannot_write(&models))?;
    let stages = Stages::new();

    let data = Data::embedded()?;
    let stage = stages.next("shapes: quantizing");
    let onnx = files.join("shapes-trained.onnx");
    writer::write_file(&onnx, data::NETWORK)?;
    let preprocess = data::PREPROCESS.parse()?;
    let network = seam_compiler::import(&onnx)?;
    let shapes =
        Quantized::new("shapes", &network, preprocess, &data.calibration, &models, &stage)?;

    let stage = stages.next("alexnet: drawing 61 million weights, quantizing");
    let alexnet = nets::alexnet();
    let network = seam_compiler::import_model(alexnet.onnx(), files)?;
    let preprocess = nets::PREPROCESS.parse()?;
    let noise = nets::images(&alexnet, 2);
    let alexnet = Quantized::new("alexnet", &network, preprocess, &noise, &models, &stage)?;

    stages.next("starting the cloud host");
    let host = Host::start(&models)?;
    let trial = |quantized, seconds, uplinks: &[f64]| {
        let cap = Duration::from_secs(seconds);
        let uplinks = if args.uplinks.is_empty() { uplinks } else { &args.uplinks };
        Trial::new(quantized, &board, cap, &host, uplinks, files, &stages)
    };
    let shapes = trial(shapes, 4, &UPLINKS_OF_SHAPES)?;
    let engine = Engine::open(&models.join("shapes.seam"))?;
    let accuracy = shapes.accuracy(&data.test, &engine, &stages)?;
    let measured = shapes.measured(&data.test, &stages)?;
    let alexnet = trial(alexnet, 8, &UPLINKS_OF_ALEXNET)?;
    drop(stages);

    let here = Device::here(isa.name(), board.threads);
    let report = Report {
        schema: report::SCHEMA,
        title: "Seam: where to cut".into(),
        lead: "A network runs in INT8 on the board up to a point, and in FP32 in the cloud from \
               there on. Which point is fastest depends on the uplink."
            .into(),
        machine: machine(&here, alexnet.macs_per_s()),
        networks: vec![
            shapes.report(&about_shapes(&data), Some(accuracy), &measured),
            alexnet.report(ABOUT_ALEXNET, None, &[]),
        ],
        warnings: [&shapes, &alexnet].into_iter().filter_map(Trial::warning).collect(),
        notes: notes(),
    };
    let page = html::page(&report);
    writer::write_file(&args.html, page.as_bytes())?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}\npage: {}", text::table(&report), args.html.display());
        if args.keep.is_some() {
            println!("files: {}", files.display());
        }
    }
    Ok(())
}

fn about_shapes(data: &Data) -> String {
    format!(
        "{} kinds of shape ({}) on busy backgrounds, 96x96 pixels; a network trained for this demo.",
        data.classes.len(),
        data.classes.join(", ")
    )
}

const ABOUT_ALEXNET: &str = "The true shapes of Caffe's AlexNet, groups and LRN included; weights \
    drawn at random, calibrated on noise, planned from measured profiles and not run over the \
    uplink.";

fn machine(here: &Device, macs_per_s: f64) -> Vec<(String, String)> {
    let Device { cpu, isa, cores, threads, .. } = here;
    let speed = macs_per_s / 1e9;
    vec![
        ("Board".into(), format!("{cpu}, {threads} thread, {isa} kernels, {speed:.2} GMAC/s")),
        ("Cloud".into(), format!("{cpu}, {cores} cores, FP32 in tract, host on loopback")),
    ]
}

fn notes() -> Vec<String> {
    [
        "Board and cloud are this one machine. The board is one thread, by default with the \
         portable kernels, which bring it near to the speed of the paper's board (its times imply \
         0.8 to 2.1 GMAC/s); --edge-isa all gives it the fastest kernels of this CPU.",
        "Edge and cloud times are medians of the profiles that the plans were made from: whole runs \
         of the edge part step by step, and of the FP32 tail behind every point. Upload is the \
         boundary's frame at the uplink's speed and one round trip, which a small request measured \
         over the same uplink.",
        "Measured times are medians from picture to answer: edge part, frame, a real HTTP request \
         through a relay that lets bytes through at the uplink's speed, tail, answer. The answer's \
         way back is not slowed down.",
        "Every picture of the split's accuracy was cut, sent and answered that way. None of them \
         was used to train or to calibrate.",
    ]
    .map(String::from)
    .into()
}

/// Where the demo's files lie: the user's directory, or one that goes with the demo.
enum Directory {
    Kept(PathBuf),
    Passing(tempfile::TempDir),
}

impl Directory {
    fn new(keep: Option<&Path>) -> anyhow::Result<Directory> {
        match keep {
            Some(path) => {
                std::fs::create_dir_all(path).with_context(|| cannot_write(path))?;
                Ok(Directory::Kept(path.into()))
            }
            None => {
                let passing = tempfile::Builder::new().prefix("seam-demo-").tempdir();
                let passing = passing.context("no directory for temporary files: set TMPDIR")?;
                Ok(Directory::Passing(passing))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Directory::Kept(path) => path,
            Directory::Passing(path) => path.path(),
        }
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write to {}: name another directory", path.display())
}
