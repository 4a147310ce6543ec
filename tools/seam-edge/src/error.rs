//! What can go wrong between the board and the cloud host.

use std::path::PathBuf;

/// Errors of this library: one line that names the cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the cloud host cannot be used.
    #[error("cloud address {url:?} {cause}: write it as http://HOST:PORT")]
    Address {
        /// As given.
        url: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// No connection, or it broke, or it took too long.
    #[error(
        "cloud host {url} cannot be reached ({cause}): check the address and that \
         `seam cloud serve` runs there"
    )]
    Unreachable {
        /// The host's address.
        url: String,
        /// What the connection said.
        cause: String,
    },
    /// The host answered with an error.
    #[error("cloud host {url} refused with status {status}: {message}")]
    Refused {
        /// The host's address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The host's own words, which name the remedy.
        message: String,
    },
    /// The host's answer makes no sense.
    #[error(
        "cloud host {url} answers nonsense ({cause}): check that the address is that of \
         `seam cloud serve` or another Open Inference Protocol v2 server"
    )]
    Nonsense {
        /// The host's address.
        url: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// A download whose bytes are not those of any prefix.
    #[error("what {url} sent for {path} is damaged ({cause}): nothing was written, try again")]
    Damaged {
        /// The host's address.
        url: String,
        /// The file that was to be written.
        path: PathBuf,
        /// What the check said.
        cause: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The point needs a cloud host and none was given.
    #[error("point {point:?} needs a cloud host: give --cloud URL, or --at output")]
    NoCloud {
        /// The point's name.
        point: String,
    },
    /// The model file ends before the point.
    #[error(
        "this .seam file holds the edge part up to {reaches:?}, not {point:?}: get more of it with \
         `seam-edge pull`"
    )]
    TooShort {
        /// The point asked for.
        point: String,
        /// The deepest point of the file.
        reaches: String,
    },
    /// The network has no such point.
    #[error("{network} has no point {point:?}: use one of {points}")]
    UnknownPoint {
        /// The network's name.
        network: String,
        /// The point asked for.
        point: String,
        /// Its points' names.
        points: String,
    },
    /// The runtime refused.
    #[error(transparent)]
    Runtime(#[from] seam_runtime::Error),
}
