//! Every figure of the paper that Seam reproduces, and every bound that the reconstruction obeys.

use seam_runtime::graph::{INPUT, OUTPUT};
use seam_tuner::modes::Place;

use super::cases::{CASES, Case, KB};
use super::figure::Figure;
use super::outcome::Outcome;
use super::points::{paper_bytes, points, reduction};
use super::{blocks, reconstructed, reconstruction, table3};
use crate::nets::{self, Net};

fn case(name: &str) -> (&'static Case, Net) {
    let found = CASES.iter().map(|case| (case, (case.net)())).find(|(_, net)| net.name == name);
    found.unwrap()
}

fn outcome(name: &str) -> Outcome {
    reconstructed(case(name).0).unwrap()
}

#[test]
fn table_1_has_thirteen_points_in_two_groups() {
    for block in ["3a", "4e", "5b"] {
        let before = match block {
            "3a" => "conv2".to_string(),
            "4e" => "inception_4d_output".into(),
            _ => "inception_5a_output".into(),
        };
        let places =
            blocks::block(&nets::googlenet(), &before, &format!("inception_{block}_output"));
        assert_eq!(places.len(), 13);
        let groups = blocks::groups(&places);
        assert_eq!(groups[0], ("INT8×1".to_string(), vec![1, 13]));
        assert_eq!(groups[1], ("INT8×4 or INT8×1+FP32×1".to_string(), (2..=12).collect()));
        assert_eq!(groups.len(), 2);
        assert!(places.iter().all(|p| !p.inside_shortcut));
    }
    let text = blocks::inception().text();
    assert!(text.contains("group 2: points 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 send"), "{text}");
}

#[test]
fn table_2_has_six_points_in_two_groups() {
    for block in ["2b", "3b", "4b", "5b"] {
        let before = format!("res{}a", &block[..1]);
        let places = blocks::block(&nets::resnet18(), &before, &format!("res{block}"));
        let groups = blocks::groups(&places);
        assert_eq!(groups[0], ("INT8×1".to_string(), vec![1, 5]));
        assert_eq!(groups[1], ("INT8×1+FP32×1".to_string(), vec![2, 3, 4, 6]));
        assert_eq!((places.len(), groups.len()), (6, 2));
    }
}

/// The points with one way to send one tensor are where the candidate rules refuse nothing.
#[test]
fn only_points_that_a_rule_refuses_send_more_than_one_tensor() {
    let one = |place: &Place| place.modes.iter().all(|mode| mode.to_string() == "INT8×1");
    let google = blocks::block(&nets::googlenet(), "conv2", "inception_3a_output");
    let residual = blocks::block(&nets::resnet18(), "res2a", "res2b");
    for place in google.iter().chain(&residual) {
        assert_eq!(one(place), !place.brother_branch && !place.inside_shortcut);
    }
}

#[test]
fn table_3_has_the_papers_bytes() {
    for (name, bytes, kb, whole, reduced) in [
        ("alexnet", 2_332_704, "2278", 60_954_656, "96.17"),
        ("vgg16", 38_592, "38", 138_344_128, "99.97"),
        ("resnet18", 1_606_336, "1569", 11_180_736, "85.63"),
        ("googlenet", 124_096, "121", 6_990_272, "98.22"),
    ] {
        let (case, net) = case(name);
        let points = points(&net);
        let at = |name: &str| points.iter().find(|point| point.name == name).unwrap();
        assert_eq!(paper_bytes(case, &net, at(case.point)), bytes, "{name}");
        assert_eq!(paper_bytes(case, &net, at(OUTPUT)), whole, "{name}");
        assert_eq!(format!("{:.0}", bytes as f64 / KB), kb);
        assert_eq!(format!("{:.2}", reduction(bytes, whole)), reduced);
        let outcome = outcome(name);
        assert_eq!((outcome.edge_bytes, outcome.whole_bytes), (bytes, whole), "{name}");
    }
    let outcomes: Vec<_> = CASES.iter().map(|case| reconstructed(case).unwrap()).collect();
    let table = table3(&outcomes);
    assert_eq!(table.cells("edge part, KB (paper accounting)"), ["2278", "38", "1569", "121"]);
    assert_eq!(table.cells("storage reduction, %"), ["96.17", "99.97", "85.63", "98.22"]);
    assert_eq!(table.cells("best point"), ["conv5", "conv1_2", "res4a", "conv2"]);
    assert_eq!(table.cells("fastest point"), ["conv5", "input", "res4a", "input"]);
    assert_eq!(table.cells("total at the best point, s"), ["0.36", "5.65", "1.86", "1.16"]);
    let speed_ups = table.cells("speed-up against cloud only");
    assert_eq!((&speed_ups[0][..], &speed_ups[2][..]), ("1.70×", "1.13×"));
    assert!(speed_ups[1].starts_with("<1×") && speed_ups[3].starts_with("<1×"), "{speed_ups:?}");
    assert!(table.title.contains("reconstruction"));
}

