//! The output stage on NEON registers.

use std::arch::aarch64::*;

use super::Requantize;

/// The constants of one output tensor.
#[derive(Clone, Copy)]
pub(crate) struct Stage {
    lo: uint8x8_t,
    hi: uint8x8_t,
    zero_point: int16x8_t,
}

impl Stage {
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn new(stage: Requantize) -> Stage {
        let code = |bound: f32| vdup_n_u8((bound as i32 + stage.zero_point) as u8);
        Stage {
            lo: code(stage.bounds[0]),
            hi: code(stage.bounds[1]),
            zero_point: vdupq_n_s16(stage.zero_point as i16),
        }
    }

    /// Eight accumulators to eight bytes. `fcvtns` and every narrowing saturate, so that the clamp
    /// may stand at the end, where it costs least.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn bytes8(&self, acc: [int32x4_t; 2], multipliers: [float32x4_t; 2]) -> uint8x8_t {
        let rounded =
            |i: usize| vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc[i]), multipliers[i])));
        let words = vqaddq_s16(vcombine_s16(rounded(0), rounded(1)), self.zero_point);
        vmin_u8(vmax_u8(vqmovun_s16(words), self.lo), self.hi)
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
