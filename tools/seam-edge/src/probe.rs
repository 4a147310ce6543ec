//! Probing the link to the cloud host with real uploads: the paper's GetEnvironment.

use std::time::{Duration, Instant};

use seam_tuner::Estimator;
use seam_tuner::environment::{Probe, Upload};
use serde::Deserialize;

use crate::{Client, Error};

const PATH: &str = "/v2/seam/probe";
/// Requests of no size. The shortest is the round trip: a machine's pauses only lengthen one.
const ROUND_TRIPS: usize = 6;
/// Bytes of the first upload; each one after it has twice as many.
const FIRST: u64 = 8 << 10;
/// The uploads grow until one has taken this long, or has this size.
const LONG: Duration = Duration::from_millis(150);
const LARGEST: u64 = 4 << 20;
/// The uploads that are timed: the longest size and a quarter of it, in turns.
const PAIRS: usize = 3;
/// After one pair, no other begins later than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// The host's answer to a probe.
#[derive(Deserialize)]
struct Heard {
    cloud_load: f64,
}

impl Client {
    /// The round trip: the shortest of a few requests of no size.
    ///
    /// # Errors
    /// The host is unreachable, or no Seam cloud host.
    pub fn measure_rtt(&self) -> Result<Duration, Error> {
        // The first one opens the connection.
        self.upload(&[])?;
        let mut shortest = Duration::MAX;
        for _ in 0..ROUND_TRIPS {
            shortest = shortest.min(self.upload(&[])?.0);
        }
        Ok(shortest)
    }

    /// Probes the link: a few requests of no size, then uploads of growing size until one takes a
    /// sixth of a second, then a few more of two sizes. A link of 70 KiB/s takes some two seconds,
    /// a faster one less.
    ///
    /// # Errors
    /// The host is unreachable, or no Seam cloud host.
    pub fn probe(&self) -> Result<Estimator, Error> {
        let rtt_ns = self.measure_rtt()?.as_nanos() as f64;
        let mut probe = Probe { rtt_ns, ..Probe::default() };
        let start = Instant::now();
        let mut size = FIRST;
        let payload = noise(LARGEST);
        let upload = |bytes: u64| -> Result<(Upload, f64), Error> {
            let (time, load) = self.upload(&payload[..bytes as usize])?;
            Ok((Upload { bytes, ns: time.as_nanos() as f64, rested_ns: 0.0 }, load))
        };
        let load = loop {
            let (drained, load) = upload(size)?;
            probe.draining.push(drained);
            if drained.ns >= LONG.as_nanos() as f64 || size >= LARGEST {
                break load;
            }
            size *= 2;
        };
        for _ in 0..PAIRS {
            for size in [size / 4, size] {
                probe.timed.push(upload(size)?.0);
            }
            if start.elapsed() > PATIENCE {
                break;
            }
        }
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
