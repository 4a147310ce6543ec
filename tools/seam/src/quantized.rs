//! From a network to a `.seam` file and the FP32 network beside it.

use std::path::Path;
use std::sync::Arc;

use seam_compiler::{Inputs, Method, Network};
use seam_runtime::preprocess::{Pixels, Preprocess};
use seam_runtime::{Model, writer};

use crate::stages::Stage;

/// A quantized network, its files in the cloud host's model directory.
pub(crate) struct Quantized {
    /// The edge's program.
    pub(crate) model: Arc<Model>,
    /// Bytes of the folded FP32 network.
    pub(crate) fp32_bytes: u64,
}

impl Quantized {
    /// Calibrates `network` on `images`, quantizes it and writes `NAME.seam` and `NAME.onnx` into
    /// the directory `models`.
    ///
    /// # Errors
    /// The edge cannot run the network's first layer, or a file cannot be written.
    pub(crate) fn new(
        name: &str,
        network: &Network,
        preprocess: Preprocess,
        images: &[Pixels],
        models: &Path,
        stage: &Stage<'_>,
    ) -> anyhow::Result<Quantized> {
        let [seam, fp32] = ["seam", "onnx"].map(|kind| models.join(name).with_extension(kind));
        let model = compile(name, network, preprocess, images, &seam, stage)?;
        network.save(&fp32)?;
        let fp32_bytes = std::fs::metadata(&fp32)?.len();
        Ok(Quantized { model, fp32_bytes })
    }
}

/// Calibrates `network` on `images`, quantizes it to the file `seam` and opens that.
///
/// # Errors
/// As [`Quantized::new`].
pub(crate) fn compile(
    name: &str,
    network: &Network,
    preprocess: Preprocess,
    images: &[Pixels],
    seam: &Path,
    stage: &Stage<'_>,
) -> anyhow::Result<Arc<Model>> {
    let shape = network.input_shape();
    let input = |i: usize| Ok(preprocess.to_f32(&preprocess.pixels(&images[i], shape)?));
    let inputs = Inputs { count: images.len(), at: &input };
    let calibration = seam_compiler::calibrate(network, &inputs, Method::MinMax, &|done, of| {
        stage.count(done, of);
    })?;
    let options = seam_compiler::Options { name: name.into(), preprocess, keep_float: Vec::new() };
    let (graph, data) = seam_compiler::compile(network, &calibration, &options)?;
    writer::write(seam, &graph, &data)?;
    Ok(Arc::new(Model::open(seam)?))
}
