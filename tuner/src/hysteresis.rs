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

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, bytes: u64, edge_ms: f64, tail_ms: f64) -> MeasuredPoint {
        MeasuredPoint {
            name: name.into(),
            steps: 0,
            bytes,
            edge_ns: edge_ms * 1e6,
            encode_ns: 0.0,
            tail_ns: tail_ms * 1e6,
            estimated: false,
            codecs: Vec::new(),
        }
    }

    /// `input` and `output` take the same time at 250 kB/s.
    fn points() -> [MeasuredPoint; 3] {
        [
            point("input", 150_000, 0.0, 100.0),
            point("conv1", 140_000, 300.0, 50.0),
            point("output", 0, 700.0, 0.0),
        ]
    }

    fn decide(hysteresis: &mut Hysteresis, rate: f64) -> usize {
        let environment = Environment::of_uplink(rate).unwrap();
        hysteresis.decide(&points(), &environment, Objective::Fastest).unwrap()
    }

    #[test]
    fn the_first_decision_is_algorithm_1s() {
        for (rate, expected) in [(1e6, 0), (251e3, 0), (249e3, 2), (1e3, 2)] {
            assert_eq!(decide(&mut Hysteresis::default(), rate), expected, "{rate}");
        }
    }

    #[test]
    fn a_small_gain_never_moves_the_cut_and_a_large_one_does_so_the_second_time() {
        let mut hysteresis = Hysteresis::default();
        assert_eq!(decide(&mut hysteresis, 249e3), 2);
        for _ in 0..1000 {
            assert_eq!(decide(&mut hysteresis, 275e3), 2, "the gain is under a tenth");
        }
        for _ in 0..1000 {
            assert_eq!(decide(&mut hysteresis, 1e6), 2, "once");
            assert_eq!(decide(&mut hysteresis, 260e3), 2, "and no more");
        }
        assert_eq!(decide(&mut hysteresis, 1e6), 2);
        assert_eq!(decide(&mut hysteresis, 1e6), 0);
        assert_eq!(decide(&mut hysteresis, 70e3), 0);
        assert_eq!(decide(&mut hysteresis, 70e3), 2);
    }

    #[test]
    fn an_objective_that_admits_nothing_gives_nothing() {
        let input = &points()[..1];
        let environment = Environment::of_uplink(1e6).unwrap();
        assert_eq!(Hysteresis::default().decide(input, &environment, Objective::Best), None);
    }
}
