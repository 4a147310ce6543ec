//! Images that keep coming: before each, the cut is decided anew from both profiles and the
//! environment as the uploads so far show it.
//!
//! Every upload is a sample. While none tells of the rate (all of the network runs here, or the
//! boundary fits into the uplink's burst), a small probe every so often takes its place. An upload
//! that took far more or less than it should have has the link probed anew. A host that is
//! out of reach leaves all of the work to the board until it is back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seam_runtime::graph::Point;
use seam_runtime::preprocess::Pixels;
use seam_runtime::{Codec, Model, Options};
use seam_tuner::environment::Upload;
use seam_tuner::prediction::measured_points;
use seam_tuner::profile::{Device, ModelRef};
use seam_tuner::{CodecChoice, Environment, Estimator, Hysteresis, MeasuredPoint, Objective};

use crate::{Answer, Client, Error, Inference};

/// Between two probes while nothing else tells of the rate, and at least so many times what a probe
/// takes: about a tenth of a second, longer where the uplink is slow.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBE_REST: u32 = 5;
/// Between two looks whether the host is back.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// A network whose cut follows the link.
pub struct Adaptive {
    inference: Inference,
    client: Client,
    /// The board's name at the host.
    device: String,
    objective: Objective,
    codecs: CodecChoice,
    /// Every point that the file reaches, shallowest first.
    points: Vec<Point>,
    cloud: Cloud,
    /// What the next image has to tell.
    event: Option<Event>,
    /// See [`Adaptive::warnings`].
    warnings: Vec<String>,
}

/// The host as last seen.
enum Cloud {
    /// Not yet.
    New,
    There(Box<Link>),
    /// Out of reach; the next look is at this time.
    Away(Instant),
}

/// What decides while the host is there.
struct Link {
    /// Of [`Adaptive::points`].
    measured: Vec<MeasuredPoint>,
    estimator: Estimator,
    hysteresis: Hysteresis,
    /// Nothing has crossed the uplink since.
    quiet: Instant,
    /// When a probe is due, should no upload tell of the rate before.
    probe: Instant,
    /// An upload was far from what it should have taken, and no full probe was made since.
    doubt: bool,
}

/// The cut of an image.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Where the network was cut.
    pub point: Point,
    /// It was cut elsewhere before.
    pub moved: bool,
    /// The environment decided for; none without the host.
    pub environment: Option<Environment>,
    /// How long deciding took; a probe is not in it.
    pub took: Duration,
    /// What became of the host, where something did.
    pub event: Option<Event>,
}

/// The cloud host went or came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is out of reach, for this reason: all of the network runs here.
    Lost(String),
    /// It is back.
    Back,
}

impl Adaptive {
    /// `model` cut wherever the file reaches, for `objective`, with the profile that this board
    /// has pushed to `client`'s host as `device`; boundaries cross by `codecs`.
    ///
    /// # Errors
    /// The session cannot be made, the host has no profile of this board, or it is out of reach
    /// and the file does not hold all of the network.
    pub fn new(
        model: Arc<Model>,
        options: Options,
        client: Client,
        device: &str,
        objective: Objective,
        codecs: CodecChoice,
    ) -> Result<Adaptive, Error> {
        let points: Vec<_> = model.graph().points().filter(|&p| p <= model.reaches()).collect();
        let inference = Inference::new(model, &points, options, Some(&client))?;
        let (device, cloud) = (device.to_string(), Cloud::New);
        let (event, warnings) = (None, Vec::new());
        let mut adaptive = Adaptive {
            inference,
            client,
            device,
            objective,
            codecs,
            points,
            cloud,
            event,
            warnings,
        };
        let connected = adaptive.connect();
        adaptive.unless_away(connected)?;
        Ok(adaptive)
    }

    /// The inference that runs.
    pub fn inference(&self) -> &Inference {
        &self.inference
    }

    /// What is to be known of the profiles that decide, a line each, as in
    /// [`seam_tuner::Plan::warnings`]; they may be others when the host is back.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Decides where to cut and runs the network on `image`.
    ///
    /// # Errors
    /// The image does not fit, the host refuses, or it is out of reach and the file does not hold
    /// all of the network.
    pub fn run(&mut self, image: &Pixels) -> Result<(Decision, Answer), Error> {
        let before = self.inference.point();
        self.look()?;
        let start = Instant::now();
        let decided = self.decide()?;
        let took = start.elapsed();
        let environment = decided.map(|(environment, _)| environment);
        if let Some((_, codec)) = decided
            && codec != self.inference.codec()
        {
            let asked = self.inference.cross_by(codec);
            self.unless_away(asked)?;
        }
        let answer = self.inference.run(image);
        let answer = match self.unless_away(answer)? {
            Some(answer) => answer,
            None => {
                self.inference.cut_at(Point::Output);
                self.inference.run(image)?
            }
        };
        self.observe(&answer);
        let (point, event) = (self.inference.point(), self.event.take());
        Ok((Decision { point, moved: point != before, environment, took, event }, answer))
    }

