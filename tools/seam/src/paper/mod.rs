//! `seam paper`: the tables and the figure of the paper that Seam implements, computed.
//!
//! | hop | file |
//! |---|---|
//! | the four networks, the paper's uplinks and totals | `cases.rs`, `crate::nets` |
//! | a network's points, their bytes in paper accounting | `points.rs` |
//! | Tables 1 and 2, from the networks' graphs | `blocks.rs`, `seam_tuner::modes` |
//! | profiles that the paper's board and cloud must have had | `reconstruction.rs` |
//! | profiles of this machine | `measured.rs` |
//! | from either to a column of Table 3 | `outcome.rs` |
//! | Table 3's accuracy, on trained networks | `accuracy.rs` |
//! | Figure 3 | `figure.rs` |
//! | tables on the terminal, as Markdown and as CSV | `crate::table` |

mod accuracy;
mod blocks;
mod cases;
mod figure;
mod measured;
mod outcome;
mod points;
mod reconstruction;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use seam_kernels::Isa;
use seam_runtime::{Options, writer};
use seam_tuner::profile::Device;
use serde::Serialize;

use crate::stages::Stages;
use crate::table::Table;
use cases::{CASES, Case};
use figure::Figure;
use outcome::Outcome;
use reconstruction::LABEL;

/// The tables and the figure of the paper, from networks of true shapes
///
/// Tables 1 and 2 and the bytes of Table 3 are computed from the networks' graphs. The times of
/// Table 3 and Figure 3 come from a reconstruction of the paper's board: a profile that obeys all
/// that the paper's totals imply, not a measurement. --measure adds this machine's own.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seam paper -o paper/
  seam paper --measure --edge-isa portable
  seam paper --accuracy MANIFEST.json --on nips17_300 --calibrate-on ilsvrc_calib_100 --limit 100")]
pub(crate) struct Args {
    /// Also writes tables as Markdown and CSV, figures as SVG and all of it as JSON into this folder
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Also quantizes, tunes and profiles the four networks on this machine; takes minutes
    #[arg(long)]
    measure: bool,
    /// The board's kernels in --measure: `portable` (slow, like a small board), `all` for this CPU's
    /// best, or another of SEAM_ISA's words
    #[arg(long, value_name = "ISA", default_value = "all", requires = "measure")]
    edge_isa: String,
    /// Most seconds that --measure profiles each network on the board, and in the cloud
    #[arg(long, value_name = "S", default_value_t = 20, requires = "measure")]
    seconds: u64,
    /// The image whose JPEG --measure compares with raw pixels [default: a picture of the demo]
    #[arg(long, value_name = "FILE", requires = "measure")]
    image: Option<PathBuf>,
    #[command(flatten)]
    accuracy: accuracy::Evaluation,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Schema of [`Results`].
const SCHEMA: &str = "seam.paper/1";

/// All that was computed.
#[derive(Serialize)]
struct Results {
    /// [`SCHEMA`].
    schema: &'static str,
    tables: Vec<Table>,
    /// Table 3 from [`reconstruction`].
    reconstruction: Vec<Outcome>,
    /// Table 3 from this machine's profiles.
    measured: Vec<Outcome>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    if let Some(folder) = &args.output {
        // Found out now, not after minutes.
        let cannot = || format!("cannot write to {}: name another folder", folder.display());
        std::fs::create_dir_all(folder).with_context(cannot)?;
    }
    let isa = Isa::capped(&args.edge_isa).context("--edge-isa")?;
    let reconstruction = CASES.iter().map(reconstructed).collect::<Result<Vec<_>>>()?;
    let mut results = Results {
        schema: SCHEMA,
        tables: vec![blocks::inception(), blocks::residual(), table3(&reconstruction)],
        reconstruction,
        measured: Vec::new(),
    };
    if args.measure {
        let board = Options { isa, ..Options::from_env()? };
        let cap = Duration::from_secs(args.seconds);
        let picture = measured::picture(args.image.as_deref())?;
        let stages = Stages::new();
        for case in &CASES {
            results.measured.push(measured::outcome(case, &board, cap, &picture, &stages)?);
        }
        drop(stages);
        results.tables.push(table3_measured(&results.measured, &Device::here(isa.name(), 1)));
    }
    if args.accuracy.is_asked() {
        results.tables.push(accuracy::table(&args.accuracy)?);
    }
    if let Some(folder) = &args.output {
        write(folder, &results)?;
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&results)?),
        false => print(&results),
    }
    if let Some(folder) = args.output.filter(|_| !args.json) {
        println!("wrote {}", folder.display());
    }
    Ok(())
}

/// A column of Table 3 from the reconstruction.
fn reconstructed(case: &Case) -> Result<Outcome> {
    let net = (case.net)();
    let (edge, cloud) = reconstruction::profiles(case, &net);
    Outcome::new(case, &net, &reconstruction::model(&net), &edge, &cloud)
}

fn table3(outcomes: &[Outcome]) -> Table {
    let title = format!("Table 3: best points at the paper's uplinks (times: {})", LABEL);
    let mut table = outcome::table("table3", title, outcomes);
    table.note(
        "times come from a profile made to obey all that the paper's totals imply; bytes are \
         computed from the networks' shapes",
    );
    table
}

fn table3_measured(outcomes: &[Outcome], here: &Device) -> Table {
    let title = "Table 3 on this machine: best points at the paper's uplinks".to_string();
    let mut table = outcome::table("table3-measured", title, outcomes);
    table.note(format!(
        "board: {}, 1 thread, {} kernels; cloud: FP32 in tract on the same machine; weights drawn at \
         random, calibrated on noise",
        here.cpu, here.isa
    ));
    table.note(format!("JPEG: quality {}, 4:2:0 as the encoder has it", measured::JPEG_QUALITY));
    table
}

/// AlexNet's bars from the reconstruction, and from this machine where it was measured.
fn figures(results: &Results) -> Vec<Figure<'_>> {
    let sources = [
        ("figure3", &results.reconstruction, format!("time of every AlexNet point ({LABEL})")),
        ("figure3-measured", &results.measured, "every AlexNet point on this machine".into()),
    ];
    let figures = sources.into_iter().filter_map(|(name, outcomes, what)| {
        let alexnet = outcomes.first()?;
        Some(Figure { name, title: format!("Figure 3: {what}"), plan: &alexnet.plan })
    });
    figures.collect()
}

fn print(results: &Results) {
    for table in &results.tables {
        println!("{}", table.text());
    }
    for figure in figures(results) {
        println!("{}", figure.text());
    }
}

fn write(folder: &Path, results: &Results) -> Result<()> {
    let file = |name: &str, kind: &str, text: String| {
        writer::write_file(&folder.join(format!("{name}.{kind}")), text.as_bytes())
    };
    for table in &results.tables {
        file(table.name, "md", table.markdown())?;
        file(table.name, "csv", table.csv())?;
    }
    for figure in figures(results) {
        file(figure.name, "svg", figure.svg())?;
    }
    file("paper", "json", serde_json::to_string_pretty(results)? + "\n")?;
    Ok(())
}
