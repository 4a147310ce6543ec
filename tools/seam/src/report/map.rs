//! The bandwidth map as an SVG of its own: for every objective a strip over the uplink's rate, and
//! under it the same in words.
//!
//! Nothing outside of it is needed, neither as a file nor inside of a page. All x coordinates are
//! per cent, so that it follows the width that it gets while its text keeps its size.

use std::fmt::{self, Write};

use seam_tuner::map::{Map, Region};

use super::document::escape;
use super::units;

/// What is drawn.
pub(crate) struct Chart<'a> {
    /// The heading: the model's name.
    pub(crate) title: &'a str,
    /// Every point of the model, shallowest first: the deeper, the more a region's colour is the
    /// edge's and the less the cloud's.
    pub(crate) points: &'a [&'a str],
    /// A strip each.
    pub(crate) maps: &'a [Map],
    /// Where a line marks the present, in bytes per second.
    pub(crate) uplink: f64,
}

const STYLE: &str = "\
svg.map{--edge:#2a62c4;--cloud:#0c8f78;--ink:#14171c;--quiet:#565d68;--page:#fff;--on:#fff;\
max-width:100%;background:var(--page);color:var(--ink);\
font:13px/1 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif}\
@media(prefers-color-scheme:dark){svg.map{--edge:#5c97f5;--cloud:#3fc2a6;--ink:#eceef1;\
--quiet:#a3abb6;--page:#181b20;--on:#101215}}\
.map text{fill:currentColor;font-variant-numeric:tabular-nums}\
.map .title{font-size:16px;font-weight:620}.map .objective{font-weight:620}\
.map .quiet{fill:var(--quiet);font-size:12px}.map .on{fill:var(--on);font-size:12px}\
.map .now{font-weight:620}\
.map .region{fill:color-mix(in oklab,var(--edge) var(--depth),var(--cloud))}\
.map .tick{stroke:var(--quiet)}.map .gap{stroke:var(--page);stroke-width:2}\
.map .uplink{stroke:var(--ink);stroke-width:2}";

/// Per cent of the width left free on either side.
const MARGIN: f64 = 2.0;
/// Rows of text, in pixels.
const ROW: u32 = 20;
/// The height of a strip.
const STRIP: u32 = 30;
/// From a strip to the words under it: the axis.
const AXIS: u32 = 28;
/// The longest name shown whole.
const LONGEST: usize = 28;

/// The SVG: a file of its own, or an element of an HTML page.
pub(crate) fn file(chart: &Chart) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_chart(&mut out, chart);
    out
}

fn write_chart(out: &mut String, chart: &Chart) -> fmt::Result {
    let axis = Axis::over(chart);
    let block = |map: &Map| ROW + STRIP + AXIS + ROW * map.regions.len() as u32 + ROW;
    let height = 68 + chart.maps.iter().map(block).sum::<u32>();
    let title = escape(chart.title);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"map\" width=\"760\" height=\"{height}\" \
         role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"{MARGIN}%\" y=\"28\">{title}</text>\n\
         <text class=\"quiet\" x=\"{MARGIN}%\" y=\"48\">where to cut over the uplink; the line marks {}\
         </text>",
        units::rate(chart.uplink)
    )?;
    let mut y = 68;
    for map in chart.maps {
        writeln!(
            out,
            "<text class=\"objective\" x=\"{MARGIN}%\" y=\"{}\">{}</text>",
            y + 12,
            map.objective
        )?;
        write_strip(out, chart, &axis, map, y + ROW)?;
        y += ROW + STRIP + AXIS;
        for region in &map.regions {
            write_words(out, chart, region, y)?;
            y += ROW;
        }
        y += ROW;
    }
    writeln!(out, "</svg>")
}

