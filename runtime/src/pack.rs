//! The `.pack` file: the weights of a model laid out for one device.
//!
//! ```text
//! offset
//!      0  magic          8 bytes, "\x89SEAMPK\n"
//!      8  version        u32
//!     12  header length  u32, a multiple of 64
//!     16  checksum       SHA-256 of bytes 8..16 and 48..header length
//!     48  model id (32 bytes), instruction set, Seam version
//!         entries        step u32, name of the kernel, bytes u64; steps ascending
//!         SHA-256 of the payload
//!         zeros to a multiple of 64
//!         payload        the entries' bytes in order, each at a multiple of 64
//! ```
//!
//! A pack is made on the device that uses it and mapped read-only: what lies in it is what the
//! kernels read. Opening checks the header; [`Pack::verify`] reads everything.

use std::ops::Range;
use std::path::Path;

use byteorder::{ByteOrder, LittleEndian};
use seam_kernels::Isa;
use seam_kernels::conv::{Algorithm, Conv};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::format::bytes::{Reader, Record, Writer};
use crate::format::{ALIGN, MAX_HEADER};
use crate::graph::{Graph, Op, StepWeights};
use crate::mmap::Bytes;
use crate::model::{Model, hex};
use crate::prepare;
use crate::validate::MAX_WEIGHT_BYTES;
use crate::writer::write_file;

const MAGIC: [u8; 8] = *b"\x89SEAMPK\n";
const VERSION: u32 = 2;
const PREAMBLE: usize = 48;
/// Layouts are the kernels' own and may change with every release.
const SEAM_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Device layouts of a model's weights, mapped read-only and used where they lie.
pub struct Pack {
    bytes: Bytes,
    model: [u8; 32],
    isa: String,
    seam: String,
    entries: Vec<Entry>,
    sha256: [u8; 32],
    payload: usize,
}

struct Entry {
    step: usize,
    algorithm: String,
    range: Range<usize>,
}

/// The kernel chosen for a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The step, an [`Op::Conv`].
    pub step: usize,
    /// Name of one of the kernels that can run it ([`algorithms`]).
    pub algorithm: String,
}

impl Pack {
    /// Lays out the weights of every step that `model` holds and writes them to `path` (temporary
    /// file, fsync, rename): by the kernels of `choices`, and by the preferred one for steps that
    /// are not among them.
    ///
    /// # Errors
    /// A choice names no kernel of `isa`, the model's weights are damaged, or the file cannot be
    /// written.
    pub fn write(path: &Path, model: &Model, isa: Isa, choices: &[Choice]) -> Result<()> {
        write_file(path, &Pack::encode(model, isa, choices)?)
    }

    /// The bytes of [`Pack::write`].
    ///
    /// # Errors
    /// As there.
    pub fn encode(model: &Model, isa: Isa, choices: &[Choice]) -> Result<Vec<u8>> {
        let graph = model.graph();
        let mut payload = Vec::new();
        let mut writer = Writer::default();
        writer.bytes.extend_from_slice(&MAGIC);
        writer.u32(VERSION);
        writer.bytes.resize(PREAMBLE, 0);
        writer.bytes.extend_from_slice(&model.id());
        writer.string(isa.name());
        writer.string(SEAM_VERSION);
        let steps: Vec<usize> = (0..model.steps()).filter(|&i| is_conv(graph, i)).collect();
        writer.size(steps.len());
        for step in steps {
            let choice = choices.iter().find(|c| c.step == step);
            let algorithm = choice.map(|c| c.algorithm.as_str());
            let (conv, packed) = prepare::pack_step(model, step, isa, algorithm)?;
            writer.size(step);
            writer.string(conv.name());
            writer.u64(packed.len() as u64);
            payload.extend_from_slice(&packed);
            payload.resize(payload.len().next_multiple_of(ALIGN), 0);
        }
        writer.bytes.extend_from_slice(&Sha256::digest(&payload));
        writer.align();
        let mut file = writer.bytes;
        let len = file.len() as u32;
        LittleEndian::write_u32(&mut file[12..16], len);
        let sum = checksum(&file);
        file[16..PREAMBLE].copy_from_slice(&sum);
        file.append(&mut payload);
        Ok(file)
    }

