//! Bilinear resize with antialiasing, bit for bit as Pillow's `Image.resize(…, BILINEAR)` of 8-bit
//! images: networks were trained and their accuracy stated on pixels made by it.
//!
//! Two passes, along rows first as in every Pillow up to 12 (Pillow 13 turns the order round for
//! some images that are much higher than wide or become wider and lower; a byte there can differ
//! by one), each a weighted sum in 22-bit fixed point, rounded back to 8 bits. A
//! weight is a triangle as wide as the reduction (at least two pixels), computed in f64, normalized
//! to sum 1, then rounded half away from zero to the fixed point.

use crate::preprocess::Pixels;

/// Bits behind the point: 32, less 8 of the pixel, less 2 of headroom.
const FRACTION: u32 = 22;

/// The weights of one output position: those of the input positions from `first` on.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// `image` in `height`×`width`; a pass that changes nothing is left out.
pub(crate) fn bilinear(image: &Pixels, height: usize, width: usize) -> Pixels {
    let c = image.channels;
    let mut data = image.data.clone();
    if width != image.width {
        let taps = taps(image.width, width);
        let row_len = image.width * c;
        let mut rows = Vec::with_capacity(image.height * width * c);
        for row in data.chunks_exact(row_len) {
            for t in &taps {
                rows.extend(
                    (0..c).map(|channel| sum(t, row.iter().skip(t.first * c + channel).step_by(c))),
                );
            }
        }
        data = rows;
    }
    if height != image.height {
        let row_len = width * c;
        let mut columns = Vec::with_capacity(height * row_len);
        for t in &taps(image.height, height) {
            columns.extend((0..row_len).map(|column| {
                sum(t, data.iter().skip(t.first * row_len + column).step_by(row_len))
            }));
        }
        data = columns;
    }
    Pixels { height, width, channels: c, data }
}

fn sum<'a>(taps: &Taps, values: impl Iterator<Item = &'a u8>) -> u8 {
    let products = taps.weights.iter().zip(values).map(|(&w, &v)| w * i32::from(v));
    let sum = products.fold(1 << (FRACTION - 1), i32::wrapping_add);
    (sum >> FRACTION).clamp(0, 255) as u8
}

fn taps(input: usize, output: usize) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let support = scale.max(1.0);
    let position = |o: usize| {
        let center = (o as f64 + 0.5) * scale;
        // Truncation towards zero, as a C cast does.
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(input);
        let triangle = |i: usize| {
            let distance = ((i as f64 - center + 0.5) * (1.0 / support)).abs();
            (1.0 - distance).max(0.0)
        };
        let weights: Vec<f64> = (first..end).map(triangle).collect();
        let total: f64 = weights.iter().sum();
        let fixed = |w: f64| {
            let w = if total == 0.0 { w } else { w / total };
            (w * f64::from(1 << FRACTION) + 0.5) as i32
        };
        Taps { first, weights: weights.into_iter().map(fixed).collect() }
    };
    (0..output).map(position).collect()
}