#[test]
fn the_planner_finds_the_papers_points_times_and_speed_ups() {
    for (name, best, fastest, total, digits, speed_up) in [
        ("alexnet", "conv5", "conv5", "0.36", 1, Some("1.7")),
        ("vgg16", "conv1_2", "input", "5.65", 2, None),
        ("resnet18", "res4a", "res4a", "1.86", 2, Some("1.13")),
        ("googlenet", "conv2", "input", "1.16", 2, None),
    ] {
        let outcome = outcome(name);
        assert_eq!((outcome.best(), &outcome.plan.fastest[..]), (best, fastest), "{name}");
        assert_eq!(format!("{:.2}", outcome.total_s(best)), total, "{name}");
        match speed_up {
            Some(expected) => assert_eq!(format!("{:.digits$}", outcome.speed_up()), expected),
            None => assert!(outcome.speed_up() < 1.0, "{name}"),
        }
    }
}

/// That a point is not the best one bounds the edge's time there from below; the bound is made for
/// every candidate and for `output`.
#[test]
fn the_reconstruction_obeys_every_bound_that_the_papers_totals_imply() {
    let mut bounds = 0;
    for case in &CASES {
        let net = (case.net)();
        let (edge, cloud) = reconstruction::profiles(case, &net);
        let total = outcome(net.name).total_s(case.point);
        for point in edge.points.iter().filter(|p| p.name != INPUT && p.name != case.point) {
            let tail = cloud.points.iter().find(|tail| tail.name == point.name);
            let tail_s = tail.map_or(0.0, |tail| tail.tail_ns.p50 / 1e9);
            assert_eq!(tail.is_none(), point.name == OUTPUT);
            let bound = total - point.raw_bytes as f64 / case.uplink() - tail_s;
            let edge_s = point.edge_ns.p50 / 1e9;
            assert!(edge_s > bound, "{} {}: {edge_s} against {bound}", net.name, point.name);
            bounds += 1;
        }
    }
    // All candidates of the four networks but the best ones, and `output` of each.
    assert_eq!(bounds, (7 + 15 + 9 + 12) - 4 + 4);
}

/// The same bounds in the numbers that they come to.
#[test]
fn the_reconstruction_obeys_the_bounds_in_seconds() {
    for (name, bounds) in [
        ("alexnet", &[("fc6", 0.34), ("conv1", 0.36 - 0.273)][..]),
        ("vgg16", &[("conv2_2", 4.02), ("conv3_3", 4.83), ("conv4_3", 5.24), ("conv5_3", 5.54)]),
        (
            "resnet18",
            &[("res3a", 0.46), ("res3b", 0.46), ("res5a", 1.51), ("res5b", 1.85), (OUTPUT, 1.86)],
        ),
        (
            "googlenet",
            &[("conv1", 0.07), ("inception_3b_output", 0.65), ("inception_4e_output", 0.94)],
        ),
    ] {
        let plan = outcome(name).plan;
        for (point, bound) in bounds {
            let edge_s = plan.point(point).unwrap().predicted.edge_ns / 1e9;
            assert!(edge_s > *bound, "{name} {point}: {edge_s}");
        }
    }
}

