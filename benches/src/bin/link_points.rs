//! Prediction against reality: every point of every network, run end to end over shaped uplinks.
//! `benches/link/run` builds the link and calls this inside of the board's network namespace.
//!
//! Each network is tuned, profiled and pushed by `seam-edge`, and the cloud host profiles its tails.
//! For each rate the uplink is shaped and probed; then every point runs end to end in each of so many
//! rounds, on an uplink that has rested. Right before and behind its run, a point's edge part and
//! tail are timed by themselves as a profile times them. So prediction and reality come from the
//! same seconds: on a machine that others share, a profile made before would tell of other ones.
//! Each round has a plan of its own times, and a point's error is the median of its rounds'. The
//! point is chosen by the host, from the profile pushed to it. Every point that took less in the
//! rounds then runs in turns with it: in the rounds their runs lie half a minute apart, and of a
//! dozen points some take less by chance.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use seam_cloud::profile::Tails;
use seam_compiler::Engine;
use seam_edge::{Adaptive, Client, Inference, Timeouts};
use seam_runtime::graph::Graph;
use seam_runtime::preprocess::Pixels;
use seam_runtime::{Model, Options, Pack, Point, Session};
use seam_tuner::plan::PlannedPoint;
use seam_tuner::profile::{CloudProfile, Profile, Times};
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
    /// Rounds of all points.
    #[arg(long)]
    rounds: usize,
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
    /// The total that the host predicted from the profiles made before any run.
    planned: f64,
    /// The median of each part.
    measured: Parts,
    /// The medians of the rounds' errors, as parts of what was measured.
    total_error: f64,
    compute_error: f64,
    /// The error of each round's total.
    round_errors: Vec<f64>,
}

/// A run of every point, and what its parts took by themselves right before and behind it, in
/// nanoseconds: the means.
struct Round {
    edges: Vec<u64>,
    tails: Vec<u64>,
    runs: Vec<Parts>,
}

/// A network at a rate.
struct Trial {
    network: String,
    environment: Environment,
    rate: f64,
    rows: Vec<Row>,
    /// The point that the host chose.
    chosen: usize,
    /// Those that took less in the rounds.
    rivals: Vec<Rival>,
}

