//! The FP32 engine: runs a network, or the tail behind any point, from the boundary's bytes.
//!
//! One tensor crosses at a point, so the points divide the network into parts that run one after
//! the other. Each part is optimised by itself, once; the tail behind a point is the parts behind
//! it. Every weight belongs to one part and is held once, whatever tails are asked for.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use half::f16;
use seam_kernels::Shape;
use seam_runtime::graph::{Element, Graph, Point};
use seam_runtime::preprocess::Preprocess;
use tract_onnx::prelude::*;

use crate::onnx::export::{self, Exporter};
use crate::{Error, Network, cut, import, pb};

/// A network ready to run from any of its points; all points share one copy of the weights.
pub struct Engine {
    graph: Graph,
    network: Network,
    /// Values between the parts: the input, the boundary of every candidate, the output.
    joints: Vec<String>,
    made: Mutex<Made>,
}

/// What was asked for so far.
#[derive(Default)]
struct Made {
    /// Part `i` runs from joint `i` to joint `i + 1`.
    parts: HashMap<usize, Arc<TypedRunnableModel>>,
    tails: HashMap<Point, Arc<Tail>>,
}

/// What runs behind one point; cheap to share through its `Arc`, and run from many threads at once.
pub struct Tail {
    parts: Vec<Arc<TypedRunnableModel>>,
    inputs: [Signature; 1],
    output: Signature,
    /// Dimensions of the ONNX value that the first part reads.
    dims: Vec<usize>,
    shape: Shape,
    reals: Reals,
}

/// From bytes to reals.
enum Reals {
    /// Real of every code.
    Codes(Box<[f32; 256]>),
    /// Real of every pixel, per channel.
    Pixels(Vec<[f32; 256]>),
    Half,
}

/// Elements of a tail's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// Codes of a quantized tensor, or pixels at the point `input`.
    U8,
    /// A tensor that the edge keeps in float.
    F16,
    /// Reals.
    F32,
}

/// Name, elements and shape of a tail's input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The tensor's name.
    pub name: String,
    /// Its elements.
    pub datatype: Datatype,
    /// Inputs: `[1, h, w, c]`. The output: as the network declares it.
    pub shape: Vec<usize>,
}

impl Engine {
    /// An engine for `network`, cut at the points of `graph`.
    ///
    /// # Errors
    /// `graph` names a tensor that `network` lacks.
    pub fn new(network: &Network, graph: &Graph) -> Result<Engine, Error> {
        let mut joints = vec![graph.tensor(graph.input).name.clone()];
        joints.extend(graph.candidates.iter().map(|c| graph.tensor(c.boundary).name.clone()));
        if joints[0] != network.input {
            return Err(Error::OtherNetwork(joints.swap_remove(0)));
        }
        if let Some(unknown) = joints.iter().find(|name| network.dims(name).is_none()) {
            return Err(Error::OtherNetwork(unknown.clone()));
        }
        joints.push(network.output.clone());
        let (graph, network) = (graph.clone(), network.clone());
        Ok(Engine { graph, network, joints, made: Mutex::default() })
    }

    /// Reads `NET.seam` (or a prefix of it) and the `NET.onnx` beside it.
    ///
    /// # Errors
    /// One of the two cannot be read or is invalid, or they are of different networks.
    pub fn open(seam: &Path) -> Result<Engine, Error> {
        let model = seam_runtime::Model::open(seam)?;
        let network = import(&seam.with_extension("onnx"))?;
        Engine::new(&network, model.graph())
    }

    /// The edge's program that this engine was made for.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The FP32 network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The tail behind `point`, made at the first call. Behind `output` there is none: an error.
    ///
    /// # Errors
    /// `point` is `output`, or the FP32 engine lacks an operator.
    pub fn tail(&self, point: Point) -> Result<Arc<Tail>, Error> {
        // A panic while the lock was held left whole entries.
        let mut made = self.made.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(tail) = made.tails.get(&point) {
            return Ok(tail.clone());
        }
        let tail = Arc::new(self.make_tail(point, &mut made.parts)?);
        made.tails.insert(point, tail.clone());
        Ok(tail)
    }

