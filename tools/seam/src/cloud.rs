//! `seam cloud`: the cloud host.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;
use seam_cloud::{Config, Server};

/// The cloud host
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(Serve),
}

/// Serve the FP32 tails of a directory of models, take profiles, give plans and prefixes
///
/// Speaks the Open Inference Protocol v2 over HTTP, without TLS and without authentication: put a
/// reverse proxy in front where others can reach it. Prints one line when it is ready.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seam cloud serve --models models --listen 0.0.0.0:8600")]
struct Serve {
    /// The directory with NET.seam and NET.onnx files, as `seam quantize` wrote them
    #[arg(long, value_name = "DIR")]
    models: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8600")]
    listen: String,
    /// Where to keep the boards' profiles [default: `devices` in the models' directory]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Inferences at once [default: one a core]
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let Command::Serve(args) = args.command;
    let mut config = Config::new(args.models);
    config.listen = args.listen;
    config.state = args.state;
    config.concurrency = args.concurrency.unwrap_or(config.concurrency);
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(serve(config));
    // A tail or a measurement that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config) -> Result<()> {
    let server = Server::bind(config).await?;
    println!("listening on http://{}, serving {}", server.address(), server.networks().join(", "));
    std::io::stdout().flush()?;
    tokio::select! {
        result = server.serve(asked_to_stop()) => Ok(result?),
        // The first request to stop lets the answers under way finish, the second does not.
        () = async { asked_to_stop().await; asked_to_stop().await } => {
            bail!("stopped before every request was answered")
        }
    }
}

/// Ends at ctrl-c or, where there is one, at a termination signal.
async fn asked_to_stop() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // No such signal here: only the process's end stops the server.
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending::<()>().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => (),
        () = terminate => (),
    }
}
