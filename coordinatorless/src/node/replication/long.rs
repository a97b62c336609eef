//! Long payloads: those that no message holds. Their entries come without them; when nothing else is missing for an entry to
//! be added, its payload is fetched in chunks, by the root that its author signed, from all neighbours that hold it.
//!
//! The transfer fetches; here is decided what, from whom, and how much at a time. An entry is looked at completely before a byte
//! of its payload is asked for: author, chain, causal past, rules, length. So each author has at most one payload under way, and
//! all together are bounded in bytes. A fetch that takes too long is given up, so that nobody fills the room by sending slowly.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use murmur_collectives::{Entry, Hash, PeerId};
use murmur_kernels::payload_bytes_max;

use super::{
    Context, Event, Replication, Work,
    knowledge::OWING_TIMEOUTS,
    later,
    pending::{Arrival, Room},
};
use crate::{
    Config, Time,
    node::{context::Core, limits::longest_transfer},
};

/// Payloads that may be under way at once, whatever their length.
const UNDER_WAY: u64 = 4;

type Name = (PeerId, u32);

/// A payload that is wanted in chunks.
#[derive(Debug)]
struct Long {
    root: Hash,
    bytes: u64,
    /// Those wanted earlier go first.
    turn: u64,
    stage: Stage,
    /// Neighbours that were named to the transfer as sources.
    sources: BTreeSet<PeerId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Waits until others are done.
    Queued,
    /// Is fetched, at most until then.
    Fetched { until: Time },
    /// No source served it. Until then only new ones are asked: one that holds nothing must not be asked in a loop.
    Failed { until: Time },
}

impl Long {
    fn deadline(&self) -> Option<Time> {
        match self.stage {
            Stage::Queued => None,
            Stage::Fetched { until } | Stage::Failed { until } => Some(until),
        }
    }

    fn bytes_under_way(&self) -> u64 {
        if matches!(self.stage, Stage::Fetched { .. }) { self.bytes } else { 0 }
    }
}

/// All long payloads that are wanted, by the entry.
#[derive(Default, Debug)]
pub(super) struct LongPayloads {
    wanted: BTreeMap<Name, Long>,
    turns: u64,
}

impl LongPayloads {
    /// Has a payload fetched, unless it is already.
    pub(super) fn want(&mut self, name: Name, root: Hash, bytes: u64) {
        self.turns += 1;
        let long = Long { root, bytes, turn: self.turns, stage: Stage::Queued, sources: BTreeSet::new() };
        self.wanted.entry(name).or_insert(long);
    }

    /// How many are wanted.
    pub(super) fn count(&self) -> usize {
        self.wanted.len()
    }

    /// When one is given up.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.wanted.values().filter_map(Long::deadline).min()
    }

    fn with_root(&self, root: &Hash) -> Vec<Name> {
        self.wanted.iter().filter(|(_, long)| long.root == *root).map(|(name, _)| *name).collect()
    }

    /// Lets those begin for which there is room, the first one always.
    fn begin(&mut self, room: u64, until: Time) {
        let mut under_way: u64 = self.wanted.values().map(Long::bytes_under_way).sum();
        let mut queued: Vec<&mut Long> = self.wanted.values_mut().filter(|long| long.stage == Stage::Queued).collect();
        queued.sort_by_key(|long| long.turn);
        for long in queued {
            if under_way > 0 && under_way.saturating_add(long.bytes) > room {
                break;
            }
            under_way += long.bytes;
            long.stage = Stage::Fetched { until };
        }
    }
}

/// Root and length of the payload of an entry, if no message holds it.
pub(super) fn long_payload(entry: &Entry, config: &Config) -> Option<(Hash, u64)> {
    let update = entry.update().filter(|update| update.payload_bytes as usize > config.payload_in_message_max)?;
    Some((update.payload, u64::from(update.payload_bytes)))
}

/// Bytes of payloads that may be under way, and that entries which wait for their past may have: some of the longest that the
/// rules allow must fit.
pub(super) fn payload_room(core: &Core) -> u64 {
    let longest = payload_bytes_max(core.rules.top_k(), core.rules.parameter_count()) as u64;
    longest.saturating_mul(UNDER_WAY).max(core.config.pending_bytes_max as u64)
}

impl Replication {
    /// An entry lacks nothing but its payload. True if that is long: then the entry waits for it.
    pub(super) fn wait_for_payload(&mut self, cx: &Context<'_>, arrival: &Arrival) -> bool {
        let Some((root, bytes)) = long_payload(&arrival.entry, &cx.net.core.config) else { return false };
        let (author, seq) = (arrival.entry.author(), arrival.entry.seq());
        self.pending.hold(arrival.clone(), author, Room::of(cx.net.core));
        if self.pending.contains(&author, seq) {
            self.long.want((author, seq), root, bytes);
        }
        true
    }

