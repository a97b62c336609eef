//! Catching up alone, on a transfer of its own; the test does the node's part of both contracts.

use std::{collections::BTreeSet, sync::Arc};

use murmur_collectives::{Body, Enroll, Entry, Foundation, Frontier, Header, Identity, Kept, KeptChain, Proposal, Row};
use murmur_kernels::{BLOB_CHUNK, blob_root, chunk_hashes};

use super::*;
use crate::{
    Config, Message, Output, StoredEntry,
    node::{
        connectivity::Neighbours,
        context::Raised,
        limits::Limits,
        transfer::tests::{fold, rules},
    },
};

const ME: u8 = 1;
const OTHER: PeerId = PeerId([7; 32]);

/// The machine, all that it touches, and what it is to know of others.
struct World {
    catch_up: CatchUp,
    core: Core,
    limits: Limits,
    neighbours: Neighbours,
    set: Set,
    transfer: Transfer,
    own_carries: OwnCarries,
    digests: Vec<Digest>,
    awaits_decided: bool,
    is_alone: bool,
}

#[derive(Clone)]
struct Digest {
    epoch: u32,
    fallen: bool,
    digest: Option<(VersionVector, Hash)>,
}

impl World {
    /// A peer whose disk is empty, or holds one own entry.
    fn new(stored: &Stored) -> Self {
        let identity = Identity::from_secret(&[ME; 32]);
        let catch_up = CatchUp::new(&rules(), &identity.peer_id(), stored);
        Self {
            catch_up,
            core: Core::new(identity, Hash::NONE, Arc::new(rules()), Config::default(), 1),
            limits: Limits::default(),
            neighbours: Neighbours::default(),
            set: Set::new(fold()),
            transfer: Transfer::default(),
            own_carries: OwnCarries::default(),
            digests: Vec::new(),
            awaits_decided: false,
            is_alone: true,
        }
    }

    /// A neighbour in `epoch` that holds nothing.
    fn with_neighbour(mut self, epoch: u32) -> Self {
        let digest = Some((VersionVector::default(), self.set.state_root()));
        self.digests.push(Digest { epoch, fallen: false, digest });
        self
    }

