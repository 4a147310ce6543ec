use crate::Clamp;

/// `rne(clamp(f32(acc) * multiplier, lo - zy, hi - zy)) + zy`.
pub fn requantize(acc: i32, multiplier: f32, clamp: Clamp) -> u8 {
    let zero_point = i32::from(clamp.zero_point);
    let lo = (i32::from(clamp.lo) - zero_point) as f32;
    let hi = (i32::from(clamp.hi) - zero_point) as f32;
    let v = (acc as f32 * multiplier).clamp(lo, hi);
    (v.round_ties_even() as i32 + zero_point) as u8
}
