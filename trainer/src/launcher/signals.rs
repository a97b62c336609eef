//! Ctrl-C, SIGTERM and their like become messages to the launcher.

use std::sync::mpsc::Sender;

use super::swarm::Notice;
use crate::error::{Exit, Failure};

/// From now on a request to end is a [`Notice::Stop`], each time.
///
/// # Errors
/// [`Exit::Device`] when the operating system refuses; [`Exit::Bug`] when this process already did so.
pub(crate) fn listen(to: Sender<Notice>) -> Result<(), Failure> {
    // When the launcher is gone, there is nothing left to stop.
    let tell = move || drop(to.send(Notice::Stop));
    ctrlc::set_handler(tell).map_err(|error| {
        let exit = if matches!(error, ctrlc::Error::System(_)) { Exit::Device } else { Exit::Bug };
        Failure::new(exit, "cannot listen for Ctrl-C").because(error)
    })
}
