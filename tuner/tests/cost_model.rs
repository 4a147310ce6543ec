//! Cost models: coefficients by non-negative least squares, times of steps that were not profiled,
//! and profiles completed by them.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use seam_kernels::Isa;
use seam_runtime::{Codec, Model, Options, Session};
use seam_tuner::measure::{self, Effort};
use seam_tuner::nnls::nnls;
use seam_tuner::profile::{CodecEncoding, ModelRef, StepProfile, TailProfile, Times};
use seam_tuner::{
    CloudProfile, CostModel, Environment, Error, Objective, Outline, Plan, Profile, Request, Work,
    estimate,
};

mod common;
use common::{ROWS, convolutions};

/// The least squares by every support: the optimum's own is among them, and no feasible one is
/// better.
fn by_supports<const N: usize>(rows: &[[f64; N]], targets: &[f64]) -> f64 {
    let feasible = (0u32..1 << N).filter_map(|support| {
        let columns: Vec<usize> = (0..N).filter(|j| support >> j & 1 == 1).collect();
        let x = solve(rows, targets, &columns)?;
        x.iter().all(|&x| x >= 0.0).then(|| residual(rows, targets, &x))
    });
    feasible.fold(f64::INFINITY, f64::min)
}

/// Unconstrained least squares in some columns by Gauss's elimination with pivots.
fn solve<const N: usize>(
    rows: &[[f64; N]],
    targets: &[f64],
    columns: &[usize],
) -> Option<[f64; N]> {
    let n = columns.len();
    let mut a = vec![vec![0.0; n + 1]; n];
    for (row, target) in rows.iter().zip(targets) {
        for (i, &j) in columns.iter().enumerate() {
            columns.iter().enumerate().for_each(|(k, &l)| a[i][k] += row[j] * row[l]);
            a[i][n] += row[j] * target;
        }
    }
    for i in 0..n {
        let pivot = (i..n).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs()))?;
        a.swap(i, pivot);
        if a[i][i].abs() < 1e-9 {
            return None;
        }
        for k in (0..n).filter(|&k| k != i) {
            let factor = a[k][i] / a[i][i];
            (i..=n).for_each(|l| a[k][l] -= factor * a[i][l]);
        }
    }
    let mut x = [0.0; N];
    columns.iter().enumerate().for_each(|(i, &j)| x[j] = a[i][n] / a[i][i]);
    Some(x)
}

fn residual<const N: usize>(rows: &[[f64; N]], targets: &[f64], x: &[f64; N]) -> f64 {
    let at = |row: &[f64; N]| row.iter().zip(x).map(|(a, x)| a * x).sum::<f64>();
    rows.iter().zip(targets).map(|(row, target)| (at(row) - target).powi(2)).sum()
}

/// Columns that have much in common, as the features of steps have: their free solutions are often
/// negative.
fn system() -> impl Strategy<Value = (Vec<[f64; 4]>, Vec<f64>)> {
    let row = [0.0..3.0f64, 0.0..3.0f64, 0.0..3.0f64, 1.0..1.5f64];
    prop::collection::vec((row, -1.0..5.0f64), 4..16).prop_map(|rows| rows.into_iter().unzip())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_solution_is_found_as_it_was_hidden(
        (rows, _) in system(),
        hidden in [0.0..5.0f64, 0.0..5.0f64, 0.0..5.0f64, 0.0..5.0f64],
    ) {
        let targets: Vec<f64> =
            rows.iter().map(|row| row.iter().zip(hidden).map(|(a, x)| a * x).sum()).collect();
        let found = nnls(&rows, &targets);
        let scale: f64 = targets.iter().map(|t| t * t).sum();
        prop_assert!(residual(&rows, &targets, &found) <= 1e-12 * scale.max(1e-12), "{found:?}");
    }

    #[test]
    fn no_other_non_negative_solution_is_better((rows, targets) in system()) {
        let x = nnls(&rows, &targets);
        prop_assert!(x.iter().all(|&x| x >= 0.0), "{x:?}");
        let (found, least) = (residual(&rows, &targets, &x), by_supports(&rows, &targets));
        prop_assert!(found <= least * (1.0 + 1e-6) + 1e-9, "{found} against {least}");
        // Karush, Kuhn and Tucker: no coefficient at 0 would gain by growing, none above 0 at all.
        for j in 0..4 {
            let gain: f64 = rows.iter().zip(&targets).map(|(row, target)| {
                row[j] * (target - row.iter().zip(x).map(|(a, x)| a * x).sum::<f64>())
            }).sum();
            prop_assert!(if x[j] > 0.0 { gain.abs() < 1e-6 } else { gain < 1e-6 }, "{j}: {gain}");
        }
    }
}

