//! `seam fit`: the cost model of a board, and how far it is to be trusted.

use std::path::PathBuf;

use anyhow::Result;
use seam_tuner::cost_model::{ClassFit, CostModel, HeldOut, NetworkError};
use seam_tuner::{Profile, warnings};

/// Fits a cost model to profiles of one board: what a kernel takes for a multiplication, a byte, a
/// tile and a step
///
/// Prints the coefficients, fitted by non-negative least squares, and the error of the estimates
/// on what was left out: each network in turn, or every fifth step of the only one. `seam plan
/// --fit` estimates by such a model.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam fit alexnet.json googlenet.json resnet18.json")]
pub(crate) struct Args {
    /// Profiles of one board, as `seam-edge profile` writes them
    #[arg(required = true, value_name = "P.json")]
    profiles: Vec<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let profiles = args.profiles.iter().map(|path| Profile::read(path));
    let profiles = profiles.collect::<Result<Vec<_>, _>>()?;
    let cost = CostModel::fit(&profiles)?;
    for warning in profiles.iter().flat_map(warnings::fitted) {
        eprintln!("seam: {warning}");
    }
    if args.json {
        print!("{}", cost.to_json());
        return Ok(());
    }
    println!("{}\n", cost.device());
    classes(&cost);
    println!();
    networks(cost.held_out());
    Ok(())
}

/// The coefficients of every class of steps, and its errors.
fn classes(cost: &CostModel) {
    let header = [
        "operator",
        "kernel",
        "steps",
        "ns/MMAC",
        "/KiB weights",
        "/KiB activations",
        "/kilotile",
        "/step",
        "error p50",
        "p90",
    ];
    let row = |fit: &ClassFit| {
        let [kind, kernel] = fit.class.words().map(|word| match word {
            "" => "any",
            word => word,
        });
        let c = &fit.coefficients;
        [
            kind.into(),
            kernel.into(),
            c.steps.to_string(),
            format!("{:.0}", c.ns_per_mmac),
            format!("{:.1}", c.ns_per_weight_kib),
            format!("{:.1}", c.ns_per_activation_kib),
            format!("{:.0}", c.ns_per_kilotile),
            format!("{:.0}", c.ns_per_step),
            format!("{:.1}%", fit.error_p50 * 100.0),
            format!("{:.1}%", fit.error_p90 * 100.0),
        ]
    };
    let rows = cost.classes().iter().map(row);
    print(2, std::iter::once(header.map(String::from)).chain(rows).collect());
}

/// The errors of whole networks.
fn networks(held_out: &HeldOut) {
    println!(
        "{}",
        match held_out.by_network {
            true => "estimated from the other networks:",
            false => "estimated from the other four fifths of the steps:",
        }
    );
    let header = ["network", "measured ms", "estimated ms", "error"].map(String::from);
    let row = |network: &NetworkError| {
        [
            network.name.clone(),
            format!("{:.3}", network.measured_ns / 1e6),
            format!("{:.3}", network.estimated_ns / 1e6),
            format!("{:+.1}%", network.error * 100.0),
        ]
    };
    print(1, std::iter::once(header).chain(held_out.networks.iter().map(row)).collect());
    println!(
        "median error {:.1}%, worst {:.1}%",
        held_out.median() * 100.0,
        held_out.worst() * 100.0
    );
}

/// Prints `rows` in columns, the first `left` of them words, the others numbers.
fn print<const N: usize>(left: usize, rows: Vec<[String; N]>) {
    let widths: [usize; N] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].len()).max().unwrap_or(0));
    for row in &rows {
        let cell = |i: usize| match i < left {
            true => format!("{:<w$}", row[i], w = widths[i]),
            false => format!("{:>w$}", row[i], w = widths[i]),
        };
        println!("{}", (0..N).map(cell).collect::<Vec<_>>().join("  ").trim_end());
    }
}
