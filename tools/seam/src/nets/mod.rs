//! Classic networks by their true shapes: AlexNet, VGG16, ResNet-18 and GoogLeNet as Caffe has
//! them. Weights are drawn, not trained, and only where somebody wants to run them: what a layer
//! takes, and what crosses behind it, does not depend on their values.
//!
//! | hop | file |
//! |---|---|
//! | the networks, layer by layer | `alexnet.rs`, `vgg16.rs`, `resnet18.rs`, `googlenet.rs` |
//! | nodes put one behind the other, shapes inferred | `builder.rs` |
//! | the network as the candidate rules see it, its weights and multiplications | here |
//! | the same with seeded weights, as ONNX | `onnx.rs` |

mod alexnet;
mod builder;
mod googlenet;
mod onnx;
mod resnet18;
mod vgg16;

pub(crate) use alexnet::alexnet;
use builder::{Builder, window};
pub(crate) use googlenet::googlenet;
pub(crate) use onnx::{PREPROCESS, images};
pub(crate) use resnet18::resnet18;
use seam_compiler::pb::ModelProto;
use seam_kernels::Shape;
use seam_tuner::LayerGraph;
use seam_tuner::layer_graph::{self, Value};
pub(crate) use vgg16::vgg16;

/// A network: one image in, one answer out.
pub(crate) struct Net {
    /// Its name.
    pub(crate) name: &'static str,
    /// The image that it reads.
    pub(crate) input: Shape,
    /// Its operators, in an order in which they can run; the last one writes the answer.
    pub(crate) nodes: Vec<Node>,
}

/// An operator; the tensor that it writes bears its name.
pub(crate) struct Node {
    /// Unique.
    pub(crate) name: String,
    /// What it does.
    pub(crate) op: Op,
    /// What it reads.
    pub(crate) inputs: Vec<Value>,
    /// What it writes.
    pub(crate) output: Shape,
    /// Trained weights, biases and normalization aside.
    pub(crate) weights: u64,
}

/// What an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Square kernel; `bias` is false where a [`Op::BatchNorm`] follows.
    Conv {
        window: Window,
        groups: usize,
        bias: bool,
    },
    FullyConnected,
    BatchNorm,
    Relu,
    /// Across five channels, as AlexNet has it.
    Lrn,
    /// Its size is rounded up, as Caffe does.
    MaxPool(Window),
    /// Over the whole image.
    AveragePool,
    Add,
    Concat,
    Flatten,
    Softmax,
}

/// A square window with the same padding on all sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) pad: usize,
}

impl Net {
    /// The network as the candidate rules see it.
    ///
    /// # Panics
    /// Never: the builder puts every node behind what it reads.
    pub(crate) fn layer_graph(&self) -> LayerGraph {
        let node = |node: &Node| layer_graph::Node {
            name: node.name.clone(),
            parametric: matches!(node.op, Op::Conv { .. } | Op::FullyConnected),
            inputs: node.inputs.clone(),
            on_edge: true,
        };
        LayerGraph::new(self.nodes.iter().map(node).collect(), self.nodes.len() - 1)
            .expect("the builder makes networks only")
    }

    /// The shape of a tensor.
    pub(crate) fn shape(&self, value: Value) -> Shape {
        match value {
            Value::Input => self.input,
            Value::Node(i) => self.nodes[i].output,
        }
    }

    /// The name of a tensor.
    pub(crate) fn tensor(&self, value: Value) -> &str {
        match value {
            Value::Input => "data",
            Value::Node(i) => &self.nodes[i].name,
        }
    }

    /// Multiply-accumulates of node `i`.
    pub(crate) fn macs(&self, i: usize) -> u64 {
        self.nodes[i].weights * self.nodes[i].output.pixels() as u64
    }

