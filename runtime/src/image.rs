//! Decoding of JPEG and PNG files, with Pillow's conversions of pixel formats.

use std::path::Path;

use ::image::{DynamicImage, ImageReader};

use crate::error::{Error, Result};
use crate::preprocess::Pixels;

/// Most pixels of an image.
const MAX_PIXELS: u64 = 1 << 28;

/// Decodes the image at `path` to luma or RGB bytes. Alpha is dropped, a palette looked up; of
/// 16-bit colour the high byte counts, and 16-bit luma is cut at 255: what Pillow's `convert`
/// gives.
///
/// # Errors
/// [`Error::Io`] or [`Error::Image`], naming the file.
pub fn load(path: &Path) -> Result<Pixels> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    decode(&bytes).map_err(|cause| Error::Image { path: path.to_path_buf(), cause })
}

/// The same for a file in memory.
///
/// # Errors
/// What is wrong with the image.
pub fn decode(bytes: &[u8]) -> Result<Pixels, String> {
    let mut reader = ImageReader::new(std::io::Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| e.to_string())?;
    if reader.format().is_none() {
        return Err("neither JPEG nor PNG".into());
    }
    let mut limits = ::image::Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(1 << 16), Some(1 << 16));
    limits.max_alloc = Some(MAX_PIXELS * 8);
    reader.limits(limits);
    let image = reader.decode().map_err(|e| e.to_string())?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (channels, data) = match image {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => (1, image.pixels().map(|p| p.0[0]).collect()),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageLuma16(image) => {
            (1, image.pixels().map(|p| p.0[0].min(255) as u8).collect())
        }
        DynamicImage::ImageLumaA16(image) => (1, image.pixels().map(|p| high(p.0[0])).collect()),
        DynamicImage::ImageRgb16(image) => (3, image.into_raw().into_iter().map(high).collect()),
        DynamicImage::ImageRgba16(image) => {
            (3, image.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]].map(high)).collect())
        }
        DynamicImage::ImageRgba8(image) => {
            (3, image.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]).collect())
        }
        other => return Err(format!("pixels of kind {:?}: save it with 8 bits", other.color())),
    };
    Pixels::new(height, width, channels, data).map_err(|e| e.to_string())
}

fn high(value: u16) -> u8 {
    (value >> 8) as u8
}
