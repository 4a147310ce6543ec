//! A link behind a token bucket, on a clock of its own.

use std::convert::Infallible;

use seam_tuner::environment::{Probe, Upload};

/// What lies between board and host.
pub(crate) struct Link {
    pub(crate) bytes_per_s: f64,
    burst: f64,
    pub(crate) rtt_ns: f64,
    tokens: f64,
    pub(crate) noise: Noise,
}

/// Factors around 1, seeded.
pub(crate) struct Noise {
    state: u64,
    pub(crate) spread: f64,
}

impl Noise {
    pub(crate) fn factor(&mut self) -> f64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let unit = (self.state >> 40) as f64 / f64::from(1 << 24);
        1.0 + self.spread * (2.0 * unit - 1.0)
    }
}

impl Link {
    pub(crate) fn new(bytes_per_s: f64, burst: f64, rtt_ns: f64, spread: f64) -> Link {
        Link { bytes_per_s, burst, rtt_ns, tokens: burst, noise: Noise { state: 7, spread } }
    }

    /// What an upload takes that begins `rested_ns` after the last one's answer.
    pub(crate) fn upload(&mut self, bytes: u64, rested_ns: f64) -> Upload {
        let rate = self.bytes_per_s * self.noise.factor() / 1e9;
        self.tokens = (self.tokens + (rested_ns + self.rtt_ns) * rate).min(self.burst);
        let wait = (bytes as f64 - self.tokens).max(0.0) / rate;
        self.tokens = (self.tokens - bytes as f64).max(0.0);
        Upload { bytes, ns: self.rtt_ns + wait, rested_ns }
    }

    pub(crate) fn probe(&mut self) -> Probe {
        self.tokens = self.burst;
        let probe =
            Probe::run(self.rtt_ns, |bytes| Ok::<_, Infallible>(self.upload(bytes, 0.0).ns));
        probe.unwrap()
    }
}
