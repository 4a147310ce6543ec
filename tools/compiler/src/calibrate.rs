//! Ranges of activations, from the FP32 network run on sample inputs.
use crate::{Error, Network};

/// How a range is chosen from the values seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// Smallest and largest value.
    #[default]
    MinMax,
    /// All but the outermost 0.01 %.
    Percentile,
    /// Least Kullback-Leibler divergence.
    Entropy,
    /// Least squared error.
    Mse,
}

/// Sample inputs, made on demand: f32, CHW, normalised. Called from several threads.
pub struct Inputs<'a> {
    /// How many there are.
    pub count: usize,
    /// The input of an index below `count`.
    pub at: &'a (dyn Fn(usize) -> Result<Vec<f32>, Error> + Sync),
}

/// The range of every tensor that the edge may write.
#[derive(Clone, Debug)]
pub struct Calibration {}

/// Runs `network` on `inputs`. `progress` hears how many runs of how many are done.
pub fn calibrate(
    _network: &Network,
    _inputs: &Inputs<'_>,
    _method: Method,
    _progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Calibration, Error> {
    todo!()
}
