//! A flag that is raised once and can be waited for.

use tokio::sync::watch;

/// Not raised at first. Once raised it stays so, and releases every waiter, past and future.
#[derive(Debug)]
pub(crate) struct Flag(watch::Sender<bool>);

impl Flag {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn raise(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the flag is raised.
    pub(crate) async fn raised(&self) {
        // The sender is `self`, so the channel cannot close during this wait.
        let _ = self.0.subscribe().wait_for(|raised| *raised).await;
    }
}
