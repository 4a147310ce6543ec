//! The cut stays until another point has been predicted to take a tenth less time twice in a row.

use seam_tuner::{Environment, Hysteresis, MeasuredPoint, Objective};

mod common;
use common::measured_point;

/// `input` and `output` take the same time at 250 kB/s.
fn points() -> [MeasuredPoint; 3] {
    [
        measured_point("input", 0, 150_000, 0.0, 100.0),
        measured_point("conv1", 1, 140_000, 300.0, 50.0),
        measured_point("output", 2, 0, 700.0, 0.0),
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
