//! The progress bar below the lines of a terminal: the share of the token budget that is trained.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr that goes away when it is dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// An empty bar, shown once there is something to show.
    pub(super) fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:32} {percent:>3}% of {len} tokens, {elapsed} gone")
            .expect("the template names only what indicatif knows");
        Self(ProgressBar::no_length().with_style(style))
    }

    /// Shows `tokens` of `budget`.
    pub(super) fn show(&self, tokens: u64, budget: u64) {
        self.0.set_length(budget);
        self.0.set_position(tokens.min(budget));
    }

    /// Writes something else while the bar is hidden.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
