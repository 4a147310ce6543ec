//! `seam plan`: where to cut, from two profiles and an uplink.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use seam_runtime::{Model, writer};
use seam_tuner::constraints::{Constraints, Pin};
use seam_tuner::general::general_cut;
use seam_tuner::plan::Inputs;
use seam_tuner::{
    CloudProfile, CodecChoice, Environment, Map, Objective, Outline, Plan, Profile, Request,
    estimate, units, warnings,
};

use crate::report::map::{self, Chart};

/// Finds the point to cut at, from the profiles of board and cloud and the uplink between them.
///
/// Prints the predicted time of every point, and beside those that a constraint forbids which one.
/// Objectives: `best` is the fastest point that keeps the raw input on the board, `fastest` may also
/// send the input, `least-download` keeps the input on the board with the shortest prefix of the
/// model, `throughput` lets the most images a second through.
///
/// Where the board's profile does not reach (it was measured with a prefix), or there is none and
/// --fit names profiles of other networks on the same board, edge times are estimated by a cost
/// model (`seam fit`), and the plan says so. Tails that the cloud's profile lacks are estimated
/// from those that it has.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seam plan resnet18.seam --edge board.json --cloud cloud.json --uplink 250KiB/s --rtt 20ms
  seam plan resnet18.seam --fit alexnet.json googlenet.json --cloud cloud.json --uplink 250KiB/s
  seam plan resnet18.seam --edge board.json --cloud cloud.json --uplink 250KiB/s \\
      --max-memory 4MiB --min-depth res2a --general --map map.svg")]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    planning: Planning,
    /// Also shows the least split of any shape, several tensors across (predicted only).
    #[arg(long)]
    general: bool,
    /// Also shows the choice over all uplinks and draws it there.
    #[arg(long, value_name = "FILE.svg")]
    map: Option<PathBuf>,
    /// Also writes the plan there.
    #[arg(short, long, value_name = "PLAN.json")]
    output: Option<PathBuf>,
    /// Prints the plan as JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// A model, and its times on the board.
#[derive(clap::Args)]
pub(crate) struct Subject {
    /// The model that both profiles are of.
    #[arg(value_name = "NET.seam")]
    pub(crate) model: PathBuf,
    /// The board's profile, as `seam-edge profile` writes it.
    #[arg(long, value_name = "P.json", required_unless_present = "fit")]
    pub(crate) edge: Option<PathBuf>,
}

/// All else that a plan is made from, and what for.
#[derive(clap::Args)]
pub(crate) struct Planning {
    /// The board's profiles of other networks, to estimate by what --edge does not tell.
    #[arg(long, value_name = "P.json", num_args = 1..)]
    fit: Vec<PathBuf>,
    /// The cloud's profile, as `seam profile-cloud` writes it.
    #[arg(long, value_name = "C.json")]
    cloud: PathBuf,
    /// The rate of the uplink, such as 250KiB/s or 2Mbit/s.
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    uplink: f64,
    /// Bytes that a shaped uplink lets through at once after a rest.
    #[arg(long, value_name = "SIZE", default_value = "0B", value_parser = units::bytes)]
    burst: u64,
    /// The round trip to the cloud.
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = units::nanoseconds)]
    rtt: f64,
    /// Requests that share the cloud's cores with ours: 0 is idle, 1 doubles its time.
    #[arg(long, value_name = "LOAD", default_value_t = 0.0)]
    cloud_load: f64,
    /// best, fastest, least-download or throughput.
    #[arg(long, value_name = "OBJECTIVE", default_value_t = Objective::Best)]
    objective: Objective,
    /// Memory of the board for the model's prefix and its activations, such as 4MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    max_memory: Option<u64>,
    /// The longest prefix of the model that the board may download, such as 500KiB.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    max_download: Option<u64>,
    /// Nothing may leave the board before this point, for privacy.
    #[arg(long, value_name = "POINT")]
    min_depth: Option<String>,
    /// Keeps a layer on one side; may be given several times.
    #[arg(long, value_name = "LAYER[=edge|=cloud]")]
    pin: Vec<Pin>,
    /// Codecs that boundaries may cross by: auto, none, or one's name.
    ///
    /// Only what both profiles have measured is used: the board's needs --images.
    #[arg(long, value_name = "CODEC", default_value_t = CodecChoice::Auto)]
    codec: CodecChoice,
}

