//! Profiles and choices of kernels measured with a real session.

use std::sync::Arc;
use std::time::Duration;

use seam_kernels::{ConvGeometry, Isa, Shape, Window};
use seam_runtime::graph::{Candidate, Element, Graph, Op, Step, StepData, Tensor, TensorId};
use seam_runtime::{Model, Options, Pack, Session, writer};
use seam_tuner::choose::choose;
use seam_tuner::measure::{Effort, profile};
use seam_tuner::{CloudProfile, CodecChoice, Environment, Objective, Plan, Profile};

mod common;

const EFFORT: Effort = Effort { warm_up: 1, target: 0.5, cap: Duration::from_millis(200) };

/// A 3×3 convolution of 3 to 8 channels and two of 8 to 8, on 16×16 pixels.
fn bytes() -> Vec<u8> {
    let shape = |c| Shape::new(16, 16, c);
    let tensor = |name: &str, c| Tensor {
        name: name.into(),
        shape: shape(c),
        element: Element::U8 { scale: 0.05, zero_point: 3 },
    };
    let names = ["conv1", "conv2", "conv3"];
    let step = |i: u32| Step {
        name: names[i as usize].into(),
        layer: i,
        inputs: vec![TensorId(i)],
        output: TensorId(i + 1),
        op: Op::Conv {
            geometry: ConvGeometry {
                input: shape(if i == 0 { 3 } else { 8 }),
                output: shape(8),
                window: Window { kernel: [3, 3], pad: [1, 1], ..Window::POINTWISE },
                groups: 1,
            },
            lo: 3,
            hi: 255,
        },
    };
    let candidate = |i: u32| Candidate {
        name: names[i as usize].into(),
        steps: i + 1,
        boundary: TensorId(i + 1),
    };
    let weights = |inputs: usize| StepData::Int8 {
        scales: vec![0.01; 8],
        bias: vec![5; 8],
        weights: (0..8 * 9 * inputs).map(|i| (i * 37 % 255) as u8 as i8 / 2).collect(),
    };
    let graph = Graph {
        name: "net".into(),
        preprocess: "resize:16,channels:RGB".parse().unwrap(),
        tensors: vec![tensor("data", 3), tensor("a", 8), tensor("b", 8), tensor("c", 8)],
        layers: names.map(String::from).into(),
        steps: (0..3).map(step).collect(),
        input: TensorId(0),
        output: Some(TensorId(3)),
        candidates: (0..2).map(candidate).collect(),
        stop: None,
    };
    writer::encode(&graph, &[weights(3), weights(8), weights(8)]).unwrap()
}

fn measured(model: Model) -> Profile {
    let mut session = Session::new(Arc::new(model), Options::new(Isa::best())).unwrap();
    profile(&mut session, &EFFORT, |part| assert!((0.0..=1.0).contains(&part)))
}

#[test]
fn a_measured_profile_is_one_that_the_reader_accepts() {
    let model = Model::from_bytes(bytes()).unwrap();
    let id = model.id_hex();
    let profile = measured(model);
    assert_eq!(Profile::from_json(profile.to_json().as_bytes()).unwrap(), profile);
    assert_eq!((profile.model.name.as_str(), profile.model.sha256), ("net", id));
    assert_eq!(profile.device.isa, Isa::best().name());
    let macs: Vec<u64> = profile.steps.iter().map(|step| step.macs).collect();
    assert_eq!(macs, [256 * 8 * 27, 256 * 8 * 72, 256 * 8 * 72]);
    assert!(profile.steps.iter().all(|step| step.ns.min > 0.0 && step.kind == "conv"));
}

#[test]
fn every_point_has_its_boundary_and_the_time_of_the_steps_before_it() {
    let profile = measured(Model::from_bytes(bytes()).unwrap());
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
    let bytes = bytes();
    let whole = Model::from_bytes(bytes.clone()).unwrap();
    let len = whole.prefix_len(whole.point("conv1").unwrap()) as usize;
    let profile = measured(Model::from_bytes(bytes[..len].to_vec()).unwrap());
    assert_eq!(profile.steps.len(), 1);
    assert_eq!(profile.points.len(), 2);
    assert_eq!(profile.model.sha256, whole.id_hex(), "every prefix is of the same model");

    let rows = [("input", 1, 0.0, 1.0), ("conv1", 1, 0.0, 0.5)];
    let cloud = CloudProfile { model: profile.model.clone(), ..common::cloud(&rows) };
    let environment = Environment::of_uplink(1e6).unwrap();
    let plan = |points: &[&'static str]| {
        let points = points.iter().copied();
        Plan::new(
            &profile.model,
            points,
            &profile,
            &cloud,
            environment,
            Objective::Best,
            CodecChoice::Auto,
        )
    };
    assert_eq!(plan(&["input", "conv1"]).unwrap().chosen, "conv1");
    assert!(plan(&["input", "conv1", "conv2"]).unwrap_err().to_string().contains("conv2"));
}

#[test]
fn chosen_kernels_are_fit_for_a_pack_and_give_the_same_bits() {
    let model = Arc::new(Model::from_bytes(bytes()).unwrap());
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
