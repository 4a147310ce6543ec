//! Bytes of a file, mapped or held: the only file of this crate with `unsafe`.
//!
//! A mapped file is read while it may, in principle, change. Nobody's *safety* hangs on its bytes:
//! the header is copied out when it is parsed, ranges are computed from that copy, and weights are
//! plain numbers of which every bit pattern is a value. So bytes changed in place give wrong
//! numbers, which [`crate::Model::verify`] finds. A file *cut short* while it is mapped ends the
//! process with a bus error on the next read behind its new end; Seam's own writers therefore
//! never touch a file in place but rename a new one over it, which leaves the map its old bytes.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use aligned_vec::{AVec, ConstAlign};

use crate::error::{Error, Result};

/// Bytes that begin at a multiple of 64.
pub(crate) enum Bytes {
    Mapped(memmap2::Mmap),
    Held(AVec<u8, ConstAlign<64>>),
}

impl Bytes {
    /// Maps `path` for reading.
    pub(crate) fn map(path: &Path) -> Result<Bytes> {
        let file = File::open(path).map_err(Error::io(path))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        if !metadata.is_file() {
            let source = std::io::Error::other("not a regular file");
            return Err(Error::Io { path: path.to_path_buf(), source });
        }
        if metadata.len() == 0 {
            return Ok(Bytes::held(&[]));
        }
        // SAFETY: the map is private to reading, lives as long as `Bytes`, and is only ever seen as
        // plain integers; see the head of this file for a file that changes meanwhile.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path))?;
        Ok(Bytes::Mapped(map))
    }

    /// A copy of `bytes`.
    pub(crate) fn held(bytes: &[u8]) -> Bytes {
        Bytes::Held(AVec::from_slice(64, bytes))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Held(bytes) => bytes,
        }
    }
}
