//! The own chain: starting it, continuing it after a restart, and never forking it.

use std::sync::Arc;

use murmur_collectives::{Body, Enroll, Entry, Equivocation, Hash, Header, Insertion, Update, Verdict, VersionVector};

use super::{Node, Stored, pending::Room};
use crate::{Draft, StoredEntry};

/// A stored entry whose signature was checked, and its payload.
pub(super) type Checked = (Entry, Option<Arc<[u8]>>);

pub(super) fn checked(stored: StoredEntry) -> Option<Checked> {
    Some((Entry::check(stored.entry).ok()?, stored.payload))
}

/// What a segment starts from.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The set.
    pub base: VersionVector,
    /// Its parameters, `[parameters]`.
    pub parameters: Vec<f32>,
    /// The newest epoch that is final.
    pub epoch: u32,
    /// The name of its frontier, which tells histories apart.
    pub frontier: Hash,
    /// Tokens of the set.
    pub clock: u64,
    /// Number of own segments before this one.
    pub segment: u32,
    /// Whether the next update would count; not on probation.
    pub trusted: bool,
    /// The own sealed carry and its root, if there is one to continue.
    pub carry: Option<(Hash, Arc<[u8]>)>,
}

impl Node {
    /// What the next segment starts from.
    pub fn snapshot(&self) -> Snapshot {
        let after = self.set.fold.log().carry(&self.id());
        Snapshot {
            base: self.set.fold.log().version().clone(),
            parameters: self.set.fold.parameters(),
            epoch: self.set.fold.epochs().number(),
            frontier: self.set.fold.epochs().newest().frontier.name(),
            clock: self.set.fold.clock(),
            segment: self.set.fold.log().segments(&self.id()),
            trusted: self.set.fold.is_trusted(&self.id(), self.set.fold.log().version()),
            carry: after.and_then(|root| Some((root, self.blobs.carry(&root)?))),
        }
    }

    /// Puts back what was on disk.
    pub(super) fn restore(&mut self, stored: Stored) {
        let Stored { entries, compacted, fetched, signing: _, head, carries } = stored;
        let head = head.and_then(checked);
        // First of all, so that nothing before it is taken for the newest.
        head.iter().for_each(|(entry, _)| self.catch_up.expect_own(entry.seq() + 1));
        self.blobs.keep_fetched(fetched);
        match compacted {
            Some((proof, state)) => self.restore_compacted(&proof, state, entries),
            None => self.put_back(entries.into_iter().filter_map(checked)),
        }
        for bytes in carries {
            self.blobs.keep_carry(bytes, self.core.config.carries_kept);
        }
        if let Some((entry, payload)) = head {
            let room = self.room();
            self.gossip.hold(entry, payload, None, room);
        }
        self.retry_pending();
    }

    /// Takes in what the disk held, in the order it was stored; what does not fit yet waits.
    pub(super) fn put_back(&mut self, entries: impl IntoIterator<Item = Checked>) {
        for (entry, payload) in entries {
            match self.set.fold.insert(entry.clone(), payload.clone()) {
                Insertion::Waits { .. } | Insertion::Early { .. } | Insertion::NeedsPayloads(_) => {
                    self.gossip.hold(entry, payload, None, Room::BOUNDLESS);
                }
                Insertion::Applied { .. }
                | Insertion::Known
                | Insertion::Excluded
                | Insertion::Forks(_)
                | Insertion::OtherBranch { .. }
                | Insertion::Refused(_) => {}
            }
        }
    }

    /// Enrolls if the chain is empty, nothing must be fetched first, and this peer wants to.
    pub(super) fn start(&mut self) {
        if self.catch_up.is_done() && self.core.config.enroll_early {
            self.enroll_if_needed();
        }
    }

    /// Enrolls if the set knows no enrolment of this peer: at first, and again if a final frontier excluded all it ever said.
    /// Names the newest epoch, so that it has the longest time to spread; and as its past no more than that epoch asks for,
    /// since nothing depends on it: of many that enroll at once none waits for the others, and none lists them all.
    fn enroll_if_needed(&mut self) {
        if self.set.fold.log().vrf_key(&self.id()).is_none() {
            let base = self.set.fold.epochs().newest().view.clone();
            let body = Body::Enroll(Enroll { vrf_key: self.core.lottery.public() });
            self.author(&base, self.set.fold.epochs().number(), body, None);
        }
    }

