//! The wall that a convolution is measured against: tight loops of an instruction set's exact
//! multiply-accumulate on registers alone, and of loads.
//!
//! A loop has as many independent sums as it takes to hide the instruction's latency, and nothing
//! but products in it; no kernel can be faster by the same instruction. Written as assembly: the
//! compiler would compute a product of constants once.

use std::arch::asm;

use crate::isa::{Isa, IsaKind};

/// One form of multiply-accumulate.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// The instructions, as `vpmaddwd+vpaddd ymm`.
    pub name: &'static str,
    /// The instruction set whose kernels it bounds: the exact form that they use. `None` for forms
    /// that stand beside for comparison.
    pub bounds: Option<IsaKind>,
    isa: IsaKind,
    /// Operations of a round, two per multiply-accumulate.
    ops: u64,
    run: unsafe fn(u64),
}

/// Every form, weakest instruction set first.
const PEAKS: &[Peak] = &[
    #[cfg(target_arch = "x86_64")]
    Peak {
        name: "vpmaddwd+vpaddd ymm",
        bounds: Some(IsaKind::Avx2),
        isa: IsaKind::Avx2,
        ops: 2 * 12 * 16,
        run: x86::maddwd,
    },
    #[cfg(target_arch = "x86_64")]
    Peak {
        name: "vpmaddubsw+vpmaddwd+vpaddd ymm (saturates)",
        bounds: None,
        isa: IsaKind::Avx2,
        ops: 2 * 12 * 32,
        run: x86::maddubsw,
    },
    #[cfg(target_arch = "x86_64")]
    Peak {
        name: "vpdpbusd ymm",
        bounds: Some(IsaKind::AvxVnni),
        isa: IsaKind::AvxVnni,
        ops: 2 * 12 * 32,
        run: x86::dpbusd_ymm,
    },
    #[cfg(target_arch = "x86_64")]
    Peak {
        name: "vpdpbusd zmm",
        bounds: Some(IsaKind::Avx512Vnni),
        isa: IsaKind::Avx512Vnni,
        ops: 2 * 12 * 64,
        run: x86::dpbusd_zmm,
    },
    #[cfg(target_arch = "x86_64")]
    Peak {
        name: "vpdpwssd zmm",
        bounds: None,
        isa: IsaKind::Avx512Vnni,
        ops: 2 * 12 * 32,
        run: x86::dpwssd_zmm,
    },
    #[cfg(target_arch = "aarch64")]
    Peak {
        name: "smull+smlal2+sadalp",
        bounds: Some(IsaKind::Neon),
        isa: IsaKind::Neon,
        ops: 2 * 12 * 16,
        run: arm::smull,
    },
    #[cfg(target_arch = "aarch64")]
    Peak {
        name: "sdot",
        bounds: Some(IsaKind::Dotprod),
        isa: IsaKind::Dotprod,
        ops: 2 * 16 * 16,
        run: arm::sdot,
    },
];

impl Peak {
    /// The forms that this CPU has, up to `isa`.
    pub fn available(isa: Isa) -> impl Iterator<Item = Peak> {
        let has = move |p: &Peak| p.isa <= isa.kind() && Isa::new(p.isa).is_some();
        PEAKS.iter().copied().filter(has)
    }

    /// Operations of so many rounds, two per multiply-accumulate.
    pub fn ops(&self, rounds: u64) -> u64 {
        self.ops * rounds
    }

    /// Runs the loop for `rounds` and returns their [`Peak::ops`].
    pub fn run(&self, rounds: u64) -> u64 {
        if rounds > 0 {
            // SAFETY: `available`, the only source of a `Peak`, checks that the CPU has the
            // instructions; the loops touch registers alone.
            unsafe { (self.run)(rounds) }
        }
        self.ops(rounds)
    }
}

/// Reads every byte once, front to back, as fast as plain loads go. Returns something that depends
/// on all of them.
pub fn read(isa: Isa, bytes: &[u8]) -> u8 {
    let mut last = 0;
    fold(isa, bytes, &mut last);
    last
}

