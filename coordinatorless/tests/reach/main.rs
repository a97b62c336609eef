//! Ways to a peer that cannot be dialed: punched by a mutual neighbour's help, relayed when that fails, straight again later.
//!
//! Three peers: `A` and `B` are behind NATs and know each other only through `C`. The test plays the network.
//! What `A` and `B` say of addresses that `C` cannot see is in `candidates`, dials that take long are in `doubt`, both versions
//! of IP in `versions`.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod candidates;
mod doubt;
mod versions;

use core::time::Duration;
use std::net::SocketAddr;

use murmur_collectives::{Hash, Identity, ONE_Q16, PeerId, Rules};
use murmur_coordinatorless::{Config, Input, Mapping, Message, Node, Output, PeerAddress, Reach, Setup, Stored, Time};
use murmur_kernels::from_f32;

const PATIENCE: Duration = Duration::from_secs(6);
const UPGRADE: Duration = Duration::from_secs(30);
/// These tests say when a dial fails; [`doubt`] is about one that takes long.
const DOUBT: Duration = Duration::from_secs(3600);

/// One peer and the time it lives in.
struct Peer {
    node: Node,
    now: Time,
}

fn identity(n: u8) -> Identity {
    Identity::from_secret(&[n; 32])
}

fn id(n: u8) -> PeerId {
    identity(n).peer_id()
}

fn at(n: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], port))
}

impl Peer {
    fn new(n: u8, relay: bool) -> Self {
        let base = Config { loopback_only: false, relay, doubt_after: DOUBT, ..Config::default() };
        Self::with(n, Config { reach_patience: PATIENCE, reach_upgrade_after: UPGRADE, ..base })
    }

    fn with(n: u8, config: Config) -> Self {
        let rules = Rules {
            parameters: 4096,
            top: 64,
            alpha_start_q16: ONE_Q16,
            alpha_end_q16: ONE_Q16,
            clip_q16: ONE_Q16,
            tokens_per_step: 10,
            segment_tokens: 100,
            steps_max: 10,
            frontier_every_tokens: 0,
            class: None,
            token_budget: 1000,
            audit_rate_q16: 0,
            audit_quorum: 2,
            span: 1,
            founders: vec![Node::founder(&identity(1))],
        };
        let node = Node::new(Setup {
            manifest: vec![1],
            run: Hash([9; 32]),
            rules,
            genesis: from_f32(&[0.5; 4096]).unwrap().into(),
            identity: identity(n),
            class: Hash([7; 32]),
            config,
            seed: u64::from(n),
            incarnation: 1,
            address_book: Vec::new(),
            stored: Stored::default(),
        });
        Self { node, now: Time(1) }
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        self.node.handle(self.now, input);
        self.drain()
    }

    fn connect(&mut self, peer: u8, address: SocketAddr, reach: Reach) -> Vec<Output> {
        self.handle(Input::Connected { peer: id(peer), address, reach })
    }

    fn hear(&mut self, from: u8, message: &Message) -> Vec<Output> {
        self.handle(Input::Message { from: id(from), bytes: message.encode() })
    }

    /// Lets time pass, timer by timer, and returns all that was done.
    fn pass(&mut self, duration: Duration) -> Vec<Output> {
        let (end, mut done) = (self.now + duration, Vec::new());
        while let Some(due) = self.node.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.node.handle_timeout(self.now);
            done.extend(self.drain());
        }
        self.now = end;
        done
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.node.poll_output()).collect()
    }
}

fn messages(outputs: &[Output], to: u8) -> Vec<Message> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send { to: peer, bytes, .. } if *peer == id(to) => Some(Message::decode(bytes).unwrap()),
        _ => None,
    });
    sent.collect()
}

fn dials(outputs: &[Output]) -> Vec<(SocketAddr, Option<PeerId>)> {
    let dialed = outputs.iter().filter_map(|output| match output {
        Output::Dial { address, expect } => Some((*address, *expect)),
        _ => None,
    });
    dialed.collect()
}

fn dials_through(outputs: &[Output]) -> Vec<(PeerId, PeerId)> {
    let dialed = outputs.iter().filter_map(|output| match output {
        Output::DialThrough { relay, peer } => Some((*relay, *peer)),
        _ => None,
    });
    dialed.collect()
}

