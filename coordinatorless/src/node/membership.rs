//! Who is in the swarm: SWIM (Das, Gupta, Motivala 2002) with suspicion and infection-style gossip, by the foca crate.
//!
//! Every period a peer probes one random member; who answers neither directly nor through others is suspected, and unless
//! it denies that in time, down. What changed rides on probes and gossip, so a peer sends a number of messages per period
//! that does not depend on the size of the swarm, and news reaches everyone within O(log N) periods.
//!
//! Where we depart from the paper:
//! - Members are signed [`Card`]s; a frame counts only from the peer whose connection brought it.
//! - A neighbour that was heard of just now is not believed dead, neither on hearsay nor for lost probes.
//! - A peer that wakes up late (stopped, starved) blames itself: its deadlines move by what it slept.
//! - A member without a connection is dialed for its probe; see `view`.

mod card;
mod codec;
mod frames;

use core::{
    fmt,
    num::{NonZeroU8, NonZeroUsize},
    time::Duration,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use foca::{Foca, NoCustomBroadcast, Notification, PeriodicParams, State, Timer};
use murmur_collectives::{Hash, Identity, PeerId};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use self::codec::Codec;
pub(crate) use card::Card;

use super::{
    connectivity::{self, Connectivity},
    context::Core,
    limits::Limits,
    set::Set,
};
use crate::{DownReason, Swim, Time};

/// What machines above have to know.
#[derive(Debug)]
pub(crate) enum Event {
    /// The peer knows this process by its present start.
    Vouched(PeerId),
    /// An earlier process with the same key is alive.
    Second,
}

/// What membership may touch.
pub(crate) struct Context<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) limits: &'a mut Limits,
    pub(crate) set: &'a Set,
    pub(crate) connectivity: &'a mut Connectivity,
    /// This peer is about to leave.
    pub(crate) is_finishing: bool,
}

/// What is said of a member of the swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Who.
    pub peer: PeerId,
    /// Where it was seen, if anybody has said.
    pub address: Option<SocketAddr>,
    /// Whether it failed a probe and has not denied being down yet.
    pub suspected: bool,
}

/// What this process is to the swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Member,
    /// It said goodbye.
    Left,
    /// An earlier process with the same key lives.
    Second,
}

/// SWIM and what surrounds it.
pub(crate) struct Membership {
    foca: Foca<Card, Codec, ChaCha8Rng, NoCustomBroadcast>,
    run: Hash,
    own: Card,
    standing: Standing,
    /// Members that are up or suspected, as the library told: its own list can only be searched through.
    up: BTreeSet<PeerId>,
    /// The newest card of each member, all proven.
    cards: BTreeMap<PeerId, Card>,
    timers: BTreeMap<(Time, u64), Timer<Card>>,
    timers_set: u64,
    /// Who said goodbye, until it is heard of again.
    left: BTreeSet<PeerId>,
    settings: Swim,
    /// The swarm's size in powers of two that the library is set to.
    scale: u32,
}

/// What the library did while it was asked something.
#[derive(Default)]
struct Heard {
    frames: Vec<(PeerId, Vec<u8>)>,
    timers: Vec<(Timer<Card>, Duration)>,
    changes: Vec<(PeerId, bool)>,
    /// Others believe this peer dead.
    called_dead: bool,
}

impl foca::Runtime<Card> for Heard {
    fn notify(&mut self, notification: Notification<'_, Card>) {
        match notification {
            Notification::MemberUp(card) => self.changes.push((card.peer, true)),
            Notification::MemberDown(card) => self.changes.push((card.peer, false)),
            Notification::Defunct => self.called_dead = true,
            Notification::Rename(..) | Notification::Active | Notification::Idle | Notification::Rejoin(_) => {}
        }
    }

