//! The machine that a profile was measured on, as far as the system tells.

use std::{fmt, fs};

use crate::profile::Device;

impl Device {
    /// This machine, running `threads` threads of kernels for `isa`. What the system does not tell
    /// is left out; [`Device::mhz_after`] is filled in by whoever has finished measuring.
    pub fn here(isa: &str, threads: usize) -> Device {
        Device {
            cpu: cpu(),
            isa: isa.into(),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            threads: threads as u32,
            mhz_before: mhz(),
            mhz_after: None,
        }
    }

    /// What tells `other` from this device or this use of it, in words; `None` where times of one
    /// hold for the other.
    pub fn differs(&self, other: &Device) -> Option<String> {
        if (&self.cpu, self.cores) != (&other.cpu, other.cores) {
            return Some(format!("{}, not {}", other.machine(), self.machine()));
        }
        let same = (&self.isa, self.threads) == (&other.isa, other.threads);
        (!same).then(|| format!("{}, not {}", other.used(), self.used()))
    }

    fn machine(&self) -> String {
        format!("{}, {}", self.cpu, count(self.cores, "core"))
    }

    fn used(&self) -> String {
        format!("{} kernels on {}", self.isa, count(self.threads, "thread"))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.machine(), self.used())
    }
}

fn count(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The clock of the fastest core, in MHz: from cpufreq, or where that is missing (virtual
/// machines) from `/proc/cpuinfo`.
pub fn mhz() -> Option<f64> {
    let cpus = fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let clocks = cpus.filter_map(|cpu| {
        let khz = fs::read_to_string(cpu.path().join("cpufreq/scaling_cur_freq")).ok()?;
        Some(khz.trim().parse::<f64>().ok()? / 1000.0)
    });
    clocks.reduce(f64::max).or_else(|| mhz_of(&fs::read_to_string("/proc/cpuinfo").ok()?))
}

fn cpu() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // Arm boards name themselves here, and not in cpuinfo.
    let board = || fs::read_to_string("/proc/device-tree/model").ok();
    name_of(&cpuinfo)
        .or_else(|| board().map(|name| name.trim_end_matches('\0').to_string()))
        .unwrap_or_else(|| std::env::consts::ARCH.to_string())
}

fn name_of(cpuinfo: &str) -> Option<String> {
    field(cpuinfo, "model name").next().filter(|name| !name.is_empty()).map(String::from)
}

fn mhz_of(cpuinfo: &str) -> Option<f64> {
    field(cpuinfo, "cpu MHz").filter_map(|mhz| mhz.parse().ok()).reduce(f64::max)
}

/// The values of every `key : value` line with that key.
fn field<'a>(cpuinfo: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    cpuinfo.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_clock_are_read_from_cpuinfo() {
        let x86 = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\ncpu MHz\t\t: 1999.5\n\n\
                   processor\t: 1\nmodel name\t: Some CPU @ 2.0GHz\ncpu MHz\t\t: 2400.0\n";
        assert_eq!(name_of(x86).unwrap(), "Some CPU @ 2.0GHz");
        assert_eq!(mhz_of(x86).unwrap(), 2400.0);
        let arm = "processor\t: 0\nBogoMIPS\t: 108.00\nCPU part\t: 0xd08\n";
        assert_eq!((name_of(arm), mhz_of(arm)), (None, None));
        assert_eq!((name_of(""), mhz_of("cpu MHz : x\n\u{0}")), (None, None));
    }

    #[test]
    fn devices_differ_in_what_changes_their_times() {
        let one = Device { cpu: "A53".into(), cores: 4, ..Device::here("neon", 4) };
        assert_eq!(one.differs(&Device { mhz_before: Some(1.0), ..one.clone() }), None);
        let other = Device { cpu: "A76".into(), cores: 1, ..one.clone() };
        assert_eq!(one.differs(&other).unwrap(), "A76, 1 core, not A53, 4 cores");
        let other = Device { threads: 1, ..one.clone() };
        let words = "neon kernels on 1 thread, not neon kernels on 4 threads";
        assert_eq!(one.differs(&other).unwrap(), words);
        assert_eq!(one.to_string(), "A53, 4 cores, neon kernels on 4 threads");
        assert!(one.differs(&Device { isa: "dotprod".into(), ..one.clone() }).is_some());
    }

    #[test]
    fn a_machine_that_tells_nothing_still_has_a_name() {
        let device = Device::here("portable", 2);
        assert!(!device.cpu.is_empty() && device.cores >= 1 && device.threads == 2);
    }
}
