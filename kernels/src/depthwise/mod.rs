//! Depthwise convolution: one input channel per output channel, vectorised over channels.
//!
//! A kernel computes a run of output pixels of one row. It gets a list of pointers, one per tap, to
//! the input pixel under the run's first pixel; from pixel to pixel all of them advance by one step.
//! A pixel whose window overhangs an edge is a run of its own, and its taps on padding point to a
//! pixel of zero points, so that one bias serves every pixel. Channels go in blocks of [`BLOCK`]: the last block overlaps the one before it rather than end early; with fewer channels
//! than a block, taps near the end of the input are copied, so that a whole block may be read.
//!
//! Packed bytes: bias and multiplier of every block's channels, then every block's weights, as
//! i16, for each group of [`Kernel::TAPS`] taps, for each channel, its taps.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

use crate::conv::{Conv, Stage};
use crate::requantize::Requantize;
use crate::{ConvGeometry, Team, View, ViewMut};

/// Channels of a block.
pub(crate) const BLOCK: usize = 16;

/// Tasks per thread, so that a slow thread holds the others up by little.
const TASKS_PER_THREAD: usize = 4;
/// Multiply-accumulates of a task, a few microseconds: below that, handing it to another thread
/// costs more than it saves.
const TASK_MACS: u64 = 32 << 10;

/// A run of output pixels of one row.
pub(crate) struct Run {
    /// A pointer per tap, to its channels under the first pixel.
    pub(crate) taps: *const *const u8,
    /// What every pointer advances by from pixel to pixel.
    pub(crate) step: usize,
    pub(crate) pixels: usize,
    /// Groups of [`Kernel::TAPS`] taps.
    pub(crate) groups: usize,
    pub(crate) channels: usize,
    pub(crate) bias: *const i32,
    pub(crate) multipliers: *const f32,
    pub(crate) weights: *const i16,
    pub(crate) stage: Requantize,
    /// The first pixel's codes, and the bytes from pixel to pixel.
    pub(crate) y: *mut u8,
    pub(crate) y_stride: usize,
}

/// A depthwise microkernel.
///
/// # Safety
/// An implementation reads of each tap only blocks that start at [`block_start`], and writes only
/// the pixels' channels.
pub(crate) unsafe trait Kernel {
    /// `{arch}-u8i8-{variant}`.
    const NAME: &'static str;
    /// Taps that one instruction sums.
    const TAPS: usize;

    /// Computes the pixels.
    ///
    /// # Safety
    /// The CPU has the instructions, and everything that the trait says is read or written may be.
    unsafe fn run(run: &Run);
}

/// The first channel of block `block`.
#[inline(always)]
pub(crate) fn block_start(block: usize, channels: usize) -> usize {
    (block * BLOCK).min(channels.saturating_sub(BLOCK))
}

/// Whether this is a depthwise convolution with one output per input channel.
pub(crate) fn supports(g: &ConvGeometry) -> bool {
    g.is_depthwise() && g.group_outputs() == 1
}

/// Where everything lies in packed bytes.
struct Layout {
    blocks: usize,
    /// Taps, padded to groups.
    taps: usize,
}

impl Layout {
    fn new<K: Kernel>(g: &ConvGeometry) -> Layout {
        Layout {
            blocks: g.output.c.div_ceil(BLOCK),
            taps: g.window.taps().next_multiple_of(K::TAPS),
        }
    }

    fn multipliers(&self) -> usize {
        4 * self.blocks * BLOCK
    }

    fn weights(&self) -> usize {
        8 * self.blocks * BLOCK
    }

    fn len(&self) -> usize {
        self.weights() + 2 * self.blocks * BLOCK * self.taps
    }
}

pub(crate) fn packed_len<K: Kernel>(g: &ConvGeometry) -> usize {
    Layout::new::<K>(g).len()
}