#[test]
fn columns_that_say_the_same_or_nothing_do_no_harm() {
    let rows = [[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [3.0, 6.0, 0.0]];
    let x = nnls(&rows, &[5.0, 10.0, 15.0]);
    assert!((x[0] + 2.0 * x[1] - 5.0).abs() < 1e-9 && x[2] == 0.0, "{x:?}");
    assert_eq!(nnls(&rows, &[-1.0, -2.0, -3.0]), [0.0; 3]);
    assert_eq!(nnls::<2>(&[], &[]), [0.0; 2]);
}

/// What a made-up board takes: 10 µs a million multiplications, 100 ns a KiB of activations, 5 µs.
fn truth(work: &Work) -> f64 {
    0.01 * work.macs as f64 + work.activation_bytes as f64 / 10.24 + 5000.0
}

fn step(i: u64, kind: &str, kernel: &str) -> StepProfile {
    let work = Work {
        kind: kind.into(),
        macs: 1_000_000 * (i * i % 17 + 1),
        weight_bytes: 1024 * (i * 7 % 5),
        activation_bytes: 4096 * (i * 3 % 11 + 1),
        tiles: 10 * (i % 4),
        ..Work::default()
    };
    StepProfile {
        name: format!("step{i}"),
        layer: format!("step{i}"),
        kernel: kernel.into(),
        ns: Times::exactly(truth(&work)),
        work,
    }
}

/// A profile of a network of its own on the made-up board.
fn profile(network: u8, steps: std::ops::Range<u64>) -> Profile {
    let steps = steps.map(|i| step(i, "conv", "direct")).collect();
    let model = ModelRef::new(&format!("net{network}"), &[network; 32]);
    Profile { model, steps, ..common::edge(&ROWS) }
}

#[test]
fn a_linear_board_is_estimated_exactly() {
    let profiles = [profile(1, 0..12), profile(2, 12..30)];
    let cost = CostModel::fit(&profiles).unwrap();
    let unseen = step(77, "conv", "direct").work;
    let estimate = cost.estimate(&unseen);
    assert_eq!(estimate.kernel, "direct");
    assert!((estimate.ns / truth(&unseen) - 1.0).abs() < 1e-6, "{estimate:?}");
    let held_out = cost.held_out();
    assert!(held_out.by_network && held_out.worst() < 1e-6, "{held_out:?}");
    let names: Vec<&str> = held_out.networks.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["net1", "net2"]);
    assert_eq!(cost.fitted_from(), [profiles[0].sha256(), profiles[1].sha256()]);
}

/// Twice the time in one network is an error of one half when the other is fitted, and of 100% the
/// other way round: what is left out is not seen.
#[test]
fn the_held_out_error_is_of_networks_that_were_not_fitted() {
    let mut slow = profile(2, 12..30);
    for step in &mut slow.steps {
        step.ns = Times::exactly(2.0 * step.ns.p50);
    }
    let cost = CostModel::fit(&[profile(1, 0..12), slow]).unwrap();
    let errors: Vec<f64> = cost.held_out().networks.iter().map(|n| n.error).collect();
    assert!((errors[0] - 1.0).abs() < 1e-6 && (errors[1] + 0.5).abs() < 1e-6, "{errors:?}");
    assert!((cost.held_out().median() - 0.75).abs() < 1e-6);
    assert!((cost.held_out().worst() - 1.0).abs() < 1e-6);

    let alone = CostModel::fit(&[profile(1, 0..30)]).unwrap();
    assert!(!alone.held_out().by_network && alone.held_out().worst() < 1e-6);
}

