//! Audits: lotteries are held on every new update; who is drawn fetches the author's carry, replays the segment, and
//! publishes a verdict.

use std::{collections::BTreeMap, sync::Arc};

use murmur_collectives::{Entry, Hash, PeerId, Stage, Verdict};
use murmur_verification::draw;

use super::{Node, connectivity::Purpose, transfer::Wanted};
use crate::{EntryName, Event};

/// An audit this peer was drawn for.
#[derive(Debug)]
struct Audit {
    stage: Stage,
    draw: [u8; 96],
    carry: Carry,
}

#[derive(Debug)]
enum Carry {
    Fresh,
    Fetching(Hash),
    Held(Arc<[u8]>),
}

/// Audits under way, by author and position.
#[derive(Default, Debug)]
pub(super) struct Audits {
    open: BTreeMap<(PeerId, u32), Audit>,
    missed: u64,
}

/// All that is needed to replay an update.
#[derive(Clone, Debug)]
pub struct AuditJob {
    /// The update's entry.
    pub entry: Arc<Entry>,
    /// Parameters that its segment started from, `[parameters]`.
    pub parameters: Vec<f32>,
    /// Tokens of the set it started from.
    pub clock: u64,
    /// The author's sealed carry before it; `None` if it started fresh.
    pub carry: Option<Arc<[u8]>>,
}

impl Node {
    /// Audits this peer was drawn for and could not do: too many at once, or the author's carry was not to be had.
    pub fn audits_missed(&self) -> u64 {
        self.audits.missed
    }

    /// Audits under way here.
    pub(super) fn audits_open(&self) -> usize {
        self.audits.open.len()
    }

    /// Holds the lotteries that a new entry calls for.
    pub(super) fn consider_audits(&mut self, entry: &Entry) {
        if entry.update().is_some() {
            self.hold_lottery(EntryName { author: entry.author(), seq: entry.seq() }, Stage::First);
        }
        if let Some(verdict) = entry.verdict()
            && self.set.fold.is_disputed(&verdict.author, verdict.seq, self.set.fold.log().version())
        {
            self.hold_lottery(EntryName { author: verdict.author, seq: verdict.seq }, Stage::Confirm);
        }
    }

    /// Everything of an evicted author is void: replaying more of it would be work for nothing.
    pub(super) fn forget_audits_of(&mut self, author: PeerId) {
        self.audits.open.retain(|(audited, _), _| *audited != author);
    }

    /// What left the set is not judged any more.
    pub(super) fn forget_audits_of_the_excluded(&mut self) {
        let log = self.set.fold.log();
        self.audits.open.retain(|(author, seq), _| log.record(author, *seq).is_some());
    }

    fn hold_lottery(&mut self, name: EntryName, stage: Stage) {
        let Some(record) = self.set.fold.log().record(&name.author, name.seq) else { return };
        let entry = record.entry.clone();
        let Some(update) = entry.update().filter(|update| update.class == self.core.class) else { return };
        if self.set.fold.is_evicted(&name.author)
            || self.audits.open.contains_key(&(name.author, name.seq))
            || !self.catch_up.is_done()
        {
            return;
        }
        let Some(draw) = draw(&self.set.fold, &self.core.lottery, &self.id(), &entry, stage, self.epoch_to_say())
        else {
            return;
        };
        if self.audits.open.len() >= self.core.config.audits_max {
            self.audits.missed += 1;
            return;
        }
        let root = update.carry_before;
        let carry = if root == Hash::NONE { Carry::Fresh } else { Carry::Fetching(root) };
        self.audits.open.insert((name.author, name.seq), Audit { stage, draw, carry });
        if root == Hash::NONE {
            self.core.tell(Event::AuditReady { update: name });
        } else {
            self.fetch_carry(name.author, root);
        }
    }

    fn fetch_carry(&mut self, author: PeerId, root: Hash) {
        if self.connectivity.neighbours().is_connected(&author) {
            let wanted = Wanted::carry(self.set.fold.rules());
            return self.fetch(root, wanted, author);
        }
        self.connect(|connectivity, cx| connectivity.seek(cx, author, Purpose::Contact));
        if !self.connectivity.is_seeking(&author) {
            self.on_carry_lost(root);
        }
    }

