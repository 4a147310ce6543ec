//! What the bench of planning plans for.

use seam_tuner::cut::{CostGraph, CostNode, CostTensor, Place};
use seam_tuner::layer_graph::{Node, Value};
use seam_tuner::outline::OutlinePoint;
use seam_tuner::plan::Inputs;
use seam_tuner::profile::{
    CLOUD_PROFILE_SCHEMA, Device, Method, ModelRef, PROFILE_SCHEMA, PointProfile, SEAM_VERSION,
    StepProfile, TailProfile, Times,
};
use seam_tuner::{
    CloudProfile, CodecChoice, Constraints, Environment, LayerGraph, Objective, Outline, Profile,
    Request, Work, candidates,
};

/// The layers of GoogLeNet without its auxiliary heads, each with its activation.
pub fn googlenet() -> LayerGraph {
    let mut net = Layers(Vec::new());
    let mut x = net.chain(Value::Input, &["conv1", "conv2_reduce", "conv2"]);
    for block in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"] {
        let branches: [&[&str]; 4] =
            [&["1x1"], &["3x3_reduce", "3x3"], &["5x5_reduce", "5x5"], &["pool_proj"]];
        let branch = |layers: &[&str], net: &mut Layers| {
            let layers: Vec<String> = layers.iter().map(|l| format!("{block}/{l}")).collect();
            net.chain(x, &layers.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let ends = branches.map(|layers| branch(layers, &mut net));
        x = net.node(&format!("{block}/output"), false, ends.into());
    }
    net.chain(x, &["classifier"]);
    let output = net.0.len() - 1;
    LayerGraph::new(net.0, output).expect("a sorted network")
}

struct Layers(Vec<Node>);

impl Layers {
    fn node(&mut self, name: &str, parametric: bool, inputs: Vec<Value>) -> Value {
        self.0.push(Node { name: name.into(), parametric, inputs, on_edge: true });
        Value::Node(self.0.len() - 1)
    }

    fn chain(&mut self, mut x: Value, layers: &[&str]) -> Value {
        for layer in layers {
            x = self.node(layer, true, vec![x]);
            x = self.node(&format!("{layer}/relu"), false, vec![x]);
        }
        x
    }
}

/// A model and its profiles.
pub struct Profiled {
    /// The model.
    pub outline: Outline,
    /// A slow board.
    pub edge: Profile,
    /// A cloud.
    pub cloud: CloudProfile,
    /// The hashes of both.
    pub inputs: Inputs,
}

impl Profiled {
    /// The model of `graph`, a step a node, with made-up times.
    pub fn new(graph: &LayerGraph) -> Profiled {
        let model = ModelRef::new("googlenet", &[7; 32]);
        let steps = graph.nodes().len() as u32;
        let mut points = vec![("input".to_string(), 0, 150_528)];
        for (candidate, depth) in candidates(graph).into_iter().zip(1..) {
            points.push((candidate.name, candidate.node as u32 + 1, 220_000 / depth));
        }
        points.push(("output".into(), steps, 0));
        let outline_point = |(name, steps, _): &(String, u32, u64)| OutlinePoint {
            name: name.clone(),
            steps: *steps,
            download_bytes: u64::from(*steps) * 50_000,
            memory_bytes: u64::from(*steps) * 50_000 + 1_000_000,
        };
        let edge_point = |(name, steps, bytes): &(String, u32, u64)| PointProfile {
            name: name.clone(),
            steps: *steps,
            boundary: Vec::new(),
            raw_bytes: *bytes,
            frame_bytes: *bytes,
            edge_ns: Times::exactly(f64::from(*steps) * 3e6),
            encode_ns: Times::exactly(*bytes as f64 / 10.0),
            codecs: Vec::new(),
        };
        let tail = |(name, before, _): &(String, u32, u64)| TailProfile {
            name: name.clone(),
            tail_ns: Times::exactly(f64::from(steps - before) * 1e5),
            codecs: Vec::new(),
        };
        let step = |node: &Node| StepProfile {
            name: node.name.clone(),
            layer: node.name.clone(),
            kernel: "portable".into(),
            work: Work {
                kind: "conv".into(),
                window: "3x3".into(),
                macs: 10_000_000,
                weight_bytes: 50_000,
                activation_bytes: 100_000,
                tiles: 1000,
            },
            ns: Times::exactly(3e6),
        };
        let cpu = "made up".to_string();
        let (mhz_before, mhz_after) = (None, None);
        let device =
            Device { cpu, isa: "portable".into(), cores: 1, threads: 1, mhz_before, mhz_after };
        let method = Method { warm_up: 1, repeats: 10, target: 0.02, reached: 0.01, met: true };
        let edge = Profile {
            schema: PROFILE_SCHEMA.into(),
            model: model.clone(),
            seam_version: SEAM_VERSION.into(),
            device: device.clone(),
            method: method.clone(),
            sustained: Vec::new(),
            fitted_from: Vec::new(),
            total: Times::exactly(f64::from(steps) * 3e6),
            steps: graph.nodes().iter().map(step).collect(),
            points: points.iter().map(edge_point).collect(),
        };
        let cloud = CloudProfile {
            schema: CLOUD_PROFILE_SCHEMA.into(),
            model: model.clone(),
            seam_version: SEAM_VERSION.into(),
            device,
            engine: "made up".into(),
            method,
            points: points[..points.len() - 1].iter().map(tail).collect(),
        };
        let outline_points = points.iter().map(outline_point).collect();
        let outline = Outline { model, points: outline_points, layers: Vec::new() };
        Profiled { outline, inputs: Inputs::of(&edge, &cloud), edge, cloud }
    }

    /// What is asked of a plan at 250 KiB/s.
    pub fn request(&self, objective: Objective) -> Request<'_> {
        Request {
            outline: &self.outline,
            edge: &self.edge,
            cloud: &self.cloud,
            inputs: self.inputs.clone(),
            environment: Environment::new(256_000.0, 2e7, 0.0).expect("a possible environment"),
            objective,
            constraints: Constraints::default(),
            codecs: CodecChoice::Auto,
        }
    }
}

