//! The cloud host on the loopback interface, for as long as the demo runs.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::{self, JoinHandle};

use anyhow::Context;
use seam_cloud::{Config, Server};
use seam_edge::{Client, Timeouts};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A running cloud host; it ends when dropped.
pub(crate) struct Host {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl Host {
    /// Serves the networks of `models` on a free port.
    ///
    /// # Errors
    /// A network is refused, or the system gives no port.
    pub(crate) fn start(models: &Path) -> anyhow::Result<Host> {
        let runtime = Runtime::new().context("the cloud host's threads")?;
        let server = runtime.block_on(Server::bind(Config::new(models)))?;
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = thread::Builder::new().name("cloud".into()).spawn(move || {
            let stopped = async {
                let _ = stopped.await;
            };
            // A host that breaks shows as a request that fails.
            let _ = runtime.block_on(server.serve(stopped));
        })?;
        Ok(Host { address, stop: Some(stop), serving: Some(serving) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client without an uplink between.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&format!("http://{}", self.address), Timeouts::default())?)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.serving.take() {
            let _ = thread.join();
        }
    }
}
