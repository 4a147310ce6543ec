//! `seam-edge push`: a profile to the cloud host.

use std::path::PathBuf;

use anyhow::Result;
use seam_edge::{Client, Timeouts};
use seam_tuner::Profile;

/// Send this board's profile to the cloud host
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam-edge push profile.json --cloud http://host:8600")]
pub(crate) struct Args {
    /// The profile, as `seam-edge profile` wrote it
    profile: PathBuf,
    /// The cloud host
    #[arg(long, value_name = "URL")]
    cloud: String,
    #[command(flatten)]
    device: Device,
}

/// Under which name the cloud host knows this board.
#[derive(clap::Args)]
pub(crate) struct Device {
    /// This board's name at the cloud host [default: its host name]
    #[arg(long, value_name = "ID")]
    device: Option<String>,
}

impl Device {
    pub(crate) fn id(&self) -> String {
        let hostname = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        self.device.clone().or_else(hostname).map_or("board".into(), |id| id.trim().to_string())
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let profile = Profile::read(&args.profile)?;
    let client = Client::new(&args.cloud, Timeouts::default())?;
    let device = args.device.id();
    client.push_profile(&device, &profile)?;
    println!("{} knows {device}'s profile of {}", client.url(), profile.model.name);
    Ok(())
}
