//! Lossless codecs for the u8 tensors that cross the uplink.
//!
//! Activations behind a ReLU are mostly the code of zero, and what is not clusters: neighbouring
//! pixels of a channel are alike, channels differ. A codec turns the codes of a tensor (NHWC, no
//! gaps) into fewer bytes and back, bit for bit. It knows the tensor's shape, which the request
//! states anyway, and nothing else.
//!
//! | codec | file | what |
//! |---|---|---|
//! | `deflate` | `deflate.rs` | zlib of the tensor's channels, one after the other |
//! | `zstd` | `zstd.rs` | Zstandard of the same: the fastest |
//! | `sparse` | `sparse.rs` | a range coder whose models know a code's neighbours: the smallest |
//!
//! An [`Encoder`] makes its buffers once. It never writes more than the tensor itself has: a tensor
//! that does not shrink crosses raw. [`Codec::decode`] takes bytes from a stranger: it fills exactly
//! the tensor that the caller has room for or says why not, and makes no more memory than that
//! tensor's own size and the decoder's fixed state.

use std::fmt;
use std::str::FromStr;

use seam_kernels::Shape;
use serde::de::{Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

mod deflate;
mod planes;
mod sparse;
mod zstd;

/// A way to write a u8 tensor in fewer bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// zlib (RFC 1950) over the tensor's channels.
    Deflate,
    /// Zstandard (RFC 8878) over the tensor's channels.
    Zstd,
    /// Adaptive range coding in the context of a code's neighbours.
    Sparse,
}

/// What there is to know of a codec.
struct Entry {
    codec: Codec,
    name: &'static str,
    encoder: fn(Shape) -> Box<dyn Encode>,
    decode: Decode,
}

/// Fills the codes of a tensor from its encoded bytes, or says why not.
type Decode = fn(Shape, &[u8], &mut [u8]) -> Result<(), String>;

/// Every codec, in the order of [`Codec`].
const TABLE: [Entry; 3] = [
    Entry {
        codec: Codec::Deflate,
        name: "deflate",
        encoder: |shape| Box::new(deflate::Deflate::new(shape)),
        decode: deflate::decode,
    },
    Entry {
        codec: Codec::Zstd,
        name: "zstd",
        encoder: |shape| Box::new(zstd::Zstd::new(shape)),
        decode: zstd::decode,
    },
    Entry {
        codec: Codec::Sparse,
        name: "sparse",
        encoder: |shape| Box::new(sparse::Sparse::new(shape)),
        decode: sparse::decode,
    },
];

/// The part of a codec that a board runs. Nothing in it allocates.
trait Encode: Send {
    /// Writes `codes` to the front of `out` and returns the bytes written; `None` where `out` is
    /// too short.
    fn encode(&mut self, codes: &[u8], out: &mut [u8]) -> Option<usize>;
}

impl Codec {
    /// Every codec.
    pub const ALL: [Codec; TABLE.len()] = {
        let mut all = [Codec::Deflate; TABLE.len()];
        let mut i = 0;
        while i < all.len() {
            all[i] = TABLE[i].codec;
            assert!(all[i] as usize == i, "the table is in the order of the codecs");
            i += 1;
        }
        all
    };

    /// The word for it in requests, profiles, plans and on the command line.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Every codec's name, for a reader.
    pub fn names() -> String {
        Codec::ALL.map(Codec::name).join(", ")
    }

    /// An encoder for tensors of `shape`.
    pub fn encoder(self, shape: Shape) -> Encoder {
        Encoder { codec: self, shape, encode: (self.entry().encoder)(shape) }
    }

    /// Writes the tensor of `shape` that `encoded` stands for to `codes`.
    ///
    /// # Errors
    /// [`Error::Encoded`]: these are no bytes that an encoder of this codec and shape wrote.
    ///
    /// # Panics
    /// `codes` has another length than the tensor.
    pub fn decode(self, shape: Shape, encoded: &[u8], codes: &mut [u8]) -> Result<()> {
        assert_eq!(codes.len(), shape.len(), "room for the tensor");
        (self.entry().decode)(shape, encoded, codes)
            .map_err(|cause| Error::Encoded { codec: self.name(), cause })
    }

    fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }
}

/// Encodes tensors of one shape; made once, with all of its memory.
pub struct Encoder {
    codec: Codec,
    shape: Shape,
    encode: Box<dyn Encode>,
}

impl Encoder {
    /// Its codec.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Writes `codes` (NHWC, no gaps) to the front of `out` and returns the bytes written; `None`
    /// where `out` is too short, which then holds nothing of use. Allocates nothing.
    ///
    /// # Panics
    /// `codes` has another length than the encoder's shape.
    pub fn encode(&mut self, codes: &[u8], out: &mut [u8]) -> Option<usize> {
        assert_eq!(codes.len(), self.shape.len(), "the shape that this encoder was made for");
        self.encode.encode(codes, out)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = Error;

    fn from_str(name: &str) -> Result<Codec> {
        let known = Codec::ALL.into_iter().find(|codec| codec.name() == name);
        known.ok_or_else(|| Error::NoCodec { name: name.into(), known: Codec::names() })
    }
}

impl Serialize for Codec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Codec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Codec, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}
