//! Gossip: entries are announced by name, pulled once, checked, and inserted when their past is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use murmur_collectives::{Body, Entry, Insertion, PeerId, Record, Refused};
use murmur_verification::check_verdict;

use super::{
    Node,
    pending::{Pending, Room, Waiting},
};
use crate::{EntryName, Item, Message, Time, Want};

/// Entries asked for in one request.
pub(super) const WANT_MAX: u32 = 64;

/// Bytes of entries in one answer; what does not fit is asked for again.
pub(super) const ANSWER_BYTES: usize = 512 * 1024;

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) to: PeerId,
    pub(super) deadline: Time,
}

/// What is asked for and what waits.
#[derive(Default, Debug)]
pub(super) struct Gossip {
    /// At most one request for each author's chain.
    pub(super) requests: BTreeMap<PeerId, Request>,
    /// Authors of whom some neighbour may hold more, and of whom nothing is asked for.
    pub(super) lacking: BTreeSet<PeerId>,
    pending: Pending,
    /// Payloads needed to remove void updates that came without, below a final frontier.
    pub(super) payloads: BTreeMap<(PeerId, u32), Option<Request>>,
    pub(super) anti_entropy_at: Time,
}

impl Gossip {
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let payloads = self.payloads.values().flatten();
        self.requests.values().chain(payloads).map(|request| request.deadline).min()
    }

    /// Requests that wait for an answer, and payloads that are wanted of whoever has them.
    pub(super) fn awaited(&self) -> (usize, usize) {
        (self.requests.len(), self.payloads.len())
    }

    /// Keeps an entry to be tried by the next [`Node::retry_pending`].
    pub(super) fn hold(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, from: Option<PeerId>, room: Room) {
        let on = entry.author();
        self.pending.hold(entry, payload, from, on, room);
        self.pending.grow(on);
    }

    /// Keeps an entry until everything that waits is tried again: trying it now would only bring it back here.
    pub(super) fn keep(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, room: Room) {
        let on = entry.author();
        self.pending.hold(entry, payload, None, on, room);
    }

    /// Payloads are to be asked for of entries that are in the set without them.
    pub(super) fn want_payloads(&mut self, names: &[(PeerId, u32)]) {
        for name in names {
            self.payloads.entry(*name).or_insert(None);
        }
    }

    /// No payload is asked for any more.
    pub(super) fn forget_wanted_payloads(&mut self) {
        self.payloads.clear();
    }

    /// The set has an entry more of `author`.
    pub(super) fn grow(&mut self, author: PeerId) {
        self.pending.grow(author);
    }

    /// Bytes of what waits.
    pub(super) fn held_bytes(&self) -> usize {
        let requests = self.requests.len() + self.payloads.len() + self.lacking.len();
        self.pending.held_bytes() + requests * size_of::<(PeerId, u32, Request)>()
    }

    /// The first entry of `author` from `count` on that is neither in the set nor waiting.
    pub(super) fn first_missing(&self, author: &PeerId, count: u32) -> u32 {
        (count..).find(|seq| !self.pending.contains(author, *seq)).unwrap_or(u32::MAX)
    }
}

impl Node {
    /// Announces a new entry to neighbours that are not known to hold it.
    pub(super) fn announce(&mut self, entry: &Entry) {
        let name = EntryName { author: entry.author(), seq: entry.seq() };
        let lacks = |peer: &PeerId, neighbour: &super::neighbours::Neighbour| {
            neighbour.is_near() && !neighbour.known.contains(&name.author, name.seq) && *peer != name.author
        };
        let lacking = self.neighbours.iter().filter(|(peer, neighbour)| lacks(peer, neighbour));
        let mut targets: Vec<PeerId> = lacking.map(|(peer, _)| peer).collect();
        while targets.len() > self.core.config.fanout {
            let at = self.core.below(targets.len());
            targets.swap_remove(at);
        }
        for peer in targets {
            self.send(peer, &Message::Announce { entries: vec![name] });
        }
    }

    pub(super) fn on_want(&mut self, from: PeerId, want: Want) {
        let log = self.set.fold.log();
        // Of what was excluded the newest is enough: it shows that all before it is out, too.
        let late = log.excluded(&want.author).filter(|entry| entry.seq() >= want.from);
        let mut items: Vec<Item> =
            late.map(|entry| Item { entry: entry.to_wire(), payload: None }).into_iter().collect();
        let mut bytes = 0;
        for record in log.from(&want.author, want.from).iter().take(want.count.min(WANT_MAX) as usize) {
            let item = item(record, want.payloads);
            bytes += item.entry.header.len() + item.payload.as_ref().map_or(0, Vec::len);
            if bytes > ANSWER_BYTES && !items.is_empty() {
                break;
            }
            items.push(item);
        }
        self.send(from, &Message::Entries { items });
    }

    pub(super) fn on_entries(&mut self, from: PeerId, items: Vec<Item>) {
        let mut authors = BTreeSet::new();
        for Item { entry, payload } in items.into_iter().take(WANT_MAX as usize) {
            match Entry::check(entry) {
                Ok(entry) => {
                    authors.insert(entry.author());
                    self.note(&from, entry.author(), entry.seq().saturating_add(1));
                    self.offer(entry, payload.map(Arc::from), Some(from));
                }
                Err(error) => self.strike(from, error.to_string()),
            }
        }
        // An empty answer leaves its request to run out, so that the same neighbour is not asked in a loop.
        for author in &authors {
            if self.gossip.requests.get(author).is_some_and(|request| request.to == from) {
                self.close_request(author, true);
            }
        }
        if self.is_staging() {
            return self.stage_more(&authors);
        }
        self.retry_pending();
    }

