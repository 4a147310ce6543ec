//! The plan (`seam.plan/1`): the table of every point's predicted time in an environment, and the
//! points chosen from it. It names its inputs by their hashes and holds no date: the same inputs
//! give the same bytes.

use std::fmt;
use std::path::Path;

use seam_runtime::Codec;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::compression::CodecChoice;
use crate::environment::Environment;
use crate::partition::{Objective, algorithm1};
use crate::prediction::{MeasuredPoint, Prediction, crossings, measured_points, predict};
use crate::profile::{self, CloudProfile, Document, ModelRef, Profile};
use crate::units::{show_bytes, show_nanoseconds, show_rate};

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
    /// What [`Plan::chosen`] would be if every boundary crossed raw; none where no codec could be
    /// chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawChoice>,
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
    /// What it takes, with the codec that suits the environment.
    #[serde(flatten)]
    pub predicted: Prediction,
    /// What it takes if its boundary crosses raw, in nanoseconds.
    pub raw_total_ns: f64,
}

impl Plan {
    /// Plans for the `points` of `model` (`input` first, shallowest first), whose boundaries may
    /// cross by the codecs of `choice`.
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
        choice: CodecChoice,
    ) -> Result<Plan, Error> {
        let measured: Vec<MeasuredPoint> = measured_points(model, points, edge, cloud)?
            .into_iter()
            .map(|point| choice.restrict(point))
            .collect();
        let choose = |objective| {
            algorithm1(&measured, &environment, objective).map(|i| measured[i].name.clone())
        };
        let best = choose(Objective::Best);
        let fastest = choose(Objective::Fastest).ok_or(Error::NoPoint("fastest"))?;
        let chosen = match objective {
            Objective::Best => best.clone().ok_or(Error::NoPoint("best"))?,
            Objective::Fastest => fastest.clone(),
        };
        let raw = measured.iter().any(|point| !point.codecs.is_empty()).then(|| {
            let raw: Vec<MeasuredPoint> =
                measured.iter().cloned().map(|point| CodecChoice::None.restrict(point)).collect();
            let at = algorithm1(&raw, &environment, objective)?;
            let total_ns = predict(&raw[at], &environment).total_ns;
            Some(RawChoice { chosen: raw[at].name.clone(), total_ns })
        });
        let row = |point: &MeasuredPoint| PlannedPoint {
            name: point.name.clone(),
            steps: point.steps,
            predicted: predict(point, &environment),
            raw_total_ns: crossings(point, &environment).next().map_or(0.0, |raw| raw.total_ns),
        };
        Ok(Plan {
            schema: PLAN_SCHEMA.into(),
            model: model.clone(),
            inputs: Inputs {
                edge_profile_sha256: edge.sha256(),
                cloud_profile_sha256: cloud.sha256(),
            },
            environment,
            objective,
            chosen,
            best,
            fastest,
            raw: raw.flatten(),
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

    /// How the boundary of [`Plan::chosen`] crosses; none where it does so raw, or nothing crosses.
    pub fn codec(&self) -> Option<Codec> {
        self.point(&self.chosen)?.predicted.codec
    }

    /// What `name` was chosen as: `best`, `fastest`, both or nothing.
    fn mark(&self, name: &str) -> &'static str {
        match (self.best.as_deref() == Some(name), self.fastest == name) {
            (true, true) => "best, fastest",
            (true, false) => "best",
            (false, true) => "fastest",
            (false, false) => "",
        }
    }
}

/// The table for people, in plain text: times in milliseconds, bytes in units of 1024.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Environment { uplink_bytes_per_s, rtt_ns, cloud_load } = self.environment;
        writeln!(
            f,
            "{} at {} uplink, {} round trip, cloud load {cloud_load}",
            self.model.name,
            show_rate(uplink_bytes_per_s),
            show_nanoseconds(rtt_ns),
        )?;
        let coded = self.raw.is_some();
        // The columns of codecs are left out where there are none.
        let row = |cells: [String; 11]| -> Vec<String> {
            let shown = |i: &usize| coded || ![2, 7, 10].contains(i);
            cells.into_iter().enumerate().filter(|(i, _)| shown(i)).map(|(_, cell)| cell).collect()
        };
        let header = [
            "point", "crosses", "by", "edge", "encode", "upload", "rtt", "decode", "cloud",
            "total ms", "raw ms",
        ];
        let mut rows = vec![(row(header.map(String::from)), "")];
        for PlannedPoint { name, predicted, raw_total_ns, .. } in &self.points {
            let ms = |ns: f64| format!("{:.2}", ns / 1e6);
            let cells = [
                name.clone(),
                show_bytes(predicted.bytes),
                predicted.codec.map_or("raw", Codec::name).into(),
                ms(predicted.edge_ns),
                ms(predicted.encode_ns),
                ms(predicted.upload_ns),
                ms(predicted.rtt_ns),
                ms(predicted.decode_ns),
                ms(predicted.cloud_ns),
                ms(predicted.total_ns),
                ms(*raw_total_ns),
            ];
            rows.push((row(cells), self.mark(name)));
        }
        let width = |column: usize| {
            rows.iter().map(|(cells, _)| cells[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..rows[0].0.len()).map(width).collect();
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
        Ok(())
    }
}
