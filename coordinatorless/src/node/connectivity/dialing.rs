//! Dials: a few at a time; a failed dial to a lost neighbour or to an address of the user is repeated for ever, with
//! a delay that doubles up to a limit.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use murmur_collectives::PeerId;

use super::{Connectivity, Context, Event, address_book::retry_delay, dial_rtt::DialRtt, reachability::is_allowed};
use crate::{Message, Output, PeerAddress, Time, node::context::Core};

/// The number of dials queued or under way, at most; beyond, the least important queued dial is dropped.
const DIALS_MAX: usize = 256;

/// A dial without a result from the driver has failed after this time.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of addresses in one `Peers` message, at most.
const ADDRESSES_PER_MESSAGE_MAX: usize = 64;

/// The number of datagrams queued for one peer that is being dialed, at most; the newest are kept.
const QUEUED_DATAGRAMS_MAX: usize = 2;

/// The number of peers for which datagrams are queued, at most.
const QUEUED_PEERS_MAX: usize = 64;

/// The purpose of a dial, least important first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Purpose {
    /// One exchange with a member that is not a neighbour.
    Contact,
    /// To find out whether a peer that is believed down is back.
    Heal,
    /// To reach the target number of neighbours.
    View,
    /// To reconnect to a neighbour whose connection was lost.
    Lost,
    /// The user asked for it.
    User,
}

/// A dial that is queued or under way.
#[derive(Clone, Copy, Debug)]
struct Dial {
    purpose: Purpose,
    expect: Option<PeerId>,
    attempts: u32,
    /// The time to start it, or the time at which it was started.
    at: Time,
    started: bool,
    /// The time at which the started dial counts as slow, until NAT traversal was started beside it.
    slow_at: Option<Time>,
}

impl Dial {
    /// A dial to start at `at`.
    fn new(purpose: Purpose, expect: Option<PeerId>, at: Time) -> Self {
        Self { purpose, expect, attempts: 0, at, started: false, slow_at: None }
    }

    /// The time at which the dial is to be started, becomes slow, or times out.
    fn next_deadline(&self) -> Time {
        let ends = if self.started { self.at + DIAL_TIMEOUT } else { self.at };
        self.slow_at.map_or(ends, |slow_at| ends.min(slow_at))
    }
}

/// The dials queued or under way, and the datagrams that wait for their connections.
#[derive(Default, Debug)]
pub(crate) struct Dialing {
    dials: BTreeMap<SocketAddr, Dial>,
    queued_datagrams: BTreeMap<PeerId, VecDeque<Vec<u8>>>,
    dial_rtt: DialRtt,
}

impl Dialing {
    /// The time at which [`Connectivity::dials_due`] has work. Queued dials do not count while `at_once` dials are
    /// under way.
    pub(crate) fn next_deadline(&self, at_once: usize) -> Option<Time> {
        let busy = self.dials.values().filter(|dial| dial.started).count() >= at_once;
        self.dials.values().filter(|dial| dial.started || !busy).map(Dial::next_deadline).min()
    }

    /// Whether a dial of `address` was started.
    pub(crate) fn is_under_way(&self, address: &SocketAddr) -> bool {
        self.dials.get(address).is_some_and(|dial| dial.started)
    }

    /// Whether a dial that expects `peer` is queued or under way.
    pub(crate) fn seeks(&self, peer: &PeerId) -> bool {
        self.dials.values().any(|dial| dial.expect == Some(*peer))
    }

    /// All peers that a dial expects.
    pub(crate) fn sought(&self) -> BTreeSet<PeerId> {
        self.dials.values().filter_map(|dial| dial.expect).collect()
    }

    /// The number of dials that add a neighbour to the view.
    pub(crate) fn count_for_view(&self) -> usize {
        self.dials.values().filter(|dial| dial.purpose == Purpose::View).count()
    }

