//! Profiles completed by estimates: of the points that a board does not reach yet, of a network
//! that never ran on it, and of tails that nobody timed.
//!
//! What was measured stays as it is; what was not says so
//! ([`Times::estimated`](crate::profile::Times::estimated)).

use std::collections::BTreeMap;

use seam_runtime::Model;
use seam_runtime::boundary::Frame;
use seam_runtime::graph::Point;

use crate::Error;
use crate::cost_model::CostModel;
use crate::nnls::nnls;
use crate::prediction::same_model;
use crate::profile::{
    BoundaryTensor, CloudProfile, ModelRef, PROFILE_SCHEMA, PointProfile, Profile, StepProfile,
    TailProfile, Times,
};
use crate::work::Work;

const EDGE: &str = "the edge profile";
const CLOUD: &str = "the cloud profile";

/// A profile of every point of `model`. `measured` is `model`'s own profile, which may reach only
/// some of the points, and `others` are profiles of other networks on the same board. Times of
/// the steps that `measured` lacks are estimated from all of them.
///
/// # Errors
/// `measured` is of another model, nothing was measured at all, or the profiles are of several
/// devices.
pub fn edge(
    model: &Model,
    measured: Option<&Profile>,
    others: &[Profile],
) -> Result<Profile, Error> {
    let graph = model.graph();
    let name = ModelRef::new(&graph.name, &model.id());
    if let Some(measured) = measured {
        same_model(EDGE, &measured.model, &name)?;
        measured.points.iter().try_for_each(|point| fits(model, point))?;
        let reached =
            |p: Point| measured.points.iter().any(|have| have.name == graph.point_name(p));
        if graph.points().all(reached) {
            return Ok(measured.clone());
        }
    }
    let cost = CostModel::fit(measured.into_iter().chain(others))?;
    let encode = encode_line(measured.into_iter().chain(others));
    let mut profile = match measured {
        Some(measured) => measured.clone(),
        None => Profile { model: name, ..unmeasured(&others[0]) },
    };
    profile.fitted_from = cost.fitted_from().to_vec();
    let deepest = graph.points().last().map_or(0, |point| graph.steps_before(point));
    for (i, step) in graph.steps.iter().enumerate().take(deepest).skip(profile.steps.len()) {
        let work = Work::of(model, i);
        profile.steps.push(StepProfile {
            name: step.name.clone(),
            layer: graph.layers[step.layer as usize].clone(),
            kernel: cost.estimate(&work).kernel,
            ns: cost.times(&work),
            work,
        });
    }
    let known: BTreeMap<String, PointProfile> =
        std::mem::take(&mut profile.points).into_iter().map(|p| (p.name.clone(), p)).collect();
    let mut last: Option<PointProfile> = None;
    for point in graph.points() {
        let row = match known.get(graph.point_name(point)) {
            Some(known) => known.clone(),
            None => {
                let (from, edge_ns) =
                    last.as_ref().map_or((0, Times::default()), |p| (p.steps as usize, p.edge_ns));
                let further = &profile.steps[from..graph.steps_before(point)];
                let edge_ns = further.iter().fold(edge_ns, |sum, step| sum.then(&step.ns));
                estimated_point(model, point, edge_ns, &encode, &cost)
            }
        };
        profile.points.push(row.clone());
        last = Some(row);
    }
    if let Some(last) = last.filter(|last| last.edge_ns.estimated) {
        profile.total = last.edge_ns;
    }
    Ok(profile)
}

/// Refuses a point that does not stand where the model has it.
fn fits(model: &Model, point: &PointProfile) -> Result<(), Error> {
    let graph = model.graph();
    let steps = graph.point(&point.name).map(|p| graph.steps_before(p));
    if steps.is_none_or(|steps| steps == point.steps as usize) {
        return Ok(());
    }
    Err(Error::Nonsense {
        what: EDGE,
        field: format!("points[{:?}].steps", point.name),
        value: point.steps.to_string(),
        must_be: "as many as the model runs before that point",
    })
}

/// `other` without its times.
fn unmeasured(other: &Profile) -> Profile {
    Profile {
        schema: PROFILE_SCHEMA.into(),
        sustained: Vec::new(),
        total: Times::default(),
        steps: Vec::new(),
        points: Vec::new(),
        ..other.clone()
    }
}

