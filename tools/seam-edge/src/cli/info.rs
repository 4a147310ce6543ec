//! `seam-edge info`: what this board is.

use anyhow::Result;
use seam_kernels::Isa;
use seam_tuner::profile::Device;
use serde_json::json;

/// What this board is, and which kernels it gets
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam-edge info")]
pub(crate) struct Args {
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let isa = super::isa()?;
    let device = Device::here(isa.name(), super::options(None)?.threads);
    let available: Vec<_> = Isa::available().map(Isa::name).collect();
    let cap = std::env::var(seam_kernels::isa::ENV).ok();
    if args.json {
        println!(
            "{}",
            json!({
                "version": env!("CARGO_PKG_VERSION"),
                "cpu": device.cpu,
                "cores": device.cores,
                "isa": isa.name(),
                "available": available,
                "SEAM_ISA": cap,
            })
        );
        return Ok(());
    }
    println!("seam-edge  {}", env!("CARGO_PKG_VERSION"));
    println!("cpu        {}", device.cpu);
    println!("cores      {}", device.cores);
    println!("kernels    {isa}");
    println!("available  {}", available.join(", "));
    println!("SEAM_ISA   {}", cap.as_deref().unwrap_or("not set"));
    Ok(())
}
