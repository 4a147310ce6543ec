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

/// The taps of one output pixel after the other.
struct Windows<'a> {
    geometry: &'a PoolGeometry,
    x_stride: usize,
    oy: usize,
    ox: usize,
    rows: Range<usize>,
}

impl<'a> Windows<'a> {
    /// From output pixel `first` on.
    #[inline(always)]
    fn new(geometry: &'a PoolGeometry, x_stride: usize, first: usize) -> Windows<'a> {
        let (oy, ox) = (first / geometry.output.w, first % geometry.output.w);
        let rows = inside(&geometry.window, 0, oy, geometry.input.h);
        Windows { geometry, x_stride, oy, ox, rows }
    }

    #[inline(always)]
    fn next(&mut self) -> Taps {
        let PoolGeometry { input, output, window } = self.geometry;
        let y = (self.oy * window.stride[0]).wrapping_sub(window.pad[0]);
        let x = (self.ox * window.stride[1]).wrapping_sub(window.pad[1]);
        let taps = Taps {
            rows: self.rows.clone(),
            columns: inside(window, 1, self.ox, input.w),
            origin: y.wrapping_mul(input.w).wrapping_add(x).wrapping_mul(self.x_stride),
            down: window.dilation[0] * input.w * self.x_stride,
            right: window.dilation[1] * self.x_stride,
        };
        self.ox += 1;
        if self.ox == output.w {
            self.ox = 0;
            self.oy += 1;
            self.rows = inside(window, 0, self.oy, input.h);
        }
        taps
    }
}

impl Taps {
    fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Calls `f` with every tap's bytes behind the first one; there are `R` rows and `C` columns of them, or
    /// any number where these are 0.
    #[inline(always)]
    fn each<const R: usize, const C: usize>(&self, mut f: impl FnMut(usize)) {
        let rows = if R > 0 { R } else { self.rows.len() };
        let columns = if C > 0 { C } else { self.columns.len() };
        for ky in 0..rows {
            for kx in 0..columns {
                f(ky * self.down + kx * self.right);
            }
        }
    }

    /// The byte offset of the first tap.
    #[inline(always)]
    fn first(&self) -> usize {
        let row = self.origin.wrapping_add(self.rows.start * self.down);
        row.wrapping_add(self.columns.start * self.right)
    }
}

/// The taps along one axis that fall on the image at output position `o`.
#[inline(always)]
fn inside(window: &Window, axis: usize, o: usize, size: usize) -> Range<usize> {
    let (dilation, pad) = (window.dilation[axis], window.pad[axis]);
    let start = o * window.stride[axis];
    // Most windows lie inside, and the divisions would take longer than their taps.
    let reach = (window.kernel[axis] - 1) * dilation;
    if start >= pad && start - pad + reach < size {
        return 0..window.kernel[axis];
    }
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
        let channels = geometry.output.c;
        let mut windows = Windows::new(geometry, x_stride, pixels.start);
        for i in 0..pixels.len() {
            let taps = windows.next();
            let y = &mut y[i * y_stride..][..channels];
            match (taps.rows.len(), taps.columns.len()) {
                (2, 2) => max_taps::<2, 2>(x, &taps, y),
                (3, 3) => max_taps::<3, 3>(x, &taps, y),
                _ => max_taps::<0, 0>(x, &taps, y),
            }
        }
    }
}

/// The largest code of every channel under `taps`.
#[inline(always)]
fn max_taps<const R: usize, const C: usize>(x: &[u8], taps: &Taps, y: &mut [u8]) {
    if taps.len() == 0 {
        return y.fill(0);
    }
    let (down, right) = ((taps.rows.len() - 1) * taps.down, (taps.columns.len() - 1) * taps.right);
    // From the first tap to the end of the last one.
    let x = &x[taps.first()..][..down + right + y.len()];
    each_block!(y.len(), |c, N| {
        let mut largest = [0; N];
        taps.each::<R, C>(|at| {
            // SAFETY: `at` is at most `down + right`, and the block ends at or before `y` does.
            let x = unsafe { x.get_unchecked(at + c..at + c + N) };
            for (l, &x) in largest.iter_mut().zip(x) {
                *l = x.max(*l);
            }
        });
        y[c..][..N].copy_from_slice(&largest);
    });
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
        let PoolGeometry { output, window, .. } = pool.geometry;
        let mut windows = Windows::new(&pool.geometry, x_stride, pixels.start);
        for i in 0..pixels.len() {
            let taps = windows.next();
            let count = if pool.count_include_pad { window.taps() } else { taps.len() };
            let multiplier = pool.mean.multiplier(count);
            let y = &mut y[i * y_stride..][..output.c];
            let x = if taps.len() > 0 { &x[taps.first()..] } else { &[] };
            each_block!(output.c, |c, N| {
                let mut sums = [0; N];
                taps.each::<0, 0>(|at| add_codes(&mut sums, &x[at + c..][..N]));
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
