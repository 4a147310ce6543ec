//! The plan (`seam.plan/1`): the table of every point's predicted time in an environment, and the
//! points chosen from it. It names its inputs by their hashes and holds no date: the same inputs
//! give the same bytes.

use std::fmt;
use std::path::Path;

use seam_runtime::Codec;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::compression::CodecChoice;
use crate::constraints::{Constraints, Exclusion};
use crate::environment::Environment;
use crate::error::PLAN_ANEW;
use crate::general::GeneralCut;
use crate::outline::Outline;
use crate::partition::{Objective, algorithm1};
use crate::prediction::{MeasuredPoint, Prediction, crossings, measured_points};
use crate::profile::{self, CloudProfile, Device, Document, ModelRef, Profile};
use crate::units::{show_bytes, show_nanoseconds, show_rate};
use crate::warnings;

/// Schema of [`Plan`].
pub const PLAN_SCHEMA: &str = "seam.plan/1";

const DOCUMENT: Document = Document { what: "the plan", schema: PLAN_SCHEMA, remedy: PLAN_ANEW };

/// What a plan is made from, and what for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The model, as far as the board is to have it.
    pub outline: &'a Outline,
    /// The board's profile.
    pub edge: &'a Profile,
    /// The cloud's profile.
    pub cloud: &'a CloudProfile,
    /// Their hashes: [`Inputs::of`] both. They take longer than the choice, which is made anew
    /// whenever the environment changes.
    pub inputs: Inputs,
    /// What lies between them.
    pub environment: Environment,
    /// What is better.
    pub objective: Objective,
    /// What is allowed.
    pub constraints: Constraints,
    /// Which codecs boundaries may cross by.
    pub codecs: CodecChoice,
}

/// Where to cut a model in an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_SCHEMA`].
    pub schema: String,
    /// The model.
    pub model: ModelRef,
    /// What it was planned from.
    pub inputs: Inputs,
    /// The board that was profiled: the plan holds for no other.
    pub device: Device,
    /// What is to be known of the profiles, a line each: times that are estimates, another version
    /// of Seam.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What it was planned for.
    pub environment: Environment,
    /// What [`Plan::chosen`] was chosen for.
    pub objective: Objective,
    /// What every choice obeys.
    pub constraints: Constraints,
    /// The point to cut at.
    pub chosen: String,
    /// The point of least total that keeps the raw input on the board; none where the edge cannot
    /// run the first layer, or no such point is allowed.
    pub best: Option<String>,
    /// The point of least total.
    pub fastest: String,
    /// What [`Plan::chosen`] would be if every boundary crossed raw; none where no codec could be
    /// chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawChoice>,
    /// Every point, shallowest first.
    pub points: Vec<PlannedPoint>,
    /// The general cut, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub general: Option<GeneralCut>,
}

/// SHA-256 of the profiles, as [`Profile::to_json`] and [`CloudProfile::to_json`] write them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The board's.
    pub edge_profile_sha256: String,
    /// The cloud's.
    pub cloud_profile_sha256: String,
    /// The profiles that estimates in the board's were fitted to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fitted_from: Vec<String>,
}

/// The choice without codecs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawChoice {
    /// The point to cut at.
    pub chosen: String,
    /// What it takes, in nanoseconds.
    pub total_ns: f64,
}

