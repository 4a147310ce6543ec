//! What Algorithm 1 promises of the point that it chooses.

use proptest::prelude::*;
use seam_runtime::Codec;
use seam_tuner::prediction::{MeasuredCodec, crossings, predict};
use seam_tuner::{
    CodecChoice, Constraints, Environment, MeasuredPoint, Objective, Plan, algorithm1,
};

mod common;
use common::ROWS;

const KIB: f64 = 1024.0;

fn plan(kib_per_s: f64, objective: Objective) -> Plan {
    let environment = Environment::of_uplink(kib_per_s * KIB).unwrap();
    common::plan(&ROWS, environment, objective, Constraints::default()).unwrap()
}

/// The objectives of total time.
const TIMES: [Objective; 2] = [Objective::Best, Objective::Fastest];

fn point(name: &str, bytes: u64, edge_ms: u64, tail_ms: u64) -> MeasuredPoint {
    MeasuredPoint {
        name: name.into(),
        // Deeper points take longer on the edge.
        steps: edge_ms as u32,
        bytes,
        edge_ns: edge_ms as f64 * 1e6,
        encode_ns: bytes as f64,
        tail_ns: tail_ms as f64 * 1e6,
        estimated: false,
        codecs: Vec::new(),
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

/// Points whose boundaries, but that of the output, may cross by codecs.
fn any_coded_points() -> impl Strategy<Value = Vec<MeasuredPoint>> {
    let codecs = (0.05..1.2f64, 0..200u64, 0..50u64);
    (any_points(), prop::collection::vec(codecs, Codec::ALL.len())).prop_map(|(points, codecs)| {
        let coded = |mut point: MeasuredPoint| {
            let codec = |(codec, &(ratio, encode_ms, decode_ms)): (Codec, &(f64, u64, u64))| {
                MeasuredCodec {
                    codec,
                    bytes: (point.bytes as f64 * ratio) as u64 + 1,
                    encode_ns: encode_ms as f64 * 1e6,
                    decode_ns: decode_ms as f64 * 1e6,
                }
            };
            if point.name != "output" {
                point.codecs = Codec::ALL.into_iter().zip(&codecs).map(codec).collect();
            }
            point
        };
        points.into_iter().map(coded).collect()
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
    for objective in TIMES {
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
fn a_codec_is_chosen_where_it_pays_with_its_time_on_both_sides() {
    let mut inner = point("conv1", 100_000, 50, 10);
    inner.codecs = vec![
        MeasuredCodec { codec: Codec::Zstd, bytes: 50_000, encode_ns: 1e6, decode_ns: 2e6 },
        MeasuredCodec { codec: Codec::Sparse, bytes: 40_000, encode_ns: 10e6, decode_ns: 4e6 },
    ];
    let at =
        |bytes_per_s, load| predict(&inner, &Environment::new(bytes_per_s, 7e6, load).unwrap());
    let slow = at(1e5, 0.5);
    assert_eq!((slow.codec, slow.bytes), (Some(Codec::Sparse), 40_000));
    assert_eq!((slow.encode_ns, slow.upload_ns, slow.decode_ns), (10e6, 400e6, 6e6));
    assert_eq!(slow.total_ns, 50e6 + 10e6 + 400e6 + 7e6 + 6e6 + 15e6);
    assert_eq!(at(5e6, 0.0).codec, Some(Codec::Zstd));
    let fast = at(1e9, 0.0);
    assert_eq!((fast.codec, fast.bytes, fast.decode_ns), (None, 100_000, 0.0));
    // Where the cloud is busy, what it need not decode is worth more.
    assert_eq!(at(5e6, 9.0).codec, None);
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
    for objective in TIMES {
        assert_eq!(algorithm1(&points, &environment, objective), Some(1));
    }
    let points = [point("input", 5, 0, 7), point("conv1", 0, 3, 7), point("conv2", 0, 5, 7)];
    assert_eq!(algorithm1(&points, &environment, Objective::Throughput), Some(0));
}

#[test]
fn where_only_the_input_can_be_sent_nothing_is_best() {
    let points = [point("input", 1, 0, 0)];
    let environment = Environment::of_uplink(1e6).unwrap();
    assert_eq!(algorithm1(&points, &environment, Objective::Best), None);
    assert_eq!(algorithm1(&points, &environment, Objective::Fastest), Some(0));
    let best = common::plan(&ROWS[..1], environment, Objective::Best, Constraints::default());
    assert!(best.unwrap_err().to_string().contains("cannot run on the edge"));
}

#[test]
fn the_least_download_keeps_the_input_on_the_board_whatever_it_takes() {
    for kib_per_s in [1.0, 10_000.0] {
        let plan = plan(kib_per_s, Objective::LeastDownload);
        assert_eq!(plan.chosen, "conv1");
        let mut downloads = plan.points.iter().map(|p| p.download_bytes);
        assert!(
            downloads.next() < plan.point("conv1").map(|p| p.download_bytes),
            "input needs none"
        );
    }
}

/// While the cloud works on one image, the next crosses the uplink: the longest of the stages
/// decides, not their sum.
#[test]
fn the_longest_stage_decides_how_many_images_a_second_go_through() {
    let points = [
        point("input", 100_000, 0, 90),
        point("conv1", 80_000, 70, 70),
        point("conv2", 60_000, 100, 5),
    ];
    let environment = Environment::of_uplink(1e6).unwrap();
    // Sums: 190, 220, 165 ms. Longest: 100, 80, 100 ms, the round trip in neither.
    let chosen = |environment, objective| {
        points[algorithm1(&points, &environment, objective).unwrap()].name.as_str()
    };
    assert_eq!(chosen(environment, Objective::Fastest), "conv2");
    assert_eq!(chosen(environment, Objective::Throughput), "conv1");
    let far = Environment { rtt_ns: 1e9, ..environment };
    assert_eq!(chosen(far, Objective::Throughput), "conv1");
    let busy = Environment { cloud_load: 9.0, ..environment };
    assert_eq!(chosen(busy, Objective::Throughput), "conv2", "the cloud is the longest stage");
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
            let value = |point: &MeasuredPoint| {
                let p = predict(point, &environment);
                match objective {
                    Objective::Best | Objective::Fastest => p.total_ns,
                    Objective::LeastDownload => f64::from(point.steps),
                    Objective::Throughput => {
                        (p.edge_ns + p.encode_ns).max(p.upload_ns).max(p.cloud_ns)
                    }
                }
            };
            let input = matches!(objective, Objective::Fastest | Objective::Throughput);
            for other in points.iter().filter(|p| input || p.name != "input") {
                prop_assert!(value(chosen) <= value(other));
            }
        }
    }

    #[test]
    fn a_point_takes_the_least_of_its_crossings(
        points in any_coded_points(),
        environment in any_environment(),
    ) {
        for point in &points {
            let chosen = predict(point, &environment);
            let all: Vec<_> = crossings(point, &environment).collect();
            prop_assert_eq!(all.len(), 1 + point.codecs.len());
            prop_assert!(all[0].codec.is_none() && all[0].bytes == point.bytes);
            prop_assert!(all.contains(&chosen));
            for one in &all {
                prop_assert!(chosen.total_ns <= one.total_ns);
            }
            let longest = Objective::Throughput.predict(point, &environment).longest_stage_ns();
            prop_assert!(all.iter().all(|one| longest <= one.longest_stage_ns()));
            let raw = CodecChoice::None.restrict(point.clone());
            prop_assert!(predict(&raw, &environment) == all[0]);
        }
    }

    #[test]
    fn best_is_never_the_input(points in any_points(), environment in any_environment()) {
        for objective in [Objective::Best, Objective::LeastDownload] {
            let chosen = algorithm1(&points, &environment, objective).unwrap();
            prop_assert!(points[chosen].name != "input");
        }
    }

    #[test]
    fn more_bandwidth_never_uploads_fewer_bytes(
        points in any_coded_points(),
        slow in any_environment(),
        factor in 1.0..100.0f64,
    ) {
        let fast = Environment { uplink_bytes_per_s: slow.uplink_bytes_per_s * factor, ..slow };
        for objective in TIMES {
            let bytes = |environment| {
                let chosen = &points[algorithm1(&points, environment, objective).unwrap()];
                predict(chosen, environment).bytes
            };
            prop_assert!(bytes(&slow) <= bytes(&fast));
        }
    }

    #[test]
    fn more_bandwidth_never_takes_longer(points in any_coded_points(), slow in any_environment()) {
        let fast = Environment { uplink_bytes_per_s: slow.uplink_bytes_per_s * 1.01, ..slow };
        for point in &points {
            prop_assert!(predict(point, &fast).total_ns <= predict(point, &slow).total_ns);
        }
    }
}