    /// Acts on the machine, then hands on what the transfer raised. What the machine raised is given back.
    fn act(&mut self, act: impl FnOnce(&mut CatchUp, &mut Context<'_>)) -> Vec<Event> {
        let digests = &self.digests;
        let known = || {
            let known = digests.iter().zip(100..).map(|(said, n)| Known {
                peer: PeerId([n; 32]),
                epoch: (said.epoch, Hash::NONE),
                fallen: said.fallen,
                digest: said.digest.as_ref().map(|(vector, root)| (vector, *root)),
            });
            known.collect()
        };
        let mut cx = Context {
            net: Network::new(&mut self.core, &mut self.limits, &self.neighbours),
            set: &self.set,
            transfer: &mut self.transfer,
            known: &known,
            own_carries: &self.own_carries,
            is_finality_on: true,
            awaits_decided: self.awaits_decided,
            is_alone: self.is_alone,
        };
        act(&mut self.catch_up, &mut cx);
        let mut events = Vec::new();
        while let Some(raised) = cx.net.core.raised.pop_front() {
            if let Raised::CatchUp(event) = raised {
                events.push(event);
                continue;
            }
            let Raised::Transfer(event) = raised else { panic!("{raised:?}") };
            match event {
                transfer::Event::Chunk { root, index, bytes } => self.catch_up.on_chunk(&mut cx, root, index, bytes),
                transfer::Event::Complete(root) => assert!(self.catch_up.on_blob_complete(&mut cx, root)),
                transfer::Event::Lost(root) => self.catch_up.on_blob_lost(&root),
                transfer::Event::Continue(root) => {
                    let (transfer, mut below) = cx.transfer();
                    transfer.advance(&mut below, root);
                }
            }
        }
        events
    }

    fn sent(&mut self) -> Vec<Message> {
        let sent = self.core.outputs.drain(..).filter_map(|output| {
            let Output::Send { bytes, .. } = output else { return None };
            Some(Message::decode(&bytes).unwrap())
        });
        sent.collect()
    }

    fn stage(&mut self, foundation: Hash) {
        let frontier = Frontier { epoch: 5, foundation, state: state(), ..Frontier::genesis(&rules()) };
        let rows = vec![Row { author: entry(2).author(), count: 1, head: entry(2).hash() }];
        let proposal = Proposal { frontier, rows };
        let events = self.act(|c, cx| c.begin_staging(cx, OTHER, Vec::new(), proposal));
        assert!(events.is_empty() && self.catch_up.is_staging());
    }

    /// `OTHER` serves a blob of a few chunks.
    fn receive(&mut self, blob: &[u8]) -> Vec<Event> {
        let (root, list) = (Hash(blob_root(blob)), chunk_hashes(blob).into_iter().map(Hash).collect());
        self.act(|_, cx| {
            let (transfer, mut below) = cx.transfer();
            transfer.on_chunk_list(&mut below, OTHER, root, blob.len() as u64, list);
            for (index, chunk) in (0..).zip(blob.chunks(BLOB_CHUNK)) {
                transfer.on_chunk(&mut below, OTHER, root, index, chunk.to_vec());
            }
        })
    }
}

fn state_bytes() -> Vec<u8> {
    fold().state().iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Root of the state that is fetched.
fn state() -> Hash {
    Hash(blob_root(&state_bytes()))
}

fn entry(author: u8) -> Entry {
    let identity = Identity::from_secret(&[author; 32]);
    let body = Body::Enroll(Enroll { vrf_key: [0; 32] });
    let (run, previous, frontier) = (Hash([9; 32]), Hash::NONE, Hash::NONE);
    let author = identity.peer_id();
    Entry::sign(&identity, Header { run, author, seq: 0, previous, base: Vec::new(), body, epoch: 0, frontier })
}

fn restarted() -> Stored {
    Stored { head: Some(StoredEntry::new(&entry(ME), None)), ..Stored::default() }
}

/// A foundation that keeps the first entry of authors 2 and 3.
fn foundation() -> Foundation {
    let kept = |author: u8| {
        let kept = Kept { seq: 0, hash: entry(author).hash(), weight_q16: 0, counts: true };
        KeptChain { author: entry(author).author(), entries: vec![kept] }
    };
    let mut kept = vec![kept(2), kept(3)];
    kept.sort_by_key(|chain| chain.author);
    Foundation { author_totals: Vec::new(), middle: Vec::new(), middle_pace: Frontier::genesis(&rules()).pace, kept }
}

#[test]
fn a_newcomer_follows_a_neighbour_and_is_done_when_its_set_and_state_contain_that_one() {
    let mut world = World::new(&Stored::default());
    assert!(world.act(CatchUp::check).is_empty() && world.catch_up.joining() == Joining::Blank, "nobody is there");
    let mut world = world.with_neighbour(0);
    assert!(matches!(world.act(CatchUp::check)[..], [Event::Follows]));
    assert!(world.catch_up.pulls() && !world.catch_up.is_done());

    let right = world.digests[0].digest.replace((VersionVector::default(), Hash::NONE));
    assert!(world.act(CatchUp::check).is_empty(), "another state");
    world.digests[0].digest = Some(([(OTHER, 1)].into_iter().collect(), Hash::NONE));
    assert!(world.act(CatchUp::check).is_empty(), "more than is held here");
    (world.digests[0].digest, world.is_alone) = (right, false);
    assert!(world.act(CatchUp::check).is_empty(), "another process may have its identity");
    world.is_alone = true;
    assert!(matches!(world.act(CatchUp::check)[..], [Event::CaughtUp]) && world.catch_up.is_done());
    assert!(world.act(CatchUp::check).is_empty());
}

#[test]
fn the_proof_of_a_newer_frontier_is_sought_unless_its_history_fell_or_its_entries_come_by_log() {
    let mut world = World::new(&Stored::default()).with_neighbour(0).with_neighbour(3).with_neighbour(2);
    let peer = PeerId([101; 32]);
    let sought = |events: &[Event]| matches!(events, [Event::Seeks { peer: p, epoch: 3 }] if *p == peer);
    assert!(sought(&world.act(CatchUp::check)) && !world.catch_up.pulls());
    world.digests[1].fallen = true;
    assert!(matches!(world.act(CatchUp::check)[..], [Event::Seeks { epoch: 2, .. }]));
    world.awaits_decided = true;
    assert!(matches!(world.act(CatchUp::check)[..], [Event::Follows]));
}

#[test]
fn a_restarted_peer_goes_on_alone_in_time_if_its_chain_is_whole_and_no_neighbour_holds_more() {
    let mut world = World::new(&restarted()).with_neighbour(0);
    let lonely_at = world.catch_up.next_deadline(&world.core).unwrap();
    assert_eq!(lonely_at, lonely_at_of(&world.core));
    assert!(world.act(CatchUp::handle_timeout).is_empty(), "it waits for others");
    world.core.now = lonely_at;
    world.catch_up.expect_own(1);
    assert!(world.act(CatchUp::handle_timeout).is_empty(), "its newest entry is not back");
    world.catch_up.own_count = 0;
    world.digests.push(Digest { epoch: 0, fallen: false, digest: None });
    assert!(world.act(CatchUp::handle_timeout).is_empty(), "a neighbour has not said what it holds");
    world.digests.pop();
    assert!(matches!(world.act(CatchUp::handle_timeout)[..], [Event::CaughtUp]));
    let mut blank = World::new(&Stored::default());
    blank.core.now = lonely_at;
    assert!(blank.act(CatchUp::handle_timeout).is_empty(), "a newcomer has nothing to go on with");
}

fn lonely_at_of(core: &Core) -> Time {
    Time(u64::try_from(core.config.lonely_after.as_micros()).unwrap())
}

#[test]
fn nothing_is_signed_where_something_was_signed_before() {
    let mut world = World::new(&restarted());
    world.catch_up.expect_own(3);
    world.catch_up.expect_own(2);
    assert!(!world.catch_up.may_sign(2) && world.catch_up.may_sign(3));
}

#[test]
fn a_frontier_is_fetched_of_those_that_know_it_and_its_foundation_says_what_entries_to_ask_for() {
    let mut world = World::new(&Stored::default()).with_neighbour(4).with_neighbour(5);
    let bytes = foundation().encode();
    world.stage(foundation().digest());
    let asked = world.sent();
    assert_eq!(asked.len(), 4, "two blobs, of two peers: {asked:?}");
    assert!(world.receive(&bytes).is_empty());
    let wants: BTreeSet<PeerId> = world.sent().iter().filter_map(author_wanted).collect();
    assert_eq!(wants, [entry(2).author(), entry(3).author()].into());

    assert!(world.act(|c, cx| c.stage(cx, entry(2), None)).is_empty());
    let events = world.act(|c, cx| c.stage(cx, entry(4), None));
    assert!(
        matches!(&events[..], [Event::Keeps { entry: kept, .. }] if **kept == entry(4)),
        "beyond the frontier: {events:?}"
    );
    world.core.now = world.catch_up.next_deadline(&world.core).unwrap();
    world.act(CatchUp::handle_timeout);
    let again: Vec<PeerId> = world.sent().iter().filter_map(author_wanted).collect();
    assert_eq!(again, [entry(3).author()], "the other one is here");
}

fn author_wanted(message: &Message) -> Option<PeerId> {
    let Message::Want(want) = message else { return None };
    Some(want.author)
}

#[test]
fn chunks_of_the_state_that_is_fetched_are_kept_on_disk_and_no_others() {
    let mut world = World::new(&Stored::default());
    world.act(|c, cx| c.on_chunk(cx, state(), 0, vec![1]));
    world.stage(Hash([5; 32]));
    world.act(|c, cx| c.on_chunk(cx, Hash([5; 32]), 0, vec![2]));
    world.act(|c, cx| c.on_chunk(cx, state(), 3, vec![3]));
    let kept: Vec<&Output> = world.core.outputs.iter().filter(|o| matches!(o, Output::KeepChunk { .. })).collect();
    assert!(matches!(kept[..], [Output::KeepChunk { root, index: 3, .. }] if *root == state()), "{kept:?}");
}

#[test]
fn a_fetch_is_given_up_when_a_blob_is_lost_or_nothing_comes_or_neighbours_have_pruned_its_entries() {
    let mut world = World::new(&Stored::default());
    world.stage(foundation().digest());
    world.act(|c, _| c.on_blob_lost(&Hash([1; 32])));
    assert!(world.catch_up.is_staging(), "another blob");
    world.act(|c, _| c.on_blob_lost(&state()));
    assert!(!world.catch_up.is_staging());

    world.stage(foundation().digest());
    world.core.now = Time(1_000_000);
    world.act(|c, cx| c.on_chunk(cx, state(), 0, Vec::new()));
    world.core.now = Time::default() + STALLED_AFTER;
    world.act(CatchUp::handle_timeout);
    assert!(world.catch_up.is_staging(), "a chunk came meanwhile");
    world.core.now = world.catch_up.next_deadline(&world.core).unwrap();
    world.act(CatchUp::handle_timeout);
    assert!(!world.catch_up.is_staging());

    world.stage(foundation().digest());
    world.receive(&foundation().encode());
    world.act(|c, cx| c.stage_more(cx, &[entry(2).author()].into()));
    assert!(!world.catch_up.is_staging(), "an answer without any of the entries, and no neighbour to ask");
}

#[test]
fn parts_that_do_not_belong_together_replace_nothing() {
    let empty = Foundation {
        author_totals: Vec::new(),
        middle: Vec::new(),
        middle_pace: Frontier::genesis(&rules()).pace,
        kept: Vec::new(),
    };
    let mut world = World::new(&Stored::default());
    world.stage(empty.digest());
    assert!(world.receive(&state_bytes()).is_empty() && world.catch_up.is_staging(), "half of it is here");
    assert!(world.receive(&empty.encode()).is_empty(), "there is no certificate");
    assert!(!world.catch_up.is_staging() && !world.catch_up.is_done());
    assert!(read_checkpoint(&fold(), b"no proof", fold().blank_state(), Vec::new()).is_none());
}
