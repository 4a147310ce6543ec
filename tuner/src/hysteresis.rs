//! Re-decision while images keep coming: Algorithm 1 before each, with hysteresis, so that a
//! noisy estimate does not move the cut to and fro.
//!
//! The rule: the first decision is Algorithm 1's. From then on the cut stays where it is until, in
//! [`Hysteresis::patience`] decisions in a row, Algorithm 1 predicts another point to take less
//! than `1 - margin` of the time of the present one; the last of those points is the next cut.

use crate::environment::Environment;
use crate::partition::{Objective, algorithm1};
use crate::prediction::{MeasuredPoint, predict};

/// The point in use, and how long another one has been better.
#[derive(Clone, Debug)]
pub struct Hysteresis {
    /// The part of the present point's time by which another one must be better.
    pub margin: f64,
    /// Decisions in a row that must say so.
    pub patience: u32,
    present: Option<usize>,
    against: u32,
}

impl Default for Hysteresis {
    /// A tenth, twice in a row.
    fn default() -> Hysteresis {
        Hysteresis { margin: 0.1, patience: 2, present: None, against: 0 }
    }
}

impl Hysteresis {
    /// Index of the point of `points` to cut at now, `None` if the objective admits none. `points`
    /// are the same at every call.
    pub fn decide(
        &mut self,
        points: &[MeasuredPoint],
        environment: &Environment,
        objective: Objective,
    ) -> Option<usize> {
        let chosen = algorithm1(points, environment, objective)?;
        let present = *self.present.get_or_insert(chosen);
        let total = |point: usize| predict(&points[point], environment).total_ns;
        let better = total(chosen) < (1.0 - self.margin) * total(present);
        self.against = if better { self.against + 1 } else { 0 };
        if self.against >= self.patience {
            (self.present, self.against) = (Some(chosen), 0);
        }
        self.present
    }
}
