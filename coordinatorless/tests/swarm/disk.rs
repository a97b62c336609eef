//! What a peer of these tests has on its disk.

use std::sync::Arc;

use murmur_collectives::{Hash, State};
use murmur_coordinatorless::{Fetched, PeerAddress, StoredEntry};

use crate::net::Net;

/// What a peer has on disk.
#[derive(Default, Clone)]
pub(crate) struct Disk {
    pub(crate) entries: Vec<StoredEntry>,
    pub(crate) head: Option<StoredEntry>,
    pub(crate) compacted: Option<(Vec<u8>, State)>,
    pub(crate) fetched: Option<Fetched>,
    pub(crate) signing: Option<Vec<u8>>,
    pub(crate) carries: Vec<Arc<[u8]>>,
    pub(crate) address_book: Vec<PeerAddress>,
}

impl Disk {
    /// Records of the log.
    pub(crate) fn records(&self) -> usize {
        self.entries.len()
    }

    /// Stores a chunk of a state that is being fetched.
    pub(crate) fn keep_chunk(&mut self, name: (Hash, u32), bytes: &[u8]) {
        Fetched::keep(&mut self.fetched, name, bytes, || Net::genesis().into());
    }
}
