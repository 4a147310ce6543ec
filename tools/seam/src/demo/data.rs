//! What the demo carries with it: the network that `demo/train.py` trained, and its pictures.

use anyhow::{Context, ensure};
use seam_runtime::image;
use seam_runtime::preprocess::Pixels;
use serde::Deserialize;

/// The trained network, an ONNX file.
pub(crate) const NETWORK: &[u8] = include_bytes!("../../demo/shapes.onnx");
/// From a picture to the network's input, as the training script has it.
pub(crate) const PREPROCESS: &str =
    "channels:RGB,scale:0.00392156862745098,mean:0.5:0.5:0.5,std:0.25:0.25:0.25";

const TEST: &[u8] = include_bytes!("../../demo/test.jpg");
const CALIBRATION: &[u8] = include_bytes!("../../demo/calibration.jpg");
const ABOUT: &str = include_str!("../../demo/shapes.json");

/// Pictures and what they show.
pub(crate) struct Data {
    /// The classes' names, in the order of the logits.
    pub(crate) classes: Vec<String>,
    /// To calibrate with.
    pub(crate) calibration: Vec<Pixels>,
    /// Held out: neither trained nor calibrated with.
    pub(crate) test: Vec<Picture>,
}

/// A picture and what it shows.
pub(crate) struct Picture {
    pub(crate) pixels: Pixels,
    /// Index of its class.
    pub(crate) label: usize,
}

#[derive(Deserialize)]
struct About {
    classes: Vec<String>,
    size: usize,
    columns: usize,
    test: Vec<usize>,
    calibration: Vec<usize>,
}

impl Data {
    /// Unpacks what is embedded.
    ///
    /// # Errors
    /// The files do not fit together: they were not written by one run of the script.
    pub(crate) fn embedded() -> anyhow::Result<Data> {
        let about: About = serde_json::from_str(ABOUT).context("shapes.json of the demo")?;
        let calibration = about.tiles(CALIBRATION, about.calibration.len())?;
        let test = about.tiles(TEST, about.test.len())?;
        ensure!(
            about.test.iter().all(|&label| label < about.classes.len()),
            "a label of the demo's pictures names no class: run demo/train.py"
        );
        let test = test.into_iter().zip(about.test);
        let test = test.map(|(pixels, label)| Picture { pixels, label }).collect();
        Ok(Data { classes: about.classes, calibration, test })
    }
}

impl About {
    /// The first `count` tiles of a sheet, row by row.
    fn tiles(&self, sheet: &[u8], count: usize) -> anyhow::Result<Vec<Pixels>> {
        let sheet = image::decode(sheet).map_err(anyhow::Error::msg)?;
        let rows = count.div_ceil(self.columns);
        ensure!(
            (sheet.height, sheet.width) == (rows * self.size, self.columns * self.size),
            "a sheet of the demo's pictures is {}x{} pixels: run demo/train.py",
            sheet.height,
            sheet.width
        );
        let row_bytes = self.size * sheet.channels;
        let tile = |i: usize| {
            let (top, left) = (i / self.columns * self.size, i % self.columns);
            let rows = (top..top + self.size).flat_map(|row| {
                &sheet.data[(row * self.columns + left) * row_bytes..][..row_bytes]
            });
            Ok(Pixels::new(self.size, self.size, sheet.channels, rows.copied().collect())?)
        };
        (0..count).map(tile).collect()
    }
}
