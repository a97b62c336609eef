//! Connectivity alone: admission, lost neighbours, dials, introductions, NAT traversal and the view.

use core::time::Duration;
use std::net::SocketAddr;

use super::*;
use crate::{
    Event as Told, Message, Output, Reach,
    node::{
        bench::{address, at_ms, core, peer, set, take_dials, take_events, take_messages},
        context::Raised,
    },
};

struct Bench {
    core: Core,
    limits: Limits,
    set: Set,
    members: BTreeSet<PeerId>,
    connectivity: Connectivity,
}

impl Bench {
    fn new() -> Self {
        let (connectivity, limits) = (Connectivity::new(&[]), Limits::default());
        Self { core: core(), limits, set: set(), members: BTreeSet::new(), connectivity }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Connectivity, &mut Context<'_>) -> T) -> T {
        let Self { core, limits, set, members, connectivity } = self;
        let swarm = Swarm { members, is_second: false, is_finishing: false };
        act(connectivity, &mut Context { core, limits, set, swarm })
    }

    /// A connection to peer `n` comes up.
    fn connect(&mut self, n: u8, at: SocketAddr) -> Result<Option<Purpose>, Closing> {
        self.with(|connectivity, cx| {
            let purpose = connectivity.admit(cx, peer(n), at)?;
            connectivity.begin(cx, peer(n), at, Reach::Direct);
            Ok(purpose)
        })
    }

    /// Peer `n` connects and sends its first digest.
    fn join(&mut self, n: u8, at: SocketAddr) {
        assert!(self.connect(n, at).is_ok(), "peer {n} is admitted");
        self.connectivity.greeted(&mut self.core, peer(n));
    }

    /// `after` passes, and connectivity does what is due.
    fn pass(&mut self, after: Duration) {
        self.core.now = self.core.now + after;
        self.with(|connectivity, cx| {
            connectivity.dials_due(cx);
            connectivity.traversals_due(cx);
        });
    }

