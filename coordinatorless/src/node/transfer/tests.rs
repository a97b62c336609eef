//! The transfer alone: it is acted on, and the test does the node's part of the contract.

use std::sync::Arc;

use murmur_collectives::{Fold, Identity, Rules};
use murmur_kernels::{BLOB_CHUNK, blob_root, chunk_hashes};

use super::*;
use crate::{
    Config, Output,
    node::{
        bench,
        connectivity::Neighbours,
        context::{Core, Raised},
        limits::Limits,
    },
};

const PARAMETERS: u64 = 9000;

pub(crate) fn rules() -> Rules {
    Rules {
        parameters: PARAMETERS,
        tokens_per_step: 10,
        segment_tokens: 100,
        steps_max: 10,
        audit_rate_q16: 0,
        frontier_every_tokens: 1000,
        founders: Vec::new(),
        ..bench::rules()
    }
}

pub(crate) fn fold() -> Fold {
    Fold::new(Hash([9; 32]), rules(), (0..PARAMETERS as i64).collect::<Vec<_>>())
}

/// A transfer and all that it touches.
struct World {
    transfer: Transfer,
    core: Core,
    limits: Limits,
    neighbours: Neighbours,
    set: Set,
    own_carries: OwnCarries,
}

impl World {
    fn new() -> Self {
        let identity = Identity::from_secret(&[1; 32]);
        let core = Core::new(identity, Hash::NONE, Arc::new(rules()), Config::default(), 1);
        let (limits, neighbours) = (Limits::default(), Neighbours::default());
        let (set, own_carries) = (Set::new(fold()), OwnCarries::default());
        Self { transfer: Transfer::default(), core, limits, neighbours, set, own_carries }
    }

