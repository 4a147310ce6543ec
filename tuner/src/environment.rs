//! The environment: what lies between board and cloud, and how busy the cloud is. The paper's
//! GetEnvironment: fitted to a probe of the link, then smoothed over every later upload.

use serde::{Deserialize, Serialize};

use crate::Error;

/// What a prediction depends on beside the profiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Bytes that the uplink carries in a second.
    pub uplink_bytes_per_s: f64,
    /// Bytes that the uplink lets through at once after a rest: a shaper's token bucket. 0 where
    /// nothing but the rate limits.
    pub burst_bytes: f64,
    /// From the last byte sent to the first byte of an answer that takes no time, in nanoseconds.
    pub rtt_ns: f64,
    /// Requests that, on average, wait for or share the cloud's cores with ours: a tail takes
    /// `1 + cloud_load` times its profiled time.
    pub cloud_load: f64,
}

impl Environment {
    /// An uplink of `uplink_bytes_per_s`, a round trip of `rtt_ns` and a load of `cloud_load`.
    ///
    /// # Errors
    /// The rate is below one byte a second, another figure is negative, or one is not finite.
    pub fn new(
        uplink_bytes_per_s: f64,
        rtt_ns: f64,
        cloud_load: f64,
    ) -> Result<Environment, Error> {
        let burst_bytes = 0.0;
        let environment = Environment { uplink_bytes_per_s, burst_bytes, rtt_ns, cloud_load };
        environment.check()?;
        Ok(environment)
    }

    /// The same with an uplink that lets `burst_bytes` through at once after a rest.
    ///
    /// # Errors
    /// The figure is negative or not finite.
    pub fn with_burst(self, burst_bytes: f64) -> Result<Environment, Error> {
        let environment = Environment { burst_bytes, ..self };
        environment.check()?;
        Ok(environment)
    }

    /// What the uplink takes for `bytes` after a rest, in nanoseconds; the round trip is not in it.
    pub fn upload_ns(&self, bytes: u64) -> f64 {
        (bytes as f64 - self.burst_bytes).max(0.0) / self.uplink_bytes_per_s * 1e9
    }

    /// An idle cloud at the end of a link that only bandwidth limits.
    ///
    /// # Errors
    /// The rate is below one byte a second or not finite.
    pub fn of_uplink(uplink_bytes_per_s: f64) -> Result<Environment, Error> {
        Environment::new(uplink_bytes_per_s, 0.0, 0.0)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let refused = |value: f64, quantity, must_be| {
            Err(Error::Range { text: value.to_string(), quantity, must_be })
        };
        let rate = self.uplink_bytes_per_s;
        if !(rate.is_finite() && rate >= 1.0) {
            return refused(rate, "uplink in bytes per second", "finite and at least 1");
        }
        for (value, quantity) in [
            (self.burst_bytes, "burst of the uplink in bytes"),
            (self.rtt_ns, "round trip in nanoseconds"),
            (self.cloud_load, "load of the cloud"),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refused(value, quantity, "finite and not negative");
            }
        }
        Ok(())
    }
}

/// An upload and what it took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Upload {
    /// Bytes of the request's body.
    pub bytes: u64,
    /// From its first byte to the answer, less what the host says that it worked; nanoseconds.
    pub ns: f64,
    /// How long nothing had crossed the uplink before; nanoseconds.
    pub rested_ns: f64,
}

/// A probe of the link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// A request of no size and its answer, nanoseconds.
    pub rtt_ns: f64,
    /// Uploads back to back after a rest, until one took long: a burst is behind them.
    pub draining: Vec<Upload>,
    /// Uploads of at least two sizes, right behind those.
    pub timed: Vec<Upload>,
}

/// Bytes of a probe's first upload; each one after it has twice as many.
const FIRST: u64 = 8 << 10;
/// Bytes of its largest.
pub const LARGEST: u64 = 4 << 20;
/// Uploads grow until one takes so many nanoseconds beyond the round trip.
const LONG: f64 = 150e6;
/// Uploads of two sizes, in turns.
const PAIRS: usize = 3;
/// After one pair, no other begins later than this; nanoseconds.
const PATIENCE: f64 = 2e9;

