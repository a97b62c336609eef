//! Membership: SWIM (Das, Gupta, Motivala 2002) with suspicion and infection-style gossip, by the foca crate.
//!
//! In each period a peer probes one random member. A member that answers neither directly nor through others is
//! suspected, and is down unless it refutes the suspicion in time. Changes travel on probes and gossip, so the number
//! of messages per period does not depend on the size of the swarm, and a change reaches all members within O(log N)
//! periods.
//!
//! Contract: [`Membership::on_datagram`] takes what the transport delivers and [`Membership::membership_due`] runs
//! the timers; the node calls [`Membership::show_card`] and [`Membership::announce_self`] for a new connection,
//! [`Membership::member_left`] for a goodbye, and [`Membership::leave_swarm`] before this peer stops. [`Event`] is
//! raised for the identity guard and the node.
//!
//! Differences from the paper:
//! - Members are signed [`Card`]s, and a frame counts only from the peer on whose connection it arrived.
//! - A neighbour that sent anything lately is not declared down, neither on the word of others nor after failed
//!   probes.
//! - A peer that was stopped or starved postpones its deadlines by the time it missed, instead of suspecting others
//!   for it.
//! - A member without a connection is dialed for its probe; see `view`.

mod card;
mod codec;
mod frames;
mod swim;

use core::fmt;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use foca::{Foca, NoCustomBroadcast, State, Timer};
use murmur_collectives::{Hash, Identity, PeerId};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use self::{codec::Codec, swim::library_config};
pub(crate) use card::Card;

use super::{
    connectivity::{self, Connectivity},
    context::Core,
    limits::Limits,
    set::Set,
};
use crate::{DownReason, Swim, Time};

/// A change that the machines above must act on.
#[derive(Debug)]
pub(crate) enum Event {
    /// The peer knows the present start of this process.
    Vouched(PeerId),
    /// An earlier process with the same key is alive.
    Second,
}

/// The state outside this machine that it may use.
pub(crate) struct Context<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) limits: &'a mut Limits,
    pub(crate) set: &'a Set,
    pub(crate) connectivity: &'a mut Connectivity,
    /// This peer is about to leave.
    pub(crate) is_finishing: bool,
}

/// A member of the swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The peer.
    pub peer: PeerId,
    /// The address at which another member saw it, if known.
    pub address: Option<SocketAddr>,
    /// Whether it failed a probe and has not refuted the suspicion yet.
    pub suspected: bool,
}

/// The role of this process in the swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Member,
    /// It said goodbye.
    Left,
    /// An earlier process with the same key is alive.
    Second,
}

/// The SWIM library with the state around it: cards, timers, and the role of this process.
pub(crate) struct Membership {
    foca: Foca<Card, Codec, ChaCha8Rng, NoCustomBroadcast>,
    run: Hash,
    own: Card,
    role: Role,
    /// Members that are up or suspected, as the library reported them. A copy, because the library's own list has no
    /// index.
    up: BTreeSet<PeerId>,
    /// The newest card of each member, all authenticated.
    cards: BTreeMap<PeerId, Card>,
    timers: BTreeMap<(Time, u64), Timer<Card>>,
    timers_set: u64,
    /// Members that said goodbye, until they come up again.
    left: BTreeSet<PeerId>,
    settings: Swim,
    /// The binary logarithm of the swarm's size for which the library is configured.
    scale: u32,
}

