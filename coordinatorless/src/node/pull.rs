//! Pulling: what some neighbour is known to hold and this peer lacks is asked for once, of whoever serves best.
//!
//! Authors of whom something is lacking are kept in a list, so that a peer that lacks nothing looks at nothing.

use murmur_collectives::{PeerId, VersionVector};

use super::{
    Node,
    gossip::{Request, WANT_MAX},
    limits,
    pending::Room,
};
use crate::{EntryName, Message, Want};

/// Entries named in one announcement, at most.
const ANNOUNCE_MAX: usize = 1024;

/// Requests under way at once, to all neighbours together.
const REQUESTS_MAX: usize = 256;

/// Requests under way at once to one neighbour, so that a slow one holds up no more than these.
const REQUESTS_EACH: u32 = 32;

/// A neighbour that owes this many answers, and gave none for so many times the patience with one, has announced what it
/// does not serve. One that was only stopped or cut off answers before that, or loses its connection.
const OWING_MAX: u32 = 8;
const OWING_TIMEOUTS: u32 = 4;

impl Node {
    /// How much may wait for its past.
    pub(super) fn room(&self) -> Room {
        Room { entries: self.core.config.pending_max, bytes: self.core.config.pending_bytes_max }
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
        self.connectivity.neighbours_mut().note(peer, author, count);
        if count > self.set.fold.log().reach(&author) && !self.gossip.requests.contains_key(&author) {
            self.gossip.lacking.insert(author);
        }
    }

    /// The same for everything a digest names.
    pub(super) fn note_all(&mut self, vector: &VersionVector) {
        let log = self.set.fold.log();
        let more = vector.ahead_of(log.version()).filter(|author| vector.count(author) > log.reach(author));
        let more = more.filter(|author| !self.gossip.requests.contains_key(author));
        self.gossip.lacking.extend(more);
    }

    /// Asks for whatever some neighbour holds and this peer does not: one request an author, each entry once.
    pub(super) fn pull(&mut self) {
        let may = self.catch_up.pulls() && self.gossip.requests.len() < REQUESTS_MAX;
        if may && !self.gossip.lacking.is_empty() {
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
        let held = self.set.fold.log().reach(&author);
        let holders: Vec<(PeerId, u32)> = self.holders(&author, held);
        if holders.is_empty() || self.set.fold.log().is_cut(&author, held) {
            self.gossip.lacking.remove(&author);
            return;
        }
        let from = self.gossip.first_missing(&author, held);
        let Some((to, count)) = self.choose(&holders, from) else { return };
        let count = (count - from).min(WANT_MAX);
        self.gossip.lacking.remove(&author);
        let want = Message::Want(Want { author, from, count, payloads: true });
        self.gossip
            .requests
            .insert(author, Request { to, deadline: limits::overdue_at(&self.core, self.set.fold.rules(), &want) });
        self.connectivity.neighbours_mut().entry(&to).into_iter().for_each(|neighbour| neighbour.asked += 1);
        self.send(to, &want);
    }

    fn holders(&self, author: &PeerId, held: u32) -> Vec<(PeerId, u32)> {
        let counts =
            self.connectivity.neighbours().iter().map(|(peer, neighbour)| (peer, neighbour.known.count(author)));
        counts.filter(|(_, count)| *count > held).collect()
    }

    fn choose(&mut self, holders: &[(PeerId, u32)], from: u32) -> Option<(PeerId, u32)> {
        let closing = self.is_closing();
        let useful = holders.iter().filter_map(|(peer, count)| {
            let neighbour = self.connectivity.neighbours().look(peer)?;
            let may = *count > from && neighbour.asked < REQUESTS_EACH && (neighbour.finishing || !closing);
            may.then_some(((neighbour.owing, neighbour.asked), (*peer, *count)))
        });
        let useful: Vec<_> = useful.collect();
        let least = useful.iter().map(|(load, _)| *load).min()?;
        let best: Vec<(PeerId, u32)> = useful.iter().filter(|(load, _)| *load == least).map(|(_, who)| *who).collect();
        Some(best[self.core.below(best.len())])
    }

    fn pull_payloads(&mut self) {
        let log = self.set.fold.log();
        let is_missing = |author: &PeerId, seq| log.record(author, seq).is_some_and(|record| record.payload.is_none());
        self.gossip.payloads.retain(|(author, seq), _| is_missing(author, *seq));
        if self.gossip.payloads.is_empty() {
            return;
        }
        let due: Vec<(PeerId, u32)> =
            self.gossip.payloads.iter().filter(|(_, request)| request.is_none()).map(|(name, _)| *name).collect();
        let peers: Vec<PeerId> = self.neighbours();
        for (author, seq) in due.into_iter().filter(|_| !peers.is_empty()) {
            let to = peers[self.core.below(peers.len())];
            let want = Message::Want(Want { author, from: seq, count: 1, payloads: true });
            let request = Request { to, deadline: limits::overdue_at(&self.core, self.set.fold.rules(), &want) };
            self.gossip.payloads.insert((author, seq), Some(request));
            self.send(to, &want);
        }
    }

    /// Requests nobody answered: what that neighbour was said to hold is doubted, and another is asked.
    pub(super) fn requests_due(&mut self) {
        let now = self.core.now;
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
    pub(super) fn close_request(&mut self, author: &PeerId, answered: bool) {
        let (now, patience) = (self.core.now, self.core.config.request_timeout * OWING_TIMEOUTS);
        let Some(Request { to, .. }) = self.gossip.requests.remove(author) else { return };
        self.gossip.lacking.insert(*author);
        let Some(neighbour) = self.connectivity.neighbours_mut().entry(&to) else { return };
        neighbour.asked = neighbour.asked.saturating_sub(1);
        if answered {
            (neighbour.owing, neighbour.owing_since) = (neighbour.owing / 2, None);
            return;
        }
        neighbour.owing += 1;
        let since = *neighbour.owing_since.get_or_insert(now);
        if neighbour.owing >= OWING_MAX && now.since(since) >= patience {
            (neighbour.owing, neighbour.owing_since) = (neighbour.owing / 2, None);
            self.strike(to, "says it holds what it does not serve".to_owned());
        }
    }

    /// Believes of `peer` that it holds no more of `author`'s chain than this peer does.
    pub(super) fn doubt(&mut self, peer: &PeerId, author: PeerId) {
        let held = self.set.fold.log().reach(&author);
        if let Some(neighbour) = self.connectivity.neighbours_mut().entry(peer) {
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
}
