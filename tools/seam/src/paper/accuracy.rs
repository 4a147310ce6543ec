//! Table 3's accuracy row: what INT8 up to a point loses against FP32 throughout, at every point of
//! trained networks.
//!
//! Networks and images come from a manifest, a JSON file with these keys (others are left alone):
//! `models`, each with `name`, `file` (ONNX), `preprocess` (as `seam quantize --preprocess` takes
//! it), `label_offset` and `eval`, a list of `set` and `labels` (a file of rows file,label in the
//! set's folder); `image_sets`, each with `name` and `path`. Paths count from the manifest's folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use seam_compiler::{Engine, Inputs, Method};
use seam_runtime::graph::Point;
use seam_runtime::{Model, Preprocess, writer};
use serde::Deserialize;

use crate::images::{self, Item};
use crate::table::Table;
use crate::{eval, quantize};

/// Options of `seam paper` that concern accuracy.
#[derive(clap::Args)]
pub(crate) struct Evaluation {
    /// Also evaluates trained networks at every point: a manifest of networks and images (see
    /// docs/paper.md)
    #[arg(long, value_name = "MANIFEST.json", requires_all = ["on", "calibrate_on"])]
    accuracy: Option<PathBuf>,
    /// The manifest's networks to evaluate, separated by commas
    #[arg(
        long,
        value_name = "NET",
        value_delimiter = ',',
        default_value = "resnet18_layer3_coarse8,alexnet_trunk_coarse8,googlenet_bn_pruned",
        requires = "accuracy"
    )]
    trained: Vec<String>,
    /// The manifest's labelled images to evaluate on
    #[arg(long, value_name = "SET", requires = "accuracy")]
    on: Option<String>,
    /// The manifest's images to calibrate on
    #[arg(long, value_name = "SET", requires = "accuracy")]
    calibrate_on: Option<String>,
    /// Most images to evaluate on
    #[arg(long, value_name = "N", requires = "accuracy")]
    limit: Option<usize>,
}

/// Images that calibrate at most.
const CALIBRATION: usize = 100;

#[derive(Deserialize)]
struct Manifest {
    models: Vec<Trained>,
    image_sets: Vec<ImageSet>,
}

#[derive(Deserialize)]
struct Trained {
    name: String,
    file: PathBuf,
    preprocess: serde_json::Value,
    #[serde(default)]
    label_offset: usize,
    #[serde(default)]
    eval: Vec<Labels>,
}

#[derive(Deserialize)]
struct Labels {
    set: String,
    labels: PathBuf,
}

#[derive(Deserialize)]
struct ImageSet {
    name: String,
    path: PathBuf,
}

impl Evaluation {
    /// There is something to evaluate.
    pub(crate) fn is_asked(&self) -> bool {
        self.accuracy.is_some()
    }
}

/// Evaluates every network at every point.
///
/// # Errors
/// The manifest cannot be read or lacks what is asked for, or a network cannot be quantized.
pub(crate) fn table(args: &Evaluation) -> Result<Table> {
    let (Some(path), Some(on), Some(calibrate_on)) = (&args.accuracy, &args.on, &args.calibrate_on)
    else {
        bail!("--accuracy needs --on and --calibrate-on");
    };
    let text = std::fs::read(path)
        .with_context(|| format!("cannot read the manifest {}", path.display()))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no manifest", path.display()))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let set = |name: &str| {
        let set = manifest.image_sets.iter().find(|set| set.name == name);
        let names = || manifest.image_sets.iter().map(|s| s.name.as_str()).collect::<Vec<_>>();
        let set = set.with_context(|| format!("no images {name}: use {}", names().join(", ")))?;
        Ok::<_, anyhow::Error>(base.join(&set.path))
    };
    let (images, calibration) = (set(on)?, images::list(&set(calibrate_on)?, None)?);
    let calibration = &calibration[..calibration.len().min(CALIBRATION)];
    let header =
        ["network", "point", "FP32 top-1 %", "INT8 top-1 %", "drop", "agreement %", "SQNR dB"];
    let mut table =
        Table::new("accuracy", "Table 3, accuracy: trained networks at every point", &header);
    let mut count = 0;
    for name in &args.trained {
        let trained = manifest.models.iter().find(|model| model.name == *name);
        let names = || manifest.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>();
        let trained =
            trained.with_context(|| format!("no network {name}: use {}", names().join(", ")))?;
        let labels = trained.eval.iter().find(|labels| labels.set == *on);
        let labels = labels.with_context(|| format!("{name} has no labels for {on}"))?;
        let mut items = images::list(&images, Some(&images.join(&labels.labels)))?;
        items.truncate(args.limit.unwrap_or(usize::MAX));
        count = items.len();
        let (model, engine) = quantized(trained, &base.join(&trained.file), calibration)?;
        let graph = model.graph();
        let points: Vec<Point> = graph.points().filter(|point| *point != Point::Input).collect();
        let scores = eval::evaluate(&model, &engine, &points, &items, trained.label_offset)?;
        for (point, score) in points.iter().zip(&scores) {
            let [fp32, int8] = [score.fp32[0], score.int8[0]].map(|hits| score.percent(hits));
            table.row([
                name.clone(),
                graph.point_name(*point).into(),
                format!("{fp32:.2}"),
                format!("{int8:.2}"),
                format!("{:.2}", fp32 - int8),
                format!("{:.2}", score.percent(score.agree)),
                format!("{:.1}", score.sqnr()),
            ]);
        }
    }
    let error = 100.0 * (0.25 / count.max(1) as f64).sqrt();
    table.note(format!(
        "{count} images of {on}, calibrated on {} of {calibrate_on}; the standard error of a top-1 \
         is up to {error:.1} points, that of a drop less, since both run on the same images",
        calibration.len()
    ));
    Ok(table)
}

/// The network as `seam quantize` makes it, and its FP32 engine.
fn quantized(trained: &Trained, onnx: &Path, calibration: &[Item]) -> Result<(Arc<Model>, Engine)> {
    let mut network = seam_compiler::import(onnx)?;
    let preprocess = Preprocess::from_json(&trained.preprocess)
        .with_context(|| format!("preprocess of {}", trained.name))?;
    let shape = network.input_shape();
    let input = |i: usize| {
        Ok(preprocess.to_f32(&images::pixels(&calibration[i].path, &preprocess, shape)?))
    };
    let inputs = Inputs { count: calibration.len(), at: &input };
    let options = seam_compiler::Options {
        name: trained.name.clone(),
        preprocess: preprocess.clone(),
        keep_float: Vec::new(),
    };
    let (graph, data) = quantize::quantized(&mut network, &inputs, Method::MinMax, true, &options)?;
    let folder = tempfile::tempdir().context("no directory for temporary files: set TMPDIR")?;
    let seam = folder.path().join("network.seam");
    writer::write(&seam, &graph, &data)?;
    // Mapped: the folder may go.
    let model = Arc::new(Model::open(&seam)?);
    let engine = Engine::new(&network, model.graph())?;
    Ok((model, engine))
}
