//! The general cut of a model: its steps split between board and cloud in any way that lets nothing
//! flow back, priced from the same profiles as the points. A prediction: a session runs a prefix of
//! the steps, so a plan cuts at a point; this says how much that costs.
//!
//! What is measured at the points is kept exactly: at every point the general cut's total is that of
//! the plan. Between two points the measured difference is spread over the steps, on the edge by
//! their own measured times, in the cloud, where only whole tails were timed, by multiply-accumulates.
//! A tensor that is no point's boundary crosses raw, since nobody measured how it would shrink, with
//! the largest header and the mean encoding per byte of the points, and gains nothing by the uplink's burst: several tensors would share it,
//! and the price of each would depend on the others.

use std::fmt;

use seam_runtime::boundary::Datatype;
use seam_runtime::graph::{Graph, TensorId};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::constraints::Side;
use crate::cut::{CostGraph, CostNode, CostTensor, Cut, Place};
use crate::layer_graph::Value;
use crate::partition::Objective;
use crate::plan::Request;
use crate::prediction::{MeasuredPoint, Prediction, predict};
use crate::units::show_bytes;

/// The least of all splits of a model's steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneralCut {
    /// What it takes, in nanoseconds.
    pub total_ns: f64,
    /// What the least point takes under the same objective and constraints, in nanoseconds; none
    /// where no point is allowed.
    pub point_ns: Option<f64>,
    /// The steps that run on the edge, in order.
    pub edge_steps: Vec<String>,
    /// Steps that run in the cloud of those that the edge could run.
    pub cloud_steps: u32,
    /// What crosses.
    pub crossing: Vec<Crossing>,
    /// The shallowest point whose prefix holds every step that runs on the edge: what the board
    /// has to download.
    pub prefix: String,
    /// Bytes of that prefix.
    pub download_bytes: u64,
}

/// A tensor that crosses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossing {
    /// The ONNX value's name.
    pub tensor: String,
    /// Bytes of its elements as they cross.
    pub bytes: u64,
}

/// The general cut of `graph`, which the request's outline is of.
///
/// # Errors
/// The objective is no sum, a profile does not fit the model, a constraint names what the model
/// does not have, or the constraints contradict each other.
pub fn general_cut(graph: &Graph, request: &Request) -> Result<GeneralCut, Error> {
    let &Request { outline, environment, objective, ref constraints, .. } = request;
    if !matches!(objective, Objective::Best | Objective::Fastest) {
        return Err(Error::NoSum(objective.name()));
    }
    let measured = request.measured()?;
    let priced = Priced::new(graph, request, &measured)?;
    let cut = priced.costs.cut().ok_or_else(|| constraints.leave_nothing(objective))?;
    let Cut { on_edge, crossing, total_ns } = cut;
    let edge = |i: &usize| on_edge[*i];
    let needed = (0..priced.steps).rfind(edge).map_or(0, |last| last + 1);
    // The deepest point holds all steps that were priced.
    let prefix = outline.points.iter().find(|point| point.steps as usize >= needed);
    let prefix = prefix.or(outline.points.last()).ok_or(Error::NoPoint(objective.name()))?;
    let point = request.admitted()?.into_iter().filter(|point| objective.admits(point));
    let totals = point.map(|point| predict(&point, &environment).total_ns);
    Ok(GeneralCut {
        total_ns: total_ns as f64,
        point_ns: totals.min_by(f64::total_cmp),
        edge_steps: (0..priced.steps).filter(edge).map(|i| graph.steps[i].name.clone()).collect(),
        cloud_steps: (0..priced.steps).filter(|i| !edge(i)).count() as u32,
        crossing: crossing.into_iter().map(|i| priced.crossing(graph, i)).collect(),
        prefix: prefix.name.clone(),
        download_bytes: prefix.download_bytes,
    })
}

/// A model's steps and tensors with what they cost.
struct Priced {
    costs: CostGraph,
    /// Steps of the graph that are operators of `costs`; one more stands for all that the edge
    /// cannot run or has no profile of.
    steps: usize,
    /// By the tensors of `costs`, those of the graph.
    tensors: Vec<TensorId>,
}

