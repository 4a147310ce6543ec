//! The cloud host: FP32 tails over the Open Inference Protocol v2, and beside it the control plane
//! that takes the boards' profiles and gives plans and prefixes.
//!
//! | path | file |
//! |---|---|
//! | routes, life of the server | [`Server`] (`server.rs`) |
//! | `/v2/models/NET@POINT[/infer]` | `infer.rs`, in the protocol's words of `protocol.rs` |
//! | `/v2/seam/devices/{id}/profile`, `…/plan` | `devices.rs` |
//! | `/v2/seam/models/{name}/prefix` | `prefix.rs` |
//! | `/v2/seam/models/{name}/profile` | `devices.rs`: this host's own |
//! | `/v2/seam/probe` | `server.rs`: for boards that measure their uplink |
//! | the model directory | `models.rs` |
//! | this host's own times | [`profile`] |
//!
//! Every refusal is an HTTP status and `{"error": …}`. Bodies are limited to what a request can
//! need, and to a patience for the next byte. The host has no authentication and no TLS: it belongs
//! behind a reverse proxy wherever others can reach it.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

mod body;
mod devices;
mod error;
mod failure;
mod host;
mod infer;
mod models;
mod prefix;
pub mod profile;
mod protocol;
mod server;

pub use error::Error;
pub use infer::{CLOUD_LOAD, CLOUD_NS, MODEL_HEADER};
pub use server::Server;

/// What a cloud host serves, and within which limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// `ADDRESS:PORT`; port 0 takes a free one.
    pub listen: String,
    /// The directory with `NET.seam` and `NET.onnx` files.
    pub models: PathBuf,
    /// Where profiles are kept; `devices` in the model directory by default.
    pub state: Option<PathBuf>,
    /// Inferences under way at once.
    pub concurrency: usize,
    /// How long the host waits for the next bytes of a body, and a request for its turn.
    pub patience: Duration,
}

impl Config {
    /// The networks of `models` on a free port of the loopback interface; one inference a core.
    pub fn new(models: impl Into<PathBuf>) -> Config {
        Config {
            listen: "127.0.0.1:0".into(),
            models: models.into(),
            state: None,
            concurrency: std::thread::available_parallelism().map_or(1, usize::from),
            patience: Duration::from_secs(30),
        }
    }
}
