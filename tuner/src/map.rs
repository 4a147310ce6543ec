//! The best point over bandwidth, exactly.
//!
//! What a point takes is linear in the time that the uplink needs for a byte: a fixed part and its
//! bytes. Which point takes the least is then the lower envelope of lines, and where it passes from
//! one point to the next is the crossing of two of them: nothing is sampled. For the objective
//! `throughput`, where the longest stage counts, a line bends: it is level up to where the uplink
//! becomes the longest stage, and rises from there; the envelope of such is a staircase.

use std::fmt;

use crate::environment::Environment;
use crate::partition::{Objective, algorithm1};
use crate::prediction::{MeasuredPoint, Prediction, crossings};
use crate::units::show_rate;

/// Which point an objective chooses at every bandwidth, all else being as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// The objective.
    pub objective: Objective,
    /// From the slowest uplink to the fastest, without gaps; two neighbours have different points.
    pub regions: Vec<Region>,
}

/// A range of bandwidths with one choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// The point chosen.
    pub point: String,
    /// Where the range begins, in bytes per second; 0 for the first.
    pub from: f64,
    /// Where it ends; infinite for the last.
    pub to: f64,
}

/// What one way of cutting takes by the uplink's nanoseconds per byte `x`: the sum of both parts,
/// or the longer of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Index of the point. A point with several ways, one a codec, has a line for each.
    pub point: usize,
    /// What no uplink changes, in nanoseconds.
    pub fixed_ns: f64,
    /// What crosses: the other part is `bytes * x`.
    pub bytes: f64,
}

impl Map {
    /// The map of `points` under the round trip and the load of `environment`, whose own bandwidth
    /// it does not depend on; `None` if the objective admits no point.
    pub fn new(
        points: &[MeasuredPoint],
        environment: &Environment,
        objective: Objective,
    ) -> Option<Map> {
        let admitted = points.iter().enumerate().filter(|(_, point)| objective.admits(point));
        let lines = || admitted.flat_map(|(i, point)| lines(i, point, environment, objective));
        // From the fastest uplink on, as the time for a byte grows.
        let changes = match objective {
            Objective::Best | Objective::Fastest => lower_envelope(&lines().collect::<Vec<_>>()),
            Objective::Throughput => lower_staircase(&lines().collect::<Vec<_>>()),
            // No uplink changes the length of a prefix.
            Objective::LeastDownload => {
                algorithm1(points, environment, objective).map(|i| (0.0, i)).into_iter().collect()
            }
        };
        let mut regions: Vec<Region> = Vec::new();
        for &(slowness, point) in &changes {
            let (name, rate) = (&points[point].name, 1e9 / slowness);
            match regions.last_mut() {
                Some(faster) if faster.point == *name => continue,
                Some(faster) => faster.from = rate,
                None => {}
            }
            regions.push(Region { point: name.clone(), from: 0.0, to: rate });
        }
        regions.reverse();
        (!regions.is_empty()).then_some(Map { objective, regions })
    }

    /// The point chosen at `bytes_per_s`.
    pub fn at(&self, bytes_per_s: f64) -> &str {
        let region = self.regions.iter().find(|region| bytes_per_s <= region.to);
        region.map_or("", |region| &region.point)
    }
}

/// The ways of cutting at `point`, which is the `index`th.
fn lines(
    index: usize,
    point: &MeasuredPoint,
    environment: &Environment,
    objective: Objective,
) -> Vec<Line> {
    let line = |at: Prediction| {
        let cloud_ns = at.decode_ns + at.cloud_ns;
        let fixed_ns = match objective {
            Objective::Throughput => (at.edge_ns + at.encode_ns).max(cloud_ns),
            _ => at.edge_ns + at.encode_ns + at.rtt_ns + cloud_ns,
        };
        // Those that the uplink takes time for: a burst may carry some.
        let bytes = at.upload_ns * environment.uplink_bytes_per_s / 1e9;
        Line { point: index, fixed_ns, bytes }
    };
    crossings(point, environment).map(line).collect()
}

/// The points whose lines are the lowest, each with the `x` from where on it is: first at 0, then
/// in ascending order. Of equal lines the first one counts.
pub fn lower_envelope(lines: &[Line]) -> Vec<(f64, usize)> {
    // Right of 0 the lowest is the one of least fixed part, and of those the flattest.
    let start = least(lines, |line| (line.fixed_ns, line.bytes));
    walk(lines, start, |line, next| {
        // Of those that cross it at one place the flattest is the lowest behind it.
        ((next.fixed_ns - line.fixed_ns) / (line.bytes - next.bytes), next.bytes)
    })
}

/// The same where the longer part of a line counts and not the sum.
pub fn lower_staircase(lines: &[Line]) -> Vec<(f64, usize)> {
    let start = least(lines, |line| (line.fixed_ns, 0.0));
    // A line that rises meets the level part of the next one, which is flatter: the lowest first.
    walk(lines, start, |line, next| (next.fixed_ns / line.bytes, 0.0))
}

/// From the line `start` at 0 always on to the flatter line that `meets` it first.
fn walk(
    lines: &[Line],
    start: Option<Line>,
    meets: impl Fn(&Line, &Line) -> (f64, f64),
) -> Vec<(f64, usize)> {
    let (mut at, mut current) = (0.0, start);
    let mut found: Vec<(f64, usize)> = Vec::new();
    while let Some(line) = current {
        if found.last().is_some_and(|&(before, _)| before == at) {
            found.pop();
        }
        found.push((at, line.point));
        let flatter: Vec<Line> =
            lines.iter().filter(|next| next.bytes < line.bytes).copied().collect();
        current = least(&flatter, |next| meets(&line, next));
        if let Some(next) = &current {
            at = meets(&line, next).0;
        }
    }
    found
}

/// The first line of least `key`.
fn least(lines: &[Line], key: impl Fn(&Line) -> (f64, f64)) -> Option<Line> {
    let order = |a: &&Line, b: &&Line| {
        let (a, b) = (key(a), key(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    };
    lines.iter().min_by(order).copied()
}

/// In one line: `fastest: output up to 9.1 KiB/s, conv5 up to 412.0 KiB/s, then input`.
impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.objective)?;
        for region in &self.regions {
            match (region.to.is_finite(), region.from == 0.0) {
                (true, _) => write!(f, "{} up to {}, ", region.point, show_rate(region.to))?,
                (false, true) => write!(f, "{} at any rate", region.point)?,
                (false, false) => write!(f, "then {}", region.point)?,
            }
        }
        Ok(())
    }
}