#[test]
fn each_kernel_has_its_own_coefficients_and_few_steps_go_by_the_operator() {
    let mut profile = profile(1, 0..12);
    for i in 0..12 {
        let mut winograd = step(i, "conv", "winograd");
        winograd.work.window = "3x3".into();
        winograd.ns = Times::exactly(winograd.ns.p50 / 4.0);
        profile.steps.push(winograd);
    }
    profile.steps.push(step(50, "pool", "pool"));
    let cost = CostModel::fit([&profile]).unwrap();
    let of = |kind: &str, window: &str| {
        let work = Work { window: window.into(), ..step(40, kind, "").work };
        let estimate = cost.estimate(&work);
        (estimate.kernel, estimate.ns / truth(&work))
    };
    let close = |(kernel, part): (String, f64), expected: &str, of: f64| {
        assert!(kernel == expected && (part / of - 1.0).abs() < 1e-6, "{kernel} {part}");
    };
    close(of("conv", ""), "direct", 1.0);
    close(of("conv", "3x3"), "winograd", 0.25);
    assert_eq!(of("pool", "").0, "pool");
    // An operator that nobody has profiled: a time, by all steps together.
    let (kernel, part) = of("lrn", "");
    assert!(kernel.is_empty() && part > 0.0, "{kernel} {part}");
    let classes: Vec<[&str; 2]> = cost.classes().iter().map(|c| c.class.words()).collect();
    assert_eq!(
        classes,
        [["", ""], ["conv", ""], ["conv", "direct"], ["conv", "winograd"], ["pool", ""]]
    );
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    assert!(matches!(CostModel::fit([]), Err(Error::NothingToFit)));
    let mut estimated = profile(1, 0..3);
    for step in &mut estimated.steps {
        step.ns.estimated = true;
    }
    assert!(matches!(CostModel::fit([&estimated]), Err(Error::NothingToFit)));
    let mut other = profile(2, 0..3);
    other.device.threads = 4;
    let error = CostModel::fit([&profile(1, 0..3), &other]).unwrap_err();
    assert!(matches!(error, Error::SeveralDevices(_)));
    assert!(error.to_string().contains("4 threads, not"), "{error}");
}

/// The measured profile of `model` on this machine.
fn measured(model: Model) -> Profile {
    let effort = Effort { warm_up: 1, target: 0.5, cap: Duration::from_millis(200) };
    let mut session = Session::new(Arc::new(model), Options::new(Isa::best())).unwrap();
    measure::profile(&mut session, &effort, |_| ())
}

fn prefix(bytes: &[u8], point: &str) -> Model {
    let whole = Model::from_bytes(bytes.to_vec()).unwrap();
    let len = whole.prefix_len(whole.point(point).unwrap()) as usize;
    Model::from_bytes(bytes[..len].to_vec()).unwrap()
}

