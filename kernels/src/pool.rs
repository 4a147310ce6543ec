//! Max, average and global average pooling.
//!
//! The output's shape says how many windows there are, so `ceil_mode` needs no mention here; taps
//! beyond the image's end count as padding. Padding never wins a maximum and adds nothing to a sum.
//!
//! # Average pooling and ONNX Runtime
//! A mean is the exact i32 sum of `x - zero_point` times one f32 scale, `sx / (sy * count)`,
//! rounded half to even before the zero point is added: the same two last steps as convolution,
//! independent of any order of summation. ONNX Runtime's `QLinearAveragePool` sums dequantized f32
//! values and adds the zero point before it rounds. The two differ by one code where the mean lies
//! half-way between two codes (or within f32 rounding of it) and nowhere else: 100 of the 5,941
//! golden outputs, 68 of them in the case made of ties with odd zero points, and none of 269,088
//! outputs with random scales. ONNX Runtime's `QLinearGlobalAveragePool` has the integer form, and
//! there the results are equal.

use std::ops::Range;

use crate::geometry::{Clamp, PoolGeometry, Window};
use crate::isa::Isa;
use crate::split;
use crate::stamp::{limit, round_code, stamped};
use crate::team::Team;
use crate::view::{Shape, View, ViewMut};

/// ONNX `MaxPool`: the largest code under every window; code 0 where a window covers only padding.
///
/// # Panics
/// The views' shapes are not the geometry's.
pub fn max(isa: Isa, geometry: &PoolGeometry, x: View, mut y: ViewMut, team: &Team) {
    check(geometry, &x, &y);
    let (stride, cost) = (y.pixel_stride(), geometry.window.taps() * y.shape().c);
    split::pixels(team, &mut y, cost, &|pixels, y| {
        max_pixels(isa, geometry, x.data(), x.pixel_stride(), pixels, y, stride);
    });
}

/// ONNX `AveragePool`.
#[derive(Clone, Debug)]
pub struct AveragePool {
    isa: Isa,
    geometry: PoolGeometry,
    count_include_pad: bool,
    mean: Mean,
}

impl AveragePool {
    /// Means of windows of codes `input_scale * (q - input_zero_point)`, as codes of `output_scale`
    /// and `clamp`. The divisor is the number of taps inside the image, or all of the window's
    /// with `count_include_pad`.
    pub fn new(
        isa: Isa,
        geometry: PoolGeometry,
        count_include_pad: bool,
        input_scale: f32,
        input_zero_point: u8,
        output_scale: f32,
        clamp: Clamp,
    ) -> AveragePool {
        let mean = Mean::new(input_scale, input_zero_point, output_scale, clamp);
        AveragePool { isa, geometry, count_include_pad, mean }
    }

    /// Pools `x` into `y`.
    ///
    /// # Panics
    /// The views' shapes are not the geometry's.
    pub fn run(&self, x: View, mut y: ViewMut, team: &Team) {
        check(&self.geometry, &x, &y);
        let (stride, cost) = (y.pixel_stride(), 2 * self.geometry.window.taps() * y.shape().c);
        split::pixels(team, &mut y, cost, &|pixels, y| {
            average_pixels(self.isa, self, x.data(), x.pixel_stride(), pixels, y, stride);
        });
    }
}

/// ONNX `GlobalAveragePool`: the mean of every channel, from any image to one pixel.
#[derive(Clone, Debug)]
pub struct GlobalAveragePool {
    isa: Isa,
    input: Shape,
    mean: Mean,
}

impl GlobalAveragePool {
    /// Means over images of shape `input`; scales and zero points as for [`AveragePool::new`].
    pub fn new(
        isa: Isa,
        input: Shape,
        input_scale: f32,
        input_zero_point: u8,
        output_scale: f32,
        clamp: Clamp,
    ) -> GlobalAveragePool {
        let mean = Mean::new(input_scale, input_zero_point, output_scale, clamp);
        GlobalAveragePool { isa, input, mean }
    }

