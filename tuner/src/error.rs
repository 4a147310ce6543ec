//! What can go wrong in this crate, a variant per cause.

/// What helps where a profile is of no use.
pub(crate) const MEASURE_ANEW: &str = "measure it again with this version of Seam";
/// What helps where a plan is of no use.
pub(crate) const PLAN_ANEW: &str = "plan anew with `seam plan`";

/// Why a network, a profile, an environment or a word was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two nodes of a layer graph have one name.
    #[error("two layers are called {0:?}: points are named after layers, rename one")]
    DuplicateLayer(String),
    /// A node of a layer graph reads nothing.
    #[error("layer {0:?} reads no tensor: fold constants before asking for candidates")]
    LayerWithoutInput(String),
    /// A node of a layer graph reads one that does not stand before it.
    #[error("layer {node:?} reads node {input}, which does not stand before it: sort the nodes")]
    LayerNotBefore {
        /// The reader.
        node: String,
        /// What it reads.
        input: usize,
    },
    /// A layer graph has no node of the output's index.
    #[error("the output is node {output} of {nodes}: name a node that exists")]
    NoOutput {
        /// Index given as the output.
        output: usize,
        /// Nodes of the graph.
        nodes: usize,
    },

    /// A file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// What a file holds was refused.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: Box<Error>,
    },
    /// A document is no JSON, or its fields are not those of its schema.
    #[error("{what} cannot be understood ({reason}): {remedy}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// Where and why.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A document has another schema or version.
    #[error("{what} has the schema {found:?}, this version of Seam reads {expected:?}: {remedy}")]
    Schema {
        /// Which document.
        what: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A plan chooses a point that its table lacks.
    #[error("the plan chooses {0:?}, which it does not list: {PLAN_ANEW}")]
    Unlisted(String),
    /// A field holds a value that no measurement gives.
    #[error("{what}: {field} is {value}, but must be {must_be}: measure it again")]
    Nonsense {
        /// Which document.
        what: &'static str,
        /// Path of the field.
        field: String,
        /// What it holds.
        value: String,
        /// What it could hold.
        must_be: &'static str,
    },
    /// A profile was measured with another model.
    #[error(
        "{what} is of {found:?} ({found_id}), not of {expected:?} ({expected_id}): measure it with this model"
    )]
    OtherModel {
        /// Which document.
        what: &'static str,
        /// The model that it names.
        found: String,
        /// The first digits of that model's SHA-256.
        found_id: String,
        /// The model at hand.
        expected: String,
        /// The first digits of its SHA-256.
        expected_id: String,
    },
    /// A profile has no times for a point of the model.
    #[error("{what} has no point {point:?}, which the model has: measure it with the whole model")]
    MissingPoint {
        /// Which document.
        what: &'static str,
        /// The point.
        point: String,
    },
    /// A cost model was asked for without a measured step.
    #[error("no step was measured to fit a cost model to: give profiles of this board")]
    NothingToFit,
    /// A cost model was asked for from profiles of several devices.
    #[error("the profiles to fit are of several devices ({0}): give those of one board")]
    SeveralDevices(String),
    /// No point is left to choose from.
    #[error(
        "the objective {0:?} admits no point of this model: its first layer cannot run on the edge"
    )]
    NoPoint(&'static str),

    /// The constraints leave nothing to choose from.
    #[error("no point suits the objective {objective:?} and {constraints}: relax one of them")]
    Constrained {
        /// The objective.
        objective: &'static str,
        /// The constraints, in words.
        constraints: String,
    },
    /// A constraint names a point that the model does not have.
    #[error("the model has no point {name:?}: its points are {known}")]
    NoSuchPoint {
        /// The name.
        name: String,
        /// The points there are.
        known: String,
    },
    /// A constraint names a layer that the model does not have.
    #[error(
        "{model} has no layer {name:?} that the edge can run: `seam inspect` lists those it has"
    )]
    NoSuchLayer {
        /// The name.
        name: String,
        /// The model.
        model: String,
    },

    /// A tensor of a cost graph is read by an operator that does not stand behind its writer.
    #[error(
        "operator {reader} reads tensor {tensor} but does not stand behind what writes it: sort the operators"
    )]
    ReaderNotBehind {
        /// Index of the tensor.
        tensor: usize,
        /// Index of the reader.
        reader: usize,
    },
    /// The costs of a cost graph are negative where nothing can be, or too high to be added up.
    #[error(
        "costs of a general cut are negative or sum up to centuries: check the uplink and the profiles"
    )]
    Unaffordable,
    /// A general cut was asked for an objective that is no sum.
    #[error("a general cut makes a sum the least, {0:?} is none: use best or fastest")]
    NoSum(&'static str),

    /// A session for timing cannot be made.
    #[error(transparent)]
    Runtime(#[from] seam_runtime::Error),

    /// A word is no size, rate or duration.
    #[error("{text:?} is no {quantity}: write a number and one of {units}")]
    Unit {
        /// The word.
        text: String,
        /// What was asked for.
        quantity: &'static str,
        /// The units of that quantity.
        units: &'static str,
    },
    /// A quantity out of its range.
    #[error("{text:?} is no possible {quantity}: it must be {must_be}")]
    Range {
        /// The word.
        text: String,
        /// What was asked for.
        quantity: &'static str,
        /// The range.
        must_be: &'static str,
    },
    /// A word is no objective.
    #[error("{0:?} is no objective: use best, fastest, least-download or throughput")]
    Objective(String),
    /// A word pins no layer.
    #[error("{0:?} pins no layer: write LAYER, LAYER=edge or LAYER=cloud")]
    Pin(String),
    /// A word is no choice of codecs.
    #[error("{0:?} is no codec: use auto, none or one of {known}", known = seam_runtime::Codec::names())]
    Codec(String),
}
