//! The steps on the board: which kernel runs each, and what it takes.

use std::fmt::{self, Write};

use seam_tuner::Profile;
use seam_tuner::profile::StepProfile;

use super::document::{self, escape, small, time};

/// The table of a profile's steps; those from `cut` on run in the cloud by the plan.
pub(super) fn write(out: &mut String, profile: &Profile, cut: usize) -> fmt::Result {
    let longest = profile.steps.iter().map(|step| step.ns.p50).fold(0.0, f64::max);
    let total: f64 = profile.steps.iter().map(|step| step.ns.p50).sum();
    let heads = ["step", "operator", "kernel", "MMAC", "GMAC/s", "median", "share", ""];
    writeln!(out, "<div class=\"steps\">")?;
    document::write_table(out, "Every step on the board", &heads, |out| {
        for (i, step) in profile.steps.iter().enumerate() {
            let StepProfile { name, layer, kernel, work, ns } = step;
            let macs = work.macs as f64;
            let or_dash = |text: String| if work.macs == 0 { "–".to_string() } else { text };
            let estimated = if ns.estimated { small("estimated") } else { String::new() };
            let per_cent = |part: f64, whole: f64| 100.0 * part / whole.max(f64::MIN_POSITIVE);
            let class = if i < cut { "edge" } else { "behind" };
            // Most layers are one step of their own name.
            let of = if layer == name { String::new() } else { small(&format!("of {layer}")) };
            let cells = [
                escape(format!("{} {}", work.kind, work.window).trim()) + &of,
                escape(kernel),
                or_dash(format!("{:.1}", macs / 1e6)),
                or_dash(format!("{:.1}", macs / ns.p50.max(1.0))),
                time(ns.p50.round() as u64) + &estimated,
                format!("{:.1} %", per_cent(ns.p50, total)),
                format!(
                    "<svg class=\"share\" aria-hidden=\"true\"><rect class=\"{class}\" \
                     width=\"{:.2}%\" height=\"100%\"/></svg>",
                    per_cent(ns.p50, longest)
                ),
            ];
            let class = if i < cut { "" } else { "behind" };
            document::write_row(out, class, name, &cells)?;
        }
        Ok(())
    })?;
    writeln!(out, "</div>")
}
