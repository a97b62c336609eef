//! Voters without the peers around them, to drive finality alone.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::sync::Arc;

use murmur_collectives::{
    Body, Enroll, Entry, Fold, Founder, Hash, Header, Identity, Insertion, PeerId, Rules, Update,
};
use murmur_kernels::{TopK, blob_root, compress, validate};

use super::super::{
    bench,
    connectivity::Neighbours,
    context::{Network, Raised},
    limits::Limits,
    membership::Membership,
    replication::Replication,
    set::Set,
};
use super::{Context, Core, Event, Finality, Joining};
use crate::{Config, Message, Output, Time};

const PARAMETERS: usize = 64;
const RUN: Hash = Hash([9; 32]);

/// Tokens of every update here.
pub(super) const UPDATE_TOKENS: u64 = 100;

/// An entry of somebody's chain, with its payload if it has one.
pub(super) type Said = (Entry, Option<Arc<[u8]>>);

/// One voter, or one peer that only watches.
pub(super) struct Bench {
    pub(super) finality: Finality,
    pub(super) core: Core,
    pub(super) set: Set,
    pub(super) joining: Joining,
    limits: Limits,
    neighbours: Neighbours,
    membership: Membership,
    replication: Replication,
}

fn identity(n: usize) -> Identity {
    Identity::from_secret(&[n as u8 + 1; 32])
}

fn rules(founders: usize) -> Rules {
    Rules {
        tokens_per_step: 10,
        segment_tokens: 100,
        steps_max: 10,
        audit_rate_q16: 0,
        frontier_every_tokens: UPDATE_TOKENS * founders as u64,
        founders: (0..founders).map(|n| Founder { peer: identity(n).peer_id(), vrf_key: [0; 32] }).collect(),
        ..bench::rules()
    }
}

impl Bench {
    /// A single founder with an empty set.
    pub(super) fn new(n: usize) -> Self {
        Self::among(n, n + 1, None)
    }

    /// Peer `n` of a run with so many founders; `stored` is its vote record.
    pub(super) fn among(n: usize, founders: usize, stored: Option<&[u8]>) -> Self {
        let (identity, rules) = (identity(n), rules(founders));
        let config = Config::default();
        let fold = Fold::new(RUN, rules.clone(), vec![0i64; PARAMETERS]);
        Self {
            finality: Finality::new(&rules, identity.peer_id(), stored),
            set: Set::new(fold),
            joining: Joining::CaughtUp,
            limits: Limits::default(),
            neighbours: Neighbours::default(),
            membership: Membership::new(&identity, RUN, 1, config.swim, n as u64),
            replication: Replication::default(),
            core: Core::new(identity, Hash::NONE, Arc::new(rules), config, n as u64),
        }
    }

    pub(super) fn id(&self) -> PeerId {
        self.core.id()
    }

