//! What every request shares: the models, the devices, and the limit of work under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    /// Pieces of work that run or wait for a permit.
    under_way: Arc<AtomicUsize>,
}

impl Host {
    pub(crate) fn new(config: Config, models: Models, devices: Devices) -> Host {
        let work = Arc::new(Semaphore::new(config.concurrency.max(1)));
        Host { config, models, devices, work, under_way: Arc::default() }
    }

    /// What a request that comes now meets, as [`seam_tuner::Environment::cloud_load`] counts it:
    /// the pieces of work that have to end before it can begin, by places for work.
    pub(crate) fn load(&self) -> f64 {
        let places = self.config.concurrency.max(1);
        let before = (self.under_way.load(Ordering::Relaxed) + 1).saturating_sub(places);
        before as f64 / places as f64
    }

    /// Runs `work` on a thread that may block, once one of the host's places for work is free.
    pub(crate) async fn heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let counted = Counted::new(&self.under_way);
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
            drop((place, counted));
            result
        });
        done.await.unwrap_or_else(|_| Err(Failure::internal("the request failed on the host")))
    }
}

/// A piece of work under way, for as long as this lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(under_way: &Arc<AtomicUsize>) -> Counted {
        under_way.fetch_add(1, Ordering::Relaxed);
        Counted(under_way.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn load_is_the_work_before_a_newcomer_by_places() {
        let config = Config { concurrency: 2, ..Config::new("nowhere") };
        let host = Arc::new(Host::new(config, Models::default(), Devices::new("nowhere".into())));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        assert_eq!(host.load(), 0.0);
        let mut under_way = Vec::new();
        for load in [0.0, 0.5, 1.0, 1.5] {
            let (go, wait) = mpsc::channel::<()>();
            let at = host.clone();
            let wait = move || {
                // The sender goes: that is the sign.
                let _ = wait.recv();
                Ok(())
            };
            let work = async move { at.heavy(wait).await };
            under_way.push((go, runtime.spawn(work)));
            let until = Instant::now() + Duration::from_secs(60);
            while host.under_way.load(Ordering::Relaxed) < under_way.len() {
                assert!(Instant::now() < until, "work that was asked for is under way");
                std::thread::yield_now();
            }
            assert_eq!(host.load(), load);
        }
        for (go, work) in under_way {
            drop(go);
            assert!(runtime.block_on(work).is_ok_and(|result| result.is_ok()));
        }
        assert_eq!(host.load(), 0.0);
    }
}