/// A row of the plan's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedPoint {
    /// The point's name.
    pub name: String,
    /// Steps that run on the edge.
    pub steps: u32,
    /// Bytes of model that the board downloads.
    pub download_bytes: u64,
    /// Those and the bytes of its activations.
    pub memory_bytes: u64,
    /// The constraints that forbid it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<Exclusion>,
    /// What it takes, with the codec that suits environment and objective.
    #[serde(flatten)]
    pub predicted: Prediction,
    /// What it takes if its boundary crosses raw, in nanoseconds.
    pub raw_total_ns: f64,
    /// One of the times was not measured but [estimated](crate::estimate).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Plan {
    /// Chooses among the points of the request's model.
    ///
    /// # Errors
    /// A profile is of another model or lacks one of the points, a constraint names what the model
    /// does not have, or no point is left to choose.
    pub fn new(request: &Request) -> Result<Plan, Error> {
        let Request { outline, edge, cloud, inputs, environment, objective, constraints, codecs } =
            request;
        let measured = request.measured()?;
        let exclusions = constraints.exclusions(outline)?;
        let admitted = allowed(&measured, &exclusions);
        let choose = |objective| {
            algorithm1(&admitted, environment, objective).map(|i| admitted[i].name.clone())
        };
        let must = |objective: Objective| {
            choose(objective).ok_or_else(|| {
                // Is it the constraints?
                match algorithm1(&measured, environment, objective) {
                    Some(_) => constraints.leave_nothing(objective),
                    None => Error::NoPoint(objective.name()),
                }
            })
        };
        // What would be chosen without codecs, where there are any.
        let raw: Vec<MeasuredPoint> =
            admitted.iter().cloned().map(|point| CodecChoice::None.restrict(point)).collect();
        let raw = raw.iter().zip(&admitted).any(|(raw, point)| raw != point).then(|| {
            let at = &raw[algorithm1(&raw, environment, *objective)?];
            let total_ns = objective.predict(at, environment).total_ns;
            Some(RawChoice { chosen: at.name.clone(), total_ns })
        });
        let points = measured.iter().zip(exclusions).zip(&outline.points);
        let points = points.map(|((point, excluded), needs)| PlannedPoint {
            name: point.name.clone(),
            steps: point.steps,
            download_bytes: needs.download_bytes,
            memory_bytes: needs.memory_bytes,
            excluded,
            predicted: objective.predict(point, environment),
            raw_total_ns: crossings(point, environment).next().map_or(0.0, |raw| raw.total_ns),
            estimated: point.estimated,
        });
        Ok(Plan {
            schema: PLAN_SCHEMA.into(),
            model: outline.model.clone(),
            inputs: inputs.clone(),
            device: edge.device.clone(),
            warnings: warnings::of(edge, cloud, *codecs),
            environment: *environment,
            objective: *objective,
            constraints: constraints.clone(),
            chosen: must(*objective)?,
            best: choose(Objective::Best),
            fastest: must(Objective::Fastest)?,
            raw: raw.flatten(),
            points: points.collect(),
            general: None,
        })
    }

    /// Reads the JSON of a plan.
    ///
    /// # Errors
    /// It is no JSON, has another schema, lacks a field, or chooses a point that it does not list.
    pub fn from_json(json: &[u8]) -> Result<Plan, Error> {
        let plan: Plan = profile::parse(json, DOCUMENT)?;
        plan.environment.check()?;
        for name in plan.best.iter().chain([&plan.chosen, &plan.fastest]) {
            if plan.point(name).is_none() {
                return Err(Error::Unlisted(name.clone()));
            }
        }
        Ok(plan)
    }

    /// Reads a plan from a file.
    ///
    /// # Errors
    /// As [`Plan::from_json`], or the file cannot be read.
    pub fn read(path: &Path) -> Result<Plan, Error> {
        profile::read(path, Plan::from_json)
    }

    /// The JSON that [`Plan::from_json`] reads; the same bytes for the same plan.
    pub fn to_json(&self) -> String {
        profile::to_json(self)
    }

    /// The row of the point of that name.
    pub fn point(&self, name: &str) -> Option<&PlannedPoint> {
        self.points.iter().find(|point| point.name == name)
    }

    /// How the boundary of [`Plan::chosen`] crosses; none where it does so raw, or nothing crosses.
    pub fn codec(&self) -> Option<Codec> {
        self.point(&self.chosen)?.predicted.codec
    }

    /// What a row was chosen as, or why it could not be, and whether it is an estimate.
    fn mark(&self, point: &PlannedPoint) -> String {
        if !point.excluded.is_empty() {
            let why: Vec<String> = point.excluded.iter().map(Exclusion::to_string).collect();
            return format!("excluded: {}", why.join(", "));
        }
        let name = point.name.as_str();
        let choices = [
            (Objective::Best, self.best.as_deref()),
            (Objective::Fastest, Some(self.fastest.as_str())),
        ];
        let own = (self.objective, Some(self.chosen.as_str()));
        let other = choices.iter().all(|(objective, _)| *objective != self.objective);
        let marks: Vec<&str> = choices
            .into_iter()
            .chain(other.then_some(own))
            .filter(|(_, chosen)| *chosen == Some(name))
            .map(|(objective, _)| objective.name())
            .chain(point.estimated.then_some("estimated"))
            .collect();
        marks.join(", ")
    }

    /// The columns of the table: heading and cell. What only some objectives and constraints look
    /// at stands there for those.
    fn columns(&self) -> Vec<(&'static str, Cell)> {
        let Constraints { max_memory_bytes, max_download_bytes, .. } = self.constraints;
        let coded = self.raw.is_some();
        let download = max_download_bytes.is_some() || self.objective == Objective::LeastDownload;
        let all: [(bool, &str, Cell); 14] = [
            (true, "point", |p| p.name.clone()),
            (true, "crosses", |p| show_bytes(p.predicted.bytes)),
            (coded, "by", |p| p.predicted.codec.map_or("raw", Codec::name).into()),
            (download, "download", |p| show_bytes(p.download_bytes)),
            (max_memory_bytes.is_some(), "memory", |p| show_bytes(p.memory_bytes)),
            (true, "edge", |p| ms(p.predicted.edge_ns)),
            (true, "encode", |p| ms(p.predicted.encode_ns)),
            (true, "upload", |p| ms(p.predicted.upload_ns)),
            (true, "rtt", |p| ms(p.predicted.rtt_ns)),
            (coded, "decode", |p| ms(p.predicted.decode_ns)),
            (true, "cloud", |p| ms(p.predicted.cloud_ns)),
            (self.objective == Objective::Throughput, "longest stage", |p| {
                ms(p.predicted.longest_stage_ns())
            }),
            (true, "total ms", |p| ms(p.predicted.total_ns)),
            (coded, "raw ms", |p| ms(p.raw_total_ns)),
        ];
        all.into_iter().filter(|(shown, ..)| *shown).map(|(_, name, cell)| (name, cell)).collect()
    }
}

