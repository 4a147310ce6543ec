//! Fitted cost models: the paper's PredictPerformance for steps that were not profiled.
//!
//! A step's time is taken to be linear in its [`Work`]: multiply-accumulates, bytes of weights,
//! bytes of activations, tiles, and a constant. The coefficients are fitted by [`mod@crate::nnls`]
//! to the steps of one or more profiles of one device: to those that one kernel ran, and, for a
//! kernel that ran too few, to wider [classes](Class). Which kernel would run a step is read off
//! the profiled step that is most like it, so that a host can estimate for a board whose kernels
//! it does not have.
//!
//! Errors are weighed relative to the step's time, so that small steps count as large ones do. How
//! far a model is to be trusted is measured on steps that it was not fitted to: each network is
//! left out in turn, or, of a single network, every fifth step.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::Error;
use crate::nnls::nnls;
use crate::profile::{self, Device, Profile, Times};
use crate::work::Work;

/// Schema of a [`CostModel`] in JSON.
pub const COST_MODEL_SCHEMA: &str = "seam.cost-model/1";
/// Features of a step: see [`Coefficients`].
const FEATURES: usize = 5;
/// Below a microsecond the clock's own reading counts: errors are relative to no less.
const LEAST_NS: f64 = 1000.0;
/// A kernel with fewer profiled steps has no fit of its own.
const FEWEST: usize = 3;
/// Steps of a single network are left out in so many parts.
const FOLDS: usize = 5;

/// What a device takes for a step of some work, fitted to its profiles.
#[derive(Clone, Debug, Serialize)]
pub struct CostModel {
    schema: &'static str,
    device: Device,
    fitted_from: Vec<String>,
    classes: Vec<ClassFit>,
    held_out: HeldOut,
    #[serde(skip)]
    fit: Fit,
}

/// Steps that are fitted together: those of an operator that one kernel ran, those of an operator,
/// or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Class(Vec<String>);

/// What a step of a class takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Coefficients {
    /// Steps that it was fitted to.
    pub steps: usize,
    /// Nanoseconds a million multiply-accumulates.
    pub ns_per_mmac: f64,
    /// Nanoseconds for 1024 bytes of weights.
    pub ns_per_weight_kib: f64,
    /// Nanoseconds for 1024 bytes of activations.
    pub ns_per_activation_kib: f64,
    /// Nanoseconds a thousand tiles.
    pub ns_per_kilotile: f64,
    /// Nanoseconds a step.
    pub ns_per_step: f64,
}

/// The fit of a class, and how far its held-out steps were off.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassFit {
    /// Operator and kernel; fewer words for a wider class.
    pub class: Class,
    /// What a step takes.
    #[serde(flatten)]
    pub coefficients: Coefficients,
    /// The median error of the class's steps when they are held out, as a part of the time
    /// measured.
    pub error_p50: f64,
    /// Nine steps of ten are no further off.
    pub error_p90: f64,
}

/// How far estimates of whole networks lie from what was measured, on steps that the model was not
/// fitted to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HeldOut {
    /// Whole networks were left out; if not, parts of the only one.
    pub by_network: bool,
    /// The sum of all steps of each network.
    pub networks: Vec<NetworkError>,
}

/// The error of a whole network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkError {
    /// The network.
    pub name: String,
    /// The sum of its steps as measured.
    pub measured_ns: f64,
    /// The sum of the estimates.
    pub estimated_ns: f64,
    /// What the estimate is too long by, as a part of the measured time; negative where too short.
    pub error: f64,
}

/// What a step would take.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The kernel that would run it.
    pub kernel: String,
    /// Nanoseconds.
    pub ns: f64,
}

/// A profiled step.
#[derive(Clone, Debug)]
struct Sample {
    work: Work,
    kernel: String,
    ns: f64,
    /// Index of its network.
    network: usize,
}

/// Samples, and the coefficients of every class that has enough of them.
#[derive(Clone, Debug, Default)]
struct Fit {
    samples: Vec<Sample>,
    classes: BTreeMap<Class, Coefficients>,
}

