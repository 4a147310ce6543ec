//! `seam-edge tune`: weights laid out for this board.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use seam_runtime::Pack;
use seam_tuner::choose::choose;
use seam_tuner::measure::Effort;

/// Lay out a network's weights for this board
///
/// Every convolution is timed with each kernel that can run it; the weights are written as the
/// fastest one wants them, and then mapped and never laid out again.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam-edge tune net.seam -o net.pack")]
pub(crate) struct Args {
    /// The .seam file, or a prefix of one
    net: PathBuf,
    /// Where to write the pack [default: NET.pack beside NET.seam]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Threads that the network will run on [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZero<usize>>,
    /// Most seconds for each further kernel
    #[arg(long, value_name = "S", default_value_t = 20)]
    seconds: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let model = super::open(&args.net)?;
    model.verify()?;
    let options = super::options(args.threads)?;
    let effort = Effort { cap: Duration::from_secs(args.seconds), ..Effort::default() };
    let bar = super::bar("timing kernels");
    let won = choose(&model, &options, &effort, |done| bar.set_position((done * 1000.0) as u64))?;
    bar.finish_and_clear();
    let steps = &model.graph().steps;
    for won in &won {
        println!(
            "{}: {} {:.3} ms, not {} {:.3} ms",
            steps[won.choice.step].name,
            won.choice.algorithm,
            won.ns.p50 / 1e6,
            won.preferred,
            won.preferred_ns.p50 / 1e6,
        );
    }
    let out = args.out.clone().unwrap_or_else(|| args.net.with_extension("pack"));
    let choices: Vec<_> = won.into_iter().map(|won| won.choice).collect();
    Pack::write(&out, &model, options.isa, &choices)?;
    println!(
        "wrote {} for {}: {} of {} steps by another kernel than the preferred one",
        out.display(),
        options.isa,
        choices.len(),
        model.steps()
    );
    Ok(())
}
