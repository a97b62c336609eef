//! Gossip: entries are announced by name, pulled once, checked, and inserted when their past is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use murmur_collectives::{Body, Entry, Insertion, PeerId, Record, Refused};
use murmur_verification::check_verdict;
use rand_chacha::rand_core::Rng;

use super::{
    Node,
    pending::{Pending, Room, Waiting},
};
use crate::{Closing, EntryName, Event, Item, Message, Time, Want};

/// Entries asked for in one request.
const WANT_MAX: u32 = 64;

/// Bytes of entries in one answer; what does not fit is asked for again.
const ANSWER_BYTES: usize = 512 * 1024;

/// Entries named in one announcement, at most.
const ANNOUNCE_MAX: usize = 1024;

/// Requests under way at once, to all neighbours together.
const REQUESTS_MAX: usize = 256;

/// Requests under way at once to one neighbour, so that a slow one holds up no more than these.
const REQUESTS_EACH: u32 = 32;

/// A neighbour that owes this many answers has announced what it does not serve.
const OWING_MAX: u32 = 8;

/// A request under way.
#[derive(Clone, Copy, Debug)]
struct Request {
    to: PeerId,
    deadline: Time,
}

/// What is asked for and what waits.
#[derive(Default, Debug)]
pub(super) struct Gossip {
    /// At most one request for each author's chain.
    requests: BTreeMap<PeerId, Request>,
    /// Authors of whom some neighbour may hold more, and of whom nothing is asked for.
    lacking: BTreeSet<PeerId>,
    pending: Pending,
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

    /// Keeps an entry to be tried by the next [`Node::retry_pending`].
    pub(super) fn hold(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, from: Option<PeerId>, room: Room) {
        let on = entry.author();
        self.pending.hold(entry, payload, from, on, room);
        self.pending.grow(on);
    }

    /// The set has an entry more of `author`.
    pub(super) fn grow(&mut self, author: PeerId) {
        self.pending.grow(author);
    }

    /// The first entry of `author` from `count` on that is neither in the set nor waiting.
    fn first_missing(&self, author: &PeerId, count: u32) -> u32 {
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

    /// How much may wait for its past.
    pub(super) fn room(&self) -> Room {
        Room { entries: self.config.pending_max, bytes: self.config.pending_bytes_max }
    }

    pub(super) fn on_announce(&mut self, from: PeerId, entries: &[EntryName]) {
        if entries.len() > ANNOUNCE_MAX {
            return self.strike(from, format!("{} entries announced at once", entries.len()));
        }
        for name in entries {
            self.note(&from, name.author, name.seq.saturating_add(1));
        }
    }

    /// `peer` holds the first `count` entries of `author`. If that is more than there is here, it is to be pulled.
    pub(super) fn note(&mut self, peer: &PeerId, author: PeerId, count: u32) {
        self.neighbours.note(peer, author, count);
        if count > self.fold.log().version().count(&author) && !self.gossip.requests.contains_key(&author) {
            self.gossip.lacking.insert(author);
        }
    }

    /// The same for everything a digest names.
    pub(super) fn note_all(&mut self, vector: &murmur_collectives::VersionVector) {
        let version = self.fold.log().version();
        let more = vector.iter().filter(|(author, count)| *count > version.count(author)).map(|(author, _)| author);
        let more = more.filter(|author| !self.gossip.requests.contains_key(author));
        self.gossip.lacking.extend(more);
    }

    /// Asks for whatever some neighbour holds and this peer does not: one request an author, each entry once.
    pub(super) fn pull(&mut self) {
        if !self.gossip.lacking.is_empty() && self.gossip.requests.len() < REQUESTS_MAX {
            let lacking: Vec<PeerId> = self.gossip.lacking.iter().copied().collect();
            for author in lacking {
                self.pull_author(author);
                if self.gossip.requests.len() >= REQUESTS_MAX {
                    break;
                }
            }
        }
        self.pull_payloads();
    }

    /// Asks one of those that hold more of `author`'s chain: one that owes the fewest answers, and of these the least busy.
    fn pull_author(&mut self, author: PeerId) {
        let held = self.fold.log().version().count(&author);
        let holders: Vec<(PeerId, u32)> = self.holders(&author, held);
        if holders.is_empty() || self.fold.log().is_forked(&author) {
            self.gossip.lacking.remove(&author);
            return;
        }
        let from = self.gossip.first_missing(&author, held);
        let (until, payloads) = self.catch_up.horizon(&author);
        let Some((to, count)) = self.choose(&holders, from).filter(|_| from < until) else { return };
        let count = (count.min(until) - from).min(WANT_MAX);
        self.gossip.lacking.remove(&author);
        self.gossip.requests.insert(author, Request { to, deadline: self.now + self.config.request_timeout });
        self.neighbours.entry(&to).into_iter().for_each(|neighbour| neighbour.asked += 1);
        self.send(to, &Message::Want(Want { author, from, count, payloads }));
    }

    fn holders(&self, author: &PeerId, held: u32) -> Vec<(PeerId, u32)> {
        let counts = self.neighbours.iter().map(|(peer, neighbour)| (peer, neighbour.known.count(author)));
        counts.filter(|(_, count)| *count > held).collect()
    }

    fn choose(&mut self, holders: &[(PeerId, u32)], from: u32) -> Option<(PeerId, u32)> {
        let closing = self.is_closing();
        let useful = holders.iter().filter_map(|(peer, count)| {
            let neighbour = self.neighbours.look(peer)?;
            let may = *count > from && neighbour.asked < REQUESTS_EACH && (neighbour.finishing || !closing);
            may.then_some(((neighbour.owing, neighbour.asked), (*peer, *count)))
        });
        let useful: Vec<_> = useful.collect();
        let least = useful.iter().map(|(load, _)| *load).min()?;
        let best: Vec<(PeerId, u32)> = useful.iter().filter(|(load, _)| *load == least).map(|(_, who)| *who).collect();
        Some(best[self.below(best.len())])
    }

    fn pull_payloads(&mut self) {
        if self.gossip.payloads.is_empty() {
            return;
        }
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
            self.close_request(&author, false);
            self.doubt(&to, author);
        }
        for request in self.gossip.payloads.values_mut() {
            *request = request.filter(|request| request.deadline > now);
        }
    }

