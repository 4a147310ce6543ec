//! Figure 3: what every point of a network takes, edge, upload and cloud one on the other; a hollow
//! star at the best point, a filled one at the fastest. As SVG, and in characters.

use std::fmt::Write;

use seam_tuner::Plan;

/// A figure of stacked bars.
pub(crate) struct Figure<'a> {
    /// Its file's stem.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) plan: &'a Plan,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Left, top, right, bottom.
const MARGINS: [f64; 4] = [56.0, 92.0, 16.0, 44.0];
const STYLE: &str = "svg{color-scheme:light dark}\
    text{font:13px system-ui,'Segoe UI',Roboto,Arial,sans-serif;fill:#14171c}\
    .title{font-size:15px;font-weight:600}.page{fill:#fff}.axis{stroke:#dfe0dc}\
    .edge{fill:#2a62c4}.upload{fill:#c77700}.cloud{fill:#0c8f78}\
    .hatch{stroke:#fff;stroke-width:2.5;stroke-opacity:.45}\
    .best{fill:none;stroke:#a15c00;stroke-width:1.6}.fastest{fill:#a15c00}\
    @media(prefers-color-scheme:dark){text{fill:#eceef1}.page{fill:#181b20}.axis{stroke:#2e333b}\
    .edge{fill:#5c97f5}.upload{fill:#e8a23a}.cloud{fill:#3fc2a6}\
    .best{stroke:#f2bd63}.fastest{fill:#f2bd63}}";
/// Uploads differ from the rest not by colour alone.
const HATCH: &str = "<pattern id=\"hatch\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
    patternTransform=\"rotate(45)\"><line class=\"hatch\" x1=\"0\" x2=\"0\" y1=\"0\" y2=\"7\"/></pattern>";
/// A star of 16×16.
const STAR: &str = "M8 1.6 9.9 5.8l4.5.5-3.4 3 1 4.5L8 11.5l-4 2.3 1-4.5-3.4-3 4.5-.5z";
/// Characters of the longest bar.
const COLUMNS: f64 = 60.0;