    /// Acts on the machine, then does the node's part of the contract. What was sent, to whom, and what else was raised.
    fn act(&mut self, act: impl FnOnce(&mut Transfer, &mut Context<'_>)) -> (Vec<(PeerId, Message)>, Vec<Event>) {
        let net = Network::new(&mut self.core, &mut self.limits, &self.neighbours);
        let mut cx = Context { net, set: &self.set, own_carries: &self.own_carries };
        act(&mut self.transfer, &mut cx);
        let mut events = Vec::new();
        while let Some(raised) = cx.net.core.raised.pop_front() {
            let Raised::Transfer(event) = raised else { panic!("{raised:?}") };
            match event {
                Event::Continue(root) => self.transfer.advance(&mut cx, root),
                event @ (Event::Chunk { .. } | Event::Complete(_) | Event::Lost(_)) => events.push(event),
            }
        }
        let sent = self.core.outputs.drain(..).filter_map(|output| {
            let Output::Send { to, bytes, .. } = output else { return None };
            Some((to, Message::decode(&bytes).unwrap()))
        });
        (sent.collect(), events)
    }
}

fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn blob() -> Vec<u8> {
    (0..3 * BLOB_CHUNK as u32 - 11).map(|n| (n / 7) as u8).collect()
}

fn root(blob: &[u8]) -> Hash {
    Hash(blob_root(blob))
}

fn list(blob: &[u8]) -> Vec<Hash> {
    chunk_hashes(blob).into_iter().map(Hash).collect()
}

fn fetching(blob: &[u8], sources: u8) -> World {
    let mut world = World::new();
    for n in 0..sources {
        let (sent, _) = world.act(|t, cx| t.fetch(cx, root(blob), Wanted::Bytes(1 << 20), peer(n)));
        assert!(matches!(&sent[..], [(to, Message::WantChunkList { .. })] if *to == peer(n)));
    }
    world
}

#[test]
fn a_blob_goes_from_one_peer_to_another() {
    let blob = blob();
    let (mut server, mut newcomer) = (World::new(), fetching(&blob, 1));
    assert_eq!(server.own_carries.keep(blob.clone().into(), 1), root(&blob));
    let (answers, _) = server.act(|t, cx| t.on_want_chunk_list(cx, peer(8), root(&blob)));
    let [(_, Message::ChunkList { root, length, hashes })] = &answers[..] else { panic!("{answers:?}") };
    let (asked, _) = newcomer.act(|t, cx| t.on_chunk_list(cx, peer(0), *root, *length, hashes.clone()));
    let [(_, Message::WantChunks { indices, .. })] = &asked[..] else { panic!("{asked:?}") };
    let (chunks, _) = server.act(|t, cx| t.on_want_chunks(cx, peer(8), *root, indices));
    let mut events = Vec::new();
    for (_, message) in chunks {
        let Message::Chunk { index, bytes, .. } = message else { panic!("{message:?}") };
        events.extend(newcomer.act(|t, cx| t.on_chunk(cx, peer(0), *root, index, bytes)).1);
    }
    assert!(matches!(&events[2..], [Event::Chunk { index: 2, .. }, Event::Complete(which)] if which == root));
    assert!(newcomer.transfer.has_hope(root) && newcomer.transfer.take(root) == Some(blob));
    assert!(!newcomer.transfer.has_hope(root) && newcomer.transfer.take(root).is_none());
}

#[test]
fn a_liar_is_asked_no_more_and_a_source_that_owes_an_answer_in_time_neither() {
    let blob = blob();
    let mut world = fetching(&blob, 2);
    let length = blob.len() as u64;
    let (asked, _) = world.act(|t, cx| t.on_chunk_list(cx, peer(0), root(&blob), length, list(&blob)));
    assert!(matches!(&asked[..], [(to, Message::WantChunks { .. })] if *to == peer(0)), "the other still owes a list");
    let (asked, _) = world.act(|t, cx| t.on_chunk_list(cx, peer(1), root(&blob), length, list(&blob)));
    assert!(asked.is_empty(), "a second list changes nothing");
    let (asked, events) = world.act(|t, cx| t.on_chunk(cx, peer(0), root(&blob), 1, vec![7; BLOB_CHUNK]));
    assert!(events.is_empty(), "{events:?}");
    assert!(asked.is_empty(), "the request for the list is open still: {asked:?}");
    world.core.now = world.transfer.next_deadline().unwrap();
    let (_, events) = world.act(Transfer::handle_timeout);
    assert!(matches!(&events[..], [Event::Lost(which)] if *which == root(&blob)));
}

#[test]
fn a_wrong_list_is_refused_and_the_next_source_may_still_give_the_right_one() {
    let blob = blob();
    let mut world = fetching(&blob, 2);
    let length = blob.len() as u64;
    let mut wrong = list(&blob);
    wrong[0] = Hash([0; 32]);
    let (asked, events) = world.act(|t, cx| t.on_chunk_list(cx, peer(0), root(&blob), length, wrong));
    assert!(asked.is_empty() && events.is_empty());
    let (asked, _) = world.act(|t, cx| t.on_chunk_list(cx, peer(1), root(&blob), length, list(&blob)));
    assert!(matches!(&asked[..], [(to, Message::WantChunks { indices, .. })] if *to == peer(1) && indices.len() == 3));
}

#[test]
fn chunks_of_a_peer_that_is_gone_are_asked_of_another_and_without_one_the_blob_is_lost() {
    let blob = blob();
    let mut world = fetching(&blob, 1);
    world.act(|t, cx| t.on_chunk_list(cx, peer(0), root(&blob), blob.len() as u64, list(&blob)));
    let (asked, _) = world.act(|t, cx| t.fetch(cx, root(&blob), Wanted::Bytes(1 << 20), peer(1)));
    assert!(asked.is_empty(), "all chunks are asked for");
    let (asked, _) = world.act(|t, cx| t.drop_source(cx, peer(0)));
    assert!(matches!(&asked[..], [(to, Message::WantChunks { indices, .. })] if *to == peer(1) && indices.len() == 3));
    let (_, events) = world.act(|t, cx| t.on_absent(cx, peer(1), root(&blob)));
    assert!(matches!(&events[..], [Event::Lost(which)] if *which == root(&blob)));
    assert_eq!((world.transfer.held_bytes(), world.transfer.next_deadline()), (0, None));
}

#[test]
fn one_state_at_a_time_is_fetched_and_other_blobs_beside_it() {
    let mut world = fetching(&blob(), 1);
    for n in [1, 2] {
        world.act(|t, cx| t.fetch(cx, Hash([n; 32]), Wanted::state(&rules()), peer(0)));
    }
    world.transfer.resume_from(Some(Fetched::new(Hash([1; 32]), fold().blank_state())));
    world.transfer.keep_only_state(Hash([2; 32]));
    let wanted = [root(&blob()), Hash([2; 32]), Hash([1; 32])].map(|root| world.transfer.has_hope(&root));
    assert_eq!((wanted, world.transfer.held_bytes()), ([true, true, false], 0));
}
