//! What INT8 up to a point costs in accuracy, as `seam eval --at POINT --json` prints it.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use seam_tuner::Plan;
use serde::Deserialize;

use super::document;

/// An evaluation at one point.
#[derive(Deserialize)]
pub(super) struct Evaluation {
    model: String,
    at: String,
    images: usize,
    fp32: Right,
    int8: Right,
    /// Images of which both name the same class first, per cent.
    agreement: f64,
    /// Infinite where it is none: the answers are equal.
    sqnr_db: Option<f64>,
}

/// Per cent.
#[derive(Deserialize)]
struct Right {
    top1: f64,
    top5: f64,
}

/// Reads the evaluations of all files, one after the other in each, in the order of the plan.
///
/// # Errors
/// A file cannot be read, holds something else, or names none of the plan's points.
pub(super) fn read<P: AsRef<Path>>(files: &[P], plan: &Plan) -> Result<Vec<Evaluation>> {
    let position = |name: &str| plan.points.iter().position(|point| point.name == name);
    let mut all = Vec::new();
    for file in files {
        let path = file.as_ref();
        let json =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let before = all.len();
        for evaluation in serde_json::Deserializer::from_slice(&json).into_iter() {
            let evaluation: Evaluation = evaluation.with_context(|| {
                format!("{}: nothing as `seam eval --json` prints it", path.display())
            })?;
            ensure!(
                evaluation.model == plan.model.name,
                "{}: an evaluation of {}, the plan is of {}",
                path.display(),
                evaluation.model,
                plan.model.name
            );
            let at = position(&evaluation.at).with_context(|| {
                let (path, at) = (path.display(), &evaluation.at);
                format!("{path}: evaluated at {at}, which the plan lacks")
            })?;
            all.push((at, evaluation));
        }
        ensure!(
            all.len() > before,
            "{} holds no evaluation: give what `seam eval --json` prints",
            path.display()
        );
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, evaluation)| evaluation).collect())
}

/// The table of all evaluations.
pub(super) fn write(out: &mut String, evaluations: &[Evaluation]) -> fmt::Result {
    let heads = [
        "cut at",
        "images",
        "FP32 top-1",
        "INT8 top-1",
        "drop, points",
        "FP32 top-5",
        "INT8 top-5",
        "same answer",
        "SQNR",
    ];
    document::write_table(out, "INT8 up to the point, FP32 behind it", &heads, |out| {
        for Evaluation { at, images, fp32, int8, agreement, sqnr_db, .. } in evaluations {
            let percent = |value: f64| format!("{value:.2} %");
            let cells = [
                images.to_string(),
                percent(fp32.top1),
                percent(int8.top1),
                // No drop is not a negative one.
                format!("{:.2}", fp32.top1 - int8.top1 + 0.0),
                percent(fp32.top5),
                percent(int8.top5),
                percent(*agreement),
                sqnr_db.map_or("equal".into(), |db| format!("{db:.1} dB")),
            ];
            document::write_row(out, "", at, &cells)?;
        }
        Ok(())
    })
}
