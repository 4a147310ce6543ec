//! The `.seam` file, version 1.
//!
//! ```text
//! offset
//!      0  magic          8 bytes, "\x89SEAM\r\n\n"
//!      8  version        u32
//!     12  header length  u32, from offset 0 to the payload, a multiple of 64
//!     16  checksum       SHA-256 of bytes 8..16 and 48..header length; the model's id
//!     48  graph          `graph.rs` field by field
//!         index          per candidate, then for the whole file: prefix length u64, SHA-256 of
//!                        the payload up to it
//!         zeros to a multiple of 64
//!         payload        per step with weights, in step order: scales, bias, weights (f32, i32,
//!                        i8 OHWI), or of a float-kept layer bias, weights (f32, f16 OHWI); each
//!                        array at a multiple of 64, zeros between
//! ```
//!
//! All little-endian. No offset of an array is stored: each follows from the shapes before it, so
//! none can point astray. What is stored of them, the prefix lengths, must equal what follows from
//! the shapes.

pub(crate) mod bytes;
mod graph;
pub(crate) mod layout;

use byteorder::{ByteOrder, LittleEndian};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::graph::{Graph, Point};
use bytes::{Reader, Record, Writer};
use layout::Layout;

/// The first bytes of a `.seam` file: a byte that no text has, the name, and line ends that a
/// transfer in text mode would change.
pub const MAGIC: [u8; 8] = *b"\x89SEAM\r\n\n";
/// The version that this program reads and writes.
pub const VERSION: u32 = 1;
/// Alignment of every array in the file.
pub const ALIGN: usize = 64;
/// Longest header accepted: opening reads it whole.
pub const MAX_HEADER: usize = 4 << 20;

/// Bytes before the graph.
const PREAMBLE: usize = 48;

/// A parsed and validated header.
pub(crate) struct Header {
    pub(crate) graph: Graph,
    pub(crate) id: [u8; 32],
    pub(crate) layout: Layout,
    /// SHA-256 of the payload up to every candidate, then of all of it.
    pub(crate) hashes: Vec<[u8; 32]>,
}

/// What the preamble says, before the rest of the header need be there.
pub(crate) fn header_len(file: &[u8]) -> Result<usize> {
    let magic = &file[..file.len().min(MAGIC.len())];
    if magic.is_empty() || magic != &MAGIC[..magic.len()] {
        return Err(Error::Magic { kind: ".seam" });
    }
    let truncated = |needed| Error::TruncatedHeader { len: file.len() as u64, needed };
    let preamble = file.get(..PREAMBLE).ok_or_else(|| truncated(PREAMBLE as u64))?;
    let version = LittleEndian::read_u32(&preamble[8..]);
    if version != VERSION {
        return Err(Error::Version { kind: ".seam", found: version, known: VERSION });
    }
    let len = LittleEndian::read_u32(&preamble[12..]) as usize;
    if !(PREAMBLE..=MAX_HEADER).contains(&len) || !len.is_multiple_of(ALIGN) {
        let cause = format!("{len} is not a multiple of {ALIGN} up to {MAX_HEADER}");
        return Err(Error::field("header", "length", cause));
    }
    Ok(len)
}

impl Header {
    /// Reads and checks the header of `file`; the payload is not looked at.
    pub(crate) fn parse(file: &[u8]) -> Result<Header> {
        let len = header_len(file)?;
        let needed = || Error::TruncatedHeader { len: file.len() as u64, needed: len as u64 };
        let header = file.get(..len).ok_or_else(needed)?;
        let id = checksum(header);
        if id != header[16..PREAMBLE] {
            return Err(Error::HeaderChecksum);
        }
        let mut reader = Reader::new(&header[PREAMBLE..]);
        let graph = graph::read(&mut reader)?;
        crate::validate::graph(&graph)?;
        let layout = Layout::of(&graph, len);
        let mut hashes = Vec::with_capacity(graph.candidates.len() + 1);
        for i in 0..=graph.candidates.len() {
            reader.record(Record::Nth("index", i));
            let (stored, end) = (reader.u64("prefix length")?, layout.prefix_len(i) as u64);
            if stored != end {
                let cause = format!("{stored}, but the shapes before it make {end}");
                return Err(reader.error("prefix length", cause));
            }
            hashes.push(reader.hash("SHA-256")?);
        }
        reader.finish()?;
        Ok(Header { graph, id, layout, hashes })
    }

    /// The header's bytes for a validated `graph`; `hash` gives the SHA-256 of the payload up to
    /// every candidate and of all of it, once the layout is known.
    pub(crate) fn encode(
        graph: &Graph,
        hash: impl FnOnce(&Layout) -> Vec<[u8; 32]>,
    ) -> Result<(Vec<u8>, Layout)> {
        let mut writer = Writer::default();
        writer.bytes.extend_from_slice(&MAGIC);
        writer.u32(VERSION);
        writer.bytes.resize(PREAMBLE, 0);
        graph::write(&mut writer, graph);
        // The index is of a known size, so the payload's place is known before its hashes are.
        let entries = graph.candidates.len() + 1;
        let len = (writer.bytes.len() + entries * 40).next_multiple_of(ALIGN);
        if len > MAX_HEADER {
            return Err(Error::TooLarge {
                what: "the header",
                bytes: len as u64,
                limit: MAX_HEADER as u64,
            });
        }
        let layout = Layout::of(graph, len);
        for (i, hash) in hash(&layout).iter().enumerate() {
            writer.u64(layout.prefix_len(i) as u64);
            writer.bytes.extend_from_slice(hash);
        }
        writer.align();
        let mut header = writer.bytes;
        LittleEndian::write_u32(&mut header[12..16], len as u32);
        let sum = checksum(&header);
        header[16..PREAMBLE].copy_from_slice(&sum);
        Ok((header, layout))
    }

    /// Bytes of the file that hold the edge part of `point`.
    pub(crate) fn prefix_len(&self, point: Point) -> usize {
        match point {
            Point::Input => self.layout.header_len(),
            Point::Candidate(i) => self.layout.prefix_len(i),
            Point::Output => self.layout.end(),
        }
    }
}

fn checksum(header: &[u8]) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(&header[8..16]);
    sha.update(&header[PREAMBLE..]);
    sha.finalize().into()
}

/// Makes the checksum of a changed header right again, so that tests reach the checks behind it.
#[doc(hidden)]
pub fn seal(file: &mut [u8]) {
    if let Ok(len) = header_len(file)
        && len <= file.len()
    {
        let sum = checksum(&file[..len]);
        file[16..PREAMBLE].copy_from_slice(&sum);
    }
}
