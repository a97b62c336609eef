//! The set of updates and its model, with what is computed of them once per change.

use std::sync::Arc;

use murmur_collectives::{Entry, Fold, Hash, Insertion, Invalid, VersionVector};

const SET_CONTEXT: &str = "murmuration set v1";

/// What a digest says of the set.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    /// How many entries of each author are held.
    pub(crate) vector: Arc<VersionVector>,
    /// Names the set with all its heads.
    pub(crate) set: Hash,
}

/// The fold and its caches. Whoever changes the fold calls [`Set::changed`].
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) fold: Fold,
    root: Option<Hash>,
    clock: Option<u64>,
    holding: Option<Holding>,
    changes: u64,
}

impl Set {
    pub(crate) fn new(fold: Fold) -> Self {
        Self { fold, root: None, clock: None, holding: None, changes: 0 }
    }

    /// What was computed of the set holds no more.
    pub(crate) fn changed(&mut self) {
        (self.root, self.clock, self.holding) = (None, None, None);
        self.changes += 1;
    }

    /// Adds an entry to the set.
    pub(crate) fn insert(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) -> Insertion {
        self.insert_checked(entry, payload, |_, _| Ok(()))
    }

    /// Adds an entry to the set if `check`, too, finds nothing wrong with it; see [`Fold::insert_checked`].
    pub(crate) fn insert_checked(
        &mut self,
        entry: Entry,
        payload: Option<Arc<[u8]>>,
        check: impl FnOnce(&Fold, &Entry) -> Result<(), Invalid>,
    ) -> Insertion {
        let insertion = self.fold.insert_checked(entry, payload, check);
        if matches!(insertion, Insertion::Applied { .. }) {
            self.changed();
        }
        insertion
    }

    /// How often the set has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// State root of the present set.
    pub(crate) fn state_root(&mut self) -> Hash {
        *self.root.get_or_insert_with(|| self.fold.state_root())
    }

    /// Tokens of the present set.
    pub(crate) fn clock(&mut self) -> u64 {
        *self.clock.get_or_insert_with(|| self.fold.clock())
    }

    /// The version vector of the present set, and its name.
    pub(crate) fn holding(&mut self) -> Holding {
        let log = self.fold.log();
        let name = || {
            let mut bytes = Vec::with_capacity(log.version().len() * 44);
            for (author, count) in log.version().iter() {
                bytes.extend_from_slice(&author.0);
                bytes.extend_from_slice(&count.to_le_bytes());
                bytes.extend_from_slice(&log.head_at(&author, count).map_or([0; 8], |hash| hash.prefix()));
            }
            Holding { vector: Arc::new(log.version().clone()), set: Hash::of(SET_CONTEXT, &bytes) }
        };
        self.holding.get_or_insert_with(name).clone()
    }
}
