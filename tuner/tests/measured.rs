//! Profiles and choices of kernels measured with a real session.

use std::sync::Arc;
use std::time::Duration;

use seam_kernels::Isa;
use seam_runtime::graph::TensorId;
use seam_runtime::{Model, Options, Pack, Session};
use seam_tuner::choose::choose;
use seam_tuner::measure::{Effort, profile, sustain};
use seam_tuner::{CloudProfile, Environment, Objective, Outline, Plan, Profile, Request};

mod common;
use common::convolutions;

const EFFORT: Effort = Effort { warm_up: 1, target: 0.5, cap: Duration::from_millis(200) };

fn measured(model: Model) -> Profile {
    let mut session = Session::new(Arc::new(model), Options::new(Isa::best())).unwrap();
    profile(&mut session, &EFFORT, |part| assert!((0.0..=1.0).contains(&part)))
}

#[test]
fn a_measured_profile_is_one_that_the_reader_accepts() {
    let model = Model::from_bytes(convolutions(3)).unwrap();
    let id = model.id_hex();
    let profile = measured(model);
    assert_eq!(Profile::from_json(profile.to_json().as_bytes()).unwrap(), profile);
    assert_eq!((profile.model.name.as_str(), profile.model.sha256), ("net", id));
    assert_eq!(profile.device.isa, Isa::best().name());
    let macs: Vec<u64> = profile.steps.iter().map(|step| step.work.macs).collect();
    assert_eq!(macs, [256 * 8 * 27, 256 * 8 * 72, 256 * 8 * 72]);
    assert!(profile.steps.iter().all(|step| step.ns.min > 0.0 && step.work.kind == "conv"));
}

#[test]
fn a_busy_board_is_told_of_minute_by_minute() {
    let model = Arc::new(Model::from_bytes(convolutions(3)).unwrap());
    let mut session = Session::new(model, Options::new(Isa::best())).unwrap();
    let mut told = 0.0;
    let minutes = sustain(&mut session, 3, Duration::from_millis(20), |part| {
        assert!((told..=1.0).contains(&part), "progress goes on");
        told = part;
    });
    assert_eq!((minutes.len(), told), (3, 1.0));
    assert!(minutes.iter().all(|minute| minute.runs > 0 && minute.p50 > 0.0));
    let profile = profile(&mut session, &EFFORT, |_| ());
    let profile = Profile { sustained: minutes, ..profile };
    assert_eq!(Profile::from_json(profile.to_json().as_bytes()).unwrap(), profile);
    assert!(sustain(&mut session, 0, Duration::ZERO, |_| ()).is_empty());
}

#[test]
fn every_point_has_its_boundary_and_the_time_of_the_steps_before_it() {
    let profile = measured(Model::from_bytes(convolutions(3)).unwrap());
    let point = |i: usize| &profile.points[i];
    let names: Vec<&str> = profile.points.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["input", "conv1", "conv2", "output"]);
    let raw: Vec<u64> = profile.points.iter().map(|p| p.raw_bytes).collect();
    assert_eq!(raw, [256 * 3, 256 * 8, 256 * 8, 0]);
    assert_eq!(
        (point(1).boundary[0].name.as_str(), point(1).boundary[0].shape),
        ("a", [16, 16, 8])
    );
    assert!(point(0).frame_bytes > point(0).raw_bytes, "the request's JSON crosses too");
    assert_eq!(point(0).edge_ns.p50, 0.0);
    for i in 1..4 {
        assert_eq!(point(i).steps, i as u32);
        assert!(point(i).edge_ns.min > point(i - 1).edge_ns.min);
    }
    assert!(point(3).edge_ns.p50 <= profile.total.p50);
}

#[test]
fn a_prefix_is_profiled_as_far_as_it_reaches_and_can_be_planned_for() {
    let bytes = convolutions(3);
    let whole = Model::from_bytes(bytes.clone()).unwrap();
    let len = whole.prefix_len(whole.point("conv1").unwrap()) as usize;
    let prefix = Model::from_bytes(bytes[..len].to_vec()).unwrap();
    let outline = Outline::of(&prefix).unwrap();
    assert_eq!(outline.names().collect::<Vec<_>>(), ["input", "conv1"]);
    let profile = measured(prefix);
    assert_eq!(profile.steps.len(), 1);
    assert_eq!(profile.points.len(), 2);
    assert_eq!(profile.model.sha256, whole.id_hex(), "every prefix is of the same model");

    let rows = [("input", 1, 0.0, 1.0), ("conv1", 1, 0.0, 0.5)];
    let cloud = CloudProfile { model: profile.model.clone(), ..common::cloud(&rows) };
    let environment = Environment::of_uplink(1e6).unwrap();
    let plan = |outline: &Outline| {
        Plan::new(&Request::new(outline, &profile, &cloud, environment, Objective::Best))
    };
    assert_eq!(plan(&outline).unwrap().chosen, "conv1");
    let whole = Outline::of(&whole).unwrap();
    assert!(plan(&whole).unwrap_err().to_string().contains("conv2"));
    assert_eq!(whole.up_to("conv1"), outline);
}

#[test]
fn chosen_kernels_are_fit_for_a_pack_and_give_the_same_bits() {
    let model = Arc::new(Model::from_bytes(convolutions(3)).unwrap());
    for isa in Isa::available() {
        let options = Options::new(isa);
        let mut told = 0.0;
        let won = choose(&model, &options, &EFFORT, |part| {
            assert!(part >= told, "progress goes on");
            told = part;
        })
        .unwrap();
        assert_eq!(told, 1.0);
        for won in &won {
            assert!(won.choice.algorithm != won.preferred && won.ns.p50 < won.preferred_ns.p50);
        }
        let choices: Vec<_> = won.into_iter().map(|won| won.choice).collect();

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.pack");
        Pack::write(&path, &model, isa, &choices).unwrap();
        let pack = Some(Arc::new(Pack::open(&path).unwrap()));
        let answer = |options: Options| {
            let mut session = Session::new(model.clone(), options).unwrap();
            session.input().iter_mut().zip(0..).for_each(|(code, i)| *code = (i * 7 % 256) as u8);
            session.run();
            session.tensor(TensorId(3)).data().to_vec()
        };
        assert_eq!(answer(Options { pack, ..options.clone() }), answer(options));
    }
}
