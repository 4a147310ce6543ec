//! Re-decision while images keep coming: Algorithm 1 before each, with hysteresis, so that a
//! noisy estimate does not move the cut to and fro.
//!
//! The rule: the first decision is Algorithm 1's. From then on the cut, and the way its boundary
//! crosses, stay what they are until, in [`Hysteresis::patience`] decisions in a row, Algorithm 1
//! predicts another choice to take less than `1 - margin` of what the present one takes; the last
//! of those choices is the next one.

use seam_runtime::Codec;

use crate::environment::Environment;
use crate::partition::{Objective, algorithm1};
use crate::prediction::{MeasuredPoint, Prediction, crossings};

/// Where to cut, and how the boundary is to cross there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index of the point.
    pub point: usize,
    /// None: raw.
    pub codec: Option<Codec>,
}

/// The choice in use, and how long another one has been better.
#[derive(Clone, Debug)]
pub struct Hysteresis {
    /// The part of the present choice's time by which another one must be better.
    pub margin: f64,
    /// Decisions in a row that must say so.
    pub patience: u32,
    present: Option<Choice>,
    against: u32,
}

impl Default for Hysteresis {
    /// A tenth, twice in a row.
    fn default() -> Hysteresis {
        Hysteresis { margin: 0.1, patience: 2, present: None, against: 0 }
    }
}

impl Hysteresis {
    /// Which of `points` to cut at now, `None` if the objective admits none. `points` are the same
    /// at every call.
    pub fn decide(
        &mut self,
        points: &[MeasuredPoint],
        environment: &Environment,
        objective: Objective,
    ) -> Option<Choice> {
        let point = algorithm1(points, environment, objective)?;
        let least = objective.predict(&points[point], environment);
        let chosen = Choice { point, codec: least.codec };
        let present = *self.present.get_or_insert(chosen);
        let at = &points[present.point];
        let stays = crossings(at, environment).find(|crossing| crossing.codec == present.codec);
        let value = |at: &MeasuredPoint, takes: &Prediction| match objective {
            // Codecs do not change a download.
            Objective::LeastDownload if point == present.point => takes.total_ns,
            _ => objective.value(at, takes),
        };
        let better = stays.is_none_or(|stays| {
            value(&points[point], &least) < (1.0 - self.margin) * value(at, &stays)
        });
        self.against = if better { self.against + 1 } else { 0 };
        if self.against >= self.patience {
            (self.present, self.against) = (Some(chosen), 0);
        }
        self.present
    }
}
