//! What the estimate of the environment promises on links that are known.

use seam_tuner::environment::{Estimator, Probe, Told, Upload};
use seam_tuner::{Hysteresis, MeasuredPoint, Objective};

mod common;
use common::link::Link;
use common::measured_point;

/// So long a rest that every bucket is full.
const REST: f64 = 1e9;

fn near(found: f64, expected: f64, part: f64) -> bool {
    (found / expected - 1.0).abs() <= part
}

#[test]
fn a_probe_finds_rate_and_burst() {
    for rate in [70e3, 250e3, 1e6, 50e6] {
        for (burst, rtt_ns) in [(0.0, 2e5), (0.0, 4e7), (16384.0, 2e5), (16384.0, 2e7)] {
            let probe = Link::new(rate, burst, rtt_ns, 0.0).probe();
            let found = Estimator::new(&probe).unwrap().environment();
            assert!(near(found.uplink_bytes_per_s, rate, 1e-6), "{rate} {burst}: {found:?}");
            // A bucket that is empty after a third of a millisecond is none.
            let burst = if rate < 50e6 { burst } else { 0.0 };
            assert!((found.burst_bytes - burst).abs() < 1.0, "{rate} {burst}: {found:?}");
        }
    }
}

/// A bucket takes in as much during the round trip as the small uploads have.
#[test]
fn a_long_round_trip_is_no_rate() {
    for rtt_ns in [2e8, 6e8] {
        for rate in [70e3, 1e6] {
            let probe = Link::new(rate, 16384.0, rtt_ns, 0.0).probe();
            let found = Estimator::new(&probe).unwrap().environment();
            assert!(near(found.uplink_bytes_per_s, rate, 1e-6), "{rate} {rtt_ns}: {found:?}");
            assert!((found.burst_bytes - 16384.0).abs() < 1.0, "{rate} {rtt_ns}: {found:?}");
        }
    }
}

#[test]
fn one_stall_in_a_probe_moves_the_rate_little() {
    let mut probe = Link::new(70e3, 16384.0, 2e5, 0.0).probe();
    probe.timed[2].ns += 1e9;
    let found = Estimator::new(&probe).unwrap().environment();
    assert!(near(found.uplink_bytes_per_s, 70e3, 0.01), "{found:?}");
}

#[test]
fn a_probe_that_shows_no_rate_is_refused() {
    assert!(Estimator::new(&Probe::default()).is_err());
    // Too fast for its own noise: the larger upload took less time.
    let upload = |bytes, ns| Upload { bytes, ns, rested_ns: 0.0 };
    let timed = vec![upload(1 << 20, 9e5), upload(1 << 22, 8e5)];
    let probe = Probe { rtt_ns: 1e5, draining: Vec::new(), timed };
    let found = Estimator::new(&probe).unwrap().environment();
    assert!(found.uplink_bytes_per_s > 1e9, "{found:?}");
}

fn link(spread: f64) -> (Link, Estimator) {
    let mut link = Link::new(250e3, 16384.0, 3e5, 0.0);
    let estimator = Estimator::new(&link.probe()).unwrap();
    link.noise.spread = spread;
    (link, estimator)
}

#[test]
fn noise_of_a_fifth_moves_the_estimate_less_than_the_half_of_it() {
    let (mut link, mut estimator) = link(0.2);
    for i in 0..10_000 {
        assert!(estimator.observe(&link.upload(150_000, REST)).rate);
        let rate = estimator.environment().uplink_bytes_per_s;
        assert!(near(rate, 250e3, 0.15), "upload {i}: {rate}");
    }
}

#[test]
fn one_stall_moves_nothing_and_two_uploads_show_a_change() {
    let (mut link, mut estimator) = link(0.0);
    let steady = estimator.environment();
    let upload = link.upload(150_000, REST);
    estimator.observe(&Upload { ns: upload.ns * 10.0, ..upload });
    assert_eq!(estimator.environment(), steady);
    estimator.observe(&link.upload(150_000, REST));
    assert!(near(estimator.environment().uplink_bytes_per_s, 250e3, 0.001));
    for rate in [1e6, 70e3, 2e6] {
        link.bytes_per_s = rate;
        estimator.observe(&link.upload(150_000, REST));
        assert!(!near(estimator.environment().uplink_bytes_per_s, rate, 0.3));
        estimator.observe(&link.upload(150_000, REST));
        assert!(near(estimator.environment().uplink_bytes_per_s, rate, 0.001), "{rate}");
    }
}

