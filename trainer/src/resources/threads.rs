//! Whether as many threads can be started as the peers of this machine need. Limits on them differ between systems, users
//! and containers, so it is tried.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::{error::Failure, explain::Exit};

/// Threads of a peer process beside those that compute: the main one, the network's, the learner, the readers.
const OTHER_THREADS: usize = 8;

/// Stack of a thread that only waits.
const STACK_BYTES: usize = 64 << 10;

/// Threads of one peer that computes with `computing` of them.
pub fn threads_of_peer(computing: usize) -> usize {
    computing + OTHER_THREADS
}

/// Starts as many threads as `peers` peers of `each` threads need, and ends them again.
///
/// # Errors
/// [`Exit::Device`] with how many could be started.
pub fn probe_threads(peers: usize, each: usize) -> Result<(), Failure> {
    let needed = peers.saturating_mul(each.saturating_add(1));
    match try_threads(needed) {
        Ok(()) => Ok(()),
        Err((started, error)) => Err(Failure::new(
            Exit::Device,
            format!("{peers} local peers need {needed} threads and processes, and only {started} can be started here"),
        )
        .because(error)
        .hint("Start fewer peers with --local, or raise the limit: `ulimit -u`, or the container's limit of processes (pids).")),
    }
}

fn try_threads(needed: usize) -> Result<(), (usize, std::io::Error)> {
    // Those that were started wait until all are there, or until the last attempt failed.
    let (mut threads, mut refused) = (Vec::new(), None);
    let gate = Arc::new(Gate::default());
    for _ in 0..needed {
        let gate = Arc::clone(&gate);
        match std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || gate.wait()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    gate.open();
    let started = threads.len();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    refused.map_or(Ok(()), |error| Err((started, error)))
}

/// Lets nobody through until it is opened.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn wait(&self) {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(is_open, |is_open| !*is_open));
    }

    fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_threads_can_be_started() {
        assert!(probe_threads(2, threads_of_peer(1)).is_ok());
    }
}