    /// Pools `x` into the single pixel `y`.
    ///
    /// # Panics
    /// `x` is not of the shape given, or `y` not 1×1 with as many channels.
    pub fn run(&self, x: View, mut y: ViewMut, team: &Team) {
        assert_eq!(x.shape(), self.input);
        assert_eq!(y.shape(), Shape::new(1, 1, self.input.c));
        let channels = self.input.c;
        // Whole blocks of channels, so that no two threads share a cache line of `x` or `y`.
        let blocks = split::part(team, channels.div_ceil(BLOCK), 2 * BLOCK * self.input.pixels());
        let part = blocks * BLOCK;
        split::chunks(team, &mut y.data()[..channels], part, &|task, y| {
            let x_bytes = &x.data()[task * part..];
            global_channels(self.isa, self, x_bytes, x.pixel_stride(), y);
        });
    }
}

fn check(geometry: &PoolGeometry, x: &View, y: &ViewMut) {
    assert_eq!(x.shape(), geometry.input);
    assert_eq!(y.shape(), geometry.output);
    assert_eq!(x.shape().c, y.shape().c);
}

/// From an integer sum to the code of its mean.
#[derive(Clone, Debug)]
struct Mean {
    input_scale: f32,
    input_zero_point: i32,
    output_scale: f32,
    zero_point: i32,
    lo: f32,
    hi: f32,
}

impl Mean {
    fn new(input_scale: f32, input_zero_point: u8, output_scale: f32, clamp: Clamp) -> Mean {
        let zero_point = i32::from(clamp.zero_point);
        Mean {
            input_scale,
            input_zero_point: i32::from(input_zero_point),
            output_scale,
            zero_point,
            lo: (i32::from(clamp.lo) - zero_point) as f32,
            hi: (i32::from(clamp.hi) - zero_point) as f32,
        }
    }

    /// `count` may be 0, where a window covers only padding: the sum is 0 then, and so the mean.
    #[inline(always)]
    fn multiplier(&self, count: usize) -> f32 {
        self.input_scale / (self.output_scale * count.max(1) as f32)
    }

    /// The codes of the means of `sums`, each over `taps` codes.
    #[inline(always)]
    fn store(&self, sums: &[u32], taps: usize, multiplier: f32, y: &mut [u8]) {
        let zeros = taps as i32 * self.input_zero_point;
        for (y, &sum) in y.iter_mut().zip(sums) {
            let v = (sum as i32 - zeros) as f32 * multiplier;
            *y = round_code(limit(v, self.lo, self.hi), self.zero_point);
        }
    }
}

/// The taps of one window that fall on the image.
struct Taps {
    rows: Range<usize>,
    columns: Range<usize>,
    /// Byte offset of tap (0, 0), modulo 2^64 where it falls on padding.
    origin: usize,
    /// Bytes from one row of taps to the next.
    down: usize,
    /// Bytes from one tap of a row to the next.
    right: usize,
}

impl Taps {
    #[inline(always)]
    fn new(window: &Window, input: Shape, x_stride: usize, oy: usize, ox: usize) -> Taps {
        let rows = inside(window, 0, oy, input.h);
        let columns = inside(window, 1, ox, input.w);
        let y = (oy * window.stride[0]).wrapping_sub(window.pad[0]);
        let x = (ox * window.stride[1]).wrapping_sub(window.pad[1]);
        Taps {
            rows,
            columns,
            origin: y.wrapping_mul(input.w).wrapping_add(x).wrapping_mul(x_stride),
            down: window.dilation[0] * input.w * x_stride,
            right: window.dilation[1] * x_stride,
        }
    }

    fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Calls `f` with the byte offset of every tap.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize)) {
        for ky in self.rows.clone() {
            let row = self.origin.wrapping_add(ky * self.down);
            for kx in self.columns.clone() {
                f(row.wrapping_add(kx * self.right));
            }
        }
    }
}