pub(crate) fn pack<K: Kernel>(
    g: &ConvGeometry,
    input_zero_point: u8,
    weights: &[i8],
    bias: &[i32],
    multipliers: &[f32],
    packed: &mut [u8],
) {
    let layout = Layout::new::<K>(g);
    let (channels, taps) = (g.output.c, g.window.taps());
    packed.fill(0);
    for slot in 0..layout.blocks * BLOCK {
        let (block, lane) = (slot / BLOCK, slot % BLOCK);
        let channel = block_start(block, channels) + lane;
        if channel >= channels {
            continue;
        }
        let weights = &weights[channel * taps..][..taps];
        let sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
        let bias = bias[channel].wrapping_sub(i32::from(input_zero_point).wrapping_mul(sum));
        packed[4 * slot..][..4].copy_from_slice(&bias.to_le_bytes());
        packed[layout.multipliers() + 4 * slot..][..4]
            .copy_from_slice(&multipliers[channel].to_le_bytes());
        for (tap, &w) in weights.iter().enumerate() {
            let group = block * layout.taps / K::TAPS + tap / K::TAPS;
            let at = (group * BLOCK + lane) * K::TAPS + tap % K::TAPS;
            packed[layout.weights() + 2 * at..][..2].copy_from_slice(&i16::from(w).to_le_bytes());
        }
    }
}

/// A pixel of zero points, then for each thread its pointers and copies of taps.
struct Scratch {
    padding: usize,
    pointers: usize,
    thread: usize,
}

impl Scratch {
    fn new<K: Kernel>(g: &ConvGeometry) -> Scratch {
        let taps = Layout::new::<K>(g).taps;
        let pointers = (taps * size_of::<*const u8>()).next_multiple_of(64);
        let copies = if g.input.c < BLOCK { taps * BLOCK } else { 0 };
        Scratch {
            padding: g.input.c.next_multiple_of(64),
            pointers,
            thread: pointers + copies.next_multiple_of(64),
        }
    }
}

pub(crate) fn scratch_len<K: Kernel>(g: &ConvGeometry, threads: usize) -> usize {
    let scratch = Scratch::new::<K>(g);
    scratch.padding + threads * scratch.thread + 64
}

/// What every task reads.
struct Job<'a> {
    geometry: &'a ConvGeometry,
    layout: Layout,
    scratch: Scratch,
    stage: Requantize,
    packed: &'a [u8],
    x: View<'a>,
    padding: *const u8,
    threads: *mut u8,
    y: *mut u8,
    y_stride: usize,
}

// SAFETY: tasks write disjoint rows of `y`, each thread its own part of the scratch memory, and
// the pixel of padding is written before they start.
unsafe impl Sync for Job<'_> {}

/// Runs the convolution.
///
/// # Safety
/// The CPU has the instructions of `K`. Lengths and shapes were checked by [`Conv::run`].
pub(crate) unsafe fn run<K: Kernel>(
    conv: &Conv,
    packed: &[u8],
    x: View,
    mut y: ViewMut,
    scratch: &mut [u8],
    team: &Team,
) {
    let Stage::Requantize(stage) = conv.stage() else {
        unreachable!("`Conv::with_fixed_point` takes no depthwise kernel")
    };
    let geometry = conv.geometry();
    let aligned = scratch.as_ptr().align_offset(64);
    let sizes = Scratch::new::<K>(geometry);
    let (padding, threads) = scratch[aligned..].split_at_mut(sizes.padding);
    padding.fill(conv.input_zero_point());
    let threads = &mut threads[..team.threads() * sizes.thread];
    let job = Job {
        geometry,
        layout: Layout::new::<K>(geometry),
        scratch: sizes,
        stage,
        packed,
        x,
        padding: padding.as_ptr(),
        threads: threads.as_mut_ptr(),
        y_stride: y.pixel_stride(),
        y: y.data().as_mut_ptr(),
    };
    let rows = geometry.output.h;
    let most = if team.threads() == 1 { 1 } else { rows.min(team.threads() * TASKS_PER_THREAD) };
    let tasks = geometry.macs().div_ceil(TASK_MACS).clamp(1, most as u64) as usize;
    team.run(tasks, &|task, thread| {
        for row in rows * task / tasks..rows * (task + 1) / tasks {
            // SAFETY: the caller's; every row belongs to one task, and `thread` is below the
            // team's threads.
            unsafe { job.row::<K>(row, thread) }
        }
    });
}

