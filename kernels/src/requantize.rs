//! From i32 accumulators to u8 codes: the output stage of convolution, fully connected layers and
//! pooling.
//!
//! `y = rne(clamp(f32(acc) * m, lo - zy, hi - zy)) + zy`, with the conversion of the accumulator
//! rounded to nearest even, one f32 multiplication, and the zero point added after rounding: what
//! ONNX Runtime computes for `QLinearConv`. The clamp stands before the rounding, so that no
//! instruction set's behaviour on overflow shows.

use crate::Clamp;

#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

/// The multiplier of every output channel, `(sx * sw[oc]) / sy`: an f32 multiplication, then an
/// f32 division.
pub fn multipliers(sx: f32, sw: &[f32], sy: f32) -> Vec<f32> {
    sw.iter().map(|&sw| (sx * sw) / sy).collect()
}

/// The scalar form, and the constants that the vector forms load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requantize {
    /// `lo - zy` and `hi - zy`.
    pub(crate) bounds: [f32; 2],
    /// `zy`.
    pub(crate) zero_point: i32,
    /// `lo`.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(crate) lo: u8,
    /// Narrowing to bytes with saturation is all of the clamp: every code may come out, and no
    /// product leaves the range of i32. Output stages of tiles leave the clamp out then.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(crate) saturates: bool,
}

impl Requantize {
    /// The output stage that ends in `clamp`.
    pub const fn new(clamp: Clamp) -> Requantize {
        let zero_point = clamp.zero_point as i32;
        Requantize {
            bounds: [(clamp.lo as i32 - zero_point) as f32, (clamp.hi as i32 - zero_point) as f32],
            zero_point,
            lo: clamp.lo,
            saturates: false,
        }
    }

    /// The same for a layer whose packed multipliers (little-endian f32) are these: |sum| is no
    /// more than 2^31, so a product with less than 1 rounds to an i32.
    pub(crate) fn with(self, packed: &[u8]) -> Requantize {
        let multipliers = packed.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let small = multipliers.fold(true, |small, m| small & (m.abs() < 1.0));
        let every_code = self.bounds[1] - self.bounds[0] == 255.0;
        Requantize { saturates: every_code && small, ..self }
    }

    /// The code of `acc * multiplier`; `multiplier` is finite.
    #[inline(always)]
    pub fn apply(self, acc: i32, multiplier: f32) -> u8 {
        /// Adding and subtracting 1.5 * 2^23 rounds |v| < 2^22 to an integer, half to even, in
        /// instructions that every CPU has.
        const ROUND: f32 = 12_582_912.0;
        let v = (acc as f32 * multiplier).max(self.bounds[0]).min(self.bounds[1]);
        let rounded = (v + ROUND) - ROUND;
        (rounded as i32 + self.zero_point) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    #[test]
    fn the_scalar_form_is_the_reference_at_ties_and_extremes() {
        let accs = [0, 1, -1, 2, 3, 5, 255, -255, 1 << 24, (1 << 24) + 1, i32::MAX, i32::MIN];
        for zero_point in [0, 1, 7, 128, 254, 255] {
            for (lo, hi) in [(0, 255), (zero_point, 255), (0, zero_point), (13, 14)] {
                let clamp = Clamp { zero_point, lo, hi };
                for m in [0.5f32, 0.25, 1.0, 1.5, 1e-3, 2f32.powi(-23), 1e30, f32::MIN_POSITIVE] {
                    for acc in accs.into_iter().chain(-600..600) {
                        let want = reference::requantize(acc, m, clamp);
                        assert_eq!(
                            Requantize::new(clamp).apply(acc, m),
                            want,
                            "{acc} {m} {clamp:?}"
                        );
                    }
                }
            }
        }
    }
}
