//! `seam-edge bench`: the latency of a whole edge part.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use seam_runtime::Session;
use seam_tuner::profile::Times;
use serde_json::json;

use super::Running;

/// Time a network on this board
///
/// The edge part runs on noise, again and again. With --live, a line N on standard input is
/// answered with N lines of milliseconds, until the input ends.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam-edge bench net.seam --threads 2 --reps 100")]
pub(crate) struct Args {
    /// The .seam file, or a prefix of one
    net: PathBuf,
    #[command(flatten)]
    running: Running,
    /// Runs that count
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    reps: u32,
    /// Answer requests on standard input with nothing but numbers
    #[arg(long, conflicts_with_all = ["reps", "json"])]
    live: bool,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let model = super::open(&args.net)?;
    let options = args.running.options(&args.net, &model)?;
    let mut session = Session::new(model.clone(), options)?;
    super::tell_of_packing(&session);
    super::noise(session.input());
    session.run();
    if args.live {
        return live(&mut session);
    }
    // Clocks and caches settle.
    for _ in 0..3 {
        session.run();
    }
    let ns: Vec<u64> = (0..args.reps).map(|_| time(&mut session)).collect();
    let times = Times::of(&ns);
    let graph = model.graph();
    let point = graph.point_name(session.point());
    if args.json {
        println!(
            "{}",
            json!({
                "model": graph.name,
                "point": point,
                "isa": session.isa().name(),
                "threads": session.threads(),
                "reps": args.reps,
                "ns": times,
            })
        );
        return Ok(());
    }
    println!(
        "{} to {point} on {}, {} threads, {} runs: min {:.3} ms, median {:.3} ms, p90 {:.3} ms",
        graph.name,
        session.isa(),
        session.threads(),
        args.reps,
        times.min / 1e6,
        times.p50 / 1e6,
        times.p90 / 1e6,
    );
    Ok(())
}

fn live(session: &mut Session) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let reps: u32 = line.trim().parse().with_context(|| {
            format!("standard input says {line:?}: a number of runs is expected on every line")
        })?;
        for _ in 0..reps {
            writeln!(out, "{:.6}", time(session) as f64 / 1e6)?;
        }
        out.flush()?;
    }
    Ok(())
}

fn time(session: &mut Session) -> u64 {
    let start = Instant::now();
    session.run();
    start.elapsed().as_nanos() as u64
}