/// What a column shows of a point.
type Cell = fn(&PlannedPoint) -> String;

impl Inputs {
    /// The hashes of both profiles.
    pub fn of(edge: &Profile, cloud: &CloudProfile) -> Inputs {
        Inputs {
            edge_profile_sha256: edge.sha256(),
            cloud_profile_sha256: cloud.sha256(),
            fitted_from: edge.fitted_from.clone(),
        }
    }
}

impl<'a> Request<'a> {
    /// A request without constraints that may use every codec measured.
    pub fn new(
        outline: &'a Outline,
        edge: &'a Profile,
        cloud: &'a CloudProfile,
        environment: Environment,
        objective: Objective,
    ) -> Request<'a> {
        let inputs = Inputs::of(edge, cloud);
        let (constraints, codecs) = (Constraints::default(), CodecChoice::Auto);
        Request { outline, edge, cloud, inputs, environment, objective, constraints, codecs }
    }

    /// Both profiles joined at every point of the model, with the codecs that may be used.
    ///
    /// # Errors
    /// A profile is of another model or lacks one of the points.
    pub fn measured(&self) -> Result<Vec<MeasuredPoint>, Error> {
        let names = self.outline.names();
        let points = measured_points(&self.outline.model, names, self.edge, self.cloud)?;
        Ok(points.into_iter().map(|point| self.codecs.restrict(point)).collect())
    }

    /// Those that no constraint forbids: what [`algorithm1`] and [`crate::Map`] choose from.
    ///
    /// # Errors
    /// As [`Request::measured`], or a constraint names what the model does not have.
    pub fn admitted(&self) -> Result<Vec<MeasuredPoint>, Error> {
        Ok(allowed(&self.measured()?, &self.constraints.exclusions(self.outline)?))
    }
}

fn allowed(measured: &[MeasuredPoint], exclusions: &[Vec<Exclusion>]) -> Vec<MeasuredPoint> {
    let points = measured.iter().zip(exclusions).filter(|(_, broken)| broken.is_empty());
    points.map(|(point, _)| point.clone()).collect()
}

/// Milliseconds for people.
fn ms(ns: f64) -> String {
    format!("{:.2}", ns / 1e6)
}

/// The table for people, in plain text: times in milliseconds, bytes in units of 1024.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Environment { uplink_bytes_per_s, burst_bytes, rtt_ns, cloud_load } = self.environment;
        let burst = match burst_bytes.round() as u64 {
            0 => String::new(),
            bytes => format!(" after a burst of {}", show_bytes(bytes)),
        };
        writeln!(
            f,
            "{} at {} uplink{burst}, {} round trip, cloud load {cloud_load}",
            self.model.name,
            show_rate(uplink_bytes_per_s),
            show_nanoseconds(rtt_ns),
        )?;
        let constraints = self.constraints.words();
        if !constraints.is_empty() {
            writeln!(f, "{}", constraints.join(", "))?;
        }
        let columns = self.columns();
        let mut rows =
            vec![(columns.iter().map(|(name, _)| name.to_string()).collect(), String::new())];
        rows.extend(self.points.iter().map(|point| {
            let cells: Vec<String> = columns.iter().map(|(_, cell)| cell(point)).collect();
            (cells, self.mark(point))
        }));
        let width = |column: usize| {
            rows.iter().map(|(cells, _)| cells[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        for (cells, mark) in &rows {
            let mut line = format!("{:<w$}", cells[0], w = widths[0]);
            for (cell, w) in cells.iter().zip(&widths).skip(1) {
                line += &format!("  {cell:>w$}");
            }
            line += &format!("  {mark}");
            writeln!(f, "{}", line.trim_end())?;
        }
        let by = self.codec().map_or(String::new(), |codec| format!(" by {codec}"));
        write!(f, "cut at {}{by} ({})", self.chosen, self.objective)?;
        if let Some(RawChoice { chosen, total_ns }) = &self.raw {
            write!(f, "; without codecs at {chosen}, in {}", show_nanoseconds(*total_ns))?;
        }
        match &self.general {
            Some(general) => write!(f, "\n{general}"),
            None => Ok(()),
        }
    }
}
