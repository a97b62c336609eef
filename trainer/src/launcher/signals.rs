//! Ctrl-C, SIGTERM and their like become messages to the launcher.

use std::sync::{Mutex, Once, PoisonError, mpsc::Sender};

use super::swarm::Notice;
use crate::error::{Exit, Failure};

/// Whom requests to end are told: whoever listened last.
static LISTENER: Mutex<Option<Sender<Notice>>> = Mutex::new(None);

/// From now on a request to end is a [`Notice::Stop`] for this listener, each time, and for no earlier one.
///
/// # Errors
/// [`Exit::Device`] when the operating system refuses; [`Exit::Bug`] when something else in this process handles such requests.
pub(crate) fn listen(to: Sender<Notice>) -> Result<(), Failure> {
    static HANDLING: Once = Once::new();
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
    let mut refused = None;
    HANDLING.call_once(|| refused = ctrlc::set_handler(tell).err());
    refused.map_or(Ok(()), |error| {
        let exit = if matches!(error, ctrlc::Error::System(_)) { Exit::Device } else { Exit::Bug };
        Err(Failure::new(exit, "cannot listen for Ctrl-C").because(error))
    })
}

/// When the listener is gone, there is nothing left to stop.
fn tell() {
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    listener.iter().for_each(|to| drop(to.send(Notice::Stop)));
}
