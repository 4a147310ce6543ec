//! Cutting an output into parts that a [`Team`] writes at the same time.

use std::ops::Range;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::team::Team;
use crate::view::ViewMut;

/// Work of one task, in units of about a byte moved: below that, waking a thread costs more than
/// it saves.
const GRAIN: usize = 16 * 1024;
/// Tasks per thread, so that a thread that was late does not hold up the others.
const TASKS_PER_THREAD: usize = 4;

/// Calls `job(index, part)` for every part of `data.chunks_mut(len)`, on all threads.
pub(crate) fn chunks<T: Send>(
    team: &Team,
    data: &mut [T],
    len: usize,
    job: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    let total = data.len();
    if len >= total {
        if total > 0 {
            job(0, data);
        }
        return;
    }
    let base = AtomicPtr::new(data.as_mut_ptr());
    team.run(total.div_ceil(len), &|task, _| {
        let start = task * len;
        let count = len.min(total - start);
        // SAFETY: `start + count <= total`, parts of different tasks do not overlap, each task
        // runs once, and `data` stays borrowed until `run` has returned.
        let part = unsafe {
            std::slice::from_raw_parts_mut(base.load(Ordering::Relaxed).add(start), count)
        };
        job(task, part);
    });
}

/// Cuts the pixels of `y` into parts and calls `job(pixels, bytes)` for each; `bytes` starts with
/// the first of `pixels`. `cost` is the work of one pixel in bytes moved.
pub(crate) fn pixels(
    team: &Team,
    y: &mut ViewMut,
    cost: usize,
    job: &(dyn Fn(Range<usize>, &mut [u8]) + Sync),
) {
    let (shape, stride) = (y.shape(), y.pixel_stride());
    let per_task = part(team, shape.pixels(), cost);
    let bytes = &mut y.data()[..shape.span(stride)];
    chunks(team, bytes, per_task * stride, &|task, bytes| {
        let first = task * per_task;
        job(first..shape.pixels().min(first + per_task), bytes);
    });
}

/// How many of `units` of work one task takes, `cost` bytes moved each.
pub(crate) fn part(team: &Team, units: usize, cost: usize) -> usize {
    let tasks = match team.threads() {
        1 => 1,
        threads => (units * cost / GRAIN).clamp(1, threads * TASKS_PER_THREAD),
    };
    units.div_ceil(tasks).max(1)
}

/// Pixels as runs of bytes: one long run where all sides are dense.
///
/// Returns how many runs and how long each is.
pub(crate) fn runs<const N: usize>(
    pixels: usize,
    channels: usize,
    pixel_strides: [usize; N],
) -> (usize, usize) {
    if pixel_strides == [channels; N] { (1, pixels * channels) } else { (pixels, channels) }
}
