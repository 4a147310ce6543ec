//! The demo's report as one HTML file that needs nothing else: style and drawings are in it, no
//! script, nothing from a network.

use std::fmt::{self, Write};

use super::bars::{self, Row};
use super::document::{self, Head, escape, part, small, star, time};
use super::{Network, Point, Report, Times, Uplink, units};

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::with_capacity(64 * 1024);
    // Writing into a String cannot fail.
    let _ = write_page(&mut out, report);
    out
}

fn write_page(out: &mut String, report: &Report) -> fmt::Result {
    let Report { title, lead, machine: facts, warnings, .. } = report;
    document::write_start(out, &Head { title, lead, facts, warnings })?;
    for network in &report.networks {
        write_network(out, network)?;
    }
    document::write_end(out, "How this was measured", &report.notes)
}

fn write_network(out: &mut String, network: &Network) -> fmt::Result {
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

fn write_tiles(out: &mut String, network: &Network) -> fmt::Result {
    let mut tiles = Vec::new();
    if let Some(a) = &network.accuracy {
        let of = |right| units::percent(right, a.images);
        tiles.push((of(a.fp32), format!("right in FP32, of {} held-out pictures", a.images)));
        tiles.push((of(a.int8), "right in INT8, all on the edge".into()));
        tiles.push((of(a.split), format!("right when cut at {}", a.split_at)));
    }
    tiles.push((units::bytes(network.fp32_bytes), "of weights in FP32".into()));
    let smaller = network.fp32_bytes as f64 / network.int8_bytes.max(1) as f64;
    tiles.push((units::bytes(network.int8_bytes), format!("as INT8 model, {smaller:.1}× smaller")));
    if let Some(point) = network.split_point().map(|i| &network.points[i]) {
        let label = format!("is all a board needs up to {}", point.name);
        tiles.push((units::bytes(point.prefix_bytes), label));
    }
    document::write_tiles(out, &tiles)
}

fn write_legend(out: &mut String, network: &Network) -> fmt::Result {
    let parts = [("edge", "edge, INT8"), ("upload", "upload"), ("cloud", "cloud, FP32")];
    let measured = network.uplinks.iter().flat_map(|u| &u.times).any(|t| t.measured_ns.is_some());
    bars::write_legend(out, &parts, measured.then_some("measured, image to answer"))
}

fn write_chart(out: &mut String, network: &Network, uplink: &Uplink) -> fmt::Result {
    writeln!(
        out,
        "<figure>\n<figcaption><h3>Uplink {} <span class=\"quiet number\">({})</span></h3>\n<p>{}</p>\
         </figcaption>",
        units::rate(uplink.bytes_per_s),
        units::rate_in_bits(uplink.bytes_per_s),
        verdict(network, uplink)
    )?;
    let row = |(i, (point, times)): (usize, (&Point, &Times))| {
        let Times { edge_ns, upload_ns, cloud_ns, measured_ns } = *times;
        let marks = marks(uplink, i);
        Row {
            name: point.name.clone(),
            parts: vec![("edge", edge_ns), ("upload", upload_ns), ("cloud", cloud_ns)],
            measured_ns,
            chosen: !marks.is_empty(),
            marks,
            excluded: false,
        }
    };
    let rows = network.points.iter().zip(&uplink.times).enumerate().map(row);
    bars::write_rows(out, &rows.collect::<Vec<_>>())?;
    writeln!(out, "</figure>")
}

fn write_table(out: &mut String, network: &Network) -> fmt::Result {
    let at: Vec<String> =
        network.uplinks.iter().map(|u| format!("at {}", units::rate(u.bytes_per_s))).collect();
    let mut heads = vec!["point", "crosses", "model on the board", "edge", "cloud"];
    heads.extend(at.iter().map(String::as_str));
    document::write_table(out, "Every point in numbers", &heads, |out| {
        for (i, point) in network.points.iter().enumerate() {
            let any = network.uplinks.first().and_then(|u| u.times.get(i));
            let mut cells = vec![
                match &point.boundary {
                    Some(shape) => units::bytes(point.boundary_bytes) + &small(shape),
                    None => "nothing".into(),
                },
                units::bytes(point.prefix_bytes),
                part(any.map_or(0, |t| t.edge_ns)),
                part(any.map_or(0, |t| t.cloud_ns)),
            ];
            cells.extend(network.uplinks.iter().map(|uplink| {
                let times = uplink.times[i];
                let measured =
                    times.measured_ns.map(|ns| small(&format!("measured {}", units::time(ns))));
                marks(uplink, i) + &time(times.total_ns()) + &measured.unwrap_or_default()
            }));
            document::write_row(out, "", &point.name, &cells)?;
        }
        Ok(())
    })
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

/// The stars of point `i`: hollow for the best, filled for the fastest.
fn marks(uplink: &Uplink, i: usize) -> String {
    [("best", uplink.best), ("fastest", uplink.fastest)]
        .into_iter()
        .filter(|(_, point)| *point == Some(i))
        .map(|(kind, _)| star(kind))
        .collect()
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
}
