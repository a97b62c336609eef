//! Entries whose causal past is not there yet. Each waits for one author's chain to grow and is looked at only then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use murmur_collectives::{Entry, PeerId};

use super::long::payload_room;
use crate::{StoredEntry, node::context::Core};

type Name = (PeerId, u32);

/// An entry that came in, or that was held already and is tried again.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) entry: Entry,
    pub(super) payload: Option<Arc<[u8]>>,
    /// The neighbour that sent it.
    pub(super) from: Option<PeerId>,
}

impl Arrival {
    fn bytes(&self) -> usize {
        self.entry.header_bytes() + self.payload.as_ref().map_or(0, |payload| payload.len())
    }
}

/// An entry that waits.
#[derive(Clone, Debug)]
struct Waiting {
    arrival: Arrival,
    /// The author whose chain has to grow first.
    on: PeerId,
}

/// A stored entry whose signature was checked, and its payload.
pub(crate) type Checked = (Entry, Option<Arc<[u8]>>);

/// Checks the signature of a stored entry.
pub(crate) fn checked(stored: StoredEntry) -> Option<Checked> {
    Some((Entry::check(stored.entry).ok()?, stored.payload))
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    entries: usize,
    bytes: usize,
}

impl Room {
    /// For what was held already, on disk or in the set.
    pub(crate) const BOUNDLESS: Self = Self { entries: usize::MAX, bytes: usize::MAX };

    /// For what others send: as configured, or more where the payloads of a run are long.
    pub(crate) fn of(core: &Core) -> Self {
        let bytes = usize::try_from(payload_room(core)).unwrap_or(usize::MAX);
        Self { entries: core.config.pending_max, bytes }
    }
}

/// All that waits, bounded; what one neighbour brought fills no more than half.
#[derive(Default, Debug)]
pub(super) struct Pending {
    entries: BTreeMap<Name, Waiting>,
    watchers: BTreeMap<PeerId, BTreeSet<Name>>,
    grown: BTreeSet<PeerId>,
    by_source: BTreeMap<PeerId, usize>,
    bytes: usize,
}

impl Pending {
    pub(super) fn contains(&self, author: &PeerId, seq: u32) -> bool {
        self.entries.contains_key(&(*author, seq))
    }

    /// The first entry of `author` from `count` on that does not wait.
    pub(super) fn first_missing(&self, author: &PeerId, count: u32) -> u32 {
        (count..).find(|seq| !self.contains(author, *seq)).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of what waits, as it is held.
    pub(super) fn held_bytes(&self) -> usize {
        let payload = |arrival: &Arrival| arrival.payload.as_ref().map_or(0, |payload| payload.len());
        self.entries.values().map(|Waiting { arrival, .. }| arrival.entry.held_bytes() + payload(arrival)).sum()
    }

    /// Keeps an entry until `on`'s chain grows; drops it when too much waits (anti-entropy brings it again).
    pub(super) fn hold(&mut self, arrival: Arrival, on: PeerId, room: Room) {
        let name = (arrival.entry.author(), arrival.entry.seq());
        self.take(&name);
        let share = arrival.from.map_or(0, |from| self.by_source.get(&from).copied().unwrap_or(0));
        let full = self.entries.len() >= room.entries || self.bytes + arrival.bytes() > room.bytes;
        if full || share >= room.entries.div_ceil(2) {
            return;
        }
        self.bytes += arrival.bytes();
        arrival.from.into_iter().for_each(|from| *self.by_source.entry(from).or_default() += 1);
        self.watchers.entry(on).or_default().insert(name);
        self.entries.insert(name, Waiting { arrival, on });
    }

    /// `author`'s chain has grown, or something else about it has changed.
    pub(super) fn grow(&mut self, author: PeerId) {
        if self.watchers.contains_key(&author) {
            self.grown.insert(author);
        }
    }

    /// Everything that waits is to be looked at again.
    pub(super) fn grow_all(&mut self) {
        self.grown = self.watchers.keys().copied().collect();
    }

    /// The entries that wait for an author whose chain has grown.
    pub(super) fn next_grown(&mut self) -> Option<Vec<Arrival>> {
        let author = self.grown.pop_first()?;
        let names = self.watchers.get(&author).cloned().unwrap_or_default();
        Some(names.iter().filter_map(|name| self.take(name)).collect())
    }

    /// Takes an entry out, if it waits.
    pub(super) fn take(&mut self, name: &Name) -> Option<Arrival> {
        let Waiting { arrival, on } = self.entries.remove(name)?;
        self.bytes -= arrival.bytes();
        if let Some(share) = arrival.from.and_then(|from| self.by_source.get_mut(&from)) {
            *share -= 1;
        }
        self.by_source.retain(|_, share| *share > 0);
        if let Some(watchers) = self.watchers.get_mut(&on) {
            watchers.remove(name);
            if watchers.is_empty() {
                self.watchers.remove(&on);
            }
        }
        Some(arrival)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmur_collectives::{Body, Enroll, Hash, Header, Identity};

    use super::*;

    const ROOM: Room = Room { entries: 8, bytes: 10_000 };

    fn entry(author: u8, seq: u32) -> Entry {
        let identity = Identity::from_secret(&[author; 32]);
        let body = Body::Enroll(Enroll { vrf_key: [0; 32] });
        let (run, previous, base) = (Hash([9; 32]), Hash([1; 32]), Vec::new());
        Entry::sign(
            &identity,
            Header { run, author: identity.peer_id(), seq, previous, base, body, epoch: 0, frontier: Hash([0; 32]) },
        )
    }

    fn bare(author: u8, seq: u32, from: Option<PeerId>) -> Arrival {
        Arrival { entry: entry(author, seq), payload: None, from }
    }

    fn id(author: u8) -> PeerId {
        Identity::from_secret(&[author; 32]).peer_id()
    }

    #[test]
    fn only_what_waits_for_the_grown_chain_is_looked_at() {
        let mut pending = Pending::default();
        pending.hold(bare(1, 4, None), id(7), ROOM);
        pending.hold(bare(2, 4, None), id(8), ROOM);
        pending.grow(id(6));
        assert!(pending.next_grown().is_none());
        pending.grow(id(8));
        assert_eq!(pending.next_grown().unwrap().len(), 1);
        assert!(pending.next_grown().is_none() && pending.contains(&id(1), 4) && !pending.contains(&id(2), 4));
        pending.grow_all();
        assert_eq!(pending.next_grown().unwrap().len(), 1);
        assert!(pending.is_empty() && pending.bytes == 0 && pending.watchers.is_empty());
    }

    #[test]
    fn one_source_fills_no_more_than_half_and_payloads_count_by_bytes() {
        let mut pending = Pending::default();
        (0..20).for_each(|seq| pending.hold(bare(1, seq, Some(id(1))), id(7), ROOM));
        assert_eq!(pending.entries.len(), 4);
        let payload: Arc<[u8]> = vec![0; 20_000].into();
        pending.hold(Arrival { payload: Some(payload), ..bare(2, 1, Some(id(2))) }, id(7), ROOM);
        assert!(!pending.contains(&id(2), 1), "too many bytes");
        (0..20).for_each(|seq| pending.hold(bare(3, seq, Some(id(3))), id(7), ROOM));
        assert_eq!(pending.entries.len(), ROOM.entries);
    }

    #[test]
    fn an_entry_that_comes_twice_is_held_once() {
        let mut pending = Pending::default();
        (7..9).for_each(|on| pending.hold(bare(1, 1, Some(id(on))), id(on), ROOM));
        assert_eq!((pending.entries.len(), pending.watchers.len(), pending.by_source.len()), (1, 1, 1));
    }
}