    pub(super) fn author_update(&mut self, draft: Draft) {
        let Draft { base, epoch, frontier, segment, steps, payload, loss_micronats, trace, carry_before, carry } =
            draft;
        if self.is_stalled() {
            return;
        }
        if self.set.fold.epochs().name(epoch) != Some(frontier) {
            // Another history took the place of the one that the segment began in: no replay in this one gives its bits.
            let reason = "own segment began in another history: it is lost".to_owned();
            return self.core.tell(crate::Event::BadInput { peer: self.id(), reason });
        }
        self.enroll_if_needed();
        let rules = self.set.fold.rules();
        let norm = murmur_kernels::validate(rules.top_k(), rules.parameter_count(), &payload);
        let norm = norm.expect("the payload was made by this program's own encoder");
        let update = Update {
            segment,
            steps,
            tokens: u64::from(steps) * u64::from(rules.tokens_per_step),
            payload: Hash(murmur_kernels::blob_root(&payload)),
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            norm: norm.0,
            loss_micronats,
            trace,
            carry_before,
            carry_after: self.blobs.keep_carry(carry, self.core.config.carries_kept),
            class: self.core.class,
        };
        let epoch = self.epoch_within(&base, epoch);
        self.author(&base, epoch, Body::Update(update), Some(payload));
    }

    pub(super) fn author_verdict(&mut self, verdict: Verdict) {
        self.author_now(Body::Verdict(verdict));
    }

    /// Proves a fork that is not known yet: whoever repeats what a forger signed does not make this chain longer.
    pub(super) fn author_evidence(&mut self, one: &Entry, other: &Entry) {
        let evidence = Equivocation::of(one, other);
        let known = self.set.fold.log().knows_fork(&evidence.author, evidence.first.seq);
        if self.catch_up.is_done() && !known && evidence.author != self.id() {
            self.author_now(Body::Equivocation(evidence));
        }
    }

    /// Authors an entry whose causal past is everything known now.
    pub(super) fn author_now(&mut self, body: Body) {
        self.enroll_if_needed();
        let base = self.set.fold.log().version().clone();
        self.author(&base, self.epoch_to_say(), body, None);
    }

    /// The newest epoch that `base` contains and this peer may name. If part of `base` was excluded after `begun`, when the
    /// segment started, none after that: who replays it would take it that the segment started without that part.
    fn epoch_within(&self, base: &VersionVector, begun: u32) -> u32 {
        let (epochs, log, me) = (self.set.fold.epochs(), self.set.fold.log(), self.id());
        let newest = if log.is_whole_since(base, begun) { epochs.number() } else { begun.min(epochs.number()) };
        let seen = |epoch: &u32| epochs.view(*epoch).is_some_and(|view| base.includes(view));
        let may = |epoch: &u32| log.may_name(epochs, &me, *epoch);
        (epochs.oldest_open()..=newest).rev().filter(may).find(seen).unwrap_or(0)
    }

    /// The epoch that anything but an update names: the oldest that it may, so that an update whose segment began before the
    /// newest was final can still follow.
    pub(super) fn epoch_to_say(&self) -> u32 {
        let (epochs, me) = (self.set.fold.epochs(), self.id());
        let oldest = epochs.oldest_open().max(self.set.fold.log().place(&me).epoch);
        (oldest..=epochs.number()).find(|epoch| self.set.fold.log().may_name(epochs, &me, *epoch)).unwrap_or(oldest)
    }

    fn author(&mut self, base: &VersionVector, epoch: u32, body: Body, payload: Option<Arc<[u8]>>) {
        let me = self.id();
        if !self.identity_guard.is_sure() {
            let reason = "own entry before it was clear that no other process has this identity: not signed".to_owned();
            return self.core.tell(crate::Event::BadInput { peer: me, reason });
        }
        let place = self.set.fold.log().place(&me);
        if !self.catch_up.may_sign(place.seq) {
            // What it said there named another history, and a final frontier has yet to exclude it.
            let reason = format!("own entry {} was signed before in another history: waiting", place.seq);
            return self.core.tell(crate::Event::BadInput { peer: me, reason });
        }
        let Some(frontier) = self.set.fold.epochs().name(epoch).filter(|_| epoch >= place.epoch) else {
            let reason = "own entry began before two frontiers that are final now: it is lost".to_owned();
            return self.core.tell(crate::Event::BadInput { peer: me, reason });
        };
        let header = Header {
            run: self.set.fold.run(),
            author: me,
            seq: place.seq,
            previous: place.previous,
            epoch,
            frontier,
            base: base.to_components(),
            body,
        };
        let entry = Entry::sign(&self.core.identity, header);
        match self.insert(entry, payload) {
            Insertion::Applied { .. } => self.retry_pending(),
            other @ (Insertion::Known
            | Insertion::Waits { .. }
            | Insertion::Early { .. }
            | Insertion::Excluded
            | Insertion::NeedsPayloads(_)
            | Insertion::Forks(_)
            | Insertion::OtherBranch { .. }
            | Insertion::Refused(_)) => self.own_entry_refused(&other),
        }
    }

    /// An own entry that does not fit is a bug or a closed chain; it was not stored and is not announced.
    fn own_entry_refused(&mut self, why: &Insertion) {
        let reason = format!("own entry was not accepted: {why:?}");
        self.core.tell(crate::Event::BadInput { peer: self.id(), reason });
    }
}
