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
    /// The channels of the same tensors.
    pub(crate) channels: HashMap<String, ChannelStatistics>,
}

/// Extremes, mean and mean square of every channel of a tensor.
#[derive(Clone, Debug)]
pub(crate) struct ChannelStatistics {
    /// Zero counts as seen: a range must hold it to have an exact code for it.
    pub(crate) min: Vec<f32>,
    pub(crate) max: Vec<f32>,
    sums: Vec<f64>,
    squares: Vec<f64>,
    /// Values that are not zero.
    nonzero: Vec<u64>,
    /// Values seen of each channel.
    count: u64,
}

impl ChannelStatistics {
    pub(crate) fn new(channels: usize) -> ChannelStatistics {
        let zeros = vec![0.0; channels];
        ChannelStatistics {
            min: zeros.clone(),
            max: zeros,
            sums: vec![0.0; channels],
            squares: vec![0.0; channels],
            nonzero: vec![0; channels],
            count: 0,
        }
    }

    /// Smallest and largest value of all channels.
    pub(crate) fn range(&self) -> (f32, f32) {
        let min = self.min.iter().fold(0f32, |m, &x| m.min(x));
        (min, self.max.iter().fold(0f32, |m, &x| m.max(x)))
    }

    pub(crate) fn mean(&self, channel: usize) -> f64 {
        self.sums[channel] / self.count.max(1) as f64
    }

    pub(crate) fn mean_square(&self, channel: usize) -> f64 {
        self.squares[channel] / self.count.max(1) as f64
    }

    /// Mean square of what rounding to a multiple of `step` changes: nothing of a zero, and of a
    /// channel below the step no more than there is.
    pub(crate) fn rounding_error(&self, channel: usize, step: f64) -> f64 {
        let share = self.nonzero[channel] as f64 / self.count.max(1) as f64;
        (share * step * step / 12.0).min(self.mean_square(channel))
    }
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

    let empty: Vec<ChannelStatistics> = all()
        .map(|name| ChannelStatistics::new(network.dims(&name).map_or(1, |dims| dims[1])))
        .collect();
    let seen = gather(&plan, inputs, &empty, &progress)?;
    let mut ranges = HashMap::new();
    for (value, statistics) in all().zip(&seen) {
        let (min, max) = statistics.range();
        if !(max - min).is_finite() {
            return Err(Error::NotFinite { value });
        }
        ranges.insert(value, (min, max));
    }
    if method != Method::MinMax {
        let bins = |s: &ChannelStatistics| Histogram::new(s.range().0, s.range().1);
        let empty: Vec<_> = seen.iter().map(bins).collect();
        let progress = |done: usize| progress(inputs.count + done);
        let histograms = gather(&plan, inputs, &empty, &progress)?;
        // Pixels are no outliers: the input keeps its whole range.
        for (name, histogram) in names.iter().zip(&histograms[1..]) {
            ranges.insert(name.clone(), histogram.range(method));
        }
    }
    Ok(Calibration { ranges, channels: all().zip(seen).collect() })
}

/// What is kept of a tensor's values.
pub(crate) trait Statistic: Clone + Send + Sync {
    fn see(&mut self, values: &[f32]);
    fn merge(&mut self, other: &Self);
}

impl Statistic for ChannelStatistics {
    fn see(&mut self, values: &[f32]) {
        let pixels = (values.len() / self.min.len()).max(1);
        for (c, plane) in values.chunks_exact(pixels).enumerate() {
            for &x in plane {
                // A NaN passes through neither comparison and must not pass unseen.
                if !x.is_finite() {
                    self.max[c] = f32::INFINITY;
                }
                self.min[c] = self.min[c].min(x);
                self.max[c] = self.max[c].max(x);
            }
            self.nonzero[c] += plane.iter().filter(|x| **x != 0.0).count() as u64;
            self.sums[c] += plane.iter().map(|x| f64::from(*x)).sum::<f64>();
            self.squares[c] += plane.iter().map(|x| f64::from(x * x)).sum::<f64>();
        }
        self.count += pixels as u64;
    }

    fn merge(&mut self, other: &ChannelStatistics) {
        for c in 0..self.min.len() {
            self.min[c] = self.min[c].min(other.min[c]);
            self.max[c] = self.max[c].max(other.max[c]);
            self.sums[c] += other.sums[c];
            self.squares[c] += other.squares[c];
            self.nonzero[c] += other.nonzero[c];
        }
        self.count += other.count;
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
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(total.into_inner().unwrap_or_else(|e| e.into_inner()))
}
