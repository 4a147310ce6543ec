//! The FP32 engine: runs a network, or the tail behind any point, from the boundary's bytes.
//!
//! The network is optimised once, with every boundary among its outputs so that each stays a value
//! of its own. The tail behind a point is that optimised graph with the boundary made its input:
//! operators and weights are shared by reference, only the list of nodes is copied.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use half::f16;
use seam_kernels::Shape;
use seam_runtime::graph::{Element, Graph, Point};
use seam_runtime::preprocess::Preprocess;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::source::TypedSource;

use crate::onnx::export::Exporter;
use crate::{Error, Network, cut, import, pb};

/// A network ready to run from any of its points; all points share one copy of the weights.
pub struct Engine {
    graph: Graph,
    network: Network,
    model: TypedModel,
    /// The boundary tensor's name → its outlet in `model`.
    outlets: HashMap<String, OutletId>,
    tails: Mutex<HashMap<Point, Arc<Tail>>>,
    whole: OnceLock<Arc<TypedRunnableModel>>,
}

/// What runs behind one point; cheap to share through its `Arc`, and run from many threads at once.
pub struct Tail {
    plan: Arc<TypedRunnableModel>,
    inputs: [Signature; 1],
    output: Signature,
    /// Dimensions of the ONNX value that the plan starts from.
    dims: Vec<usize>,
    shape: Shape,
    reals: Reals,
    shares_weights: bool,
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
    /// `graph` names a tensor that `network` lacks, or the FP32 engine lacks an operator.
    pub fn new(network: &Network, graph: &Graph) -> Result<Engine, Error> {
        let mut names = Vec::new();
        for candidate in &graph.candidates {
            let name = &graph.tensor(candidate.boundary).name;
            if network.dims(name).is_none() {
                return Err(Error::OtherNetwork(name.clone()));
            }
            names.push(name.clone());
        }
        let input = &graph.tensor(graph.input).name;
        if *input != network.input {
            return Err(Error::OtherNetwork(input.clone()));
        }
        let mut outputs = vec![network.output.clone()];
        outputs.extend(names.iter().filter(|n| **n != network.output).cloned());
        let model = optimised(network, &outputs)?;
        let outlets = model.output_outlets().map_err(|e| failed("list its outputs", &e))?.to_vec();
        Ok(Engine {
            graph: graph.clone(),
            network: network.clone(),
            outlets: outputs.into_iter().zip(outlets).collect(),
            model,
            tails: Mutex::default(),
            whole: OnceLock::new(),
        })
    }

