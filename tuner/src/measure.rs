//! The profile of a real session on this device.
//!
//! Every run is a whole one, so that each step finds the caches as its predecessors leave them. A
//! point's edge time is the sum of its steps within one run; the median is taken of those sums and
//! not the sum of medians, which skewed noise would make too small.

use std::time::{Duration, Instant};

use seam_runtime::boundary::{Datatype, Frame};
use seam_runtime::graph::{Graph, Op, Point};
use seam_runtime::session::Session;

use crate::device;
use crate::profile::{
    BoundaryTensor, Device, Method, ModelRef, PROFILE_SCHEMA, PointProfile, Profile, StepProfile,
    Times,
};

/// Runs at least, so that the median has a 95% interval at all.
const FEWEST: u32 = 10;
/// Runs at most: more tell nothing new.
const MOST: u32 = 5000;
/// Encodings timed at each point.
const ENCODINGS: usize = 7;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Runs before the first that counts.
    pub warm_up: u32,
    /// Enough when half the 95% interval of the median of a whole run is this part of it.
    pub target: f64,
    /// Enough after this time in any case; the target is then recorded as unmet.
    pub cap: Duration,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { warm_up: 3, target: 0.02, cap: Duration::from_secs(60) }
    }
}

/// Calls `run` (which returns its own nanoseconds, warm-up included) until `effort` is spent, and
/// returns the times of the runs that count. `progress` is told the part of the effort spent.
pub fn repeat(
    effort: &Effort,
    mut run: impl FnMut() -> u64,
    mut progress: impl FnMut(f64),
) -> (Vec<u64>, Method) {
    for _ in 0..effort.warm_up {
        run();
    }
    let start = Instant::now();
    let mut samples = Vec::new();
    loop {
        samples.push(run());
        let repeats = samples.len() as u32;
        let reached = Times::of(&samples).uncertainty();
        let met = repeats >= FEWEST && reached <= effort.target;
        let spent = start.elapsed();
        // The interval narrows with the square root of the number of runs.
        let narrowed = if reached > 0.0 { (effort.target / reached).powi(2) } else { 1.0 };
        let counted = narrowed.min(f64::from(repeats) / f64::from(FEWEST));
        progress(counted.max(spent.as_secs_f64() / effort.cap.as_secs_f64()).min(1.0));
        if met || spent >= effort.cap || repeats >= MOST {
            let Effort { warm_up, target, .. } = *effort;
            return (samples, Method { warm_up, repeats, target, reached, met });
        }
    }
}

/// Profiles `session` with whatever its input holds: every step, and every point that it reaches.
/// `progress` is told the part of the work that is done.
pub fn profile(session: &mut Session, effort: &Effort, mut progress: impl FnMut(f64)) -> Profile {
    let model = session.model().clone();
    let graph = model.graph();
    let end = session.point();
    let steps = graph.steps_before(end);
    let mut device = Device::here(session.isa().name(), session.threads());

    let mut ns = vec![0; graph.steps.len()];
    let mut runs: Vec<Vec<u64>> = Vec::new();
    let run = || {
        let start = Instant::now();
        session.run_timed(end, &mut ns);
        let total = start.elapsed().as_nanos() as u64;
        runs.push(ns[..steps].to_vec());
        total
    };
    let (totals, method) = repeat(effort, run, &mut progress);
    let runs = &runs[effort.warm_up as usize..];
    debug_assert_eq!(runs.len(), totals.len(), "the warm-up counts in neither");
    let over_runs =
        |time: &dyn Fn(&[u64]) -> u64| Times::of(&runs.iter().map(|r| time(r)).collect::<Vec<_>>());

    let step_profile = |i: usize| {
        let step = &graph.steps[i];
        StepProfile {
            name: step.name.clone(),
            layer: graph.layers[step.layer as usize].clone(),
            kind: kind(&step.op).into(),
            kernel: session.kernel_name(i).into(),
            macs: macs(&step.op),
            weight_bytes: model.weight_bytes(i) as u64,
            ns: over_runs(&|run| run[i]),
        }
    };
    let step_profiles = (0..steps).map(step_profile).collect();
    let points: Vec<Point> = graph.points().take_while(|&point| point <= end).collect();
    let mut point_profile = |&point: &Point| {
        let count = graph.steps_before(point);
        let edge_ns = over_runs(&|run| run[..count].iter().sum());
        at_point(session, graph, point, edge_ns)
    };
    let points = points.iter().map(&mut point_profile).collect();
    device.mhz_after = device::mhz();
    Profile {
        schema: PROFILE_SCHEMA.into(),
        model: ModelRef::new(&graph.name, &model.id()),
        device,
        method,
        total: Times::of(&totals),
        steps: step_profiles,
        points,
    }
}

