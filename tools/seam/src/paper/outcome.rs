//! Table 3: a network planned at the paper's uplink, from whichever profile.

use anyhow::{Context, Result};
use seam_runtime::graph::{INPUT, OUTPUT};
use seam_tuner::outline::OutlinePoint;
use seam_tuner::profile::{ModelRef, PointProfile};
use seam_tuner::{CloudProfile, Environment, Objective, Outline, Plan, Profile, Request};
use serde::Serialize;

use super::cases::{Case, KB};
use super::points::{paper_bytes, points, reduction};
use crate::nets::Net;
use crate::table::Table;

/// A column of Table 3.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) network: &'static str,
    /// Every point's predicted times, and the points chosen.
    pub(crate) plan: Plan,
    /// The point that the paper found best.
    pub(crate) papers_point: &'static str,
    /// Bytes of the edge part at the best point, in paper accounting.
    pub(crate) edge_bytes: u64,
    /// The same at the paper's point.
    pub(crate) papers_edge_bytes: u64,
    /// Bytes of the whole network, in paper accounting.
    pub(crate) whole_bytes: u64,
    /// What only a run on this machine knows.
    pub(crate) measured: Option<Measured>,
}

/// What is known of a network that was compiled and run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    /// Bytes of the `.seam` file that a board needs for the best point.
    pub(crate) prefix_bytes: u64,
    /// The same for the paper's point.
    pub(crate) papers_prefix_bytes: u64,
    /// Bytes of the whole file.
    pub(crate) file_bytes: u64,
    pub(crate) jpeg: Jpeg,
}

/// An image sent as JPEG in place of its pixels.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Jpeg {
    pub(crate) bytes: u64,
    /// Encoding on the board.
    pub(crate) encode_ns: f64,
    /// Decoding in the cloud.
    pub(crate) decode_ns: f64,
}

impl Outcome {
    /// Plans `net` at the paper's uplink.
    ///
    /// # Errors
    /// The profiles are not of this model, or lack a point.
    pub(crate) fn new(
        case: &Case,
        net: &Net,
        model: &ModelRef,
        edge: &Profile,
        cloud: &CloudProfile,
    ) -> Result<Outcome> {
        let environment = Environment::of_uplink(case.uplink())?;
        // Nothing limits the paper's board.
        let point = |point: &PointProfile| OutlinePoint {
            name: point.name.clone(),
            steps: point.steps,
            download_bytes: 0,
            memory_bytes: 0,
        };
        let outline = Outline {
            model: model.clone(),
            points: edge.points.iter().map(point).collect(),
            layers: Vec::new(),
        };
        let plan = Plan::new(&Request::new(&outline, edge, cloud, environment, Objective::Best))?;
        let points = points(net);
        let bytes = |name: &str| {
            let point = points.iter().find(|point| point.name == name);
            let point = point.with_context(|| format!("{} has no point {name}", net.name))?;
            Ok::<_, anyhow::Error>(paper_bytes(case, net, point))
        };
        Ok(Outcome {
            network: net.name,
            papers_point: case.point,
            edge_bytes: bytes(&plan.chosen)?,
            papers_edge_bytes: bytes(case.point)?,
            whole_bytes: bytes(OUTPUT)?,
            plan,
            measured: None,
        })
    }

    /// The best point's name.
    pub(crate) fn best(&self) -> &str {
        &self.plan.chosen
    }

    /// Seconds from image to answer at a point.
    pub(crate) fn total_s(&self, point: &str) -> f64 {
        self.plan.point(point).map_or(f64::NAN, |point| point.predicted.total_ns / 1e9)
    }

    /// Seconds from image to answer when the image is sent as JPEG.
    fn jpeg_total_s(&self, jpeg: &Jpeg) -> f64 {
        let cloud = self.plan.point(INPUT).map_or(f64::NAN, |point| point.predicted.cloud_ns);
        let upload = jpeg.bytes as f64 / self.plan.environment.uplink_bytes_per_s;
        upload + (jpeg.encode_ns + jpeg.decode_ns + cloud) / 1e9
    }

    /// How often as fast as cloud-only the best point is.
    pub(crate) fn speed_up(&self) -> f64 {
        self.total_s(INPUT) / self.total_s(self.best())
    }
}

