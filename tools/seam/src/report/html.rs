//! The report as one HTML file that needs nothing else: style and drawings are in it, no script,
//! nothing from a network.
//!
//! A bar is an SVG of its own whose x coordinates are per cent, so that it follows the page's
//! width while the text around it keeps its size.

use std::fmt::Write;

use super::{Network, Report, Times, Uplink, units};

const STYLE: &str = include_str!("style.css");

/// Nothing but what stands in the file may be loaded or run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::with_capacity(64 * 1024);
    // Writing into a String cannot fail.
    let _ = write_page(&mut out, report);
    out
}

fn write_page(out: &mut String, report: &Report) -> std::fmt::Result {
    let title = escape(&report.title);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{HATCH}\n<main>\n\
         <h1>{title}</h1>\n<p class=\"lead\">{}</p>",
        escape(&report.lead)
    )?;
    writeln!(out, "<dl class=\"machine\">")?;
    for (name, value) in &report.machine {
        writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value))?;
    }
    writeln!(out, "</dl>")?;
    for warning in &report.warnings {
        writeln!(out, "<p class=\"warning\">{}</p>", escape(warning))?;
    }
    for network in &report.networks {
        write_network(out, network)?;
    }
    writeln!(out, "<h2>How this was measured</h2>\n<ul class=\"notes\">")?;
    for note in &report.notes {
        writeln!(out, "<li>{}</li>", escape(note))?;
    }
    writeln!(out, "</ul>\n</main>\n</body>\n</html>")
}

fn write_network(out: &mut String, network: &Network) -> std::fmt::Result {
    writeln!(
        out,
        "<section>\n<h2>{}</h2>\n<p class=\"quiet\">{}</p>",
        escape(&network.name),
        escape(&network.about)
    )?;
    write_tiles(out, network)?;
    write_legend(out, network)?;
    for uplink in &network.uplinks {
        write_chart(out, network, uplink)?;
    }
    write_table(out, network)?;
    writeln!(out, "</section>")
}

fn write_tiles(out: &mut String, network: &Network) -> std::fmt::Result {
    writeln!(out, "<ul class=\"tiles\">")?;
    let mut tile = |value: String, label: String| {
        writeln!(
            out,
            "<li><strong class=\"number\">{}</strong><span>{}</span></li>",
            escape(&value),
            escape(&label)
        )
    };
    if let Some(a) = &network.accuracy {
        let of = |right| units::percent(right, a.images);
        tile(of(a.fp32), format!("right in FP32, of {} held-out pictures", a.images))?;
        tile(of(a.int8), "right in INT8, all on the edge".into())?;
        tile(of(a.split), format!("right when cut at {}", a.split_at))?;
    }
    tile(units::bytes(network.fp32_bytes), "of weights in FP32".into())?;
    let smaller = network.fp32_bytes as f64 / network.int8_bytes.max(1) as f64;
    tile(units::bytes(network.int8_bytes), format!("as INT8 model, {smaller:.1}× smaller"))?;
    if let Some(point) = network.split_point().map(|i| &network.points[i]) {
        let label = format!("is all a board needs up to {}", point.name);
        tile(units::bytes(point.prefix_bytes), label)?;
    }
    writeln!(out, "</ul>")
}

fn write_legend(out: &mut String, network: &Network) -> std::fmt::Result {
    writeln!(out, "<ul class=\"legend\" aria-label=\"Legend\">")?;
    for (class, label) in [("edge", "edge, INT8"), ("upload", "upload"), ("cloud", "cloud, FP32")] {
        let hatch = if class == "upload" { HATCHED } else { "" };
        writeln!(
            out,
            "<li><svg width=\"18\" height=\"14\" aria-hidden=\"true\">\
             <rect class=\"{class}\" width=\"18\" height=\"14\" rx=\"2\"/>{hatch}</svg>{label}</li>"
        )?;
    }
    if measured(network) {
        writeln!(
            out,
            "<li><svg width=\"8\" height=\"16\" aria-hidden=\"true\"><line class=\"measured\" \
             x1=\"4\" x2=\"4\" y1=\"0\" y2=\"16\"/></svg>measured, image to answer</li>"
        )?;
    }
    writeln!(
        out,
        "<li>{}fastest of all</li>\n<li>{}best: fastest that keeps the picture on the board</li>\n\
         </ul>",
        star("fastest"),
        star("best")
    )
}

