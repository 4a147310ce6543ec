//! `seam profile-cloud`: what the FP32 tail behind every point takes on this host.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use seam_cloud::profile::{Effort, measure};
use seam_compiler::Engine;
use seam_runtime::{Model, writer};
use seam_tuner::profile::ModelRef;

/// Time the FP32 tail behind every point on this host
///
/// Tails run in rounds until the 95% interval of every median is under 2%, or the time is over.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam profile-cloud net.seam -o cloud.json")]
pub(crate) struct Args {
    /// The .seam file; the NET.onnx that `seam quantize` wrote must stand beside it
    net: PathBuf,
    /// Where to write the profile
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Most seconds to measure
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let model = Model::open(&args.net)?;
    let engine = Engine::open(&args.net)?;
    let bar = ProgressBar::new(1000).with_message("profiling");
    let bar = match ProgressStyle::with_template("{msg} {wide_bar} {percent}%") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    let effort = Effort { time: Duration::from_secs(args.seconds), ..Effort::default() };
    let model = ModelRef::new(&model.graph().name, &model.id());
    let profile = measure(&engine, model, &effort, &mut |done| {
        bar.set_position((done * 1000.0) as u64);
    })?;
    bar.finish_and_clear();
    writer::write_file(&args.out, profile.to_json().as_bytes())?;
    for point in &profile.points {
        println!("{:<32} {:>9.3} ms", point.name, point.tail_ns.p50 / 1e6);
    }
    println!("wrote {}", args.out.display());
    if !profile.method.met {
        eprintln!(
            "seam: medians are known to {:.1}% only, not the {:.1}% aimed at: quieten this host or \
             allow more --seconds",
            profile.method.reached * 100.0,
            profile.method.target * 100.0
        );
    }
    Ok(())
}
