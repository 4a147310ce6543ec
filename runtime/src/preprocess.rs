//! From an image to the input tensor's codes: crop and resize, then one 256-entry table a channel.
//!
//! The textual form is a list of rules: `center-crop:227,resize:128x128,short-side:256` in any
//! number and in the order in which they apply, `channels:RGB|BGR|GRAY`, `scale:0.0078`,
//! `mean:1:1:1`, `std:1:1:1`. What is not given stays out: no geometry, RGB, scale 1, mean 0,
//! std 1. The JSON form has the keys `center_crop`, `resize`, `short_side`, `channels`, `scale`,
//! `mean`, `std`; the crop comes first there, and 0 stands for none.

use std::fmt;
use std::str::FromStr;

use seam_kernels::Shape;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::resize;

/// Largest height or width that a rule may name.
pub const MAX_SIDE: u32 = 65_535;
/// Most crops and resizes.
pub const MAX_RULES: usize = 16;

/// How an image becomes the network's input: geometry in the order given, then
/// `(pixel * scale - mean) / std` per channel of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// Crops and resizes, in order.
    pub geometry: Vec<Geometry>,
    /// What the network's channels are.
    pub channels: Channels,
    /// Multiplies every pixel (0..=255).
    pub scale: f32,
    /// One per channel of the network.
    pub mean: Vec<f32>,
    /// One per channel of the network; not zero.
    pub std: Vec<f32>,
}

/// One crop or resize (Pillow's antialiased bilinear).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// The middle `height`×`width` pixels; offsets are rounded down.
    CenterCrop {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
    /// To `height`×`width`, whatever the aspect.
    Resize {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
    /// The short side to this many pixels, the aspect kept (the long side is rounded down).
    ShortSide(u32),
}

/// The channels of a network's input, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Luma, as Pillow's `L`.
    Gray,
}

/// A decoded image: rows of pixels of `channels` bytes without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// 1 (luma) or 3 (red, green, blue).
    pub channels: usize,
    /// `height * width * channels` bytes.
    pub data: Vec<u8>,
}

/// One table per channel of the network: from a pixel's byte to the input tensor's code.
pub type Tables = Vec<[u8; 256]>;

impl Preprocess {
    /// No geometry, no normalization.
    pub fn new(channels: Channels) -> Preprocess {
        let count = channels.count();
        Preprocess {
            geometry: Vec::new(),
            channels,
            scale: 1.0,
            mean: vec![0.0; count],
            std: vec![1.0; count],
        }
    }

    /// Reads a specification: the name of a file that holds one, a JSON object, or the textual
    /// form.
    ///
    /// # Errors
    /// [`Error::Preprocess`] with the rule that is wrong; [`Error::Io`] for a file that cannot be
    /// read.
    pub fn from_argument(argument: &str) -> Result<Preprocess> {
        let path = std::path::Path::new(argument);
        match path.is_file() {
            true => {
                let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
                text.parse().map_err(|e: Error| e.in_file(path))
            }
            false => argument.parse(),
        }
    }

