//! `seam-edge pull`: an edge part from the cloud host.

use std::path::PathBuf;

use anyhow::Result;
use seam_edge::{Client, Timeouts};

/// Fetch the edge part of a network from the cloud host
///
/// A download that breaks off is continued, and what the file already holds is not fetched again.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  seam-edge pull resnet18 --cloud http://host:8600 --point res4a -o resnet18.seam"
)]
pub(crate) struct Args {
    /// The network's name at the cloud host
    network: String,
    /// The cloud host
    #[arg(long, value_name = "URL")]
    cloud: String,
    /// The deepest point to run here [default: all that the host holds]
    #[arg(long, value_name = "POINT")]
    point: Option<String>,
    /// Where to write it [default: NETWORK.seam]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let client = Client::new(&args.cloud, Timeouts::default())?;
    let out = args.out.clone().unwrap_or_else(|| format!("{}.seam", args.network).into());
    let bar = super::bar("fetching");
    let model = client.pull(&args.network, args.point.as_deref(), &out, &mut |there, all| {
        bar.set_length(all);
        bar.set_position(there);
    })?;
    bar.finish_and_clear();
    let graph = model.graph();
    println!(
        "{}: {} to {}, {} bytes",
        out.display(),
        graph.name,
        graph.point_name(model.reaches()),
        model.bytes().len()
    );
    Ok(())
}