impl Probe {
    /// A probe by `upload`, which takes a number of bytes, uploads them, and gives the nanoseconds
    /// until the answer; `rtt_ns` is what it takes for none.
    ///
    /// Uploads grow until the uplink has been busy with one for a sixth of a second, and with one
    /// of a quarter of its size for a part of that: where the round trip is long, a shaper's
    /// bucket takes in as much meanwhile as a small upload has. Uploads of these two sizes are then
    /// timed. A link of 70 KiB/s takes some two seconds, a faster one less.
    ///
    /// # Errors
    /// Those of `upload`.
    pub fn run<E>(rtt_ns: f64, mut upload: impl FnMut(u64) -> Result<f64, E>) -> Result<Probe, E> {
        let mut upload = |bytes| Ok(Upload { bytes, ns: upload(bytes)?, rested_ns: 0.0 });
        let busy = |upload: &Upload| upload.ns - rtt_ns;
        let mut probe = Probe { rtt_ns, ..Probe::default() };
        let mut size = FIRST;
        loop {
            let drained = upload(size)?;
            probe.draining.push(drained);
            if busy(&drained) >= LONG || size >= LARGEST {
                let quarter = upload(size / 4)?;
                if busy(&quarter) >= LONG / 8.0 || size >= LARGEST {
                    probe.timed.extend([quarter, upload(size)?]);
                    break;
                }
                probe.draining.push(quarter);
            }
            size *= 2;
        }
        let spent = |uploads: &[Upload]| uploads.iter().map(|upload| upload.ns).sum::<f64>();
        for _ in 1..PAIRS {
            if spent(&probe.draining) + spent(&probe.timed) > PATIENCE {
                break;
            }
            probe.timed.extend([upload(size / 4)?, upload(size)?]);
        }
        Ok(probe)
    }
}

/// The environment as the uploads so far show it.
///
/// An upload shows the rate by the bytes that did not fit into the burst, and the round trip where
/// all of them did. Both are smoothed; a sample far from all before it counts only once a second
/// one confirms it, and then takes their place: one stall moves nothing, a link that has changed
/// is known after two uploads.
#[derive(Clone, Debug)]
pub struct Estimator {
    /// Nanoseconds a byte.
    slowness: Smoothed,
    burst_bytes: f64,
    rtt_ns: Smoothed,
    /// None has been reported yet.
    cloud_load: Option<f64>,
}

/// What an upload told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Something of the rate: one that fits into the burst, or takes next to no time, does not.
    pub rate: bool,
    /// It was far from what it should have taken, and the one before it was not: a stall, or the
    /// link has become another one, whose burst no upload shows, but a new [`Probe`] does.
    pub far: bool,
}

/// The weight of a new sample.
const WEIGHT: f64 = 0.2;
/// A sample this many times above or below the value is far from it: more than two samples of a
/// link that varies by 20% either way can differ.
const FAR: f64 = 1.5;
/// Differences below this, in nanoseconds, are the machines', not the link's.
const LEAST: f64 = 2e6;

impl Estimator {
    /// The environment of an idle cloud behind the link that `probe` was made on.
    ///
    /// The rate is the median slope between timed uploads of different sizes (Theil and Sen): what
    /// each of them costs beside its bytes falls out. The burst is what the draining ones carried
    /// beyond that rate.
    ///
    /// # Errors
    /// The probe has no timed upload that took any time.
    pub fn new(probe: &Probe) -> Result<Estimator, Error> {
        let rtt_ns = probe.rtt_ns;
        let mut slopes = Vec::new();
        for (i, a) in probe.timed.iter().enumerate() {
            for b in probe.timed[..i].iter().filter(|b| a.bytes != b.bytes) {
                slopes.push((a.ns - b.ns) / (a.bytes as f64 - b.bytes as f64));
            }
        }
        slopes.sort_by(f64::total_cmp);
        let slope = slopes.get(slopes.len() / 2).copied().filter(|&slope| slope > 0.0);
        // On a link faster than its own noise the slope may be anything; the largest then tells.
        let ratio = || {
            let largest = probe.timed.iter().max_by_key(|upload| upload.bytes)?;
            Some((largest.ns - rtt_ns).max(LEAST / 1e3) / largest.bytes.max(1) as f64)
        };
        let slowness = slope.or_else(ratio).unwrap_or(f64::INFINITY);
        // An upload begins with what the ones before it have left, or else with what a round trip
        // refills.
        let (mut excess, mut burst_bytes) = (0.0f64, 0.0f64);
        for upload in &probe.draining {
            excess = excess.max(rtt_ns / slowness) + upload.bytes as f64 - upload.ns / slowness;
            burst_bytes = burst_bytes.max(excess);
        }
        if burst_bytes * slowness < LEAST {
            burst_bytes = 0.0;
        }
        Environment::new(1e9 / slowness, rtt_ns, 0.0)?.with_burst(burst_bytes)?;
        Ok(Estimator {
            slowness: Smoothed::new(slowness, 0.0),
            burst_bytes,
            rtt_ns: Smoothed::new(rtt_ns, LEAST),
            cloud_load: None,
        })
    }

    /// The environment now.
    pub fn environment(&self) -> Environment {
        Environment {
            uplink_bytes_per_s: 1e9 / self.slowness.value(),
            burst_bytes: self.burst_bytes,
            rtt_ns: self.rtt_ns.value(),
            cloud_load: self.cloud_load.unwrap_or(0.0),
        }
    }

