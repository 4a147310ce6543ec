//! Ranges of activations, from the FP32 network run on sample inputs.
//!
//! Every method starts from the smallest and largest value that a tensor takes. The others run the
//! inputs a second time, count each tensor's values in 4096 bins of that range, and narrow it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fp32::Plan;
use crate::histogram::Histogram;
use crate::lower::lower;
use crate::{Error, Network};

/// How a range is chosen from the values seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// Smallest and largest value.
    #[default]
    MinMax,
    /// All but the outermost 0.01 % of the values.
    Percentile,
    /// The range whose 256 codes diverge least from the values (Kullback-Leibler).
    Entropy,
    /// The range whose 256 codes have the least squared error.
    Mse,
}

/// Sample inputs, made on demand: f32, CHW, normalised. Called from several threads.
pub struct Inputs<'a> {
    /// How many there are.
    pub count: usize,
    /// The input of an index below `count`.
    pub at: &'a (dyn Fn(usize) -> Result<Vec<f32>, Error> + Sync),
}

/// The range of every tensor that the edge may write: smallest and largest real, by value name.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    pub(crate) ranges: HashMap<String, (f32, f32)>,
}

/// Runs `network` on `inputs`. `progress` hears how many runs of how many are done.
///
/// # Errors
/// There are no inputs, one cannot be made, the FP32 engine fails, or the network yields NaN or
/// infinities.
pub fn calibrate(
    network: &Network,
    inputs: &Inputs<'_>,
    method: Method,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Calibration, Error> {
    if inputs.count == 0 {
        return Err(Error::NoInputs);
    }
    let program = lower(network, &HashMap::new())?;
    let names: Vec<String> = program.tensors.iter().map(|t| t.name.clone()).collect();
    // Views have names of their own that no ONNX value bears.
    let names: Vec<String> =
        names.into_iter().filter(|n| network.dims(n).is_some() && *n != network.input).collect();
    let plan = Plan::new(network, &names)?;
    let passes = if method == Method::MinMax { 1 } else { 2 };
    let progress = |done: usize| progress(done, inputs.count * passes);
    let all = || std::iter::once(&network.input).chain(&names).cloned();

    let extents = vec![Extent { min: 0.0, max: 0.0 }; names.len() + 1];
    let extents = gather(&plan, inputs, &extents, &progress)?;
    for (value, extent) in all().zip(&extents) {
        if !(extent.max - extent.min).is_finite() {
            return Err(Error::NotFinite { value });
        }
    }
    let mut ranges: HashMap<String, (f32, f32)> =
        all().zip(&extents).map(|(name, e)| (name, (e.min, e.max))).collect();
    if method != Method::MinMax {
        let empty: Vec<_> = extents.iter().map(|e| Histogram::new(e.min, e.max)).collect();
        let progress = |done: usize| progress(inputs.count + done);
        let histograms = gather(&plan, inputs, &empty, &progress)?;
        // Pixels are no outliers: the input keeps its whole range.
        for (name, histogram) in names.iter().zip(&histograms[1..]) {
            ranges.insert(name.clone(), histogram.range(method));
        }
    }
    Ok(Calibration { ranges })
}

/// What is kept of a tensor's values.
trait Statistic: Clone + Send + Sync {
    fn see(&mut self, values: &[f32]);
    fn merge(&mut self, other: &Self);
}

/// Zero is always among the values: a range must hold it to have an exact code for it.
#[derive(Clone, Copy)]
struct Extent {
    min: f32,
    max: f32,
}

impl Statistic for Extent {
    fn see(&mut self, values: &[f32]) {
        for &x in values {
            // A NaN passes through neither comparison and must not pass unseen.
            if !x.is_finite() {
                self.max = f32::INFINITY;
            }
            self.min = self.min.min(x);
            self.max = self.max.max(x);
        }
    }

    fn merge(&mut self, other: &Extent) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

impl Statistic for Histogram {
    fn see(&mut self, values: &[f32]) {
        self.count(values);
    }

    fn merge(&mut self, other: &Histogram) {
        self.add(other);
    }
}

/// Runs the plan on every input, on all cores: one statistic of the input and of each output.
fn gather<S: Statistic>(
    plan: &Plan,
    inputs: &Inputs<'_>,
    empty: &[S],
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<S>, Error> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let total = Mutex::new(empty.to_vec());
    let work = || -> Result<(), Error> {
        let mut own = empty.to_vec();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= inputs.count {
                break;
            }
            let mut one = || -> Result<(), Error> {
                let input = (inputs.at)(i)?;
                own[0].see(&input);
                plan.run(input, |output, values| own[output + 1].see(values))
            };
            if let Err(error) = one() {
                next.store(inputs.count, Ordering::Relaxed);
                return Err(error);
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
        // A panic elsewhere has poisoned nothing that is read after it.
        let mut total = total.lock().unwrap_or_else(|e| e.into_inner());
        total.iter_mut().zip(&own).for_each(|(a, b)| a.merge(b));
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(inputs.count);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(total.into_inner().unwrap_or_else(|e| e.into_inner()))
}
