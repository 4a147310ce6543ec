//! A tensor's values in bins, and the range that a calibration method takes from them.

use crate::calibrate::Method;

/// Bins over the whole range: 16 for each of the 256 codes.
const BINS: usize = 4096;
/// Codes of a tensor.
const CODES: usize = 256;
/// How many narrower ranges are tried.
const STEPS: usize = 128;
/// Share of the values that [`Method::Percentile`] leaves outside, at each end.
const TAIL: f64 = 0.5e-4;

/// Counts of values in equal bins from `min` to `max`.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    min: f32,
    max: f32,
    bins: Vec<u64>,
}

impl Histogram {
    /// An empty histogram of a range that holds zero.
    pub(crate) fn new(min: f32, max: f32) -> Histogram {
        Histogram { min, max, bins: vec![0; BINS] }
    }

    /// Counts `values`.
    pub(crate) fn count(&mut self, values: &[f32]) {
        let per_bin = BINS as f32 / (self.max - self.min).max(f32::MIN_POSITIVE);
        for x in values {
            // Saturating conversion: what lies outside counts at the ends.
            self.bins[(((x - self.min) * per_bin) as usize).min(BINS - 1)] += 1;
        }
    }

    /// Adds the counts of another histogram of the same range.
    pub(crate) fn add(&mut self, other: &Histogram) {
        self.bins.iter_mut().zip(&other.bins).for_each(|(a, b)| *a += b);
    }

    /// The range that `method` takes; it holds zero.
    pub(crate) fn range(&self, method: Method) -> (f32, f32) {
        let total: u64 = self.bins.iter().sum();
        if total == 0 || self.max <= self.min {
            return (self.min, self.max);
        }
        match method {
            Method::MinMax => (self.min, self.max),
            Method::Percentile => self.percentile(total),
            Method::Entropy => self.narrowest_loss(|h, lo, hi| h.divergence(lo, hi)),
            Method::Mse => self.narrowest_loss(|h, lo, hi| h.squared_error(lo, hi)),
        }
    }

    fn percentile(&self, total: u64) -> (f32, f32) {
        let outside = total as f64 * TAIL;
        let skipped = |bins: &mut dyn Iterator<Item = &u64>| {
            let mut seen = 0.0;
            bins.take_while(|&&n| {
                seen += n as f64;
                seen <= outside
            })
            .count()
        };
        let (below, above) = (skipped(&mut self.bins.iter()), skipped(&mut self.bins.iter().rev()));
        self.bounds(below, BINS - above)
    }

    /// The range of bins `lo..hi`, widened to hold zero.
    fn bounds(&self, lo: usize, hi: usize) -> (f32, f32) {
        let width = f64::from(self.max - self.min) / BINS as f64;
        let at = |bin: usize| (f64::from(self.min) + bin as f64 * width) as f32;
        (at(lo).min(0.0), if hi == BINS { self.max } else { at(hi).max(0.0) })
    }

    /// The range of least `loss` among those that share zero's place with the whole range: both
    /// ends move to zero at the same rate.
    fn narrowest_loss(&self, loss: impl Fn(&Histogram, usize, usize) -> f64) -> (f32, f32) {
        let zero = (f64::from(-self.min) / f64::from(self.max - self.min) * BINS as f64) as usize;
        let mut best = (f64::INFINITY, 0, BINS);
        for step in (STEPS / 8..=STEPS).rev() {
            let lo = zero - zero * step / STEPS;
            let hi = zero + (BINS - zero) * step / STEPS;
            if hi - lo < CODES {
                break;
            }
            let loss = loss(self, lo, hi);
            if loss < best.0 {
                best = (loss, lo, hi);
            }
        }
        self.bounds(best.1, best.2)
    }

