//! The board's side of a collaborative inference, as a library that `seam-edge` and `seam demo`
//! share.
//!
//! | hop | file |
//! |---|---|
//! | image → edge part → upload → answer, with the time of each | [`Inference`] (`infer.rs`) |
//! | images that keep coming, cut where the link of the moment says | [`Adaptive`] (`adaptive.rs`) |
//! | requests to the cloud host | [`Client`] (`client.rs`) |
//! | the link to it, probed | [`Client::probe`] (`probe.rs`) |
//! | the edge part of a network, from the cloud host to a file | [`Client::pull`] (`download.rs`) |
//!
//! Everything blocks: a board runs one inference at a time.

#![forbid(unsafe_code)]

mod adaptive;
mod client;
mod download;
mod error;
mod infer;
mod probe;

pub use adaptive::{Adaptive, Decision, Event};
pub use client::{Client, Reply, Timeouts};
pub use error::{Error, end_with_reader, one_line};
pub use infer::{Answer, Inference, Timing, top};