impl Membership {
    /// A member whose list is empty. `incarnation` must be greater than at earlier starts of this identity.
    pub(crate) fn new(identity: &Identity, run: Hash, incarnation: u64, settings: Swim, seed: u64) -> Self {
        let own = Card::sign(identity, run, incarnation.max(1), 0, 0);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            foca: Foca::new(own, library_config(&settings, 1), rng, Codec),
            run,
            own,
            role: Role::Member,
            up: BTreeSet::new(),
            cards: BTreeMap::new(),
            timers: BTreeMap::new(),
            timers_set: 0,
            left: BTreeSet::new(),
            settings,
            scale: 1,
        }
    }

    /// The time at which [`Membership::membership_due`] has work.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// The memory of the member list, the cards, the timers and the queued updates, in bytes. It grows with the
    /// swarm, because every peer can name every other.
    pub(crate) fn held_bytes(&self) -> usize {
        let listed = self.foca.iter_membership_state().len() * size_of::<foca::Member<Card>>();
        let news = self.foca.updates_backlog() * (codec::MEMBER_BYTES + 2 * size_of::<PeerId>());
        let timers = self.timers.len() * size_of::<((Time, u64), Timer<Card>)>();
        listed + news + timers + self.cards.len() * size_of::<(PeerId, Card)>()
    }

    /// The number of members that are up, without this peer.
    pub(crate) fn count(&self) -> usize {
        self.foca.num_members()
    }

    /// The members that are up or suspected, in no particular order.
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.foca.iter_members().map(|member| Member {
            peer: member.id().peer,
            address: member.id().address,
            suspected: member.state() == State::Suspect,
        })
    }

    /// Ends this process's membership, because an earlier process with the same key is alive.
    pub(crate) fn stop_as_second(&mut self) {
        self.role = Role::Second;
        self.timers.clear();
    }

    /// Whether an earlier process with the same key is alive.
    pub(crate) fn is_second(&self) -> bool {
        self.role == Role::Second
    }

    /// The newest card of `peer`, if it is a member or was one lately.
    pub(crate) fn card(&self, peer: &PeerId) -> Option<&Card> {
        self.cards.get(peer)
    }

    /// Whether a card of `peer` is stored.
    fn knows(&self, peer: &PeerId) -> bool {
        self.cards.contains_key(peer)
    }

    /// Whether one more member can be stored. Connected peers have `reserved` places for themselves, so that a flood
    /// of invented members cannot keep them out.
    fn has_room(&self, reserved: usize) -> bool {
        self.foca.iter_membership_state().len() < self.settings.members_max + reserved
    }

    /// Stores an authenticated card if it is newer than the stored one, or adds the address that the stored one
    /// lacks.
    fn store_card(&mut self, card: Card) {
        let held = self.cards.get(&card.peer);
        if held.is_none_or(|held| card.rank() > held.rank() || (card.rank() == held.rank() && held.address.is_none())) {
            self.cards.insert(card.peer, card);
        }
        if self.cards.len() > 2 * self.settings.members_max {
            let listed: BTreeSet<PeerId> = self.foca.iter_membership_state().map(|member| member.id().peer).collect();
            self.cards.retain(|peer, _| listed.contains(peer));
        }
    }

    /// Postpones all timers by the time for which this process did not run. Without this it would suspect others for
    /// answers that it could not read in time.
    fn postpone_timers(&mut self, now: Time) {
        let Some(due) = self.next_deadline() else { return };
        let slept = now.since(due);
        if slept > self.settings.probe_rtt {
            let timers = core::mem::take(&mut self.timers);
            self.timers = timers.into_iter().map(|((at, count), timer)| ((at + slept, count), timer)).collect();
        }
    }

    /// The next timer that is due.
    fn pop_due(&mut self, now: Time) -> Option<Timer<Card>> {
        let due = self.next_deadline().is_some_and(|at| at <= now);
        due.then(|| self.timers.pop_first()).flatten().map(|(_, timer)| timer)
    }

    /// Adapts the library to the size of the swarm: in a larger one, updates and refutations take more periods.
    fn rescale(&mut self) {
        let scale = u32::try_from(self.count() + 1).unwrap_or(u32::MAX).ilog2().max(1);
        if scale != self.scale && self.foca.set_config(library_config(&self.settings, scale)).is_ok() {
            self.scale = scale;
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("own", &self.own).field("members", &self.count()).finish_non_exhaustive()
    }
}

impl Membership {
    /// Sends a datagram. A peer that is not connected is dialed first.
    fn send_datagram(&self, cx: &mut Context<'_>, to: PeerId, bytes: Vec<u8>) {
        let swarm = self.swarm(cx.is_finishing);
        let Context { core, limits, set, connectivity, .. } = cx;
        connectivity.send_datagram(&mut connectivity::Context { core, limits, set, swarm }, to, bytes);
    }

