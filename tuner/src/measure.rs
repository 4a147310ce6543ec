//! The profile of a real session on this device.
//!
//! Every run is a whole one, so that each step finds the caches as its predecessors leave them. A
//! point's edge time is the sum of its steps within one run; the median is taken of those sums and
//! not the sum of medians, which skewed noise would make too small.

use std::time::{Duration, Instant};

use seam_runtime::boundary::Frame;
use seam_runtime::graph::{Graph, Point};
use seam_runtime::session::Session;

use crate::device;
use crate::profile::{
    BoundaryTensor, Device, Method, Minute, ModelRef, PROFILE_SCHEMA, PointProfile, Profile,
    SEAM_VERSION, StepProfile, Times,
};
use crate::work::Work;

/// Runs at least, so that the median has a 95% interval at all.
const FEWEST: u32 = 10;
/// Runs at most: more tell nothing new.
const MOST: u32 = 5000;
/// A step that takes less of a run than this does not prolong the measuring.
const SMALLEST_PART: f64 = 0.01;
/// Encodings timed at each point.
const ENCODINGS: usize = 7;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Runs before the first that counts.
    pub warm_up: u32,
    /// Enough when half the 95% interval of the median is this part of it, for a whole run and for
    /// every step that takes at least 1% of it.
    pub target: f64,
    /// Enough after this time in any case; the target is then recorded as unmet.
    pub cap: Duration,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { warm_up: 3, target: 0.02, cap: Duration::from_secs(60) }
    }
}

/// Calls `run`, warm-up included, until `effort` is spent. A run writes the nanoseconds of its
/// parts: the first is all of it. Returns the times of each part in the runs that count. The
/// interval that decides is the widest of those of all parts that take at least
/// [`SMALLEST_PART`] of the first. `progress` is told the part of the effort spent.
fn repeat(
    effort: &Effort,
    parts: usize,
    mut run: impl FnMut(&mut [u64]),
    mut progress: impl FnMut(f64),
) -> (Vec<Vec<u64>>, Method) {
    let mut ns = vec![0; parts];
    for _ in 0..effort.warm_up {
        run(&mut ns);
    }
    let start = Instant::now();
    let mut samples = vec![Vec::new(); parts];
    let mut look = FEWEST;
    loop {
        run(&mut ns);
        samples.iter_mut().zip(&ns).for_each(|(samples, &ns)| samples.push(ns));
        let repeats = samples[0].len() as u32;
        let spent = start.elapsed();
        let over = spent >= effort.cap || repeats >= MOST;
        // Looking takes time, and the caches: it is done the more seldom the more runs there are.
        if repeats < look && !over {
            continue;
        }
        look = repeats + repeats.div_ceil(8);
        let reached = uncertainty(&samples);
        let met = repeats >= FEWEST && reached <= effort.target;
        // The interval narrows with the square root of the number of runs.
        let narrowed = if reached > 0.0 { (effort.target / reached).powi(2) } else { 1.0 };
        progress(narrowed.max(spent.as_secs_f64() / effort.cap.as_secs_f64()).min(1.0));
        if met || over {
            progress(1.0);
            let Effort { warm_up, target, .. } = *effort;
            return (samples, Method { warm_up, repeats, target, reached, met });
        }
    }
}

/// The widest interval of the parts that matter, as a part of their medians.
fn uncertainty(samples: &[Vec<u64>]) -> f64 {
    let times: Vec<Times> = samples.iter().map(|samples| Times::of(samples)).collect();
    let matters = |times_of_part: &&Times| times_of_part.p50 >= SMALLEST_PART * times[0].p50;
    times.iter().filter(matters).map(Times::uncertainty).fold(0.0, f64::max)
}

/// Runs all of `session` without a pause for `minutes`, each `minute` long, so that the board gets
/// as hot as lasting work makes it; returns what each of them was like. A [`profile`] made then
/// is of the board in that state. `progress` is told the part of the time that is over.
pub fn sustain(
    session: &mut Session,
    minutes: u32,
    minute: Duration,
    mut progress: impl FnMut(f64),
) -> Vec<Minute> {
    let one = |i: u32| {
        let start = Instant::now();
        let mut samples = Vec::new();
        while start.elapsed() < minute || samples.is_empty() {
            let run = Instant::now();
            session.run();
            samples.push(run.elapsed().as_nanos() as u64);
            let part = start.elapsed().as_secs_f64() / minute.as_secs_f64();
            progress((f64::from(i) + part.min(1.0)) / f64::from(minutes));
        }
        let p50 = Times::of(&samples).p50;
        Minute { runs: samples.len() as u32, p50, mhz: device::mhz() }
    };
    (0..minutes).map(one).collect()
}