impl Job<'_> {
    /// # Safety
    /// As [`run`]; no other running task has this `thread` or `oy`.
    unsafe fn row<K: Kernel>(&self, oy: usize, thread: usize) {
        let g = self.geometry;
        let [kernel_h, kernel_w] = g.window.kernel;
        let top = (oy * g.window.stride[0]) as isize - g.window.pad[0] as isize;
        // SAFETY: offsets are those of `Scratch` and `Layout`; pixels of `x` and `y` lie in them.
        unsafe {
            let scratch = self.threads.add(thread * self.scratch.thread);
            let taps = scratch.cast::<*const u8>();
            let packed = self.packed.as_ptr();
            let bottom = top + ((kernel_h - 1) * g.window.dilation[0]) as isize;
            let rows_inside = top >= 0 && bottom < g.input.h as isize;
            let step = g.window.stride[1] * self.x.pixel_stride();
            let mut ox = 0;
            while ox < g.output.w {
                let left = (ox * g.window.stride[1]) as isize - g.window.pad[1] as isize;
                for ky in 0..kernel_h {
                    let y = top + (ky * g.window.dilation[0]) as isize;
                    let row_inside = y >= 0 && y < g.input.h as isize;
                    for kx in 0..kernel_w {
                        let x = left + (kx * g.window.dilation[1]) as isize;
                        let inside = row_inside && x >= 0 && x < g.input.w as isize;
                        let tap = ky * kernel_w + kx;
                        *taps.add(tap) = if inside {
                            self.tap(y as usize * g.input.w + x as usize, tap, scratch)
                        } else {
                            self.padding
                        };
                    }
                }
                for tap in g.window.taps()..self.layout.taps {
                    // Its weights are zero: any pixel that advances inside the image will do.
                    *taps.add(tap) = *taps;
                }
                let right = left + ((kernel_w - 1) * g.window.dilation[1]) as isize;
                let more = if rows_inside && left >= 0 {
                    self.more_pixels(bottom as usize, right, g.output.w - ox - 1)
                } else {
                    0
                };
                K::run(&Run {
                    taps,
                    step,
                    pixels: 1 + more,
                    groups: self.layout.taps / K::TAPS,
                    channels: g.output.c,
                    bias: packed.cast(),
                    multipliers: packed.add(self.layout.multipliers()).cast(),
                    weights: packed.add(self.layout.weights()).cast(),
                    stage: self.stage,
                    y: self.y.add((oy * g.output.w + ox) * self.y_stride),
                    y_stride: self.y_stride,
                });
                ox += 1 + more;
            }
        }
    }

    /// How many of the `most` output pixels behind one whose last tap is in row `bottom` and column
    /// `right` of the input have all their taps in the image, with whole blocks to read.
    fn more_pixels(&self, bottom: usize, right: isize, most: usize) -> usize {
        let g = self.geometry;
        let Ok(right) = usize::try_from(right) else { return 0 };
        let mut columns = g.input.w;
        if g.input.c < BLOCK {
            // The last column of which a block may be read.
            let reach = (self.x.data().len() / self.x.pixel_stride()).saturating_sub(BLOCK);
            columns = columns.min(reach.saturating_sub(bottom * g.input.w));
        }
        (columns.saturating_sub(right + 1) / g.window.stride[1]).min(most)
    }

    /// A pointer to the channels of input pixel `pixel`, of which a block may be read.
    ///
    /// # Safety
    /// `scratch` is the thread's, and `pixel` and `tap` are the geometry's.
    #[inline(always)]
    unsafe fn tap(&self, pixel: usize, tap: usize, scratch: *mut u8) -> *const u8 {
        let at = pixel * self.x.pixel_stride();
        let channels = self.geometry.input.c;
        let data = self.x.data();
        if channels >= BLOCK || at + BLOCK <= data.len() {
            // SAFETY: the pixel lies in `data`.
            return unsafe { data.as_ptr().add(at) };
        }
        let bytes = &data[at..][..channels];
        // SAFETY: the scratch memory holds a block per tap behind the pointers.
        unsafe {
            let copy = scratch.add(self.scratch.pointers + tap * BLOCK);
            copy.copy_from_nonoverlapping(bytes.as_ptr(), channels);
            copy
        }
    }
}