#[test]
fn uploads_without_a_rest_show_the_same_rate() {
    let (mut link, mut estimator) = link(0.0);
    for rested_ns in [0.0, 1e7, 1e8, 0.0, 1e9] {
        let upload = link.upload(40_000, rested_ns);
        assert!(estimator.observe(&upload).rate, "{rested_ns}");
        // The bucket takes in a little while the answer is under way.
        assert!(near(estimator.environment().uplink_bytes_per_s, 250e3, 0.01), "{rested_ns}");
    }
}

#[test]
fn what_fits_into_the_burst_shows_the_round_trip_only() {
    let (mut link, mut estimator) = link(0.0);
    link.rtt_ns = 4e5;
    for _ in 0..50 {
        assert!(!estimator.observe(&link.upload(9_216, REST)).rate);
    }
    let found = estimator.environment();
    assert!(near(found.uplink_bytes_per_s, 250e3, 1e-6), "{found:?}");
    assert!(near(found.rtt_ns, 4e5, 0.001), "{found:?}");
}

#[test]
fn an_upload_where_the_burst_is_gone_is_far() {
    let (mut link, mut estimator) = link(0.0);
    let told = estimator.observe(&link.upload(9_216, REST));
    assert_eq!(told, Told { rate: false, far: false });
    let upload = Upload { bytes: 9_216, ns: 4e7, rested_ns: REST };
    assert_eq!(estimator.observe(&upload), Told { rate: false, far: true });
    assert!(!estimator.observe(&link.upload(9_216, REST)).far);
}

/// What a stalled probe left open, uploads within the burst cannot settle; they raise no new doubt.
#[test]
fn a_stall_is_doubted_once() {
    let (mut link, mut estimator) = link(0.0);
    let upload = link.upload(estimator.probe_bytes(), REST);
    assert!(estimator.observe(&Upload { ns: upload.ns * 5.0, ..upload }).far);
    estimator.reconsider(Estimator::new(&link.probe()).unwrap());
    for _ in 0..20 {
        let told = estimator.observe(&link.upload(9_216, REST));
        assert_eq!(told, Told { rate: false, far: false });
    }
    let told = estimator.observe(&link.upload(estimator.probe_bytes(), REST));
    assert_eq!(told, Told { rate: true, far: false });
}

#[test]
fn a_probe_in_doubt_replaces_another_link_and_keeps_the_same() {
    let (mut link, mut estimator) = link(0.0);
    let steady = estimator.environment();
    let upload = link.upload(150_000, REST);
    let far = Upload { ns: upload.ns * 10.0, ..upload };
    assert!(estimator.observe(&far).far);
    estimator.reconsider(Estimator::new(&link.probe()).unwrap());
    assert_eq!(estimator.environment(), steady, "a stall");
    // Uploads of that size do take longer than a probe's: they count.
    assert!(!estimator.observe(&far).far);
    assert!(near(estimator.environment().uplink_bytes_per_s, 25e3, 0.1));
    for (rate, burst) in [(1e6, 16384.0), (1e6, 65536.0), (70e3, 0.0)] {
        let mut other = Link::new(rate, burst, 3e5, 0.0);
        let mut probed = Estimator::new(&other.probe()).unwrap();
        probed.observe_load(1.0);
        estimator.reconsider(probed);
        let found = estimator.environment();
        assert!(near(found.uplink_bytes_per_s, rate, 1e-6), "{found:?}");
        assert!((found.burst_bytes - burst).abs() < 1.0, "{found:?}");
        assert_eq!(found.cloud_load, 1.0, "it is not part of the link");
    }
}

#[test]
fn on_a_fast_link_the_machines_own_pauses_are_no_burst() {
    let upload = |bytes, ns| Upload { bytes, ns, rested_ns: 0.0 };
    // One gigabyte a second; the first upload happens to be quick.
    let draining = vec![upload(1 << 20, 3e5)];
    let timed = vec![upload(1 << 20, 1.2e6), upload(1 << 22, 4.3e6)];
    let probe = Probe { rtt_ns: 1e5, draining, timed };
    assert_eq!(Estimator::new(&probe).unwrap().environment().burst_bytes, 0.0);
}