    /// Reads the JSON form; keys that it does not know are left alone.
    ///
    /// # Errors
    /// [`Error::Preprocess`] with the key that is wrong.
    pub fn from_json(json: &Value) -> Result<Preprocess> {
        let object = json.as_object().ok_or_else(|| wrong("a JSON object is expected"))?;
        let mut rules = Vec::new();
        for key in ["center_crop", "resize", "short_side"] {
            let text = match object.get(key) {
                None | Some(Value::Null) => continue,
                Some(Value::Number(n)) if n.as_f64() == Some(0.0) => continue,
                Some(Value::Number(n)) => n.to_string(),
                Some(Value::String(s)) => s.clone(),
                Some(Value::Array(sides)) => {
                    sides.iter().map(Value::to_string).collect::<Vec<_>>().join("x")
                }
                Some(other) => return Err(wrong(format!("{key}: {other} is no size"))),
            };
            rules.push((key.replace('_', "-"), text));
        }
        if let Some(value) = object.get("channels") {
            let text = value.as_str().ok_or_else(|| wrong(format!("channels: {value}")))?;
            rules.push(("channels".into(), text.to_string()));
        }
        for key in ["scale", "mean", "std"] {
            let text = match object.get(key) {
                None | Some(Value::Null) => continue,
                Some(Value::Array(values)) => {
                    values.iter().map(Value::to_string).collect::<Vec<_>>().join(":")
                }
                Some(value) => value.to_string(),
            };
            rules.push((key.into(), text));
        }
        from_rules(rules.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The JSON form, where the order of the rules is that of the JSON form (crop, then resize).
    pub fn to_json(&self) -> Value {
        let mut json = serde_json::Map::new();
        for rule in &self.geometry {
            let (key, [h, w]) = match *rule {
                Geometry::CenterCrop { height, width } => ("center_crop", [height, width]),
                Geometry::Resize { height, width } => ("resize", [height, width]),
                Geometry::ShortSide(side) => ("short_side", [side, side]),
            };
            json.insert(key.into(), if h == w { h.into() } else { size_text(h, w).into() });
        }
        json.insert("channels".into(), self.channels.name().into());
        json.insert("scale".into(), self.scale.into());
        json.insert("mean".into(), self.mean.clone().into());
        json.insert("std".into(), self.std.clone().into());
        Value::Object(json)
    }

    /// Checks counts and ranges.
    ///
    /// # Errors
    /// [`Error::Preprocess`].
    pub fn validate(&self) -> Result<()> {
        if self.geometry.len() > MAX_RULES {
            return Err(wrong(format!("more than {MAX_RULES} crops and resizes")));
        }
        for rule in &self.geometry {
            let sides = match *rule {
                Geometry::CenterCrop { height, width } | Geometry::Resize { height, width } => {
                    [height, width]
                }
                Geometry::ShortSide(side) => [side; 2],
            };
            if !sides.iter().all(|n| (1..=MAX_SIDE).contains(n)) {
                return Err(wrong(format!("{rule}: sides are 1 to {MAX_SIDE}")));
            }
        }
        let count = self.channels.count();
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != count {
                let (found, channels) = (values.len(), self.channels.name());
                return Err(wrong(format!("{name} has {found} values, {channels} needs {count}")));
            }
            if !values.iter().all(|v| v.is_finite()) {
                return Err(wrong(format!("{name}: every value must be finite")));
            }
        }
        if self.std.contains(&0.0) {
            return Err(wrong("std: 0 divides nothing"));
        }
        match self.scale.is_finite() && self.scale != 0.0 {
            true => Ok(()),
            false => Err(wrong(format!("scale: {} is not a finite number but 0", self.scale))),
        }
    }

    /// Height and width after the last rule, where they do not depend on the image.
    pub fn fixed_size(&self) -> Option<[u32; 2]> {
        match *self.geometry.last()? {
            Geometry::CenterCrop { height, width } | Geometry::Resize { height, width } => {
                Some([height, width])
            }
            Geometry::ShortSide(_) => None,
        }
    }

    /// The image in the network's size and channel order: rows of pixels, what crosses the uplink
    /// at the point `input`. A luma image serves a colour network (three equal channels) and a
    /// colour image a luma network.
    ///
    /// # Errors
    /// The image is too small for a crop ([`Error::Crop`]), or comes out in another size than
    /// `input` ([`Error::ImageSize`]).
    pub fn pixels(&self, image: &Pixels, input: Shape) -> Result<Vec<u8>> {
        let (image, mut channels) = match self.channels {
            Channels::Gray if image.channels == 3 => (luma(image), Channels::Gray),
            _ => (image.clone(), self.channels),
        };
        let image = self.geometry.iter().try_fold(image, |image, rule| rule.apply(image))?;
        if [image.height, image.width] != [input.h, input.w] {
            return Err(Error::ImageSize {
                found: format!("{}x{}", image.height, image.width),
                expected: format!("{}x{}", input.h, input.w),
            });
        }
        if image.channels == 1 && channels != Channels::Gray {
            return Ok(image.data.iter().flat_map(|&v| [v; 3]).collect());
        }
        let mut data = image.data;
        if channels == Channels::Bgr {
            data.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
            channels = Channels::Rgb;
        }
        debug_assert_eq!(data.len(), input.h * input.w * channels.count());
        Ok(data)
    }

    /// The normalized value of byte `pixel` in channel `channel`: f32, in the order of operations
    /// of `(pixel * scale - mean) / std`.
    pub fn normalized(&self, channel: usize, pixel: u8) -> f32 {
        (f32::from(pixel) * self.scale - self.mean[channel]) / self.std[channel]
    }

    /// From a pixel's byte to the code of an input tensor with this scale and zero point, as
    /// ONNX `QuantizeLinear` rounds.
    pub fn tables(&self, scale: f32, zero_point: u8) -> Tables {
        let zero = f32::from(zero_point);
        let code = |channel, pixel| {
            let q = self.normalized(channel, pixel) / scale;
            (q.clamp(-zero, 255.0 - zero).round_ties_even() + zero) as u8
        };
        let table = |channel| std::array::from_fn(|pixel| code(channel, pixel as u8));
        (0..self.channels.count()).map(table).collect()
    }

    /// The network's f32 input, NCHW, of `pixels` as [`Preprocess::pixels`] makes them.
    pub fn to_f32(&self, pixels: &[u8]) -> Vec<f32> {
        let count = self.channels.count();
        let plane = |channel: usize| {
            let pixels = pixels.iter().skip(channel).step_by(count);
            pixels.map(move |&pixel| self.normalized(channel, pixel))
        };
        (0..count).flat_map(plane).collect()
    }
}

/// The codes of `pixels` (rows of pixels of `tables.len()` channels).
///
/// # Panics
/// `codes` and `pixels` differ in length.
pub fn codes(tables: &Tables, pixels: &[u8], codes: &mut [u8]) {
    assert_eq!(pixels.len(), codes.len());
    let pixels = pixels.chunks_exact(tables.len()).zip(codes.chunks_exact_mut(tables.len()));
    for (pixel, code) in pixels {
        for ((code, &byte), table) in code.iter_mut().zip(pixel).zip(tables) {
            *code = table[usize::from(byte)];
        }
    }
}

impl Channels {
    /// How many there are.
    pub const fn count(self) -> usize {
        match self {
            Channels::Rgb | Channels::Bgr => 3,
            Channels::Gray => 1,
        }
    }

