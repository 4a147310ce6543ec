//! Small ONNX networks made in memory, and the two ways to run them.
#![allow(dead_code)]

use std::path::Path;
use std::sync::Arc;

use seam_compiler::pb::tensor_proto::DataType;
use seam_compiler::pb::tensor_shape_proto::{Dimension, dimension::Value};
use seam_compiler::pb::{self, attribute_proto::AttributeType};
use seam_compiler::{Engine, Error, Inputs, Method, Network, Options, calibrate, compile};
use seam_runtime::boundary::Frame;
use seam_runtime::graph::{Element, Graph, Point, StepData};
use seam_runtime::preprocess::{Channels, Preprocess};
use seam_runtime::{Model, Session, session, writer};
use tract_onnx::prelude::*;

/// A graph being built; the values `x` and `y` are its input and output.
pub(crate) struct Net {
    pub(crate) graph: pb::GraphProto,
    pub(crate) opset: i64,
    pub(crate) seed: u64,
}

impl Net {
    /// A graph with a float input `x` of `dims`.
    pub(crate) fn new(opset: i64, dims: &[usize]) -> Net {
        let dims: Vec<Value> = dims.iter().map(|&d| Value::DimValue(d as i64)).collect();
        Net::with_dims(opset, &dims)
    }

    pub(crate) fn with_dims(opset: i64, dims: &[Value]) -> Net {
        let graph = pb::GraphProto {
            name: "net".into(),
            input: vec![info("x", Some(dims))],
            output: vec![info("y", None)],
            ..Default::default()
        };
        Net { graph, opset, seed: 1 }
    }

    /// Adds a node called after its output.
    pub(crate) fn node(
        mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<pb::AttributeProto>,
    ) -> Net {
        self.graph.node.push(pb::NodeProto {
            op_type: operator.into(),
            name: format!("n_{output}"),
            input: inputs.iter().map(|&i| i.into()).collect(),
            output: vec![output.into()],
            attribute,
            ..Default::default()
        });
        self
    }

    /// Adds an initializer of random values of about 1 / sqrt(fan-in).
    pub(crate) fn random(mut self, name: &str, dims: &[usize]) -> Net {
        let fan: usize = dims.iter().skip(1).product();
        let scale = 1.7 / (fan.max(1) as f32).sqrt();
        self.seed += 1;
        let values: Vec<f32> =
            noise(self.seed, dims.iter().product()).iter().map(|v| v * scale).collect();
        self.floats(name, dims, &values)
    }

    pub(crate) fn floats(mut self, name: &str, dims: &[usize], values: &[f32]) -> Net {
        self.graph.initializer.push(pb::TensorProto {
            name: name.into(),
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type: DataType::Float as i32,
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Default::default()
        });
        self
    }

    pub(crate) fn ints(mut self, name: &str, values: &[i64]) -> Net {
        self.graph.initializer.push(pb::TensorProto {
            name: name.into(),
            dims: vec![values.len() as i64],
            data_type: DataType::Int64 as i32,
            int64_data: values.to_vec(),
            ..Default::default()
        });
        self
    }

    /// A convolution of `w_OUTPUT` and `b_OUTPUT`, random.
    pub(crate) fn conv(
        self,
        x: &str,
        y: &str,
        dims: [usize; 4],
        extra: Vec<pb::AttributeProto>,
    ) -> Net {
        let (w, b) = (format!("w_{y}"), format!("b_{y}"));
        let mut attributes = vec![ints("kernel_shape", &[dims[2] as i64, dims[3] as i64])];
        attributes.extend(extra);
        self.random(&w, &dims).random(&b, &[dims[0]]).node("Conv", &[x, &w, &b], y, attributes)
    }

    pub(crate) fn model(self) -> pb::ModelProto {
        pb::ModelProto {
            ir_version: 7,
            opset_import: vec![pb::OperatorSetIdProto {
                domain: String::new(),
                version: self.opset,
            }],
            graph: Some(self.graph),
            ..Default::default()
        }
    }
}