#[test]
fn an_upload_of_probe_bytes_tells_of_the_rate_in_a_tenth_of_a_second() {
    for rate in [5e3, 70e3, 250e3, 1e6] {
        let mut link = Link::new(rate, 16384.0, 3e5, 0.0);
        let mut estimator = Estimator::new(&link.probe()).unwrap();
        let upload = link.upload(estimator.probe_bytes(), 5.0 * REST);
        // On a slow link, what goes beyond the burst takes longer.
        assert!(near(upload.ns, 1e8, 0.01) || rate < 200e3, "{rate}: {upload:?}");
        assert!(upload.ns >= 1e8, "{rate}: {upload:?}");
        assert!(estimator.observe(&Upload { rested_ns: 5.0 * REST, ..upload }).rate, "{rate}");
    }
}

#[test]
fn load_is_smoothed_and_nonsense_ignored() {
    let (_, mut estimator) = link(0.0);
    for nonsense in [f64::NAN, f64::INFINITY, -1.0] {
        estimator.observe_load(nonsense);
    }
    assert_eq!(estimator.environment().cloud_load, 0.0);
    estimator.observe_load(2.0);
    assert_eq!(estimator.environment().cloud_load, 2.0, "nothing was known before");
    estimator.observe_load(1.0);
    assert!((estimator.environment().cloud_load - 1.8).abs() < 1e-9);
    for _ in 0..50 {
        estimator.observe_load(2.0);
    }
    assert!((estimator.environment().cloud_load - 2.0).abs() < 1e-3);
}

/// An image every so often, cut where the estimate says.
struct Run {
    points: [MeasuredPoint; 3],
    link: Link,
    estimator: Estimator,
    hysteresis: Hysteresis,
    present: Option<usize>,
    moves: usize,
}

impl Run {
    /// Over a link of `bytes_per_s` that varies by `spread` either way.
    fn new(bytes_per_s: f64, spread: f64) -> Run {
        let mut link = Link::new(bytes_per_s, 16384.0, 3e5, spread);
        let estimator = Estimator::new(&link.probe()).unwrap();
        let points = [
            measured_point("input", 0, 150_000, 0.0, 100.0),
            measured_point("conv1", 1, 60_000, 300.0, 50.0),
            measured_point("output", 2, 0, 700.0, 0.0),
        ];
        Run { points, link, estimator, hysteresis: Hysteresis::default(), present: None, moves: 0 }
    }

    /// Decides, then uploads the boundary, or a probe where nothing crosses.
    fn image(&mut self) -> usize {
        let environment = self.estimator.environment();
        let choice =
            self.hysteresis.decide(&self.points, &environment, Objective::Fastest).unwrap();
        let point = choice.point;
        self.moves += usize::from(self.present.is_some_and(|present| present != point));
        self.present = Some(point);
        let bytes = match self.points[point].bytes {
            0 => self.estimator.probe_bytes(),
            bytes => bytes,
        };
        self.estimator.observe(&self.link.upload(bytes, REST));
        point
    }
}

#[test]
fn noise_of_a_fifth_on_a_steady_link_moves_the_cut_once_at_most() {
    // Every rate at which two of the points take about the same time is among these.
    for rate in (60..1200).step_by(10) {
        let mut run = Run::new(f64::from(rate) * 1e3, 0.2);
        for _ in 0..2000 {
            run.image();
        }
        assert!(run.moves <= 1, "{rate} kB/s: {} moves", run.moves);
    }
}

#[test]
fn a_change_of_the_link_moves_the_cut_within_five_images() {
    let mut run = Run::new(70e3, 0.2);
    for (rate, expected) in [(70e3, 2), (1e6, 0), (70e3, 2), (250e3, 1), (70e3, 2), (1e6, 0)] {
        run.link.bytes_per_s = rate;
        for _ in 0..5 {
            run.image();
        }
        for image in 0..50 {
            assert_eq!(run.image(), expected, "{rate}: image {image}");
        }
    }
}