    /// The network with seeded weights as an ONNX model of operator set 13.
    pub(crate) fn onnx(&self) -> ModelProto {
        onnx::model(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(net: &Net) -> u64 {
        net.nodes.iter().map(|node| node.weights).sum()
    }

    fn megamacs(net: &Net) -> u64 {
        (0..net.nodes.len()).map(|i| net.macs(i)).sum::<u64>() / 1_000_000
    }

    /// The published networks' own figures.
    #[test]
    fn the_networks_have_their_weights_and_multiplications() {
        let of = |net: Net| (weights(&net), megamacs(&net));
        assert_eq!(of(alexnet()), (60_954_656, 724));
        assert_eq!(of(vgg16()), (138_344_128, 15_470));
        assert_eq!(of(googlenet()), (6_990_272, 1_582));
        // With the projection of res2a, which the Caffe variant has and others have not.
        assert_eq!(of(resnet18()), (11_171_008 + 512_000, 1_826));
    }

    #[test]
    fn candidates_bear_the_papers_names() {
        let names = |net: Net| -> Vec<String> {
            seam_tuner::candidates(&net.layer_graph()).into_iter().map(|c| c.name).collect()
        };
        let list = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(names(alexnet()), list("conv1 conv2 conv3 conv4 conv5 fc6 fc7"));
        assert_eq!(
            names(vgg16()),
            list(
                "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3 conv4_1 conv4_2 conv4_3 \
                 conv5_1 conv5_2 conv5_3 fc6 fc7"
            )
        );
        assert_eq!(
            names(resnet18()),
            list("conv1 res2a res2b res3a res3b res4a res4b res5a res5b")
        );
        let google = names(googlenet());
        assert_eq!(google[..3], list("conv1 conv2_reduce conv2")[..]);
        assert_eq!(google.len(), 3 + 9);
    }

    /// Bytes of what crosses, in the paper's KB.
    #[test]
    fn tensors_have_their_published_sizes() {
        let kb = |net: &Net, point: &str| {
            let graph = net.layer_graph();
            let candidates = seam_tuner::candidates(&graph);
            let at = candidates.iter().find(|c| c.name == point).unwrap();
            net.shape(Value::Node(at.node)).len() as f64 / 1024.0
        };
        let (alex, vgg, res, google) = (alexnet(), vgg16(), resnet18(), googlenet());
        for (net, point, expected) in [
            (&alex, "conv1", 68.3),
            (&alex, "conv2", 42.2),
            (&alex, "conv3", 63.4),
            (&alex, "conv5", 9.0),
            (&alex, "fc7", 4.0),
            (&vgg, "conv1_1", 3136.0),
            (&vgg, "conv1_2", 784.0),
            (&vgg, "conv5_3", 24.5),
            (&res, "conv1", 196.0),
            (&res, "res4a", 49.0),
            (&res, "res5b", 0.5),
            (&google, "conv1", 196.0),
            (&google, "conv2", 147.0),
        ] {
            let found = kb(net, point);
            assert!((found - expected).abs() < 0.05, "{} {point}: {found}", net.name);
        }
    }

    #[test]
    fn an_onnx_file_holds_the_same_network() {
        for net in [alexnet(), resnet18(), googlenet()] {
            let network =
                seam_compiler::import_model(net.onnx(), std::path::Path::new(".")).unwrap();
            let layers: Vec<_> = network.layers().collect();
            let conv = |node: &&Node| matches!(node.op, Op::Conv { .. } | Op::FullyConnected);
            let expected: Vec<_> =
                net.nodes.iter().filter(conv).map(|node| node.name.as_str()).collect();
            assert_eq!(layers, expected, "{}", net.name);
            let shape = net.nodes.last().unwrap().output;
            assert_eq!(network.output_dims(), Some(&[1, shape.c][..]), "{}", net.name);
            let biases: usize = net.nodes.iter().filter(conv).map(|node| node.output.c).sum();
            assert_eq!(network.parameters() as u64, weights(&net) + biases as u64, "{}", net.name);
        }
    }
}
