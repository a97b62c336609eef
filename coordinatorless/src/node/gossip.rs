//! Gossip: entries are announced by name, pulled once, checked, and inserted when their past is there.

use std::{collections::BTreeMap, sync::Arc};

use murmur_collectives::{Body, Entry, Insertion, PeerId, Record, Refused};
use murmur_verification::check_verdict;
use rand_chacha::rand_core::Rng;

use super::Node;
use crate::{Closing, EntryName, Event, Item, Message, Time, Want};

/// Entries asked for in one request.
const WANT_MAX: u32 = 64;

/// Bytes of entries in one answer; what does not fit is asked for again.
const ANSWER_BYTES: usize = 512 * 1024;

/// Entries named in one announcement, at most.
const ANNOUNCE_MAX: usize = 1024;

/// A request under way.
#[derive(Clone, Copy, Debug)]
struct Request {
    to: PeerId,
    deadline: Time,
}

/// An entry whose past is not there yet.
#[derive(Clone, Debug)]
struct Pending {
    entry: Entry,
    payload: Option<Arc<[u8]>>,
    from: Option<PeerId>,
}

/// What is asked for and what waits.
#[derive(Default, Debug)]
pub(super) struct Gossip {
    /// At most one request for each author's chain.
    requests: BTreeMap<PeerId, Request>,
    pending: BTreeMap<(PeerId, u32), Pending>,
    /// Payloads needed to remove void updates that came by checkpoint.
    payloads: BTreeMap<(PeerId, u32), Option<Request>>,
    pub(super) anti_entropy_at: Time,
}

impl Gossip {
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let payloads = self.payloads.values().flatten();
        self.requests.values().chain(payloads).map(|request| request.deadline).min()
    }

    /// Nothing is asked for and nothing waits.
    pub(super) fn is_quiet(&self) -> bool {
        self.requests.is_empty() && self.payloads.is_empty()
    }

    /// Keeps an entry until its past is there; drops it when too many wait (anti-entropy brings it again).
    pub(super) fn hold(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, from: Option<PeerId>, most: usize) {
        if self.pending.len() < most {
            self.pending.insert((entry.author(), entry.seq()), Pending { entry, payload, from });
        }
    }

    /// Bytes of what waits.
    pub(super) fn held_bytes(&self) -> usize {
        let payload = |pending: &Pending| pending.payload.as_ref().map_or(0, |bytes| bytes.len());
        let pending: usize = self.pending.values().map(|p| super::footprint::entry_bytes(&p.entry) + payload(p)).sum();
        pending + (self.requests.len() + self.payloads.len()) * size_of::<(PeerId, u32, Request)>()
    }

    /// The first entry of `author` from `count` on that is neither in the set nor waiting.
    fn first_missing(&self, author: &PeerId, count: u32) -> u32 {
        (count..).find(|seq| !self.pending.contains_key(&(*author, *seq))).unwrap_or(u32::MAX)
    }
}

impl Node {
    /// Announces a new entry to neighbours that are not known to hold it.
    pub(super) fn announce(&mut self, entry: &Entry) {
        let name = EntryName { author: entry.author(), seq: entry.seq() };
        let lacking = self.neighbours.iter().filter(|(_, neighbour)| !neighbour.known.contains(&name.author, name.seq));
        let mut targets: Vec<PeerId> = lacking.map(|(peer, _)| peer).filter(|peer| *peer != name.author).collect();
        while targets.len() > self.config.fanout {
            let at = self.below(targets.len());
            targets.swap_remove(at);
        }
        for peer in targets {
            self.send(peer, &Message::Announce { entries: vec![name] });
        }
    }