    /// Looks at one entry that came in: checks it against set, rules and lotteries, and inserts or keeps it.
    fn offer(&mut self, mut entry: Entry, payload: Option<Arc<[u8]>>, from: Option<PeerId>) {
        self.set.fold.log().share_base(&mut entry);
        if self.is_staging() {
            return self.stage(entry, payload);
        }
        if self.take_payload(&entry, payload.as_ref(), from) {
            return;
        }
        let inserted = self.try_insert(entry.clone(), payload.clone());
        self.after_offer(entry, payload, from, inserted);
    }

    fn try_insert(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) -> Insertion {
        let admitted = self.set.fold.admit(&entry) == murmur_collectives::Admission::Ready;
        if let Some(verdict) = entry.verdict().filter(|_| admitted)
            && check_verdict(&self.set.fold, &entry, verdict).is_err()
        {
            return Insertion::Refused(murmur_collectives::Invalid::Subject.into());
        }
        self.insert(entry, payload)
    }

    fn after_offer(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, from: Option<PeerId>, inserted: Insertion) {
        let room = self.room();
        match inserted {
            Insertion::Applied { .. } | Insertion::Known => {}
            // What builds on it need not wait for it any more.
            Insertion::Excluded => self.gossip.grow(entry.author()),
            Insertion::Early { epoch } => {
                from.iter().for_each(|peer| self.seek_epoch(*peer, epoch));
                let on = entry.author();
                self.gossip.pending.hold(entry, payload, from, on, room);
            }
            Insertion::Waits { needs, closed } => {
                if let Some(forger) = closed {
                    self.on_fork_proven(forger, &entry);
                }
                for (author, count) in needs.iter() {
                    from.iter().for_each(|peer| self.note(peer, author, count));
                }
                let first = needs.iter().next().map_or(entry.author(), |(author, _)| author);
                let on = self.set.fold.log().lacking(&needs).unwrap_or(first);
                self.gossip.pending.hold(entry, payload, from, on, room);
            }
            Insertion::NeedsPayloads(names) => {
                let on = names.first().map_or(entry.author(), |(author, _)| *author);
                for name in names {
                    self.gossip.payloads.entry(name).or_insert(None);
                }
                self.gossip.pending.hold(entry, payload, from, on, room);
            }
            Insertion::Forks(other) => self.author_evidence(&other, &entry),
            Insertion::OtherBranch { seq } => {
                let want = Want { author: entry.author(), from: seq, count: 1, payloads: false };
                from.iter().for_each(|peer| self.send(*peer, &Message::Want(want)));
            }
            Insertion::Refused(Refused::WrongPayload) if payload.is_none() => {
                // It came without its payload: below a final frontier few keep it. Somebody else is asked.
                from.iter().for_each(|peer| self.doubt(peer, entry.author()));
            }
            Insertion::Refused(refused) => {
                let blamed = from.unwrap_or(entry.author());
                self.doubt(&blamed, entry.author());
                self.strike(blamed, refused.to_string());
            }
        }
    }

    /// A proof came that stands behind entries not held yet. It counts at once; who has caught up repeats it in its own
    /// chain, so that it reaches everyone even if the chain that brought it never gets here.
    fn on_fork_proven(&mut self, forger: PeerId, proof: &Entry) {
        self.set.changed();
        self.gossip.pending.grow_all();
        self.on_evicted(forger);
        if let Body::Equivocation(evidence) = &proof.header().body
            && self.catch_up.is_done()
        {
            self.author_now(Body::Equivocation(evidence.clone()));
        }
    }

    /// Takes the payload of an entry that is in the set without it. True if that is what came.
    fn take_payload(&mut self, entry: &Entry, payload: Option<&Arc<[u8]>>, from: Option<PeerId>) -> bool {
        let name = (entry.author(), entry.seq());
        let (true, Some(payload)) = (self.gossip.payloads.contains_key(&name), payload) else { return false };
        match self.set.fold.supply_payload(&name.0, name.1, payload.clone()) {
            Ok(()) => {
                self.gossip.payloads.remove(&name);
                self.gossip.grow(name.0);
            }
            Err(refused) => from.into_iter().for_each(|peer| self.strike(peer, refused.to_string())),
        }
        true
    }

    /// Tries what waited for chains that have grown, until nothing more fits. While a final set is fetched everything waits.
    pub(super) fn retry_pending(&mut self) {
        while !self.is_staging()
            && let Some(waiting) = self.gossip.pending.next_grown()
        {
            for Waiting { entry, payload, from, .. } in waiting {
                self.gossip.lacking.insert(entry.author());
                self.offer(entry, payload, from);
            }
        }
    }

    /// Tries everything that waits: for changes other than a chain's growth.
    pub(super) fn retry_all_pending(&mut self) {
        if !self.gossip.pending.is_empty() {
            self.gossip.pending.grow_all();
            self.retry_pending();
        }
    }
}

fn item(record: &Record, payloads: bool) -> Item {
    let payload = record.payload.as_deref().filter(|_| payloads).map(<[u8]>::to_vec);
    Item { entry: record.entry.to_wire(), payload }
}