/// The regions over the axis, each with as much of its point's name as has room.
fn write_strip(out: &mut String, chart: &Chart, axis: &Axis, map: &Map, y: u32) -> fmt::Result {
    for region in &map.regions {
        let (from, to) = (axis.percent(region.from), axis.percent(region.to));
        let name = escape(&region.point);
        writeln!(
            out,
            "<svg x=\"{from:.3}%\" y=\"{y}\" width=\"{:.3}%\" height=\"{STRIP}\">\
             <title>{name}: {}</title>\
             <rect class=\"region\" style=\"--depth:{}%\" width=\"100%\" height=\"100%\"/>\
             <text class=\"on\" x=\"6\" y=\"{}\">{name}</text></svg>",
            to - from,
            range(region),
            depth(chart, region),
            STRIP / 2 + 4,
        )?;
    }
    let line = |out: &mut String, class: &str, at: f64, top: u32, bottom: u32| {
        let x = axis.percent(at);
        writeln!(
            out,
            "<line class=\"{class}\" x1=\"{x:.3}%\" x2=\"{x:.3}%\" y1=\"{top}\" y2=\"{bottom}\"/>"
        )
    };
    for region in map.regions.iter().skip(1) {
        line(out, "gap", region.from, y, y + STRIP)?;
    }
    for rate in axis.ticks() {
        line(out, "tick", rate, y + STRIP, y + STRIP + 4)?;
        let x = axis.percent(rate);
        let anchor = match x {
            x if x < 10.0 => "start",
            x if x > 90.0 => "end",
            _ => "middle",
        };
        writeln!(
            out,
            "<text class=\"quiet\" x=\"{x:.3}%\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            y + STRIP + 16,
            units::rate(rate)
        )?;
    }
    line(out, "uplink", chart.uplink, y - 3, y + STRIP + 3)
}

/// One region in words.
fn write_words(out: &mut String, chart: &Chart, region: &Region, y: u32) -> fmt::Result {
    let now = region.from < chart.uplink && chart.uplink <= region.to;
    let class = if now { " class=\"now\"" } else { "" };
    let mut name: String = region.point.chars().take(LONGEST).collect();
    if name.len() < region.point.len() {
        name.push('…');
    }
    writeln!(
        out,
        "<rect class=\"region\" style=\"--depth:{}%\" x=\"{MARGIN}%\" y=\"{}\" width=\"10\" \
         height=\"10\" rx=\"2\"/>\
         <svg x=\"{MARGIN}%\" y=\"{y}\" overflow=\"visible\"><text{class} x=\"18\" y=\"14\">{}</text>\
         </svg><text class=\"quiet\" x=\"{}%\" y=\"{}\" text-anchor=\"end\">{}</text>",
        depth(chart, region),
        y + 4,
        escape(&name),
        100.0 - MARGIN,
        y + 14,
        range(region),
    )
}

/// How deep a region's point lies, in per cent.
fn depth(chart: &Chart, region: &Region) -> usize {
    let at = chart.points.iter().position(|name| *name == region.point).unwrap_or(0);
    100 * at / (chart.points.len().max(2) - 1)
}

/// `up to 9.1 KiB/s`, `9.1 KiB/s to 412 KiB/s`, `from 412 KiB/s`.
fn range(region: &Region) -> String {
    let (from, to) = (units::rate(region.from), units::rate(region.to));
    match (region.from > 0.0, region.to.is_finite()) {
        (false, false) => "any rate".into(),
        (false, true) => format!("up to {to}"),
        (true, true) => format!("{from} to {to}"),
        (true, false) => format!("from {from}"),
    }
}

/// A logarithmic axis of rates.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    /// Every change of every map and the present uplink, with some room on both sides.
    fn over(chart: &Chart) -> Axis {
        let changes = chart.maps.iter().flat_map(|map| map.regions.iter().skip(1));
        let (mut from, mut to) = (chart.uplink, chart.uplink);
        for rate in changes.map(|region| region.from) {
            (from, to) = (from.min(rate), to.max(rate));
        }
        Axis { from: from / 8.0, to: to * 8.0 }
    }

    fn percent(&self, rate: f64) -> f64 {
        let part = (rate / self.from).ln() / (self.to / self.from).ln();
        MARGIN + (100.0 - 2.0 * MARGIN) * part.clamp(0.0, 1.0)
    }

    /// At most six of 1, 10 and 100 bytes, KiB, MiB, … a second.
    fn ticks(&self) -> Vec<f64> {
        let decades = [1.0, 10.0, 100.0];
        let all = (0..5).flat_map(|unit| decades.map(|d| d * 1024f64.powi(unit)));
        let all: Vec<f64> = all.filter(|rate| (self.from..=self.to).contains(rate)).collect();
        let every = all.len().div_ceil(6).max(1);
        all.into_iter().step_by(every).collect()
    }
}

