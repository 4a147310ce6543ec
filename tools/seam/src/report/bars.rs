//! Stacked bars of times, a row a point: where the time goes, one part behind the other.
//!
//! A bar is an SVG of its own whose x coordinates are per cent, so that it follows the page's
//! width while the text around it keeps its size.

use std::fmt::{self, Write};

use super::document::{escape, star, time};

/// A point's bar, and what stands beside it.
pub(super) struct Row {
    pub(super) name: String,
    /// Class of the style sheet and nanoseconds, in the order in which they pass.
    pub(super) parts: Vec<(&'static str, u64)>,
    pub(super) measured_ns: Option<u64>,
    /// Stars, as HTML.
    pub(super) marks: String,
    /// It stands out.
    pub(super) chosen: bool,
    /// It may not be chosen.
    pub(super) excluded: bool,
}

impl Row {
    fn total_ns(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, ns)| sum.saturating_add(*ns))
    }
}

/// What the colours mean, and the stars.
pub(super) fn write_legend(
    out: &mut String,
    parts: &[(&str, &str)],
    measured: Option<&str>,
) -> fmt::Result {
    const HATCHED: &str = "<rect fill=\"url(#hatch)\" width=\"18\" height=\"14\" rx=\"2\"/>";
    writeln!(out, "<ul class=\"legend\" aria-label=\"Legend\">")?;
    for (class, label) in parts {
        let hatch = if *class == "upload" { HATCHED } else { "" };
        writeln!(
            out,
            "<li><svg width=\"18\" height=\"14\" aria-hidden=\"true\">\
             <rect class=\"{class}\" width=\"18\" height=\"14\" rx=\"2\"/>{hatch}</svg>{label}</li>"
        )?;
    }
    if let Some(label) = measured {
        writeln!(
            out,
            "<li><svg width=\"8\" height=\"16\" aria-hidden=\"true\"><line class=\"measured\" \
             x1=\"4\" x2=\"4\" y1=\"0\" y2=\"16\"/></svg>{label}</li>"
        )?;
    }
    writeln!(
        out,
        "<li>{}fastest of all</li>\n<li>{}best: fastest that keeps the image on the board</li>\n\
         </ul>",
        star("fastest"),
        star("best")
    )
}

/// The rows over their common axis.
pub(super) fn write_rows(out: &mut String, rows: &[Row]) -> fmt::Result {
    let longest = rows.iter().map(|row| row.total_ns().max(row.measured_ns.unwrap_or(0))).max();
    let axis = Axis::up_to(longest.unwrap_or(0).max(1));
    let measured = rows.iter().any(|row| row.measured_ns.is_some());
    let heads = if measured { "<b>predicted</b><i>measured</i>" } else { "<b>predicted</b>" };
    writeln!(
        out,
        "<div class=\"row heads\" aria-hidden=\"true\"><span class=\"total\">{heads}</span></div>\n\
         <ol class=\"rows\">"
    )?;
    for row in rows {
        let beside = match row.measured_ns {
            Some(ns) => format!("<i class=\"number\">{}</i>", time(ns)),
            None if measured => "<i></i>".into(),
            None => String::new(),
        };
        writeln!(
            out,
            "<li class=\"row{}{}\"><span class=\"name\">{}</span>{}\
             <span class=\"total\"><span class=\"marks\">{}</span>\
             <b class=\"number\">{}</b>{beside}</span></li>",
            if row.chosen { " chosen" } else { "" },
            if row.excluded { " excluded" } else { "" },
            escape(&row.name),
            bar(row, &axis),
            row.marks,
            time(row.total_ns()),
        )?;
    }
    write!(out, "</ol>\n<div class=\"axis\" aria-hidden=\"true\"><span class=\"scale\">")?;
    for ns in axis.ticks() {
        let (at, label) = (axis.percent(ns), axis.label(ns));
        write!(out, "<span style=\"left:{at:.2}%\">{label}</span>")?;
    }
    writeln!(out, "</span></div>")
}

