//! The general cut of a model: equal to its points where it cuts at one, better where a block is
//! better cut inside, and bound by the same constraints.

use std::collections::BTreeSet;

use proptest::prelude::*;
use seam_kernels::{ConvGeometry, Shape, Window};
use seam_runtime::graph::{Candidate, Element, Graph, Op, Step, StepData, Tensor, TensorId};
use seam_runtime::{Codec, Model, writer};
use seam_tuner::constraints::{Pin, Side};
use seam_tuner::general::{GeneralCut, general_cut};
use seam_tuner::prediction::predict;
use seam_tuner::profile::{CloudProfile, CodecDecoding, CodecEncoding, Profile, Times};
use seam_tuner::{Constraints, Environment, Error, Objective, Outline, Plan, Request};

mod common;

/// `stem`, a block of the branches `left`, `right1` – `right2` and their concat `merge`, `head`.
/// Channels of the tensors: input 3, stem 64, left 4, right1 4, right2 4, merge 8, head 2.
fn model() -> Model {
    let shape = |c| Shape::new(8, 8, c);
    let tensors: Vec<Tensor> = [
        ("data", 3),
        ("stem", 64),
        ("left", 4),
        ("right1", 4),
        ("right2", 4),
        ("merge", 8),
        ("head", 2),
    ]
    .map(|(name, c)| Tensor {
        name: name.into(),
        shape: shape(c),
        element: Element::U8 { scale: 0.1, zero_point: 0 },
    })
    .into();
    let mut data = Vec::new();
    let mut step = |layer: u32, name: &str, inputs: &[u32], output: u32| {
        let (input, shape) = (tensors[inputs[0] as usize].shape, tensors[output as usize].shape);
        let (op, weights) = match inputs {
            [_] => {
                let window = Window::POINTWISE;
                let geometry = ConvGeometry { input, output: shape, window, groups: 1 };
                let (scales, bias) = (vec![0.1; shape.c], vec![0; shape.c]);
                let weights = vec![1; input.c * shape.c];
                (Op::Conv { geometry, lo: 0, hi: 255 }, StepData::Int8 { scales, bias, weights })
            }
            _ => (Op::Concat, StepData::None),
        };
        data.push(weights);
        Step {
            name: name.into(),
            layer,
            inputs: inputs.iter().copied().map(TensorId).collect(),
            output: TensorId(output),
            op,
        }
    };
    let steps = vec![
        step(0, "stem", &[0], 1),
        step(1, "left", &[1], 2),
        step(2, "right1", &[1], 3),
        step(3, "right2", &[3], 4),
        step(4, "merge", &[2, 4], 5),
        step(5, "head", &[5], 6),
    ];
    let candidate = |name: &str, steps, boundary| Candidate {
        name: name.into(),
        steps,
        boundary: TensorId(boundary),
    };
    let graph = Graph {
        name: "net".into(),
        preprocess: "resize:8,channels:RGB".parse().unwrap(),
        layers: ["stem", "left", "right1", "right2", "merge", "head"].map(String::from).into(),
        steps,
        input: TensorId(0),
        output: Some(TensorId(6)),
        candidates: vec![candidate("stem", 1, 1), candidate("merge", 5, 5)],
        tensors,
        stop: None,
    };
    Model::from_bytes(writer::encode(&graph, &data).unwrap()).unwrap()
}

const POINTS: [&str; 4] = ["input", "stem", "merge", "output"];
/// Steps before each point, and bytes of its boundary.
const STEPS: [u32; 4] = [0, 1, 5, 6];
const BYTES: [u64; 4] = [192, 4096, 512, 0];
/// Bytes of every frame beside its tensor.
const HEADER: u64 = 100;

/// Microseconds of each step on the edge, and of the tail behind each point.
type Cost = ([u32; 6], [u32; 3]);

