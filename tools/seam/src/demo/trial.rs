//! A quantized network on a board: tuned, profiled, planned for, and run.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use seam_compiler::Engine;
use seam_edge::{Client, Inference, Timeouts, top};
use seam_runtime::boundary::describe;
use seam_runtime::preprocess::Pixels;
use seam_runtime::{Options, Pack, Point, Session, writer};
use seam_tuner::measure::{self, Effort};
use seam_tuner::{CodecChoice, Environment, Objective, Plan, Profile, choose};

use super::data::Picture;
use super::host::Host;
use super::link::Link;
use crate::quantized::Quantized;
use crate::report;
use crate::stages::Stages;

/// The board's name at the cloud host.
const BOARD: &str = "demo-board";
/// Pictures timed at every point of every uplink.
const TIMED: usize = 9;

/// A network tuned and profiled on the board, and the uplinks that it was planned for.
pub(crate) struct Trial {
    quantized: Quantized,
    /// How the board runs it.
    options: Options,
    profile: Profile,
    /// The uplinks, each with its plan.
    pub(crate) uplinks: Vec<Uplink>,
}

/// An uplink of a stated speed.
pub(crate) struct Uplink {
    bytes_per_s: f64,
    /// Reaches the host through [`Uplink::_link`].
    client: Client,
    plan: Plan,
    _link: Link,
}

impl Trial {
    /// Tunes and profiles the network as the board, ships the profile to the host and asks it for
    /// a plan for each uplink. Profile and plans are left in `directory`.
    ///
    /// # Errors
    /// A session cannot be made, a file not written, or the host refuses.
    pub(crate) fn new(
        quantized: Quantized,
        board: &Options,
        cap: Duration,
        host: &Host,
        uplinks: &[f64],
        directory: &Path,
        stages: &Stages,
    ) -> anyhow::Result<Trial> {
        let model = &quantized.model;
        let name = &model.graph().name;
        let file = |kind: &str| directory.join(format!("{name}.{kind}"));

        let stage = stages.next(format!("{name}: tuning on the board"));
        let effort = Effort { cap: cap / 4, ..Effort::default() };
        let won = choose::choose(model, board, &effort, |part| stage.done(part))?;
        let choices: Vec<_> = won.into_iter().map(|won| won.choice).collect();
        Pack::write(&file("pack"), model, board.isa, &choices)?;
        let pack = Pack::open(&file("pack"))?;
        let options = Options { pack: Some(pack.into()), ..board.clone() };

        let stage = stages.next(format!("{name}: profiling on the board"));
        let mut session = Session::new(model.clone(), options.clone())?;
        let effort = Effort { cap, ..Effort::default() };
        let profile = measure::profile(&mut session, &effort, |part| stage.done(part));
        let json = profile.to_json();
        writer::write_file(&file("profile.json"), json.as_bytes())?;

        let stage = stages.next(format!("{name}: profiling in the cloud, planning"));
        let direct = host.client()?;
        direct.push_profile(BOARD, &profile)?;
        // The host has timed its tails then, and is idle again.
        direct.cloud_profile(name)?;
        let mut planned = Vec::new();
        for &bytes_per_s in uplinks {
            let link = Link::to(host.address(), bytes_per_s).context("the uplink's relay")?;
            let client = Client::new(&link.url(), Timeouts::default())?;
            let (rtt, load) = client.measure_rtt()?;
            let environment = Environment::new(bytes_per_s, rtt.as_nanos() as f64, load)?;
            let plan = client.plan(BOARD, name, environment, Objective::Best, CodecChoice::Auto)?;
            let rate = report::units::rate(bytes_per_s).replace([' ', '/'], "");
            writer::write_file(&file(&format!("plan.{rate}.json")), plan.to_json().as_bytes())?;
            planned.push(Uplink { bytes_per_s, client, plan, _link: link });
            stage.count(planned.len(), uplinks.len());
        }
        Ok(Trial { quantized, options, profile, uplinks: planned })
    }

    /// Multiply-accumulates a second of a whole run on the board.
    pub(crate) fn macs_per_s(&self) -> f64 {
        let macs: u64 = self.profile.steps.iter().map(|step| step.work.macs).sum();
        macs as f64 / (self.profile.total.p50.max(1.0) / 1e9)
    }

    /// How unsure the board's profile is, where it is less sure than was asked for.
    pub(crate) fn warning(&self) -> Option<String> {
        let method = &self.profile.method;
        (!method.met).then(|| {
            format!(
                "the board ran {} {} times in the time allowed, too few for a median sure to \
                 {:.0} %: is the machine busy?",
                self.quantized.model.graph().name,
                method.repeats,
                method.target * 100.0
            )
        })
    }

    /// The candidate that the middle uplink's plan ranks first: a point with a part on either
    /// side.
    pub(crate) fn split(&self) -> Option<Point> {
        let plan = &self.uplinks.get(self.uplinks.len() / 2)?.plan;
        let graph = self.quantized.model.graph();
        let total = |point: &Point| {
            plan.point(graph.point_name(*point)).map_or(f64::INFINITY, |p| p.predicted.total_ns)
        };
        let candidates = (0..graph.candidates.len()).map(Point::Candidate);
        candidates.min_by(|a, b| total(a).total_cmp(&total(b)))
    }