    fn send_to(&mut self, to: Card, data: &[u8]) {
        self.frames.push((to.peer, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Card>, after: Duration) {
        self.timers.push((event, after));
    }
}

impl Membership {
    pub(crate) fn new(identity: &Identity, run: Hash, incarnation: u64, settings: Swim, seed: u64) -> Self {
        let own = Card::sign(identity, run, incarnation.max(1), 0, 0);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            foca: Foca::new(own, library_config(&settings, 1), rng, Codec),
            run,
            own,
            standing: Standing::Member,
            up: BTreeSet::new(),
            cards: BTreeMap::new(),
            timers: BTreeMap::new(),
            timers_set: 0,
            left: BTreeSet::new(),
            settings,
            scale: 1,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Bytes of what is known of members: the library's list, the cards with their proofs, and news that is being passed
    /// on. In proportion to the swarm, as everyone can name everyone.
    pub(crate) fn held_bytes(&self) -> usize {
        let listed = self.foca.iter_membership_state().len() * size_of::<foca::Member<Card>>();
        let news = self.foca.updates_backlog() * (codec::MEMBER_BYTES + 2 * size_of::<PeerId>());
        let timers = self.timers.len() * size_of::<((Time, u64), Timer<Card>)>();
        listed + news + timers + self.cards.len() * size_of::<(PeerId, Card)>()
    }

    /// Members that are up, without this peer.
    pub(crate) fn count(&self) -> usize {
        self.foca.num_members()
    }

    /// Members that are up or suspected, in no order that means anything.
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.foca.iter_members().map(|member| Member {
            peer: member.id().peer,
            address: member.id().address,
            suspected: member.state() == State::Suspect,
        })
    }

    /// An earlier process with the same key lives.
    pub(crate) fn stop_as_second(&mut self) {
        self.standing = Standing::Second;
        self.timers.clear();
    }

    /// Whether an earlier process with the same key lives.
    pub(crate) fn is_second(&self) -> bool {
        self.standing == Standing::Second
    }

    /// The newest card of `peer`, if it is a member or was one lately.
    pub(crate) fn card(&self, peer: &PeerId) -> Option<&Card> {
        self.cards.get(peer)
    }

    fn knows(&self, peer: &PeerId) -> bool {
        self.cards.contains_key(peer)
    }

    /// Whether one more member can be remembered; peers that are connected have some places for themselves.
    fn has_room(&self, reserved: usize) -> bool {
        self.foca.iter_membership_state().len() < self.settings.members_max + reserved
    }

    /// Keeps a proven card if it is newer than the one held, or adds an address to it.
    fn keep(&mut self, card: Card) {
        let held = self.cards.get(&card.peer);
        if held.is_none_or(|held| card.rank() > held.rank() || (card.rank() == held.rank() && held.address.is_none())) {
            self.cards.insert(card.peer, card);
        }
        if self.cards.len() > 2 * self.settings.members_max {
            let listed: BTreeSet<PeerId> = self.foca.iter_membership_state().map(|member| member.id().peer).collect();
            self.cards.retain(|peer, _| listed.contains(peer));
        }
    }

    /// Moves every deadline by what this peer slept, so that it does not suspect others for answers it could not read.
    fn blame_own_sleep(&mut self, now: Time) {
        let Some(due) = self.next_deadline() else { return };
        let slept = now.since(due);
        if slept > self.settings.probe_rtt {
            let timers = core::mem::take(&mut self.timers);
            self.timers = timers.into_iter().map(|((at, count), timer)| ((at + slept, count), timer)).collect();
        }
    }

    fn pop_due(&mut self, now: Time) -> Option<Timer<Card>> {
        let due = self.next_deadline().is_some_and(|at| at <= now);
        due.then(|| self.timers.pop_first()).flatten().map(|(_, timer)| timer)
    }

    /// News has farther to go in a larger swarm, and denials, too.
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

/// `scale` is the binary logarithm of the swarm's size, rounded down. If everyone who hears news tells it `log2 N + 3` times,
/// about `N · e^-(log2 N + 3)` members do not hear it; on links that lose one datagram in seven that is less than a tenth
/// of a member in a swarm of any size, and probes make up for it. The time to deny grows with log N, as memberlist's does.
fn library_config(settings: &Swim, scale: u32) -> foca::Config {
    let some = |count: usize| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
    let periodic = |frequency, count| Some(PeriodicParams { frequency, num_members: some(count) });
    let transmissions = u8::try_from((scale + 3).max(6)).unwrap_or(u8::MAX);
    foca::Config {
        probe_period: settings.probe_every,
        probe_rtt: settings.probe_rtt,
        num_indirect_probes: some(settings.indirect_probes),
        max_transmissions: NonZeroU8::new(transmissions).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: settings.suspicion * (scale * 3 / 10).max(1),
        remove_down_after: Some(settings.forget_after),
        max_packet_size: some(codec::FRAME_BYTES),
        notify_down_members: true,
        periodic_announce: periodic(settings.announce_every, 1),
        // Healing a partition needs new connections, which `view` makes.
        periodic_announce_to_down_members: None,
        periodic_gossip: periodic(settings.gossip_every, settings.gossip_fanout),
    }
}

impl Membership {
    /// Asks the library something, and does what follows.
    fn swim(
        &mut self,
        cx: &mut Context<'_>,
        ask: impl FnOnce(&mut Membership, &mut Heard) -> Result<(), foca::Error>,
    ) -> Result<(), foca::Error> {
        let mut heard = Heard::default();
        let outcome = ask(self, &mut heard);
        if heard.called_dead && self.standing == Standing::Member {
            self.renew_card(cx, 0, &mut heard);
        }
        self.follow_up(cx, heard);
        outcome
    }

    /// Comes back under a new card, one that wins over the present one.
    fn renew_card(&mut self, cx: &mut Context<'_>, objects_to: u64, heard: &mut Heard) {
        let old = self.own;
        self.replace_card(cx, old.renewals.saturating_add(1), old.objects_to.max(objects_to), heard);
    }

    fn replace_card(&mut self, cx: &mut Context<'_>, renewals: u32, objects_to: u64, heard: &mut Heard) {
        let old = self.own;
        let card = Card::sign(&cx.core.identity, self.run, old.incarnation, renewals, objects_to);
        self.own = card.seen_at(old.address);
        let own = self.own;
        // It fails only for the same card, which this is not.
        let _ = self.foca.change_identity(own, heard);
    }

    fn follow_up(&mut self, cx: &mut Context<'_>, heard: Heard) {
        for (timer, after) in heard.timers {
            self.timers_set += 1;
            self.timers.insert((cx.core.now + after, self.timers_set), timer);
        }
        for (to, mut frame) in heard.frames {
            let to = self.turn_gossip(cx, to, &mut frame);
            let mut bytes = Vec::with_capacity(frame.len() + 1);
            bytes.push(frames::SWIM);
            bytes.extend_from_slice(&frame);
            self.send_datagram(cx, to, bytes);
        }
        let changed = !heard.changes.is_empty();
        for (peer, up) in heard.changes {
            self.on_member_changed(cx, peer, up);
        }
        if changed {
            self.rescale();
            cx.connectivity.look_around_soon(cx.core.now);
        }
    }

    /// Sends a datagram, to a peer that is not connected by dialing it first.
    fn send_datagram(&self, cx: &mut Context<'_>, to: PeerId, bytes: Vec<u8>) {
        let swarm = self.swarm(cx.is_finishing);
        let Context { core, limits, set, connectivity, .. } = cx;
        connectivity.send_datagram(&mut connectivity::Context { core, limits, set, swarm }, to, bytes);
    }

    /// The swarm as connectivity sees it.
    pub(crate) fn swarm(&self, is_finishing: bool) -> connectivity::Swarm<'_> {
        connectivity::Swarm { members: &self.up, is_second: self.is_second(), is_finishing }
    }

    /// Notes that `from` said where `peer` is.
    fn hear_of(&self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr) {
        cx.connectivity.hear_of(cx.core, peer, address);
    }

    /// Gossip is for anyone: if its receiver is not connected, a random neighbour gets it instead, so that telling news
    /// opens no connections. Probes still go to whom they are for.
    fn turn_gossip(&mut self, cx: &mut Context<'_>, to: PeerId, frame: &mut [u8]) -> PeerId {
        if cx.connectivity.neighbours().is_connected(&to) || !codec::is_gossip(frame) {
            return to;
        }
        let near = cx.connectivity.neighbours().iter().filter(|(_, neighbour)| neighbour.is_near());
        let near: Vec<Card> = near.filter_map(|(peer, _)| self.card(&peer).copied()).collect();
        if near.is_empty() {
            return to;
        }
        let card = near[cx.core.below(near.len())];
        codec::address_to(&card, frame);
        card.peer
    }

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

    /// Does what membership is due to do.
    pub(crate) fn membership_due(&mut self, cx: &mut Context<'_>) {
        self.blame_own_sleep(cx.core.now);
        while let Some(timer) = self.pop_due(cx.core.now) {
            if self.is_refuted_by_ear(cx, &timer) {
                continue;
            }
            // An error here tells of a timer that came out of order; the library has recovered already.
            let _ = self.swim(cx, |membership, heard| membership.foca.handle_timer(timer, heard));
        }
    }

    /// Whether `peer` is connected and was heard of lately. Twice the suspicion: a neighbour in a full mesh of 24 has
    /// something to say about that often.
    fn hears(&self, cx: &Context<'_>, peer: &PeerId) -> bool {
        cx.connectivity.heard_within(peer, 2 * self.settings.suspicion, cx.core.now)
    }

    /// Whether the time of a suspected member is up that has been heard of meanwhile, if not in answer to a probe. It stays
    /// suspected, and the next probe that fails starts its time again.
    fn is_refuted_by_ear(&self, cx: &mut Context<'_>, timer: &Timer<Card>) -> bool {
        matches!(timer, Timer::ChangeSuspectToDown { member_id, .. } if self.hears(cx, &member_id.peer))
    }

    /// A connection is up: makes itself known there, unless it is already.
    pub(crate) fn announce_self(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        if !self.up.contains(&peer) {
            self.announce_to(cx, peer);
        }
    }

    /// Makes itself known to `peer`, who answers with what it knows.
    pub(crate) fn announce_to(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        if self.standing == Standing::Member {
            let card = self.card(&peer).copied().unwrap_or_else(|| Card::stranger(peer));
            let _ = self.swim(cx, |membership, heard| membership.foca.announce(card, heard));
        }
    }

    /// A neighbour said goodbye: that is certain, and spread as such.
    pub(crate) fn member_left(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        let listed = self.foca.iter_members().find(|member| member.id().peer == peer).cloned();
        let Some(listed) = listed else { return };
        self.left.insert(peer);
        let down = foca::Member::new(*listed.id(), listed.incarnation(), State::Down);
        let _ = self.swim(cx, |membership, heard| membership.foca.apply_many(core::iter::once(down), true, heard));
    }

    /// Tells a few members that this peer leaves; they tell the others.
    pub(crate) fn leave_swarm(&mut self, cx: &mut Context<'_>) {
        if self.standing == Standing::Member {
            self.standing = Standing::Left;
            let _ = self.swim(cx, |membership, heard| membership.foca.leave_cluster(heard));
            self.timers.clear();
        }
    }
}
