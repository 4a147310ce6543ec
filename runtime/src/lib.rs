//! The edge runtime: from a `.seam` file to the boundary's bytes.
//!
//! What goes in: a `.seam` file ([`Model`]) and an image's pixels. What comes out: the codes of the
//! tensor that crosses the cut, as the body of a request ([`boundary`]).
//!
//! | hop | file |
//! |---|---|
//! | the edge program | [`graph`], checked by [`validate`] |
//! | file to graph and weights | [`format`](mod@format), [`model`]; graph and weights to file: [`writer`] |
//! | a longer prefix from a shorter one | [`prefix`] |
//! | image to pixels to codes | `image` (feature), [`preprocess`], `resize` |
//! | where every tensor lies | [`memory`] |
//! | weights laid out for a device | [`pack`] |
//! | step to kernel calls, one after the other | `prepare`, [`session`] |
//! | the request that crosses the uplink | [`boundary`], in fewer bytes by a [`codec`] |

#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("weights are read where they lie in a little-endian file");

pub mod boundary;
pub mod codec;
pub mod error;
pub mod format;
pub mod graph;
#[cfg(feature = "image")]
pub mod image;
pub mod memory;
#[allow(unsafe_code)]
mod mmap;
pub mod model;
pub mod pack;
pub mod prefix;
mod prepare;
pub mod preprocess;
mod resize;
pub mod session;
pub mod validate;
pub mod writer;

pub use codec::Codec;
pub use error::{Error, Result};
pub use graph::{Graph, Point, TensorId};
pub use model::Model;
pub use pack::Pack;
pub use preprocess::Preprocess;
pub use session::{Options, Session};