fn at_point(session: &mut Session, graph: &Graph, point: Point, edge_ns: Times) -> PointProfile {
    let name = graph.point_name(point).to_string();
    let steps = graph.steps_before(point) as u32;
    if point == Point::Output {
        let (boundary, encode_ns) = (Vec::new(), Times::default());
        return PointProfile {
            name,
            steps,
            boundary,
            raw_bytes: 0,
            frame_bytes: 0,
            edge_ns,
            encode_ns,
            codecs: Vec::new(),
        };
    }
    let mut frame = Frame::new(graph, point, None);
    let pixels = vec![0; frame.description().bytes];
    let encode = |_| {
        // Each encoding finds its tensor as a run has just left it.
        session.run_to(point);
        let start = Instant::now();
        match point {
            Point::Input => frame.encode_pixels(&pixels),
            _ => frame.encode(session),
        };
        start.elapsed().as_nanos() as u64
    };
    let samples: Vec<u64> = (0..ENCODINGS).map(encode).collect();
    let tensor = frame.description();
    let [_, h, w, c] = tensor.shape.map(|side| side as u64);
    let element = match tensor.datatype {
        Datatype::Uint8 => "u8",
        Datatype::Fp16 => "f16",
    };
    PointProfile {
        name,
        steps,
        boundary: vec![BoundaryTensor {
            name: tensor.name.clone(),
            shape: [h, w, c],
            element: element.into(),
        }],
        raw_bytes: tensor.bytes as u64,
        frame_bytes: frame.body().len() as u64,
        edge_ns,
        encode_ns: Times::of(&samples),
        codecs: Vec::new(),
    }
}

/// The operator's name in profiles.
fn kind(op: &Op) -> &'static str {
    match op {
        Op::Conv { geometry, .. } if geometry.is_depthwise() => "depthwise",
        Op::Conv { .. } => "conv",
        Op::FloatConv { .. } => "float-conv",
        Op::MaxPool(_) => "max-pool",
        Op::AveragePool { .. } => "average-pool",
        Op::GlobalAveragePool => "global-average-pool",
        Op::Add { .. } => "add",
        Op::Concat => "concat",
        Op::Lrn(_) => "lrn",
        Op::Softmax => "softmax",
        Op::Table(_) => "table",
        Op::Slice(_) => "slice",
        Op::Pad(_) => "pad",
        Op::Reshape => "reshape",
    }
}

fn macs(op: &Op) -> u64 {
    match op {
        Op::Conv { geometry, .. } | Op::FloatConv { geometry, .. } => geometry.macs(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort { warm_up: 2, target: 0.02, cap: Duration::from_secs(60) };

    #[test]
    fn steady_runs_stop_as_soon_as_the_interval_is_narrow() {
        let mut calls = 0;
        let mut told = 0.0;
        let run = || {
            calls += 1;
            // The warm-up is slow; it must not count.
            if calls <= 2 { 1_000_000 } else { 1000 + calls % 3 }
        };
        let (samples, method) = repeat(&EFFORT, run, |part| told = part);
        assert_eq!(samples.len() as u32, FEWEST);
        assert_eq!(calls, u64::from(FEWEST) + 2);
        assert!(samples.iter().all(|&ns| ns < 2000));
        assert!(method.met && method.reached <= 0.02 && method.repeats == FEWEST);
        assert_eq!(told, 1.0);
    }

    #[test]
    fn a_target_that_is_not_reached_is_recorded_as_unmet() {
        let effort = Effort { cap: Duration::ZERO, ..EFFORT };
        let (samples, method) = repeat(&effort, || 5, |_| ());
        assert_eq!(samples, [5]);
        assert!(!method.met);

        let mut calls = 0;
        let noisy = || {
            calls += 1;
            if calls % 2 == 0 { 1000 } else { 9000 }
        };
        let (samples, method) = repeat(&EFFORT, noisy, |_| ());
        assert_eq!(samples.len() as u32, MOST);
        assert!(!method.met && method.reached > 0.02);
    }
}
