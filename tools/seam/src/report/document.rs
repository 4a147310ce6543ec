//! What every page is made of: the frame around it, the tiles, stars, text that cannot break out.

use std::fmt::{self, Write};

use super::units;

const STYLE: &str = include_str!("style.css");

/// Nothing but what stands in the file may be loaded or run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The pattern of uploads: they differ from the rest not by colour alone.
const HATCH: &str = "<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\">\
    <defs><pattern id=\"hatch\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
    patternTransform=\"rotate(45)\"><line class=\"hatch\" x1=\"0\" x2=\"0\" y1=\"0\" y2=\"7\"/>\
    </pattern></defs></svg>";

/// The top of a page.
pub(super) struct Head<'a> {
    pub(super) title: &'a str,
    /// One sentence under the title.
    pub(super) lead: &'a str,
    /// Name and value each.
    pub(super) facts: &'a [(String, String)],
    pub(super) warnings: &'a [String],
}

/// From the first byte to the first section.
pub(super) fn write_start(out: &mut String, head: &Head) -> fmt::Result {
    let title = escape(head.title);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{HATCH}\n<main>\n\
         <h1>{title}</h1>\n<p class=\"lead\">{}</p>\n<dl class=\"machine\">",
        escape(head.lead)
    )?;
    for (name, value) in head.facts {
        writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value))?;
    }
    writeln!(out, "</dl>")?;
    for warning in head.warnings {
        writeln!(out, "<p class=\"warning\">{}</p>", escape(warning))?;
    }
    Ok(())
}

/// The notes, and the end.
pub(super) fn write_end<S: AsRef<str>>(
    out: &mut String,
    heading: &str,
    notes: &[S],
) -> fmt::Result {
    writeln!(out, "<h2>{}</h2>\n<ul class=\"notes\">", escape(heading))?;
    for note in notes {
        writeln!(out, "<li>{}</li>", escape(note.as_ref()))?;
    }
    writeln!(out, "</ul>\n</main>\n</body>\n</html>")
}

/// Values that stand out, each with what it is.
pub(super) fn write_tiles(out: &mut String, tiles: &[(String, String)]) -> fmt::Result {
    writeln!(out, "<ul class=\"tiles\">")?;
    for (value, label) in tiles {
        writeln!(
            out,
            "<li><strong class=\"number\">{}</strong><span>{}</span></li>",
            escape(value),
            escape(label)
        )?;
    }
    writeln!(out, "</ul>")
}

/// A table in a box that scrolls by itself; `rows` are of finished HTML, [`write_row`] writes one.
pub(super) fn write_table(
    out: &mut String,
    caption: &str,
    heads: &[&str],
    rows: impl FnOnce(&mut String) -> fmt::Result,
) -> fmt::Result {
    let caption = escape(caption);
    write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\
         <table>\n<caption>{caption}</caption>\n<thead>\n<tr>"
    )?;
    for head in heads {
        write!(out, "<th scope=\"col\">{}</th>", escape(head))?;
    }
    writeln!(out, "</tr>\n</thead>\n<tbody>")?;
    rows(out)?;
    writeln!(out, "</tbody>\n</table></div>")
}

/// A row of a table: its name, then cells of finished HTML.
pub(super) fn write_row(
    out: &mut String,
    class: &str,
    name: &str,
    cells: &[String],
) -> fmt::Result {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    write!(out, "<tr{class}><th scope=\"row\">{}</th>", escape(name))?;
    for cell in cells {
        write!(out, "<td>{cell}</td>")?;
    }
    writeln!(out, "</tr>")
}

/// A second line in a cell.
pub(super) fn small(text: &str) -> String {
    format!("<small>{}</small>", escape(text))
}

/// [`units::time`] as HTML.
pub(super) fn time(ns: u64) -> String {
    escape(&units::time(ns))
}

/// The same, and a dash where there is nothing.
pub(super) fn part(ns: u64) -> String {
    if ns == 0 { "–".into() } else { time(ns) }
}

/// Hollow for the best, filled for the fastest.
pub(super) fn star(kind: &str) -> String {
    let hollow = if kind == "best" { " hollow" } else { "" };
    format!(
        "<svg class=\"star{hollow}\" width=\"16\" height=\"16\" viewBox=\"0 0 16 16\" role=\"img\" \
         aria-label=\"{kind}\"><title>{kind}</title><path d=\"M8 1.6 9.9 5.8l4.5.5-3.4 3 1 4.5L8 \
         11.5l-4 2.3 1-4.5-3.4-3 4.5-.5z\"/></svg>"
    )
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