    /// A random number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.rng.next_u64()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    pub(super) fn on_announce(&mut self, from: PeerId, entries: &[EntryName]) {
        if entries.len() > ANNOUNCE_MAX {
            return self.strike(from, format!("{} entries announced at once", entries.len()));
        }
        for name in entries {
            self.neighbours.note(&from, name.author, name.seq.saturating_add(1));
        }
    }

    /// Asks for whatever some neighbour holds and this peer does not: one request an author, each entry once.
    pub(super) fn pull(&mut self) {
        let mut missing: BTreeMap<PeerId, Vec<(PeerId, u32)>> = BTreeMap::new();
        let closing = self.is_closing();
        for (peer, neighbour) in self.neighbours.iter().filter(|(_, neighbour)| neighbour.finishing || !closing) {
            for (author, count) in neighbour.known.iter() {
                let held = self.fold.log().version().count(&author);
                if count > held && !self.fold.log().is_cut(&author, held) {
                    missing.entry(author).or_default().push((peer, count));
                }
            }
        }
        for (author, holders) in missing {
            self.pull_author(author, &holders);
        }
        self.pull_payloads();
    }

    fn pull_author(&mut self, author: PeerId, holders: &[(PeerId, u32)]) {
        if self.gossip.requests.contains_key(&author) {
            return;
        }
        let from = self.gossip.first_missing(&author, self.fold.log().version().count(&author));
        let (until, payloads) = self.catch_up.horizon(&author);
        let useful: Vec<(PeerId, u32)> = holders.iter().copied().filter(|(_, count)| *count > from).collect();
        if useful.is_empty() || from >= until {
            return;
        }
        let (to, count) = useful[self.below(useful.len())];
        let count = (count.min(until) - from).min(WANT_MAX);
        self.gossip.requests.insert(author, Request { to, deadline: self.now + self.config.request_timeout });
        self.send(to, &Message::Want(Want { author, from, count, payloads }));
    }

    fn pull_payloads(&mut self) {
        let due: Vec<(PeerId, u32)> =
            self.gossip.payloads.iter().filter(|(_, request)| request.is_none()).map(|(name, _)| *name).collect();
        let peers: Vec<PeerId> = self.neighbours();
        for (author, seq) in due.into_iter().filter(|_| !peers.is_empty()) {
            let to = peers[self.below(peers.len())];
            let request = Request { to, deadline: self.now + self.config.request_timeout };
            self.gossip.payloads.insert((author, seq), Some(request));
            self.send(to, &Message::Want(Want { author, from: seq, count: 1, payloads: true }));
        }
    }

    /// Requests nobody answered: what that neighbour was said to hold is doubted, and another is asked.
    pub(super) fn requests_due(&mut self) {
        let now = self.now;
        let late: Vec<(PeerId, PeerId)> =
            self.gossip.requests.iter().filter(|(_, r)| r.deadline <= now).map(|(a, r)| (*a, r.to)).collect();
        for (author, to) in late {
            self.gossip.requests.remove(&author);
            self.doubt(&to, author);
        }
        for request in self.gossip.payloads.values_mut() {
            *request = request.filter(|request| request.deadline > now);
        }
    }

    /// Believes of `peer` that it holds no more of `author`'s chain than this peer does.
    fn doubt(&mut self, peer: &PeerId, author: PeerId) {
        let held = self.fold.log().version().count(&author);
        if let Some(neighbour) = self.neighbours.entry(peer) {
            neighbour.known.set(author, held);
        }
    }

    pub(super) fn forget_requests_to(&mut self, peer: PeerId) {
        self.gossip.requests.retain(|_, request| request.to != peer);
        for request in self.gossip.payloads.values_mut() {
            *request = request.filter(|request| request.to != peer);
        }
        self.forget_source(peer);
    }

    pub(super) fn on_want(&mut self, from: PeerId, want: Want) {
        if !self.catch_up.is_done() {
            return; // a newcomer that has not caught up serves nothing
        }
        let chain = self.fold.log().chain(&want.author);
        let start = chain.len().min(want.from as usize);
        let (mut items, mut bytes) = (Vec::new(), 0);
        for record in chain[start..].iter().take(want.count.min(WANT_MAX) as usize) {
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
        let mut authors = Vec::new();
        for Item { entry, payload } in items.into_iter().take(WANT_MAX as usize) {
            match Entry::check(entry) {
                Ok(entry) => {
                    authors.push(entry.author());
                    self.neighbours.note(&from, entry.author(), entry.seq().saturating_add(1));
                    self.offer(entry, payload.map(Arc::from), Some(from));
                }
                Err(error) => self.strike(from, error.to_string()),
            }
        }
        // An empty answer leaves its request to run out, so that the same neighbour is not asked in a loop.
        self.gossip.requests.retain(|author, request| request.to != from || !authors.contains(author));
        self.retry_pending();
    }

    /// Looks at one entry that came in: checks it against set, rules and lotteries, and inserts or keeps it.
    fn offer(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, from: Option<PeerId>) {
        if self.take_payload(&entry, payload.as_ref(), from) {
            return;
        }
        let inserted = self.try_insert(entry.clone(), payload.clone());
        self.after_offer(entry, payload, from, inserted);
    }

    fn try_insert(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) -> Insertion {
        let admitted = self.fold.admit(&entry) == murmur_collectives::Admission::Ready;
        if let Some(verdict) = entry.verdict().filter(|_| admitted)
            && check_verdict(&self.fold, &entry, verdict).is_err()
        {
            return Insertion::Refused(murmur_collectives::Invalid::Subject.into());
        }
        if self.catch_up.is_header_only(&entry) {
            return self.insert_header(&entry);
        }
        self.insert(entry, payload)
    }

    fn after_offer(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, from: Option<PeerId>, inserted: Insertion) {
        let most = self.config.pending_max;
        match inserted {
            Insertion::Applied { .. } | Insertion::Known => {}
            Insertion::Waits { needs, closed } => {
                if let Some(forger) = closed {
                    self.on_fork_proven(forger, &entry);
                }
                for (author, count) in needs.iter() {
                    from.iter().for_each(|peer| self.neighbours.note(peer, author, count));
                }
                self.gossip.hold(entry, payload, from, most);
            }
            Insertion::NeedsPayloads(names) => {
                for name in names {
                    self.gossip.payloads.entry(name).or_insert(None);
                }
                self.gossip.hold(entry, payload, from, most);
            }
            Insertion::Forks(other) => self.author_evidence(&other, &entry),
            Insertion::OtherBranch { seq } => {
                let want = Want { author: entry.author(), from: seq, count: 1, payloads: false };
                from.iter().for_each(|peer| self.send(*peer, &Message::Want(want)));
            }
            Insertion::Refused(Refused::WrongPayload) if payload.is_none() && from.is_some() => {
                // It holds the entry by a checkpoint, without the payload: somebody else is asked.
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
        self.root = None;
        self.forget_audits_of(forger);
        self.tell(Event::Evicted { peer: forger });
        self.send_away(forger, Closing::Evicted);
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
        match self.fold.supply_payload(&name.0, name.1, payload.clone()) {
            Ok(()) => {
                self.gossip.payloads.remove(&name);
            }
            Err(refused) => from.into_iter().for_each(|peer| self.strike(peer, refused.to_string())),
        }
        true
    }

    /// Tries what waited, until nothing more fits.
    pub(super) fn retry_pending(&mut self) {
        loop {
            let names: Vec<(PeerId, u32)> = self.gossip.pending.keys().copied().collect();
            let before = self.fold.log().version().clone();
            for name in names {
                let Some(Pending { entry, payload, from }) = self.gossip.pending.remove(&name) else { continue };
                self.offer(entry, payload, from);
            }
            if *self.fold.log().version() == before {
                return;
            }
        }
    }
}

fn item(record: &Record, payloads: bool) -> Item {
    let payload = record.payload.as_deref().filter(|_| payloads).map(<[u8]>::to_vec);
    Item { entry: record.entry.wire().clone(), payload }
}