    /// Maps the pack at `path` and checks its structure.
    ///
    /// # Errors
    /// The file cannot be read, is no pack, is damaged or cut short.
    pub fn open(path: &Path) -> Result<Pack> {
        Bytes::map(path).and_then(Pack::new).map_err(|e| e.in_file(path))
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`Pack::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Pack> {
        Pack::new(Bytes::held(&bytes))
    }

    fn new(bytes: Bytes) -> Result<Pack> {
        if !bytes.starts_with(&MAGIC) {
            return Err(Error::Magic { kind: ".pack" });
        }
        let short = |needed: usize| Error::TruncatedHeader {
            len: bytes.len() as u64,
            needed: needed as u64,
        };
        let preamble = bytes.get(..PREAMBLE).ok_or_else(|| short(PREAMBLE))?;
        let found = LittleEndian::read_u32(&preamble[8..]);
        if found != VERSION {
            return Err(Error::Version { kind: ".pack", found, known: VERSION });
        }
        let len = LittleEndian::read_u32(&preamble[12..]) as usize;
        if !(PREAMBLE..=MAX_HEADER).contains(&len) || !len.is_multiple_of(ALIGN) {
            let cause = format!("{len} is not a multiple of {ALIGN} up to {MAX_HEADER}");
            return Err(Error::field("header", "length", cause));
        }
        let header = bytes.get(..len).ok_or_else(|| short(len))?;
        if checksum(header) != header[16..PREAMBLE] {
            return Err(Error::HeaderChecksum);
        }
        let mut r = Reader::new(&header[PREAMBLE..]);
        let (model, isa, seam) =
            (r.hash("model")?, r.string("instruction set")?, r.string("Seam version")?);
        let count = r.count(14, "entries")?;
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        let mut end = len;
        for i in 0..count {
            r.record(Record::Nth("entry", i));
            let (step, algorithm) = (r.size("step")?, r.string("kernel")?);
            if entries.last().is_some_and(|last| last.step >= step) {
                return Err(r.error("step", "the steps do not ascend"));
            }
            let bytes = r.u64("bytes")?;
            let bytes = usize::try_from(bytes).ok().filter(|&n| n <= MAX_WEIGHT_BYTES);
            let bytes = bytes.ok_or_else(|| r.error("bytes", "more than any weights take"))?;
            entries.push(Entry { step, algorithm, range: end..end + bytes });
            end = (end + bytes).next_multiple_of(ALIGN);
            if end > MAX_WEIGHT_BYTES {
                return Err(r.error("bytes", "more than any weights take"));
            }
        }
        r.record(Record::Named("header"));
        let sha256 = r.hash("SHA-256")?;
        r.finish()?;
        let found = bytes.len();
        if found > end {
            return Err(Error::Oversized { len: found as u64, end: end as u64 });
        }
        if found < end {
            let (len, needed) = (found as u64, end as u64);
            return Err(Error::Truncated { len, needed, point: "the end".into() });
        }
        Ok(Pack { bytes, model, isa, seam, entries, sha256, payload: len })
    }

    /// Checks that the payload is as it was written.
    ///
    /// # Errors
    /// [`Error::PayloadChecksum`].
    pub fn verify(&self) -> Result<()> {
        match Sha256::digest(&self.bytes[self.payload..])[..] == self.sha256 {
            true => Ok(()),
            false => Err(Error::PayloadChecksum { part: "the end".into() }),
        }
    }

    /// Whether this is the pack to use for `model` on `isa` by this version of Seam.
    ///
    /// # Errors
    /// [`Error::PackOf`], naming what differs.
    pub fn check(&self, model: &Model, isa: Isa) -> Result<()> {
        let pairs = [
            ("model", hex(&self.model), model.id_hex()),
            ("instruction set", self.isa.clone(), isa.name().to_string()),
            ("Seam version", self.seam.clone(), SEAM_VERSION.to_string()),
        ];
        match pairs.into_iter().find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((field, found, expected)) => Err(Error::PackOf { field, found, expected }),
        }
    }

    /// The kernels of the steps in it.
    pub fn choices(&self) -> Vec<Choice> {
        let choice = |e: &Entry| Choice { step: e.step, algorithm: e.algorithm.clone() };
        self.entries.iter().map(choice).collect()
    }

    /// Name of the instruction set.
    pub fn isa(&self) -> &str {
        &self.isa
    }

    /// Bytes of all laid out weights.
    pub fn packed_bytes(&self) -> usize {
        self.entries.iter().map(|e| e.range.len()).sum()
    }

    /// Kernel and place of step `step`'s weights.
    pub(crate) fn entry(&self, graph: &Graph, step: usize) -> Result<(&str, Range<usize>)> {
        match self.entries.binary_search_by_key(&step, |e| e.step) {
            Ok(i) => Ok((&self.entries[i].algorithm, self.entries[i].range.clone())),
            Err(_) => Err(Error::PackOf {
                field: "steps",
                found: format!("before `{}`", graph.steps[step].name),
                expected: "deeper ones".into(),
            }),
        }
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}

/// The kernels that can run convolution `step` and are exact for its weights, the preferred one
/// first; none for other steps.
///
/// # Panics
/// `model` does not hold the step.
pub fn algorithms(model: &Model, step: usize, isa: Isa) -> Vec<Algorithm> {
    match (&model.graph().steps[step].op, model.weights(step)) {
        (Op::Conv { geometry, .. }, StepWeights::Int8 { weights, .. }) => {
            let mut algorithms = Conv::algorithms(isa, geometry);
            algorithms.retain(|a| a.is_exact(geometry, weights));
            algorithms
        }
        _ => Vec::new(),
    }
}

fn is_conv(graph: &Graph, step: usize) -> bool {
    matches!(graph.steps[step].op, Op::Conv { .. })
}

fn checksum(header: &[u8]) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(&header[8..16]);
    sha.update(&header[PREAMBLE..]);
    sha.finalize().into()
}
