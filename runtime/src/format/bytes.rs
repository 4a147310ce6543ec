//! Reading and writing of header fields: little-endian, lengths checked before use.

use std::fmt;

use byteorder::{ByteOrder, LittleEndian};

use crate::error::{Error, Result};

/// A record of the header, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record {
    /// What stands once.
    Named(&'static str),
    /// The n-th of its kind.
    Nth(&'static str, usize),
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::Named(name) => f.write_str(name),
            Record::Nth(name, i) => write!(f, "{name} {i}"),
        }
    }
}

/// Reads fields one after the other; an error names the record and the field.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    record: Record,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, record: Record::Named("header") }
    }

    /// The fields that follow belong to `record`.
    pub(crate) fn record(&mut self, record: Record) {
        self.record = record;
    }

    pub(crate) fn error(&self, field: &'static str, cause: impl Into<String>) -> Error {
        Error::field(self.record, field, cause)
    }

    pub(crate) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.error(field, "the header ends inside of it")),
        }
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8> {
        Ok(self.take(1, field)?[0])
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.take(2, field).map(LittleEndian::read_u16)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.take(4, field).map(LittleEndian::read_u32)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64> {
        self.take(8, field).map(LittleEndian::read_u64)
    }

    pub(crate) fn f32(&mut self, field: &'static str) -> Result<f32> {
        self.take(4, field).map(LittleEndian::read_f32)
    }

    /// A `usize` stored in 32 bits.
    pub(crate) fn size(&mut self, field: &'static str) -> Result<usize> {
        let value = self.u32(field)?;
        usize::try_from(value).map_err(|_| self.error(field, format!("{value} is too large")))
    }

    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.error(field, format!("{other} is neither 0 nor 1"))),
        }
    }

    pub(crate) fn string(&mut self, field: &'static str) -> Result<String> {
        let len = self.u16(field)?;
        let bytes = self.take(len.into(), field)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(self.error(field, "not UTF-8")),
        }
    }

    pub(crate) fn hash(&mut self, field: &'static str) -> Result<[u8; 32]> {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.take(32, field)?);
        Ok(hash)
    }

    /// A number of records of at least `least` bytes each: never more than could follow, so that
    /// a reader may reserve memory for them.
    pub(crate) fn count(&mut self, least: usize, field: &'static str) -> Result<usize> {
        let count = self.size(field)?;
        if count > self.rest.len() / least {
            return Err(self.error(field, format!("{count} records do not fit into the header")));
        }
        Ok(count)
    }

    /// Nothing but zeros may follow.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.record(Record::Named("header"));
        match self.rest.iter().all(|&b| b == 0) && self.rest.len() < super::ALIGN {
            true => Ok(()),
            false => Err(self.error("padding", "bytes follow the last record")),
        }
    }
}

/// Writes fields one after the other.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f32(&mut self, value: f32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A value that validation has bounded far below 2^32.
    pub(crate) fn size(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    /// Longer than 65,535 bytes is cut at a character: names are for people.
    pub(crate) fn string(&mut self, text: &str) {
        let mut len = text.len().min(usize::from(u16::MAX));
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        self.bytes.extend_from_slice(&(len as u16).to_le_bytes());
        self.bytes.extend_from_slice(&text.as_bytes()[..len]);
    }

    /// Zeros up to the next multiple of [`super::ALIGN`].
    pub(crate) fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(super::ALIGN), 0);
    }
}
