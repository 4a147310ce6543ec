//! The map of the best point over bandwidth is exact: Algorithm 1 chooses the same everywhere, and
//! two points take the same where it changes.

use proptest::prelude::*;
use seam_tuner::map::{Line, lower_envelope, lower_staircase};
use seam_tuner::prediction::predict;
use seam_tuner::{Environment, Map, MeasuredPoint, Objective, algorithm1};

mod common;
use common::measured_point;

fn any_points() -> impl Strategy<Value = Vec<MeasuredPoint>> {
    let inner = prop::collection::vec((1..2_000_000u64, 0..3000u32, 0..500u32), 0..12);
    (inner, (1..2_000_000u64, 0..500u32), 0..5000u32).prop_map(|(inner, input, output)| {
        let mut points = vec![measured_point("input", 0, input.0, 0.0, f64::from(input.1))];
        points.extend(inner.iter().zip(1..).map(|(&(bytes, edge, tail), i)| {
            measured_point(&format!("conv{i}"), i, bytes, f64::from(edge), f64::from(tail))
        }));
        points.push(measured_point("output", 99, 0, f64::from(output), 0.0));
        points
    })
}

proptest! {
    #[test]
    fn it_says_what_algorithm_1_chooses_everywhere(
        points in any_points(),
        rtt in 0.0..1e9f64,
        load in 0.0..4.0f64,
        exponents in prop::collection::vec(1.0..9.0f64, 30),
    ) {
        for objective in Objective::ALL {
            let somewhere = Environment::new(123_456.0, rtt, load).unwrap();
            let map = Map::new(&points, &somewhere, objective).unwrap();
            for rate in exponents.iter().map(|e| 10f64.powf(*e)) {
                // At a change both points take the same, to within rounding.
                if map.regions.iter().any(|r| (r.from / rate - 1.0).abs() < 1e-9) {
                    continue;
                }
                let there = Environment { uplink_bytes_per_s: rate, ..somewhere };
                let chosen = algorithm1(&points, &there, objective).unwrap();
                prop_assert_eq!(map.at(rate), &points[chosen].name, "{} at {}", objective, rate);
            }
        }
    }

    #[test]
    fn at_a_change_both_points_take_the_same(points in any_points(), rtt in 0.0..1e9f64) {
        let environment = Environment::new(1e6, rtt, 0.0).unwrap();
        for objective in Objective::ALL {
            let map = Map::new(&points, &environment, objective).unwrap();
            prop_assert_eq!(map.regions[0].from, 0.0);
            prop_assert!(map.regions.last().unwrap().to.is_infinite());
            for pair in map.regions.windows(2) {
                prop_assert_eq!(pair[0].to, pair[1].from);
                prop_assert!(pair[0].from < pair[0].to && pair[0].point != pair[1].point);
                let there = Environment { uplink_bytes_per_s: pair[0].to, ..environment };
                let value = |name: &str| {
                    let point = points.iter().find(|p| p.name == name).unwrap();
                    objective.value(point, &predict(point, &there))
                };
                let (slow, fast) = (value(&pair[0].point), value(&pair[1].point));
                prop_assert!((slow - fast).abs() <= 1e-9 * slow.max(1.0), "{slow} {fast}");
            }
        }
    }
}

/// 1000 bytes and 10 ms, 100 bytes and 19 ms: equal where 900 bytes take 9 ms.
#[test]
fn it_changes_where_two_lines_cross() {
    let points = [
        measured_point("input", 0, 1000, 0.0, 10.0),
        measured_point("conv1", 1, 100, 19.0, 0.0),
        measured_point("output", 2, 0, 29.0, 0.0),
    ];
    let environment = Environment::of_uplink(1.0).unwrap();
    let map = Map::new(&points, &environment, Objective::Fastest).unwrap();
    let ends: Vec<f64> = map.regions.iter().map(|region| region.to).collect();
    assert!((ends[0] - 10_000.0).abs() < 1e-6 && (ends[1] - 100_000.0).abs() < 1e-6, "{ends:?}");
    assert_eq!(
        map.to_string(),
        "fastest: output up to 9.8 KiB/s, conv1 up to 97.7 KiB/s, then input"
    );
    let best = Map::new(&points, &environment, Objective::Best).unwrap();
    assert_eq!(best.to_string(), "best: output up to 9.8 KiB/s, then conv1");
    let least = Map::new(&points, &environment, Objective::LeastDownload).unwrap();
    assert_eq!(least.to_string(), "least-download: conv1 at any rate");
    // The cloud's 10 ms hold up as much as 1000 bytes at 100 kB/s; below, the uplink does, up to
    // where conv1's 19 ms are less.
    let throughput = Map::new(&points, &environment, Objective::Throughput).unwrap();
    assert!((throughput.regions.last().unwrap().from - 1000.0 / 0.019).abs() < 1e-6);
    assert_eq!(Map::new(&points[..1], &environment, Objective::Best), None);
}

/// A codec that takes 5 ms and halves the bytes: the point's two lines make one region.
#[test]
fn a_point_may_have_several_lines() {
    let line = |point, fixed_ms: f64, bytes| Line { point, fixed_ns: fixed_ms * 1e6, bytes };
    let lines = [line(0, 10.0, 1000.0), line(0, 15.0, 500.0), line(1, 40.0, 0.0)];
    let ns_per_byte: Vec<_> = lower_envelope(&lines).into_iter().collect();
    // Raw while 500 bytes take less than 5 ms, coded until 500 bytes take 25 ms.
    assert_eq!(ns_per_byte, [(0.0, 0), (1e4, 0), (5e4, 1)]);
    assert_eq!(lower_staircase(&lines), [(0.0, 0), (1.5e4, 0), (8e4, 1)]);
    assert_eq!(lower_envelope(&[]), []);
}

#[test]
fn of_equal_lines_the_first_counts() {
    let line = |point| Line { point, fixed_ns: 1.0, bytes: 1.0 };
    assert_eq!(lower_envelope(&[line(3), line(1), line(2)]), [(0.0, 3)]);
    assert_eq!(lower_staircase(&[line(3), line(1), line(2)]), [(0.0, 3)]);
}