    /// `RGB`, `BGR` or `GRAY`.
    pub const fn name(self) -> &'static str {
        match self {
            Channels::Rgb => "RGB",
            Channels::Bgr => "BGR",
            Channels::Gray => "GRAY",
        }
    }
}

impl Geometry {
    fn apply(self, image: Pixels) -> Result<Pixels> {
        match self {
            Geometry::CenterCrop { height, width } => {
                center_crop(&image, height as usize, width as usize)
            }
            Geometry::Resize { height, width } => {
                Ok(resize::bilinear(&image, height as usize, width as usize))
            }
            Geometry::ShortSide(side) => {
                let side = side as usize;
                let long = |long: usize, short: usize| side * long / short;
                let (h, w) = (image.height, image.width);
                let (height, width) = if h <= w { (side, long(w, h)) } else { (long(h, w), side) };
                Ok(resize::bilinear(&image, height, width))
            }
        }
    }
}

impl Pixels {
    /// An image of `height` rows of `width` pixels of `channels` (1 or 3) bytes.
    ///
    /// # Errors
    /// [`Error::Preprocess`]: a side is 0, or `data` has another length.
    pub fn new(height: usize, width: usize, channels: usize, data: Vec<u8>) -> Result<Pixels> {
        let len = height.checked_mul(width).and_then(|n| n.checked_mul(channels));
        if len != Some(data.len()) || data.is_empty() || !matches!(channels, 1 | 3) {
            let found = data.len();
            return Err(wrong(format!("{found} bytes are no {height}x{width}x{channels} image")));
        }
        Ok(Pixels { height, width, channels, data })
    }
}

fn center_crop(image: &Pixels, height: usize, width: usize) -> Result<Pixels> {
    if height > image.height || width > image.width {
        return Err(Error::Crop {
            found: format!("{}x{}", image.height, image.width),
            crop: format!("{height}x{width}"),
        });
    }
    let (top, left) = ((image.height - height) / 2, (image.width - width) / 2);
    let (row, c) = (image.width * image.channels, image.channels);
    let rows = image.data.chunks_exact(row).skip(top).take(height);
    let data = rows.flat_map(|row| &row[left * c..][..width * c]).copied().collect();
    Ok(Pixels { height, width, channels: c, data })
}

/// Pillow's `convert("L")`: ITU-R 601 luma in 16-bit fixed point.
fn luma(image: &Pixels) -> Pixels {
    let weigh = |p: &[u8]| {
        let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
        ((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8
    };
    let data = image.data.chunks_exact(3).map(weigh).collect();
    Pixels { height: image.height, width: image.width, channels: 1, data }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Geometry::CenterCrop { height, width } => {
                write!(f, "center-crop:{}", size_text(height, width))
            }
            Geometry::Resize { height, width } => write!(f, "resize:{}", size_text(height, width)),
            Geometry::ShortSide(side) => write!(f, "short-side:{side}"),
        }
    }
}

