//! Algorithm 1 of the paper: the partition of a network that suits an environment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::environment::Environment;
use crate::prediction::{MeasuredPoint, Prediction, crossings, predict};

/// What makes one point better than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The least total time of the points that keep the raw input on the board: never `input`.
    Best,
    /// The least total time of every point, `input` and `output` included.
    Fastest,
    /// The shortest prefix of the model of the points that keep the raw input on the board.
    LeastDownload,
    /// The most images a second, `input` and `output` included: the least time of the longest of
    /// the stages board, uplink and cloud, which work on different images at once.
    Throughput,
}

impl Objective {
    /// Every objective.
    pub const ALL: [Objective; 4] =
        [Objective::Best, Objective::Fastest, Objective::LeastDownload, Objective::Throughput];

    /// The word for it in plans and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Best => "best",
            Objective::Fastest => "fastest",
            Objective::LeastDownload => "least-download",
            Objective::Throughput => "throughput",
        }
    }

    /// `point` may be chosen.
    pub fn admits(self, point: &MeasuredPoint) -> bool {
        match self {
            Objective::Best | Objective::LeastDownload => !point.is_input(),
            Objective::Fastest | Objective::Throughput => true,
        }
    }

    /// What `point` takes, its boundary crossing in the way that suits the objective.
    pub fn predict(self, point: &MeasuredPoint, environment: &Environment) -> Prediction {
        match self {
            // No way to cross changes the length of a prefix.
            Objective::Best | Objective::Fastest | Objective::LeastDownload => {
                predict(point, environment)
            }
            Objective::Throughput => {
                let less = |least: Prediction, next: Prediction| {
                    if next.longest_stage_ns() < least.longest_stage_ns() { next } else { least }
                };
                crossings(point, environment).reduce(less).expect("raw is always a way")
            }
        }
    }

    /// What the objective makes the least at `point`, given what it takes there.
    pub fn value(self, point: &MeasuredPoint, performance: &Prediction) -> f64 {
        match self {
            Objective::Best | Objective::Fastest => performance.total_ns,
            // A deeper point's prefix extends a shallower one's.
            Objective::LeastDownload => f64::from(point.steps),
            Objective::Throughput => performance.longest_stage_ns(),
        }
    }
}

/// Index of the point of `points` that suits `environment` best, `None` if the objective admits
/// none.
///
/// The paper's procedure, line by line:
///
/// | lines | the paper | here |
/// |---|---|---|
/// | 1 | the candidate layers of the network | `points`: the rules have found them when the network was compiled, constraints have left these |
/// | 2 | the present environment, GetEnvironment | `environment` |
/// | 3, 4 | nothing kept, the least is infinite | the same |
/// | 5 | for every candidate | every point that the objective admits |
/// | 6–8 | edge part and tail of the network, the edge part quantized | an edge part is a prefix of the network's file, quantized as a whole; a [`MeasuredPoint`] says what either takes |
/// | 9 | PredictPerformance of both in the environment | [`Objective::predict`] |
/// | 10–12 | if it is better, it is kept | the same, by the objective's value |
/// | 13, 14 | until none is left; the one kept is the partition | the same |
///
/// Among points of equal value the one given first, the shallowest, is kept: it needs the smaller
/// download and leaves the board idle for longer.
pub fn algorithm1(
    points: &[MeasuredPoint],  //                                             1
    environment: &Environment, //                                             2
    objective: Objective,
) -> Option<usize> {
    let mut kept = None; //                                                         3
    let mut least = f64::INFINITY; //                                               4
    let candidates = points.iter().enumerate().filter(|(_, point)| objective.admits(point));
    for (partition, parts) in candidates {
        //                                       5, 6-8
        let performance = objective.predict(parts, environment); //                 9
        let value = objective.value(parts, &performance);
        if value < least {
            //                                                       10
            least = value; //                                                       11
            kept = Some(partition); //                                              12
        }
    } //                                                                            13
    kept //                                                                         14
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