/// The parts of a bar, from the axis outward: name, seconds, character.
type Parts = [(&'static str, f64, char); 3];

impl Figure<'_> {
    /// As an SVG document that needs nothing else.
    pub(crate) fn svg(&self) -> String {
        let mut svg = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_svg(&mut svg);
        svg
    }

    fn write_svg(&self, out: &mut String) -> std::fmt::Result {
        let [left, top, right, bottom] = MARGINS;
        let (step, end) = self.axis();
        let y = |s: f64| HEIGHT - bottom - s / end * (HEIGHT - top - bottom);
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n{HATCH}\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
             <text class=\"title\" x=\"16\" y=\"26\">{title}</text>",
            title = escape(&self.title)
        )?;
        self.write_legend(out)?;
        for i in 0..=(end / step).round() as usize {
            let s = i as f64 * step;
            let (at, digits) = (y(s), decimals(step));
            writeln!(
                out,
                "<line class=\"axis\" x1=\"{left}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{s:.digits$} s</text>",
                WIDTH - right,
                left - 6.0,
                at + 4.0
            )?;
        }
        let slot = (WIDTH - left - right) / self.plan.points.len() as f64;
        for (i, point) in self.plan.points.iter().enumerate() {
            let middle = left + slot * (i as f64 + 0.5);
            let mut below = 0.0;
            for (class, seconds, _) in parts(&point.predicted) {
                let place = format!(
                    "x=\"{:.1}\" y=\"{:.2}\" width=\"{:.1}\" height=\"{:.2}\"",
                    middle - slot * 0.3,
                    y(below + seconds),
                    slot * 0.6,
                    y(below) - y(below + seconds)
                );
                writeln!(
                    out,
                    "<rect class=\"{class}\" {place}><title>{}: {class} {seconds:.3} s</title></rect>",
                    escape(&point.name)
                )?;
                write_hatch(out, class, &place)?;
                below += seconds;
            }
            writeln!(
                out,
                "<text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - bottom + 20.0,
                escape(&point.name)
            )?;
            let marks = self.marks(&point.name);
            for (j, class) in marks.iter().enumerate() {
                let x = middle + 18.0 * (j as f64 - marks.len() as f64 / 2.0);
                write_star(out, class, x, y(below) - 22.0)?;
            }
        }
        writeln!(out, "</svg>")
    }

    fn write_legend(&self, out: &mut String) -> std::fmt::Result {
        let mut x = 16.0;
        for (class, label) in
            [("edge", "edge, INT8"), ("upload", "upload"), ("cloud", "cloud, FP32")]
        {
            writeln!(
                out,
                "<rect class=\"{class}\" x=\"{x}\" y=\"42\" width=\"14\" height=\"14\"/>\
                 <text x=\"{}\" y=\"54\">{label}</text>",
                x + 20.0
            )?;
            write_hatch(out, class, &format!("x=\"{x}\" y=\"42\" width=\"14\" height=\"14\""))?;
            x += 112.0;
        }
        for (class, label) in [("best", "best"), ("fastest", "fastest")] {
            write_star(out, class, x, 41.0)?;
            writeln!(out, "<text x=\"{}\" y=\"54\">{label}</text>", x + 20.0)?;
            x += 80.0;
        }
        Ok(())
    }

    /// In characters.
    pub(crate) fn text(&self) -> String {
        let points = &self.plan.points;
        let longest = points.iter().map(|p| p.predicted.total_ns / 1e9).fold(0.0, f64::max);
        let width = points.iter().map(|p| p.name.chars().count()).max().unwrap_or(0);
        let mut out = format!("{}\n", self.title);
        for point in points {
            let mut bar = String::new();
            let mut end = 0.0;
            for (_, seconds, character) in parts(&point.predicted) {
                let from = (end / longest * COLUMNS).round();
                end += seconds;
                let count = (end / longest * COLUMNS).round() - from;
                bar.extend(std::iter::repeat_n(character, count as usize));
            }
            let stars: String = self
                .marks(&point.name)
                .iter()
                .map(|mark| if *mark == "best" { " ☆" } else { " ★" })
                .collect();
            let _ = writeln!(out, "{:<width$}  {bar} {:.3} s{stars}", point.name, end);
        }
        let legend: Vec<String> = [("edge", '█'), ("upload", '▒'), ("cloud", '░')]
            .map(|(name, character)| format!("{character} {name}"))
            .into();
        let _ = writeln!(out, "  {}   ☆ best   ★ fastest", legend.join("   "));
        out
    }

    /// What the plan chose the point as.
    fn marks(&self, name: &str) -> Vec<&'static str> {
        let best = (self.plan.best.as_deref() == Some(name)).then_some("best");
        let fastest = (self.plan.fastest == name).then_some("fastest");
        best.into_iter().chain(fastest).collect()
    }

    /// The distance of ticks, and the axis' end; seconds.
    fn axis(&self) -> (f64, f64) {
        let totals = self.plan.points.iter().map(|point| point.predicted.total_ns / 1e9);
        let longest = totals.fold(1e-6, f64::max);
        let power = 10f64.powf((longest / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * power >= longest / 5.0);
        let step = step.unwrap_or(10.0) * power;
        (step, (longest / step).ceil() * step)
    }
}

fn parts(predicted: &seam_tuner::prediction::Prediction) -> Parts {
    [
        ("edge", (predicted.edge_ns + predicted.encode_ns) / 1e9, '█'),
        ("upload", (predicted.upload_ns + predicted.rtt_ns) / 1e9, '▒'),
        ("cloud", predicted.cloud_ns / 1e9, '░'),
    ]
}

/// Lines over an upload.
fn write_hatch(out: &mut String, class: &str, place: &str) -> std::fmt::Result {
    match class {
        "upload" => writeln!(out, "<rect fill=\"url(#hatch)\" pointer-events=\"none\" {place}/>"),
        _ => Ok(()),
    }
}

fn write_star(out: &mut String, class: &str, x: f64, y: f64) -> std::fmt::Result {
    writeln!(
        out,
        "<path class=\"{class}\" transform=\"translate({x:.1} {y:.1})\" d=\"{STAR}\">\
         <title>{class}</title></path>"
    )
}

/// Digits behind the point that tell ticks apart.
fn decimals(step: f64) -> usize {
    (-step.log10().floor()).clamp(0.0, 6.0) as usize
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