    /// The whole network on a normalised f32 input (CHW).
    ///
    /// # Errors
    /// `input` has another size than the network's, or the FP32 engine fails.
    pub fn run(&self, input: &[f32]) -> Result<Vec<f32>, Error> {
        let shape = self.network.input_shape();
        if input.len() != shape.len() {
            let (expected, found) = (shape.len(), input.len());
            return Err(Error::InputLength { expected, found, shape: shape.to_string() });
        }
        self.tail(Point::Input)?.run_reals(input)
    }

    fn make_tail(
        &self,
        point: Point,
        made: &mut HashMap<usize, Arc<TypedRunnableModel>>,
    ) -> Result<Tail, Error> {
        let first = match point {
            Point::Input => 0,
            Point::Candidate(i) => i + 1,
            Point::Output => return Err(Error::NoTail),
        };
        let tensor = self.graph.tensor(self.graph.boundary(point));
        let reals = match (point, tensor.element) {
            (Point::Input, _) => Reals::Pixels(pixel_tables(&self.graph.preprocess, tensor.shape)?),
            (_, Element::U8 { scale, zero_point }) => {
                let real = |q: usize| (q as f32 - f32::from(zero_point)) * scale;
                Reals::Codes(Box::new(std::array::from_fn(real)))
            }
            (_, Element::F32) => Reals::Half,
        };
        let mut parts = Vec::new();
        for i in first..self.joints.len() - 1 {
            let part = match made.get(&i) {
                Some(part) => part.clone(),
                None => {
                    let ends = &self.joints[i..];
                    plan(parse(&cut::between(&self.network, &ends[0], &ends[1]))?)?
                }
            };
            made.insert(i, part.clone());
            parts.push(part);
        }
        let datatype = if matches!(reals, Reals::Half) { Datatype::F16 } else { Datatype::U8 };
        let shape = tensor.shape;
        let input = Signature {
            name: tensor.name.clone(),
            datatype,
            shape: vec![1, shape.h, shape.w, shape.c],
        };
        let output = Signature {
            name: self.network.output.clone(),
            datatype: Datatype::F32,
            shape: self.network.output_dims().unwrap_or_default().to_vec(),
        };
        let dims = self.network.shapes[&self.joints[first]].clone();
        Ok(Tail { parts, inputs: [input], output, dims, shape, reals })
    }
}

impl Tail {
    /// What it reads.
    pub fn inputs(&self) -> &[Signature] {
        &self.inputs
    }

    /// What it answers (f32).
    pub fn output(&self) -> &Signature {
        &self.output
    }

    /// Runs on one byte string an input: u8 codes or pixels (HWC), or little-endian f16.
    ///
    /// # Errors
    /// The number of inputs or the length of one is wrong, or the FP32 engine fails.
    pub fn run(&self, inputs: &[&[u8]]) -> Result<Vec<f32>, Error> {
        let bytes = *inputs.first().unwrap_or(&&[][..]);
        let size = if matches!(self.reals, Reals::Half) { 2 } else { 1 };
        let expected = self.shape.len() * size;
        if inputs.len() != 1 || bytes.len() != expected {
            let found = inputs.iter().map(|i| i.len()).sum();
            return Err(Error::BoundaryLength {
                name: self.inputs[0].name.clone(),
                expected,
                found,
            });
        }
        let (pixels, c) = (self.shape.pixels(), self.shape.c);
        let mut reals = vec![0.0; self.shape.len()];
        for channel in 0..c {
            let plane = &mut reals[channel * pixels..][..pixels];
            match &self.reals {
                Reals::Codes(table) => {
                    for (i, x) in plane.iter_mut().enumerate() {
                        *x = table[usize::from(bytes[i * c + channel])];
                    }
                }
                Reals::Pixels(tables) => {
                    for (i, x) in plane.iter_mut().enumerate() {
                        *x = tables[channel][usize::from(bytes[i * c + channel])];
                    }
                }
                Reals::Half => {
                    for (i, x) in plane.iter_mut().enumerate() {
                        let at = 2 * (i * c + channel);
                        *x = f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32();
                    }
                }
            }
        }
        self.run_reals(&reals)
    }

