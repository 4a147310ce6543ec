//! The cut stays until another point has been predicted to take a tenth less time twice in a row.

use seam_runtime::Codec;
use seam_tuner::prediction::MeasuredCodec;
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
    hysteresis.decide(&points(), &environment, Objective::Fastest).unwrap().point
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

/// Raw 140 kB, or by zstd 70 kB and 240 ms: the same at some 292 kB/s.
#[test]
fn the_codec_stays_until_another_takes_a_tenth_less_twice() {
    let zstd = MeasuredCodec { codec: Codec::Zstd, bytes: 70_000, encode_ns: 2e8, decode_ns: 4e7 };
    let points = [MeasuredPoint { codecs: vec![zstd], ..points()[1].clone() }];
    for objective in [Objective::Best, Objective::LeastDownload] {
        let mut hysteresis = Hysteresis::default();
        let mut decide = |rate: f64| {
            let environment = Environment::of_uplink(rate).unwrap();
            hysteresis.decide(&points, &environment, objective).unwrap().codec
        };
        assert_eq!(decide(300e3), None);
        for _ in 0..10 {
            assert_eq!((decide(280e3), decide(300e3)), (None, None), "about the same");
        }
        assert_eq!((decide(70e3), decide(70e3)), (None, Some(Codec::Zstd)));
        for _ in 0..10 {
            assert_eq!(decide(300e3), Some(Codec::Zstd), "about the same");
        }
        assert_eq!((decide(5e6), decide(5e6)), (Some(Codec::Zstd), None));
    }
}

/// In the end both points take about the same in total; the longest stage of the first is shorter.
#[test]
fn throughput_moves_by_the_longest_stage() {
    let mut points = points()[..2].to_vec();
    points[1].bytes = 10_000;
    let mut hysteresis = Hysteresis::default();
    let mut decide = |rate: f64| {
        let environment = Environment::of_uplink(rate).unwrap();
        hysteresis.decide(&points, &environment, Objective::Throughput).unwrap().point
    };
    assert_eq!(decide(70e3), 1);
    assert_eq!((decide(600e3), decide(600e3)), (1, 0));
}

#[test]
fn an_objective_that_admits_nothing_gives_nothing() {
    let input = &points()[..1];
    let environment = Environment::of_uplink(1e6).unwrap();
    assert_eq!(Hysteresis::default().decide(input, &environment, Objective::Best), None);
}
