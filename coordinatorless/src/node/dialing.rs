//! Dials: a few at once, those that failed again later, twice as late each time, for ever but slowly.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use murmur_collectives::PeerId;

use super::{Node, address_book::pause, pace::Pace};
use crate::{Message, Output, PeerAddress, Time};

/// Dials wanted, at most; beyond, those that matter least are dropped.
const WANTED_MAX: usize = 256;

/// A dial that the driver has said nothing of for this long has failed.
const ANSWER_AFTER: Duration = Duration::from_secs(30);

/// Addresses in one message, at most.
const TOLD_MAX: usize = 64;

/// Datagrams kept for a peer that is being dialed, at most, and peers they are kept for.
const HELD_MAX: (usize, usize) = (2, 64);

/// What a dial is for, the least important first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Purpose {
    /// One exchange with a member that is no neighbour.
    Contact,
    /// To see whether a peer believed dead is back.
    Heal,
    /// To have enough neighbours.
    View,
    /// A neighbour was lost.
    Lost,
    /// The user said so.
    User,
}

/// A dial that is wanted or under way.
#[derive(Clone, Copy, Debug)]
struct Dial {
    purpose: Purpose,
    expect: Option<PeerId>,
    attempts: u32,
    /// When to begin, or when it began.
    at: Time,
    begun: bool,
    /// When, once begun, another way is looked for beside it.
    doubt_at: Option<Time>,
}

impl Dial {
    fn new(purpose: Purpose, expect: Option<PeerId>, at: Time) -> Self {
        Self { purpose, expect, attempts: 0, at, begun: false, doubt_at: None }
    }

    fn next_deadline(&self) -> Time {
        let ends = if self.begun { self.at + ANSWER_AFTER } else { self.at };
        self.doubt_at.map_or(ends, |doubt_at| ends.min(doubt_at))
    }
}

/// Dials wanted and under way, and what waits for them.
#[derive(Default, Debug)]
pub(super) struct Dialing {
    dials: BTreeMap<SocketAddr, Dial>,
    held: BTreeMap<PeerId, VecDeque<Vec<u8>>>,
    pace: Pace,
}

impl Dialing {
    pub(super) fn next_deadline(&self, at_once: usize) -> Option<Time> {
        let busy = self.dials.values().filter(|dial| dial.begun).count() >= at_once;
        self.dials.values().filter(|dial| dial.begun || !busy).map(Dial::next_deadline).min()
    }

    /// Whether `address` is being dialed.
    pub(super) fn is_under_way(&self, address: &SocketAddr) -> bool {
        self.dials.get(address).is_some_and(|dial| dial.begun)
    }

    /// Whether a dial that expects `peer` is wanted or under way.
    pub(super) fn seeks(&self, peer: &PeerId) -> bool {
        self.dials.values().any(|dial| dial.expect == Some(*peer))
    }

    /// Everybody that a dial expects.
    pub(super) fn sought(&self) -> BTreeSet<PeerId> {
        self.dials.values().filter_map(|dial| dial.expect).collect()
    }

    /// Dials that will make neighbours.
    pub(super) fn count_for_view(&self) -> usize {
        self.dials.values().filter(|dial| dial.purpose == Purpose::View).count()
    }

    /// The connection that `address` or `peer` was dialed for is there. Says what for, if it was dialed.
    pub(super) fn done(&mut self, peer: &PeerId, address: SocketAddr, now: Time) -> Option<Purpose> {
        if let Some(straight) = self.dials.get(&address).filter(|dial| dial.begun) {
            self.pace.note(now.since(straight.at));
        }
        let hit = |at: &SocketAddr, dial: &Dial| *at == address || dial.expect == Some(*peer);
        let purpose = self.dials.iter().filter(|(at, dial)| hit(at, dial)).map(|(_, dial)| dial.purpose).max();
        self.dials.retain(|at, dial| !hit(at, dial));
        purpose
    }

    pub(super) fn cancel(&mut self, peer: &PeerId) {
        self.dials.retain(|_, dial| dial.expect != Some(*peer));
        self.held.remove(peer);
    }

    fn want(&mut self, address: SocketAddr, dial: Dial) {
        if let Some(held) = self.dials.get_mut(&address) {
            held.purpose = held.purpose.max(dial.purpose);
            if !held.begun && dial.purpose == Purpose::User {
                held.at = held.at.min(dial.at);
            }
            return;
        }
        if self.dials.len() >= WANTED_MAX {
            let idle = self.dials.iter().filter(|(_, dial)| !dial.begun);
            let least = idle.min_by_key(|(_, dial)| (dial.purpose, core::cmp::Reverse(dial.attempts)));
            match least.map(|(address, least)| (*address, least.purpose)) {
                Some((least, purpose)) if purpose < dial.purpose => self.dials.remove(&least),
                Some(_) | None => return,
            };
        }
        self.dials.insert(address, dial);
    }