    /// Squared error, in bins², of rounding to the codes of bins `lo..hi`; clipped values included.
    fn squared_error(&self, lo: usize, hi: usize) -> f64 {
        let step = (hi - lo) as f64 / (CODES - 1) as f64;
        let mut sum = 0.0;
        for (bin, &n) in self.bins.iter().enumerate().filter(|(_, n)| **n > 0) {
            let x = bin as f64 + 0.5 - lo as f64;
            let code = (x / step).round().clamp(0.0, (CODES - 1) as f64);
            // A value lies anywhere in its bin: that adds a twelfth of a bin squared to each.
            sum += n as f64 * ((x - code * step).powi(2) + 1.0 / 12.0);
        }
        sum
    }

    /// Kullback-Leibler divergence of the codes of bins `lo..hi` from the values, the clipped ones
    /// counted in the outermost bins.
    fn divergence(&self, lo: usize, hi: usize) -> f64 {
        let mut p: Vec<f64> = self.bins[lo..hi].iter().map(|&n| n as f64).collect();
        let inside = p.clone();
        let outside = |bins: &[u64]| bins.iter().sum::<u64>() as f64;
        let last = p.len() - 1;
        p[0] += outside(&self.bins[..lo]);
        p[last] += outside(&self.bins[hi..]);
        let total: f64 = p.iter().sum();
        let kept: f64 = inside.iter().sum();
        if kept == 0.0 {
            return f64::INFINITY;
        }
        let mut sum = 0.0;
        for code in 0..CODES {
            let bins = code * p.len() / CODES..(code + 1) * p.len() / CODES;
            let filled = inside[bins.clone()].iter().filter(|n| **n > 0.0).count();
            // A code spreads its count over the bins that had any.
            let q = inside[bins.clone()].iter().sum::<f64>() / filled.max(1) as f64 / kept;
            for bin in bins.filter(|&bin| p[bin] > 0.0) {
                let p = p[bin] / total;
                let q = if inside[bin] > 0.0 { q } else { 1e-12 };
                sum += p * (p / q).ln();
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bell(outlier: f32) -> Histogram {
        let mut h = Histogram::new(-outlier, outlier);
        // Sums of twelve uniform numbers: a bell of deviation 1.
        let mut state = 1u32;
        let mut uniform = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            state as f32 / u32::MAX as f32
        };
        let values: Vec<f32> =
            (0..100_000).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect();
        h.count(&values);
        h.count(&[outlier]);
        h
    }

    #[test]
    fn every_method_but_minmax_cuts_a_lonely_outlier_off() {
        let h = bell(60.0);
        assert_eq!(h.range(Method::MinMax), (-60.0, 60.0));
        for method in [Method::Percentile, Method::Entropy] {
            let (lo, hi) = h.range(method);
            assert!(lo < -1.5 && lo > -30.0 && hi > 1.5 && hi < 30.0, "{method:?}: {lo} {hi}");
        }
        // 100,000 values rounded to steps of 2t/255, and one cut from 60 to t: the sum of squares,
        // 100,000 (2t/255)²/12 + (60 - t)², is least at t = 39.7.
        let (lo, hi) = h.range(Method::Mse);
        assert!((hi - 39.7).abs() < 3.0 && (lo + 39.7).abs() < 3.0, "{lo} {hi}");
    }

    #[test]
    fn ranges_hold_zero_and_stay_within_what_was_seen() {
        for (min, max) in [(0.0, 7.0), (-3.0, 0.0), (-1.0, 5.0), (0.0, 0.0)] {
            let mut h = Histogram::new(min, max);
            h.count(&[min, max, 0.5 * (min + max)]);
            for method in [Method::MinMax, Method::Percentile, Method::Entropy, Method::Mse] {
                let (lo, hi) = h.range(method);
                assert!(min <= lo && lo <= 0.0 && 0.0 <= hi && hi <= max, "{method:?} {lo} {hi}");
            }
        }
    }

    #[test]
    fn percentile_leaves_the_stated_share_outside() {
        let mut h = Histogram::new(0.0, 1.0);
        let values: Vec<f32> = (0..1_000_000).map(|i| i as f32 / 1e6).collect();
        h.count(&values);
        let (lo, hi) = h.range(Method::Percentile);
        assert_eq!(lo, 0.0);
        assert!((hi - 0.99995).abs() < 1.0 / 4096.0, "{hi}");
    }
}