    /// Runs on the reals of the one tensor that crosses, in ONNX's order.
    ///
    /// # Errors
    /// There are more or fewer than the tensor holds, or the FP32 engine fails.
    pub fn run_reals(&self, reals: &[f32]) -> Result<Vec<f32>, Error> {
        guarded("run the network", || {
            let mut value: TValue = Tensor::from_shape(&self.dims, reals)?.into();
            for part in &self.parts {
                value = part.run(tvec!(value))?.remove(0);
            }
            Ok(value.to_plain_array_view::<f32>()?.iter().copied().collect())
        })
    }
}

/// The real of every pixel, per channel of the network.
fn pixel_tables(preprocess: &Preprocess, shape: Shape) -> Result<Vec<[f32; 256]>, Error> {
    preprocess.validate()?;
    let channels = preprocess.channels.count();
    if channels != shape.c {
        return Err(Error::Preprocess {
            found: format!("{channels} channels"),
            expected: format!("{} channels", shape.c),
        });
    }
    let table = |c| std::array::from_fn(|pixel| preprocess.normalized(c, pixel as u8));
    Ok((0..channels).map(table).collect())
}

/// A network that yields some of its values besides its output; for calibration.
pub(crate) struct Plan {
    plan: Arc<TypedRunnableModel>,
    dims: Vec<usize>,
    shape: Shape,
}

impl Plan {
    /// A plan that yields `values`.
    pub(crate) fn new(network: &Network, values: &[String]) -> Result<Plan, Error> {
        let plan = plan(optimised(network, values)?)?;
        let dims = network.shapes[&network.input].clone();
        Ok(Plan { plan, dims, shape: network.input_shape() })
    }

    /// Runs on one input (CHW); `see` hears every value by its index.
    pub(crate) fn run(
        &self,
        input: Vec<f32>,
        mut see: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        if input.len() != self.shape.len() {
            return Err(Error::InputLength {
                expected: self.shape.len(),
                found: input.len(),
                shape: self.shape.to_string(),
            });
        }
        guarded("run the network", || {
            let input = Tensor::from_shape(&self.dims, &input)?;
            for (i, output) in self.plan.run(tvec!(input.into()))?.iter().enumerate() {
                see(i, output.try_as_plain_ram()?.as_slice::<f32>()?);
            }
            Ok(())
        })
    }
}

/// The nodes that `outputs` depend on, optimised, yielding `outputs` in that order.
fn optimised(network: &Network, outputs: &[String]) -> Result<TypedModel, Error> {
    let mut needed: HashSet<&str> = outputs.iter().map(String::as_str).collect();
    let mut live = Vec::new();
    for node in network.nodes.iter().rev() {
        if node.outputs.iter().any(|o| needed.contains(o.as_str())) {
            needed.extend(node.inputs.iter().map(String::as_str));
            live.push(node);
        }
    }
    let mut exporter = Exporter::default();
    live.iter().rev().for_each(|node| exporter.node(network, node));
    exporter.constants(network);
    let input = export::float_info(&network.input, &network.shapes[&network.input]);
    let mut graph = exporter.finish(&network.name, vec![input], network);
    graph.output = outputs
        .iter()
        .map(|o| pb::ValueInfoProto { name: o.clone(), ..Default::default() })
        .collect();
    parse(&export::model(graph, network.opset))
}

fn parse(model: &pb::ModelProto) -> Result<TypedModel, Error> {
    guarded("take the network", || {
        tract_onnx::onnx().parse(model, None)?.model.into_typed()?.into_optimized()
    })
}

fn plan(model: TypedModel) -> Result<Arc<TypedRunnableModel>, Error> {
    guarded("plan the network", || model.into_runnable())
}

/// The engine trusts its input more than a file from outside deserves: a panic becomes an error.
fn guarded<T>(what: &'static str, f: impl FnOnce() -> TractResult<T>) -> Result<T, Error> {
    let result = catch_unwind(AssertUnwindSafe(f));
    // Its kernels for AVX-512 leave the registers' upper parts set.
    seam_kernels::isa::clear_upper_parts();
    match result {
        Ok(result) => result.map_err(|e| failed(what, &e)),
        Err(_) => Err(Error::Engine { what, reason: "it gave up".into() }),
    }
}

fn failed(what: &'static str, error: &TractError) -> Error {
    let reason = format!("{error:#}").replace('\n', " ");
    Error::Engine { what, reason }
}