impl CostModel {
    /// Fits a model to the measured steps of `profiles`, which are of one device.
    ///
    /// # Errors
    /// There are none, they hold no measured step, or they are of several devices.
    pub fn fit<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Result<CostModel, Error> {
        let profiles: Vec<&Profile> = profiles.into_iter().collect();
        let Some(first) = profiles.first() else { return Err(Error::NothingToFit) };
        let mut networks: Vec<(&str, &str)> = Vec::new();
        let mut samples = Vec::new();
        for profile in &profiles {
            if let Some(differs) = first.device.differs(&profile.device) {
                return Err(Error::SeveralDevices(differs));
            }
            let (name, id) = (profile.model.name.as_str(), profile.model.sha256.as_str());
            let network = networks.iter().position(|&(_, other)| other == id);
            let network = network.unwrap_or_else(|| {
                networks.push((name, id));
                networks.len() - 1
            });
            let measured = profile.steps.iter().filter(|step| !step.ns.estimated);
            samples.extend(measured.map(|step| Sample {
                work: step.work.clone(),
                kernel: step.kernel.clone(),
                ns: step.ns.p50,
                network,
            }));
        }
        if samples.is_empty() {
            return Err(Error::NothingToFit);
        }
        let names: Vec<&str> = networks.iter().map(|&(name, _)| name).collect();
        let estimates = left_out(&samples, names.len());
        let fit = Fit::to(samples);
        Ok(CostModel {
            schema: COST_MODEL_SCHEMA,
            device: first.device.clone(),
            fitted_from: profiles.iter().map(|profile| profile.sha256()).collect(),
            classes: class_fits(&fit, &estimates),
            held_out: HeldOut {
                by_network: names.len() > 1,
                networks: network_errors(&names, &fit.samples, &estimates),
            },
            fit,
        })
    }

    /// What a step of that work takes, and by which kernel.
    pub fn estimate(&self, work: &Work) -> Estimate {
        self.fit.estimate(work)
    }

    /// [`CostModel::estimate`]'s time with an interval of the largest held-out error of a network.
    pub fn times(&self, work: &Work) -> Times {
        Times::estimated(self.estimate(work).ns, self.held_out.worst())
    }

    /// The device that was profiled.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// SHA-256 of the profiles, in the order given.
    pub fn fitted_from(&self) -> &[String] {
        &self.fitted_from
    }

    /// The errors on what the model was not fitted to.
    pub fn held_out(&self) -> &HeldOut {
        &self.held_out
    }

    /// Every class with steps enough, sorted, a wider one before its parts and not where it has but
    /// one.
    pub fn classes(&self) -> &[ClassFit] {
        &self.classes
    }

    /// The JSON of the coefficients and errors.
    pub fn to_json(&self) -> String {
        profile::to_json(self)
    }
}

impl Coefficients {
    fn to<'a>(samples: impl Iterator<Item = &'a Sample>) -> Coefficients {
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for sample in samples {
            let weight = 1.0 / sample.ns.max(LEAST_NS);
            rows.push(features(&sample.work).map(|feature| feature * weight));
            targets.push(sample.ns * weight);
        }
        let steps = rows.len();
        let [ns_per_mmac, ns_per_weight_kib, ns_per_activation_kib, ns_per_kilotile, ns_per_step] =
            nnls(&rows, &targets);
        Coefficients {
            steps,
            ns_per_mmac,
            ns_per_weight_kib,
            ns_per_activation_kib,
            ns_per_kilotile,
            ns_per_step,
        }
    }

    /// Nanoseconds for `work`.
    pub fn ns(&self, work: &Work) -> f64 {
        let coefficients = [
            self.ns_per_mmac,
            self.ns_per_weight_kib,
            self.ns_per_activation_kib,
            self.ns_per_kilotile,
            self.ns_per_step,
        ];
        features(work).iter().zip(coefficients).map(|(feature, ns)| feature * ns).sum()
    }
}

/// In the units of [`Coefficients`].
fn features(work: &Work) -> [f64; FEATURES] {
    [
        work.macs as f64 / 1e6,
        work.weight_bytes as f64 / 1024.0,
        work.activation_bytes as f64 / 1024.0,
        work.tiles as f64 / 1e3,
        1.0,
    ]
}

impl Fit {
    fn to(samples: Vec<Sample>) -> Fit {
        let classes: BTreeSet<Class> = samples.iter().flat_map(Sample::classes).collect();
        let fit = |class: Class| {
            let of_class = samples.iter().filter(|sample| sample.classes().any(|c| c == class));
            let fit = Coefficients::to(of_class);
            (fit.steps >= FEWEST || class.0.len() < 2).then_some((class, fit))
        };
        let classes = classes.into_iter().filter_map(fit).collect();
        Fit { samples, classes }
    }

    fn estimate(&self, work: &Work) -> Estimate {
        let kernel = match most_alike(work, &self.samples) {
            Some(sample) => sample.kernel.clone(),
            None => String::new(),
        };
        let fit = Class::of(work, &kernel).find_map(|class| self.classes.get(&class));
        Estimate { kernel, ns: fit.map_or(0.0, |fit| fit.ns(work)) }
    }
}

