//! What Algorithm 1 promises of the point that it chooses.

use proptest::prelude::*;
use seam_tuner::prediction::predict;
use seam_tuner::{Environment, MeasuredPoint, Objective, Plan, algorithm1};

mod common;
use common::{ROWS, cloud, edge, model, names};

const KIB: f64 = 1024.0;

fn plan(kib_per_s: f64, objective: Objective) -> Plan {
    let environment = Environment::of_uplink(kib_per_s * KIB).unwrap();
    Plan::new(&model(), names(&ROWS), &edge(&ROWS), &cloud(&ROWS), environment, objective).unwrap()
}

fn point(name: &str, bytes: u64, edge_ms: u64, tail_ms: u64) -> MeasuredPoint {
    MeasuredPoint {
        name: name.into(),
        steps: 0,
        bytes,
        edge_ns: edge_ms as f64 * 1e6,
        encode_ns: bytes as f64,
        tail_ns: tail_ms as f64 * 1e6,
    }
}

fn any_points() -> impl Strategy<Value = Vec<MeasuredPoint>> {
    let inner = prop::collection::vec((1..2_000_000u64, 0..3000u64, 0..500u64), 0..12);
    (inner, (1..2_000_000u64, 0..500u64), 0..5000u64).prop_map(|(inner, input, output)| {
        let mut points = vec![point("input", input.0, 0, input.1)];
        points.extend(
            inner.iter().enumerate().map(|(i, &(b, e, t))| point(&format!("conv{i}"), b, e, t)),
        );
        points.push(point("output", 0, output, 0));
        points
    })
}

fn any_environment() -> impl Strategy<Value = Environment> {
    (1e3..1e8f64, 0.0..1e5f64, 0.0..1e9f64, 0.0..4.0f64).prop_map(|(uplink, burst, rtt, load)| {
        Environment::new(uplink, rtt, load).unwrap().with_burst(burst).unwrap()
    })
}

/// The paper's accounting of AlexNet on its board (FACTS §1c): conv5 at 250 KB/s takes 0.36 s,
/// 1.7 times faster than sending the image.
#[test]
fn alexnet_is_cut_at_conv5_under_the_papers_uplink() {
    let points = [
        point("input", 154_587, 0, 4),
        point("conv1", 69_984, 100, 4),
        point("conv2", 43_264, 200, 3),
        point("conv3", 64_896, 240, 3),
        point("conv4", 64_896, 290, 3),
        point("conv5", 9_216, 320, 2),
        point("fc6", 4_096, 345, 1),
        point("fc7", 4_096, 355, 1),
        point("output", 0, 365, 0),
    ];
    let environment = Environment::of_uplink(250.0 * KIB).unwrap();
    for objective in Objective::ALL {
        let chosen = algorithm1(&points, &environment, objective).unwrap();
        assert_eq!(points[chosen].name, "conv5");
    }
    let total = |i: usize| predict(&points[i], &environment).total_ns / 1e9;
    assert!((total(5) - 0.36).abs() < 0.005, "{}", total(5));
    assert!((total(0) / total(5) - 1.7).abs() < 0.05, "{}", total(0) / total(5));
}

#[test]
fn a_slow_uplink_keeps_all_on_the_edge_and_a_fast_one_sends_the_input() {
    let chosen = |kib_per_s| plan(kib_per_s, Objective::Fastest).chosen;
    assert_eq!(chosen(1.0), "output");
    assert_eq!(chosen(100.0), "conv2");
    assert_eq!(chosen(400.0), "conv1");
    assert_eq!(chosen(10_000.0), "input");
    assert_eq!(plan(10_000.0, Objective::Best).chosen, "conv1");
}

#[test]
fn every_part_of_the_cost_counts() {
    let inner = point("conv1", 1000, 50, 10);
    let environment = Environment::new(1e4, 7e6, 0.5).unwrap();
    let predicted = predict(&inner, &environment);
    assert_eq!(predicted.edge_ns, 50e6);
    assert_eq!(predicted.encode_ns, 1000.0);
    assert_eq!(predicted.upload_ns, 100e6);
    assert_eq!(predicted.rtt_ns, 7e6);
    assert_eq!(predicted.cloud_ns, 15e6, "a load of one half makes a tail half as long again");
    assert_eq!(predicted.total_ns, 172_001_000.0);
    let behind_a_bucket = environment.with_burst(400.0).unwrap();
    assert_eq!(predict(&inner, &behind_a_bucket).upload_ns, 60e6, "the burst takes no time");
    let behind_a_bucket = environment.with_burst(4000.0).unwrap();
    assert_eq!(predict(&inner, &behind_a_bucket).upload_ns, 0.0);
    let alone = predict(&point("output", 0, 50, 10), &environment);
    assert_eq!(alone.total_ns, 50e6, "output needs neither link nor cloud");
}

#[test]
fn of_equal_points_the_shallowest_is_chosen() {
    let points = [
        point("input", 0, 9, 0),
        point("conv1", 0, 5, 3),
        point("conv2", 0, 6, 2),
        point("output", 0, 8, 0),
    ];
    let environment = Environment::of_uplink(1e6).unwrap();
    for objective in Objective::ALL {
        assert_eq!(algorithm1(&points, &environment, objective), Some(1));
    }
}

#[test]
fn where_only_the_input_can_be_sent_nothing_is_best() {
    let points = [point("input", 1, 0, 0)];
    let environment = Environment::of_uplink(1e6).unwrap();
    assert_eq!(algorithm1(&points, &environment, Objective::Best), None);
    assert_eq!(algorithm1(&points, &environment, Objective::Fastest), Some(0));
    let rows = &ROWS[..1];
    let best =
        Plan::new(&model(), ["input"], &edge(rows), &cloud(rows), environment, Objective::Best);
    assert!(best.unwrap_err().to_string().contains("cannot run on the edge"));
}

proptest! {
    #[test]
    fn the_chosen_point_is_the_least_by_brute_force(
        points in any_points(),
        environment in any_environment(),
    ) {
        for objective in Objective::ALL {
            let chosen = &points[algorithm1(&points, &environment, objective).unwrap()];
            prop_assert!(objective.admits(chosen));
            let least = predict(chosen, &environment).total_ns;
            for other in points.iter().filter(|p| objective == Objective::Fastest || p.name != "input") {
                prop_assert!(least <= predict(other, &environment).total_ns);
            }
        }
    }

    #[test]
    fn best_is_never_the_input(points in any_points(), environment in any_environment()) {
        let best = algorithm1(&points, &environment, Objective::Best).unwrap();
        prop_assert!(points[best].name != "input");
    }

    #[test]
    fn more_bandwidth_never_uploads_fewer_bytes(
        points in any_points(),
        slow in any_environment(),
        factor in 1.0..100.0f64,
    ) {
        let fast = Environment { uplink_bytes_per_s: slow.uplink_bytes_per_s * factor, ..slow };
        for objective in Objective::ALL {
            let bytes = |environment| points[algorithm1(&points, environment, objective).unwrap()].bytes;
            prop_assert!(bytes(&slow) <= bytes(&fast));
        }
    }

    #[test]
    fn more_bandwidth_never_takes_longer(points in any_points(), slow in any_environment()) {
        let fast = Environment { uplink_bytes_per_s: slow.uplink_bytes_per_s * 1.01, ..slow };
        for point in &points {
            prop_assert!(predict(point, &fast).total_ns <= predict(point, &slow).total_ns);
        }
    }
}