#[cfg(test)]
mod tests {
    use seam_tuner::Objective;

    use super::*;

    fn map(objective: Objective, regions: &[(&str, f64, f64)]) -> Map {
        let region =
            |&(point, from, to): &(&str, f64, f64)| Region { point: point.into(), from, to };
        Map { objective, regions: regions.iter().map(region).collect() }
    }

    fn sample() -> String {
        let fastest = [
            ("output", 0.0, 10_240.0),
            ("conv2 <&\"'>", 10_240.0, 1_048_576.0),
            ("input", 1_048_576.0, f64::INFINITY),
        ];
        let maps = [
            map(Objective::Fastest, &fastest),
            map(Objective::LeastDownload, &[("conv1", 0.0, f64::INFINITY)]),
        ];
        let points = ["input", "conv1", "conv2 <&\"'>", "output"];
        file(&Chart { title: "net <1>", points: &points, maps: &maps, uplink: 102_400.0 })
    }

    #[test]
    fn the_drawing_is_self_contained_and_names_cannot_break_out() {
        let svg = sample();
        let own = svg.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http", "//", "<script", "<image", "href", "url(", "@import", "conv2 <"] {
            assert!(!own.contains(foreign), "the drawing holds {foreign:?}");
        }
        assert!(svg.contains("net &lt;1&gt;") && svg.contains("conv2 &lt;&amp;&quot;&#39;&gt;"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn regions_lie_side_by_side_over_the_whole_axis() {
        let svg = sample();
        // From 1.25 KiB/s to 8 MiB/s, logarithmic.
        let place = |rate: f64| {
            MARGIN + (100.0 - 2.0 * MARGIN) * (rate / 1_280.0).ln() / (8_388_608f64 / 1_280.0).ln()
        };
        let (a, b) = (place(10_240.0), place(1_048_576.0));
        for (x, width) in
            [(MARGIN, a - MARGIN), (a, b - a), (b, 98.0 - b), (MARGIN, 100.0 - 2.0 * MARGIN)]
        {
            let place = format!("<svg x=\"{x:.3}%\"");
            let width = format!("width=\"{width:.3}%\"");
            let found = svg.lines().any(|line| line.starts_with(&place) && line.contains(&width));
            assert!(found, "{place} {width} is not in {svg}");
        }
        let uplink = format!("class=\"uplink\" x1=\"{:.3}%\"", place(102_400.0));
        assert_eq!(svg.matches(&uplink).count(), 2);
    }

    #[test]
    fn the_words_say_the_same_and_the_present_stands_out() {
        let svg = sample();
        for words in
            ["up to 10 KiB/s", "10 KiB/s to 1 MiB/s", "from 1 MiB/s", "any rate", "marks 100 KiB/s"]
        {
            assert!(svg.contains(words), "{words:?} is not in {svg}");
        }
        assert_eq!(svg.matches("class=\"now\"").count(), 2);
        let deepest = svg.matches("--depth:100%").count();
        assert_eq!(deepest, 2, "output is as deep as can be, in the strip and in words");
    }

    #[test]
    fn ticks_are_few_and_round() {
        let axis = Axis { from: 1_280.0, to: 8_388_608.0 };
        let labels: Vec<String> = axis.ticks().into_iter().map(units::rate).collect();
        assert_eq!(labels, ["10 KiB/s", "100 KiB/s", "1 MiB/s"]);
        assert!((2..=6).contains(&Axis { from: 1.0, to: 1e12 }.ticks().len()));
    }
}