fn write_chart(out: &mut String, network: &Network, uplink: &Uplink) -> std::fmt::Result {
    let longest = uplink.times.iter().map(|t| t.total_ns().max(t.measured_ns.unwrap_or(0))).max();
    let axis = Axis::up_to(longest.unwrap_or(0).max(1));
    writeln!(
        out,
        "<figure>\n<figcaption><h3>Uplink {} <span class=\"quiet number\">({})</span></h3>\n<p>{}</p>\
         </figcaption>",
        units::rate(uplink.bytes_per_s),
        units::rate_in_bits(uplink.bytes_per_s),
        verdict(network, uplink)
    )?;
    let heads =
        if measured(network) { "<b>predicted</b><i>measured</i>" } else { "<b>predicted</b>" };
    writeln!(
        out,
        "<div class=\"row heads\" aria-hidden=\"true\"><span class=\"total\">{heads}</span></div>\n\
         <ol class=\"rows\">"
    )?;
    for (i, (point, times)) in network.points.iter().zip(&uplink.times).enumerate() {
        let marks = marks(uplink, i);
        let chosen = if marks.is_empty() { "" } else { " chosen" };
        let measured = match times.measured_ns {
            Some(ns) => format!("<i class=\"number\">{}</i>", time(ns)),
            None if measured(network) => "<i></i>".into(),
            None => String::new(),
        };
        writeln!(
            out,
            "<li class=\"row{chosen}\"><span class=\"name\">{}</span>{}\
             <span class=\"total\"><span class=\"marks\">{marks}</span>\
             <b class=\"number\">{}</b>{measured}</span></li>",
            escape(&point.name),
            bar(&point.name, times, &axis),
            time(times.total_ns()),
        )?;
    }
    write!(out, "</ol>\n<div class=\"axis\" aria-hidden=\"true\"><span class=\"scale\">")?;
    for ns in axis.ticks() {
        let (at, label) = (axis.percent(ns), axis.label(ns));
        write!(out, "<span style=\"left:{at:.2}%\">{label}</span>")?;
    }
    writeln!(out, "</span></div>\n</figure>")
}

/// One bar: edge, upload and cloud one behind the other, and a line at the measured total.
fn bar(name: &str, times: &Times, axis: &Axis) -> String {
    let mut svg = String::new();
    let parts = [("edge", times.edge_ns), ("upload", times.upload_ns), ("cloud", times.cloud_ns)];
    let spoken: Vec<String> = parts
        .iter()
        .filter(|(_, ns)| *ns > 0)
        .map(|(class, ns)| format!("{class} {}", time(*ns)))
        .chain(times.measured_ns.map(|ns| format!("measured {}", time(ns))))
        .collect();
    let _ = write!(
        svg,
        "<svg class=\"bar\" role=\"img\" aria-label=\"{}: {}\">",
        escape(name),
        spoken.join(", ")
    );
    for ns in axis.ticks() {
        let x = axis.percent(ns);
        let _ = write!(
            svg,
            "<line class=\"tick\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"100%\"/>"
        );
    }
    let mut start = 0;
    for (class, ns) in parts {
        if ns == 0 {
            continue;
        }
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
        start += ns;
    }
    if let Some(ns) = times.measured_ns {
        let x = axis.percent(ns);
        let _ = write!(
            svg,
            "<line class=\"measured\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"4%\" y2=\"96%\"/>"
        );
    }
    svg.push_str("</svg>");
    svg
}

fn write_table(out: &mut String, network: &Network) -> std::fmt::Result {
    writeln!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Every point in numbers\">\
         <table>\n<caption>Every point in numbers</caption>\n<thead>\n<tr>\
         <th scope=\"col\">point</th><th scope=\"col\">crosses</th>\
         <th scope=\"col\">model on the board</th><th scope=\"col\">edge</th>\
         <th scope=\"col\">cloud</th>"
    )?;
    for uplink in &network.uplinks {
        write!(out, "<th scope=\"col\">at {}</th>", units::rate(uplink.bytes_per_s))?;
    }
    writeln!(out, "</tr>\n</thead>\n<tbody>")?;
    let small = |text: &str| format!("<small>{}</small>", escape(text));
    for (i, point) in network.points.iter().enumerate() {
        let crosses = match &point.boundary {
            Some(shape) => units::bytes(point.boundary_bytes) + &small(shape),
            None => "nothing".into(),
        };
        let part = |ns: Option<u64>| match ns {
            Some(ns) if ns > 0 => time(ns),
            _ => "–".into(),
        };
        let any = network.uplinks.first().and_then(|u| u.times.get(i));
        write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{crosses}</td><td>{}</td><td>{}</td><td>{}</td>",
            escape(&point.name),
            units::bytes(point.prefix_bytes),
            part(any.map(|t| t.edge_ns)),
            part(any.map(|t| t.cloud_ns)),
        )?;
        for uplink in &network.uplinks {
            let marks = marks(uplink, i);
            let class = if marks.is_empty() { "" } else { " class=\"chosen\"" };
            let times = uplink.times[i];
            let measured =
                times.measured_ns.map(|ns| small(&format!("measured {}", units::time(ns))));
            write!(
                out,
                "<td{class}>{marks}{}{}</td>",
                time(times.total_ns()),
                measured.unwrap_or_default()
            )?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody>\n</table></div>")
}

