//! A segment ends while the swarm can still use it, however slow its peer.
#![allow(clippy::unwrap_used)]

use std::fmt;

use murmur_collectives::{Collective, Draft, Founder, Hash, Rebuilt, VersionVector};
use murmur_kernels::TopK;

use super::*;
use crate::{
    config::{Inputs, Resolved},
    learn::{
        model::{Architecture, gpt::Gpt},
        segment::test_fixture,
    },
    peer::{
        Checkpoints,
        exchange::{CollectiveInput, Conclusion, Replay, View},
    },
    run::manifest::Parts,
};

const EPOCH: u64 = 4_000;

/// A set that grows by a quarter of a final epoch from one merge to the next: every other step of twenty.
struct FastSwarm {
    shared: Arc<Shared>,
    parameters: Vec<f32>,
}

#[derive(Clone)]
struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Collective for FastSwarm {
    type Base = Count;
    type Draft = Draft<Count>;
    type Input = CollectiveInput;
    type Output = Replay;

    fn is_ready(&mut self) -> bool {
        true
    }

    fn snapshot(&mut self) -> Option<Snapshot<Count>> {
        let (base, parameters) = (Count(0), self.parameters.clone());
        let clock = self.shared.clock.load(Relaxed);
        Some(Snapshot { base, parameters, clock, segment: 0, trusted: true, carry: None, open_updates: 0 })
    }

    fn joined_since(&mut self, base: &Count) -> Option<(Count, Vec<f32>)> {
        self.shared.clock.fetch_add(EPOCH / 4, Relaxed);
        Some((Count(base.0 + 1), self.parameters.clone()))
    }

    fn submit(&mut self, _: Draft<Count>) {}

    fn handle(&mut self, _: CollectiveInput) {}

    fn poll(&mut self) -> Option<Replay> {
        None
    }
}

impl Exchange for FastSwarm {
    fn me(&self) -> PeerId {
        PeerId([1; 32])
    }

    fn view(&self) -> Option<View> {
        None
    }

    fn conclude(&self, _: Option<Checkpoints>) -> Option<Conclusion<Count>> {
        None
    }

    fn advance(&self, _: Rebuilt, _: VersionVector) -> Option<(Rebuilt, u64)> {
        None
    }

    fn another_payload(&self) -> Option<(TopK, Vec<u8>)> {
        None
    }
}

fn manifest(sets: &[&str]) -> Manifest {
    let model = Gpt::tiny();
    let dimensions = model.family().dimensions.iter().zip(model.sizes());
    let given = dimensions.map(|(known, size)| format!("{}={size}", known.setting));
    let sets: Vec<String> = given.chain(sets.iter().map(|&set| set.to_owned())).collect();
    let settings = Resolved::new(&Inputs { sets, ..Inputs::default() }).unwrap().settings().unwrap();
    let founders = vec![Founder { peer: PeerId([1; 32]), vrf_key: [2; 32] }];
    Manifest::new(&settings, Parts { founders, data_root: [3; 32], genesis: Some(Hash([4; 32])) }).unwrap()
}

/// The steps that a segment of 20 takes, the epochs that passed meanwhile, and whether it ends with a commitment.
fn slow_segment(every: u64) -> (u32, u64, bool) {
    let manifest = manifest(&["train.steps=20", &format!("finality.every={every}")]);
    let (trainer, parameters) = test_fixture();
    let carry = Carry::fresh(trainer.carry_shape());
    let shared = Arc::new(Shared::default());
    let mut swarm = FastSwarm { shared: shared.clone(), parameters };
    let mut snapshot = swarm.snapshot().unwrap();
    let mut worker = Worker::Train(Box::new(trainer));
    let mut runner = SegmentRunner {
        worker: &mut worker,
        manifest: &manifest,
        shared: &shared,
        attack: None,
        length: Length { steps: 20, top: manifest.rules.top_k() },
    };
    let work = runner.segment(&mut swarm, &mut snapshot, carry, false).unwrap();
    (work.result.steps, shared.clock.load(Relaxed) / EPOCH, work.result.sealed_carry.is_some())
}

#[test]
fn a_peer_far_slower_than_the_swarm_ends_its_segment_within_an_epoch() {
    assert_eq!(slow_segment(EPOCH), (5, 0, true));
}

#[test]
fn where_nothing_becomes_final_a_segment_has_time() {
    assert_eq!(slow_segment(0), (20, 2, false));
}