    /// How many of `pictures` each way of running the network names rightly: FP32 all in the
    /// cloud's engine, INT8 all on the board, and cut at [`Trial::split`] over the middle uplink.
    ///
    /// # Errors
    /// A part cannot run.
    pub(crate) fn accuracy(
        &self,
        pictures: &[Picture],
        engine: &Engine,
        stages: &Stages,
    ) -> anyhow::Result<report::Accuracy> {
        let stage = stages.next("held-out pictures in FP32, in INT8, and cut in two");
        let graph = self.quantized.model.graph();
        let shape = graph.tensor(graph.input).shape;
        let split = self.split().context("the network has no point to cut at")?;
        let middle = &self.uplinks[self.uplinks.len() / 2];
        let mut edge = self.inference(Point::Output, None)?;
        let mut both = self.inference(split, Some(&middle.client))?;
        let [mut fp32, mut int8, mut cut] = [0; 3];
        for (i, Picture { pixels, label }) in pictures.iter().enumerate() {
            let right = |values: &[f32]| usize::from(top(values, 1)[0].0 == *label);
            let input = graph.preprocess.to_f32(&graph.preprocess.pixels(pixels, shape)?);
            fp32 += right(&engine.run(&input)?);
            int8 += right(&edge.run(pixels)?.values);
            cut += right(&both.run(pixels)?.values);
            stage.count(i + 1, pictures.len());
        }
        Ok(report::Accuracy {
            images: pictures.len(),
            fp32,
            int8,
            split: cut,
            split_at: graph.point_name(split).into(),
        })
    }

    /// The median time from picture to answer at every point of every uplink, nanoseconds.
    ///
    /// # Errors
    /// A part cannot run.
    pub(crate) fn measured(
        &self,
        pictures: &[Picture],
        stages: &Stages,
    ) -> anyhow::Result<Vec<Vec<u64>>> {
        let stage = stages.next("timing every point on every uplink");
        let graph = self.quantized.model.graph();
        let points: Vec<Point> = graph.points().collect();
        let mut done = 0;
        let mut measured = Vec::new();
        for uplink in &self.uplinks {
            let mut row = Vec::new();
            for &point in &points {
                let mut inference = self.inference(point, Some(&uplink.client))?;
                row.push(median_ns(&mut inference, pictures)?);
                done += 1;
                stage.count(done, points.len() * self.uplinks.len());
            }
            measured.push(row);
        }
        Ok(measured)
    }

    /// What the report says of this network.
    pub(crate) fn report(
        &self,
        about: &str,
        accuracy: Option<report::Accuracy>,
        measured: &[Vec<u64>],
    ) -> report::Network {
        let model = &self.quantized.model;
        let graph = model.graph();
        let point = |point: Point| {
            let crosses = (point != Point::Output).then(|| describe(graph, point));
            report::Point {
                name: graph.point_name(point).into(),
                boundary: crosses.as_ref().map(|c| {
                    let [_, h, w, channels] = c.shape;
                    format!("{h}x{w}x{channels}")
                }),
                boundary_bytes: crosses.map_or(0, |c| c.bytes as u64),
                prefix_bytes: model.prefix_len(point),
            }
        };
        let uplink = |(i, uplink): (usize, &Uplink)| {
            let at = |name: &str| uplink.plan.points.iter().position(|p| p.name == name);
            let times = uplink.plan.points.iter().enumerate().map(|(j, p)| report::Times {
                edge_ns: (p.predicted.edge_ns + p.predicted.encode_ns).round() as u64,
                upload_ns: (p.predicted.upload_ns + p.predicted.rtt_ns).round() as u64,
                cloud_ns: p.predicted.cloud_ns.round() as u64,
                measured_ns: measured.get(i).and_then(|row| row.get(j)).copied(),
            });
            report::Uplink {
                bytes_per_s: uplink.bytes_per_s,
                times: times.collect(),
                best: uplink.plan.best.as_deref().and_then(at),
                fastest: at(&uplink.plan.fastest),
            }
        };
        report::Network {
            name: graph.name.clone(),
            about: about.into(),
            fp32_bytes: self.quantized.fp32_bytes,
            int8_bytes: model.full_len(),
            accuracy,
            points: graph.points().map(point).collect(),
            uplinks: self.uplinks.iter().enumerate().map(uplink).collect(),
        }
    }

    fn inference(&self, point: Point, cloud: Option<&Client>) -> anyhow::Result<Inference> {
        let model = self.quantized.model.clone();
        Ok(Inference::new(model, &[point], self.options.clone(), cloud)?)
    }
}

/// The median time from picture to answer; the first picture, which warms up, is not counted.
fn median_ns(inference: &mut Inference, pictures: &[Picture]) -> anyhow::Result<u64> {
    let mut run = |pixels: &Pixels| -> anyhow::Result<u64> {
        Ok(inference.run(pixels)?.timing.total.as_nanos() as u64)
    };
    let mut pictures = pictures.iter();
    if let Some(first) = pictures.next() {
        run(&first.pixels)?;
    }
    median(pictures.take(TIMED).map(|picture| run(&picture.pixels)))
}

fn median(times: impl Iterator<Item = anyhow::Result<u64>>) -> anyhow::Result<u64> {
    let mut times = times.collect::<anyhow::Result<Vec<u64>>>()?;
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("nothing was timed")
}