#[test]
fn a_prefixs_profile_is_completed_by_estimates_that_say_so() {
    let bytes = convolutions(3);
    let whole = Model::from_bytes(bytes.clone()).unwrap();
    let measured = measured(prefix(&bytes, "conv1"));
    let completed = estimate::edge(&whole, Some(&measured), &[]).unwrap();
    let flags: Vec<(&str, bool)> =
        completed.points.iter().map(|p| (p.name.as_str(), p.edge_ns.estimated)).collect();
    let expected = [("input", false), ("conv1", false), ("conv2", true), ("output", true)];
    assert_eq!(flags, expected);
    assert_eq!(completed.points[1], measured.points[1], "what was measured stays");
    assert_eq!(completed.steps[0], measured.steps[0]);
    assert!(completed.steps[1..].iter().all(|step| step.ns.estimated && step.ns.p50 > 0.0));
    assert!(completed.points.is_sorted_by(|a, b| a.edge_ns.p50 < b.edge_ns.p50));
    assert_eq!(completed.fitted_from, [measured.sha256()]);
    assert_eq!(Profile::from_json(completed.to_json().as_bytes()).unwrap(), completed);

    // Bytes are no estimates: they are what a profile of all of it says.
    let all = self::measured(whole);
    for (estimated, measured) in completed.points.iter().zip(&all.points) {
        let row = |p: &seam_tuner::profile::PointProfile| {
            (p.steps, p.boundary.clone(), p.raw_bytes, p.frame_bytes)
        };
        assert_eq!(row(estimated), row(measured));
    }
    for (estimated, measured) in completed.steps.iter().zip(&all.steps) {
        assert_eq!((&estimated.name, &estimated.work), (&measured.name, &measured.work));
    }
}

#[test]
fn a_whole_profile_is_left_as_it_is() {
    let model = Model::from_bytes(convolutions(3)).unwrap();
    let whole = measured(Model::from_bytes(convolutions(3)).unwrap());
    assert_eq!(estimate::edge(&model, Some(&whole), &[profile(1, 0..5)]).unwrap(), whole);
}

#[test]
fn a_network_that_never_ran_is_estimated_from_others() {
    let model = Model::from_bytes(convolutions(3)).unwrap();
    let profiles = [profile(1, 0..12), profile(2, 12..30)];
    let estimated = estimate::edge(&model, None, &profiles).unwrap();
    assert_eq!(estimated.model.sha256, model.id_hex());
    let of_steps: f64 = (0..3).map(|i| truth(&Work::of(&model, i))).sum();
    let total = estimated.total;
    assert!(total.estimated && (total.p50 / of_steps - 1.0).abs() < 1e-3, "{total:?}");
    assert_eq!(estimated.points.len(), 4);
    assert!(!estimated.points[0].edge_ns.estimated, "nothing runs before the input");
    assert_eq!(estimated.fitted_from.len(), 2);
    assert_eq!(Profile::from_json(estimated.to_json().as_bytes()).unwrap(), estimated);
    assert!(matches!(estimate::edge(&model, None, &[]), Err(Error::NothingToFit)));
}

#[test]
fn a_profile_that_contradicts_the_model_is_refused() {
    let model = Model::from_bytes(convolutions(3)).unwrap();
    let good = measured(prefix(&convolutions(3), "conv2"));
    let mut other = good.clone();
    other.model = common::model();
    assert!(matches!(estimate::edge(&model, Some(&other), &[]), Err(Error::OtherModel { .. })));
    let mut shifted = good;
    shifted.points[1].steps = 2;
    let error = estimate::edge(&model, Some(&shifted), &[]).unwrap_err();
    assert!(matches!(error, Error::Nonsense { .. }));
    assert!(error.to_string().contains("conv1"), "{error}");
}

