//! Prediction against reality: every point of every network, run end to end over shaped uplinks.
//! `benches/link/run` builds the link and calls this inside of the board's network namespace.
//!
//! Each network is tuned by `seam-edge`. For each rate it is profiled and pushed (the cloud host
//! profiles its tails once), and the uplink is shaped, probed, and planned for by the host; then
//! every point runs as often as was asked for, in turns, each run on an uplink that has rested. The
//! medians stand beside what the plan says; or, with `--least`, the shortest run of each point beside
//! a plan from the shortest times of the profiles.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use seam_edge::{Adaptive, Client, Inference, Timeouts};
use seam_runtime::preprocess::Pixels;
use seam_runtime::{Model, Options, Pack, Point};
use seam_tuner::plan::PlannedPoint;
use seam_tuner::profile::Times;
use seam_tuner::{CodecChoice, Environment, Objective, Outline, Plan, Request, units};

/// Run every point of networks over shaped uplinks and compare with the plan.
#[derive(Parser)]
struct Args {
    /// The networks.
    #[arg(required = true)]
    nets: Vec<PathBuf>,
    /// The cloud host.
    #[arg(long)]
    cloud: String,
    /// The board's program.
    #[arg(long)]
    seam_edge: PathBuf,
    /// The network interface towards the host, to be shaped.
    #[arg(long)]
    interface: String,
    /// Rates of the uplink.
    #[arg(long, value_delimiter = ',', value_parser = units::rate)]
    rates: Vec<f64>,
    /// Runs of every point.
    #[arg(long)]
    repeats: usize,
    /// Compares the shortest times instead of the medians: those of a machine that others share.
    #[arg(long)]
    least: bool,
}

/// The board's name at the cloud host.
const DEVICE: &str = "board";

/// Images at each rate while the cut follows the uplink.
const IMAGES: usize = 12;

/// The rest before each run: the shaper's bucket, 16 KiB, is full again after it.
fn rest(rate: f64) -> Duration {
    Duration::from_secs_f64(0.05 + 1.2 * 16384.0 / rate)
}

/// The parts of a run that the prediction has too, in milliseconds.
#[derive(Clone, Copy, Default)]
struct Parts {
    edge: f64,
    upload: f64,
    cloud: f64,
    total: f64,
}

/// A point's plan and runs.
struct Row {
    name: String,
    bytes: u64,
    predicted: Parts,
    measured: Parts,
}

/// A network at a rate.
struct Trial {
    network: String,
    environment: Environment,
    rate: f64,
    chosen: String,
    rows: Vec<Row>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let client = Client::new(&args.cloud, Timeouts::default())?;
    let mut trials = Vec::new();
    for net in &args.nets {
        let edge = || Command::new(&args.seam_edge);
        succeed(edge().arg("tune").arg(net).args(["--threads", "1"]))?;
        let model = Arc::new(Model::open(net)?);
        let mut options = Options::from_env()?;
        options.pack = Some(Arc::new(Pack::open(&net.with_extension("pack"))?));
        let points: Vec<Point> = model.graph().points().collect();
        let mut inference = Inference::new(model.clone(), &points, options.clone(), Some(&client))?;
        // The tails are made and the caches warm before anything counts.
        for &point in &points {
            run(&mut inference, point)?;
        }
        let uplink = Uplink(&args.interface);
        for &rate in &args.rates {
            profile(&args, &client, net)?;
            uplink.shape(rate)?;
            let trial = trial(&args, &client, &mut inference, &points, rate)?;
            print!("{}", table(&trial));
            trials.push(trial);
        }
        uplink.shape(slowest(&args.rates))?;
        let adaptive = Adaptive::new(
            model,
            options,
            client.clone(),
            DEVICE,
            Objective::Fastest,
            CodecChoice::None,
        )?;
        print!("{}", follow(&args, &uplink, adaptive)?);
    }
    print!("{}", summary(&trials));
    Ok(())
}

/// Profiles a network on this board's one thread, and has the host profile its tails: one after the
/// other, as both are on one machine.
fn profile(args: &Args, client: &Client, net: &Path) -> Result<()> {
    let profile = net.with_extension("profile.json");
    let edge = || Command::new(&args.seam_edge);
    succeed(edge().arg("profile").arg(net).args(["--threads", "1", "-o"]).arg(&profile))?;
    let push = ["--cloud", &args.cloud, "--device", DEVICE];
    succeed(edge().arg("push").arg(&profile).args(push))?;
    client.cloud_profile(&Model::open(net)?.graph().name)?;
    Ok(())
}

