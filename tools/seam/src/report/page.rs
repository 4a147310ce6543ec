//! The page of `seam report`: one plan, and all that it rests on.

use std::fmt::{self, Write};

use seam_runtime::Model;
use seam_runtime::graph::{INPUT, OUTPUT};
use seam_runtime::memory::MemoryPlan;
use seam_tuner::constraints::Exclusion;
use seam_tuner::plan::PlannedPoint;
use seam_tuner::prediction::Prediction;
use seam_tuner::{CloudProfile, Map, Objective, Plan, Profile};

use super::accuracy::{self, Evaluation};
use super::bars::{self, Row};
use super::document::{self, Head, part, small, star, time};
use super::map::{self, Chart};
use super::measured::{self, Measured};
use super::memory::{self, Drawing};
use super::{steps, units};

/// What the page shows; what is not there is left out.
pub(super) struct Page<'a> {
    pub(super) plan: &'a Plan,
    /// The model that the plan is of.
    pub(super) model: &'a Model,
    /// The memory plan as far as the model's file reaches.
    pub(super) memory: &'a MemoryPlan,
    pub(super) edge: Option<&'a Profile>,
    pub(super) cloud: Option<&'a CloudProfile>,
    pub(super) maps: &'a [Map],
    pub(super) measured: &'a [Measured],
    pub(super) evaluations: &'a [Evaluation],
}

/// The parts of a bar: class of the style sheet, what it is, nanoseconds.
type Part = (&'static str, &'static str, fn(&Prediction) -> f64);

const PARTS: [Part; 6] = [
    ("edge", "edge, INT8", |p| p.edge_ns),
    ("encode", "encode", |p| p.encode_ns),
    ("upload", "upload", |p| p.upload_ns),
    ("rtt", "round trip", |p| p.rtt_ns),
    ("decode", "decode", |p| p.decode_ns),
    ("cloud", "cloud, FP32", |p| p.cloud_ns),
];

/// The page.
pub(super) fn page(page: &Page) -> String {
    let mut out = String::with_capacity(64 * 1024);
    // Writing into a String cannot fail.
    let _ = page.write(&mut out);
    out
}

