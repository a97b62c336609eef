//! Membership alone: which frames count, one identity in two processes, and members that come and go.

use foca::{Header, Member as Update, Message as SwimMessage};

use super::{codec::Frame, *};
use crate::{
    Event as Told, Output, Reach,
    node::{
        bench::{ME, RUN, address, at_ms, core, identity, peer, set, take_events},
        context::Raised,
    },
};

/// This process's start.
const INCARNATION: u64 = 5;

struct Bench {
    core: Core,
    limits: Limits,
    set: Set,
    connectivity: Connectivity,
    membership: Membership,
}

impl Bench {
    /// A member connected to the peers 2 and 3.
    fn new() -> Self {
        Self::with_settings(Swim::lan())
    }

    fn with_settings(settings: Swim) -> Self {
        let membership = Membership::new(&identity(ME), RUN, INCARNATION, settings, 1);
        let (connectivity, limits) = (Connectivity::new(&[]), Limits::default());
        let mut bench = Self { core: core(), limits, set: set(), connectivity, membership };
        [2, 3].into_iter().for_each(|n| bench.connect(n));
        bench
    }

    fn connect(&mut self, n: u8) {
        let swarm = self.membership.swarm(false);
        let Self { core, limits, set, connectivity, .. } = self;
        let mut cx = connectivity::Context { core, limits, set, swarm };
        connectivity.begin(&mut cx, peer(n), address(n.into()), Reach::Direct);
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Membership, &mut Context<'_>) -> T) -> T {
        let Self { core, limits, set, connectivity, membership } = self;
        act(membership, &mut Context { core, limits, set, connectivity, is_finishing: false })
    }

    /// A datagram arrives on the connection to peer `n`; returns the events that follow.
    fn receive(&mut self, n: u8, bytes: &[u8]) -> Vec<Told> {
        self.core.outputs.clear();
        self.with(|membership, cx| membership.on_datagram(cx, peer(n), bytes));
        take_events(&mut self.core)
    }

    /// The machines above are told once what was raised.
    fn raised(&mut self) -> Vec<Raised> {
        self.core.take_raised()
    }

    fn own(&self) -> Card {
        self.membership.own
    }
}

/// The card of peer `n` at its first start.
fn card(n: u8) -> Card {
    Card::sign(&identity(n), RUN, 1, 0, 0)
}

fn frame(src: Card, dst: Card, message: SwimMessage<Card>, updates: Vec<Update<Card>>) -> Vec<u8> {
    let frame = Frame { header: Header { src, src_incarnation: 0, dst, message }, updates };
    [vec![frames::SWIM], frame.write()].concat()
}

fn gossip(from: u8, to: Card, updates: Vec<Update<Card>>) -> Vec<u8> {
    frame(card(from), to, SwimMessage::Gossip, updates)
}

/// A frame that shows the receiver a card with its own key.
fn shown(card: Card) -> Vec<u8> {
    let mut bytes = vec![1];
    card.put(&mut bytes);
    bytes
}

#[test]
fn an_announced_peer_becomes_a_member_and_vouches() {
    let mut bench = Bench::new();
    let announce = frame(card(2), bench.own(), SwimMessage::Announce, Vec::new());
    bench.with(|membership, cx| membership.on_datagram(cx, peer(2), &announce));
    let answered = |output: &Output| matches!(output, Output::Datagram { to, .. } if *to == peer(2));
    assert!(bench.core.outputs.iter().any(answered), "a feed");
    assert_eq!(take_events(&mut bench.core), [Told::MemberUp { peer: peer(2) }]);
    assert!(matches!(bench.raised()[..], [Raised::Membership(Event::Vouched(from))] if from == peer(2)));
    assert_eq!(bench.membership.up, BTreeSet::from([peer(2)]));
}

#[test]
fn a_frame_for_an_earlier_start_is_no_vouch() {
    let mut bench = Bench::new();
    let earlier = Card::sign(&identity(ME), RUN, INCARNATION - 1, 0, 0);
    bench.receive(2, &gossip(2, earlier, Vec::new()));
    assert!(bench.raised().is_empty());
}

#[test]
fn a_frame_from_or_for_another_peer_is_a_strike() {
    let mut bench = Bench::new();
    let own = bench.own();
    for bytes in [gossip(3, own, Vec::new()), gossip(2, card(3), Vec::new()), shown(card(3)), vec![9], Vec::new()] {
        let events = bench.receive(2, &bytes);
        assert!(matches!(events[..], [Told::BadInput { peer: from, .. }, ..] if from == peer(2)), "{events:?}");
        bench.limits.connected(&bench.core, peer(2));
    }
    assert!(bench.membership.up.is_empty());
    assert!(bench.raised().iter().all(|raised| matches!(raised, Raised::Limits(_))));
}

#[test]
fn a_forged_card_is_a_strike_and_makes_no_member() {
    let mut bench = Bench::new();
    let forged = Card::sign(&identity(4), Hash([8; 32]), 1, 0, 0);
    let events = bench.receive(2, &gossip(2, bench.own(), vec![Update::alive(forged)]));
    assert!(events.iter().any(|event| matches!(event, Told::BadInput { .. })), "{events:?}");
    assert!(!bench.membership.up.contains(&peer(4)));
}

