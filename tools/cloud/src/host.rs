//! What every request shares: the models, the devices, and the limit of work under way.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Config;
use crate::devices::Devices;
use crate::failure::Failure;
use crate::models::Models;

/// The cloud host's state.
pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) models: Models,
    pub(crate) devices: Devices,
    /// One permit a piece of work that keeps a core busy.
    work: Arc<Semaphore>,
}

impl Host {
    pub(crate) fn new(config: Config, models: Models, devices: Devices) -> Host {
        let work = Arc::new(Semaphore::new(config.concurrency.max(1)));
        Host { config, models, devices, work }
    }

    /// Runs `work` on a thread that may block, once one of the host's places for work is free.
    pub(crate) async fn heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let place = timeout(self.config.patience, self.work.clone().acquire_owned());
        let Ok(Ok(place)) = place.await else {
            return Err(Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the host is busy: try again later",
            ));
        };
        // The place goes with the work: a client that hangs up does not make the host do more at
        // once than it should.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        done.await.unwrap_or_else(|_| Err(Failure::internal("the request failed on the host")))
    }
}