/// A point in turns with the chosen one.
struct Rival {
    point: usize,
    /// What the chosen one took more, as a part of what this one took: the median of the pairs.
    chosen_is_slower: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let client = Client::new(&args.cloud, Timeouts::default())?;
    let mut trials = Vec::new();
    for net in &args.nets {
        let edge = || Command::new(&args.seam_edge);
        succeed(edge().arg("tune").arg(net).args(["--threads", "1"]))?;
        let profile = net.with_extension("profile.json");
        let seconds = ["--threads", "1", "--seconds", "20", "-o"];
        succeed(edge().arg("profile").arg(net).args(seconds).arg(&profile))?;
        let device = ["--cloud", &args.cloud, "--device", DEVICE];
        succeed(edge().arg("push").arg(&profile).args(device))?;
        let model = Arc::new(Model::open(net)?);
        let mut options = Options::from_env()?;
        options.pack = Some(Arc::new(Pack::open(&net.with_extension("pack"))?));
        let mut subject = Subject::new(&client, net, &model, &options)?;
        let uplink = Uplink(&args.interface);
        for &rate in &args.rates {
            uplink.shape(rate)?;
            let trial = subject.trial(rate, args.rounds)?;
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

/// A network that can be run, whole or its parts by themselves.
struct Subject<'a> {
    client: &'a Client,
    points: Vec<Point>,
    inference: Inference,
    /// What times the edge parts.
    session: Session,
    /// What times the tails.
    engine: Engine,
    outline: Outline,
    edge: Profile,
    cloud: CloudProfile,
}

impl Subject<'_> {
    fn new<'a>(
        client: &'a Client,
        net: &Path,
        model: &Arc<Model>,
        options: &Options,
    ) -> Result<Subject<'a>> {
        let points: Vec<Point> = model.graph().points().collect();
        let mut session = Session::new(model.clone(), options.clone())?;
        session.input().copy_from_slice(&pixels(model.graph()));
        let mut subject = Subject {
            client,
            inference: Inference::new(model.clone(), &points, options.clone(), Some(client))?,
            session,
            engine: Engine::open(net)?,
            outline: Outline::of(model)?,
            edge: client.profile(DEVICE, &model.graph().name)?,
            cloud: client.cloud_profile(&model.graph().name)?,
            points,
        };
        // The host's tails are made and the caches warm before anything counts.
        for i in 0..subject.points.len() {
            subject.run(i)?;
        }
        Ok(subject)
    }

    /// Every point over an uplink that is shaped to `rate`.
    fn trial(&mut self, rate: f64, rounds: usize) -> Result<Trial> {
        sleep(rest(rate));
        let environment = self.client.probe()?.environment();
        let count = self.points.len();
        let mut tails = Tails::new(&self.engine)?;
        let mut done = Vec::new();
        for number in 0..rounds {
            let mut round = Round {
                edges: vec![0; count],
                tails: vec![0; count],
                runs: vec![Parts::default(); count],
            };
            for i in 0..count {
                // Every other round backwards: what drifts meets all points alike.
                let i = if number % 2 == 0 { i } else { count - 1 - i };
                let start = Instant::now();
                let before = self.time_parts(i, &mut tails)?;
                sleep(rest(rate).saturating_sub(start.elapsed()));
                round.runs[i] = self.run(i)?;
                let after = self.time_parts(i, &mut tails)?;
                round.edges[i] = u64::midpoint(before.0, after.0);
                round.tails[i] = u64::midpoint(before.1, after.1);
                eprint!(".");
            }
            done.push(round);
        }
        let network = self.edge.model.name.clone();
        eprintln!(" {network} at {}", units::show_rate(rate));
        let (objective, codecs) = (Objective::Fastest, CodecChoice::None);
        let hosts = self.client.plan(DEVICE, &network, environment, objective, codecs)?;
        let plan = self.plan(&done, environment)?;
        let plans: Vec<Plan> =
            done.chunks(1).map(|round| self.plan(round, environment)).collect::<Result<_>>()?;
        let rows = self.edge.points.iter().enumerate().map(|(i, point)| {
            let of = |plan: &Plan| plan.point(&point.name).map(predicted);
            let errors = |part: fn(&Parts) -> f64| -> Vec<f64> {
                let error = |(plan, round): (&Plan, &Round)| {
                    of(plan).map(|predicted| part(&predicted) / part(&round.runs[i]) - 1.0)
                };
                plans.iter().zip(&done).filter_map(error).collect()
            };
            let round_errors = errors(|parts| parts.total);
            Ok(Row {
                name: point.name.clone(),
                bytes: plan.point(&point.name).map_or(0, |planned| planned.predicted.bytes),
                predicted: of(&plan).context("a plan has all points")?,
                planned: of(&hosts).context("a plan has all points")?.total,
                measured: median(&done.iter().map(|round| round.runs[i]).collect::<Vec<_>>()),
                total_error: middle(round_errors.clone()),
                compute_error: middle(errors(|parts| parts.edge + parts.cloud)),
                round_errors,
            })
        });
        let rows: Vec<Row> = rows.collect::<Result<_>>()?;
        let chosen = rows.iter().position(|row| row.name == hosts.chosen);
        let chosen = chosen.context("a plan chooses of its points")?;
        let total = |i: usize| rows[i].measured.total;
        let rivals = (0..count).filter(|&i| total(i) < total(chosen));
        let rivals = rivals.map(|i| self.in_turns(chosen, i, rate, rounds));
        let rivals = rivals.collect::<Result<_>>()?;
        Ok(Trial { network, environment, rate, chosen, rivals, rows })
    }

    /// `chosen` and `point` one right behind the other, in either order, `pairs` times.
    fn in_turns(&mut self, chosen: usize, point: usize, rate: f64, pairs: usize) -> Result<Rival> {
        let mut slower = Vec::new();
        for pair in 0..pairs {
            let mut totals = [0.0; 2];
            for turn in [pair % 2, 1 - pair % 2] {
                sleep(rest(rate));
                totals[turn] = self.run([chosen, point][turn])?.total;
            }
            slower.push(totals[0] / totals[1] - 1.0);
        }
        Ok(Rival { point, chosen_is_slower: middle(slower) })
    }

    /// The plan of what parts took by themselves in `rounds`.
    fn plan(&self, rounds: &[Round], environment: Environment) -> Result<Plan> {
        let times =
            |of: &dyn Fn(&Round) -> u64| Times::of(&rounds.iter().map(of).collect::<Vec<_>>());
        let (mut edge, mut cloud) = (self.edge.clone(), self.cloud.clone());
        for (i, point) in edge.points.iter_mut().enumerate() {
            point.edge_ns = times(&|round| round.edges[i]);
        }
        for (i, point) in cloud.points.iter_mut().enumerate() {
            point.tail_ns = times(&|round| round.tails[i]);
        }
        let request = Request::new(&self.outline, &edge, &cloud, environment, Objective::Fastest);
        Ok(Plan::new(&Request { codecs: CodecChoice::None, ..request })?)
    }

    /// What the edge part and the tail of point `i` take by themselves, in nanoseconds, timed as by
    /// profiles.
    fn time_parts(&mut self, i: usize, tails: &mut Tails) -> Result<(u64, u64)> {
        let tail = if self.points[i] == Point::Output { 0 } else { tails.run(i)? };
        let mut ns = vec![0; self.edge.steps.len()];
        self.session.run_timed(self.points[i], &mut ns);
        Ok((ns.iter().sum(), tail))
    }

    /// An image through the network, cut at point `i`.
    fn run(&mut self, i: usize) -> Result<Parts> {
        self.inference.cut_at(self.points[i]);
        let timing = self.inference.run_pixels(&pixels(self.inference.model().graph()))?.timing;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        Ok(Parts {
            edge: ms(timing.preprocess + timing.edge + timing.encode),
            upload: ms(timing.upload),
            cloud: ms(timing.cloud),
            total: ms(timing.total),
        })
    }
}