impl Class {
    /// The classes of a step of that work, the narrowest first.
    fn of(work: &Work, kernel: &str) -> impl Iterator<Item = Class> {
        let words = [work.kind.clone(), kernel.into()];
        (0..=words.len()).rev().map(move |n| Class(words[..n].to_vec()))
    }

    /// Operator and kernel; empty where the class holds steps of any.
    pub fn words(&self) -> [&str; 2] {
        std::array::from_fn(|i| self.0.get(i).map_or("", String::as_str))
    }
}

impl Sample {
    fn classes(&self) -> impl Iterator<Item = Class> {
        Class::of(&self.work, &self.kernel)
    }
}

/// The sample of the same operator that is most like `work`: of the same window where there is
/// one, then nearest by the ratios of all features.
fn most_alike<'a>(work: &Work, samples: &'a [Sample]) -> Option<&'a Sample> {
    let distance = |sample: &Sample| {
        let ratios = features(work).into_iter().zip(features(&sample.work));
        let apart: f64 = ratios.map(|(a, b)| ((a + 1e-3) / (b + 1e-3)).ln().abs()).sum();
        (sample.work.window != work.window, apart)
    };
    let of_kind = samples.iter().filter(|sample| sample.work.kind == work.kind);
    of_kind.min_by(|a, b| {
        let (a, b) = (distance(a), distance(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    })
}

/// What each sample is estimated to take by those that are not left out with it.
fn left_out(samples: &[Sample], networks: usize) -> Vec<f64> {
    let (folds, by_network) = if networks > 1 { (networks, true) } else { (FOLDS, false) };
    let fold = |i: usize| if by_network { samples[i].network } else { i % FOLDS };
    let mut estimates = vec![0.0; samples.len()];
    for left_out in 0..folds {
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..samples.len()).partition(|&i| fold(i) != left_out);
        let fit = Fit::to(inside.into_iter().map(|i| samples[i].clone()).collect());
        for i in outside {
            estimates[i] = fit.estimate(&samples[i].work).ns;
        }
    }
    estimates
}

fn class_fits(fit: &Fit, estimates: &[f64]) -> Vec<ClassFit> {
    let of_class = |(class, coefficients): (&Class, &Coefficients)| {
        let held_out = fit.samples.iter().zip(estimates);
        let mut errors: Vec<f64> = held_out
            .filter(|(sample, _)| sample.classes().any(|c| c == *class))
            .map(|(sample, estimate)| (estimate - sample.ns).abs() / sample.ns.max(LEAST_NS))
            .collect();
        errors.sort_by(f64::total_cmp);
        let at = |part: f64| errors[((part * errors.len() as f64).ceil() as usize).max(1) - 1];
        let (error_p50, error_p90) = (at(0.5), at(0.9));
        ClassFit { class: class.clone(), coefficients: *coefficients, error_p50, error_p90 }
    };
    // An operator that one kernel ran alone is listed once, with that kernel.
    let narrower = |class: &Class, steps: usize| {
        let part = |(other, fit): (&Class, &Coefficients)| {
            other != class && other.0.starts_with(&class.0) && fit.steps == steps
        };
        fit.classes.iter().any(part)
    };
    let listed = fit.classes.iter().filter(|(class, fit)| !narrower(class, fit.steps));
    listed.map(of_class).collect()
}

fn network_errors(names: &[&str], samples: &[Sample], estimates: &[f64]) -> Vec<NetworkError> {
    let error = |(i, &name): (usize, &&str)| {
        let of_network = || samples.iter().zip(estimates).filter(move |(s, _)| s.network == i);
        let measured_ns: f64 = of_network().map(|(sample, _)| sample.ns).sum();
        let estimated_ns: f64 = of_network().map(|(_, estimate)| estimate).sum();
        let error = (estimated_ns - measured_ns) / measured_ns.max(LEAST_NS);
        NetworkError { name: name.into(), measured_ns, estimated_ns, error }
    };
    names.iter().enumerate().map(error).collect()
}

impl HeldOut {
    /// The largest error of a whole network, without its sign.
    pub fn worst(&self) -> f64 {
        self.networks.iter().map(|network| network.error.abs()).fold(0.0, f64::max)
    }

    /// The median error of whole networks, without its sign.
    pub fn median(&self) -> f64 {
        let mut errors: Vec<f64> = self.networks.iter().map(|n| n.error.abs()).collect();
        errors.sort_by(f64::total_cmp);
        let Some(last) = errors.len().checked_sub(1) else { return 0.0 };
        (errors[last / 2] + errors[last.div_ceil(2)]) / 2.0
    }
}
