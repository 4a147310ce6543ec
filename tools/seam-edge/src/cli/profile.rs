//! `seam-edge profile`: what every step takes on this board.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use seam_runtime::{Session, writer};
use seam_tuner::measure::{self, Effort};

use super::Running;

/// Time every step of a network on this board
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam-edge profile net.seam -o profile.json")]
pub(crate) struct Args {
    /// The .seam file, or a prefix of one
    net: PathBuf,
    /// Where to write the profile
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    running: Running,
    /// Most seconds to measure
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let model = super::open(&args.net)?;
    let mut session = Session::new(model.clone(), args.running.options(&args.net, &model)?)?;
    super::tell_of_packing(&session);
    super::noise(session.input());
    let bar = super::bar("profiling");
    let effort = Effort { cap: Duration::from_secs(args.seconds), ..Effort::default() };
    let told = |done: f64| bar.set_position((done * 1000.0) as u64);
    let profile = measure::profile(&mut session, &effort, told);
    bar.finish_and_clear();
    writer::write_file(&args.out, profile.to_json().as_bytes())?;
    println!(
        "{} to {} on {}, {} threads: {:.3} ms; wrote {}",
        profile.model.name,
        model.graph().point_name(session.point()),
        session.isa(),
        session.threads(),
        profile.total.p50 / 1e6,
        args.out.display()
    );
    if !profile.method.met {
        eprintln!(
            "seam-edge: the median is known to {:.1}% only, not the {:.1}% aimed at: quieten the \
             board or allow more --seconds",
            profile.method.reached * 100.0,
            profile.method.target * 100.0
        );
    }
    Ok(())
}