    /// A connection to `peer` at `address` came up: removes all dials for either. Returns the most important purpose
    /// of them.
    pub(crate) fn complete(&mut self, peer: &PeerId, address: SocketAddr, now: Time) -> Option<Purpose> {
        if let Some(dial) = self.dials.get(&address).filter(|dial| dial.started) {
            self.dial_rtt.record(now.since(dial.at));
        }
        let hit = |at: &SocketAddr, dial: &Dial| *at == address || dial.expect == Some(*peer);
        let purpose = self.dials.iter().filter(|(at, dial)| hit(at, dial)).map(|(_, dial)| dial.purpose).max();
        self.dials.retain(|at, dial| !hit(at, dial));
        purpose
    }

    /// Drops all dials that expect `peer`, and the datagrams queued for it.
    pub(crate) fn cancel(&mut self, peer: &PeerId) {
        self.dials.retain(|_, dial| dial.expect != Some(*peer));
        self.queued_datagrams.remove(peer);
    }

    /// Queues a dial, unless the address is being dialed already: then that dial gets the more important purpose. If
    /// all places are taken, a less important dial gives way.
    fn enqueue(&mut self, address: SocketAddr, dial: Dial) {
        if let Some(queued) = self.dials.get_mut(&address) {
            queued.purpose = queued.purpose.max(dial.purpose);
            if !queued.started && dial.purpose == Purpose::User {
                queued.at = queued.at.min(dial.at);
            }
            return;
        }
        if self.dials.len() >= DIALS_MAX {
            let idle = self.dials.iter().filter(|(_, dial)| !dial.started);
            let least = idle.min_by_key(|(_, dial)| (dial.purpose, core::cmp::Reverse(dial.attempts)));
            match least.map(|(address, least)| (*address, least.purpose)) {
                Some((least, purpose)) if purpose < dial.purpose => self.dials.remove(&least),
                Some(_) | None => return,
            };
        }
        self.dials.insert(address, dial);
    }

    /// Starts the dial that has been due longest, if fewer than `at_once` are under way.
    fn start_next(&mut self, now: Time, at_once: usize) -> Option<(SocketAddr, &mut Dial)> {
        if self.dials.values().filter(|dial| dial.started).count() >= at_once {
            return None;
        }
        let due = self.dials.iter_mut().filter(|(_, dial)| !dial.started && dial.at <= now);
        let (address, dial) = due.min_by_key(|(_, dial)| (dial.at, core::cmp::Reverse(dial.purpose)))?;
        (dial.started, dial.at) = (true, now);
        Some((*address, dial))
    }

    /// The peers whose dial has become slow; each slow dial is returned once.
    fn slow(&mut self, now: Time) -> Vec<(PeerId, Purpose)> {
        let slow = self.dials.values_mut().filter(|dial| dial.started && dial.slow_at.is_some_and(|at| at <= now));
        slow.filter_map(|dial| dial.slow_at.take().and(dial.expect).map(|peer| (peer, dial.purpose))).collect()
    }

    /// The addresses of dials without a result.
    fn timed_out(&self, now: Time) -> Vec<SocketAddr> {
        self.dials
            .iter()
            .filter(|(_, dial)| dial.started && dial.at + DIAL_TIMEOUT <= now)
            .map(|(address, _)| *address)
            .collect()
    }
}

impl Connectivity {
    /// Dials `peer` at its best address, unless all of its addresses are delayed after failures.
    pub(crate) fn seek(&mut self, cx: &mut Context<'_>, peer: PeerId, purpose: Purpose) {
        if let Some(address) = self.address_book.best(&peer, cx.core.now).filter(|_| self.may_dial(cx, &peer)) {
            self.dial_now(cx, address, Some(peer), purpose);
        }
    }

    /// Whether `peer` may be dialed: it is not connected, evicted or banned, and no earlier process has this identity.
    fn may_dial(&self, cx: &Context<'_>, peer: &PeerId) -> bool {
        *peer != cx.core.id()
            && !cx.swarm.is_second
            && !self.neighbours.is_connected(peer)
            && !cx.set.fold.is_evicted(peer)
            && !cx.limits.is_banned(peer, cx.core.now)
    }

    /// Queues a dial that is due at once, and starts it if there is room.
    fn dial_now(&mut self, cx: &mut Context<'_>, address: SocketAddr, expect: Option<PeerId>, purpose: Purpose) {
        self.dialing.enqueue(address, Dial::new(purpose, expect, cx.core.now));
        self.start_dials(cx);
    }

