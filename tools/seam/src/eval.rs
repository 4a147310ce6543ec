//! `seam eval`: INT8 against FP32 on labelled images.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use seam_compiler::Engine;
use seam_runtime::boundary::Frame;
use seam_runtime::graph::{Graph, Point};
use seam_runtime::{Model, Session, preprocess, session};
use serde_json::json;

use crate::images::{self, Item};
use crate::scheme;
use crate::workers::{self, Merge};

/// Compares INT8 with FP32 on labelled images: top-1, top-5, agreement, SQNR of the logits
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  seam eval resnet18.seam --images val/ --labels val/labels.csv --at res4a
  seam eval resnet18.seam --images val/ --labels val/labels.csv --scheme paper --calibrate photos/")]
pub(crate) struct Args {
    /// The compiled network; NET.onnx must stand beside it
    #[arg(value_name = "NET.seam")]
    model: PathBuf,
    /// The folder that the labels' files lie in
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Rows of file,label; a label is a class number
    #[arg(long, value_name = "CSV")]
    labels: PathBuf,
    /// Where the network is cut [default: the deepest point]
    #[arg(long, value_name = "POINT")]
    at: Option<String>,
    /// What to add to a label for the index of its output, for networks with a background class
    #[arg(long, value_name = "N", default_value_t = 0)]
    label_offset: usize,
    /// Leaves the first, then every K-th row out: those that calibration took
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    leave_out_every: Option<u32>,
    /// Most images [default: all, and 20 with --scheme paper]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// `paper` runs the paper's own quantization step by step, slowly, and compares it with the
    /// integer path at every point
    #[arg(long, value_enum, default_value_t = Scheme::Integer)]
    scheme: Scheme,
    /// Images that give the paper's scheme its thresholds; the first 20 are taken
    #[arg(long, value_name = "DIR", required_if_eq("scheme", "paper"))]
    calibrate: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Whose quantization runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scheme {
    /// The kernels': integers throughout, a scale for each channel of weights.
    Integer,
    /// The paper's: Formula 1 and 2, a pair of thresholds for each tensor.
    Paper,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let model = Arc::new(Model::open(&args.model)?);
    let engine = Engine::open(&args.model)?;
    let point = match &args.at {
        Some(name) => model.point(name)?,
        None => model.reaches(),
    };
    ensure!(
        point <= model.reaches(),
        "{} holds the steps up to {} only: fetch the whole model",
        args.model.display(),
        model.graph().point_name(model.reaches())
    );
    let left_out = |i: usize| args.leave_out_every.is_some_and(|k| i.is_multiple_of(k as usize));
    let items: Vec<Item> = images::list(&args.images, Some(&args.labels))?
        .into_iter()
        .enumerate()
        .filter(|(i, _)| !left_out(*i))
        .map(|(_, item)| item)
        .take(args.limit.unwrap_or(match args.scheme {
            Scheme::Integer => usize::MAX,
            Scheme::Paper => scheme::IMAGES,
        }))
        .collect();
    ensure!(!items.is_empty(), "no image is left: use a smaller --leave-out-every");
    if let (Scheme::Paper, Some(folder)) = (args.scheme, &args.calibrate) {
        let points = match args.at {
            Some(_) => vec![point],
            None => model.graph().points().filter(|p| *p <= point).collect(),
        };
        let calibration = images::list(folder, None)?;
        let compared =
            scheme::compare(&model, &engine, &points, &calibration, &items, args.label_offset)?;
        scheme::print(&compared, args.json);
        return Ok(());
    }
    let scores = evaluate(&model, &engine, &[point], &items, args.label_offset)?;
    print(&scores[0], model.graph(), point, args.json);
    Ok(())
}

/// Sums over images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Score {
    pub(crate) images: usize,
    /// Right among the first one and the first five answers.
    pub(crate) fp32: [usize; 2],
    pub(crate) int8: [usize; 2],
    /// FP32 and INT8 have the same first answer.
    pub(crate) agree: usize,
    signal: f64,
    noise: f64,
}