/// Profiles `session` with whatever its input holds: every step, and every point that it reaches.
/// `progress` is told the part of the work that is done.
pub fn profile(session: &mut Session, effort: &Effort, progress: impl FnMut(f64)) -> Profile {
    let model = session.model().clone();
    let graph = model.graph();
    let end = session.point();
    let steps = graph.steps_before(end);
    let mut device = Device::here(session.isa().name(), session.threads());

    let run = |ns: &mut [u64]| {
        let (total, steps) = ns.split_at_mut(1);
        let start = Instant::now();
        session.run_timed(end, steps);
        total[0] = start.elapsed().as_nanos() as u64;
    };
    let (samples, method) = repeat(effort, 1 + steps, run, progress);
    let (totals, of_steps) = (&samples[0], &samples[1..]);

    let step_profile = |(i, samples): (usize, &Vec<u64>)| {
        let step = &graph.steps[i];
        StepProfile {
            name: step.name.clone(),
            layer: graph.layers[step.layer as usize].clone(),
            kernel: session.kernel_name(i).into(),
            work: Work::of(&model, i),
            ns: Times::of(samples),
        }
    };
    let step_profiles = of_steps.iter().enumerate().map(step_profile).collect();
    let points: Vec<Point> = graph.points().take_while(|&point| point <= end).collect();
    let mut point_profile = |&point: &Point| {
        let before = &of_steps[..graph.steps_before(point)];
        let of_run = |run: usize| before.iter().map(|samples| samples[run]).sum();
        let edge_ns = Times::of(&(0..totals.len()).map(of_run).collect::<Vec<_>>());
        at_point(session, graph, point, edge_ns)
    };
    let points = points.iter().map(&mut point_profile).collect();
    device.mhz_after = device::mhz();
    Profile {
        schema: PROFILE_SCHEMA.into(),
        seam_version: SEAM_VERSION.into(),
        model: ModelRef::new(&graph.name, &model.id()),
        device,
        method,
        sustained: Vec::new(),
        fitted_from: Vec::new(),
        total: Times::of(totals),
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
    PointProfile {
        name,
        steps,
        boundary: vec![BoundaryTensor::of(tensor)],
        raw_bytes: tensor.bytes as u64,
        frame_bytes: frame.body().len() as u64,
        edge_ns,
        encode_ns: Times::of(&samples),
        codecs: Vec::new(),
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
        let run = |ns: &mut [u64]| {
            calls += 1;
            // The warm-up is slow; it must not count.
            ns[0] = if calls <= 2 { 1_000_000 } else { 1000 + calls % 3 };
        };
        let (samples, method) = repeat(&EFFORT, 1, run, |part| told = part);
        assert_eq!(samples[0].len() as u32, FEWEST);
        assert_eq!(calls, u64::from(FEWEST) + 2);
        assert!(samples[0].iter().all(|&ns| ns < 2000));
        assert!(method.met && method.reached <= 0.02 && method.repeats == FEWEST);
        assert_eq!(told, 1.0);
    }

    #[test]
    fn a_target_that_is_not_reached_is_recorded_as_unmet() {
        let effort = Effort { cap: Duration::ZERO, ..EFFORT };
        let (samples, method) = repeat(&effort, 1, |ns| ns[0] = 5, |_| ());
        assert_eq!(samples, [[5]]);
        assert!(!method.met);

        let mut calls = 0;
        let noisy = |ns: &mut [u64]| {
            calls += 1;
            ns[0] = if calls % 2 == 0 { 1000 } else { 9000 };
        };
        let (samples, method) = repeat(&EFFORT, 1, noisy, |_| ());
        assert_eq!(samples[0].len() as u32, MOST);
        assert!(!method.met && method.reached > 0.02);
    }

    #[test]
    fn a_noisy_step_prolongs_the_measuring_if_it_matters() {
        let with_step = |step: u64| {
            let mut calls = 0;
            let run = |ns: &mut [u64]| {
                calls += 1;
                let noise = if calls % 2 == 0 { 1 } else { 3 };
                ns.copy_from_slice(&[1_000_000, step * noise]);
            };
            repeat(&EFFORT, 2, run, |_| ()).1
        };
        let matters = with_step(20_000);
        assert!(!matters.met && matters.reached > 0.02 && matters.repeats == MOST);
        let too_small = with_step(2_000);
        assert!(too_small.met && too_small.repeats == FEWEST);
    }
}