    /// A request was answered or has run out. Who owes too many answers announces what it does not serve.
    fn close_request(&mut self, author: &PeerId, answered: bool) {
        let Some(Request { to, .. }) = self.gossip.requests.remove(author) else { return };
        self.gossip.lacking.insert(*author);
        let Some(neighbour) = self.neighbours.entry(&to) else { return };
        neighbour.asked = neighbour.asked.saturating_sub(1);
        neighbour.owing = if answered { neighbour.owing / 2 } else { neighbour.owing + 1 };
        if neighbour.owing >= OWING_MAX {
            neighbour.owing /= 2;
            self.strike(to, "says it holds what it does not serve".to_owned());
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
        let asked: Vec<PeerId> = self.gossip.requests.iter().filter(|(_, r)| r.to == peer).map(|(a, _)| *a).collect();
        for author in asked {
            self.gossip.requests.remove(&author);
            self.gossip.lacking.insert(author);
        }
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
        for author in authors {
            if self.gossip.requests.get(&author).is_some_and(|request| request.to == from) {
                self.close_request(&author, true);
            }
        }
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
        let author = entry.author();
        let header_only = self.catch_up.is_header_only(&entry);
        let insertion = if header_only { self.insert_header(&entry) } else { self.insert(entry, payload) };
        if matches!(insertion, Insertion::Applied { .. }) {
            self.gossip.grow(author);
        }
        insertion
    }

    fn after_offer(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, from: Option<PeerId>, inserted: Insertion) {
        let room = self.room();
        match inserted {
            Insertion::Applied { .. } | Insertion::Known => {}
            Insertion::Waits { needs, closed } => {
                if let Some(forger) = closed {
                    self.on_fork_proven(forger, &entry);
                }
                for (author, count) in needs.iter() {
                    from.iter().for_each(|peer| self.note(peer, author, count));
                }
                let on = needs.iter().next().map_or(entry.author(), |(author, _)| author);
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
        self.gossip.pending.grow_all();
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
                self.gossip.grow(name.0);
            }
            Err(refused) => from.into_iter().for_each(|peer| self.strike(peer, refused.to_string())),
        }
        true
    }

    /// Tries what waited for chains that have grown, until nothing more fits.
    pub(super) fn retry_pending(&mut self) {
        while let Some(waiting) = self.gossip.pending.next_grown() {
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
    Item { entry: record.entry.wire().clone(), payload }
}