impl Score {
    /// Adds one image with its two answers and the index of its class.
    fn add(&mut self, fp32: &[f32], int8: &[f32], class: usize) {
        let (best32, best8) = (best(fp32), best(int8));
        for (hits, best) in [(&mut self.fp32, &best32), (&mut self.int8, &best8)] {
            hits[0] += usize::from(best.first() == Some(&class));
            hits[1] += usize::from(best.contains(&class));
        }
        self.images += 1;
        self.agree += usize::from(best32.first() == best8.first());
        for (&a, &b) in fp32.iter().zip(int8) {
            self.signal += f64::from(a).powi(2);
            self.noise += (f64::from(a) - f64::from(b)).powi(2);
        }
    }

    /// Signal over quantization noise of all logits, in dB; infinite where they are equal.
    pub(crate) fn sqnr(&self) -> f64 {
        10.0 * (self.signal / self.noise).log10()
    }

    pub(crate) fn percent(&self, hits: usize) -> f64 {
        100.0 * hits as f64 / self.images as f64
    }
}

impl Merge for Score {
    fn merge(&mut self, other: &Score) {
        for i in 0..2 {
            self.fp32[i] += other.fp32[i];
            self.int8[i] += other.int8[i];
        }
        self.images += other.images;
        self.agree += other.agree;
        self.signal += other.signal;
        self.noise += other.noise;
    }
}

/// Indices of the five largest values; of equal ones the first.
fn best(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(5);
    order
}

/// The score at each of `points`, shallowest first. Images are shared out over all cores, one session
/// of one thread each.
pub(crate) fn evaluate(
    model: &Arc<Model>,
    engine: &Engine,
    points: &[Point],
    items: &[Item],
    offset: usize,
) -> Result<Vec<Score>> {
    workers::sum(
        items,
        "evaluating",
        &vec![Score::default(); points.len()],
        || Split::new(model, engine, points),
        |split, item, scores| {
            let (fp32, int8) = split.answers(item)?;
            for (score, int8) in scores.iter_mut().zip(&int8) {
                score.add(&fp32, int8, item.label.unwrap_or_default() + offset);
            }
            Ok(())
        },
    )
}

/// The network both ways: FP32 throughout, and INT8 up to each of several points.
pub(crate) struct Split<'a> {
    model: &'a Model,
    engine: &'a Engine,
    session: Session,
    /// The points, each with its frame; `output` has none.
    frames: Vec<(Point, Option<Frame>)>,
    tables: preprocess::Tables,
}