    /// What the host did; nothing where it is out of reach or has no time for us, and the board
    /// can do without.
    fn unless_away<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        let alone = self.points.last() == Some(&Point::Output);
        match result {
            Err(e) if alone && (e.is_unreachable() || e.is_busy()) => {
                if !matches!(self.cloud, Cloud::Away(_)) {
                    self.event = Some(Event::Lost(e.to_string()));
                }
                self.cloud = Cloud::Away(Instant::now() + RETRY_EVERY);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Fetches both profiles and probes the link.
    fn connect(&mut self) -> Result<(), Error> {
        let model = self.inference.model();
        let graph = model.graph();
        // The host is asked for something small first: where it is away, that takes least.
        self.client.live()?;
        let edge = self.client.profile(&self.device, &graph.name)?;
        let cloud = self.client.cloud_profile(&graph.name)?;
        let names = self.points.iter().map(|&point| graph.point_name(point));
        let model = ModelRef::new(&graph.name, &model.id());
        let measured = measured_points(&model, names, &edge, &cloud)?;
        // What the host does not know stays out of the choice.
        let known = self.client.codecs()?;
        let usable = measured.into_iter().map(|point| {
            let mut point = self.codecs.restrict(point);
            point.codecs.retain(|measured| known.contains(&measured.codec));
            point
        });
        let measured = usable.collect();
        self.warnings = seam_tuner::warnings::of(&edge, &cloud, self.codecs);
        let session = self.inference.session();
        let here = session.map(|session| Device::here(session.isa().name(), session.threads()));
        if let Some(differs) = here.and_then(|here| here.differs(&edge.device)) {
            self.warnings.push(format!(
                "the profile at the host is of {differs}: profile this board as it runs now and \
                 push that"
            ));
        }
        let estimator = self.client.probe()?;
        let quiet = Instant::now();
        self.cloud = Cloud::There(Box::new(Link {
            measured,
            estimator,
            hysteresis: Hysteresis::default(),
            quiet,
            probe: quiet + PROBE_EVERY,
            doubt: false,
        }));
        Ok(())
    }

    /// Looks whether the host is back, or probes, where that is due.
    fn look(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        match &mut self.cloud {
            Cloud::There(link) if now >= link.probe => {
                let probed = link.probe(&self.client);
                self.unless_away(probed)?;
            }
            Cloud::Away(retry) if now >= *retry => {
                let connected = self.connect();
                if self.unless_away(connected)?.is_some() {
                    self.event = Some(Event::Back);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Cuts where the environment now says, and how the boundary is to cross there.
    fn decide(&mut self) -> Result<Option<(Environment, Option<Codec>)>, Error> {
        let Cloud::There(link) = &mut self.cloud else {
            self.inference.cut_at(Point::Output);
            return Ok(None);
        };
        let environment = link.estimator.environment();
        let none = || seam_tuner::Error::NoPoint(self.objective.name());
        let choice = link
            .hysteresis
            .decide(&link.measured, &environment, self.objective)
            .ok_or_else(none)?;
        self.inference.cut_at(self.points[choice.point]);
        Ok(Some((environment, choice.codec)))
    }

    fn observe(&mut self, answer: &Answer) {
        let Cloud::There(link) = &mut self.cloud else { return };
        if answer.uploaded > 0 {
            link.observe(answer.uploaded as u64, answer.timing.upload, answer.timing.cloud);
            if let Some(load) = answer.load {
                link.estimator.observe_load(load);
            }
        }
    }
}

impl Link {
    /// An upload that tells of the rate, for nothing else. What looks like a change, then or
    /// before, is looked at in full.
    fn probe(&mut self, client: &Client) -> Result<(), Error> {
        let mut rest = PROBE_EVERY;
        if !self.doubt {
            let bytes = self.estimator.probe_bytes();
            let (time, load) = client.probe_with(bytes)?;
            self.observe(bytes, time, Duration::ZERO);
            self.estimator.observe_load(load);
            rest = rest.max(PROBE_REST * time);
        }
        if self.doubt {
            self.estimator.reconsider(client.probe()?);
            self.quiet = Instant::now();
            self.doubt = false;
            // What took so long may have been a stall.
            rest = PROBE_EVERY;
        }
        self.probe = Instant::now() + rest;
        Ok(())
    }

    /// Takes an upload into account whose answer has just come: it took `upload` there and back,
    /// and the host worked for `cloud`.
    fn observe(&mut self, bytes: u64, upload: Duration, cloud: Duration) {
        let now = Instant::now();
        let rested = now.duration_since(self.quiet).saturating_sub(upload + cloud);
        let told = self.estimator.observe(&Upload {
            bytes,
            ns: upload.as_nanos() as f64,
            rested_ns: rested.as_nanos() as f64,
        });
        // The host works with all of the upload there.
        self.quiet = now.checked_sub(cloud).unwrap_or(now);
        self.doubt |= told.far;
        if self.doubt {
            self.probe = now;
        } else if told.rate {
            self.probe = now + PROBE_EVERY;
        }
    }
}
