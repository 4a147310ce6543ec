//! `seam report`: from files to a page.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use seam_runtime::memory::MemoryPlan;
use seam_runtime::{Model, writer};
use seam_tuner::{Plan, Profile};

use super::page::{Page, page};
use super::{accuracy, measured};
use crate::plan::{Planning, Subject, maps};

/// Writes a plan and all that it rests on as one page that needs nothing else
///
/// The plan's table and bars, the choice over all uplinks, times and kernels of every step, the
/// memory plan over time; what was measured beside what was predicted, and accuracies, where they
/// are given.
///
/// Plans as `seam plan` does, or shows a plan that is there: with --plan and without profiles, the
/// map over uplinks and the steps are left out.
#[derive(clap::Args)]
#[command(
    mut_arg("edge", |edge| edge.required_unless_present("plan")),
    mut_arg("cloud", |cloud| cloud.required(false).required_unless_present("plan")),
    mut_arg("uplink", |uplink| uplink.required(false).required_unless_present("plan")),
    after_help = "\
Examples:
  seam report resnet18.seam --edge board.json --cloud cloud.json --uplink 250KiB/s -o report.html
  seam report resnet18.seam --plan plan.json --edge board.json --run runs.jsonl --eval eval.json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    planning: Option<Planning>,
    /// Shows this plan, as `seam plan` wrote it
    #[arg(long, value_name = "PLAN.json", conflicts_with = "Planning")]
    plan: Option<PathBuf>,
    /// Runs to show beside the prediction, as `seam-edge infer --json` prints them, a line each
    #[arg(long = "run", value_name = "FILE", num_args = 1..)]
    runs: Vec<PathBuf>,
    /// Accuracies, as `seam eval --at POINT --json` prints them, one after the other
    #[arg(long = "eval", value_name = "FILE", num_args = 1..)]
    evaluations: Vec<PathBuf>,
    /// The page to write
    #[arg(short, long, value_name = "FILE.html", default_value = "seam-report.html")]
    output: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let model = Model::open(&args.subject.model)?;
    let edge = args.subject.edge.as_deref();
    let (sources, edge) = match &args.planning {
        Some(planning) => (Some((planning, planning.sources(&model, edge)?)), None),
        None => (None, edge.map(Profile::read).transpose()?),
    };
    let (mut plan, maps) = match (&sources, &args.plan) {
        (Some((planning, sources)), _) => {
            let request = planning.request(sources)?;
            (sources.plan(&request)?, maps(&request)?)
        }
        (None, path) => {
            let path = path.as_deref().context("nothing to show: give --plan, or profiles")?;
            (Plan::read(path)?, Vec::new())
        }
    };
    let id = model.id_hex();
    let of = |what: &str, sha256: &str| {
        ensure!(
            sha256.eq_ignore_ascii_case(&id),
            "{what} is of model {:.12}, {} holds {id:.12}: make both of one model",
            sha256,
            args.subject.model.display()
        );
        Ok(())
    };
    of("the plan", &plan.model.sha256)?;
    if let Some(edge) = &edge {
        of("the edge profile", &edge.model.sha256)?;
        let own = edge.sha256();
        // A profile that was completed by estimates has another hash; it was fitted to.
        if own != plan.inputs.edge_profile_sha256 && !plan.inputs.fitted_from.contains(&own) {
            plan.warnings.push(
                "the plan was made from another profile than the one given with --edge, whose \
                 steps are shown: give that one, or plan anew"
                    .into(),
            );
        }
    }
    let memory = MemoryPlan::new(model.graph(), model.steps(), false)?;
    let html = page(&Page {
        plan: &plan,
        model: &model,
        memory: &memory,
        edge: sources.as_ref().map(|(_, sources)| &sources.edge).or(edge.as_ref()),
        cloud: sources.as_ref().map(|(_, sources)| &sources.cloud),
        maps: &maps,
        measured: &measured::read(&args.runs, &plan)?,
        evaluations: &accuracy::read(&args.evaluations, &plan)?,
    });
    for warning in &plan.warnings {
        eprintln!("seam: {warning}");
    }
    writer::write_file(&args.output, html.as_bytes())?;
    println!("page: {}", args.output.display());
    Ok(())
}