    /// Begins to fetch what there is room for, and names new sources.
    pub(super) fn pull_long(&mut self, cx: &mut Context<'_>) {
        if self.long.wanted.is_empty() || !cx.mode.pulls {
            return;
        }
        let Self { long, pending, payloads, peers, .. } = self;
        let is_needed = |name: &Name| pending.contains(&name.0, name.1) || payloads.contains_key(name);
        let unneeded: Vec<(Name, Long)> = long.wanted.extract_if(.., |name, _| !is_needed(name)).collect();
        for (_, gone) in unneeded.iter().filter(|(_, gone)| long.with_root(&gone.root).is_empty()) {
            forget(cx.net.core, gone);
        }
        let connected: Vec<PeerId> = cx.net.peers().collect();
        let holds = |peer: &PeerId, (author, seq): &Name| {
            payloads.contains_key(&(*author, *seq))
                || peers.get(peer).is_some_and(|peer| peer.known.contains(author, *seq))
        };
        for (name, long) in &mut long.wanted {
            let has_new = || connected.iter().any(|peer| holds(peer, name) && !long.sources.contains(peer));
            if matches!(long.stage, Stage::Failed { .. }) && has_new() {
                long.stage = Stage::Queued;
            }
        }
        let room = payload_room(cx.net.core);
        long.begin(room, cx.net.core.now + cx.net.core.config.request_timeout + longest_transfer(room));
        for (name, long) in long.wanted.iter_mut().filter(|(_, long)| long.bytes_under_way() > 0) {
            let new = connected.iter().filter(|peer| holds(peer, name));
            for source in new.filter(|peer| long.sources.insert(**peer)) {
                cx.net.core.raise(Event::FetchPayload { root: long.root, bytes: long.bytes, source: *source });
            }
        }
        let orphaned = long.wanted.iter().filter(|(_, long)| long.bytes_under_way() > 0 && long.sources.is_empty());
        let orphaned: Vec<Name> = orphaned.map(|(name, _)| *name).collect();
        orphaned.into_iter().for_each(|name| self.fail(cx, name));
    }

    /// Whether a payload with this root is wanted.
    pub(crate) fn wants_payload(&self, root: &Hash) -> bool {
        self.long.wanted.values().any(|long| long.root == *root)
    }

    /// All chunks of a payload came.
    pub(crate) fn on_payload(&mut self, cx: &mut Context<'_>, root: Hash, payload: &Arc<[u8]>) {
        for name in self.long.with_root(&root) {
            let Some(long) = self.long.wanted.remove(&name) else { continue };
            if long.bytes != payload.len() as u64 {
                self.drop_waiting(&name); // its author lied about the length
            } else if self.payloads.contains_key(&name) {
                self.supply(cx, name, payload.clone(), None);
            } else if let Some(arrival) = self.pending.take(&name) {
                let arrival = Arrival { payload: Some(payload.clone()), ..arrival };
                later(cx.net.core, Work::Retried(Box::new(arrival)));
            }
        }
        self.retry(cx.net.core);
    }

    /// No source is left that serves a payload.
    pub(crate) fn on_payload_lost(&mut self, cx: &mut Context<'_>, root: Hash) {
        let lost = self.long.with_root(&root);
        let fetched = |name: &Name| self.long.wanted.get(name).is_some_and(|long| long.bytes_under_way() > 0);
        let lost: Vec<Name> = lost.into_iter().filter(fetched).collect();
        lost.into_iter().for_each(|name| self.fail(cx, name));
    }

    /// Gives up fetches that take too long, and forgets those that failed a while ago: their entries are pulled again.
    pub(super) fn long_due(&mut self, cx: &mut Context<'_>) {
        let now = cx.net.core.now;
        let due = self.long.wanted.iter().filter(|(_, long)| long.deadline().is_some_and(|at| at <= now));
        let due: Vec<(Name, Stage)> = due.map(|(name, long)| (*name, long.stage)).collect();
        for (name, stage) in due {
            if matches!(stage, Stage::Fetched { .. }) {
                self.fail(cx, name);
            } else {
                self.long.wanted.remove(&name);
                self.drop_waiting(&name);
            }
        }
    }

    /// What the sources of this payload were said to hold is doubted.
    fn fail(&mut self, cx: &mut Context<'_>, name: Name) {
        let (now, timeout) = (cx.net.core.now, cx.net.core.config.request_timeout);
        let Some(long) = self.long.wanted.get_mut(&name) else { return };
        forget(cx.net.core, long);
        long.stage = Stage::Failed { until: now + timeout };
        // Of what is only wanted to void updates, nobody said that it is there.
        let sources = if self.payloads.contains_key(&name) { BTreeSet::new() } else { long.sources.clone() };
        for source in sources {
            let peer = self.peers.get_mut(&source);
            if peer.is_some_and(|peer| peer.note_unserved(now, timeout * OWING_TIMEOUTS)) {
                cx.net.strike(source, "says it holds what it does not serve".to_owned());
            }
            self.doubt(cx, &source, name.0);
        }
    }

    /// Drops an entry that waits for its payload, so that it is pulled again if anybody has it.
    fn drop_waiting(&mut self, name: &Name) {
        if self.pending.take(name).is_some() {
            self.lacking.insert(name.0);
        }
    }
}

/// The transfer is told of what is no longer fetched.
fn forget(core: &mut Core, long: &Long) {
    if long.bytes_under_way() > 0 {
        core.raise(Event::ForgetPayload { root: long.root, bytes: long.bytes });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
mod tests;
