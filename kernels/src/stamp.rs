//! One body, compiled once per instruction set.
//!
//! The kernels of this crate that move or scale bytes without a product sum are plain loops over
//! slices: the compiler vectorises them as well as intrinsics would, once it may use the wider
//! registers. [`stamped!`] compiles such a body for AVX2 and AVX-512 beside the plain build and
//! picks at run time; on aarch64 the plain build is the NEON one, since every aarch64 CPU has NEON. Rust never
//! fuses or reorders float operations by itself, so all builds give the same bits.

/// Defines `fn name(isa: Isa, ..)` whose body is compiled for every instruction set.
macro_rules! stamped {
    ($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        fn $name(isa: $crate::isa::Isa, $($arg: $ty),*) {
            #[inline(always)]
            fn body($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl")]
                fn avx512($($arg: $ty),*) {
                    body($($arg),*)
                }
                match isa.kind() {
                    $crate::isa::IsaKind::Portable => {}
                    // SAFETY: this `Isa` exists only where the CPU has AVX2, FMA and these parts
                    // of AVX-512.
                    $crate::isa::IsaKind::Avx512Vnni => return unsafe { avx512($($arg),*) },
                    // SAFETY: on x86-64 every other `Isa` exists only where the CPU has AVX2 and
                    // FMA.
                    _ => return unsafe { avx2($($arg),*) },
                }
            }
            let _ = isa;
            body($($arg),*)
        }
    };
}
pub(crate) use stamped;

/// `v` rounded half to even plus `zero_point`, for `v` already clamped so that the sum is a code.
///
/// Adding 1.5 * 2^23 leaves no bits for a fraction: the addition itself rounds, in the mode that
/// every CPU starts in. Exact for |v| < 2^22, and one vector operation everywhere.
#[inline(always)]
pub(crate) fn round_code(v: f32, zero_point: i32) -> u8 {
    const SHIFT: f32 = 12_582_912.0;
    ((v + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32 + zero_point) as u8
}

/// `v` limited to `lo..=hi`; `lo` where `v` is not a number. The order of the comparisons is that
/// of one `max` and one `min` instruction.
#[inline(always)]
pub(crate) fn limit(v: f32, lo: f32, hi: f32) -> f32 {
    let v = if v > lo { v } else { lo };
    if v < hi { v } else { hi }
}