/// A random network, priced.
pub struct Random {
    nodes: Vec<CostNode>,
    tensors: Vec<CostTensor>,
}

/// What the round trip takes.
const RTT_NS: i64 = 1_000_000;

/// A network of `nodes` operators, each of which writes one tensor that one to four of the next
/// `reach` ones read. Edge and cloud take the same on average, and so does crossing: very many
/// assignments come close to the least. Another `seed` gives another one.
pub fn random(nodes: usize, reach: usize, seed: u64) -> Random {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15 ^ nodes as u64 ^ seed << 32);
    let node = |random: &mut Xorshift| CostNode {
        edge_ns: random.below(1_000_000) as i64,
        cloud_ns: random.below(1_000_000) as i64,
        place: Place::Either,
    };
    let tensor = |i: usize, random: &mut Xorshift| {
        let behind = (nodes - i).min(reach);
        let readers = if behind > 0 { 1 + random.below(4) } else { 0 };
        let mut readers: Vec<usize> = (0..readers).map(|_| i + random.below(behind)).collect();
        readers.sort_unstable();
        readers.dedup();
        CostTensor {
            writer: i.checked_sub(1).map_or(Value::Input, Value::Node),
            readers,
            crossing_ns: random.below(3_000_000) as i64,
        }
    };
    Random {
        nodes: (0..nodes).map(|_| node(&mut random)).collect(),
        tensors: (0..=nodes).map(|i| tensor(i, &mut random)).collect(),
    }
}

impl Random {
    /// The network to be cut.
    pub fn graph(&self) -> CostGraph {
        CostGraph::new(self.nodes.clone(), self.tensors.clone(), RTT_NS).expect("a sound network")
    }

    /// What an assignment takes, `None` if data would flow back.
    pub fn cost(&self, on_edge: &[bool]) -> Option<i64> {
        let mut cost = if on_edge.contains(&false) { RTT_NS } else { 0 };
        for (node, &edge) in self.nodes.iter().zip(on_edge) {
            cost += if edge { node.edge_ns } else { node.cloud_ns };
        }
        for CostTensor { writer, readers, crossing_ns } in &self.tensors {
            let here = match *writer {
                Value::Input => true,
                Value::Node(i) => on_edge[i],
            };
            match (here, readers.iter().all(|&i| on_edge[i]), readers.iter().any(|&i| on_edge[i])) {
                (true, false, _) => cost += crossing_ns,
                (false, _, true) => return None,
                _ => {}
            }
        }
        Some(cost)
    }

    /// What the first `count` operators on the edge take.
    pub fn cost_of_prefix(&self, count: usize) -> Option<i64> {
        self.cost(&(0..self.nodes.len()).map(|i| i < count).collect::<Vec<_>>())
    }
}

struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