    /// Begins the dial that has waited longest, if one is due.
    fn begin(&mut self, now: Time, at_once: usize) -> Option<(SocketAddr, &mut Dial)> {
        if self.dials.values().filter(|dial| dial.begun).count() >= at_once {
            return None;
        }
        let due = self.dials.iter_mut().filter(|(_, dial)| !dial.begun && dial.at <= now);
        let (address, dial) = due.min_by_key(|(_, dial)| (dial.at, core::cmp::Reverse(dial.purpose)))?;
        (dial.begun, dial.at) = (true, now);
        Some((*address, dial))
    }

    /// Dials that have taken so long that another way is looked for, each told once.
    fn doubtful(&mut self, now: Time) -> Vec<(PeerId, Purpose)> {
        let doubtful = self.dials.values_mut().filter(|dial| dial.begun && dial.doubt_at.is_some_and(|at| at <= now));
        doubtful.filter_map(|dial| dial.doubt_at.take().and(dial.expect).map(|peer| (peer, dial.purpose))).collect()
    }

    fn unanswered(&self, now: Time) -> Vec<SocketAddr> {
        self.dials
            .iter()
            .filter(|(_, dial)| dial.begun && dial.at + ANSWER_AFTER <= now)
            .map(|(address, _)| *address)
            .collect()
    }
}

impl Node {
    /// Wants a dial to `peer` where it was last, unless all its places have just failed.
    pub(super) fn seek(&mut self, peer: PeerId, purpose: Purpose) {
        if let Some(address) = self.address_book.best(&peer, self.core.now).filter(|_| self.may_dial(&peer)) {
            self.want_dial(address, Some(peer), purpose);
        }
    }

    fn may_dial(&self, peer: &PeerId) -> bool {
        *peer != self.id()
            && !self.membership.is_second()
            && !self.neighbours.is_connected(peer)
            && !self.set.fold.is_evicted(peer)
            && !self.limits.is_banned(peer, self.core.now)
    }

    fn want_dial(&mut self, address: SocketAddr, expect: Option<PeerId>, purpose: Purpose) {
        self.dialing.want(address, Dial::new(purpose, expect, self.core.now));
        self.begin_dials();
    }

    fn begin_dials(&mut self) {
        let (now, doubt_after) = (self.core.now, self.doubt_after());
        while let Some((address, dial)) = self.dialing.begin(now, self.core.config.dials_at_once) {
            // Few translators turn packets around to those inside, and nobody is behind one on loopback.
            let inside = self.reaching.is_behind(address.ip());
            let doubt_after = if inside { Duration::ZERO } else { doubt_after };
            dial.doubt_at = dial.expect.filter(|_| !address.ip().is_loopback()).map(|_| now + doubt_after);
            self.core.outputs.push_back(Output::Dial { address, expect: dial.expect });
        }
    }

    /// How long a way may take until another is looked for beside it.
    pub(super) fn doubt_after(&self) -> Duration {
        self.dialing.pace.doubt_after(self.core.config.doubt_after)
    }

    /// Begins what is due, doubts what takes long, and gives up what was not answered.
    pub(super) fn dials_due(&mut self) {
        for (peer, purpose) in self.dialing.doubtful(self.core.now) {
            // Without anybody to ask the dial goes on alone.
            if self.has_go_between(&peer) {
                let _ = self.begin_search(peer, purpose);
            }
        }
        for address in self.dialing.unanswered(self.core.now) {
            self.on_dial_failed(address, true);
        }
        self.begin_dials();
    }

    pub(super) fn on_introduced(&mut self, address: SocketAddr) {
        // As it will be reported, if it is IPv4 in the clothes of IPv6. Any other keeps its scope.
        let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.want_dial(if plain.is_ipv4() { plain } else { address }, None, Purpose::User);
    }

    pub(super) fn on_dial_failed(&mut self, address: SocketAddr, retry: bool) {
        if retry {
            self.address_book.fail(address, self.core.now);
        }
        if let Some(dial) = self.dialing.dials.remove(&address) {
            if let Some(peer) = dial.expect
                && !self.seek_otherwise(peer, address, dial.purpose)
                && !self.begin_search(peer, dial.purpose)
            {
                self.give_up_reaching(peer);
            }
            if retry && dial.purpose >= Purpose::Lost {
                self.redial_later(address, dial);
            }
        }
        self.begin_dials();
    }