fn size_text(height: u32, width: u32) -> String {
    if height == width { height.to_string() } else { format!("{height}x{width}") }
}

impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.geometry.iter().try_for_each(|rule| write!(f, "{rule},"))?;
        write!(f, "channels:{},scale:{}", self.channels.name(), self.scale)?;
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            write!(f, ",{name}")?;
            values.iter().try_for_each(|v| write!(f, ":{v}"))?;
        }
        Ok(())
    }
}

impl FromStr for Preprocess {
    type Err = Error;

    /// The textual form, or a JSON object.
    fn from_str(text: &str) -> Result<Preprocess> {
        let text = text.trim();
        if text.starts_with('{') {
            let json = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
            return Preprocess::from_json(&json);
        }
        let rules = text.split([',', '\n']).map(str::trim).filter(|rule| !rule.is_empty());
        let rules = rules.map(|rule| {
            let (name, value) = rule.split_once(':').unwrap_or((rule, ""));
            (name.trim(), value.trim())
        });
        from_rules(rules)
    }
}

fn from_rules<'a>(rules: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Preprocess> {
    let mut geometry = Vec::new();
    let (mut channels, mut scale, mut mean, mut std) = (None, None, None, None);
    let once = |given: bool, name: &str| match given {
        true => Err(wrong(format!("{name} is given twice"))),
        false => Ok(()),
    };
    for (name, value) in rules {
        match name {
            "center-crop" | "centre-crop" => {
                let [height, width] = size(name, value)?;
                geometry.push(Geometry::CenterCrop { height, width });
            }
            "resize" => {
                let [height, width] = size(name, value)?;
                geometry.push(Geometry::Resize { height, width });
            }
            "short-side" => geometry.push(Geometry::ShortSide(side(name, value)?)),
            "channels" => {
                once(channels.is_some(), name)?;
                channels = Some(match value.to_ascii_uppercase().as_str() {
                    "RGB" => Channels::Rgb,
                    "BGR" => Channels::Bgr,
                    "GRAY" | "GREY" | "L" => Channels::Gray,
                    _ => return Err(wrong(format!("channels:{value}: use RGB, BGR or GRAY"))),
                });
            }
            "scale" => {
                once(scale.is_some(), name)?;
                scale = Some(number(name, value)?);
            }
            "mean" => {
                once(mean.is_some(), name)?;
                mean = Some(numbers(name, value)?);
            }
            "std" => {
                once(std.is_some(), name)?;
                std = Some(numbers(name, value)?);
            }
            _ => {
                return Err(wrong(format!(
                    "no rule `{name}`: use center-crop, resize, short-side, channels, scale, mean, std"
                )));
            }
        }
    }
    let channels = channels.unwrap_or(Channels::Rgb);
    // One value stands for every channel.
    let spread = |values: Option<Vec<f32>>, none: f32| match values {
        None => vec![none; channels.count()],
        Some(one) if one.len() == 1 => vec![one[0]; channels.count()],
        Some(values) => values,
    };
    let (mean, std) = (spread(mean, 0.0), spread(std, 1.0));
    let preprocess = Preprocess { geometry, channels, scale: scale.unwrap_or(1.0), mean, std };
    preprocess.validate()?;
    Ok(preprocess)
}

fn side(name: &str, value: &str) -> Result<u32> {
    match value.parse() {
        Ok(n) if (1..=MAX_SIDE).contains(&n) => Ok(n),
        _ => Err(wrong(format!("{name}:{value}: a side is 1 to {MAX_SIDE} pixels"))),
    }
}

/// `N` (a square) or `HxW`.
fn size(name: &str, value: &str) -> Result<[u32; 2]> {
    let (height, width) = value.split_once('x').unwrap_or((value, value));
    Ok([side(name, height)?, side(name, width)?])
}

fn number(name: &str, value: &str) -> Result<f32> {
    value.parse().map_err(|_| wrong(format!("{name}:{value}: not a number")))
}

fn numbers(name: &str, values: &str) -> Result<Vec<f32>> {
    values.split(':').map(|value| number(name, value.trim())).collect()
}

fn wrong(cause: impl Into<String>) -> Error {
    Error::Preprocess(cause.into())
}