    /// Starts due dials until the maximum is under way.
    fn start_dials(&mut self, cx: &mut Context<'_>) {
        let (now, doubt_after) = (cx.core.now, self.doubt_after(cx));
        while let Some((address, dial)) = self.dialing.start_next(now, cx.core.config.dials_at_once) {
            // A dial of the own NAT's outer address counts as slow at once: few NATs support hairpinning (RFC 4787,
            // section 6). A dial on loopback never does: it passes no NAT.
            let inside = self.reachability.is_own_nat(address.ip());
            let doubt_after = if inside { Duration::ZERO } else { doubt_after };
            dial.slow_at = dial.expect.filter(|_| !address.ip().is_loopback()).map(|_| now + doubt_after);
            cx.core.outputs.push_back(Output::Dial { address, expect: dial.expect });
        }
    }

    /// The time after which a dial counts as slow.
    pub(crate) fn doubt_after(&self, cx: &Context<'_>) -> Duration {
        self.dialing.dial_rtt.doubt_after(cx.core.config.doubt_after)
    }

    /// Starts the dials that are due, starts NAT traversal beside slow ones, and fails those without a result.
    pub(crate) fn dials_due(&mut self, cx: &mut Context<'_>) {
        for (peer, purpose) in self.dialing.slow(cx.core.now) {
            // Without an introducer there is no alternative, and the dial goes on alone.
            if self.has_introducer(cx, &peer) {
                let _ = self.start_traversal(cx, peer, purpose);
            }
        }
        for address in self.dialing.timed_out(cx.core.now) {
            self.on_dial_failed(cx, address, true);
        }
        self.start_dials(cx);
    }

    /// The user gave an address to dial.
    pub(crate) fn on_introduced(&mut self, cx: &mut Context<'_>, address: SocketAddr) {
        // An IPv4-mapped address is stored as IPv4, as the driver will report it. Any other address keeps its scope,
        // which a conversion would lose.
        let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.dial_now(cx, if plain.is_ipv4() { plain } else { address }, None, Purpose::User);
    }

    /// A dial of `address` failed: tries the other version of IP, then NAT traversal. A lost neighbour and an address
    /// of the user are dialed again later, too.
    pub(crate) fn on_dial_failed(&mut self, cx: &mut Context<'_>, address: SocketAddr, retry: bool) {
        if retry {
            self.address_book.record_failure(address, cx.core.now);
        }
        if let Some(dial) = self.dialing.dials.remove(&address) {
            if let Some(peer) = dial.expect
                && !self.seek_other_ip_version(cx, peer, address, dial.purpose)
                && !self.start_traversal(cx, peer, dial.purpose)
            {
                self.give_up(cx, peer);
            }
            if retry && dial.purpose >= Purpose::Lost {
                self.redial_later(cx, address, dial);
            }
        }
        self.start_dials(cx);
    }

    /// Dials `peer` with the other version of IP than `failed`, if the address book has such an address. Returns
    /// whether it does.
    fn seek_other_ip_version(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        failed: SocketAddr,
        purpose: Purpose,
    ) -> bool {
        let best = self.address_book.best(&peer, cx.core.now).filter(|best| best.is_ipv4() != failed.is_ipv4());
        let Some(address) = best.filter(|_| self.may_dial(cx, &peer)) else { return false };
        self.dialing.enqueue(address, Dial::new(purpose, Some(peer), cx.core.now));
        true
    }

    /// `peer` cannot be reached now: drops its queued datagrams and reports it to the machines above.
    pub(crate) fn give_up(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        self.dialing.queued_datagrams.remove(&peer);
        cx.core.raise(Event::Unreachable(peer));
    }

    /// Queues a failed dial again, with a longer delay.
    fn redial_later(&mut self, cx: &mut Context<'_>, address: SocketAddr, failed: Dial) {
        if cx.swarm.is_finishing {
            return;
        }
        let attempts = failed.attempts.saturating_add(1);
        let delay = cx.core.jittered(retry_delay(attempts));
        let again = Dial::new(failed.purpose, failed.expect, cx.core.now + delay);
        self.dialing.enqueue(address, Dial { attempts, ..again });
    }