fn profiles(model: &Model, (edge_us, tail_us): Cost) -> (Profile, CloudProfile) {
    let outline = Outline::of(model).unwrap();
    let rows = [("input", 1, 0.0, 0.0), ("output", 0, 0.0, 0.0)];
    let (mut edge, mut cloud) = (common::edge(&rows), common::cloud(&rows));
    edge.model = outline.model.clone();
    cloud.model = outline.model;
    let step = edge.steps[0].clone();
    // Powers of two: a spread by them shows which step got what.
    edge.steps = (0..6)
        .map(|i| {
            let ns = Times::exactly(f64::from(edge_us[i]) * 1e3);
            let work = seam_tuner::Work { macs: 1 << i, ..step.work.clone() };
            seam_tuner::profile::StepProfile { work, ns, ..step.clone() }
        })
        .collect();
    let point = edge.points[0].clone();
    edge.points = (0..4)
        .map(|i| {
            let ns: u32 = edge_us[..STEPS[i] as usize].iter().sum();
            let raw_bytes = BYTES[i];
            seam_tuner::profile::PointProfile {
                name: POINTS[i].into(),
                steps: STEPS[i],
                raw_bytes,
                frame_bytes: if raw_bytes > 0 { raw_bytes + HEADER } else { 0 },
                edge_ns: Times::exactly(f64::from(ns) * 1e3),
                encode_ns: Times::exactly(raw_bytes as f64 * 2.0),
                ..point.clone()
            }
        })
        .collect();
    cloud.points = (0..3)
        .map(|i| seam_tuner::profile::TailProfile {
            name: POINTS[i].into(),
            tail_ns: Times::exactly(f64::from(tail_us[i]) * 1e3),
            codecs: Vec::new(),
        })
        .collect();
    (edge, cloud)
}

/// Points with a codec: bytes that it leaves to cross, nanoseconds of encoding and decoding.
const CODED: [(usize, u64, f64, f64); 2] = [(1, 1500, 40_000.0, 9000.0), (2, 300, 9000.0, 2000.0)];

struct Case {
    model: Model,
    outline: Outline,
    edge: Profile,
    cloud: CloudProfile,
}

impl Case {
    fn new(cost: Cost) -> Case {
        let model = model();
        let (edge, cloud) = profiles(&model, cost);
        Case { outline: Outline::of(&model).unwrap(), model, edge, cloud }
    }

    /// [`Case::new`] with a codec at the points inside of the network.
    fn coded(cost: Cost) -> Case {
        let mut case = Case::new(cost);
        for (point, bytes, encode_ns, decode_ns) in CODED {
            let (codec, times) = (Codec::Zstd, Times::exactly);
            case.edge.points[point].codecs =
                vec![CodecEncoding { codec, bytes, encode_ns: times(encode_ns) }];
            case.cloud.points[point].codecs =
                vec![CodecDecoding { codec, decode_ns: times(decode_ns) }];
        }
        case
    }

    fn request(
        &self,
        environment: Environment,
        objective: Objective,
        constraints: Constraints,
    ) -> Request<'_> {
        let Case { outline, edge, cloud, .. } = self;
        let request = Request::new(outline, edge, cloud, environment, objective);
        Request { constraints, ..request }
    }

    fn cut(&self, request: &Request) -> Result<GeneralCut, Error> {
        general_cut(self.model.graph(), request)
    }
}

/// What an assignment takes, computed from the profiles anew; `None` if data would flow back.
fn cost(case: &Case, environment: &Environment, on_edge: &[bool; 6]) -> Option<f64> {
    let graph = case.model.graph();
    let measured = case.request(*environment, Objective::Fastest, Constraints::default());
    let at: Vec<_> = measured.measured().unwrap().iter().map(|p| predict(p, environment)).collect();
    let mut total = if on_edge.contains(&false) { environment.rtt_ns } else { 0.0 };
    for segment in 0..3 {
        let steps = STEPS[segment] as usize..STEPS[segment + 1] as usize;
        let macs: f64 = steps.clone().map(|i| (1u64 << i) as f64).sum();
        for i in steps {
            total += match on_edge[i] {
                true => case.edge.steps[i].ns.p50,
                false => {
                    let tail = at[segment].cloud_ns - at[segment + 1].cloud_ns;
                    tail * (1u64 << i) as f64 / macs
                }
            };
        }
    }
    for (id, tensor) in graph.tensors.iter().enumerate() {
        let id = TensorId(id as u32);
        let here = graph.steps.iter().position(|s| s.output == id).is_none_or(|i| on_edge[i]);
        let readers: BTreeSet<bool> =
            (0..6).filter(|&i| graph.steps[i].inputs.contains(&id)).map(|i| on_edge[i]).collect();
        if !here && readers.contains(&true) {
            return None;
        }
        if here && readers.contains(&false) {
            let (bytes, ns_per_byte) =
                (tensor.shape.len() as f64, 1e9 / environment.uplink_bytes_per_s);
            let raw = bytes * 2.0 + (bytes + HEADER as f64) * ns_per_byte;
            let coded = CODED.iter().filter(|&&(point, ..)| {
                graph.boundary(graph.point(POINTS[point]).unwrap()) == id
                    && !case.edge.points[point].codecs.is_empty()
            });
            let coded = coded.map(|&(_, bytes, encode_ns, decode_ns)| {
                let decode_ns = decode_ns * (1.0 + environment.cloud_load);
                encode_ns + decode_ns + bytes as f64 * ns_per_byte
            });
            total += coded.fold(raw, f64::min);
        }
    }
    Some(total)
}