/// One bar: the parts one behind the other, and a line at the measured total.
fn bar(row: &Row, axis: &Axis) -> String {
    let mut svg = String::new();
    let spoken: Vec<String> = row
        .parts
        .iter()
        .filter(|(_, ns)| *ns > 0)
        .map(|(class, ns)| format!("{class} {}", time(*ns)))
        .chain(row.measured_ns.map(|ns| format!("measured {}", time(ns))))
        .chain(row.excluded.then(|| "excluded".into()))
        .collect();
    let _ = write!(
        svg,
        "<svg class=\"bar\" role=\"img\" aria-label=\"{}: {}\">",
        escape(&row.name),
        spoken.join(", ")
    );
    for ns in axis.ticks() {
        let x = axis.percent(ns);
        let _ = write!(
            svg,
            "<line class=\"tick\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"100%\"/>"
        );
    }
    let mut start = 0u64;
    for &(class, ns) in row.parts.iter().filter(|(_, ns)| *ns > 0) {
        let place = format!(
            "x=\"{:.3}%\" y=\"17%\" width=\"{:.3}%\" height=\"66%\"",
            axis.percent(start),
            axis.percent(ns)
        );
        let _ = write!(
            svg,
            "<rect class=\"{class}\" {place}><title>{class} {}</title></rect>",
            time(ns)
        );
        if class == "upload" {
            let _ = write!(svg, "<rect fill=\"url(#hatch)\" pointer-events=\"none\" {place}/>");
        }
        start = start.saturating_add(ns);
    }
    if let Some(ns) = row.measured_ns {
        let x = axis.percent(ns);
        let _ = write!(
            svg,
            "<line class=\"measured\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"4%\" y2=\"96%\"/>"
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A time axis from zero, with ticks at 1, 2, 2.5 or 5 times a power of ten.
struct Axis {
    step_ns: f64,
    end_ns: f64,
}

impl Axis {
    fn up_to(longest_ns: u64) -> Axis {
        let rough = longest_ns as f64 / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|m| m * power >= rough);
        // A little air, so that the last label is not cut off.
        Axis { step_ns: step.unwrap_or(10.0) * power, end_ns: longest_ns as f64 * 1.04 }
    }

    fn ticks(&self) -> impl Iterator<Item = u64> {
        let count = (self.end_ns / self.step_ns) as u64;
        (0..=count).map(|i| (i as f64 * self.step_ns).round() as u64)
    }

    fn percent(&self, ns: u64) -> f64 {
        100.0 * ns as f64 / self.end_ns
    }

    fn label(&self, ns: u64) -> String {
        if ns == 0 {
            return "0".into();
        }
        let (unit, name) = if self.end_ns > 10e9 { (1e9, "s") } else { (1e6, "ms") };
        let decimals = (-(self.step_ns / unit).log10().floor()).clamp(0.0, 6.0) as usize;
        let decimals = decimals.max(usize::from(self.step_ns / unit % 1.0 > 0.0));
        format!("{:.decimals$} {name}", ns as f64 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_parts() {
        let row = Row {
            name: "p".into(),
            parts: vec![("edge", 25), ("upload", 50), ("decode", 0), ("cloud", 25)],
            measured_ns: Some(100),
            marks: String::new(),
            chosen: false,
            excluded: false,
        };
        let axis = Axis { step_ns: 50.0, end_ns: 200.0 };
        let bar = bar(&row, &axis);
        for place in [
            "class=\"edge\" x=\"0.000%\" y=\"17%\" width=\"12.500%\"",
            "class=\"upload\" x=\"12.500%\" y=\"17%\" width=\"25.000%\"",
            "class=\"cloud\" x=\"37.500%\" y=\"17%\" width=\"12.500%\"",
            "class=\"measured\" x1=\"50.00%\"",
        ] {
            assert!(bar.contains(place), "{place} is not in {bar}");
        }
        assert!(!bar.contains("decode"), "{bar}");
    }

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        for (longest, last) in [(113_000_000, "100 ms"), (9_100_000, "8 ms"), (437_000, "0.4 ms")] {
            let axis = Axis::up_to(longest);
            let ticks: Vec<u64> = axis.ticks().collect();
            assert!((4..=7).contains(&ticks.len()), "{ticks:?}");
            assert_eq!(axis.label(ticks[ticks.len() - 1]), last);
        }
    }
}
