//! A `.seam` file, opened: the graph, and the weights where they lie in the file.

use std::ops::Range;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::format::Header;
use crate::graph::{Element, Graph, INPUT, OUTPUT, Op, Point, StepWeights};
use crate::mmap::Bytes;
use crate::validate;

/// A model or a prefix of one. Opening reads the header only; the weights are read where they lie
/// when they are asked for.
pub struct Model {
    bytes: Bytes,
    header: Header,
    reaches: Point,
}

impl Model {
    /// Maps the file at `path` and checks its structure, in time that does not grow with the
    /// weights.
    ///
    /// # Errors
    /// The file cannot be read, is no `.seam` file, its header is damaged or contradicts itself, or
    /// its length is that of no prefix.
    pub fn open(path: &Path) -> Result<Model> {
        Bytes::map(path).and_then(Model::new).map_err(|e| e.in_file(path))
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Model> {
        Model::new(Bytes::held(&bytes))
    }

    fn new(bytes: Bytes) -> Result<Model> {
        let header = Header::parse(&bytes)?;
        let reaches = reach(&header, bytes.len())?;
        Ok(Model { bytes, header, reaches })
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.header.graph
    }

    /// The same for every prefix of a model, different for any two models.
    pub fn id(&self) -> [u8; 32] {
        self.header.id
    }

    /// [`Model::id`] in hexadecimal.
    pub fn id_hex(&self) -> String {
        hex(&self.header.id)
    }

    /// The deepest point whose edge part this file holds.
    pub fn reaches(&self) -> Point {
        self.reaches
    }

    /// Steps whose weights this file holds: those before [`Model::reaches`], or, in a whole file,
    /// all of them.
    pub fn steps(&self) -> usize {
        match self.bytes.len() == self.header.layout.end() {
            true => self.graph().steps.len(),
            false => self.graph().steps_before(self.reaches),
        }
    }

    /// Bytes of the file that hold the edge part of `point`: it begins with a model of its own.
    ///
    /// # Panics
    /// `point` is not of this graph.
    pub fn prefix_len(&self, point: Point) -> u64 {
        self.header.prefix_len(point) as u64
    }

    /// Bytes of the whole model, of which this file may be a prefix.
    pub fn full_len(&self) -> u64 {
        self.header.layout.end() as u64
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The point of that name.
    ///
    /// # Errors
    /// There is none; the message lists those there are.
    pub fn point(&self, name: &str) -> Result<Point> {
        let graph = self.graph();
        graph.point(name).ok_or_else(|| Error::NoPoint {
            name: name.to_string(),
            known: graph.points().map(|p| graph.point_name(p)).collect::<Vec<_>>().join(", "),
        })
    }

    /// The weights of step `step`, where they lie in the file.
    ///
    /// # Panics
    /// `step` is not below [`Model::steps`].
    pub fn weights(&self, step: usize) -> StepWeights<'_> {
        assert!(step < self.steps(), "the weights of step {step} are beyond this prefix");
        let arrays = self.header.layout.step(step);
        match self.graph().steps[step].op {
            Op::Conv { .. } => StepWeights::Int8 {
                scales: self.array(&arrays.scales),
                bias: self.array(&arrays.bias),
                weights: self.array(&arrays.weights),
            },
            Op::FloatConv { .. } => StepWeights::Float {
                bias: self.array(&arrays.bias),
                weights: self.array(&arrays.weights),
            },
            _ => StepWeights::None,
        }
    }

    /// Bytes of weights, scales and biases of step `step`.
    ///
    /// # Panics
    /// `step` is not of this graph.
    pub fn weight_bytes(&self, step: usize) -> usize {
        let arrays = self.header.layout.step(step);
        arrays.scales.len() + arrays.bias.len() + arrays.weights.len()
    }

    /// Checks every byte that this file holds: the SHA-256 of the payload up to every point it
    /// reaches, scales finite and positive, no weight of −128, no sum that could pass the
    /// accumulator.
    ///
    /// # Errors
    /// Names the point whose bytes are damaged, or the step, the array and the index.
    pub fn verify(&self) -> Result<()> {
        let mut sha = Sha256::new();
        let mut at = self.header.layout.header_len();
        let ends = self.header.layout.prefix_lens();
        for (i, &end) in ends.iter().enumerate().take_while(|&(_, &end)| end <= self.bytes.len()) {
            sha.update(&self.bytes[at..end]);
            at = end;
            if sha.clone().finalize()[..] != self.header.hashes[i] {
                return Err(Error::PayloadChecksum { part: end_name(self.graph(), i).into() });
            }
        }
        (0..self.steps()).try_for_each(|step| self.verify_step(step))
    }

    /// The part of [`Model::verify`] that concerns the values of one step's weights.
    pub(crate) fn verify_step(&self, step: usize) -> Result<()> {
        let record = &self.graph().steps[step];
        validate::weights(record, input_zero_point(self.graph(), step), self.weights(step))
    }

    fn array<T: bytemuck::Pod>(&self, range: &Range<usize>) -> &[T] {
        // Arrays lie at multiples of 64 behind a base at a multiple of 64, and `Layout` has made
        // their lengths from counts of elements.
        bytemuck::cast_slice(&self.bytes[range.clone()])
    }
}

/// The zero point of what step `step` reads; 0 where that is f32.
pub(crate) fn input_zero_point(graph: &Graph, step: usize) -> u8 {
    match graph.tensor(graph.steps[step].inputs[0]).element {
        Element::U8 { zero_point, .. } => zero_point,
        Element::F32 => 0,
    }
}

/// Hexadecimal, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the `i`-th prefix reaches, for messages.
fn end_name(graph: &Graph, i: usize) -> &str {
    graph.candidates.get(i).map_or(OUTPUT, |c| &c.name)
}

/// The deepest point of a file of `len` bytes.
fn reach(header: &Header, len: usize) -> Result<Point> {
    let graph = &header.graph;
    let ends = header.layout.prefix_lens();
    if len > header.layout.end() {
        return Err(Error::Oversized { len: len as u64, end: header.layout.end() as u64 });
    }
    if len != header.layout.header_len() && !ends.contains(&len) {
        // The file is shorter than the last end, so there is a next one.
        let next = ends.iter().position(|&end| end > len).unwrap_or(ends.len() - 1);
        return Err(Error::Truncated {
            len: len as u64,
            needed: ends[next] as u64,
            point: end_name(graph, next).to_string(),
        });
    }
    let deepest = graph.points().filter(|&p| header.prefix_len(p) <= len).last();
    debug_assert_eq!(graph.point(INPUT), Some(Point::Input));
    Ok(deepest.unwrap_or(Point::Input))
}