fn asks_to_meet(outputs: &[Output], peer: u8) -> usize {
    messages(outputs, 3).iter().filter(|message| **message == Message::Meet { peer: id(peer) }).count()
}

/// `A`, connected to a `C` that may volunteer, has heard of `B` and failed to dial it.
fn stuck(volunteer: bool) -> (Peer, Vec<Output>) {
    let mut a = Peer::new(1, false);
    a.connect(3, at(3, 3), Reach::Direct);
    a.hear(3, &Message::Observed { address: Some(PeerAddress::new(id(1), at(1, 1001))), relay: volunteer });
    let told = a.hear(3, &Message::Peers { peers: vec![PeerAddress::new(id(2), at(2, 2002))] });
    assert_eq!(dials(&told), [(at(2, 2002), Some(id(2)))]);
    let next = a.handle(Input::DialFailed { address: at(2, 2002), retry: true });
    (a, next)
}

#[test]
fn a_failed_dial_makes_the_neighbour_who_spoke_of_the_peer_bring_both_together() {
    let (mut a, next) = stuck(true);
    assert_eq!(asks_to_meet(&next, 2), 1);

    let mut c = Peer::new(3, true);
    c.connect(1, at(1, 1001), Reach::Direct);
    c.connect(2, at(2, 2002), Reach::Direct);
    let arranged = c.hear(1, &Message::Meet { peer: id(2) });
    let to_a = Message::Punch { peer: PeerAddress::new(id(2), at(2, 2002)) };
    let to_b = Message::Punch { peer: PeerAddress::new(id(1), at(1, 1001)) };
    assert_eq!(messages(&arranged, 1), std::slice::from_ref(&to_a));
    assert_eq!(messages(&arranged, 2), std::slice::from_ref(&to_b));

    let mut b = Peer::new(2, false);
    b.connect(3, at(3, 3), Reach::Direct);
    assert_eq!(dials(&b.hear(3, &to_b)), [(at(1, 1001), Some(id(1)))]);
    assert_eq!(dials(&a.hear(3, &to_a)), [(at(2, 2002), Some(id(2)))]);
    for (peer, other, address) in [(&mut a, 2, at(2, 2002)), (&mut b, 1, at(1, 1001))] {
        peer.connect(other, address, Reach::Direct);
        assert_eq!(peer.node.reach_of(&id(other)), Some(Reach::Punched));
        assert_eq!(peer.node.reach_of(&id(3)), Some(Reach::Direct));
        let later = peer.pass(PATIENCE * 4);
        assert!(dials_through(&later).is_empty() && asks_to_meet(&later, other) == 0, "the traversal is over");
    }
}

#[test]
fn when_punching_fails_a_volunteer_relays_and_a_better_way_is_sought_from_then_on() {
    let (mut a, _) = stuck(true);
    let later = a.pass(PATIENCE * 3);
    assert_eq!(asks_to_meet(&later, 2), 1, "a second round");
    assert_eq!(dials_through(&later), [(id(3), id(2))]);

    let stand_in = SocketAddr::from(([240, 0, 0, 1], 1));
    let relayed = Reach::Relayed { by: id(3) };
    let greeting = a.connect(2, stand_in, relayed);
    assert!(messages(&greeting, 2).contains(&Message::Observed { address: None, relay: false }));
    assert_eq!(a.node.reach_of(&id(2)), Some(relayed));
    // Nobody else is told an address that means nothing to them.
    let told = a.connect(4, at(4, 4), Reach::Direct);
    assert!(!messages(&told, 4).iter().any(|message| matches!(
        message, Message::Peers { peers } if peers.iter().any(|told| told.peer == id(2)))));

    let asked = asks_to_meet(&a.pass(UPGRADE * 20), 2);
    assert_eq!(
        asked,
        if id(1) < id(2) { 4 } else { 0 },
        "after 1, 2, 4, 8 times the first wait; only the smaller asks"
    );
    let punch = Message::Punch { peer: PeerAddress::new(id(2), at(2, 2002)) };
    assert_eq!(dials(&a.hear(3, &punch)), [(at(2, 2002), Some(id(2)))]);
    a.handle(Input::Moved { peer: id(2), address: at(2, 2002) });
    assert_eq!(a.node.reach_of(&id(2)), Some(Reach::Punched));
    assert_eq!(asks_to_meet(&a.pass(UPGRADE * 40), 2), 0);
}