fn assignments() -> impl Iterator<Item = [bool; 6]> {
    (0..64u32).map(|bits| std::array::from_fn(|i| bits >> i & 1 == 1))
}

fn any_cost() -> impl Strategy<Value = Cost> {
    let edge = prop::array::uniform6(1..5000u32);
    // Tails mostly fall with depth; where noise turned two round, that is kept.
    (edge, prop::array::uniform3(0..3000u32))
}

proptest! {
    #[test]
    fn it_is_the_least_of_all_assignments(
        costs in any_cost(),
        kib_per_s in 1.0..5000.0f64,
        rtt in 0.0..1e7f64,
        load in 0.0..2.0f64,
        coded in any::<bool>(),
    ) {
        let case = if coded { Case::coded(costs) } else { Case::new(costs) };
        let environment = Environment::new(kib_per_s * 1024.0, rtt, load).unwrap();
        for objective in [Objective::Fastest, Objective::Best] {
            let request = case.request(environment, objective, Constraints::default());
            let cut = case.cut(&request).unwrap();
            let allowed = |edge: &[bool; 6]| objective == Objective::Fastest || edge[0];
            let all = assignments().filter(allowed);
            let least = all.filter_map(|edge| cost(&case, &environment, &edge));
            let least = least.min_by(f64::total_cmp).unwrap();
            // Every price is rounded to a nanosecond.
            prop_assert!((cut.total_ns - least).abs() < 20.0, "{} {least}", cut.total_ns);
            let plan = Plan::new(&request).unwrap();
            let point = plan.point(&plan.chosen).unwrap().predicted.total_ns;
            prop_assert_eq!(cut.point_ns, Some(point));
            prop_assert!(cut.total_ns <= point + 20.0, "a point is a general cut too");
        }
    }

    /// Pinned to what runs at a point, the general cut takes what the plan says of that point.
    #[test]
    fn at_a_point_it_takes_what_the_plan_says(
        costs in any_cost(),
        kib_per_s in 1.0..5000.0f64,
        at in 0..4usize,
        coded in any::<bool>(),
    ) {
        let case = if coded { Case::coded(costs) } else { Case::new(costs) };
        let environment = Environment::new(kib_per_s * 1024.0, 3e6, 0.5).unwrap();
        let side = |i: usize| if i < STEPS[at] as usize { Side::Edge } else { Side::Cloud };
        let pins = case.outline.layers.iter().enumerate();
        let pins = pins.map(|(i, (layer, _))| Pin { layer: layer.clone(), side: side(i) });
        let constraints = Constraints { pins: pins.collect(), ..Constraints::default() };
        let request = case.request(environment, Objective::Fastest, constraints);
        let plan = Plan::new(&request).unwrap();
        prop_assert_eq!(&plan.chosen, POINTS[at]);
        let cut = case.cut(&request).unwrap();
        let total = plan.point(POINTS[at]).unwrap().predicted.total_ns;
        prop_assert!((cut.total_ns - total).abs() < 20.0, "{} {total}", cut.total_ns);
        prop_assert_eq!(&cut.prefix, POINTS[at]);
        prop_assert_eq!(cut.edge_steps.len(), STEPS[at] as usize);
    }
}

