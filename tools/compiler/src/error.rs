use std::path::PathBuf;

/// What can go wrong between an ONNX file and a `.seam` file. Every message is one line that names
/// the cause and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no ONNX protobuf.
    #[error("{} is no ONNX file ({reason}): export the network again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the decoder met.
        reason: String,
    },
    /// An operator set that is not known here.
    #[error("operator set {0} is outside of 9 to 22: export the network with opset_version=17")]
    Opset(i64),
    /// The network has not exactly one input and one output.
    #[error("the network has {count} {what}s ({names}): export one with a single {what}")]
    NotSingle {
        /// `input` or `output`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// Their names.
        names: String,
    },
    /// The input is not an image batch of one.
    #[error("input {name} has shape {shape}: export the network with an input of 1xCxHxW floats")]
    InputShape {
        /// The input.
        name: String,
        /// Its declared shape, or its element type.
        shape: String,
    },
    /// A dimension other than the batch is left open.
    #[error(
        "input {name} has a dynamic dimension {dimension} (axis {axis}): export the network with \
         a fixed height and width"
    )]
    DynamicDimension {
        /// The input.
        name: String,
        /// Counted from the batch, 0.
        axis: usize,
        /// Its symbol.
        dimension: String,
    },
    /// A node reads a value that nothing provides.
    #[error(
        "node {node} reads {value}, which is neither an initializer nor another node's output: \
         export the network with its weights"
    )]
    MissingInitializer {
        /// The reader.
        node: String,
        /// What it reads.
        value: String,
    },
    /// A node reads what a later node, or itself, writes.
    #[error(
        "node {node} reads {value}, which is written only behind it: the graph is cyclic or not \
         sorted, export it again"
    )]
    NotSorted {
        /// The reader.
        node: String,
        /// What it reads.
        value: String,
    },
    /// Two nodes write one value.
    #[error("two nodes write {0}: the graph is invalid, export it again")]
    WrittenTwice(String),
    /// The file of an initializer's data is not there.
    #[error(
        "initializer {tensor} keeps its data in {}, which cannot be read ({reason}): put the file \
         beside the .onnx file", path.display()
    )]
    ExternalData {
        /// The initializer.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An initializer whose data do not fit its shape or type.
    #[error("initializer {tensor} is invalid ({reason}): export the network again")]
    Initializer {
        /// The initializer.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A node whose attributes and shapes contradict each other.
    #[error("node {node} ({operator}) is invalid: {reason}; export the network again")]
    Node {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor beyond what Seam addresses.
    #[error("{value} would hold {elements} elements, more than 2^30: use a smaller input")]
    TooLarge {
        /// The value.
        value: String,
        /// Elements, or a description where even the count overflows.
        elements: String,
    },
    /// The edge cannot run even the first layer.
    #[error(
        "the edge cannot run the first layer: {operator} ({node}): {reason}; replace that \
         operator, or serve the whole network in the cloud"
    )]
    FirstLayer {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// Why not.
        reason: String,
    },
    /// A layer that does not exist was to be kept in float.
    #[error("no layer is called {name}: the layers are {layers}")]
    UnknownLayer {
        /// The name asked for.
        name: String,
        /// Those that exist.
        layers: String,
    },
    /// A weight of a layer kept in float does not fit f16.
    #[error("layer {0} has weights beyond 65504, which f16 cannot hold: quantize it instead")]
    FloatWeights(String),
    /// A weight, bias or other constant is no finite number.
    #[error(
        "node {node} has a constant that is NaN or infinite: train or export the network again"
    )]
    NotFiniteConstant {
        /// The node.
        node: String,
    },
    /// There is nothing to calibrate on.
    #[error("there are no images to calibrate on: name a folder with images, or use noise")]
    NoInputs,
    /// An input of another size than the network's.
    #[error(
        "an input of {found} values was given, the network takes {expected} ({shape}): check \
         --preprocess"
    )]
    InputLength {
        /// Values that the network takes.
        expected: usize,
        /// Values given.
        found: usize,
        /// The network's input, as height x width x channels.
        shape: String,
    },
    /// The network yields NaN or infinities.
    #[error(
        "{value} is NaN or infinite on a calibration input: check --preprocess and the weights"
    )]
    NotFinite {
        /// The value.
        value: String,
    },
    /// The preprocessing does not yield what the network takes.
    #[error("the preprocessing yields {found}, the network takes {expected}: change --preprocess")]
    Preprocess {
        /// Channels and size it yields.
        found: String,
        /// Channels and size it should.
        expected: String,
    },
    /// A calibration that lacks a tensor of the network.
    #[error("the calibration has no range of {0}: calibrate this network again")]
    NoRange(String),
    /// The FP32 network is not the one that the `.seam` file was made from.
    #[error("the FP32 network has no tensor {0} of the .seam file: quantize the network again")]
    OtherNetwork(String),
    /// There is no tail behind the last layer.
    #[error("there is no tail behind the point output: the edge runs the whole network")]
    NoTail,
    /// A tail's input of another length.
    #[error("boundary {name} takes {expected} bytes, got {found}")]
    BoundaryLength {
        /// The tensor.
        name: String,
        /// Bytes it takes.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The FP32 engine cannot run the network.
    #[error("the FP32 engine cannot {what}: {reason}")]
    Engine {
        /// What it was asked.
        what: &'static str,
        /// What it answered, on one line.
        reason: String,
    },
    /// A sum of products of codes that may pass 32 bits under the paper's scheme.
    #[error(
        "layer {layer} sums {depth} products of codes, the paper's scheme holds {most}: \
         use the integer scheme"
    )]
    SchemeDepth {
        /// The layer.
        layer: String,
        /// Products in its sums.
        depth: usize,
        /// Products that 32 bits hold for sure.
        most: usize,
    },
    /// The edge's side: a `.seam` file, an image.
    #[error(transparent)]
    Runtime(#[from] seam_runtime::Error),
    /// The layers make no network that can be cut.
    #[error(transparent)]
    Layers(#[from] seam_tuner::Error),
}
