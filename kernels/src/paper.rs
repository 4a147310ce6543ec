//! The paper's quantization scheme: Formula 1 and 2 with per-tensor thresholds, and the arithmetic
//! of its on-device steps.
//!
//! A layer of the paper's edge part (section 3) takes four steps: *quantize* its FP32 input by
//! Formula 1 with thresholds found in calibration, *multiply* 8-bit codes into 32-bit integers,
//! *dequantize* the integers to FP32, and apply the non-parametric operators, whose output the next
//! layer quantizes again (Formula 1) or the cloud dequantizes (Formula 2). Thresholds are not moved
//! so that zero is a code, so a product of codes carries three correction terms; [`Products`] holds
//! them. Everything is f64: an f32 Formula 1 misses the exact rounding now and then.

/// The thresholds `Tmin` and `Tmax` of one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    min: f64,
    max: f64,
}

impl Thresholds {
    /// `min < max`, both finite; `None` otherwise.
    pub fn new(min: f64, max: f64) -> Option<Thresholds> {
        (min.is_finite() && max.is_finite() && min < max).then_some(Thresholds { min, max })
    }

    /// The least and the greatest of `values`; `None` where they are equal or not finite.
    pub fn of(values: &[f32]) -> Option<Thresholds> {
        let min = values.iter().copied().fold(f32::INFINITY, f32::min);
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Thresholds::new(f64::from(min), f64::from(max))
    }

    /// `Tmin`.
    pub fn min(self) -> f64 {
        self.min
    }

    /// `Tmax`.
    pub fn max(self) -> f64 {
        self.max
    }

    /// Formula 1: `(x - Tmin) / |Tmax - Tmin| * 255` rounded half to even between the thresholds,
    /// 0 and 255 beyond them.
    pub fn quantize(self, x: f64) -> u8 {
        if x >= self.max {
            255
        } else if x <= self.min {
            0
        } else {
            ((x - self.min) / (self.max - self.min).abs() * 255.0).round_ties_even() as u8
        }
    }

    /// Formula 2: `|Tmax - Tmin| / 255 * q + Tmin`.
    pub fn dequantize(self, q: u8) -> f64 {
        self.step() * f64::from(q) + self.min
    }

    /// The real distance of two codes.
    pub fn step(self) -> f64 {
        (self.max - self.min).abs() / 255.0
    }
}

/// The integers of one inner product of codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// Sum of products of codes.
    pub products: i32,
    /// Sum of the input's codes.
    pub inputs: i32,
    /// Sum of the weights' codes.
    pub weights: i32,
    /// How many.
    pub count: i32,
}

impl Products {
    /// Adds one product.
    pub fn add(&mut self, x: u8, w: u8) {
        self.products += i32::from(x) * i32::from(w);
        self.inputs += i32::from(x);
        self.weights += i32::from(w);
        self.count += 1;
    }

    /// The real inner product: the sum of `(rx * qx + Tx) * (rw * qw + Tw)`, expanded.
    pub fn dequantize(&self, x: Thresholds, w: Thresholds) -> f64 {
        let (rx, rw) = (x.step(), w.step());
        rx * rw * f64::from(self.products)
            + rx * w.min * f64::from(self.inputs)
            + rw * x.min * f64::from(self.weights)
            + x.min * w.min * f64::from(self.count)
    }
}
