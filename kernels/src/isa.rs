//! Instruction sets: what this CPU has, and the `SEAM_ISA` cap.
//!
//! An [`Isa`] value exists only where the CPU has the instructions, so a kernel that takes one
//! needs no check of its own.

use std::fmt;

/// Name of the environment variable that caps the instruction set.
pub const ENV: &str = "SEAM_ISA";

/// The instruction sets that kernels are written for, weakest first within an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IsaKind {
    /// Plain Rust, any CPU.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// AVX2 and `vpdpbusd` on 256-bit registers, VEX-encoded.
    AvxVnni,
    /// AVX-512 F, BW, VL and VNNI: `vpdpbusd` on 512-bit registers.
    Avx512Vnni,
    /// ARMv8.0 Advanced SIMD.
    Neon,
    /// ARMv8.2 dot product.
    Dotprod,
}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Isa(IsaKind);

/// `SEAM_ISA` holds a word that names no instruction set of this architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "SEAM_ISA={value:?} names no instruction set of this CPU's architecture: use one of {known}"
)]
pub struct IsaError {
    value: String,
    known: String,
}

impl IsaKind {
    /// Every kind, weakest first within an architecture.
    pub const ALL: [IsaKind; 6] = [
        IsaKind::Portable,
        IsaKind::Avx2,
        IsaKind::AvxVnni,
        IsaKind::Avx512Vnni,
        IsaKind::Neon,
        IsaKind::Dotprod,
    ];

    /// The name used by `SEAM_ISA`, in profiles and in kernel names.
    pub fn name(self) -> &'static str {
        match self {
            IsaKind::Portable => "portable",
            IsaKind::Avx2 => "avx2",
            IsaKind::AvxVnni => "avxvnni",
            IsaKind::Avx512Vnni => "avx512vnni",
            IsaKind::Neon => "neon",
            IsaKind::Dotprod => "dotprod",
        }
    }

    fn in_architecture(self) -> bool {
        match self {
            IsaKind::Portable => true,
            IsaKind::Avx2 | IsaKind::AvxVnni | IsaKind::Avx512Vnni => cfg!(target_arch = "x86_64"),
            IsaKind::Neon | IsaKind::Dotprod => cfg!(target_arch = "aarch64"),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn detected(self) -> bool {
        let avx2 = || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match self {
            IsaKind::Portable => true,
            IsaKind::Avx2 => avx2(),
            IsaKind::AvxVnni => avx2() && is_x86_feature_detected!("avxvnni"),
            IsaKind::Avx512Vnni => {
                avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            IsaKind::Neon | IsaKind::Dotprod => false,
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn detected(self) -> bool {
        use std::arch::is_aarch64_feature_detected;
        match self {
            IsaKind::Portable => true,
            IsaKind::Neon => is_aarch64_feature_detected!("neon"),
            IsaKind::Dotprod => {
                is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod")
            }
            IsaKind::Avx2 | IsaKind::AvxVnni | IsaKind::Avx512Vnni => false,
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn detected(self) -> bool {
        self == IsaKind::Portable
    }
}

impl Isa {
    /// Plain Rust: there on every CPU.
    pub const PORTABLE: Isa = Isa(IsaKind::Portable);

    /// `kind`, if this CPU has it.
    pub fn new(kind: IsaKind) -> Option<Isa> {
        kind.detected().then_some(Isa(kind))
    }

    /// Every instruction set of this CPU, weakest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        IsaKind::ALL.into_iter().filter_map(Isa::new)
    }

    /// The strongest instruction set of this CPU.
    pub fn best() -> Isa {
        Isa::available().last().unwrap_or(Isa::PORTABLE)
    }

    /// The strongest instruction set of this CPU that `SEAM_ISA` allows.
    ///
    /// # Errors
    /// `SEAM_ISA` is set to a word that names no instruction set of this architecture.
    pub fn from_env() -> Result<Isa, IsaError> {
        match std::env::var_os(ENV) {
            None => Ok(Isa::best()),
            Some(value) => Isa::capped(&value.to_string_lossy()),
        }
    }

    /// The strongest instruction set of this CPU that is no stronger than `cap`; `all` and the
    /// empty word cap nothing, `avx2vnni` is another name of `avxvnni`.
    ///
    /// # Errors
    /// `cap` names no instruction set of this architecture.
    pub fn capped(cap: &str) -> Result<Isa, IsaError> {
        let word = cap.trim().to_ascii_lowercase();
        let word = if word == "avx2vnni" { "avxvnni" } else { word.as_str() };
        if word.is_empty() || word == "all" {
            return Ok(Isa::best());
        }
        let of_architecture = || IsaKind::ALL.into_iter().filter(|k| k.in_architecture());
        match of_architecture().find(|k| k.name() == word) {
            Some(kind) => Ok(Isa::available()
                .filter(|isa| isa.kind() <= kind)
                .last()
                .unwrap_or(Isa::PORTABLE)),
            None => Err(IsaError {
                value: cap.to_string(),
                known: of_architecture()
                    .map(IsaKind::name)
                    .chain(["all"])
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    /// Which instruction set this is.
    pub fn kind(self) -> IsaKind {
        self.0
    }

    /// [`IsaKind::name`].
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Clears the upper parts of the vector registers (`vzeroupper`), where the CPU has some.
///
/// Code written by hand for AVX or AVX-512 may leave them set, and everything after it that is
/// compiled for SSE then takes longer, the portable kernels half as long again on Zen 4: call this
/// behind such code.
pub fn clear_upper_parts() {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx") {
        #[target_feature(enable = "avx")]
        fn clear() {
            std::arch::x86_64::_mm256_zeroupper();
        }
        // SAFETY: the CPU has AVX.
        unsafe { clear() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn upper_parts_are_cleared() {
        use std::arch::asm;
        if !is_x86_feature_detected!("avx") {
            return println!("skipped: no AVX");
        }
        let mut register = [0u64; 4];
        // SAFETY: the CPU has AVX; the register is named as written, and 32 bytes are stored.
        unsafe {
            asm!("vxorps ymm15, ymm15, ymm15", "vcmpps ymm15, ymm15, ymm15, 0", out("xmm15") _);
            clear_upper_parts();
            asm!("vmovups [{}], ymm15", in(reg) register.as_mut_ptr());
        }
        assert_eq!(register[2..], [0, 0]);
    }

    #[test]
    fn a_cap_lowers_and_never_raises() {
        assert_eq!(Isa::capped("portable").unwrap(), Isa::PORTABLE);
        assert_eq!(Isa::capped("all").unwrap(), Isa::best());
        assert_eq!(Isa::capped("").unwrap(), Isa::best());
        for isa in Isa::available() {
            assert_eq!(Isa::capped(isa.name()).unwrap(), isa);
        }
    }

    #[test]
    fn an_unknown_cap_is_refused_with_the_known_words() {
        let message = Isa::capped("avx9000").unwrap_err().to_string();
        assert!(message.contains("avx9000") && message.contains("portable"), "{message}");
    }
}