#[test]
fn the_reconstruction_is_a_plausible_profile() {
    for case in &CASES {
        let net = (case.net)();
        let (edge, cloud) = reconstruction::profiles(case, &net);
        let named = |name: &str| edge.points.iter().find(|p| p.name == name).unwrap();
        // In depth, the edge's part grows and the cloud's shrinks.
        assert!(edge.points.windows(2).all(|p| p[0].edge_ns.p50 < p[1].edge_ns.p50));
        assert!(cloud.points.windows(2).all(|p| p[0].tail_ns.p50 > p[1].tail_ns.p50));
        assert!(cloud.points.iter().all(|p| p.tail_ns.p50 < 10e6), "a few milliseconds");
        // gemmlowp with im2col on that board, as Table 3 implies it.
        let rate = |name: &str| {
            let edge_part = points(&net).into_iter().find(|p| p.name == name).unwrap().edge;
            let macs: u64 = edge_part.iter().map(|&i| net.macs(i)).sum();
            macs as f64 / named(name).edge_ns.p50
        };
        let at = rate(case.point);
        assert!((0.8..2.1).contains(&at), "{} {at} GMAC/s", net.name);
        // No convolution faster than the board's eight NEON lanes allow, none slower than half.
        for step in edge.steps.iter().filter(|step| step.work.kind == "Conv") {
            let gmacs_per_s = step.work.macs as f64 / step.ns.p50;
            assert!((0.4..3.0).contains(&gmacs_per_s), "{} {gmacs_per_s}", step.name);
        }
        // What is written is what a reader of profiles takes.
        let read = seam_tuner::Profile::from_json(edge.to_json().as_bytes()).unwrap();
        assert_eq!(read, edge);
        let read = seam_tuner::CloudProfile::from_json(cloud.to_json().as_bytes()).unwrap();
        assert_eq!(read, cloud);
        assert!(
            edge.device.cpu.contains("not measured") && cloud.device.cpu.contains("not measured")
        );
    }
}

/// Where the paper says that the cloud alone is faster, it is, at the paper's uplinks.
#[test]
fn vgg16_and_googlenet_never_beat_the_cloud_alone() {
    for name in ["vgg16", "googlenet"] {
        let outcome = outcome(name);
        assert!(outcome.total_s(outcome.papers_point) > outcome.total_s(INPUT), "{name}");
        assert_eq!(outcome.plan.fastest, INPUT);
        assert_ne!(outcome.plan.best.as_deref(), Some(INPUT), "best keeps the image on the board");
    }
}

#[test]
fn figure_3_has_a_bar_for_every_alexnet_point_and_its_stars() {
    let outcome = outcome("alexnet");
    let figure = Figure { name: "figure3", title: "AlexNet <3".into(), plan: &outcome.plan };
    let svg = figure.svg();
    for (class, count) in [("edge", 9 + 1), ("upload", 9 + 1), ("cloud", 9 + 1)] {
        let found = svg.matches(&format!("<rect class=\"{class}\"")).count();
        assert_eq!(found, count, "nine points and the legend: {class}");
    }
    for (class, count) in [("best", 2), ("fastest", 2)] {
        let found = svg.matches(&format!("<path class=\"{class}\"")).count();
        assert_eq!(found, count, "one point and the legend: {class}");
    }
    assert!(svg.contains("AlexNet &lt;3") && !svg.contains("http://www.w3.org/1999"));
    let text = figure.text();
    let conv5 = text.lines().find(|line| line.starts_with("conv5")).unwrap();
    assert!(conv5.ends_with("0.356 s ☆ ★"), "{text}");
    // Bars are as long as their times.
    let length = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.chars().filter(|c| "█▒░".contains(*c)).count() as f64
    };
    let ratio = outcome.total_s(INPUT) / outcome.total_s("conv5");
    assert!((length("input") / length("conv5") - ratio).abs() < 0.1, "{text}");
}