crate::stamp::stamped! {
    fn fold(bytes: &[u8], last: &mut u8) {
        let (chunks, rest) = bytes.as_chunks::<256>();
        let mut all = [0u8; 256];
        for chunk in chunks {
            for (a, &b) in all.iter_mut().zip(chunk) {
                *a |= b;
            }
        }
        *last = all.iter().chain(rest).fold(0, |a, &b| a | b);
    }
}

/// Defines a loop of `$body`, repeated with `\i` running over the sums' registers.
macro_rules! tight {
    ($name:ident, $sums:literal, $body:literal, $next:literal, [$($register:tt)+]) => {
        /// # Safety
        /// The CPU has the instructions, and `rounds` is not 0.
        pub(super) unsafe fn $name(rounds: u64) {
            // SAFETY: registers only, and all that are written are declared.
            unsafe {
                asm!(
                    "2:", concat!(".irp i,", $sums), $body, ".endr", $next,
                    rounds = inout(reg) rounds => _,
                    $(out($register) _,)+
                    options(nomem, nostack),
                );
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::asm;

    /// Twelve sums: enough for a latency of five cycles at two products a cycle.
    macro_rules! twelve {
        ($name:ident, $body:literal) => {
            tight!($name, "0,1,2,3,4,5,6,7,8,9,10,11", $body, "dec {rounds}\njnz 2b\nvzeroupper", [
                "xmm0" "xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7"
                "xmm8" "xmm9" "xmm10" "xmm11" "xmm12"
            ]);
        };
    }
    twelve!(maddwd, "vpmaddwd ymm12, ymm13, ymm14\nvpaddd ymm\\i, ymm\\i, ymm12");
    twelve!(
        maddubsw,
        "vpmaddubsw ymm12, ymm13, ymm14\nvpmaddwd ymm12, ymm12, ymm15\nvpaddd ymm\\i, ymm\\i, ymm12"
    );
    twelve!(dpbusd_ymm, "{{vex}} vpdpbusd ymm\\i, ymm13, ymm14");
    twelve!(dpbusd_zmm, "vpdpbusd zmm\\i, zmm13, zmm14");
    twelve!(dpwssd_zmm, "vpdpwssd zmm\\i, zmm13, zmm14");
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::asm;

    tight!(
        smull,
        "0,1,2,3,4,5,6,7,8,9,10,11",
        "smull v16.8h, v17.8b, v18.8b\nsmlal2 v16.8h, v17.16b, v18.16b\nsadalp v\\i\\().4s, v16.8h",
        "subs {rounds}, {rounds}, #1\nb.ne 2b",
        ["v0" "v1" "v2" "v3" "v4" "v5" "v6" "v7" "v8" "v9" "v10" "v11" "v16"]
    );
    tight!(
        sdot,
        "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        ".arch_extension dotprod\nsdot v\\i\\().4s, v17.16b, v18.16b",
        "subs {rounds}, {rounds}, #1\nb.ne 2b",
        ["v0" "v1" "v2" "v3" "v4" "v5" "v6" "v7" "v8" "v9" "v10" "v11" "v12" "v13" "v14" "v15"]
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_isa_with_vectors_has_one_wall_and_its_loops_end() {
        for isa in Isa::available() {
            let walls = Peak::available(isa).filter(|p| p.bounds == Some(isa.kind()));
            assert_eq!(walls.count(), usize::from(isa != Isa::PORTABLE), "{isa}");
            for peak in Peak::available(isa) {
                assert_eq!(peak.run(0), 0);
                assert_eq!(peak.run(3), 3 * peak.run(1));
            }
        }
    }

    #[test]
    fn a_read_depends_on_every_byte() {
        for isa in Isa::available() {
            for len in [1, 255, 256, 700] {
                for at in [0, len / 2, len - 1] {
                    let mut bytes = vec![0; len];
                    bytes[at] = 64;
                    assert_eq!(read(isa, &bytes), 64);
                }
            }
        }
    }
}