impl<'a> Split<'a> {
    pub(crate) fn new(
        model: &'a Arc<Model>,
        engine: &'a Engine,
        points: &[Point],
    ) -> Result<Split<'a>> {
        let graph = model.graph();
        let deepest = points.iter().copied().max().unwrap_or(Point::Input);
        let options = session::Options { point: Some(deepest), ..session::Options::from_env()? };
        let seam_runtime::graph::Element::U8 { scale, zero_point } =
            graph.tensor(graph.input).element
        else {
            bail!("the input tensor is not quantized: quantize the network again");
        };
        let frame = |&point: &Point| {
            (point, (point != Point::Output).then(|| Frame::new(graph, point, None)))
        };
        Ok(Split {
            session: Session::new(model.clone(), options)?,
            frames: points.iter().map(frame).collect(),
            tables: graph.preprocess.tables(scale, zero_point),
            model,
            engine,
        })
    }

    /// The answer in FP32, and in INT8 up to each of the points.
    pub(crate) fn answers(&mut self, item: &Item) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
        let graph = self.model.graph();
        let input = graph.tensor(graph.input).shape;
        let pixels = images::pixels(&item.path, &graph.preprocess, input)?;
        let fp32 = self.engine.tail(Point::Input)?.run(&[&pixels])?;
        let mut int8 = Vec::with_capacity(self.frames.len());
        for i in 0..self.frames.len() {
            let point = self.frames[i].0;
            if point == Point::Input {
                int8.push(fp32.clone());
                continue;
            }
            // A run may use the input's memory for what comes behind it.
            preprocess::codes(&self.tables, &pixels, self.session.input());
            self.session.run_to(point);
            int8.push(match &mut self.frames[i].1 {
                Some(frame) => {
                    frame.encode(&self.session);
                    self.engine.tail(point)?.run(&[frame.tensor()])?
                }
                None => self.output(graph, fp32.len())?,
            });
        }
        Ok((fp32, int8))
    }

    /// What crossed at `point` when [`Split::answers`] ran last; nothing where it is none of the
    /// points, or `output`.
    pub(crate) fn boundary(&self, point: Point) -> &[u8] {
        let frame = self.frames.iter().find(|(p, _)| *p == point);
        frame.and_then(|(_, frame)| frame.as_ref()).map_or(&[], Frame::tensor)
    }

    /// The session's answer in the order of the network's, NCHW.
    fn output(&self, graph: &Graph, len: usize) -> Result<Vec<f32>> {
        let shape = graph.tensor(graph.boundary(Point::Output)).shape;
        ensure!(shape.len() == len, "the answers differ in length: quantize the network again");
        let mut values = vec![0.0; len];
        self.session.output_f32(&mut values);
        let image = self.engine.network().output_dims() == Some(&[1, shape.c, shape.h, shape.w]);
        if !image {
            return Ok(values);
        }
        let nchw = |i: usize| values[i % shape.pixels() * shape.c + i / shape.pixels()];
        Ok((0..len).map(nchw).collect())
    }
}

fn print(score: &Score, graph: &Graph, point: Point, as_json: bool) {
    let point = graph.point_name(point);
    let sqnr = Some(score.sqnr()).filter(|s| s.is_finite());
    let percent = |hits| score.percent(hits);
    if as_json {
        let report = json!({
            "model": graph.name,
            "images": score.images,
            "at": point,
            "fp32": { "top1": percent(score.fp32[0]), "top5": percent(score.fp32[1]) },
            "int8": { "top1": percent(score.int8[0]), "top5": percent(score.int8[1]) },
            "agreement": percent(score.agree),
            "sqnr_db": sqnr,
        });
        println!("{report:#}");
        return;
    }
    println!("{} images, cut at {point}", score.images);
    println!("{:<6} {:>8} {:>8}", "", "top-1 %", "top-5 %");
    for (name, hits) in [("FP32", score.fp32), ("INT8", score.int8)] {
        println!("{name:<6} {:>8.2} {:>8.2}", percent(hits[0]), percent(hits[1]));
    }
    println!("agreement of top-1 {:.2} %", percent(score.agree));
    match sqnr {
        Some(db) => println!("SQNR of the logits {db:.1} dB"),
        None => println!("the logits are equal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_rank_by_index() {
        assert_eq!(best(&[1.0, 3.0, 3.0, 2.0, 0.0, 3.0]), [1, 2, 5, 3, 0]);
    }

    #[test]
    fn scores_follow_their_definitions() {
        let mut score = Score::default();
        score.add(&[3.0, 0.0, 4.0], &[3.0, 0.0, 4.5], 2);
        score.add(&[5.0, 0.0, 0.0], &[1.0, 2.0, 0.0], 1);
        assert_eq!((score.fp32, score.int8, score.agree), ([1, 2], [2, 2], 1));
        let expected = 10.0 * (50.0f64 / (0.25 + 16.0 + 4.0)).log10();
        assert!((score.sqnr() - expected).abs() < 1e-12);
        let mut twice = score;
        twice.merge(&score);
        assert_eq!((twice.images, twice.agree, twice.sqnr()), (4, 2, score.sqnr()));
    }
}