    /// Takes an upload into account.
    pub fn observe(&mut self, upload: &Upload) -> Told {
        let (bytes, slowness) = (upload.bytes as f64, self.slowness.value());
        // The bucket takes in bytes while an answer is under way, too.
        let refilled = (upload.rested_ns + self.rtt_ns.value()) / slowness;
        let tokens = self.burst_bytes.min(refilled);
        let (beyond, spent) = (bytes - tokens, upload.ns - self.rtt_ns.value());
        let mut far = false;
        if beyond <= 0.0 {
            far = self.rtt_ns.observe(upload.ns);
        }
        // The less goes beyond the burst, the more the burst's own error counts.
        if beyond < (tokens / 2.0).max(1.0) || spent.max(beyond * slowness) < LEAST {
            return Told { rate: false, far };
        }
        far |= self.slowness.observe(spent.max(1.0) / beyond);
        Told { rate: true, far }
    }

    /// Takes a new probe of the link into account, made because an upload was
    /// [far](Told::far) from what it should have taken. One that shows another link takes the place of all before. One that shows the same changes
    /// nothing: the far upload was a stall, or else the next one confirms it.
    pub fn reconsider(&mut self, probed: Estimator) {
        if let Some(load) = probed.cloud_load {
            self.observe_load(load);
        }
        let burst_ns = |of: &Estimator| of.burst_bytes * of.slowness.value();
        let other = [
            self.slowness.far(probed.slowness.value()),
            self.rtt_ns.far(probed.rtt_ns.value()),
            Smoothed::new(burst_ns(self), LEAST).far(burst_ns(&probed)),
        ];
        if other.iter().any(Option::is_some) {
            *self = Estimator { cloud_load: self.cloud_load, ..probed };
        }
    }

    /// Takes the cloud host's report of its load into account; what is no load is ignored.
    pub fn observe_load(&mut self, load: f64) {
        if load.is_finite() && load >= 0.0 {
            let before = self.cloud_load.unwrap_or(load);
            self.cloud_load = Some(before + WEIGHT * (load - before));
        }
    }

    /// Bytes of an upload that tells of the rate: it takes a tenth of a second, but goes beyond the
    /// burst by three quarters of it at least and by 256 KiB at most.
    pub fn probe_bytes(&self) -> u64 {
        const TENTH: f64 = 1e8;
        const MOST: f64 = (256 << 10) as f64;
        let least = (0.75 * self.burst_bytes).max(1024.0);
        let beyond = (TENTH / self.slowness.value()).clamp(least, least.max(MOST));
        (self.burst_bytes + beyond) as u64
    }
}

/// A positive quantity over samples that err by factors.
#[derive(Clone, Debug)]
struct Smoothed {
    log: f64,
    /// No sample that differs by less is far.
    least: f64,
    /// Samples since the value was last known to have changed.
    samples: u32,
    /// The last sample was far, on this side.
    suspect: Option<bool>,
}

impl Smoothed {
    /// A value that is well known.
    fn new(value: f64, least: f64) -> Smoothed {
        let samples = (1.0 / WEIGHT) as u32;
        Smoothed { log: value.max(1e-9).ln(), least, samples, suspect: None }
    }

    fn value(&self) -> f64 {
        self.log.exp()
    }

    /// Where the sample is far: whether it is above.
    fn far(&self, sample: f64) -> Option<bool> {
        let difference = sample.max(1e-9).ln() - self.log;
        let far = difference.abs() > FAR.ln() && (sample - self.value()).abs() > self.least;
        far.then_some(difference > 0.0)
    }

    /// Whether the sample is the first that is far, on its side.
    fn observe(&mut self, sample: f64) -> bool {
        let log = sample.max(1e-9).ln();
        match self.far(sample) {
            None => {
                self.samples += 1;
                self.log += (log - self.log) * WEIGHT.max(1.0 / f64::from(self.samples));
                self.suspect = None;
            }
            far if far == self.suspect => {
                *self = Smoothed { log, samples: 1, suspect: None, ..*self };
            }
            far => {
                self.suspect = far;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_environment_is_refused() {
        for (uplink, rtt, load) in [
            (0.0, 0.0, 0.0),
            (1e-300, 0.0, 0.0),
            (-1.0, 0.0, 0.0),
            (f64::NAN, 0.0, 0.0),
            (f64::INFINITY, 0.0, 0.0),
            (1.0, -1.0, 0.0),
            (1.0, f64::NAN, 0.0),
            (1.0, 0.0, -0.1),
            (1.0, 0.0, f64::INFINITY),
        ] {
            assert!(Environment::new(uplink, rtt, load).is_err(), "{uplink} {rtt} {load}");
        }
        let environment = Environment::new(1.0, 0.0, 0.0).unwrap();
        for burst in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(environment.with_burst(burst).is_err(), "{burst}");
        }
    }
}
