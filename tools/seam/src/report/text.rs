//! The report as text for a terminal: one table a network.

use std::fmt::Write;

use super::{Network, Report, Uplink, units};

/// The whole report.
pub(crate) fn table(report: &Report) -> String {
    let mut out = String::new();
    for (name, value) in &report.machine {
        let _ = writeln!(out, "{:<8}{value}", format!("{name}:"));
    }
    for network in &report.networks {
        out.push('\n');
        write_network(&mut out, network);
    }
    for warning in &report.warnings {
        let _ = writeln!(out, "\nnote: {warning}");
    }
    out
}

fn write_network(out: &mut String, network: &Network) {
    let _ = writeln!(out, "{}: {}", network.name, network.about);
    let mut size = format!(
        "model     FP32 {}, INT8 {}",
        units::bytes(network.fp32_bytes),
        units::bytes(network.int8_bytes)
    );
    if let Some(point) = network.split_point().map(|i| &network.points[i]) {
        let _ = write!(size, ", up to {} {}", point.name, units::bytes(point.prefix_bytes));
    }
    let _ = writeln!(out, "{size}");
    if let Some(a) = &network.accuracy {
        let of = |right| units::percent(right, a.images);
        let _ = writeln!(
            out,
            "accuracy  FP32 {}, INT8 {}, cut at {} {} ({} held-out pictures)",
            of(a.fp32),
            of(a.int8),
            a.split_at,
            of(a.split),
            a.images
        );
    }
    out.push('\n');
    out.push_str(&points(network));
    let _ = writeln!(
        out,
        "★ fastest of all   ☆ best: fastest that keeps the picture on the board   \
         times: image to answer"
    );
}

/// The table of points.
fn points(network: &Network) -> String {
    let measured = network.uplinks.iter().flat_map(|u| &u.times).any(|t| t.measured_ns.is_some());
    let mut top = vec![String::new(); 5];
    let mut heads: Vec<String> =
        ["point", "crosses", "model", "edge", "cloud"].map(String::from).into();
    for uplink in &network.uplinks {
        top.push(units::rate(uplink.bytes_per_s));
        heads.push("predicted".into());
        if measured {
            top.push(String::new());
            heads.push("measured".into());
        }
    }
    let mut rows = vec![top, heads];
    for (i, point) in network.points.iter().enumerate() {
        let time = |ns: u64| if ns == 0 { "–".into() } else { units::time(ns) };
        let any = network.uplinks.first().map(|u| u.times[i]);
        let mut row = vec![
            point.name.clone(),
            if point.boundary.is_some() {
                units::bytes(point.boundary_bytes)
            } else {
                "–".into()
            },
            units::bytes(point.prefix_bytes),
            time(any.map_or(0, |t| t.edge_ns)),
            time(any.map_or(0, |t| t.cloud_ns)),
        ];
        for uplink in &network.uplinks {
            row.push(format!("{}{}", marks(uplink, i), time(uplink.times[i].total_ns())));
            if measured {
                row.push(time(uplink.times[i].measured_ns.unwrap_or(0)));
            }
        }
        rows.push(row);
    }
    aligned(&rows)
}

fn marks(uplink: &Uplink, i: usize) -> &'static str {
    match (uplink.best == Some(i), uplink.fastest == Some(i)) {
        (true, true) => "☆★ ",
        (true, false) => "☆ ",
        (false, true) => "★ ",
        (false, false) => "",
    }
}

/// Columns two spaces apart: the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (c, text) in row.iter().enumerate() {
            let fill = " ".repeat(widths[c].saturating_sub(text.chars().count()));
            match c {
                0 => line.extend([text, fill.as_str()]),
                _ => line.extend(["  ", fill.as_str(), text]),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn every_point_has_a_line_and_the_chosen_ones_their_stars() {
        let report = sample();
        let text = table(&report);
        let network = &report.networks[0];
        for (i, point) in network.points.iter().enumerate() {
            let line = text.lines().find(|l| l.starts_with(&format!("{}  ", point.name)));
            let line = line.unwrap_or_else(|| panic!("no line for {} in\n{text}", point.name));
            let best = network.uplinks.iter().filter(|u| u.best == Some(i)).count();
            let fastest = network.uplinks.iter().filter(|u| u.fastest == Some(i)).count();
            assert_eq!(line.matches('☆').count(), best, "{line}");
            assert_eq!(line.matches('★').count(), fastest, "{line}");
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_string(), "1.5 ms".into()], vec!["long".into(), "★ 12 ms".into()]];
        assert_eq!(aligned(&rows), "a      1.5 ms\nlong  ★ 12 ms\n");
    }
}
