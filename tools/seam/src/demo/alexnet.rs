//! AlexNet as Caffe has it: true shapes, groups and LRN, and 61 million weights that are drawn,
//! not trained. What a layer takes does not depend on its weights' values.

use seam_compiler::pb::attribute_proto::AttributeType;
use seam_compiler::pb::tensor_proto::DataType;
use seam_compiler::pb::tensor_shape_proto::{Dimension, dimension};
use seam_compiler::pb::type_proto;
use seam_compiler::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use seam_runtime::preprocess::Pixels;

/// Rows, and pixels in a row, of an image.
pub(crate) const SIZE: usize = 227;
/// From an image to the network's input: Caffe's channel means, no scale.
pub(crate) const PREPROCESS: &str = "channels:BGR,scale:1,mean:104:117:123,std:1:1:1";

const SEED: u64 = 2012;
/// Standard deviation of the values that the first layer reads: pixels less their mean.
const INPUT_DEVIATION: f32 = 73.6;

/// The network as an ONNX model of operator set 13.
pub(crate) fn model() -> ModelProto {
    let mut net = Builder::new();
    net.conv("conv1", 96, 3, 11, 4, 0, 1);
    net.relu("relu1").lrn("norm1").pool("pool1");
    net.conv("conv2", 256, 96, 5, 1, 2, 2);
    net.relu("relu2").lrn("norm2").pool("pool2");
    net.conv("conv3", 384, 256, 3, 1, 1, 1);
    net.relu("relu3");
    net.conv("conv4", 384, 384, 3, 1, 1, 2);
    net.relu("relu4");
    net.conv("conv5", 256, 384, 3, 1, 1, 2);
    net.relu("relu5").pool("pool5");
    net.node("Flatten", "flatten", &[], vec![int("axis", 1)]);
    net.fully_connected("fc6", 4096, 256 * 6 * 6);
    net.relu("relu6");
    net.fully_connected("fc7", 4096, 4096);
    net.relu("relu7");
    net.fully_connected("fc8", 1000, 4096);
    net.node("Softmax", "prob", &[], vec![int("axis", 1)]);
    net.finish("alexnet", [1, 3, SIZE as i64, SIZE as i64], [1, 1000])
}

/// `count` images of seeded noise, to calibrate with.
pub(crate) fn images(count: usize) -> Vec<Pixels> {
    let mut noise = Noise(SEED ^ 0xca11_b7a7e);
    let image = |_| Pixels {
        height: SIZE,
        width: SIZE,
        channels: 3,
        data: (0..SIZE * SIZE * 3).map(|_| (noise.next() >> 56) as u8).collect(),
    };
    (0..count).map(image).collect()
}