#[test]
fn this_process_objects_to_a_later_start_of_its_identity() {
    let mut bench = Bench::new();
    let later = Card::sign(&identity(ME), RUN, INCARNATION + 2, 0, 0);
    assert_eq!(bench.receive(2, &shown(later)), [Told::Usurped]);
    let own = bench.own();
    assert_eq!((own.incarnation, own.objects_to), (INCARNATION, INCARNATION + 2));
    assert!(own.is_genuine(RUN) && own.rank() > later.rank());
    assert_eq!(bench.receive(2, &shown(later)), [], "it has objected already");
}

#[test]
fn an_objection_of_an_earlier_start_stops_this_process() {
    let mut bench = Bench::new();
    let objection = Card::sign(&identity(ME), RUN, INCARNATION - 2, 0, INCARNATION);
    bench.receive(2, &shown(objection));
    assert!(matches!(bench.raised()[..], [Raised::Membership(Event::Second)]));
    assert!(bench.membership.is_second());
    assert_eq!(bench.receive(2, &gossip(2, bench.own(), Vec::new())), [], "it takes part in nothing");
    assert!(bench.raised().is_empty() && bench.membership.up.is_empty());
}

#[test]
fn an_objection_to_another_start_does_not_stop_this_process() {
    let mut bench = Bench::new();
    bench.receive(2, &shown(Card::sign(&identity(ME), RUN, INCARNATION - 2, 0, INCARNATION - 1)));
    assert!(bench.raised().is_empty() && !bench.membership.is_second());
}

#[test]
fn a_neighbour_heard_of_lately_is_not_declared_down_by_others() {
    let mut bench = Bench::new();
    let own = bench.own();
    bench.receive(3, &gossip(3, own, Vec::new()));
    let down = || gossip(2, own, vec![Update::new(card(3), 0, State::Down)]);
    bench.receive(2, &down());
    assert!(bench.membership.up.contains(&peer(3)));
    bench.core.now = at_ms(10_000);
    let events = bench.receive(2, &down());
    assert!(events.contains(&Told::MemberDown { peer: peer(3), reason: DownReason::Silent }), "{events:?}");
}

#[test]
fn a_goodbye_takes_a_member_down_at_once() {
    let mut bench = Bench::new();
    bench.receive(2, &gossip(2, bench.own(), Vec::new()));
    bench.with(|membership, cx| membership.member_left(cx, peer(2)));
    assert_eq!(take_events(&mut bench.core), [Told::MemberDown { peer: peer(2), reason: DownReason::Left }]);
}

#[test]
fn a_member_that_answers_no_probe_is_suspected_and_then_down() {
    let mut bench = Bench::new();
    bench.receive(2, &gossip(2, bench.own(), Vec::new()));
    let mut events = Vec::new();
    while let Some(due) = bench.membership.next_deadline().filter(|due| *due < at_ms(30_000)) {
        bench.core.now = due;
        bench.with(|membership, cx| membership.membership_due(cx));
        events.extend(take_events(&mut bench.core));
    }
    assert_eq!(events, [Told::MemberDown { peer: peer(2), reason: DownReason::Silent }]);
}

#[test]
fn a_process_that_did_not_run_postpones_its_deadlines() {
    let mut bench = Bench::new();
    bench.receive(2, &gossip(2, bench.own(), Vec::new()));
    bench.core.now = at_ms(3_600_000);
    bench.membership.postpone_timers(bench.core.now);
    assert_eq!(bench.membership.next_deadline(), Some(bench.core.now));
    let timers: Vec<Time> = bench.membership.timers.keys().map(|(at, _)| *at).collect();
    assert!(timers.last() > timers.first(), "their distances stay: {timers:?}");
}

#[test]
fn a_flood_of_members_fills_no_more_than_the_list_and_one_frame() {
    let mut bench = Bench::with_settings(Swim { members_max: 8, ..Swim::lan() });
    let own = bench.own();
    for n in 0..6 {
        let updates = (0..5).map(|i| Update::alive(card(100 + 5 * n + i))).collect();
        bench.receive(2, &gossip(2, own, updates));
    }
    let count = bench.membership.count();
    assert!((8..8 + 5).contains(&count), "{count}: the frame that fills the list is taken whole");
    bench.receive(3, &gossip(3, own, Vec::new()));
    assert!(bench.membership.up.contains(&peer(3)), "a connected peer has a place of its own");
}

#[test]
fn gossip_for_a_member_without_connection_goes_to_a_neighbour() {
    let mut bench = Bench::new();
    let own = bench.own();
    bench.receive(2, &gossip(2, own, Vec::new()));
    bench.connectivity.greeted(&mut bench.core, peer(2));
    let mut bytes = gossip(ME, card(4), Vec::new())[1..].to_vec();
    let to = bench.with(|membership, cx| membership.redirect_gossip(cx, peer(4), &mut bytes));
    assert_eq!((to, Frame::read(&bytes).unwrap().header.dst.peer), (peer(2), peer(2)));
    let mut probe = frame(own, card(4), SwimMessage::Ping(1), Vec::new())[1..].to_vec();
    assert_eq!(bench.with(|membership, cx| membership.redirect_gossip(cx, peer(4), &mut probe)), peer(4));
}
