//! Images shared out over all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::images::{self, Item};

/// What is summed over images.
pub(crate) trait Merge: Clone + Send + Sync {
    /// Adds the sums of other images.
    fn merge(&mut self, other: &Self);
}

/// The sums over all `items`, each of which starts as in `empty`. `start` makes what a core keeps
/// from image to image, and `add` takes one image into account; a bar shows what is `done`.
///
/// # Errors
/// The first failure of `start` or `add`; the other cores end with the image that they have.
pub(crate) fn sum<W, T: Merge>(
    items: &[Item],
    done: &'static str,
    empty: &[T],
    start: impl Fn() -> Result<W> + Sync,
    add: impl Fn(&mut W, &Item, &mut [T]) -> Result<()> + Sync,
) -> Result<Vec<T>> {
    let (next, total) = (AtomicUsize::new(0), Mutex::new(empty.to_vec()));
    let bar = images::progress(items.len(), done);
    let work = || -> Result<()> {
        let mut worker = start()?;
        let mut own = empty.to_vec();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            add(&mut worker, item, &mut own).inspect_err(|_| {
                next.store(items.len(), Ordering::Relaxed);
            })?;
            bar.inc(1);
        }
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.iter_mut().zip(&own).for_each(|(total, own)| total.merge(own));
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let result = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => bail!("a worker gave up"),
        })
    });
    bar.finish_and_clear();
    result?;
    Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
}
