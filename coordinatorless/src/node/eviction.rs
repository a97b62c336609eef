//! Evictions: telling of them here, and letting those whom they concern find out.
//!
//! A peer believes that it is evicted when its own fold proves it, and for no other reason: anyone can close a connection
//! with any code. So the connection of an evicted peer is not closed at once. It gets a *hearing*: it is told what this
//! peer holds, and may ask for what it lacks of that, which contains the proof. Nothing else that it says counts. A
//! hearing is short, and the next one begins only after a pause, so that a hostile peer gains little by being evicted.

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::{PeerId, Voided};

use super::Node;
use crate::{Closing, Event, Message, Time};

/// How long a hearing lasts at most: entries that were signed lately come in a few round trips.
const HEARING: Duration = Duration::from_secs(10);

/// How long after the beginning of a hearing the next one may begin.
const HEARING_EVERY: Duration = Duration::from_secs(60);

/// Hearings remembered, at most; of more evicted peers those that come last are turned away.
const HEARINGS_MAX: usize = 1024;

/// Whether a hearing is under way.
#[derive(Clone, Copy, Debug)]
struct Hearing {
    ends_at: Time,
    open: bool,
}

/// Hearings of evicted peers, and what is known of the own standing.
#[derive(Default, Debug)]
pub(super) struct Evictions {
    hearings: BTreeMap<PeerId, Hearing>,
    /// The set, by its count of changes, in which the own standing was looked at last.
    looked_at: Option<u64>,
    /// Whether the own eviction was told.
    told: bool,
}

impl Evictions {
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.hearings.values().filter(|hearing| hearing.open).map(|hearing| hearing.ends_at).min()
    }

    /// Whether `peer` has a hearing now.
    pub(super) fn hears(&self, peer: &PeerId) -> bool {
        self.hearings.get(peer).is_some_and(|hearing| hearing.open)
    }

    /// Whether `peer`, which is evicted, may have a hearing at `now`: the one under way, or a new one.
    fn admits(&mut self, peer: PeerId, now: Time) -> bool {
        self.hearings.retain(|_, hearing| hearing.open || now < hearing.ends_at + (HEARING_EVERY - HEARING));
        if !self.hearings.contains_key(&peer) && self.hearings.len() < HEARINGS_MAX {
            self.hearings.insert(peer, Hearing { ends_at: now + HEARING, open: true });
        }
        self.hears(&peer)
    }

    /// Ends hearings whose time is up.
    fn end(&mut self, now: Time) -> Vec<PeerId> {
        let over = self.hearings.iter_mut().filter(|(_, hearing)| hearing.open && hearing.ends_at <= now);
        over.map(|(peer, hearing)| {
            hearing.open = false;
            *peer
        })
        .collect()
    }
}

impl Node {
    /// Updates of `peer` have become void.
    pub(super) fn on_evicted(&mut self, peer: PeerId) {
        self.forget_audits_of(peer);
        let Some(why) = self.set.fold.voided(&peer).filter(|_| peer != self.id()) else { return };
        self.core.tell(Event::Evicted { peer, why });
        self.give_hearing(peer);
    }

    /// Tells an evicted peer, if it is connected, what this one holds; or ends the connection if it had its hearing.
    pub(super) fn give_hearing(&mut self, peer: PeerId) {
        self.part_for_good(peer);
        if !self.neighbours.is_connected(&peer) {
            return;
        }
        if !self.evictions.admits(peer, self.core.now) {
            return self.send_away(peer, Closing::Evicted);
        }
        self.set_evicted(peer);
        self.send_digest(peer, false);
    }

    /// Ends hearings that have lasted long enough.
    pub(super) fn hearings_due(&mut self) {
        for peer in self.evictions.end(self.core.now) {
            self.send_away(peer, Closing::Evicted);
        }
    }

    /// What an evicted peer says: it may ask, and nothing else.
    pub(super) fn hear_out(&mut self, from: PeerId, message: Message) {
        match message {
            Message::Digest(digest) => {
                self.replicate(|machine, cx| machine.on_digest_of_evicted(cx, from, digest.lost, digest.reply));
            }
            Message::Goodbye => self.on_goodbye(from),
            request @ (Message::Want(_)
            | Message::WantCertificates { .. }
            | Message::WantChunkList { .. }
            | Message::WantChunks { .. }
            | Message::WantFrontier { .. }
            | Message::WantManifest { .. }) => self.serve(from, request),
            Message::Absent { .. }
            | Message::Announce { .. }
            | Message::Candidates { .. }
            | Message::Certificates { .. }
            | Message::Chunk { .. }
            | Message::ChunkList { .. }
            | Message::Entries { .. }
            | Message::Frontier(_)
            | Message::Manifest { .. }
            | Message::Meet { .. }
            | Message::Observed { .. }
            | Message::Peers { .. }
            | Message::Punch { .. }
            | Message::Votes { .. } => {}
        }
    }

    /// Tells of the own eviction once the own fold proves it, wherever the proof came from: a neighbour, a final frontier,
    /// or the disk.
    pub(super) fn check_own_eviction(&mut self) {
        if self.evictions.told || self.evictions.looked_at.replace(self.set.changes()) == Some(self.set.changes()) {
            return;
        }
        let peer = self.id();
        let why: Option<Voided> = self.set.fold.voided(&peer);
        self.evictions.told = why.is_some();
        why.into_iter().for_each(|why| self.core.tell(Event::Evicted { peer, why }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId([1; 32]);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn a_hearing_ends_and_the_next_one_begins_after_a_pause() {
        let mut evictions = Evictions::default();
        assert!(evictions.admits(PEER, at(0)) && evictions.admits(PEER, at(9)), "it comes back within its hearing");
        assert_eq!((evictions.next_deadline(), evictions.end(at(9))), (Some(at(10)), vec![]));
        assert_eq!((evictions.end(at(10)), evictions.next_deadline()), (vec![PEER], None));
        assert!(!evictions.admits(PEER, at(59)));
        assert!(evictions.admits(PEER, at(60)));
    }

    #[test]
    fn a_crowd_of_evicted_peers_is_not_remembered_without_end() {
        let mut evictions = Evictions::default();
        let crowd = (0..5000u32).map(|n| {
            let mut id = [9; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            PeerId(id)
        });
        assert_eq!(crowd.filter(|peer| evictions.admits(*peer, at(0))).count(), HEARINGS_MAX);
    }
}