    /// Reads `NET.seam` (or a prefix of it) and the `NET.onnx` beside it.
    ///
    /// # Errors
    /// One of the two cannot be read or is invalid, or they are of different networks.
    pub fn open(seam: &Path) -> Result<Engine, Error> {
        let model = seam_runtime::model::Model::open(seam)?;
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
    /// `point` is `output`, or the FP32 engine fails.
    pub fn tail(&self, point: Point) -> Result<Arc<Tail>, Error> {
        // A panic while the map was locked left it as it was.
        let mut tails = self.tails.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(tail) = tails.get(&point) {
            return Ok(tail.clone());
        }
        let tail = Arc::new(self.make_tail(point)?);
        tails.insert(point, tail.clone());
        Ok(tail)
    }

    /// The whole network on a normalised f32 input (CHW).
    ///
    /// # Errors
    /// `input` has another size than the network's, or the FP32 engine fails.
    pub fn run(&self, input: &[f32]) -> Result<Vec<f32>, Error> {
        let dims = &self.network.shapes[&self.network.input];
        let expected = dims.iter().product();
        if input.len() != expected {
            let shape = self.network.input_shape().to_string();
            return Err(Error::InputLength { expected, found: input.len(), shape });
        }
        run(&self.whole()?, dims, input)
    }

    fn whole(&self) -> Result<Arc<TypedRunnableModel>, Error> {
        if let Some(plan) = self.whole.get() {
            return Ok(plan.clone());
        }
        let mut model = self.model.clone();
        model
            .select_output_outlets(&[self.outlets[&self.network.output]])
            .map_err(|e| failed("select its output", &e))?;
        let plan = plan(model)?;
        Ok(self.whole.get_or_init(|| plan).clone())
    }

    fn make_tail(&self, point: Point) -> Result<Tail, Error> {
        let (plan, name, shape, reals, shares_weights) = match point {
            Point::Output => return Err(Error::NoTail),
            Point::Input => {
                let shape = self.network.input_shape();
                let reals = Reals::Pixels(pixel_tables(&self.graph.preprocess, shape)?);
                (self.whole()?, self.network.input.clone(), shape, reals, true)
            }
            Point::Candidate(i) => {
                let tensor = self.graph.tensor(self.graph.candidates[i].boundary);
                let reals = match tensor.element {
                    Element::U8 { scale, zero_point } => {
                        let real = |q: usize| (q as f32 - f32::from(zero_point)) * scale;
                        Reals::Codes(Box::new(std::array::from_fn(real)))
                    }
                    Element::F32 => Reals::Half,
                };
                let (plan, shares) = match self.cut_optimised(&tensor.name)? {
                    Some(plan) => (plan, true),
                    None => (self.cut_again(&tensor.name)?, false),
                };
                (plan, tensor.name.clone(), tensor.shape, reals, shares)
            }
        };
        let datatype = if matches!(reals, Reals::Half) { Datatype::F16 } else { Datatype::U8 };
        let dims = self.network.shapes[&name].clone();
        let output = Signature {
            name: self.network.output.clone(),
            datatype: Datatype::F32,
            shape: self.network.output_dims().unwrap_or_default().to_vec(),
        };
        let inputs = [Signature { name, datatype, shape: vec![1, shape.h, shape.w, shape.c] }];
        Ok(Tail { plan, inputs, output, dims, shape, reals, shares_weights })
    }

    /// The optimised graph from the value `name` on; `None` where the optimiser let something
    /// behind it read from in front of it.
    fn cut_optimised(&self, name: &str) -> Result<Option<Arc<TypedRunnableModel>>, Error> {
        let boundary = self.outlets[name];
        let mut model = self.model.clone();
        let cut = |model: &mut TypedModel| -> TractResult<bool> {
            let fact = model.outlet_fact(boundary)?.clone();
            let node = model.node_mut(boundary.node);
            if node.outputs.len() != 1 {
                return Ok(false);
            }
            node.op = Box::new(TypedSource::new(fact.without_value()));
            node.inputs.clear();
            model.select_output_outlets(&[self.outlets[&self.network.output]])?;
            model.set_input_outlets(&[boundary])?;
            let order = model.eval_order()?;
            let source = |id: &usize| model.node(*id).op_is::<TypedSource>();
            Ok(order.iter().filter(|id| source(id)).all(|&id| id == boundary.node))
        };
        match cut(&mut model) {
            Ok(true) => Ok(Some(plan(model)?)),
            Ok(false) => Ok(None),
            Err(e) => Err(failed("cut the network", &e)),
        }
    }

    /// The tail optimised by itself, with weights of its own.
    fn cut_again(&self, name: &str) -> Result<Arc<TypedRunnableModel>, Error> {
        plan(parse(&cut::reals_from(&self.network, name))?)
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

    /// Its weights are the engine's, not a copy.
    pub fn shares_weights(&self) -> bool {
        self.shares_weights
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
        run(&self.plan, &self.dims, &reals)
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
        for (i, output) in run_all(&self.plan, &self.dims, &input)?.iter().enumerate() {
            let reals = output.try_as_plain_ram().and_then(|view| view.as_slice::<f32>());
            see(i, reals.map_err(|e| failed("read a value", &e))?);
        }
        Ok(())
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
    let input = crate::onnx::export::float_info(&network.input, &network.shapes[&network.input]);
    let mut graph = exporter.finish(&network.name, vec![input], network);
    graph.output = outputs
        .iter()
        .map(|o| pb::ValueInfoProto { name: o.clone(), ..Default::default() })
        .collect();
    parse(&crate::onnx::export::model(graph, network.opset))
}

fn parse(model: &pb::ModelProto) -> Result<TypedModel, Error> {
    guarded("take the network", || {
        tract_onnx::onnx().parse(model, None)?.model.into_typed()?.into_optimized()
    })
}

fn plan(model: TypedModel) -> Result<Arc<TypedRunnableModel>, Error> {
    guarded("plan the network", || model.into_runnable())
}

fn run(plan: &Arc<TypedRunnableModel>, dims: &[usize], reals: &[f32]) -> Result<Vec<f32>, Error> {
    let outputs = run_all(plan, dims, reals)?;
    let view = outputs[0].to_plain_array_view::<f32>();
    Ok(view.map_err(|e| failed("read its answer", &e))?.iter().copied().collect())
}

fn run_all(
    plan: &Arc<TypedRunnableModel>,
    dims: &[usize],
    reals: &[f32],
) -> Result<TVec<TValue>, Error> {
    guarded("run the network", || {
        let input = Tensor::from_shape(dims, reals)?;
        plan.run(tvec!(input.into()))
    })
}

/// The engine trusts its input more than a file from outside deserves: a panic becomes an error.
fn guarded<T>(what: &'static str, f: impl FnOnce() -> TractResult<T>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(|e| failed(what, &e)),
        Err(_) => Err(Error::Engine { what, reason: "it gave up".into() }),
    }
}

fn failed(what: &'static str, error: &TractError) -> Error {
    let reason = format!("{error:#}").replace('\n', " ");
    Error::Engine { what, reason }
}