impl Page<'_> {
    fn write(&self, out: &mut String) -> fmt::Result {
        let Page { plan, edge, maps, measured, evaluations, .. } = self;
        let title = format!("{}: where to cut", plan.model.name);
        let (lead, facts) = (self.lead(), self.facts());
        let warnings = &plan.warnings;
        document::write_start(out, &Head { title: &title, lead: &lead, facts: &facts, warnings })?;
        document::write_tiles(out, &self.tiles())?;
        writeln!(out, "<h2>Where the time goes</h2>")?;
        self.write_bars(out)?;
        self.write_points(out)?;
        if let Some(general) = &plan.general {
            let general = document::escape(&general.to_string());
            writeln!(out, "<h2>The general cut</h2>\n<pre>{general}</pre>")?;
        }
        if !maps.is_empty() {
            writeln!(out, "<h2>Over the uplink</h2>")?;
            self.write_map(out)?;
        }
        if !measured.is_empty() {
            writeln!(out, "<h2>Predicted beside measured</h2>")?;
            measured::write(out, plan, measured)?;
        }
        if !evaluations.is_empty() {
            writeln!(out, "<h2>Accuracy</h2>")?;
            accuracy::write(out, evaluations)?;
        }
        if let Some(edge) = edge {
            writeln!(out, "<h2>Steps and kernels</h2>")?;
            steps::write(out, edge, self.chosen().steps as usize)?;
        }
        self.write_memory(out)?;
        document::write_end(out, "What the numbers are", &self.notes())
    }

    /// The row of the point to cut at: a plan has one.
    fn chosen(&self) -> &PlannedPoint {
        let plan = self.plan;
        plan.point(&plan.chosen).unwrap_or(&plan.points[0])
    }

    fn lead(&self) -> String {
        let chosen = self.chosen();
        let takes = units::time(ns(chosen.predicted.total_ns));
        let all = self.model.graph().steps.len();
        match chosen.name.as_str() {
            INPUT => format!("All in the cloud: predicted to take {takes} from image to answer."),
            OUTPUT => format!("All on the board: predicted to take {takes} from image to answer."),
            name => format!(
                "Cut behind {name}: {} of {all} steps run in INT8 on the board, {} cross{}, the rest \
                 runs in FP32 in the cloud. Predicted to take {takes} from image to answer.",
                chosen.steps,
                units::bytes(chosen.predicted.bytes),
                chosen.predicted.codec.map_or(String::new(), |codec| format!(" by {codec}")),
            ),
        }
    }

    fn facts(&self) -> Vec<(String, String)> {
        let Plan { model, device, environment, objective, constraints, .. } = self.plan;
        let threads = |n: u32| if n == 1 { "1 thread".into() } else { format!("{n} threads") };
        let board = format!("{}, {}, {} kernels", device.cpu, threads(device.threads), device.isa);
        let cloud = self.cloud.map(|cloud| {
            let device = &cloud.device;
            ("Cloud", format!("{}, {}, {}", device.cpu, threads(device.threads), cloud.engine))
        });
        let rate = environment.uplink_bytes_per_s;
        let mut uplink = format!("{} ({})", units::rate(rate), units::rate_in_bits(rate));
        if environment.burst_bytes >= 1.0 {
            uplink += &format!(", after a burst of {}", units::bytes(ns(environment.burst_bytes)));
        }
        uplink += &format!(", {} round trip", units::time(ns(environment.rtt_ns)));
        if environment.cloud_load > 0.0 {
            uplink += &format!(", cloud load {}", environment.cloud_load);
        }
        let constraints = constraints.words();
        let constraints =
            (!constraints.is_empty()).then(|| ("Constraints", constraints.join(", ")));
        let facts = [Some(("Board", board)), cloud, Some(("Uplink", uplink))];
        let objective = Some(("Objective", objective.to_string()));
        let model = Some(("Model", format!("{}, SHA-256 {}", model.name, model.sha256)));
        let facts = facts.into_iter().chain([objective, constraints, model]).flatten();
        facts.map(|(name, value)| (name.into(), value)).collect()
    }

    fn tiles(&self) -> Vec<(String, String)> {
        let Plan { objective, raw, .. } = self.plan;
        let chosen = self.chosen();
        let total = chosen.predicted.total_ns;
        let mut tiles =
            vec![(units::time(ns(total)), format!("from image to answer, cut at {}", chosen.name))];
        if *objective == Objective::Throughput {
            let stage = ns(chosen.predicted.longest_stage_ns());
            tiles.push((units::time(stage), "in the longest stage".into()));
        }
        let cloud_only = self.plan.point(INPUT).map_or(0.0, |input| input.predicted.total_ns);
        if chosen.name != INPUT && total > 0.0 && cloud_only > 0.0 {
            let ratio = cloud_only / total;
            tiles.push((format!("{ratio:.2}×"), "the speed of cloud only".into()));
        }
        if chosen.predicted.bytes > 0 {
            tiles.push((units::bytes(chosen.predicted.bytes), "cross the uplink".into()));
        }
        tiles.push((units::bytes(chosen.download_bytes), "of model on the board".into()));
        if let Some(raw) = raw {
            let label = format!("without codecs, cut at {}", raw.chosen);
            tiles.push((units::time(ns(raw.total_ns)), label));
        }
        tiles
    }

    fn write_bars(&self, out: &mut String) -> fmt::Result {
        let measured = |i: usize, point: &PlannedPoint| {
            let as_planned = |m: &&Measured| m.point == i && m.codec == point.predicted.codec;
            self.measured.iter().find(as_planned).map(|measured| measured.total_ns)
        };
        let row = |(i, point): (usize, &PlannedPoint)| Row {
            name: point.name.clone(),
            parts: PARTS.map(|(class, _, of)| (class, ns(of(&point.predicted)))).into(),
            measured_ns: measured(i, point),
            marks: self.marks(point),
            chosen: point.name == self.plan.chosen,
            excluded: !point.excluded.is_empty(),
        };
        let rows: Vec<Row> = self.plan.points.iter().enumerate().map(row).collect();
        let seen = |class: &str| {
            rows.iter().flat_map(|row| &row.parts).any(|(c, ns)| *c == class && *ns > 0)
        };
        let parts: Vec<_> = PARTS
            .iter()
            .filter(|(class, ..)| seen(class))
            .map(|(class, label, _)| (*class, *label))
            .collect();
        let measured = rows.iter().any(|row| row.measured_ns.is_some());
        bars::write_legend(out, &parts, measured.then_some("measured"))?;
        let rate = units::rate(self.plan.environment.uplink_bytes_per_s);
        writeln!(
            out,
            "<figure>\n<figcaption><h3>Every point at {rate}</h3>\n<p>cut at <b>{}</b> ({})</p>\
             </figcaption>",
            document::escape(&self.plan.chosen),
            self.plan.objective
        )?;
        bars::write_rows(out, &rows)?;
        writeln!(out, "</figure>")
    }

    fn write_points(&self, out: &mut String) -> fmt::Result {
        let plan = self.plan;
        let throughput = plan.objective == Objective::Throughput;
        // What is nowhere is no column.
        let parts = || {
            PARTS
                .into_iter()
                .filter(|(_, _, of)| plan.points.iter().any(|p| of(&p.predicted) > 0.0))
        };
        let mut heads = vec!["point", "total", "crosses", "model", "memory"];
        heads.extend(parts().map(|(class, ..)| class));
        heads.extend(throughput.then_some("longest stage"));
        document::write_table(out, "Every point in numbers", &heads, |out| {
            for point in &plan.points {
                let predicted = &point.predicted;
                let by = match (predicted.bytes, predicted.codec) {
                    (0, _) => String::new(),
                    (_, codec) => small(&codec.map_or("raw".into(), |codec| format!("by {codec}"))),
                };
                let why = point.excluded.iter().map(Exclusion::to_string);
                let why = why.chain(point.estimated.then(|| "estimated".into()));
                let raw = predicted.codec.map(|_| ns(point.raw_total_ns));
                let raw = raw.map(|raw| format!("raw {}", units::time(raw)));
                let beside: String = raw.into_iter().chain(why).map(|word| small(&word)).collect();
                let mut cells = vec![
                    self.marks(point) + &time(ns(predicted.total_ns)) + &beside,
                    units::bytes(predicted.bytes) + &by,
                    units::bytes(point.download_bytes),
                    units::bytes(point.memory_bytes),
                ];
                cells.extend(parts().map(|(_, _, of)| part(ns(of(predicted)))));
                cells.extend(throughput.then(|| time(ns(predicted.longest_stage_ns()))));
                let class = match point.name == plan.chosen {
                    true => "chosen",
                    false if point.excluded.is_empty() => "",
                    false => "excluded",
                };
                document::write_row(out, class, &point.name, &cells)?;
            }
            Ok(())
        })
    }

    /// Stars of best and fastest, and the word where it was chosen for something else.
    fn marks(&self, point: &PlannedPoint) -> String {
        let Plan { best, fastest, chosen, objective, .. } = self.plan;
        let name = &point.name;
        let stars = [("best", best.as_ref()), ("fastest", Some(fastest))];
        let stars =
            stars.into_iter().filter(|(_, of)| *of == Some(name)).map(|(kind, _)| star(kind));
        let other = !matches!(objective, Objective::Best | Objective::Fastest);
        let word = (other && chosen == name).then(|| format!("<em>{objective}</em>"));
        stars.chain(word).collect()
    }

    fn write_map(&self, out: &mut String) -> fmt::Result {
        let Plan { model, points, environment, .. } = self.plan;
        let points: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
        let uplink = environment.uplink_bytes_per_s;
        let chart = Chart { title: &model.name, points: &points, maps: self.maps, uplink };
        writeln!(out, "{}{}</div>", drawing_box("The map over bandwidth"), map::file(&chart))
    }

    fn write_memory(&self, out: &mut String) -> fmt::Result {
        let Page { model, memory, .. } = self;
        let chosen = self.chosen();
        let arena = chosen.memory_bytes.saturating_sub(chosen.download_bytes);
        writeln!(
            out,
            "<h2>Memory over time</h2>\n<p class=\"quiet\">All that the file holds, to {}: {} of \
             activations, {} did none share memory. Up to {} alone: {}.</p>",
            document::escape(model.graph().point_name(model.reaches())),
            units::bytes(memory.arena_bytes as u64),
            units::bytes(memory.unshared_bytes as u64),
            document::escape(&chosen.name),
            units::bytes(arena),
        )?;
        let cut = (chosen.name.as_str(), chosen.steps as usize);
        let drawing = Drawing { graph: model.graph(), memory, cut };
        writeln!(out, "{}{}</div>", drawing_box("The memory plan"), memory::svg(&drawing))
    }

    fn notes(&self) -> Vec<String> {
        let inputs = &self.plan.inputs;
        let mut notes = vec![
            "Predicted times are medians of the profiles, and what the uplink takes for the bytes \
             that cross; a point's codec is whichever makes its total the least."
                .to_string(),
            "Model: the bytes of the model's file that a cut there needs. Memory: \
             those, and the arena of the activations."
                .into(),
            "Memory over time: a tensor takes its bytes from the step that writes it to the last \
             one that reads it. The tensor that crosses is hatched as in the bars; grey is what runs \
             in the cloud by this plan."
                .into(),
        ];
        if !self.measured.is_empty() {
            notes.push(
                "Measured: medians of runs, without crop and resize of the image, which no point \
                 changes. A run over another uplink than the plan's is off by that."
                    .into(),
            );
        }
        let mut hashes = format!(
            "Planned from the board's profile {} and the cloud's {} (SHA-256)",
            inputs.edge_profile_sha256, inputs.cloud_profile_sha256
        );
        if !inputs.fitted_from.is_empty() {
            hashes += &format!("; estimates were fitted to {}", inputs.fitted_from.join(", "));
        }
        notes.push(hashes + ".");
        notes
    }
}

/// A box that scrolls by itself, for a drawing that is wider than a phone.
fn drawing_box(label: &str) -> String {
    format!(
        "<div class=\"scroll drawing\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\">\n"
    )
}

/// Whole nanoseconds; what is below zero is none.
fn ns(value: f64) -> u64 {
    value.round() as u64
}
