//! Probing the link to the cloud host with real uploads: the paper's GetEnvironment.

use std::time::{Duration, Instant};

use seam_tuner::Estimator;
use seam_tuner::environment::{LARGEST, Probe};
use serde::Deserialize;

use crate::{Client, Error};

const PATH: &str = "/v2/seam/probe";
/// Requests of no size. The shortest is the round trip: a machine's pauses only lengthen one.
const ROUND_TRIPS: usize = 6;
/// Their heads, some 2 KB, have left a shaper's bucket that much emptier; it takes them in again.
const REST: Duration = Duration::from_millis(100);

/// The host's answer to a probe.
#[derive(Deserialize)]
struct Heard {
    cloud_load: f64,
}

impl Client {
    /// The round trip, the shortest of a few requests of no size, and the load that the host
    /// reports.
    ///
    /// # Errors
    /// The host is unreachable, or no Seam cloud host.
    pub fn measure_rtt(&self) -> Result<(Duration, f64), Error> {
        // The first one opens the connection.
        let (_, mut load) = self.upload(&[])?;
        let mut shortest = Duration::MAX;
        for _ in 0..ROUND_TRIPS {
            let (time, heard) = self.upload(&[])?;
            (shortest, load) = (shortest.min(time), heard);
        }
        Ok((shortest, load))
    }

    /// Probes the link: a few requests of no size, a rest, then [`Probe::run`].
    ///
    /// # Errors
    /// The host is unreachable, or no Seam cloud host.
    pub fn probe(&self) -> Result<Estimator, Error> {
        let (rtt, mut load) = self.measure_rtt()?;
        std::thread::sleep(REST);
        let payload = noise(LARGEST);
        let probe = Probe::run(rtt.as_nanos() as f64, |bytes| {
            let (time, heard) = self.upload(&payload[..bytes as usize])?;
            load = heard;
            Ok::<_, Error>(time.as_nanos() as f64)
        })?;
        let mut estimator = Estimator::new(&probe)?;
        estimator.observe_load(load);
        Ok(estimator)
    }

    /// Uploads `bytes` bytes that the host forgets: what they take, and the load that it reports.
    ///
    /// # Errors
    /// The host is unreachable, or no Seam cloud host.
    pub fn probe_with(&self, bytes: u64) -> Result<(Duration, f64), Error> {
        self.upload(&noise(bytes))
    }

    fn upload(&self, payload: &[u8]) -> Result<(Duration, f64), Error> {
        let start = Instant::now();
        let answer = self.put(PATH, payload)?;
        let time = start.elapsed();
        let heard: Heard =
            serde_json::from_slice(&answer).map_err(|e| self.nonsense(e.to_string()))?;
        Ok((time, heard.cloud_load))
    }
}

/// Bytes that no link can compress.
fn noise(bytes: u64) -> Vec<u8> {
    let mut state = 1u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| byte()).collect()
}
