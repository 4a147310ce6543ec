//! What a long command is at: a bar on stderr where that is a terminal, nothing otherwise.

use indicatif::{ProgressBar, ProgressStyle};

const PARTS: u64 = 1000;

/// One bar after the other.
pub(crate) struct Stages {
    bar: ProgressBar,
}

/// A stage under way; its bar goes when this is dropped.
pub(crate) struct Stage<'a>(&'a ProgressBar);

impl Stages {
    /// No stage yet.
    pub(crate) fn new() -> Stages {
        let bar = ProgressBar::new(PARTS);
        // Without a template that the crate understands the bar is a plain one.
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg} {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Stages { bar }
    }

    /// The next stage.
    pub(crate) fn next(&self, what: impl Into<String>) -> Stage<'_> {
        self.bar.reset();
        self.bar.set_message(what.into());
        self.bar.enable_steady_tick(std::time::Duration::from_millis(200));
        Stage(&self.bar)
    }
}

impl Stage<'_> {
    /// `part` of it, 0 to 1, is done.
    pub(crate) fn done(&self, part: f64) {
        self.0.set_position((part * PARTS as f64) as u64);
    }

    /// `done` of `of` are done.
    pub(crate) fn count(&self, done: usize, of: usize) {
        self.done(done as f64 / of.max(1) as f64);
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
