//! Ctrl-C, SIGTERM and their like become messages to the launcher.

use std::sync::mpsc::Sender;

use super::swarm::Notice;
use crate::{error::Failure, explain::Exit};

/// From now on a request to end is a [`Notice::Stop`], each time.
///
/// # Errors
/// [`Exit::Bug`] when the operating system refuses; or when this process already did so.
pub(crate) fn listen(to: Sender<Notice>) -> Result<(), Failure> {
    // When the launcher is gone, there is nothing left to stop.
    let tell = move || drop(to.send(Notice::Stop));
    ctrlc::set_handler(tell).map_err(|error| Failure::new(Exit::Bug, "cannot listen for Ctrl-C").because(error))
}
