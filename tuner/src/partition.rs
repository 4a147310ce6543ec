//! Algorithm 1 of the paper: the partition of a network that suits an environment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::environment::Environment;
use crate::prediction::{MeasuredPoint, predict};

/// Which points are admitted; among them the least predicted total time wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Every point that keeps the raw input on the board: never `input`.
    Best,
    /// Every point, `input` and `output` included.
    Fastest,
}

impl Objective {
    /// Every objective.
    pub const ALL: [Objective; 2] = [Objective::Best, Objective::Fastest];

    /// The word for it in plans and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Best => "best",
            Objective::Fastest => "fastest",
        }
    }

    /// `point` may be chosen.
    pub fn admits(self, point: &MeasuredPoint) -> bool {
        match self {
            Objective::Best => !point.is_input(),
            Objective::Fastest => true,
        }
    }
}

/// Index of the point of `points` that suits `environment` best, `None` if the objective admits
/// none.
///
/// The paper's procedure, in its order: the candidates of the network, each one's edge part
/// quantized and its tail left in FP32, their performance predicted under the present
/// environment, and the better kept. What the paper does inside the loop happens here once and
/// before: the whole network is quantized when it is compiled, and an edge part is a prefix of
/// the file; times of every edge part and tail come from the profiles.
///
/// Among points of equal time the one given first, the shallowest, is kept: it needs the smaller
/// download and leaves the board idle for longer.
pub fn algorithm1(
    points: &[MeasuredPoint],
    environment: &Environment,
    objective: Objective,
) -> Option<usize> {
    let candidates = points.iter().enumerate().filter(|(_, point)| objective.admits(point));
    let mut kept = None;
    let mut least = f64::INFINITY;
    for (point, measured) in candidates {
        let performance = predict(measured, environment);
        if performance.total_ns < least {
            least = performance.total_ns;
            kept = Some(point);
        }
    }
    kept
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Objective {
    type Err = Error;

    fn from_str(word: &str) -> Result<Objective, Error> {
        let known = Objective::ALL.into_iter().find(|objective| objective.name() == word);
        known.ok_or_else(|| Error::Objective(word.into()))
    }
}