/// What the plan chose, and how far it is from sending the picture.
fn verdict(network: &Network, uplink: &Uplink) -> String {
    let name = |i: usize| escape(&network.points[i].name);
    let total = |i: usize| uplink.times[i].total_ns();
    let chosen = match (uplink.best, uplink.fastest) {
        (Some(b), Some(f)) if b == f => {
            format!("{}{}best and fastest <b>{}</b>", star("best"), star("fastest"), name(f))
        }
        (best, fastest) => [("best", best), ("fastest", fastest)]
            .into_iter()
            .filter_map(|(kind, i)| Some(format!("{}{kind} <b>{}</b>", star(kind), name(i?))))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let cloud_only = network.points.iter().position(|point| point.name == "input");
    match (cloud_only, uplink.best) {
        (Some(input), Some(best)) if total(best) > 0 && total(input) > 0 => {
            let ratio = total(input) as f64 / total(best) as f64;
            let compared = match ratio >= 1.0 {
                true => format!("{ratio:.1}× the speed of cloud only"),
                false => format!("cloud only is {:.1}× as fast", 1.0 / ratio),
            };
            format!("{chosen} <span class=\"number\">· {compared}</span>")
        }
        _ => chosen,
    }
}

/// [`units::time`] as HTML.
fn time(ns: u64) -> String {
    escape(&units::time(ns))
}

fn measured(network: &Network) -> bool {
    network.uplinks.iter().flat_map(|u| &u.times).any(|t| t.measured_ns.is_some())
}

/// The stars of point `i`: hollow for the best, filled for the fastest.
fn marks(uplink: &Uplink, i: usize) -> String {
    [("best", uplink.best), ("fastest", uplink.fastest)]
        .into_iter()
        .filter(|(_, point)| *point == Some(i))
        .map(|(kind, _)| star(kind))
        .collect()
}

fn star(kind: &str) -> String {
    let hollow = if kind == "best" { " hollow" } else { "" };
    format!(
        "<svg class=\"star{hollow}\" width=\"16\" height=\"16\" viewBox=\"0 0 16 16\" role=\"img\" \
         aria-label=\"{kind}\"><title>{kind}</title><path d=\"M8 1.6 9.9 5.8l4.5.5-3.4 3 1 4.5L8 \
         11.5l-4 2.3 1-4.5-3.4-3 4.5-.5z\"/></svg>"
    )
}

/// The pattern of uploads: they differ from the rest not by colour alone.
const HATCH: &str = "<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\">\
    <defs><pattern id=\"hatch\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
    patternTransform=\"rotate(45)\"><line class=\"hatch\" x1=\"0\" x2=\"0\" y1=\"0\" y2=\"7\"/>\
    </pattern></defs></svg>";
const HATCHED: &str = "<rect fill=\"url(#hatch)\" width=\"18\" height=\"14\" rx=\"2\"/>";

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

/// Text as HTML, inside of an element or of a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn the_page_is_self_contained() {
        let page = page(&sample());
        for foreign in ["http:", "https:", "//", "<script", "<link", "<img", "src=", "@import"] {
            assert!(!page.contains(foreign), "the page holds {foreign:?}");
        }
        // The only url() is the pattern in the page itself.
        assert_eq!(page.matches("url(").count(), page.matches("url(#hatch)").count());
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn every_point_has_a_bar_on_every_uplink() {
        let report = sample();
        let page = page(&report);
        let network = &report.networks[0];
        let bars = network.points.len() * network.uplinks.len();
        assert_eq!(page.matches("<svg class=\"bar\"").count(), bars);
        for point in &network.points {
            let label = format!("aria-label=\"{}: ", escape(&point.name));
            assert_eq!(page.matches(&label).count(), network.uplinks.len(), "{}", point.name);
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_parts() {
        let times = Times { edge_ns: 25, upload_ns: 50, cloud_ns: 25, measured_ns: Some(100) };
        let axis = Axis { step_ns: 50.0, end_ns: 200.0 };
        let bar = bar("p", &times, &axis);
        for place in [
            "class=\"edge\" x=\"0.000%\" y=\"17%\" width=\"12.500%\"",
            "class=\"upload\" x=\"12.500%\" y=\"17%\" width=\"25.000%\"",
            "class=\"cloud\" x=\"37.500%\" y=\"17%\" width=\"12.500%\"",
            "class=\"measured\" x1=\"50.00%\"",
        ] {
            assert!(bar.contains(place), "{place} is not in {bar}");
        }
    }

    #[test]
    fn stars_stand_on_the_chosen_points_only() {
        let report = sample();
        for uplink in &report.networks[0].uplinks {
            for i in 0..uplink.times.len() {
                let marks = marks(uplink, i);
                assert_eq!(marks.contains("star hollow"), uplink.best == Some(i));
                assert_eq!(marks.contains("\"star\""), uplink.fastest == Some(i));
            }
        }
    }

    #[test]
    fn names_from_a_model_cannot_break_out() {
        let page = page(&sample());
        assert!(page.contains("conv4 &lt;&amp;&quot;&#39;&gt;"));
        assert!(!page.contains("conv4 <"));
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