fn estimated_point(
    model: &Model,
    point: Point,
    edge_ns: Times,
    encode: &[f64; 2],
    cost: &CostModel,
) -> PointProfile {
    let graph = model.graph();
    let (boundary, raw_bytes, frame_bytes, encode_ns) = match point {
        Point::Output => (Vec::new(), 0, 0, Times::default()),
        _ => {
            let frame = Frame::new(graph, point, None);
            let description = frame.description();
            let raw = description.bytes as u64;
            let ns = encode[0] * raw as f64 + encode[1];
            let encode_ns = Times::estimated(ns, cost.held_out().worst());
            (vec![BoundaryTensor::of(description)], raw, frame.body().len() as u64, encode_ns)
        }
    };
    let edge_ns = Times { estimated: point != Point::Input, ..edge_ns };
    PointProfile {
        name: graph.point_name(point).into(),
        steps: graph.steps_before(point) as u32,
        boundary,
        raw_bytes,
        frame_bytes,
        edge_ns,
        encode_ns,
        codecs: Vec::new(),
    }
}

/// Nanoseconds a byte and a frame.
fn encode_line<'a>(profiles: impl Iterator<Item = &'a Profile>) -> [f64; 2] {
    let points = profiles.flat_map(|profile| &profile.points);
    let (rows, targets): (Vec<_>, Vec<_>) = points
        .filter(|point| point.raw_bytes > 0 && !point.encode_ns.estimated)
        .map(|point| ([point.raw_bytes as f64, 1.0], point.encode_ns.p50))
        .unzip();
    nnls(&rows, &targets)
}

/// `measured` with the tail behind every point of `model`. Those that it lacks are estimated: a
/// tail is taken to be linear in the multiply-accumulates and bytes of what is left to run, and a
/// constant, which stands for what the board's file does not tell of.
///
/// # Errors
/// `measured` is of another model, or has fewer than two tails to go by.
pub fn cloud(model: &Model, measured: &CloudProfile) -> Result<CloudProfile, Error> {
    let graph = model.graph();
    same_model(CLOUD, &measured.model, &ModelRef::new(&graph.name, &model.id()))?;
    let tail = |name: &str| measured.points.iter().find(|tail| tail.name == name);
    let points: Vec<Point> = graph.points().filter(|&point| point != Point::Output).collect();
    let missing = points.iter().find(|&&point| tail(graph.point_name(point)).is_none());
    let Some(&missing) = missing else { return Ok(measured.clone()) };
    let works: Vec<Work> = (0..graph.steps.len()).map(|i| Work::of(model, i)).collect();
    let left = |point: Point| {
        let left = &works[graph.steps_before(point)..];
        let sum = |of: fn(&Work) -> u64| left.iter().map(of).sum::<u64>() as f64;
        [sum(|w| w.macs), sum(|w| w.weight_bytes), sum(|w| w.activation_bytes), 1.0]
    };
    let samples: Vec<(Point, f64)> = points
        .iter()
        .filter_map(|&point| Some((point, tail(graph.point_name(point))?.tail_ns.p50)))
        .collect();
    if samples.len() < 2 {
        let point = graph.point_name(missing).into();
        return Err(Error::MissingPoint { what: CLOUD, point });
    }
    let fit = |samples: &[(Point, f64)]| {
        // Errors relative to the time, as for steps.
        let weigh = |&(point, ns): &(Point, f64)| left(point).map(|f| f / ns.max(1.0));
        nnls(&samples.iter().map(weigh).collect::<Vec<_>>(), &vec![1.0; samples.len()])
    };
    let ns = |line: &[f64; 4], point| left(point).iter().zip(line).map(|(f, ns)| f * ns).sum();
    // Each tail in turn from all the others.
    let errors = samples.iter().enumerate().map(|(i, &(point, measured))| {
        let mut others = samples.clone();
        others.remove(i);
        let estimate: f64 = ns(&fit(&others), point);
        (estimate - measured).abs() / measured.max(1.0)
    });
    let error = errors.fold(0.0, f64::max);
    let line = fit(&samples);
    let row = |&point: &Point| {
        let name = graph.point_name(point);
        let estimate = || TailProfile {
            name: name.into(),
            tail_ns: Times::estimated(ns(&line, point), error),
            codecs: Vec::new(),
        };
        tail(name).cloned().unwrap_or_else(estimate)
    };
    Ok(CloudProfile { points: points.iter().map(row).collect(), ..measured.clone() })
}
