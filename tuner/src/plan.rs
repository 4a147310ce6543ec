//! The plan (`seam.plan/1`): the table of every point's predicted time in an environment, and the
//! points chosen from it. It names its inputs by their hashes and holds no date: the same inputs
//! give the same bytes.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::environment::Environment;
use crate::partition::{Objective, algorithm1};
use crate::prediction::{Prediction, measured_points, predict};
use crate::profile::{self, CloudProfile, Device, Document, ModelRef, Profile};
use crate::units::{show_bytes, show_nanoseconds, show_rate};
use crate::warnings;

/// Schema of [`Plan`].
pub const PLAN_SCHEMA: &str = "seam.plan/1";

const DOCUMENT: Document = Document { what: "the plan", schema: PLAN_SCHEMA };

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
    /// Which of the choices is [`Plan::chosen`].
    pub objective: Objective,
    /// The point to cut at.
    pub chosen: String,
    /// The point of least total that keeps the raw input on the board; none where the edge cannot
    /// run the first layer.
    pub best: Option<String>,
    /// The point of least total.
    pub fastest: String,
    /// Every point, shallowest first.
    pub points: Vec<PlannedPoint>,
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

/// A row of the plan's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedPoint {
    /// The point's name.
    pub name: String,
    /// Steps that run on the edge.
    pub steps: u32,
    /// Bytes that cross the uplink.
    pub bytes: u64,
    /// What it takes.
    #[serde(flatten)]
    pub predicted: Prediction,
    /// One of the times was not measured but [estimated](crate::estimate).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Plan {
    /// Plans for the `points` of `model` (`input` first, shallowest first).
    ///
    /// # Errors
    /// A profile is of another model or lacks one of the points, or the objective admits none.
    pub fn new<'a>(
        model: &ModelRef,
        points: impl IntoIterator<Item = &'a str>,
        edge: &Profile,
        cloud: &CloudProfile,
        environment: Environment,
        objective: Objective,
    ) -> Result<Plan, Error> {
        let measured = measured_points(model, points, edge, cloud)?;
        let choose = |objective| {
            algorithm1(&measured, &environment, objective).map(|i| measured[i].name.clone())
        };
        let best = choose(Objective::Best);
        let fastest = choose(Objective::Fastest).ok_or(Error::NoPoint("fastest"))?;
        let chosen = match objective {
            Objective::Best => best.clone().ok_or(Error::NoPoint("best"))?,
            Objective::Fastest => fastest.clone(),
        };
        let row = |point: &crate::MeasuredPoint| PlannedPoint {
            name: point.name.clone(),
            steps: point.steps,
            bytes: point.bytes,
            predicted: predict(point, &environment),
            estimated: point.estimated,
        };
        Ok(Plan {
            schema: PLAN_SCHEMA.into(),
            model: model.clone(),
            inputs: Inputs {
                edge_profile_sha256: edge.sha256(),
                cloud_profile_sha256: cloud.sha256(),
                fitted_from: edge.fitted_from.clone(),
            },
            device: edge.device.clone(),
            warnings: warnings::of(edge, cloud),
            environment,
            objective,
            chosen,
            best,
            fastest,
            points: measured.iter().map(row).collect(),
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
                return Err(Error::MissingPoint { what: DOCUMENT.what, point: name.clone() });
            }
        }
        Ok(plan)
    }

    /// Reads a plan from a file.
    ///
    /// # Errors
    /// As [`Plan::from_json`], or the file cannot be read.
    pub fn read(path: &Path) -> Result<Plan, Error> {
        Plan::from_json(&profile::read(path)?)
    }

    /// The JSON that [`Plan::from_json`] reads; the same bytes for the same plan.
    pub fn to_json(&self) -> String {
        profile::to_json(self)
    }

    /// The row of the point of that name.
    pub fn point(&self, name: &str) -> Option<&PlannedPoint> {
        self.points.iter().find(|point| point.name == name)
    }

    /// What the row was chosen as, `best`, `fastest` or both, and whether it is an estimate.
    fn marks(&self, row: &PlannedPoint) -> String {
        let marks = [
            (self.best.as_ref() == Some(&row.name), "best"),
            (self.fastest == row.name, "fastest"),
            (row.estimated, "estimated"),
        ];
        let holding = marks.into_iter().filter_map(|(holds, mark)| holds.then_some(mark));
        holding.collect::<Vec<_>>().join(", ")
    }
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
        let header = ["point", "crosses", "edge", "encode", "upload", "rtt", "cloud", "total ms"];
        let mut rows = vec![(header.map(String::from), String::new())];
        for row @ PlannedPoint { name, bytes, predicted, .. } in &self.points {
            let ms = |ns: f64| format!("{:.2}", ns / 1e6);
            let cells = [
                name.clone(),
                show_bytes(*bytes),
                ms(predicted.edge_ns),
                ms(predicted.encode_ns),
                ms(predicted.upload_ns),
                ms(predicted.rtt_ns),
                ms(predicted.cloud_ns),
                ms(predicted.total_ns),
            ];
            rows.push((cells, self.marks(row)));
        }
        let width = |column: usize| {
            rows.iter().map(|(cells, _)| cells[column].chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; 8] = std::array::from_fn(width);
        for (cells, mark) in &rows {
            let mut line = format!("{:<w$}", cells[0], w = widths[0]);
            for (cell, w) in cells.iter().zip(widths).skip(1) {
                line += &format!("  {cell:>w$}");
            }
            line += &format!("  {mark}");
            writeln!(f, "{}", line.trim_end())?;
        }
        write!(f, "cut at {} ({})", self.chosen, self.objective)
    }
}
