//! `seam export-tail`: the FP32 tail behind a point as an ONNX file for any server.

use std::path::PathBuf;

use anyhow::{Context, Result};
use seam_runtime::Model;

/// Writes the FP32 tail behind a point as a standalone ONNX file
///
/// Its input is the boundary's tensor as the edge sends it (u8, NHWC); DequantizeLinear and the
/// transpose to NCHW are part of it. NET.onnx must stand beside NET.seam.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam export-tail resnet18.seam --at res4a -o tails/")]
pub(crate) struct Args {
    /// The compiled network
    #[arg(value_name = "NET.seam")]
    model: PathBuf,
    /// The point, as `seam inspect` lists it, or input
    #[arg(long, value_name = "POINT")]
    at: String,
    /// The folder to write POINT.onnx into
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let model = Model::open(&args.model)?;
    let point = model.point(&args.at)?;
    let network = seam_compiler::import(&args.model.with_extension("onnx"))?;
    let tail = seam_compiler::cut(&network, model.graph(), point)?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot create {}", args.output.display()))?;
    let path = args.output.join(format!("{}.onnx", args.at));
    seam_compiler::save(&tail, &path)?;
    println!("wrote {}", path.display());
    Ok(())
}