fn trial(
    args: &Args,
    client: &Client,
    inference: &mut Inference,
    points: &[Point],
    rate: f64,
) -> Result<Trial> {
    let model = inference.model().clone();
    let graph = model.graph();
    sleep(rest(rate));
    let environment = client.probe()?.environment();
    let plan = plan(args, client, &model, environment)?;
    let mut runs: Vec<Vec<Parts>> = vec![Vec::new(); points.len()];
    for repeat in 0..args.repeats {
        // Every other round backwards: what drifts meets all points alike.
        let order: Vec<usize> = match repeat % 2 {
            0 => (0..points.len()).collect(),
            _ => (0..points.len()).rev().collect(),
        };
        for i in order {
            sleep(rest(rate));
            runs[i].push(run(inference, points[i])?);
            eprint!(".");
        }
    }
    eprintln!(" {} at {}", graph.name, units::show_rate(rate));
    let rows = points.iter().zip(&runs).map(|(&point, runs)| {
        let name = graph.point_name(point);
        let planned = plan.point(name).with_context(|| format!("the plan lacks {name}"))?;
        Ok(Row {
            name: name.into(),
            bytes: planned.predicted.bytes,
            predicted: predicted(planned),
            measured: if args.least { shortest(runs) } else { median(runs) },
        })
    });
    let rows = rows.collect::<Result<_>>()?;
    let Plan { chosen, .. } = plan;
    Ok(Trial { network: graph.name.clone(), environment, rate, chosen, rows })
}

/// The host's plan; or one from the shortest times of both profiles.
fn plan(args: &Args, client: &Client, model: &Model, environment: Environment) -> Result<Plan> {
    let (net, objective) = (&model.graph().name, Objective::Fastest);
    if !args.least {
        return Ok(client.plan(DEVICE, net, environment, objective, CodecChoice::None)?);
    }
    let (mut edge, mut cloud) = (client.profile(DEVICE, net)?, client.cloud_profile(net)?);
    let of_edge =
        edge.points.iter_mut().flat_map(|point| [&mut point.edge_ns, &mut point.encode_ns]);
    let of_cloud = cloud.points.iter_mut().map(|point| &mut point.tail_ns);
    for times in of_edge.chain(of_cloud) {
        *times = Times::exactly(times.min);
    }
    let outline = Outline::of(model)?;
    let request = Request::new(&outline, &edge, &cloud, environment, objective);
    Ok(Plan::new(&Request { codecs: CodecChoice::None, ..request })?)
}

/// An image through the network, cut at `point`.
fn run(inference: &mut Inference, point: Point) -> Result<Parts> {
    let graph = inference.model().graph();
    let bytes = graph.tensor(graph.input).shape.len();
    let pixels: Vec<u8> = (0..bytes).map(|i| (i * 37 % 251) as u8).collect();
    inference.cut_at(point);
    let timing = inference.run_pixels(&pixels)?.timing;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(Parts {
        edge: ms(timing.preprocess + timing.edge + timing.encode),
        upload: ms(timing.upload),
        cloud: ms(timing.cloud),
        total: ms(timing.total),
    })
}

fn predicted(point: &PlannedPoint) -> Parts {
    let ms = |ns: f64| ns / 1e6;
    let p = &point.predicted;
    Parts {
        edge: ms(p.edge_ns + p.encode_ns),
        upload: ms(p.upload_ns + p.rtt_ns),
        cloud: ms(p.cloud_ns),
        total: ms(p.total_ns),
    }
}