    /// A neighbour was lost: dials it soon at all addresses where it was ever connected.
    ///
    /// All of them, because the newest may belong to a second process with the neighbour's identity that has stopped
    /// since. A dial there fails only after a timeout, and the first process must be found sooner than that:
    /// meanwhile a second one could become sure that it is alone with the identity. If the neighbour left before it
    /// had sent a digest (`greeted` is false), it may not want the connection, and the delays of its addresses apply.
    pub(crate) fn redial_lost(&mut self, cx: &mut Context<'_>, peer: PeerId, greeted: bool) {
        if !self.may_dial(cx, &peer) || cx.swarm.is_finishing {
            return;
        }
        let at = cx.core.now + cx.core.jittered(retry_delay(1));
        for (address, retry_at) in self.address_book.addresses_of(&peer) {
            let at = if greeted { at } else { at.max(retry_at) };
            self.dialing.enqueue(address, Dial::new(Purpose::Lost, Some(peer), at));
        }
    }

    /// Sends a datagram. A member without a connection is dialed first, and its newest datagrams are queued
    /// meanwhile.
    pub(crate) fn send_datagram(&mut self, cx: &mut Context<'_>, to: PeerId, bytes: Vec<u8>) {
        if cx.swarm.is_second {
            return;
        }
        if let Some(neighbour) = self.neighbours.entry(&to) {
            neighbour.used_at = cx.core.now;
            return cx.core.outputs.push_back(Output::Datagram { to, bytes });
        }
        self.seek(cx, to, Purpose::Contact);
        if (self.dialing.seeks(&to) || self.reachability.seeks(&to))
            && (self.dialing.queued_datagrams.len() < QUEUED_PEERS_MAX
                || self.dialing.queued_datagrams.contains_key(&to))
        {
            let queue = self.dialing.queued_datagrams.entry(to).or_default();
            queue.push_back(bytes);
            while queue.len() > QUEUED_DATAGRAMS_MAX {
                queue.pop_front();
            }
        }
    }

    /// Sends the datagrams that were queued for a connection to `peer`.
    pub(crate) fn send_queued_datagrams(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        for bytes in self.dialing.queued_datagrams.remove(&peer).into_iter().flatten() {
            cx.core.outputs.push_back(Output::Datagram { to: peer, bytes });
        }
    }

    /// Adds an address of `peer` that another peer sent, if this peer may dial it.
    pub(crate) fn learn_address(&mut self, core: &Core, peer: PeerId, address: SocketAddr) {
        if is_allowed(&core.config, address) && peer != core.id() {
            self.address_book.learn(peer, address);
        }
    }

    /// Sends a newly connected peer the addresses of a random sample of the neighbours.
    pub(crate) fn share_addresses(&mut self, cx: &mut Context<'_>, to: PeerId) {
        let mut known: Vec<PeerAddress> = self
            .neighbours
            .iter()
            .filter(|(peer, neighbour)| *peer != to && neighbour.is_near())
            .filter_map(|(peer, _)| Some(PeerAddress::new(peer, self.address_of(&peer)?)))
            .collect();
        while known.len() > cx.core.config.neighbours_target.min(ADDRESSES_PER_MESSAGE_MAX) {
            let at = cx.core.below(known.len());
            known.swap_remove(at);
        }
        if !known.is_empty() {
            cx.core.send(to, &Message::Peers { peers: known });
        }
    }

    /// A neighbour sent addresses of other peers: stores them within the rate limit, and dials new neighbours if
    /// there are too few.
    pub(crate) fn on_peers(&mut self, cx: &mut Context<'_>, from: PeerId, peers: &[PeerAddress]) {
        if peers.len() > ADDRESSES_PER_MESSAGE_MAX {
            return cx.strike(from, format!("{} addresses at once", peers.len()));
        }
        for told in peers {
            if cx.limits.admit_address(cx.core, &from) {
                self.learn_address(cx.core, told.peer, told.address());
                self.reachability.note_introducer(told.peer, from);
            }
        }
        self.look_around(cx);
    }
}