    pub(super) fn run<R>(&mut self, act: impl FnOnce(&mut Finality, &mut Context<'_>) -> R) -> R {
        let net = Network::new(&mut self.core, &mut self.limits, &self.neighbours);
        let mut cx = Context::new(net, &mut self.set, &self.membership, &mut self.replication, self.joining);
        act(&mut self.finality, &mut cx)
    }

    /// What the owner does after every change.
    pub(super) fn settle(&mut self) {
        self.run(Finality::finalize);
        self.run(Finality::advance);
    }

    pub(super) fn connect(&mut self, peer: PeerId) {
        self.neighbours.connect_near(peer, std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        self.replication.connected(peer);
        self.limits.connected(&self.core, peer);
        self.finality.connected(peer);
    }

    /// `peer` told that it holds all that is held here.
    pub(super) fn note_equal(&mut self, peer: PeerId) {
        for (author, count) in self.set.fold.log().version().iter() {
            self.replication.note_held(&peer, author, count);
        }
    }

    pub(super) fn outputs(&mut self) -> Vec<Output> {
        self.core.outputs.drain(..).collect()
    }

    /// What finality raised since the last call.
    pub(super) fn raised(&mut self) -> Vec<Event> {
        let raised = self.core.take_raised().into_iter();
        raised.filter_map(|event| if let Raised::Finality(event) = event { Some(event) } else { None }).collect()
    }

    pub(super) fn take(&mut self, message: Message, from: PeerId) {
        self.run(|finality, cx| match message {
            Message::Votes { votes } => finality.on_votes(cx, from, &votes),
            Message::Frontier(proposal) => finality.on_frontier(cx, from, *proposal),
            Message::WantFrontier { name } => finality.on_want_frontier(cx, from, name),
            Message::Certificates { chain } => finality.on_certificates(cx, from, chain),
            Message::WantCertificates { from: first } => finality.on_want_certificates(cx, from, first),
            other => panic!("finality says nothing like {other:?}"),
        });
    }

    /// Takes an entry of somebody into the set.
    pub(super) fn insert(&mut self, (entry, payload): &Said) {
        let inserted = self.set.fold.insert(entry.clone(), payload.clone());
        assert!(matches!(inserted, Insertion::Applied { .. }), "{inserted:?}");
        self.set.changed();
    }

    fn say(&mut self, body: Body, payload: Option<Arc<[u8]>>) -> Said {
        let log = self.set.fold.log();
        let (next, epoch) = (log.next_position(&self.id()), self.set.fold.epochs().number());
        let header = Header {
            run: RUN,
            author: self.id(),
            seq: next.seq,
            previous: next.previous,
            epoch,
            frontier: self.set.fold.epochs().name(epoch).unwrap(),
            base: log.version().to_components(),
            body,
        };
        let said = (Entry::sign(&self.core.identity, header), payload);
        self.insert(&said);
        said
    }

    pub(super) fn enroll(&mut self) -> Said {
        self.say(Body::Enroll(Enroll { vrf_key: [0; 32] }), None)
    }

    pub(super) fn update(&mut self) -> Said {
        let top = TopK::new(64).unwrap();
        let end: Vec<f32> = (0..PARAMETERS).map(|n| n as f32 * 1e-5).collect();
        let (mut residual, mut payload) = (vec![0.0; PARAMETERS], Vec::new());
        compress(top, 0.9, &[0.0; PARAMETERS], &end, &mut residual, &mut payload).unwrap();
        let update = Update {
            segment: self.set.fold.log().segments(&self.id()),
            steps: 10,
            merges: Vec::new(),
            tokens: UPDATE_TOKENS,
            payload: Hash(blob_root(&payload)),
            payload_bytes: payload.len() as u32,
            top: top.get(),
            norm: validate(top, PARAMETERS, &payload).unwrap().0,
            loss_micronats: 1,
            trace: Hash([1; 32]),
            carry_before: Hash::NONE,
            carry_after: Hash([2; 32]),
            class: Hash::NONE,
        };
        self.say(Body::Update(update), Some(payload.into()))
    }
}

/// So many founders, connected each with each, that have enrolled.
pub(super) fn voters(count: usize) -> (Vec<Bench>, Vec<Said>) {
    let mut benches: Vec<Bench> = (0..count).map(|n| Bench::among(n, count, None)).collect();
    let ids: Vec<PeerId> = benches.iter().map(Bench::id).collect();
    for bench in &mut benches {
        let me = bench.id();
        ids.iter().filter(|peer| **peer != me).for_each(|peer| bench.connect(*peer));
    }
    let mut said = Vec::new();
    all_say(&mut benches, &mut said, Bench::enroll);
    (benches, said)
}

/// Every one of them says something that all take in, one after the other.
pub(super) fn all_say(benches: &mut [Bench], said: &mut Vec<Said>, say: fn(&mut Bench) -> Said) {
    for n in 0..benches.len() {
        let new = say(&mut benches[n]);
        let others = benches.iter_mut().enumerate().filter(|(other, _)| *other != n);
        others.for_each(|(_, bench)| bench.insert(&new));
        said.push(new);
    }
    let ids: Vec<PeerId> = benches.iter().map(Bench::id).collect();
    for bench in benches {
        ids.iter().for_each(|peer| bench.note_equal(*peer));
    }
}

/// Hands messages on at `now` until nobody says anything more.
pub(super) fn exchange(benches: &mut [Bench], now: Time) {
    for bench in benches.iter_mut() {
        bench.core.now = now;
        bench.run(Finality::handle_timeout);
        bench.settle();
    }
    loop {
        let mut sent = Vec::new();
        for bench in benches.iter_mut() {
            let from = bench.id();
            for output in bench.outputs() {
                if let Output::Send { to, bytes, .. } = output {
                    sent.push((from, to, Message::decode(&bytes).unwrap()));
                }
            }
        }
        if sent.is_empty() {
            return;
        }
        for (from, to, message) in sent {
            if let Some(bench) = benches.iter_mut().find(|bench| bench.id() == to) {
                bench.take(message, from);
                bench.settle();
            }
        }
    }
}