fn info(name: &str, dims: Option<&[Value]>) -> pb::ValueInfoProto {
    let dim = |v: &Value| Dimension { value: Some(v.clone()), ..Default::default() };
    pb::ValueInfoProto {
        name: name.into(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor {
                elem_type: DataType::Float as i32,
                shape: dims
                    .map(|dims| pb::TensorShapeProto { dim: dims.iter().map(dim).collect() }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn int(name: &str, i: i64) -> pb::AttributeProto {
    let name = name.into();
    pb::AttributeProto { name, i, r#type: AttributeType::Int as i32, ..Default::default() }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> pb::AttributeProto {
    let (name, ints) = (name.into(), values.to_vec());
    pb::AttributeProto { name, ints, r#type: AttributeType::Ints as i32, ..Default::default() }
}

pub(crate) fn float(name: &str, f: f32) -> pb::AttributeProto {
    let name = name.into();
    pb::AttributeProto { name, f, r#type: AttributeType::Float as i32, ..Default::default() }
}

pub(crate) fn string(name: &str, text: &str) -> pb::AttributeProto {
    let (name, s) = (name.into(), text.into());
    pb::AttributeProto { name, s, r#type: AttributeType::String as i32, ..Default::default() }
}

/// Values of about a standard normal distribution, the same for the same seed.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
}

/// Pixels of noise.
pub(crate) fn pixels(seed: u64, count: usize) -> Vec<u8> {
    noise(seed, count).iter().map(|v| (128.0 + 40.0 * v).clamp(0.0, 255.0) as u8).collect()
}

pub(crate) fn import(model: pb::ModelProto) -> Result<Network, Error> {
    seam_compiler::import_model(model, Path::new("."))
}

/// The first output of a model as tract runs it, nothing optimised.
pub(crate) fn run(model: &pb::ModelProto, input: Tensor) -> Vec<f32> {
    let model = tract_onnx::onnx().parse(model, None).expect("tract parses").model;
    let plan = model.into_typed().expect("types").into_runnable().expect("plan");
    let outputs = plan.run(tvec!(input.into())).expect("runs");
    outputs[0].to_plain_array_view::<f32>().expect("f32").iter().copied().collect()
}

pub(crate) fn tensor<T: Datum + Copy>(dims: &[usize], values: &[T]) -> Tensor {
    Tensor::from_shape(dims, values).expect("fits")
}

pub(crate) fn assert_close(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let scale = a.iter().fold(1f32, |m, v| m.max(v.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}: [{i}] {a} against {b}");
    }
}

/// Signal over noise in dB.
pub(crate) fn sqnr(signal: &[f32], other: &[f32]) -> f64 {
    let square = |v: f32| f64::from(v).powi(2);
    let noise: f64 = signal.iter().zip(other).map(|(a, b)| square(a - b)).sum();
    10.0 * (signal.iter().map(|&a| square(a)).sum::<f64>() / noise).log10()
}

pub(crate) fn preprocess(network: &Network) -> Preprocess {
    let channels = if network.input_shape().c == 1 { Channels::Gray } else { Channels::Rgb };
    let count = channels.count();
    Preprocess { mean: vec![128.0; count], std: vec![40.0; count], ..Preprocess::new(channels) }
}

/// Calibrated on three noise images.
pub(crate) fn quantize(
    network: &Network,
    keep_float: &[&str],
    method: Method,
) -> Result<(Graph, Vec<StepData>), Error> {
    let preprocess = preprocess(network);
    let at = |i: usize| Ok(preprocess.to_f32(&pixels(i as u64 + 1, network.input_shape().len())));
    let calibration = calibrate(network, &Inputs { count: 3, at: &at }, method, &|_, _| {})?;
    let keep_float = keep_float.iter().map(|s| s.to_string()).collect();
    let options = Options { name: "net".into(), preprocess: preprocess.clone(), keep_float };
    compile(network, &calibration, &options)
}

/// A network in both forms, ready to run.
pub(crate) struct Both {
    pub(crate) network: Network,
    pub(crate) engine: Engine,
    pub(crate) model: Arc<Model>,
}

impl Both {
    pub(crate) fn new(model: pb::ModelProto, keep_float: &[&str]) -> Both {
        let network = import(model).expect("imports");
        let (graph, data) = quantize(&network, keep_float, Method::MinMax).expect("quantizes");
        let bytes = writer::encode(&graph, &data).expect("writes");
        let model = Arc::new(Model::from_bytes(bytes).expect("reads back"));
        model.verify().expect("verifies");
        let engine = Engine::new(&network, &graph).expect("engine");
        Both { network, engine, model }
    }

    pub(crate) fn graph(&self) -> &Graph {
        self.model.graph()
    }

    /// The bytes that cross at `point`, and the answer behind it.
    pub(crate) fn split(&self, pixels: &[u8], point: Point) -> (Vec<u8>, Vec<f32>) {
        let graph = self.graph();
        if point == Point::Input {
            let answer = self.engine.tail(point).expect("tail").run(&[pixels]).expect("runs");
            return (pixels.to_vec(), answer);
        }
        let options =
            session::Options { point: Some(point), ..session::Options::from_env().expect("ISA") };
        let mut session = Session::new(self.model.clone(), options).expect("session");
        let Element::U8 { scale, zero_point } = graph.tensor(graph.input).element else {
            panic!("the input is quantized");
        };
        let tables = graph.preprocess.tables(scale, zero_point);
        seam_runtime::preprocess::codes(&tables, pixels, session.input());
        session.run();
        let mut frame = Frame::new(graph, point, None);
        frame.encode(&session);
        let answer = match point {
            Point::Output => {
                let mut values = vec![0.0; graph.tensor(graph.boundary(point)).shape.len()];
                session.output_f32(&mut values);
                values
            }
            _ => self.engine.tail(point).expect("tail").run(&[frame.tensor()]).expect("runs"),
        };
        (frame.tensor().to_vec(), answer)
    }

    pub(crate) fn pixels(&self) -> Vec<u8> {
        pixels(2, self.network.input_shape().len())
    }

    /// The FP32 answer.
    pub(crate) fn fp32(&self, pixels: &[u8]) -> Vec<f32> {
        self.engine.run(&self.graph().preprocess.to_f32(pixels)).expect("runs")
    }
}