fn slowest(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Images one after the other while the uplink goes from the slowest rate to the fastest and back:
/// where each was cut.
fn follow(args: &Args, uplink: &Uplink, mut adaptive: Adaptive) -> Result<String> {
    let graph = adaptive.inference().model().graph().clone();
    let input = graph.tensor(graph.input).shape;
    let image = Pixels {
        height: input.h,
        width: input.w,
        channels: input.c,
        data: (0..input.len()).map(|i| (i * 37 % 251) as u8).collect(),
    };
    let (slowest, fastest) = (slowest(&args.rates), args.rates.iter().copied().fold(0.0, f64::max));
    let mut text = format!(
        "\n### {}, the cut following the uplink\n\n| uplink | estimated at \
         last | settled after | images cut at | deciding took at most |\n|---|---|---|---|---|\n",
        graph.name
    );
    for rate in [slowest, fastest, slowest] {
        uplink.shape(rate)?;
        let mut points = Vec::new();
        let (mut took, mut estimated) = (Duration::ZERO, 0.0);
        for _ in 0..IMAGES {
            let (decision, _) = adaptive.run(&image)?;
            points.push(graph.point_name(decision.point).to_string());
            took = took.max(decision.took);
            estimated = decision.environment.map_or(0.0, |e| e.uplink_bytes_per_s);
        }
        let last = points.last().cloned().unwrap_or_default();
        let settled = points.iter().rposition(|point| *point != last).map_or(0, |i| i + 1);
        text += &format!(
            "| {} | {} | {settled} images | {} | {:.1} us |\n",
            units::show_rate(rate),
            units::show_rate(estimated),
            points.join(", "),
            took.as_secs_f64() * 1e6
        );
    }
    Ok(text)
}

/// The median of each part.
fn median(runs: &[Parts]) -> Parts {
    let of = |part: &dyn Fn(&Parts) -> f64| middle(runs.iter().map(part).collect());
    Parts {
        edge: of(&|p| p.edge),
        upload: of(&|p| p.upload),
        cloud: of(&|p| p.cloud),
        total: of(&|p| p.total),
    }
}

/// The shortest run.
fn shortest(runs: &[Parts]) -> Parts {
    let shortest = runs.iter().min_by(|a, b| a.total.total_cmp(&b.total));
    shortest.copied().unwrap_or_default()
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// By how much a prediction errs, as a part of what was measured.
fn error(predicted: f64, measured: f64) -> f64 {
    predicted / measured - 1.0
}

impl Row {
    fn total_error(&self) -> f64 {
        error(self.predicted.total, self.measured.total)
    }

    fn compute_error(&self) -> f64 {
        let sum = |parts: &Parts| parts.edge + parts.cloud;
        error(sum(&self.predicted), sum(&self.measured))
    }
}

impl Trial {
    fn chosen(&self) -> &Row {
        self.rows.iter().find(|row| row.name == self.chosen).expect("a plan chooses of its points")
    }

    fn measured_best(&self) -> &Row {
        let least = self.rows.iter().min_by(|a, b| a.measured.total.total_cmp(&b.measured.total));
        least.expect("a network has points")
    }
}

fn table(trial: &Trial) -> String {
    let environment = &trial.environment;
    let mut text = format!(
        "\n### {} at {}\n\nprobed: {} after a burst of {}, {} round trip\n\n\
         | point | bytes | edge ms | upload ms | cloud ms | predicted ms | measured ms | error | \
         edge + cloud error |\n|---|---|---|---|---|---|---|---|---|\n",
        trial.network,
        units::show_rate(trial.rate),
        units::show_rate(environment.uplink_bytes_per_s),
        units::show_bytes(environment.burst_bytes.round() as u64),
        units::show_nanoseconds(environment.rtt_ns),
    );
    for row in &trial.rows {
        let (p, m) = (&row.predicted, &row.measured);
        let pair = |p: f64, m: f64| format!("{p:.1} / {m:.1}");
        let mark = if row.name == trial.chosen { " **chosen**" } else { "" };
        text += &format!(
            "| {}{mark} | {} | {} | {} | {} | {:.1} | {:.1} | {:+.1} % | {:+.1} % |\n",
            row.name,
            row.bytes,
            pair(p.edge, m.edge),
            pair(p.upload, m.upload),
            pair(p.cloud, m.cloud),
            p.total,
            m.total,
            row.total_error() * 100.0,
            row.compute_error() * 100.0,
        );
    }
    text
}

fn summary(trials: &[Trial]) -> String {
    let mut text = String::from(
        "\n### Chosen and measured\n\n| network | uplink | chosen | predicted ms | measured ms | \
         measured best | ms | chosen is slower by |\n|---|---|---|---|---|---|---|---|\n",
    );
    for trial in trials {
        let (chosen, best) = (trial.chosen(), trial.measured_best());
        text += &format!(
            "| {} | {} | {} | {:.1} | {:.1} | {} | {:.1} | {:.1} % |\n",
            trial.network,
            units::show_rate(trial.rate),
            chosen.name,
            chosen.predicted.total,
            chosen.measured.total,
            best.name,
            best.measured.total,
            error(chosen.measured.total, best.measured.total) * 100.0,
        );
    }
    let rows = || trials.iter().flat_map(|trial| &trial.rows);
    let line = |what: &str, errors: Vec<f64>| {
        let worst = errors.iter().copied().fold(0.0, f64::max);
        let count = errors.len();
        format!(
            "{what}: median {:.1} %, worst {:.1} % of {count} points\n",
            middle(errors) * 100.0,
            worst * 100.0
        )
    };
    text += "\n";
    text += &line("error of the total", rows().map(|r| r.total_error().abs()).collect());
    text += &line("error of edge + cloud", rows().map(|r| r.compute_error().abs()).collect());
    text
}

/// The interface towards the host; as fast as it can be once this is gone.
struct Uplink<'a>(&'a str);

impl Uplink<'_> {
    /// Shapes it by a token bucket from now on.
    fn shape(&self, bytes_per_s: f64) -> Result<()> {
        let rate = format!("{}bit", (bytes_per_s * 8.0).round());
        let bucket = ["tbf", "rate", &rate, "burst", "16kb", "latency", "400ms"];
        tc(&[&["replace", "dev", self.0, "root"][..], &bucket].concat())
    }
}

impl Drop for Uplink<'_> {
    fn drop(&mut self) {
        // The namespace goes at the end in any case.
        let _ = tc(&["del", "dev", self.0, "root"]);
    }
}

fn tc(arguments: &[&str]) -> Result<()> {
    succeed(Command::new("tc").arg("qdisc").args(arguments))
}

/// Runs a program; what it says on standard error is passed on.
fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?} failed");
    Ok(())
}