    /// Gives up carries that nobody is asked or dialed for any more: a dial may end with another peer at that address, or for
    /// one that matters more. Else such an audit would stay open, and this peer could never finish.
    pub(super) fn give_up_lost_carries(&mut self) {
        let is_lost =
            |author: &PeerId, root: &Hash| !self.transfer.has_hope(root) && !self.connectivity.is_seeking(author);
        let lost = self.audits.open.iter().filter_map(|((author, _), audit)| match audit.carry {
            Carry::Fetching(root) if is_lost(author, &root) => Some(root),
            Carry::Fetching(_) | Carry::Fresh | Carry::Held(_) => None,
        });
        let lost: Vec<Hash> = lost.collect();
        lost.into_iter().for_each(|root| self.on_carry_lost(root));
    }

    /// A peer is connected: carries that only it serves can be fetched.
    pub(super) fn on_reached(&mut self, peer: PeerId) {
        self.carries_sought(&peer).into_iter().for_each(|root| self.fetch_carry(peer, root));
    }

    /// A peer could not be dialed: the carries that only it serves are not to be had.
    pub(super) fn on_unreachable(&mut self, peer: PeerId) {
        if !self.connectivity.neighbours().is_connected(&peer) {
            self.carries_sought(&peer).into_iter().for_each(|root| self.on_carry_lost(root));
        }
    }

    fn carries_sought(&self, author: &PeerId) -> Vec<Hash> {
        let of_author = self.audits.open.range((*author, 0)..=(*author, u32::MAX));
        let sought = of_author.filter_map(|(_, audit)| match audit.carry {
            Carry::Fetching(root) => Some(root),
            Carry::Fresh | Carry::Held(_) => None,
        });
        sought.collect()
    }

    pub(super) fn on_carry_complete(&mut self, root: Hash) {
        let Some(bytes) = self.transfer.take(&root) else { return };
        let bytes: Arc<[u8]> = bytes.into();
        let waiting = self.audits.open.iter_mut().filter(|(_, a)| matches!(a.carry, Carry::Fetching(r) if r == root));
        let mut ready = Vec::new();
        for ((author, seq), audit) in waiting {
            audit.carry = Carry::Held(bytes.clone());
            ready.push(EntryName { author: *author, seq: *seq });
        }
        ready.into_iter().for_each(|update| self.core.tell(Event::AuditReady { update }));
    }

    /// Nobody serves the carry: the audit cannot be done. Not a proof of anything, so nothing is published.
    pub(super) fn on_carry_lost(&mut self, root: Hash) {
        let before = self.audits.open.len();
        self.audits.open.retain(|_, audit| !matches!(audit.carry, Carry::Fetching(wanted) if wanted == root));
        self.audits.missed += (before - self.audits.open.len()) as u64;
    }

    /// What is needed to replay `update`; `None` if it is no longer wanted or its base cannot be rebuilt.
    pub fn audit_job(&self, update: EntryName) -> Option<AuditJob> {
        let audit = self.audits.open.get(&(update.author, update.seq))?;
        let entry = self.set.fold.log().record(&update.author, update.seq)?.entry.clone();
        if !self.set.fold.log().is_past_whole(&entry) {
            return None; // parts of what its author had seen were excluded since
        }
        let parameters = self.set.fold.parameters_at(entry.base()).ok()?;
        let clock = self.set.fold.log().clock(entry.base());
        let carry = match &audit.carry {
            Carry::Fresh => None,
            Carry::Held(bytes) => Some(bytes.clone()),
            Carry::Fetching(_) => return None,
        };
        Some(AuditJob { entry, parameters, clock, carry })
    }

    pub(super) fn on_judged(&mut self, update: EntryName, passed: bool, replay: Hash) {
        let EntryName { author, seq } = update;
        let Some(audit) = self.audits.open.remove(&(author, seq)) else { return };
        let Some(record) = self.set.fold.log().record(&author, seq) else { return };
        let settled =
            self.set.fold.epochs().horizon(self.epoch_to_say()).is_some_and(|view| view.contains(&author, seq));
        if settled || !self.set.fold.log().is_past_whole(&record.entry) {
            self.audits.missed += 1;
            return;
        }
        let update = record.entry.hash();
        let Audit { stage, draw, .. } = audit;
        self.author_verdict(Verdict { author, seq, update, passed, replay, stage, draw });
    }

    pub(super) fn on_unjudged(&mut self, update: EntryName) {
        if self.audits.open.remove(&(update.author, update.seq)).is_some() {
            self.audits.missed += 1;
        }
    }
}
