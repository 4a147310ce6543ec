//! The output stage on NEON registers.

use std::arch::aarch64::*;

use super::Requantize;

/// The constants of one output tensor.
#[derive(Clone, Copy)]
pub(crate) struct Stage {
    lo: float32x4_t,
    hi: float32x4_t,
    zero_point: int32x4_t,
}

impl Stage {
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn new(stage: Requantize) -> Stage {
        Stage {
            lo: vdupq_n_f32(stage.bounds[0]),
            hi: vdupq_n_f32(stage.bounds[1]),
            zero_point: vdupq_n_s32(stage.zero_point),
        }
    }

    /// Four accumulators to four codes, still i32.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn codes(&self, acc: int32x4_t, multipliers: float32x4_t) -> int32x4_t {
        let v = vmulq_f32(vcvtq_f32_s32(acc), multipliers);
        let v = vminq_f32(vmaxq_f32(v, self.lo), self.hi);
        vaddq_s32(vcvtnq_s32_f32(v), self.zero_point)
    }

    /// Eight accumulators to eight bytes.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn bytes8(&self, acc: [int32x4_t; 2], multipliers: [float32x4_t; 2]) -> uint8x8_t {
        let low = vmovn_s32(self.codes(acc[0], multipliers[0]));
        let high = vmovn_s32(self.codes(acc[1], multipliers[1]));
        vqmovun_s16(vcombine_s16(low, high))
    }
}

/// Writes the first `n` bytes of `bytes`.
///
/// # Safety
/// `y..y + n` may be written and `n <= 8`.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn store_first(y: *mut u8, bytes: uint8x8_t, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        match n {
            8 => vst1_u8(y, bytes),
            4 => y.cast::<u32>().write_unaligned(vget_lane_u32::<0>(vreinterpret_u32_u8(bytes))),
            _ => {
                let mut all = [0u8; 8];
                vst1_u8(all.as_mut_ptr(), bytes);
                std::ptr::copy_nonoverlapping(all.as_ptr(), y, n);
            }
        }
    }
}
