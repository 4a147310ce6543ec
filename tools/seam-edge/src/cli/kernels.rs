//! `seam-edge kernels`: how fast every convolution kernel is here.

use std::time::{Duration, Instant};

use aligned_vec::{AVec, ConstAlign};
use anyhow::Result;
use seam_kernels::conv::{Algorithm, Conv};
use seam_kernels::isa::IsaKind;
use seam_kernels::{Clamp, ConvGeometry, Isa, Shape, Team, View, ViewMut, Window};
use serde_json::json;

/// Time the convolution kernels on typical layers
#[derive(clap::Args)]
#[command(after_help = "Example:\n  SEAM_ISA=avx2 seam-edge kernels --threads 1")]
pub(crate) struct Args {
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZero<usize>>,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

/// How long each kernel runs on each layer.
const TIME: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &Args) -> Result<()> {
    let isa = super::isa()?;
    let team = Team::new(super::options(args.threads)?.threads)?;
    let mut rows = Vec::new();
    if !args.json {
        println!("{:<44} {:<28} {:>9} {:>9}", "layer", "kernel", "ms", "GOP/s");
    }
    for (name, geometry) in layers() {
        for algorithm in Conv::algorithms(isa, &geometry) {
            // Portable kernels are for CPUs that have no other, and take long.
            if algorithm.isa() == IsaKind::Portable && isa != Isa::PORTABLE {
                continue;
            }
            let ns = time(geometry, algorithm, &team);
            // A multiplication and an addition a MAC: operations per nanosecond.
            let gops = 2.0 * geometry.macs() as f64 / ns;
            if args.json {
                rows.push(json!({
                    "layer": name,
                    "kernel": algorithm.name(),
                    "ns": ns,
                    "gop_per_s": gops,
                }));
            } else {
                println!("{name:<44} {:<28} {:>9.3} {gops:>9.1}", algorithm.name(), ns / 1e6);
            }
        }
    }
    if args.json {
        println!("{}", json!({ "isa": isa.name(), "threads": team.threads(), "kernels": rows }));
    }
    Ok(())
}

/// Layers as they occur in networks.
fn layers() -> [(String, ConvGeometry); 7] {
    // Side, channels in and out, kernel, stride, groups.
    [
        (224, 3, 64, 7, 2, 1),
        (56, 64, 64, 3, 1, 1),
        (14, 256, 256, 3, 1, 1),
        (28, 192, 96, 1, 1, 1),
        (14, 480, 192, 1, 1, 1),
        (56, 128, 128, 3, 1, 128),
        (1, 4096, 1000, 1, 1, 1),
    ]
    .map(|(side, ic, oc, k, stride, groups): (usize, _, _, _, _, _)| {
        let out = side.div_ceil(stride);
        let geometry = ConvGeometry {
            input: Shape::new(side, side, ic),
            output: Shape::new(out, out, oc),
            window: Window {
                kernel: [k, k],
                stride: [stride, stride],
                dilation: [1, 1],
                pad: [k / 2, k / 2],
            },
            groups,
        };
        let kind = if geometry.is_depthwise() { "depthwise" } else { "conv" };
        let name = format!("{kind} {k}x{k} /{stride} {} -> {}", geometry.input, geometry.output);
        (name, geometry)
    })
}

/// Median nanoseconds of a call.
fn time(geometry: ConvGeometry, algorithm: Algorithm, team: &Team) -> f64 {
    let clamp = Clamp { zero_point: 128, lo: 0, hi: 255 };
    let conv = Conv::with_algorithm(geometry, 128, clamp, algorithm);
    let aligned = |len| AVec::<u8, ConstAlign<64>>::from_iter(64, std::iter::repeat_n(0, len));
    let (mut packed, mut scratch) =
        (aligned(conv.packed_len()), aligned(conv.scratch_len(team.threads())));
    let (mut x, mut y) = (aligned(geometry.input.len()), aligned(geometry.output.len()));
    super::noise(&mut x);
    let mut weights = vec![0u8; geometry.weights()];
    super::noise(&mut weights);
    // Half of the range: sums stay where every algorithm is exact.
    let weights: Vec<i8> = weights.iter().map(|&w| w as i8 / 2).collect();
    let (bias, multipliers) = (vec![0; geometry.output.c], vec![1e-4; geometry.output.c]);
    conv.pack(&weights, &bias, &multipliers, &mut packed);
    let mut call = || {
        let start = Instant::now();
        conv.run(
            &packed,
            View::dense(&x, geometry.input),
            ViewMut::dense(&mut y, geometry.output),
            &mut scratch,
            team,
        );
        start.elapsed().as_nanos() as u64
    };
    call();
    let start = Instant::now();
    let mut ns = Vec::new();
    while ns.len() < 5 || start.elapsed() < TIME {
        ns.push(call());
    }
    seam_tuner::profile::Times::of(&ns).p50
}
