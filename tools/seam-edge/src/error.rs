//! What can go wrong between the board and the cloud host.

/// Errors of this library: one line that names the cause and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    #[error("what {url} sent is damaged ({cause}): nothing was written, try again")]
    Damaged {
        /// The host's address.
        url: String,
        /// What the check said.
        cause: String,
    },
    /// A download cannot be written.
    #[error("the download cannot be written: {0}")]
    Write(std::io::Error),
    /// The point needs a cloud host and none was given.
    #[error("point {0:?} needs a cloud host: give --cloud URL, or --at output")]
    NoCloud(String),
    /// The tuner refused what the host said.
    #[error(transparent)]
    Tuner(#[from] seam_tuner::Error),
    /// The runtime refused.
    #[error(transparent)]
    Runtime(#[from] seam_runtime::Error),
}

/// From now on the program ends without a word where nobody reads its standard output any more, as
/// behind `head`: `println!` then panics, which cleans up, but is nothing to report.
pub fn end_with_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.to_string();
        if !(message.contains("failed printing to stdout") && message.contains("Broken pipe")) {
            report(panic);
        }
    }));
}

/// The error and those of its causes that it does not repeat itself, on one line: what a command
/// line prints.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace(['\n', '\r'], " ")
}
