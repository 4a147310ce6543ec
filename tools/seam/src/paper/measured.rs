//! Table 3 on this machine: the four networks quantized, tuned and profiled, their tails timed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use seam_compiler::Engine;
use seam_runtime::preprocess::{Pixels, Preprocess};
use seam_runtime::{Options, Pack, Session};
use seam_tuner::measure::{self, Effort};
use seam_tuner::profile::ModelRef;
use seam_tuner::{choose, profile::Times};

use super::cases::Case;
use super::outcome::{Jpeg, Measured, Outcome};
use crate::demo::data::Data;
use crate::nets;
use crate::quantized;
use crate::stages::Stages;

/// Of the JPEG baseline.
pub(crate) const JPEG_QUALITY: u8 = 90;
/// Images that calibrate: times do not depend on ranges.
const CALIBRATION: usize = 2;
/// Times that a JPEG is encoded and decoded.
const CODINGS: usize = 15;

/// The image of the JPEG baseline: the user's, or a picture of the demo.
///
/// # Errors
/// The file is no image.
pub(crate) fn picture(path: Option<&Path>) -> Result<Pixels> {
    match path {
        Some(path) => Ok(seam_runtime::image::load(path)?),
        None => {
            let first = Data::embedded()?.test.into_iter().next();
            Ok(first.context("the demo holds no picture: run demo/train.py")?.pixels)
        }
    }
}

/// Plans one network from this machine's own profiles; each takes at most `cap` beside what it
/// takes to run a few times.
///
/// # Errors
/// A session cannot be made, or a file not written.
pub(crate) fn outcome(
    case: &Case,
    board: &Options,
    cap: Duration,
    picture: &Pixels,
    stages: &Stages,
) -> Result<Outcome> {
    let net = (case.net)();
    let folder = tempfile::Builder::new().prefix("seam-paper-").tempdir();
    let folder = folder.context("no directory for temporary files: set TMPDIR")?;
    let file = |kind: &str| folder.path().join(net.name).with_extension(kind);

    let stage = stages.next(format!("{}: drawing weights, quantizing", net.name));
    let network = seam_compiler::import_model(net.onnx(), folder.path())?;
    let noise = nets::images(&net, CALIBRATION);
    let preprocess: Preprocess = nets::PREPROCESS.parse()?;
    let model = quantized::compile(net.name, &network, preprocess, &noise, &file("seam"), &stage)?;

    let stage = stages.next(format!("{}: tuning on the board", net.name));
    let effort = Effort { cap: cap / 4, ..Effort::default() };
    let won = choose::choose(&model, board, &effort, |part| stage.done(part))?;
    let choices: Vec<_> = won.into_iter().map(|won| won.choice).collect();
    Pack::write(&file("pack"), &model, board.isa, &choices)?;
    let options = Options { pack: Some(Pack::open(&file("pack"))?.into()), ..board.clone() };

    let stage = stages.next(format!("{}: profiling on the board", net.name));
    let mut session = Session::new(model.clone(), options)?;
    let effort = Effort { cap, ..Effort::default() };
    let edge = measure::profile(&mut session, &effort, |part| stage.done(part));
    drop(session);

    let stage = stages.next(format!("{}: timing tails in the cloud", net.name));
    let engine = Engine::new(&network, model.graph())?;
    drop(network);
    let name = ModelRef::new(net.name, &model.id());
    let effort = seam_cloud::profile::Effort { time: cap, ..Default::default() };
    let cloud =
        seam_cloud::profile::measure(&engine, name.clone(), &effort, &mut |part| stage.done(part))?;

    let mut outcome = Outcome::new(case, &net, &name, &edge, &cloud)?;
    outcome.measured = Some(Measured {
        prefix_bytes: model.prefix_len(model.point(outcome.best())?),
        papers_prefix_bytes: model.prefix_len(model.point(case.point)?),
        file_bytes: model.full_len(),
        jpeg: jpeg(picture, net.input.h)?,
    });
    Ok(outcome)
}

/// `picture` at `side`×`side` pixels as JPEG.
fn jpeg(picture: &Pixels, side: usize) -> Result<Jpeg> {
    let rules: Preprocess = format!("short-side:{side},center-crop:{side}").parse()?;
    let shape = seam_kernels::Shape::new(side, side, 3);
    let pixels = rules.pixels(picture, shape).context("--image needs a picture in colour")?;
    let encode = || -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        encoder.encode(&pixels, side as u32, side as u32, ExtendedColorType::Rgb8)?;
        Ok(bytes)
    };
    let bytes = encode()?;
    let encode_ns = median_ns(|| encode().map(drop))?;
    let decode = || seam_runtime::image::decode(&bytes).map(drop).map_err(anyhow::Error::msg);
    Ok(Jpeg { bytes: bytes.len() as u64, encode_ns, decode_ns: median_ns(decode)? })
}

fn median_ns(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut once = || {
        let start = Instant::now();
        run()?;
        Ok(start.elapsed().as_nanos() as u64)
    };
    let samples: Vec<u64> = (0..CODINGS).map(|_| once()).collect::<Result<_>>()?;
    Ok(Times::of(&samples).p50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jpeg_baseline_is_the_picture_in_the_networks_size() {
        let picture = picture(None).unwrap();
        let [small, large] = [112, 224].map(|side| jpeg(&picture, side).unwrap());
        assert!(small.bytes < large.bytes && large.bytes < 224 * 224 * 3, "{small:?} {large:?}");
        assert!(small.encode_ns > 0.0 && small.decode_ns > 0.0, "{small:?}");
        let error = picture_error("none.png");
        assert!(error.contains("none.png") && !error.contains('\n'), "{error}");
    }

    fn picture_error(path: &str) -> String {
        super::picture(Some(Path::new(path))).unwrap_err().to_string()
    }
}