/// The last layer of the block and what follows are slow on the edge, and what the branches write
/// is small: both tensors cross.
#[test]
fn a_block_may_be_cut_inside() {
    let case = Case::new(([100, 100, 100, 100, 9000, 9000], [900, 800, 100]));
    let environment = Environment::of_uplink(100_000.0).unwrap();
    let request = case.request(environment, Objective::Best, Constraints::default());
    let cut = case.cut(&request).unwrap();
    assert_eq!(cut.edge_steps, ["stem", "left", "right1", "right2"]);
    let crossing: Vec<_> = cut.crossing.iter().map(|c| (c.tensor.as_str(), c.bytes)).collect();
    assert_eq!(crossing, [("left", 256), ("right2", 256)]);
    assert_eq!((cut.prefix.as_str(), cut.cloud_steps), ("merge", 2));
    let merge = &case.outline.points[2];
    assert_eq!(cut.download_bytes, merge.download_bytes);
    assert!(cut.total_ns < cut.point_ns.unwrap());
    let words = cut.to_string();
    assert!(words.contains("predicted only") && words.contains("left (256 B), right2 (256 B)"));
    assert!(words.contains("up to merge"), "{words}");
}

#[test]
fn limits_and_depth_bind_it_too() {
    let case = Case::new(([100, 100, 100, 100, 9000, 9000], [900, 800, 100]));
    let environment = Environment::of_uplink(100_000.0).unwrap();
    let cut = |constraints| case.cut(&case.request(environment, Objective::Best, constraints));
    // Two tensors cross inside the block; where its prefix may not come, none of it can run.
    let stem = &case.outline.points[1];
    assert_eq!(cut(Constraints::default()).unwrap().edge_steps.len(), 4);
    let download =
        Constraints { max_download_bytes: Some(stem.download_bytes), ..Constraints::default() };
    assert_eq!(cut(download.clone()).unwrap().edge_steps, ["stem"]);
    let memory =
        Constraints { max_memory_bytes: Some(stem.memory_bytes), ..Constraints::default() };
    assert_eq!(cut(memory).unwrap().edge_steps, ["stem"]);
    let min_depth = Some("merge".to_string());
    let deep = cut(Constraints { min_depth: min_depth.clone(), ..Constraints::default() });
    assert_eq!(deep.unwrap().edge_steps.len(), 5);
    // A point has all of a block on one side; a general cut need not.
    let pin = |layer: &str, side| Pin { layer: layer.into(), side };
    let pins = vec![pin("left", Side::Edge), pin("right1", Side::Cloud)];
    let split = Constraints { pins, ..Constraints::default() };
    let request = case.request(environment, Objective::Best, split.clone());
    assert!(matches!(Plan::new(&request), Err(Error::Constrained { .. })));
    let split = cut(split).unwrap();
    assert_eq!(
        (split.point_ns, &split.edge_steps[..]),
        (None, &["stem".into(), "left".into()][..])
    );
    assert!(split.to_string().contains("where no point is allowed"));
    let contradiction = cut(Constraints { min_depth, ..download });
    assert!(matches!(contradiction, Err(Error::Constrained { .. })), "{contradiction:?}");
    let nothing = Constraints { max_memory_bytes: Some(1), ..Constraints::default() };
    assert!(matches!(cut(nothing), Err(Error::Constrained { .. })));
}

#[test]
fn an_objective_that_is_no_sum_is_refused() {
    let case = Case::new(([1; 6], [1; 3]));
    let environment = Environment::of_uplink(1e6).unwrap();
    for objective in [Objective::LeastDownload, Objective::Throughput] {
        let request = case.request(environment, objective, Constraints::default());
        assert!(matches!(case.cut(&request), Err(Error::NoSum(_))), "{objective}");
    }
}

#[test]
fn an_outline_says_what_each_point_needs() {
    let model = model();
    let outline = Outline::of(&model).unwrap();
    assert_eq!(outline.names().collect::<Vec<_>>(), POINTS);
    for (point, needs) in model.graph().points().zip(&outline.points) {
        assert_eq!(needs.download_bytes, model.prefix_len(point));
        assert_eq!(needs.steps as usize, model.graph().steps_before(point));
    }
    // Input and stem are alive at once: 3 and 64 channels of 64 pixels.
    let arena = |i: usize| outline.points[i].memory_bytes - outline.points[i].download_bytes;
    assert_eq!((arena(0), arena(1)), (192, 192 + 4096));
    assert_eq!(outline.layer("right2").unwrap(), [3]);
}
