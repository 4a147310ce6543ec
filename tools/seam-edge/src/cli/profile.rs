//! `seam-edge profile`: what every step takes on this board.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use seam_runtime::{Session, writer};
use seam_tuner::Profile;
use seam_tuner::measure::{self, Effort};
use seam_tuner::profile::Minute;

use super::Running;

/// Time every step of a network on this board
///
/// Whole runs follow each other until the 95% interval of the median is under 2%, for a run and
/// for every step that takes at least 1% of it, or the time is over. A board that works for long
/// gets hot and slows down: with --minutes it is kept busy before, and the profile says how its
/// times drifted.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  seam-edge profile net.seam -o profile.json\n  \
                  seam-edge profile net.seam -o profile.json --minutes 10")]
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
    /// Minutes to keep the board busy before measuring
    #[arg(long, value_name = "M", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1440))]
    minutes: u32,
}

/// From one minute to the next, a busy board that has settled changes by no more.
const SETTLED: f64 = 0.02;

pub(crate) fn run(args: &Args) -> Result<()> {
    let model = super::open(&args.net)?;
    let mut session = Session::new(model.clone(), args.running.options(&args.net, &model)?)?;
    super::tell_of_packing(&session);
    super::noise(session.input());
    let sustained = sustain(&mut session, args.minutes);
    let bar = super::bar("profiling");
    let effort = Effort { cap: Duration::from_secs(args.seconds), ..Effort::default() };
    let told = |done: f64| bar.set_position((done * 1000.0) as u64);
    let profile = Profile { sustained, ..measure::profile(&mut session, &effort, told) };
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

/// Keeps the board busy and tells what it was like.
fn sustain(session: &mut Session, minutes: u32) -> Vec<Minute> {
    let bar = super::bar("warming up");
    let told = |done: f64| bar.set_position((done * 1000.0) as u64);
    let sustained = measure::sustain(session, minutes, Duration::from_secs(60), told);
    bar.finish_and_clear();
    for (i, Minute { runs, p50, mhz }) in sustained.iter().enumerate() {
        let mhz = mhz.map_or(String::new(), |mhz| format!(", {mhz:.0} MHz"));
        println!("minute {:>3}: {:.3} ms, {runs} runs{mhz}", i + 1, p50 / 1e6);
    }
    if let [.., before, last] = &sustained[..] {
        let drift = last.p50 / before.p50 - 1.0;
        if drift.abs() > SETTLED {
            eprintln!(
                "seam-edge: the last minute differs by {:+.1}% from the one before, the board has \
                 not settled: allow more --minutes",
                drift * 100.0
            );
        }
    }
    sustained
}