/// Table 3, a network a column.
pub(crate) fn table(name: &'static str, title: String, outcomes: &[Outcome]) -> Table {
    let header: Vec<&str> = std::iter::once("").chain(outcomes.iter().map(|o| o.network)).collect();
    let mut table = Table::new(name, title, &header);
    let mut row = |name: &str, cell: &dyn Fn(&Outcome) -> String| {
        table.row(std::iter::once(name.to_string()).chain(outcomes.iter().map(cell)));
    };
    let planned = |o: &Outcome, part: &dyn Fn(&seam_tuner::plan::PlannedPoint) -> f64| {
        o.plan.point(o.best()).map_or_else(String::new, |point| seconds(part(point) / 1e9))
    };
    row("uplink, KB/s", &|o| format!("{}", o.plan.environment.uplink_bytes_per_s / KB));
    row("best point", &|o| o.best().into());
    row("fastest point", &|o| o.plan.fastest.clone());
    row("edge part, KB (paper accounting)", &|o| format!("{:.0}", o.edge_bytes as f64 / KB));
    row("whole network, KB (paper accounting)", &|o| format!("{:.0}", o.whole_bytes as f64 / KB));
    row("storage reduction, %", &|o| format!("{:.2}", reduction(o.edge_bytes, o.whole_bytes)));
    if outcomes.iter().all(|o| o.measured.is_some()) {
        let measured = |o: &Outcome, part: &dyn Fn(&Measured) -> u64| {
            o.measured.as_ref().map_or_else(String::new, |m| part(m).to_string())
        };
        row("edge part, bytes of the .seam prefix", &|o| measured(o, &|m| m.prefix_bytes));
        row("whole network, bytes of the .seam file", &|o| measured(o, &|m| m.file_bytes));
    }
    row("edge, s", &|o| planned(o, &|p| p.predicted.edge_ns + p.predicted.encode_ns));
    row("upload, s", &|o| planned(o, &|p| p.predicted.upload_ns));
    row("cloud, s", &|o| planned(o, &|p| p.predicted.cloud_ns));
    row("total at the best point, s", &|o| seconds(o.total_s(o.best())));
    row("cloud only, raw pixels, s", &|o| seconds(o.total_s(INPUT)));
    row("speed-up against cloud only", &|o| times(o.speed_up()));
    if outcomes.iter().any(|o| o.best() != o.papers_point) {
        row("the paper's point", &|o| o.papers_point.into());
        if outcomes.iter().all(|o| o.measured.is_some()) {
            row("its edge part, KB (paper accounting)", &|o| {
                format!("{:.0}", o.papers_edge_bytes as f64 / KB)
            });
            row("its edge part, bytes of the .seam prefix", &|o| {
                o.measured.as_ref().map_or_else(String::new, |m| m.papers_prefix_bytes.to_string())
            });
        }
        row("total at the paper's point, s", &|o| seconds(o.total_s(o.papers_point)));
        row("its speed-up against cloud only", &|o| {
            times(o.total_s(INPUT) / o.total_s(o.papers_point))
        });
    }
    if outcomes.iter().all(|o| o.measured.is_some()) {
        let jpeg = |o: &Outcome, cell: &dyn Fn(&Jpeg) -> String| {
            o.measured.as_ref().map_or_else(String::new, |m| cell(&m.jpeg))
        };
        row("image as JPEG, bytes", &|o| jpeg(o, &|j| j.bytes.to_string()));
        row("cloud only, JPEG, s", &|o| jpeg(o, &|j| seconds(o.jpeg_total_s(j))));
        row("speed-up against JPEG", &|o| {
            jpeg(o, &|j| times(o.jpeg_total_s(j) / o.total_s(o.best())))
        });
    }
    table
}

/// Hundredths, and below a tenth of a second thousandths.
fn seconds(s: f64) -> String {
    if s < 0.0995 { format!("{s:.3}") } else { format!("{s:.2}") }
}

/// As the paper has it: below 1 it is a loss, however large.
fn times(ratio: f64) -> String {
    if ratio < 1.0 { format!("<1× ({ratio:.2}×)") } else { format!("{ratio:.2}×") }
}