impl Priced {
    fn new(graph: &Graph, request: &Request, measured: &[MeasuredPoint]) -> Result<Priced, Error> {
        let Request { outline, edge, environment, objective, constraints, .. } = request;
        let at: Vec<Prediction> = measured.iter().map(|p| predict(p, environment)).collect();
        let (Some(last), Some(deepest)) = (measured.last(), at.last()) else {
            return Err(Error::NoPoint(objective.name()));
        };
        let steps = last.steps as usize;

        let mut nodes = Vec::with_capacity(steps + 1);
        for (points, at) in measured.windows(2).zip(at.windows(2)) {
            let between = &edge.steps[points[0].steps as usize..points[1].steps as usize];
            let measured: Vec<f64> = between.iter().map(|step| step.ns.p50).collect();
            let macs: Vec<f64> = between.iter().map(|step| step.work.macs as f64).collect();
            let edge_ns = spread(at[0].edge_ns, at[1].edge_ns, &measured);
            let tail_ns = spread(-at[0].cloud_ns, -at[1].cloud_ns, &macs);
            let node = |(edge_ns, cloud_ns)| CostNode { edge_ns, cloud_ns, place: Place::Either };
            nodes.extend(edge_ns.into_iter().zip(tail_ns).map(node));
        }
        let rest = (!last.is_output()).then_some(steps);
        if rest.is_some() {
            let cloud_ns = deepest.cloud_ns.round() as i64;
            nodes.push(CostNode { edge_ns: 0, cloud_ns, place: Place::Cloud });
        }

        let boundary = |name: &str| graph.point(name).map(|point| graph.boundary(point));
        let uplink = Uplink::new(measured, environment.uplink_bytes_per_s, request);
        let mut tensors = Vec::new();
        let mut costs = Vec::new();
        for id in (0..graph.tensors.len() as u32).map(TensorId) {
            let writer = graph.steps[..steps].iter().position(|step| step.output == id);
            let writer = match writer {
                _ if id == graph.input => Value::Input,
                Some(step) => Value::Node(step),
                None => continue,
            };
            let reads = |i: &usize| graph.steps[*i].inputs.contains(&id);
            let mut readers: Vec<usize> = (0..steps).filter(reads).collect();
            if boundary(&last.name) == Some(id) {
                readers.extend(rest);
            }
            let point =
                measured.iter().position(|p| !p.is_output() && boundary(&p.name) == Some(id));
            let crossing_ns = match point {
                Some(point) => at[point].crossing_ns(),
                None => uplink.crossing_ns(wire_bytes(graph, id)),
            };
            tensors.push(id);
            costs.push(CostTensor { writer, readers, crossing_ns: crossing_ns.round() as i64 });
        }

        let mut pin = |step: usize, place: Place| -> Result<(), Error> {
            let node: &mut CostNode = &mut nodes[step];
            if node.place != Place::Either && node.place != place {
                return Err(constraints.leave_nothing(*objective));
            }
            node.place = place;
            Ok(())
        };
        if *objective == Objective::Best {
            // The raw input may not cross: all that read it stay.
            for tensor in costs.iter().filter(|tensor| tensor.writer == Value::Input) {
                tensor.readers.iter().try_for_each(|&reader| pin(reader, Place::Edge))?;
            }
        }
        if let Some(name) = &constraints.min_depth {
            let shallowest = outline.points[outline.position(name)?].steps as usize;
            (0..shallowest).try_for_each(|step| pin(step, Place::Edge))?;
        }
        let within = |limit: Option<u64>, bytes: u64| limit.is_none_or(|limit| bytes <= limit);
        // A board downloads whole prefixes: what lies behind the deepest that fits stays away.
        let fitting = outline.points.iter().take_while(|point| {
            within(constraints.max_download_bytes, point.download_bytes)
                && within(constraints.max_memory_bytes, point.memory_bytes)
        });
        let held = fitting.last().ok_or_else(|| constraints.leave_nothing(*objective))?;
        let held = held.steps as usize;
        (held..steps).try_for_each(|step| pin(step, Place::Cloud))?;
        for constraint in &constraints.pins {
            let place = match constraint.side {
                Side::Edge => Place::Edge,
                Side::Cloud => Place::Cloud,
            };
            for &step in outline.layer(&constraint.layer)? {
                match (step as usize) < steps {
                    true => pin(step as usize, place)?,
                    false if place == Place::Cloud => {}
                    false => return Err(constraints.leave_nothing(*objective)),
                }
            }
        }
        let costs = CostGraph::new(nodes, costs, environment.rtt_ns.round() as i64)?;
        Ok(Priced { costs, steps, tensors })
    }