/// Tails of a made-up host: 1 ns a multiplication that is left, and 3 µs.
fn cloud(model: &Model, names: &[&'static str]) -> CloudProfile {
    let graph = model.graph();
    let tail = |&name: &&str| {
        let from = graph.steps_before(graph.point(name).unwrap());
        let left: u64 = (from..graph.steps.len()).map(|i| Work::of(model, i).macs).sum();
        TailProfile {
            name: name.into(),
            tail_ns: Times::exactly(left as f64 + 3000.0),
            codecs: Vec::new(),
        }
    };
    let points = names.iter().map(tail).collect();
    let model = ModelRef::new(&graph.name, &model.id());
    CloudProfile { model, points, ..common::cloud(&ROWS) }
}

#[test]
fn tails_that_nobody_timed_are_estimated_from_the_others() {
    let model = Model::from_bytes(convolutions(6)).unwrap();
    let all = cloud(&model, &["input", "conv1", "conv2", "conv3", "conv4", "conv5"]);
    assert_eq!(estimate::cloud(&model, &all).unwrap(), all);
    let part = cloud(&model, &["input", "conv1", "conv2", "conv5"]);
    let completed = estimate::cloud(&model, &part).unwrap();
    for (found, expected) in completed.points.iter().zip(&all.points) {
        let estimated = ["conv3", "conv4"].contains(&found.name.as_str());
        assert_eq!((&found.name, found.tail_ns.estimated), (&expected.name, estimated));
        let off = found.tail_ns.p50 / expected.tail_ns.p50 - 1.0;
        assert!(off.abs() < 0.05, "{}: {off}", found.name);
    }
    let one = cloud(&model, &["input"]);
    let error = estimate::cloud(&model, &one).unwrap_err();
    assert!(matches!(error, Error::MissingPoint { .. }) && error.to_string().contains("conv1"));
}

#[test]
fn a_plan_marks_estimates_and_warns_of_them_and_of_other_versions() {
    let model = Model::from_bytes(convolutions(3)).unwrap();
    let mut measured = measured(prefix(&convolutions(3), "conv1"));
    measured.method.met = true;
    let plan = |edge: &Profile, cloud: &CloudProfile| {
        let outline = Outline::of(&model).unwrap();
        let environment = Environment::of_uplink(1e6).unwrap();
        Plan::new(&Request::new(&outline, edge, cloud, environment, Objective::Best)).unwrap()
    };
    let completed = estimate::edge(&model, Some(&measured), &[]).unwrap();
    let tails = cloud(&model, &["input", "conv1", "conv2"]);
    let estimated = plan(&completed, &tails);
    assert!(!estimated.point("conv1").unwrap().estimated);
    assert!(estimated.point("conv2").unwrap().estimated);
    let table = estimated.to_string();
    let marked = table.lines().filter(|line| line.ends_with("estimated")).count();
    assert_eq!(marked, 2, "{table}");
    let [warning] = &estimated.warnings[..] else { panic!("{:?}", estimated.warnings) };
    assert!(warning.contains("2 points") && warning.contains("conv2"), "{warning}");
    assert_eq!(estimated.inputs.fitted_from, [measured.sha256()]);
    assert_eq!(Plan::from_json(estimated.to_json().as_bytes()).unwrap(), estimated);

    let (codec, encode_ns) = (Codec::Zstd, Times::exactly(1e4));
    measured.points[1].codecs = vec![CodecEncoding { codec, bytes: 100, encode_ns }];
    let coded = plan(&estimate::edge(&model, Some(&measured), &[]).unwrap(), &tails);
    assert_eq!(coded.warnings.len(), 2, "{:?}", coded.warnings);
    assert!(coded.warnings[1].starts_with("boundaries from conv2 on are planned to cross raw"));

    let mut whole = self::measured(Model::from_bytes(convolutions(3)).unwrap());
    whole.method.met = true;
    let plain = plan(&whole, &tails);
    assert!(plain.warnings.is_empty() && !plain.to_json().contains("estimated"));
    assert_eq!(plain.device, whole.device);

    whole.seam_version = "0.0.1".into();
    whole.method.met = false;
    let warnings = plan(&whole, &CloudProfile { seam_version: "9.9.9".into(), ..tails }).warnings;
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].contains("edge") && warnings[0].contains("0.0.1"), "{warnings:?}");
    assert!(warnings[1].contains("cloud") && warnings[1].contains("9.9.9"), "{warnings:?}");
    assert!(warnings[2].contains("known to"), "{warnings:?}");
    assert!(warnings.iter().all(|line| !line.contains('\n')));
}