    /// Dials `peer`, which could not be dialed at `failed`, by the other version of IP, if it is known to have both.
    fn seek_otherwise(&mut self, peer: PeerId, failed: SocketAddr, purpose: Purpose) -> bool {
        let best = self.address_book.best(&peer, self.core.now).filter(|best| best.is_ipv4() != failed.is_ipv4());
        let Some(address) = best.filter(|_| self.may_dial(&peer)) else { return false };
        self.dialing.want(address, Dial::new(purpose, Some(peer), self.core.now));
        true
    }

    /// There is no way to `peer` now: what waited for it is dropped.
    pub(super) fn give_up_reaching(&mut self, peer: PeerId) {
        self.dialing.held.remove(&peer);
        self.on_unreachable(peer);
    }

    fn redial_later(&mut self, address: SocketAddr, failed: Dial) {
        if self.own_chain.is_finishing() {
            return;
        }
        let attempts = failed.attempts.saturating_add(1);
        let pause = self.core.jittered(pause(attempts));
        let again = Dial::new(failed.purpose, failed.expect, self.core.now + pause);
        self.dialing.want(address, Dial { attempts, ..again });
    }

    /// A neighbour was lost: it is sought soon, in all places where it ever was. The newest may be one of another process
    /// with its identity, which has stopped since, and a dial that nobody answers takes longer than that process needs to
    /// be taken for the only one. Who left before it had said anything may not want the connection: it is dialed more and more
    /// rarely.
    pub(super) fn redial_lost(&mut self, peer: PeerId, greeted: bool) {
        if !self.may_dial(&peer) || self.own_chain.is_finishing() {
            return;
        }
        let at = self.core.now + self.core.jittered(pause(1));
        for (address, retry_at) in self.address_book.places(&peer) {
            let at = if greeted { at } else { at.max(retry_at) };
            self.dialing.want(address, Dial::new(Purpose::Lost, Some(peer), at));
        }
    }

    /// Sends a datagram; to a member without a connection by dialing it first, keeping the newest few meanwhile.
    pub(super) fn send_datagram(&mut self, to: PeerId, bytes: Vec<u8>) {
        if self.membership.is_second() {
            return;
        }
        if let Some(neighbour) = self.neighbours.entry(&to) {
            neighbour.used_at = self.core.now;
            return self.core.outputs.push_back(Output::Datagram { to, bytes });
        }
        self.seek(to, Purpose::Contact);
        if (self.dialing.seeks(&to) || self.reaching.seeks(&to))
            && (self.dialing.held.len() < HELD_MAX.1 || self.dialing.held.contains_key(&to))
        {
            let held = self.dialing.held.entry(to).or_default();
            held.push_back(bytes);
            while held.len() > HELD_MAX.0 {
                held.pop_front();
            }
        }
    }

    /// Sends what waited for a connection.
    pub(super) fn release_held(&mut self, peer: PeerId) {
        for bytes in self.dialing.held.remove(&peer).into_iter().flatten() {
            self.core.outputs.push_back(Output::Datagram { to: peer, bytes });
        }
    }

    /// Somebody says where a peer is.
    pub(super) fn hear_of(&mut self, peer: PeerId, address: SocketAddr) {
        if self.is_allowed(address) && peer != self.id() {
            self.address_book.hear(peer, address);
        }
    }

    /// A sample of the peers connected here, for one that came.
    pub(super) fn introduce_others(&mut self, to: PeerId) {
        let mut known: Vec<PeerAddress> = self
            .neighbours
            .iter()
            .filter(|(peer, neighbour)| *peer != to && neighbour.is_near())
            .filter_map(|(peer, _)| Some(PeerAddress::new(peer, self.address_of(&peer)?)))
            .collect();
        while known.len() > self.core.config.neighbours_target.min(TOLD_MAX) {
            let at = self.core.below(known.len());
            known.swap_remove(at);
        }
        if !known.is_empty() {
            self.send(to, &Message::Peers { peers: known });
        }
    }

    pub(super) fn on_peers(&mut self, from: PeerId, peers: &[PeerAddress]) {
        if peers.len() > TOLD_MAX {
            return self.strike(from, format!("{} addresses at once", peers.len()));
        }
        for told in peers {
            if self.limits.admit_address(&self.core, &from) {
                self.hear_of(told.peer, told.address());
                self.reaching.note_introducer(told.peer, from);
            }
        }
        self.look_around();
    }
}