/// A model as far as its file reaches, and its profiles, completed: what a [`Request`] is of.
pub(crate) struct Sources {
    /// A prefix is planned for as far as it reaches: deeper points need a download first.
    outline: Outline,
    pub(crate) edge: Profile,
    pub(crate) cloud: CloudProfile,
    /// What is to be known of the profiles that were fitted to.
    warnings: Vec<String>,
}

impl Sources {
    /// The plan that `request`, which is of these, asks for.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub(crate) fn plan(&self, request: &Request) -> anyhow::Result<Plan> {
        let mut plan = Plan::new(request)?;
        plan.warnings.extend_from_slice(&self.warnings);
        Ok(plan)
    }
}

impl Planning {
    /// Reads the profiles of `model`, and estimates what they lack.
    ///
    /// # Errors
    /// A profile cannot be read or does not fit the model.
    pub(crate) fn sources(&self, model: &Model, edge: Option<&Path>) -> anyhow::Result<Sources> {
        let edge = edge.map(Profile::read).transpose()?;
        let fit = self.fit.iter().map(|path| Profile::read(path));
        let fit = fit.collect::<Result<Vec<_>, _>>()?;
        let edge = estimate::edge(model, edge.as_ref(), &fit)?;
        // Where the board's own profile has all points, nothing is fitted.
        let used = fit.iter().filter(|profile| edge.fitted_from.contains(&profile.sha256()));
        Ok(Sources {
            outline: Outline::of(model)?,
            warnings: used.flat_map(warnings::fitted).collect(),
            edge,
            cloud: estimate::cloud(model, &CloudProfile::read(&self.cloud)?)?,
        })
    }

    /// What is asked of `sources`.
    ///
    /// # Errors
    /// The environment is none.
    pub(crate) fn request<'a>(&self, sources: &'a Sources) -> anyhow::Result<Request<'a>> {
        let Sources { outline, edge, cloud, .. } = sources;
        Ok(Request {
            outline,
            edge,
            cloud,
            inputs: Inputs::of(edge, cloud),
            environment: Environment::new(self.uplink, self.rtt, self.cloud_load)?
                .with_burst(self.burst as f64)?,
            objective: self.objective,
            constraints: Constraints {
                max_memory_bytes: self.max_memory,
                max_download_bytes: self.max_download,
                min_depth: self.min_depth.clone(),
                pins: self.pin.clone(),
            },
            codecs: self.codec,
        })
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let model = Model::open(&args.subject.model)?;
    let sources = args.planning.sources(&model, args.subject.edge.as_deref())?;
    let request = args.planning.request(&sources)?;
    let mut plan = match sources.plan(&request) {
        // Where no point suits, a split of another shape may.
        Err(error) if args.general && is_constrained(&error) => {
            let general = general_cut(model.graph(), &request).map_err(|_| error)?;
            let alone = args.output.is_none() && args.map.is_none();
            ensure!(alone, "no point suits the constraints: there is no plan to write, nor a map");
            let of_all = warnings::of(&sources.edge, &sources.cloud, request.codecs);
            for warning in of_all.iter().chain(&sources.warnings) {
                eprintln!("seam: {warning}");
            }
            match args.json {
                true => println!("{}", serde_json::to_string_pretty(&general)?),
                false => println!("{general}"),
            }
            return Ok(());
        }
        plan => plan?,
    };
    if args.general {
        plan.general = Some(general_cut(model.graph(), &request)?);
    }
    let maps = maps(&request)?;
    if let Some(path) = &args.output {
        writer::write_file(path, plan.to_json().as_bytes())?;
    }
    for warning in &plan.warnings {
        eprintln!("seam: {warning}");
    }
    if let Some(path) = &args.map {
        let names = sources.outline.names().collect::<Vec<_>>();
        let uplink = request.environment.uplink_bytes_per_s;
        let chart = Chart { title: &plan.model.name, points: &names, maps: &maps, uplink };
        writer::write_file(path, map::file(&chart).as_bytes())?;
    }
    if args.json {
        print!("{}", plan.to_json());
        return Ok(());
    }
    println!("{plan}");
    if args.map.is_some() {
        println!("over the uplink");
        maps.iter().for_each(|map| println!("  {map}"));
    }
    Ok(())
}

fn is_constrained(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(seam_tuner::Error::Constrained { .. }))
}

/// The map of every objective that has a point to choose.
pub(crate) fn maps(request: &Request) -> anyhow::Result<Vec<Map>> {
    let points = request.admitted()?;
    let map = |&objective: &Objective| Map::new(&points, &request.environment, objective);
    Ok(Objective::ALL.iter().filter_map(map).collect())
}
