use crate::{Clamp, PoolGeometry, Shape, View, Window};

/// The taps of the window at (`oy`, `ox`) that fall on the image, as pixel numbers.
fn taps(window: &Window, input: Shape, at: [usize; 2]) -> Vec<usize> {
    let mut pixels = Vec::new();
    for ky in 0..window.kernel[0] {
        for kx in 0..window.kernel[1] {
            if let Some([y, x]) = window.tap(input, at, [ky, kx]) {
                pixels.push(y * input.w + x);
            }
        }
    }
    pixels
}

/// Max pooling; dense NHWC.
pub fn max_pool(geometry: &PoolGeometry, x: View) -> Vec<u8> {
    let mut y = Vec::with_capacity(geometry.output.len());
    for oy in 0..geometry.output.h {
        for ox in 0..geometry.output.w {
            let taps = taps(&geometry.window, geometry.input, [oy, ox]);
            for c in 0..geometry.output.c {
                y.push(taps.iter().map(|&i| x.pixel(i)[c]).max().unwrap_or(0));
            }
        }
    }
    y
}

/// `rne(clamp(f32(acc) * (sx / (sy * count)), lo - zy, hi - zy)) + zy`.
fn mean(acc: i32, count: usize, input_scale: f32, output_scale: f32, clamp: Clamp) -> u8 {
    let zero = i32::from(clamp.zero_point);
    let multiplier = input_scale / (output_scale * count as f32);
    let lo = (i32::from(clamp.lo) - zero) as f32;
    let hi = (i32::from(clamp.hi) - zero) as f32;
    let v = (acc as f32 * multiplier).clamp(lo, hi);
    (v.round_ties_even() as i32 + zero) as u8
}

/// Average pooling; dense NHWC.
pub fn average_pool(
    geometry: &PoolGeometry,
    count_include_pad: bool,
    (input_scale, input_zero_point): (f32, u8),
    output_scale: f32,
    clamp: Clamp,
    x: View,
) -> Vec<u8> {
    let mut y = Vec::with_capacity(geometry.output.len());
    for oy in 0..geometry.output.h {
        for ox in 0..geometry.output.w {
            let taps = taps(&geometry.window, geometry.input, [oy, ox]);
            let count = if count_include_pad { geometry.window.taps() } else { taps.len().max(1) };
            for c in 0..geometry.output.c {
                let code = |&i: &usize| i32::from(x.pixel(i)[c]) - i32::from(input_zero_point);
                let acc = taps.iter().map(code).sum();
                y.push(mean(acc, count, input_scale, output_scale, clamp));
            }
        }
    }
    y
}

/// Global average pooling; one code per channel.
pub fn global_average_pool(
    (input_scale, input_zero_point): (f32, u8),
    output_scale: f32,
    clamp: Clamp,
    x: View,
) -> Vec<u8> {
    let pixels = x.shape().pixels();
    let code = |i, c: usize| i32::from(x.pixel(i)[c]) - i32::from(input_zero_point);
    (0..x.shape().c)
        .map(|c| {
            let acc = (0..pixels).map(|i| code(i, c)).sum();
            mean(acc, pixels, input_scale, output_scale, clamp)
        })
        .collect()
}
