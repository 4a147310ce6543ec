//! `seam plan`: where to cut, from two profiles and an uplink.

use std::path::{Path, PathBuf};

use seam_runtime::graph::Point;
use seam_runtime::{Model, writer};
use seam_tuner::profile::ModelRef;
use seam_tuner::{CloudProfile, CodecChoice, Environment, Objective, Plan, Profile, units};

/// Finds the point to cut at, from the profiles of board and cloud and the uplink between them.
///
/// Prints the predicted time of every point. `best` is the fastest point that keeps the raw input
/// on the board, `fastest` may also send the input.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  seam plan resnet18.seam --edge board.json --cloud cloud.json --uplink 250KiB/s --rtt 20ms")]
pub(crate) struct Args {
    /// The model that both profiles are of.
    #[arg(value_name = "NET.seam")]
    model: PathBuf,
    /// The board's profile, as `seam-edge profile` writes it.
    #[arg(long, value_name = "P.json")]
    edge: PathBuf,
    /// The cloud's profile, as `seam profile-cloud` writes it.
    #[arg(long, value_name = "C.json")]
    cloud: PathBuf,
    /// The rate of the uplink, such as 250KiB/s or 2Mbit/s.
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    uplink: f64,
    /// The round trip to the cloud.
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = units::nanoseconds)]
    rtt: f64,
    /// Requests that share the cloud's cores with ours: 0 is idle, 1 doubles its time.
    #[arg(long, value_name = "LOAD", default_value_t = 0.0)]
    cloud_load: f64,
    /// best or fastest.
    #[arg(long, value_name = "OBJECTIVE", default_value_t = Objective::Best)]
    objective: Objective,
    /// Codecs that boundaries may cross by: auto, none, or one's name.
    ///
    /// Only what both profiles have measured is used: the board's needs --images.
    #[arg(long, value_name = "CODEC", default_value_t = CodecChoice::Auto)]
    codec: CodecChoice,
    /// Also writes the plan there.
    #[arg(short, long, value_name = "PLAN.json")]
    output: Option<PathBuf>,
    /// Prints the plan as JSON instead of the table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let plan = plan(&args)?;
    if let Some(path) = &args.output {
        writer::write_file(path, plan.to_json().as_bytes())?;
    }
    if args.json {
        print!("{}", plan.to_json());
    } else {
        println!("{plan}");
    }
    Ok(())
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    let model = Model::open(&args.model)?;
    let edge = named(&args.edge, Profile::read)?;
    let cloud = named(&args.cloud, CloudProfile::read)?;
    let environment = Environment::new(args.uplink, args.rtt, args.cloud_load)?;
    let graph = model.graph();
    // A prefix is planned for as far as it reaches: deeper points need a download first.
    let reached = |point: &Point| *point <= model.reaches();
    let points = graph.points().filter(reached).map(|point| graph.point_name(point));
    let name = ModelRef::new(&graph.name, &model.id());
    Ok(Plan::new(&name, points, &edge, &cloud, environment, args.objective, args.codec)?)
}

/// Reads a profile; its errors begin with the file's name, unless they hold it already.
fn named<T>(
    path: &Path,
    read: impl Fn(&Path) -> Result<T, seam_tuner::Error>,
) -> anyhow::Result<T> {
    read(path).map_err(|error| match error {
        seam_tuner::Error::Read { .. } => error.into(),
        other => anyhow::Error::new(other).context(path.display().to_string()),
    })
}