/// A chain of nodes; each reads what the last one wrote.
struct Builder {
    graph: GraphProto,
    last: String,
    noise: Noise,
    /// What weights are divided by beside their fan-in, so that activations keep a size of about 1
    /// behind the first layer.
    deviation: f32,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            graph: GraphProto::default(),
            last: "data".into(),
            noise: Noise(SEED),
            deviation: INPUT_DEVIATION,
        }
    }

    #[allow(clippy::too_many_arguments)] // a convolution's own numbers, in the field's order
    fn conv(
        &mut self,
        name: &str,
        outputs: i64,
        inputs: i64,
        kernel: i64,
        stride: i64,
        pad: i64,
        groups: i64,
    ) {
        let dims = [outputs, inputs / groups, kernel, kernel];
        let constants = self.constants(name, &dims, 2.0);
        let attributes = vec![
            ints("kernel_shape", &[kernel, kernel]),
            ints("strides", &[stride, stride]),
            ints("pads", &[pad; 4]),
            int("group", groups),
        ];
        self.node("Conv", name, &constants, attributes);
    }

    fn fully_connected(&mut self, name: &str, outputs: i64, inputs: i64) {
        let constants = self.constants(name, &[outputs, inputs], 2.0);
        self.node("Gemm", name, &constants, vec![int("transB", 1)]);
    }

    fn relu(&mut self, name: &str) -> &mut Builder {
        self.node("Relu", name, &[], Vec::new())
    }

    fn lrn(&mut self, name: &str) -> &mut Builder {
        let attributes =
            vec![int("size", 5), float("alpha", 1e-4), float("beta", 0.75), float("bias", 1.0)];
        self.node("LRN", name, &[], attributes)
    }

    fn pool(&mut self, name: &str) -> &mut Builder {
        let attributes = vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])];
        self.node("MaxPool", name, &[], attributes)
    }

    /// Weights of variance `gain / fan-in` and small biases; their names.
    fn constants(&mut self, name: &str, dims: &[i64], gain: f32) -> [String; 2] {
        let fan_in: i64 = dims[1..].iter().product();
        let deviation = (gain / fan_in as f32).sqrt() / std::mem::replace(&mut self.deviation, 1.0);
        let weight = self.constant(format!("{name}.weight"), dims, deviation);
        let bias = self.constant(format!("{name}.bias"), &dims[..1], 0.1);
        [weight, bias]
    }

    /// Uniformly distributed values of that deviation.
    fn constant(&mut self, name: String, dims: &[i64], deviation: f32) -> String {
        let count: i64 = dims.iter().product();
        let half_width = deviation * 3f32.sqrt();
        let mut raw_data = Vec::with_capacity(count as usize * 4);
        for _ in 0..count {
            raw_data.extend((self.noise.unit() * half_width).to_le_bytes());
        }
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            dims: dims.to_vec(),
            data_type: DataType::Float as i32,
            raw_data,
            ..Default::default()
        });
        name
    }

    fn node(
        &mut self,
        operator: &str,
        name: &str,
        constants: &[String],
        attribute: Vec<AttributeProto>,
    ) -> &mut Builder {
        let read = std::mem::replace(&mut self.last, name.into());
        self.graph.node.push(NodeProto {
            name: name.into(),
            op_type: operator.into(),
            input: [&[read], constants].concat(),
            output: vec![name.into()],
            attribute,
            ..Default::default()
        });
        self
    }

    fn finish(mut self, name: &str, input: [i64; 4], output: [i64; 2]) -> ModelProto {
        self.graph.name = name.into();
        self.graph.input = vec![value("data", &input)];
        self.graph.output = vec![value(&self.last, &output)];
        ModelProto {
            ir_version: 7,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 13 }],
            producer_name: "seam-demo".into(),
            graph: Some(self.graph),
            ..Default::default()
        }
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    let r#type = AttributeType::Int as i32;
    AttributeProto { name: name.into(), i, r#type, ..Default::default() }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    AttributeProto { name: name.into(), ints: ints.to_vec(), r#type, ..Default::default() }
}

fn float(name: &str, f: f32) -> AttributeProto {
    let r#type = AttributeType::Float as i32;
    AttributeProto { name: name.into(), f, r#type, ..Default::default() }
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim =
        |&d: &i64| Dimension { value: Some(dimension::Value::DimValue(d)), ..Default::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    let r#type =
        TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}

/// SplitMix64: the same numbers everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in −1..1.
    fn unit(&mut self) -> f32 {
        ((self.next() >> 40) as i32 - (1 << 23)) as f32 / (1 << 23) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_alexnets_weights() {
        let graph = model().graph.unwrap();
        let of = |name: &str| {
            let tensor = graph.initializer.iter().find(|t| t.name == name).unwrap();
            tensor.raw_data.len() / 4
        };
        // The paper counts these weights up to conv5 and in all.
        let convs: usize = (1..=5).map(|i| of(&format!("conv{i}.weight"))).sum();
        assert_eq!(convs, 2_332_704);
        let fcs: usize = (6..=8).map(|i| of(&format!("fc{i}.weight"))).sum();
        assert_eq!(convs + fcs, 60_954_656);
    }
}
