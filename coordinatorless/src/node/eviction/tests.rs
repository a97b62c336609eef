//! Evictions alone: who gets a hearing, what is heard in it, and when the own eviction is told.

use super::*;
use crate::{
    Event as Told, Output,
    node::{context::Raised, support::Swarm},
};
use murmur_collectives::{Hash, Identity};

const PEER: PeerId = PeerId([1; 32]);

/// The peer whose machine this is, and the one that a quorum convicts.
const ME: usize = 0;
const CHEAT: usize = 3;

fn at(seconds: u64) -> Time {
    Time(seconds * 1_000_000)
}

#[test]
fn a_hearing_ends_and_the_next_one_begins_after_a_pause() {
    let mut evictions = Evictions::default();
    assert!(evictions.admits(PEER, at(0)) && evictions.admits(PEER, at(9)), "it comes back within its hearing");
    assert_eq!((evictions.next_deadline(), evictions.end(at(9))), (Some(at(10)), vec![]));
    assert_eq!((evictions.end(at(10)), evictions.next_deadline()), (vec![PEER], None));
    assert!(!evictions.admits(PEER, at(59)));
    assert!(evictions.admits(PEER, at(60)));
}

#[test]
fn a_crowd_of_evicted_peers_is_not_remembered_without_end() {
    let mut evictions = Evictions::default();
    let crowd = (0..5000u32).map(|n| {
        let mut id = [9; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    });
    assert_eq!(crowd.filter(|peer| evictions.admits(*peer, at(0))).count(), HEARINGS_MAX);
}

/// One peer's evictions in a swarm whose other peers have convicted one.
struct Bench {
    evictions: Evictions,
    core: Core,
    set: Set,
    neighbours: Neighbours,
    audits: Audits,
    cheat: PeerId,
}

fn bench(connected: bool) -> Bench {
    let mut swarm = Swarm::new(4, 4);
    swarm.share_all();
    let said = swarm.update(CHEAT, 1e-3);
    swarm.share_all();
    [1, 2].into_iter().for_each(|peer| drop(swarm.verdict(peer, &said.entry, false)));
    swarm.share_all();
    let cheat = swarm.id(CHEAT);
    let class = said.entry.update().map_or(Hash::NONE, |update| update.class);
    let core = Core::for_test(swarm.peers[ME].identity.clone(), class, &swarm.rules);
    let neighbours = if connected { Neighbours::connected_to(&[cheat]) } else { Neighbours::default() };
    let set = Set::new(swarm.fold(ME).clone());
    Bench { evictions: Evictions::default(), audits: Audits::new(&core), core, set, neighbours, cheat }
}

impl Bench {
    fn with<T>(&mut self, act: impl FnOnce(&mut Evictions, &mut Context<'_>) -> T) -> T {
        let Self { evictions, core, set, neighbours, audits, .. } = self;
        act(evictions, &mut Context { core, set, neighbours, audits })
    }

    /// What was raised of the convicted peer, in order.
    fn raised(&mut self) -> Vec<&'static str> {
        let cheat = self.cheat;
        let name = |raised: Raised| {
            let Raised::Eviction(event) = raised else { return "by another machine" };
            match event {
                Event::Unwanted(peer) if peer == cheat => "unwanted",
                Event::Opened(peer) if peer == cheat => "opened",
                Event::Closed(peer) if peer == cheat => "closed",
                Event::Unwanted(_) | Event::Opened(_) | Event::Closed(_) => "of another peer",
                Event::Digest { .. } | Event::Request { .. } | Event::Goodbye(_) => "said in a hearing",
            }
        };
        self.core.take_raised().into_iter().map(name).collect()
    }

    /// How often it was told that somebody is evicted.
    fn told(&mut self, of: PeerId) -> usize {
        let told = |output: &Output| matches!(output, Output::Event(Told::Evicted { peer, why: Voided::Audits }) if *peer == of);
        core::mem::take(&mut self.core.outputs).iter().filter(|output| told(output)).count()
    }
}

#[test]
fn a_convicted_neighbour_gets_one_hearing_and_then_its_connection_ends() {
    let mut bench = bench(true);
    let cheat = bench.cheat;
    bench.with(|evictions, cx| evictions.on_voided(cx, cheat));
    assert_eq!((bench.told(cheat), bench.raised()), (1, vec!["unwanted", "opened"]));
    assert!(bench.evictions.hears(&cheat));
    bench.core.now = at(10);
    bench.evictions.handle_timeout(&mut bench.core);
    assert_eq!(bench.raised(), ["closed"]);
    bench.with(|evictions, cx| evictions.give_hearing(cx, cheat));
    assert_eq!(bench.raised(), ["unwanted", "closed"], "it had its hearing");
}

#[test]
fn a_convicted_peer_that_is_not_connected_is_only_not_sought() {
    let mut bench = bench(false);
    let cheat = bench.cheat;
    bench.with(|evictions, cx| evictions.on_voided(cx, cheat));
    assert_eq!((bench.told(cheat), bench.raised()), (1, vec!["unwanted"]));
    assert_eq!(bench.evictions.next_deadline(), None);
}

#[test]
fn in_a_hearing_questions_count_and_claims_do_not() {
    let mut bench = bench(true);
    let (cheat, core) = (bench.cheat, &mut bench.core);
    let mut say = |message| bench.evictions.on_message(core, cheat, message);
    say(Message::Announce { entries: Vec::new() });
    say(Message::Votes { votes: Vec::new() });
    say(Message::WantFrontier { name: Hash::NONE });
    say(Message::Goodbye);
    let raised = bench.core.take_raised();
    assert!(
        matches!(
            raised[..],
            [
                Raised::Eviction(Event::Request { request: Request::Frontier { .. }, .. }),
                Raised::Eviction(Event::Goodbye(_))
            ]
        ),
        "{raised:?}"
    );
}

#[test]
fn the_own_eviction_is_told_once_and_only_by_the_own_set() {
    let mut bench = bench(false);
    let me = bench.core.id();
    bench.evictions.check_own(&mut bench.core, &bench.set);
    assert_eq!(bench.told(me), 0, "another peer is evicted");
    let cheat = bench.cheat;
    bench.core = Core::for_test(Identity::from_secret(&[CHEAT as u8 + 1; 32]), Hash::NONE, &bench.core.rules.clone());
    bench.evictions.check_own(&mut bench.core, &bench.set);
    assert_eq!(bench.told(cheat), 0, "the set has not changed since it was looked at");
    bench.set.changed();
    (0..2).for_each(|_| bench.evictions.check_own(&mut bench.core, &bench.set));
    bench.set.changed();
    bench.evictions.check_own(&mut bench.core, &bench.set);
    bench.with(|evictions, cx| evictions.on_voided(cx, cheat));
    assert_eq!((bench.told(cheat), bench.raised()), (1, vec![]));
}
