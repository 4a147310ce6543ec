//! What can go wrong: one variant per cause, one line per message.

use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that this crate refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another error, in a file.
    #[error("{path}: {source}")]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The system starts no more threads.
    #[error("cannot start {threads} threads ({source}): use fewer")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system says.
        source: std::io::Error,
    },

    /// `SEAM_ISA` names no instruction set.
    #[error(transparent)]
    Isa(#[from] seam_kernels::isa::IsaError),

    /// The first bytes are not those of the kind of file expected.
    #[error("not a {kind} file: it does not begin with the {kind} magic")]
    Magic {
        /// `.seam` or `.pack`.
        kind: &'static str,
    },
    /// Written by another version of the format.
    #[error(
        "{kind} format version {found}, this program reads version {known}: write the file anew"
    )]
    Version {
        /// `.seam` or `.pack`.
        kind: &'static str,
        /// In the file.
        found: u32,
        /// Of this program.
        known: u32,
    },
    /// The file ends before its header does.
    #[error("truncated in the header: {len} bytes of {needed}; fetch the file again")]
    TruncatedHeader {
        /// Bytes there.
        len: u64,
        /// Bytes of the header.
        needed: u64,
    },
    /// The file ends at no point.
    #[error(
        "truncated: {len} bytes are no prefix of this model (next is {needed} bytes, point `{point}`); fetch the rest"
    )]
    Truncated {
        /// Bytes there.
        len: u64,
        /// Length of the next longer prefix.
        needed: u64,
        /// The point of that prefix.
        point: String,
    },
    /// Bytes follow the end of the model.
    #[error("{len} bytes, but the file ends at {end}: it is damaged; fetch it again")]
    Oversized {
        /// Bytes there.
        len: u64,
        /// Bytes of the whole file.
        end: u64,
    },
    /// The header's bytes changed after they were written.
    #[error("the header does not match its checksum: the file is damaged; fetch it again")]
    HeaderChecksum,
    /// The payload's bytes changed after they were written.
    #[error(
        "the payload up to `{part}` does not match its SHA-256: the file is damaged; fetch it again"
    )]
    PayloadChecksum {
        /// The prefix or step.
        part: String,
    },
    /// A field says what cannot be.
    #[error("{record}: {field}: {cause}")]
    Field {
        /// The record of the header.
        record: String,
        /// The field of the record.
        field: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// Weights that no reader accepts.
    #[error("step `{step}`: {field}[{index}]: {cause}")]
    Weights {
        /// The step.
        step: String,
        /// `scales`, `bias` or `weights`.
        field: &'static str,
        /// Index into the array.
        index: usize,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The worst case of an output channel passes the 32-bit accumulator.
    #[error(
        "step `{step}`: output channel {channel} can pass the 32-bit accumulator: keep this layer in float"
    )]
    Accumulator {
        /// The step.
        step: String,
        /// The output channel.
        channel: usize,
    },
    /// The step's data is not what its operator takes.
    #[error("step `{step}`: {cause}")]
    StepData {
        /// The step.
        step: String,
        /// What is wrong.
        cause: String,
    },

    /// No point of that name.
    #[error("no point `{name}` in this model: it has {known}")]
    NoPoint {
        /// Asked for.
        name: String,
        /// The points there are.
        known: String,
    },
    /// The file is a prefix that ends before the point.
    #[error("this file reaches `{reaches}`, not `{point}`: fetch the longer prefix")]
    BeyondPrefix {
        /// Asked for.
        point: String,
        /// The deepest point held.
        reaches: String,
    },
    /// The activations would take more memory than a session allows.
    #[error("{what} would take {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// What for.
        what: &'static str,
        /// Bytes asked for.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The pack belongs to another model, instruction set or version.
    #[error("the pack is of {field} {found}, not {expected}: run `seam-edge tune` again")]
    PackOf {
        /// `model`, `isa` or `Seam version`.
        field: &'static str,
        /// In the pack.
        found: String,
        /// Needed.
        expected: String,
    },
    /// No such kernel on this instruction set.
    #[error("step `{step}`: no kernel `{algorithm}` on {isa}: run `seam-edge tune` again")]
    NoAlgorithm {
        /// The step.
        step: String,
        /// The algorithm asked for.
        algorithm: String,
        /// The instruction set.
        isa: &'static str,
    },
    /// The arrived bytes do not continue the prefix that is there.
    #[error(
        "the bytes fetched are of another model than the prefix they extend: fetch it from the start"
    )]
    OtherModel,

    /// No codec of that name.
    #[error("no codec `{name}`: this version has {known}")]
    NoCodec {
        /// Asked for.
        name: String,
        /// The codecs there are.
        known: String,
    },
    /// Bytes that stand for no tensor.
    #[error("these are no {codec} bytes of a tensor of this shape ({cause}): encode it again")]
    Encoded {
        /// The codec.
        codec: &'static str,
        /// What is wrong with them.
        cause: String,
    },

    /// A preprocessing rule that cannot be read.
    #[error("preprocessing: {0}")]
    Preprocess(String),
    /// An image of a size that the network does not take.
    #[error(
        "the image comes out as {found}, the network takes {expected}: add resize:{expected} or center-crop:{expected} to --preprocess"
    )]
    ImageSize {
        /// `HxW` after the preprocessing.
        found: String,
        /// `HxW` of the network's input.
        expected: String,
    },
    /// An image too small for a crop.
    #[error("the image is {found}, too small for center-crop:{crop}: resize it first")]
    Crop {
        /// `HxW` of the image.
        found: String,
        /// `HxW` of the crop.
        crop: String,
    },
    /// An image that cannot be decoded.
    #[error("{path}: cannot decode the image: {cause}")]
    Image {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
}

impl Error {
    /// A closure for `map_err` that says which file an I/O error belongs to.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// This error, said of `path`.
    pub fn in_file(self, path: &Path) -> Error {
        match self {
            named @ (Error::Io { .. } | Error::InFile { .. } | Error::Image { .. }) => named,
            other => Error::InFile { path: path.to_path_buf(), source: Box::new(other) },
        }
    }

    pub(crate) fn field(
        record: impl std::fmt::Display,
        field: &'static str,
        cause: impl Into<String>,
    ) -> Error {
        Error::Field { record: record.to_string(), field, cause: cause.into() }
    }
}
