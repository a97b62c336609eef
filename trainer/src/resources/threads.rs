//! Checks that the threads of this machine's peers can be started. Limits differ between systems, users and containers, so
//! threads are started to find out.

use std::{
    error::Error,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use crate::{
    crash::MORE_THREADS,
    error::{Exit, Failure},
};

/// Threads of a peer process beside those that compute: the main one, the network's, the learner, the readers.
const OTHER_THREADS: usize = 8;

/// Threads of the launcher beside those that read reports and those that compute: for signals, for the local network.
const OWN_THREADS: usize = 3;

/// Stack of a thread that only waits, in bytes.
const STACK_BYTES: usize = 64 << 10;

/// Threads of one peer that computes with `computing` of them: those of its replica, and as many that are shared by all that
/// is outside of it.
pub fn threads_of_peer(computing: usize) -> usize {
    computing.saturating_mul(2).saturating_add(OTHER_THREADS)
}

/// Starts the threads that kernels outside a replica share. They would start by themselves when they are first needed, and
/// panic if the system refuses them.
///
/// # Errors
/// [`Exit::Device`].
pub fn start_shared_pool() -> Result<(), Failure> {
    match rayon::ThreadPoolBuilder::new().build_global() {
        // Without a reason of the system's there is only one: they have been started before.
        Err(error) if error.source().is_some() => {
            let failure = Failure::new(Exit::Device, "cannot start the threads to compute with");
            Err(failure.because(error).hint(MORE_THREADS))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Starts as many threads as `peers` peers of `each` threads need, and what this process needs to lead them, and ends them again.
///
/// # Errors
/// [`Exit::Device`] with how many could be started.
pub fn probe_threads(peers: usize, each: usize) -> Result<(), Failure> {
    let own = std::thread::available_parallelism().map_or(1, usize::from) + OWN_THREADS;
    // For each peer one that reads its reports.
    let needed = peers.saturating_mul(each.saturating_add(1)).saturating_add(own);
    match try_threads(needed) {
        Ok(()) => Ok(()),
        Err((started, error)) => Err(Failure::new(
            Exit::Device,
            format!("{peers} local peers need {needed} threads and processes, and only {started} can be started here"),
        )
        .because(error)
        .hint(MORE_THREADS)),
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

/// Blocks threads until it is opened.
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

    #[test]
    fn the_shared_pool_may_have_been_started_before() {
        assert!(start_shared_pool().is_ok() && start_shared_pool().is_ok());
    }
}