#[test]
fn without_a_volunteer_the_traversal_is_given_up() {
    let (mut a, _) = stuck(false);
    let later = a.pass(PATIENCE * 4);
    assert!(dials_through(&later).is_empty());
    assert_eq!(asks_to_meet(&later, 2), 1, "two rounds in all, then silence until the next dial fails");
}

#[test]
fn a_peer_whose_mapping_varies_asks_for_one_round_and_dials_a_relay_beside_it() {
    let mut a = Peer::new(1, false);
    for (n, port) in [(3, 1001), (4, 1002)] {
        a.connect(n, at(n, 3), Reach::Direct);
        a.hear(n, &Message::Observed { address: Some(PeerAddress::new(id(1), at(1, port))), relay: true });
    }
    assert_eq!(a.node.mapping(), Mapping::Varies);
    a.hear(3, &Message::Peers { peers: vec![PeerAddress::new(id(2), at(2, 2002))] });
    let next = a.handle(Input::DialFailed { address: at(2, 2002), retry: true });
    assert_eq!((asks_to_meet(&next, 2), dials_through(&next)), (1, vec![(id(3), id(2))]));
    let later = a.pass(PATIENCE + PATIENCE / 2);
    assert_eq!((asks_to_meet(&later, 2), dials_through(&later)), (0, vec![(id(4), id(2))]), "the other relay");
}

#[test]
fn one_liar_does_not_change_how_a_peer_sees_itself() {
    let mut a = Peer::new(1, false);
    assert_eq!(a.node.mapping(), Mapping::Unknown);
    for (n, seen) in [(3, at(1, 1001)), (4, at(1, 1001)), (5, at(99, 99))] {
        a.connect(n, at(n, 3), Reach::Direct);
        a.hear(n, &Message::Observed { address: Some(PeerAddress::new(id(1), seen)), relay: false });
    }
    assert_eq!(a.node.mapping(), Mapping::Same(at(1, 1001)));
}

#[test]
fn nobody_is_made_to_dial_what_cannot_be_a_peer_and_not_too_often() {
    let mut b = Peer::new(2, false);
    b.connect(3, at(3, 3), Reach::Direct);
    for text in ["0.0.0.0:5", "224.0.0.1:5", "240.0.0.1:5", "255.255.255.255:5", "192.0.2.1:0", "[ff02::1]:5"] {
        let punch = Message::Punch { peer: PeerAddress::new(id(1), text.parse().unwrap()) };
        assert!(dials(&b.hear(3, &punch)).is_empty(), "{text}");
    }
    let punch = |n: u8| Message::Punch { peer: PeerAddress::new(id(n), at(n, 7)) };
    assert!(dials(&b.hear(3, &punch(2))).is_empty(), "itself");
    let dialed = (10..100).map(|n| dials(&b.hear(3, &punch(n))).len()).sum::<usize>();
    assert_eq!(dialed, 16, "punching dials at once are limited");
    assert!(dials(&b.hear(3, &punch(10))).is_empty(), "and each is made once");
    b.pass(PATIENCE + Duration::from_secs(1));
    assert_eq!(dials(&b.hear(3, &punch(10))).len(), 1);
}

#[test]
fn a_neighbour_that_asks_for_meetings_without_end_is_struck_and_served_no_more() {
    let mut c = Peer::new(3, true);
    c.connect(1, at(1, 1001), Reach::Direct);
    c.connect(2, at(2, 2002), Reach::Direct);
    let served = (0..40).filter(|_| !messages(&c.hear(1, &Message::Meet { peer: id(2) }), 2).is_empty()).count();
    assert_eq!(served, 32);
    assert_eq!(c.node.reach_of(&id(1)), None, "sent away");
}

#[test]
fn only_loopback_is_dialed_where_only_loopback_is_allowed() {
    let mut b = Peer::with(2, Config::default());
    b.connect(3, SocketAddr::from(([127, 0, 0, 1], 3)), Reach::Direct);
    let punch = |address| Message::Punch { peer: PeerAddress::new(id(1), address) };
    assert!(dials(&b.hear(3, &punch(at(1, 1)))).is_empty());
    assert_eq!(dials(&b.hear(3, &punch(SocketAddr::from(([127, 0, 0, 1], 9))))).len(), 1);
}