/// The taps along one axis that fall on the image at output position `o`.
#[inline(always)]
fn inside(window: &Window, axis: usize, o: usize, size: usize) -> Range<usize> {
    let (dilation, pad) = (window.dilation[axis], window.pad[axis]);
    let start = o * window.stride[axis];
    let first = pad.saturating_sub(start).div_ceil(dilation);
    let end = (size + pad).saturating_sub(start).div_ceil(dilation).min(window.kernel[axis]);
    first.min(end)..end
}

/// Channels that one pass over the taps takes at once: two AVX2 registers of bytes.
const BLOCK: usize = 64;

/// Covers `0..channels` with blocks of a fixed width; the last ones may overlap, which is harmless
/// since every block computes its outputs from the inputs alone.
macro_rules! each_block {
    ($channels:expr, |$c:ident, $n:ident| $body:block) => {{
        let channels: usize = $channels;
        let mut $c = 0;
        while channels - $c >= 64 {
            const $n: usize = 64;
            $body
            $c += $n;
        }
        while $c < channels {
            if channels >= 32 {
                const $n: usize = 32;
                $c = $c.min(channels - $n);
                $body
                $c += $n;
            } else if channels >= 8 {
                const $n: usize = 8;
                $c = $c.min(channels - $n);
                $body
                $c += $n;
            } else {
                const $n: usize = 1;
                $body
                $c += $n;
            }
        }
    }};
}

stamped! {
    fn max_pixels(
        geometry: &PoolGeometry,
        x: &[u8],
        x_stride: usize,
        pixels: Range<usize>,
        y: &mut [u8],
        y_stride: usize,
    ) {
        let (width, channels) = (geometry.output.w, geometry.output.c);
        for (i, pixel) in pixels.enumerate() {
            let (oy, ox) = (pixel / width, pixel % width);
            let taps = Taps::new(&geometry.window, geometry.input, x_stride, oy, ox);
            let y = &mut y[i * y_stride..][..channels];
            each_block!(channels, |c, N| {
                let mut largest = [0; N];
                taps.each(|at| {
                    for (l, &x) in largest.iter_mut().zip(&x[at + c..][..N]) {
                        *l = x.max(*l);
                    }
                });
                y[c..][..N].copy_from_slice(&largest);
            });
        }
    }
}

stamped! {
    fn average_pixels(
        pool: &AveragePool,
        x: &[u8],
        x_stride: usize,
        pixels: Range<usize>,
        y: &mut [u8],
        y_stride: usize,
    ) {
        let PoolGeometry { input, output, window } = pool.geometry;
        for (i, pixel) in pixels.enumerate() {
            let (oy, ox) = (pixel / output.w, pixel % output.w);
            let taps = Taps::new(&window, input, x_stride, oy, ox);
            let count = if pool.count_include_pad { window.taps() } else { taps.len() };
            let multiplier = pool.mean.multiplier(count);
            let y = &mut y[i * y_stride..][..output.c];
            each_block!(output.c, |c, N| {
                let mut sums = [0; N];
                taps.each(|at| add_codes(&mut sums, &x[at + c..][..N]));
                pool.mean.store(&sums, taps.len(), multiplier, &mut y[c..][..N]);
            });
        }
    }
}

stamped! {
    fn global_channels(pool: &GlobalAveragePool, x: &[u8], x_stride: usize, y: &mut [u8]) {
        let pixels = pool.input.pixels();
        let multiplier = pool.mean.multiplier(pixels);
        each_block!(y.len(), |c, N| {
            let mut sums = [0; N];
            for pixel in 0..pixels {
                add_codes(&mut sums, &x[pixel * x_stride + c..][..N]);
            }
            pool.mean.store(&sums, pixels, multiplier, &mut y[c..][..N]);
        });
    }
}

#[inline(always)]
fn add_codes(sums: &mut [u32], x: &[u8]) {
    for (sum, &x) in sums.iter_mut().zip(x) {
        *sum += u32::from(x);
    }
}
