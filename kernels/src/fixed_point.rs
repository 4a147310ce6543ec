//! gemmlowp's output stage, all in integers: an alternative to [`crate::requantize`] for targets
//! that gemmlowp or TensorFlow Lite quantized. It rounds twice, so its codes are not those of the
//! contract's f32 form.
//!
//! Order: bias, stage, clamp, cast to u8 by saturation.

/// `a * b / 2^31` to nearest, half towards plus infinity; only `MIN * MIN` saturates, to `MAX`.
/// gemmlowp's `SaturatingRoundingDoublingHighMul`.
#[inline(always)]
pub fn saturating_rounding_doubling_high_mul(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    ((i64::from(a) * i64::from(b) + (1 << 30)) >> 31) as i32
}

/// `x / 2^exponent` to nearest, half away from zero. gemmlowp's `RoundingDivideByPOT`.
///
/// # Panics
/// `exponent > 31`, where overflow is checked.
#[inline(always)]
pub fn rounding_divide_by_pot(x: i32, exponent: u32) -> i32 {
    let mask = ((1i64 << exponent) - 1) as i32;
    let remainder = x & mask;
    let threshold = (mask >> 1) + i32::from(x < 0);
    (x >> exponent) + i32::from(remainder > threshold)
}

/// The output stage: `rounding_divide_by_pot(srdhm(acc << left, multiplier), right) + offset`, then
/// clamped and cast.
///
/// `shift >= 0` is gemmlowp's `OutputStageQuantizeDownInt32ByFixedPoint` and the right shift of
/// `OutputStageScaleInt32ByFixedPointAndExponent`; `shift < 0` is the latter's left shift, which
/// wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedPoint {
    /// A multiplier in [2^30, 2^31) stands for [0.5, 1).
    pub multiplier: i32,
    /// Right shift, in −31..=31; negative for a left shift before the multiplication.
    pub shift: i32,
    /// Added after the shift; usually the output's zero point.
    pub offset: i32,
    /// Smallest result before the cast.
    pub min: i32,
    /// Largest result before the cast.
    pub max: i32,
}

impl FixedPoint {
    /// The scaled value with its offset, neither clamped nor cast.
    #[inline(always)]
    pub fn scale(&self, acc: i32) -> i32 {
        let acc = acc.wrapping_shl(self.shift.min(0).unsigned_abs());
        let high = saturating_rounding_doubling_high_mul(acc, self.multiplier);
        rounding_divide_by_pot(high, self.shift.max(0) as u32).wrapping_add(self.offset)
    }

    /// The code of `acc`.
    #[inline(always)]
    pub fn apply(&self, acc: i32) -> u8 {
        self.scale(acc).max(self.min).min(self.max).clamp(0, 255) as u8
    }
}
