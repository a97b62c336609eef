//! Own carries: the author's side of audits. A peer that is drawn to audit an update replays its segment from the sealed carry
//! before it, and only the author has that.
//!
//! Contract: [`OwnCarries::keep`] stores the carry after each own update, in the order of the updates; at a start those from the
//! disk come first. The transfer serves them by their roots like any blob, and the next segment starts from the newest. Which
//! peer asks for a carry does not matter: its root stands in the update, and its content cannot be changed.

use std::{collections::VecDeque, sync::Arc};

use murmur_collectives::Hash;
use murmur_kernels::{chunk_hashes, root_of};

/// A blob that is held whole, and what it takes to serve it in chunks.
#[derive(Debug)]
pub(crate) struct Blob {
    /// Its root.
    pub(crate) root: Hash,
    /// Hashes of its chunks: computed once, as a peer may ask for them again and again.
    pub(crate) list: Vec<[u8; 32]>,
    /// Its bytes.
    pub(crate) bytes: Arc<[u8]>,
}

impl Blob {
    /// Computes the hashes of `bytes`.
    pub(crate) fn new(bytes: Arc<[u8]>) -> Self {
        let list = chunk_hashes(&bytes);
        Self { root: Hash(root_of(bytes.len() as u64, &list)), list, bytes }
    }

    /// Its bytes and those of its list.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.len() + self.list.len() * 32
    }
}

/// The newest sealed carries of this peer, oldest first.
#[derive(Default, Debug)]
pub(crate) struct OwnCarries(VecDeque<Blob>);

impl OwnCarries {
    /// Stores a carry, and keeps the newest of those before it, `kept_max` in all. Returns its root, which the update commits to.
    pub(crate) fn keep(&mut self, sealed: Arc<[u8]>, kept_max: usize) -> Hash {
        let blob = Blob::new(sealed);
        let root = blob.root;
        self.0.push_back(blob);
        while self.0.len() > kept_max.max(1) {
            self.0.pop_front();
        }
        root
    }

    /// The carry with this root, if it is still kept.
    pub(crate) fn with_root(&self, root: &Hash) -> Option<&Blob> {
        self.0.iter().find(|kept| kept.root == *root)
    }

    /// Their bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.0.iter().map(Blob::held_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_carries_are_kept() {
        let mut carries = OwnCarries::default();
        let roots = [0, 1, 2, 3].map(|n| carries.keep(vec![n; 100].into(), 2));
        let held = roots.map(|root| carries.with_root(&root).is_some());
        assert_eq!((held, carries.held_bytes()), ([false, false, true, true], 2 * (100 + 32)));
    }

    #[test]
    fn the_newest_carry_is_kept_whatever_the_limit() {
        let mut carries = OwnCarries::default();
        let root = carries.keep(vec![7; 10].into(), 0);
        assert_eq!(carries.with_root(&root).map(|kept| kept.bytes.len()), Some(10));
    }
}