    fn crossing(&self, graph: &Graph, tensor: usize) -> Crossing {
        let id = self.tensors[tensor];
        Crossing { tensor: graph.tensor(id).name.clone(), bytes: wire_bytes(graph, id) }
    }
}

/// What tensors that are no point's boundary take to cross.
struct Uplink {
    header_bytes: f64,
    encode_ns_per_byte: f64,
    bytes_per_s: f64,
}

impl Uplink {
    fn new(measured: &[MeasuredPoint], bytes_per_s: f64, request: &Request) -> Uplink {
        let raw = |name: &str| {
            let point = request.edge.points.iter().find(|point| point.name == name);
            point.map_or(0, |point| point.raw_bytes) as f64
        };
        let headers = measured.iter().map(|point| point.bytes as f64 - raw(&point.name));
        let (encode_ns, bytes) = measured
            .iter()
            .fold((0.0, 0.0), |(ns, bytes), p| (ns + p.encode_ns, bytes + raw(&p.name)));
        Uplink {
            header_bytes: headers.fold(0.0, f64::max),
            encode_ns_per_byte: encode_ns / f64::max(bytes, 1.0),
            bytes_per_s,
        }
    }

    fn crossing_ns(&self, bytes: u64) -> f64 {
        let bytes = bytes as f64;
        bytes * self.encode_ns_per_byte + (bytes + self.header_bytes) / self.bytes_per_s * 1e9
    }
}

impl Prediction {
    /// All that a point takes because data crosses, but for the round trip.
    fn crossing_ns(&self) -> f64 {
        (self.total_ns - self.edge_ns - self.rtt_ns - self.cloud_ns).max(0.0)
    }
}

/// Bytes of a tensor's elements as they cross.
fn wire_bytes(graph: &Graph, id: TensorId) -> u64 {
    let tensor = graph.tensor(id);
    (tensor.shape.len() * Datatype::of(tensor.element).bytes()) as u64
}

/// The whole nanoseconds between `from` and `to` by `weights`, evenly where all are 0. They sum up
/// to the rounded difference exactly.
fn spread(from: f64, to: f64, weights: &[f64]) -> Vec<i64> {
    let sum: f64 = weights.iter().sum();
    let even = 1.0 / weights.len().max(1) as f64;
    let mut part = 0.0;
    let mut before = from.round() as i64;
    let mut share = |(i, weight): (usize, &f64)| {
        part += if sum > 0.0 { weight / sum } else { even };
        let last = i + 1 == weights.len();
        let until = if last { to } else { from + (to - from) * part };
        let until = until.round() as i64;
        let share = until - before;
        before = until;
        share
    };
    weights.iter().enumerate().map(&mut share).collect()
}

/// Three lines for people.
impl fmt::Display for GeneralCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: f64| format!("{:.2} ms", ns / 1e6);
        write!(f, "general cut, predicted only: {}", ms(self.total_ns))?;
        match self.point_ns {
            Some(point) if point - self.total_ns > 5e3 => {
                writeln!(f, ", {} less than the least point", ms(point - self.total_ns))?;
            }
            Some(_) => writeln!(f, ", no less than the least point")?,
            None => writeln!(f, " where no point is allowed")?,
        }
        let last = self.edge_steps.last().map_or(String::new(), |step| format!(", last {step}"));
        writeln!(
            f,
            "  {} steps on the edge{last}; {} in the cloud",
            self.edge_steps.len(),
            self.cloud_steps
        )?;
        let crossing: Vec<String> = self
            .crossing
            .iter()
            .map(|crossing| format!("{} ({})", crossing.tensor, show_bytes(crossing.bytes)))
            .collect();
        let crosses = if crossing.is_empty() { "nothing".into() } else { crossing.join(", ") };
        writeln!(f, "  crosses: {crosses}")?;
        write!(f, "  download: {}, up to {}", show_bytes(self.download_bytes), self.prefix)
    }
}
