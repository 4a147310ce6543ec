//! The environment: what lies between board and cloud, and how busy the cloud is.

use serde::{Deserialize, Serialize};

use crate::Error;

/// What a prediction depends on beside the profiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Bytes that the uplink carries in a second.
    pub uplink_bytes_per_s: f64,
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
    /// The rate is not positive, another figure is negative, or one is not finite.
    pub fn new(
        uplink_bytes_per_s: f64,
        rtt_ns: f64,
        cloud_load: f64,
    ) -> Result<Environment, Error> {
        let environment = Environment { uplink_bytes_per_s, rtt_ns, cloud_load };
        environment.check()?;
        Ok(environment)
    }

    /// An idle cloud at the end of a link that only bandwidth limits.
    ///
    /// # Errors
    /// The rate is not positive and finite.
    pub fn of_uplink(uplink_bytes_per_s: f64) -> Result<Environment, Error> {
        Environment::new(uplink_bytes_per_s, 0.0, 0.0)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let refused = |value: f64, quantity, must_be| {
            Err(Error::Range { text: value.to_string(), quantity, must_be })
        };
        let rate = self.uplink_bytes_per_s;
        if !(rate.is_finite() && rate > 0.0) {
            return refused(rate, "uplink in bytes per second", "finite and above zero");
        }
        for (value, quantity) in
            [(self.rtt_ns, "round trip in nanoseconds"), (self.cloud_load, "load of the cloud")]
        {
            if !(value.is_finite() && value >= 0.0) {
                return refused(value, quantity, "finite and not negative");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_environment_is_refused() {
        for (uplink, rtt, load) in [
            (0.0, 0.0, 0.0),
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
        assert!(Environment::new(1.0, 0.0, 0.0).is_ok());
    }
}