    fn raised(&mut self) -> Vec<Event> {
        let event = |raised| if let Raised::Connectivity(event) = raised { Some(event) } else { None };
        self.core.take_raised().into_iter().filter_map(event).collect()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_full_peer_closes_its_idlest_connection_for_a_new_one() {
    let mut bench = Bench::new();
    bench.core.config.neighbours_max = 3;
    (2..=4).for_each(|n| assert_eq!(bench.connect(n, address(n.into())), Ok(None)));
    bench.core.now = at_ms(5000);
    [2, 4].into_iter().for_each(|n| bench.connectivity.neighbours.heard(&peer(n), at_ms(1000 * u64::from(n))));
    assert_eq!(bench.connect(5, address(5)), Ok(None));
    let raised = bench.raised();
    let [Event::Lost { peer: lost, departed: false, closing: Some(Closing::Idle) }] = raised[..] else {
        panic!("{raised:?}")
    };
    assert_eq!(lost, peer(3), "silent since the start");
    assert!(!bench.connectivity.neighbours.is_connected(&peer(3)) && bench.connectivity.neighbours.len() == 3);
}

#[test]
fn a_neighbour_gives_way_to_no_new_connection() {
    let mut bench = Bench::new();
    bench.core.config.neighbours_max = 2;
    (2..=3).for_each(|n| bench.join(n, address(n.into())));
    bench.core.now = at_ms(60_000);
    assert_eq!(bench.connect(4, address(4)), Err(Closing::Full));
    assert!(bench.raised().is_empty());
}

#[test]
fn a_banned_peer_is_refused() {
    let mut bench = Bench::new();
    bench.join(2, address(2));
    (0..3).for_each(|_| bench.limits.strike(&mut bench.core, peer(2), "test".to_owned()));
    bench.with(|connectivity, cx| connectivity.send_away(cx, peer(2), Closing::Misbehaved));
    assert_eq!(bench.connect(2, address(2)), Err(Closing::Misbehaved));
    bench.core.now = at_ms(61_000);
    assert_eq!(bench.connect(2, address(2)), Ok(None), "the ban is over");
}

#[test]
fn a_lost_neighbour_is_dialed_again_at_all_its_addresses() {
    let mut bench = Bench::new();
    assert!(bench.connect(2, address(21)).is_ok());
    bench.with(|connectivity, cx| connectivity.on_disconnected(cx, peer(2)));
    bench.join(2, address(22));
    bench.core.now = at_ms(60_000);
    bench.raised();
    bench.with(|connectivity, cx| connectivity.on_disconnected(cx, peer(2)));
    assert!(matches!(bench.raised()[..], [Event::Lost { departed: true, closing: None, .. }]));
    assert!(take_dials(&mut bench.core).is_empty(), "not at once");
    bench.pass(2 * SECOND);
    assert_eq!(take_dials(&mut bench.core), [address(21), address(22)]);
}

#[test]
fn in_a_large_swarm_a_lost_neighbour_is_not_dialed_again() {
    let mut bench = Bench::new();
    bench.members = (10..100).map(peer).collect();
    bench.join(2, address(2));
    bench.core.now = at_ms(60_000);
    bench.with(|connectivity, cx| connectivity.on_disconnected(cx, peer(2)));
    bench.pass(2 * SECOND);
    assert!(take_dials(&mut bench.core).is_empty());
}

#[test]
fn a_failed_dial_without_an_introducer_ends_the_search() {
    let mut bench = Bench::new();
    bench.connectivity.learn_address(&bench.core, peer(2), address(2));
    bench.with(|connectivity, cx| connectivity.send_datagram(cx, peer(2), vec![7]));
    assert_eq!(take_dials(&mut bench.core), [address(2)]);
    assert!(bench.connectivity.is_seeking(&peer(2)));
    bench.with(|connectivity, cx| connectivity.on_dial_failed(cx, address(2), true));
    assert!(matches!(bench.raised()[..], [Event::Unreachable(lost)] if lost == peer(2)));
    assert!(!bench.connectivity.is_seeking(&peer(2)));
    assert!(bench.connect(2, address(2)).is_ok());
    bench.with(|connectivity, cx| connectivity.welcome(cx, peer(2)));
    assert!(!bench.core.outputs.iter().any(|output| matches!(output, Output::Datagram { .. })), "dropped");
}

#[test]
fn a_dialed_peer_gets_the_newest_datagrams_that_waited_for_it() {
    let mut bench = Bench::new();
    bench.connectivity.learn_address(&bench.core, peer(2), address(2));
    (0..4).for_each(|n| bench.with(|connectivity, cx| connectivity.send_datagram(cx, peer(2), vec![n])));
    assert_eq!(bench.connect(2, address(2)), Ok(Some(Purpose::Contact)));
    bench.with(|connectivity, cx| connectivity.welcome(cx, peer(2)));
    let datagram =
        |output: &Output| if let Output::Datagram { bytes, .. } = output { bytes.first().copied() } else { None };
    assert_eq!(bench.core.outputs.iter().filter_map(datagram).collect::<Vec<u8>>(), [2, 3]);
}

#[test]
fn a_peer_that_said_goodbye_is_not_dialed_again() {
    let mut bench = Bench::new();
    bench.join(2, address(2));
    bench.core.now = at_ms(60_000);
    bench.with(|connectivity, cx| connectivity.on_goodbye(cx, peer(2)));
    assert!(matches!(bench.raised()[..], [Event::Lost { departed: true, closing: None, .. }]));
    bench.with(|connectivity, cx| connectivity.on_disconnected(cx, peer(2)));
    bench.with(|connectivity, cx| connectivity.seek(cx, peer(2), Purpose::View));
    bench.pass(5 * SECOND);
    bench.with(|connectivity, cx| connectivity.look_around(cx));
    assert!(take_dials(&mut bench.core).is_empty());
}

#[test]
fn an_evicted_peer_is_no_neighbour_but_stays_connected() {
    let mut bench = Bench::new();
    bench.join(2, address(2));
    bench.connectivity.set_evicted(&mut bench.core, peer(2));
    assert!(matches!(bench.raised()[..], [Event::Evicted { departed: true, .. }]));
    assert!(bench.connectivity.neighbours.is_connected(&peer(2)));
    assert_eq!(bench.connectivity.neighbours.iter().count(), 0);
}

#[test]
fn introductions_beyond_the_quota_are_refused() {
    let mut bench = Bench::new();
    [2, 3].into_iter().for_each(|n| bench.join(n, address(n.into())));
    take_messages(&mut bench.core);
    let introduce = |bench: &mut Bench| {
        bench.with(|connectivity, cx| connectivity.on_meet(cx, peer(2), peer(3)));
        take_messages(&mut bench.core)
    };
    let punch = |to, other| (peer(to), Message::Punch { peer: PeerAddress::new(peer(other), address(other.into())) });
    for _ in 0..32 {
        assert_eq!(introduce(&mut bench), [punch(3, 2), punch(2, 3)]);
    }
    bench.with(|connectivity, cx| connectivity.on_meet(cx, peer(2), peer(3)));
    assert!(matches!(take_events(&mut bench.core)[..], [Told::BadInput { peer: from, .. }] if from == peer(2)));
    bench.core.now = at_ms(10_000);
    assert_eq!(introduce(&mut bench).len(), 2, "in the next window");
}

#[test]
fn a_peer_that_a_dial_does_not_reach_is_introduced_and_then_dialed_through_a_relay() {
    let mut bench = Bench::new();
    bench.join(2, address(2));
    bench.with(|connectivity, cx| connectivity.on_observed(cx, peer(2), None, true));
    bench.connectivity.learn_address(&bench.core, peer(3), address(3));
    bench.connectivity.note_introducer(peer(3), peer(2));
    bench.with(|connectivity, cx| connectivity.seek(cx, peer(3), Purpose::Contact));
    take_messages(&mut bench.core);
    bench.with(|connectivity, cx| connectivity.on_dial_failed(cx, address(3), true));
    assert_eq!(take_messages(&mut bench.core), [(peer(2), Message::Meet { peer: peer(3) })]);
    bench.pass(2 * SECOND);
    let relayed = |output: &Output| {
        let Output::DialThrough { relay, peer: to } = output else { return false };
        (*relay, *to) == (peer(2), peer(3))
    };
    assert!(bench.core.outputs.iter().any(relayed), "a slow first round gets a relay beside it");
    assert!(bench.raised().is_empty() && bench.connectivity.is_seeking(&peer(3)));
    (0..60).for_each(|_| bench.pass(SECOND));
    assert!(matches!(bench.raised()[..], [Event::Unreachable(lost)] if lost == peer(3)), "after all steps");
}

#[test]
fn an_introduced_peer_is_dialed_only_at_an_allowed_address() {
    let mut bench = Bench::new();
    let told = |text: &str| PeerAddress::new(peer(3), text.parse().unwrap());
    bench.with(|connectivity, cx| connectivity.on_punch(cx, told("198.51.100.7:80")));
    assert!(take_dials(&mut bench.core).is_empty(), "the settings allow only loopback");
    bench.with(|connectivity, cx| connectivity.on_punch(cx, told("127.0.0.1:80")));
    assert_eq!(take_dials(&mut bench.core), [address(80)]);
    (1..100).for_each(|port| {
        bench.with(|connectivity, cx| connectivity.on_punch(cx, told(&format!("127.0.0.1:{port}"))));
    });
    assert_eq!(take_dials(&mut bench.core).len(), 4, "an introducer makes this peer dial five addresses, not more");
}

#[test]
fn the_view_dials_up_to_its_target() {
    let mut bench = Bench::new();
    bench.members = (10..110).map(peer).collect();
    (10..60).for_each(|n| bench.connectivity.learn_address(&bench.core, peer(n), address(n.into())));
    bench.with(|connectivity, cx| connectivity.look_around(cx));
    assert_eq!(bench.connectivity.dialing.count_for_view(), 12, "2 · log2 101");
    assert_eq!(take_dials(&mut bench.core).len(), bench.core.config.dials_at_once);
    bench.with(|connectivity, cx| connectivity.look_around(cx));
    assert_eq!(bench.connectivity.dialing.count_for_view(), 12, "dials under way count");
}

#[test]
fn the_view_closes_a_quarter_of_the_neighbours_above_its_maximum() {
    let mut bench = Bench::new();
    bench.members = (10..110).map(peer).collect();
    (10..46).for_each(|n| bench.join(n, address(n.into())));
    bench.with(|connectivity, cx| connectivity.thin_out(cx));
    let closed = bench.raised();
    assert_eq!(closed.len(), 3, "36 neighbours, at most 24");
    assert!(closed.iter().all(|event| matches!(event, Event::Lost { closing: Some(Closing::Full), .. })));
    assert_eq!(bench.connectivity.neighbours.near_count(), 33);
}

#[test]
fn an_idle_connection_is_closed_and_a_neighbour_is_not() {
    let mut bench = Bench::new();
    bench.join(2, address(2));
    assert!(bench.connect(3, address(3)).is_ok());
    bench.core.now = at_ms(14_000);
    bench.with(|connectivity, cx| connectivity.close_idle(cx));
    assert!(bench.raised().is_empty());
    bench.core.now = at_ms(16_000);
    bench.with(|connectivity, cx| connectivity.close_idle(cx));
    let raised = bench.raised();
    assert!(matches!(raised[..], [Event::Lost { peer: lost, closing: Some(Closing::Idle), .. }] if lost == peer(3)));
}