    /// The swarm as connectivity needs to know it.
    pub(crate) fn swarm(&self, is_finishing: bool) -> connectivity::Swarm<'_> {
        connectivity::Swarm { members: &self.up, is_second: self.is_second(), is_finishing }
    }

    /// Adds an address of `peer` to the address book.
    fn learn_address(&self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr) {
        cx.connectivity.learn_address(cx.core, peer, address);
    }

    /// Chooses the receiver of a frame. Gossip may go to any member: if its receiver is not connected, a random
    /// neighbour gets it instead, so that gossip opens no connections. Probes always go to their target.
    fn redirect_gossip(&mut self, cx: &mut Context<'_>, to: PeerId, frame: &mut [u8]) -> PeerId {
        if cx.connectivity.neighbours().is_connected(&to) || !codec::is_gossip(frame) {
            return to;
        }
        let neighbours = cx.connectivity.neighbours().iter().filter(|(_, neighbour)| neighbour.is_near());
        let neighbours: Vec<Card> = neighbours.filter_map(|(peer, _)| self.card(&peer).copied()).collect();
        if neighbours.is_empty() {
            return to;
        }
        let card = neighbours[cx.core.below(neighbours.len())];
        codec::set_receiver(&card, frame);
        card.peer
    }

    /// Reports that a member came up or went down.
    fn on_member_changed(&mut self, cx: &mut Context<'_>, peer: PeerId, up: bool) {
        let event = if up {
            self.up.insert(peer);
            self.left.remove(&peer);
            crate::Event::MemberUp { peer }
        } else {
            self.up.remove(&peer);
            let left = self.left.remove(&peer);
            crate::Event::MemberDown { peer, reason: if left { DownReason::Left } else { DownReason::Silent } }
        };
        cx.core.tell(event);
    }

    /// Runs the timers that are due.
    pub(crate) fn membership_due(&mut self, cx: &mut Context<'_>) {
        self.postpone_timers(cx.core.now);
        while let Some(timer) = self.pop_due(cx.core.now) {
            if self.is_refuted_by_traffic(cx, &timer) {
                continue;
            }
            // An error reports a timer out of order, and the library has recovered from it already.
            let _ = self.run_swim(cx, |membership, effects| membership.foca.handle_timer(timer, effects));
        }
    }

    /// Whether `peer` is connected and sent anything lately. The limit is twice the suspicion time: in a full mesh of
    /// 24, every neighbour sends something that often.
    fn heard_recently(&self, cx: &Context<'_>, peer: &PeerId) -> bool {
        cx.connectivity.heard_within(peer, 2 * self.settings.suspicion, cx.core.now)
    }

    /// Whether a suspicion times out whose member sent other traffic meanwhile. The member stays suspected, and the
    /// next failed probe starts a new timeout.
    fn is_refuted_by_traffic(&self, cx: &mut Context<'_>, timer: &Timer<Card>) -> bool {
        matches!(timer, Timer::ChangeSuspectToDown { member_id, .. } if self.heard_recently(cx, &member_id.peer))
    }

    /// Announces this process on a new connection, unless the peer is a known member.
    pub(crate) fn announce_self(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        if !self.up.contains(&peer) {
            self.announce_to(cx, peer);
        }
    }

    /// Announces this process to `peer`, which answers with members that it knows.
    pub(crate) fn announce_to(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        if self.role == Role::Member {
            let card = self.card(&peer).copied().unwrap_or_else(|| Card::placeholder(peer));
            let _ = self.run_swim(cx, |membership, effects| membership.foca.announce(card, effects));
        }
    }

    /// A neighbour said goodbye. That is certain, so it is gossiped as down without suspicion.
    pub(crate) fn member_left(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        let listed = self.foca.iter_members().find(|member| member.id().peer == peer).cloned();
        let Some(listed) = listed else { return };
        self.left.insert(peer);
        let down = foca::Member::new(*listed.id(), listed.incarnation(), State::Down);
        let _ =
            self.run_swim(cx, |membership, effects| membership.foca.apply_many(core::iter::once(down), true, effects));
    }

    /// Tells a few members that this peer leaves; they gossip it.
    pub(crate) fn leave_swarm(&mut self, cx: &mut Context<'_>) {
        if self.role == Role::Member {
            self.role = Role::Left;
            let _ = self.run_swim(cx, |membership, effects| membership.foca.leave_cluster(effects));
            self.timers.clear();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
