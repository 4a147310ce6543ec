//! Runs of real images, as `seam-edge infer --json` prints them, beside what the plan predicts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use seam_runtime::Codec;
use seam_tuner::Plan;
use seam_tuner::prediction::Prediction;
use serde::Deserialize;

use super::document::{self, part, small, time};
use super::units;

/// One line: a run of one image.
#[derive(Deserialize)]
struct Line {
    model: String,
    point: String,
    codec: Option<Codec>,
    uploaded_bytes: u64,
    timing: Timing,
}

#[derive(Deserialize)]
struct Timing {
    edge_ms: f64,
    encode_ms: f64,
    upload_ms: f64,
    cloud_ms: f64,
}

/// The runs at one point by one codec.
#[derive(Debug, PartialEq)]
pub(super) struct Measured {
    /// Index of the point in the plan.
    pub(super) point: usize,
    pub(super) codec: Option<Codec>,
    runs: usize,
    /// The median, as all that follow.
    bytes: u64,
    /// [`PARTS`], nanoseconds.
    parts: [u64; 4],
    /// Their sum in each run.
    pub(super) total_ns: u64,
}

/// What a run tells of: the upload with its round trip, the cloud with its decoding.
const PARTS: [&str; 4] = ["edge", "encode", "upload, rtt", "decode, cloud"];

/// Reads the runs of all files, by points in the order of the plan.
///
/// # Errors
/// A file cannot be read, holds something else, or a run is of another model or none of the plan's
/// points.
pub(super) fn read<P: AsRef<Path>>(files: &[P], plan: &Plan) -> Result<Vec<Measured>> {
    let mut groups: BTreeMap<(usize, Option<Codec>), Vec<Line>> = BTreeMap::new();
    for file in files {
        let path = file.as_ref();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let place = |i: usize| format!("{}, line {}", path.display(), i + 1);
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let before: usize = groups.values().map(Vec::len).sum();
        for (i, line) in lines {
            let (point, line) = run(line, plan).with_context(|| place(i))?;
            groups.entry((point, line.codec)).or_default().push(line);
        }
        let after: usize = groups.values().map(Vec::len).sum();
        ensure!(
            after > before,
            "{} holds no run: give what `seam-edge infer --json` prints",
            path.display()
        );
    }
    Ok(groups
        .into_iter()
        .map(|((point, codec), lines)| Measured::of(point, codec, &lines))
        .collect())
}

/// A line, and the index of its point.
fn run(line: &str, plan: &Plan) -> Result<(usize, Line)> {
    let line: Line =
        serde_json::from_str(line).context("no run as `seam-edge infer --json` prints it")?;
    ensure!(
        line.model == plan.model.name,
        "a run of {}, the plan is of {}",
        line.model,
        plan.model.name
    );
    let point = plan.points.iter().position(|point| point.name == line.point);
    let point =
        point.with_context(|| format!("a run cut at {}, which the plan lacks", line.point))?;
    let sound = |ms: &f64| ms.is_finite() && *ms >= 0.0;
    ensure!(line.timing.parts().iter().all(sound), "a run that took less than no time");
    Ok((point, line))
}

impl Timing {
    /// [`PARTS`], milliseconds.
    fn parts(&self) -> [f64; 4] {
        [self.edge_ms, self.encode_ms, self.upload_ms, self.cloud_ms]
    }
}

impl Measured {
    fn of(point: usize, codec: Option<Codec>, lines: &[Line]) -> Measured {
        let median = |value: &dyn Fn(&Line) -> f64| {
            let mut values: Vec<f64> = lines.iter().map(value).collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2].round() as u64
        };
        let of = |i: usize| median(&|line| line.timing.parts()[i] * 1e6);
        Measured {
            point,
            codec,
            runs: lines.len(),
            bytes: median(&|line| line.uploaded_bytes as f64),
            parts: [of(0), of(1), of(2), of(3)],
            total_ns: median(&|line| line.timing.parts().iter().sum::<f64>() * 1e6),
        }
    }
}

/// The table of all runs, each time with the plan's below it.
pub(super) fn write(out: &mut String, plan: &Plan, measured: &[Measured]) -> fmt::Result {
    let mut heads = vec!["point", "runs", "crosses"];
    heads.extend(PARTS);
    heads.extend(["total", "predicted off by"]);
    document::write_table(out, "Measured, and predicted below", &heads, |out| {
        for row in measured {
            let point = &plan.points[row.point];
            let predicted = parts(&point.predicted);
            let by = row.codec.map_or("raw".to_string(), |codec| format!("by {codec}"));
            let mut cells = vec![row.runs.to_string(), units::bytes(row.bytes) + &small(&by)];
            // Another codec than the plan's has no prediction of its own.
            let same = row.codec == point.predicted.codec;
            let beside = |ns: f64| match same {
                true => small(&units::time(ns.round() as u64)),
                false => String::new(),
            };
            let pairs = row.parts.iter().zip(predicted);
            cells.extend(pairs.map(|(&ns, predicted)| part(ns) + &beside(predicted)));
            let total =
                if row.codec.is_none() { point.raw_total_ns } else { point.predicted.total_ns };
            let known = same || row.codec.is_none();
            cells.push(match known {
                true => time(row.total_ns) + &small(&units::time(total.round() as u64)),
                false => time(row.total_ns),
            });
            let off = 100.0 * (total / row.total_ns.max(1) as f64 - 1.0);
            cells.push(if known { format!("{off:+.1} %") } else { "–".into() });
            document::write_row(out, "", &point.name, &cells)?;
        }
        Ok(())
    })
}

/// [`PARTS`] as predicted, nanoseconds.
fn parts(predicted: &Prediction) -> [f64; 4] {
    let Prediction { edge_ns, encode_ns, upload_ns, rtt_ns, decode_ns, cloud_ns, .. } = *predicted;
    [edge_ns, encode_ns, upload_ns + rtt_ns, decode_ns + cloud_ns]
}