/// An image of the network's size.
fn pixels(graph: &Graph) -> Vec<u8> {
    (0..graph.tensor(graph.input).shape.len()).map(|i| (i * 37 % 251) as u8).collect()
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
    let image = Pixels { height: input.h, width: input.w, channels: input.c, data: pixels(&graph) };
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

/// The median; of an even number of values the mean of the two in the middle.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0
}

fn table(trial: &Trial) -> String {
    let environment = &trial.environment;
    let mut text = format!(
        "\n### {} at {}\n\nprobed: {} after a burst of {}, {} round trip\n\n\
         | point | bytes | edge ms | upload ms | cloud ms | predicted ms | measured ms | error | \
         edge + cloud error | the host's plan ms |\n|---|---|---|---|---|---|---|---|---|---|\n",
        trial.network,
        units::show_rate(trial.rate),
        units::show_rate(environment.uplink_bytes_per_s),
        units::show_bytes(environment.burst_bytes.round() as u64),
        units::show_nanoseconds(environment.rtt_ns),
    );
    for (i, row) in trial.rows.iter().enumerate() {
        let (p, m) = (&row.predicted, &row.measured);
        let pair = |p: f64, m: f64| format!("{p:.1} / {m:.1}");
        let mark = if i == trial.chosen { " **chosen**" } else { "" };
        text += &format!(
            "| {}{mark} | {} | {} | {} | {} | {:.1} | {:.1} | {:+.1} % | {:+.1} % | {:.1} |\n",
            row.name,
            row.bytes,
            pair(p.edge, m.edge),
            pair(p.upload, m.upload),
            pair(p.cloud, m.cloud),
            p.total,
            m.total,
            row.total_error * 100.0,
            row.compute_error * 100.0,
            row.planned,
        );
    }
    text
}

fn summary(trials: &[Trial]) -> String {
    let mut text = String::from(
        "\n### Chosen and measured\n\n| network | uplink | chosen | predicted ms | measured ms | \
         took less in the rounds, and in turns with the chosen point |\n|---|---|---|---|---|---|\n",
    );
    for trial in trials {
        let chosen = &trial.rows[trial.chosen];
        let rival = |rival: &Rival| {
            let (row, slower) = (&trial.rows[rival.point], rival.chosen_is_slower * 100.0);
            format!("{} {:.1} ms, then {:+.1} %", row.name, row.measured.total, -slower)
        };
        let rivals: Vec<String> = trial.rivals.iter().map(rival).collect();
        text += &format!(
            "| {} | {} | {} | {:.1} | {:.1} | {} |\n",
            trial.network,
            units::show_rate(trial.rate),
            chosen.name,
            chosen.predicted.total,
            chosen.measured.total,
            if rivals.is_empty() { "none".into() } else { rivals.join("; ") },
        );
    }
    let rows = || trials.iter().flat_map(|trial| &trial.rows);
    let line = |what: &str, errors: Vec<f64>| {
        let worst = errors.iter().copied().fold(0.0, f64::max);
        let count = errors.len();
        format!(
            "{what}: median {:.1} %, worst {:.1} % of {count}\n",
            middle(errors) * 100.0,
            worst * 100.0
        )
    };
    let single = || rows().flat_map(|row| &row.round_errors).map(|error| error.abs()).collect();
    let planned = |row: &Row| (row.planned / row.measured.total - 1.0).abs();
    text += "\n";
    text += &line("error of a point's total", rows().map(|r| r.total_error.abs()).collect());
    text += &line("error of its edge + cloud", rows().map(|r| r.compute_error.abs()).collect());
    text += &line("error of a single run's total", single());
    text += &line("error of the host's plan, from before the runs", rows().map(planned).collect());
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
