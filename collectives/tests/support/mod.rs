//! A swarm of small folds that say real things to each other; shared by the test files.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod reference;

use std::sync::Arc;

use murmur_collectives::{
    Ballot, Body, Certificate, Enroll, Entry, Fold, Founder, Hash, Header, Identity, Insertion, ONE_Q16, PeerId,
    Proposal, Rules, Signed, Stage, Update, Verdict, VersionVector, Vote,
};
use murmur_kernels::{TopK, blob_root, compress};
use proptest::prelude::*;

/// A chunk that is not full: ten parameters of it are sent.
pub(crate) const PARAMETERS: usize = 600;

/// Inner steps of every update.
const STEPS: u32 = 10;

/// The numeric class that the rules ask for.
const CLASS: Hash = Hash([7; 32]);

pub(crate) fn run() -> Hash {
    Hash([9; 32])
}

pub(crate) fn genesis() -> Vec<i64> {
    (0..PARAMETERS as i64).map(|i| (i - 300) << 20).collect()
}

pub(crate) fn rules(founders: &[PeerId]) -> Rules {
    Rules {
        parameters: PARAMETERS as u64,
        top: 64,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16 / 2,
        clip_q16: ONE_Q16 * 3 / 2,
        tokens_per_step: 100,
        segment_tokens: 1000,
        steps_max: 100,
        token_budget: 1_000_000,
        audit_rate_q16: ONE_Q16,
        audit_quorum: 2,
        span: 1,
        frontier_every_tokens: 0,
        class: Some(CLASS),
        founders: founders.iter().map(|peer| Founder { peer: *peer, vrf_key: [0; 32] }).collect(),
    }
}

/// An entry with the payload it needs.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) entry: Entry,
    pub(crate) payload: Option<Arc<[u8]>>,
}

#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) identity: Identity,
    pub(crate) fold: Fold,
}

impl Peer {
    pub(crate) fn id(&self) -> PeerId {
        self.identity.peer_id()
    }
}

/// Peers and all they ever said, in an order that respects causality.
#[derive(Clone)]
pub(crate) struct Swarm {
    pub(crate) rules: Rules,
    pub(crate) peers: Vec<Peer>,
    pub(crate) said: Vec<Said>,
}

impl Swarm {
    /// `peers` peers that have enrolled, the first `founders` of which start trusted. Nobody has heard of anybody.
    pub(crate) fn new(founders: usize, peers: usize) -> Self {
        let identities: Vec<Identity> = (0..peers).map(|n| Identity::from_secret(&[n as u8 + 1; 32])).collect();
        let ids: Vec<PeerId> = identities.iter().map(Identity::peer_id).collect();
        let rules = rules(&ids[..founders]);
        rules.check().unwrap();
        let fold = Fold::new(run(), rules.clone(), genesis());
        let peers = identities.into_iter().map(|identity| Peer { identity, fold: fold.clone() }).collect();
        let mut swarm = Self { rules, peers, said: Vec::new() };
        for peer in 0..swarm.peers.len() {
            swarm.say(peer, Body::Enroll(Enroll { vrf_key: [peer as u8; 32] }), None);
        }
        swarm
    }

    /// Founders that make a frontier final every so many tokens, and know each other.
    pub(crate) fn with_frontiers(founders: usize, every_tokens: u64) -> Self {
        let mut swarm = Self::new(founders, founders);
        swarm.rules.frontier_every_tokens = every_tokens;
        let fresh = swarm.fresh();
        swarm.peers.iter_mut().for_each(|peer| peer.fold = fresh.clone());
        swarm.share_all();
        swarm
    }

    /// A fold that holds nothing.
    pub(crate) fn fresh(&self) -> Fold {
        Fold::new(run(), self.rules.clone(), genesis())
    }

    pub(crate) fn id(&self, peer: usize) -> PeerId {
        self.peers[peer].id()
    }

    pub(crate) fn fold(&self, peer: usize) -> &Fold {
        &self.peers[peer].fold
    }

    /// The header of what `peer` would say next, having seen what it has seen.
    pub(crate) fn header(&self, peer: usize, body: Body) -> Header {
        next_header(&self.peers[peer].fold, self.id(peer), body)
    }

    /// `peer` says `body` and takes it into its own set.
    pub(crate) fn say(&mut self, peer: usize, body: Body, payload: Option<Arc<[u8]>>) -> Said {
        let entry = Entry::sign(&self.peers[peer].identity, self.header(peer, body));
        let said = Said { entry, payload };
        let inserted = offer(&mut self.peers[peer].fold, &said);
        assert!(matches!(inserted, Insertion::Applied { .. }), "{inserted:?}");
        self.said.push(said.clone());
        said
    }

    /// The body and payload of an update by `peer` with gradients of about `scale`.
    pub(crate) fn draft(&self, peer: usize, scale: f32) -> (Update, Arc<[u8]>) {
        let log = self.peers[peer].fold.log();
        let segment = log.segments(&self.id(peer));
        let (payload, norm) = learned(peer as u64 * 1000 + u64::from(segment), scale);
        let update = Update {
            segment,
            steps: STEPS,
            merges: Vec::new(),
            tokens: u64::from(STEPS * self.rules.tokens_per_step),
            payload: Hash(blob_root(&payload)),
            payload_bytes: payload.len() as u32,
            top: self.rules.top,
            norm,
            loss_micronats: 1_000_000,
            trace: Hash([1; 32]),
            carry_before: log.carry(&self.id(peer)).filter(|_| log.is_founded(&self.id(peer))).unwrap_or(Hash::NONE),
            carry_after: Hash::of("carry", &[peer as u8, segment as u8]),
            class: CLASS,
        };
        (update, payload)
    }

    pub(crate) fn update(&mut self, peer: usize, scale: f32) -> Said {
        let (update, payload) = self.draft(peer, scale);
        self.say(peer, Body::Update(update), Some(payload))
    }

    pub(crate) fn verdict(&mut self, auditor: usize, about: &Entry, passed: bool) -> Said {
        self.say(auditor, Body::Verdict(verdict(about, passed)), None)
    }

    /// `to` hears all that `from` holds.
    pub(crate) fn share(&mut self, from: usize, to: usize) {
        let view = self.peers[from].fold.log().version().clone();
        for said in self.said.clone() {
            if view.contains(&said.entry.author(), said.entry.seq()) {
                offer(&mut self.peers[to].fold, &said);
            }
        }
        assert!(self.peers[to].fold.log().version().includes(&view));
    }

    /// Everybody hears everything.
    pub(crate) fn share_all(&mut self) {
        for said in self.said.clone() {
            self.peers.iter_mut().for_each(|peer| drop(offer(&mut peer.fold, &said)));
        }
    }

    /// Each of `peers` hears what the others of them hold.
    pub(crate) fn share_among(&mut self, peers: core::ops::Range<usize>) {
        for from in peers.clone() {
            peers.clone().filter(|to| *to != from).for_each(|to| self.share(from, to));
        }
    }

    /// `peers` say two updates each and hear each other.
    pub(crate) fn train_among(&mut self, peers: core::ops::Range<usize>) {
        for _ in 0..2 {
            peers.clone().for_each(|peer| drop(self.update(peer, 1e-3)));
            self.share_among(peers.clone());
        }
    }

    /// `peers` train, hear each other, and make it final.
    pub(crate) fn epoch(&mut self, peers: core::ops::Range<usize>) {
        self.train_among(peers.clone());
        finalize(self, &peers.collect::<Vec<_>>());
    }

    /// Every one of `peers` says one update on the same set, then everybody hears them.
    pub(crate) fn round(&mut self, peers: core::ops::Range<usize>) -> Vec<Said> {
        let said = peers.map(|peer| self.update(peer, 1e-3)).collect();
        self.share_all();
        said
    }

    /// What W(u) became of `said`.
    pub(crate) fn weight(&self, said: &Said) -> u32 {
        let holders = self.peers.iter().filter_map(|p| p.fold.log().record(&said.entry.author(), said.entry.seq()));
        holders.map(|record| record.weight.q16()).next().unwrap()
    }

    /// Updates that `auditor` holds, that are not its own, and that it has not judged.
    fn open_to(&self, auditor: usize) -> Vec<Entry> {
        let (me, log) = (self.id(auditor), self.peers[auditor].fold.log());
        let updates = log.records().map(|record| record.entry.as_ref()).filter(|entry| entry.update().is_some());
        let open = updates.filter(|e| e.author() != me && !log.has_judged(&me, &e.author(), e.seq()));
        open.cloned().collect()
    }

    /// Carries out one step of a generated history.
    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Update { peer, scale } => drop(self.update(peer, f32::from(scale) * 1e-3)),
            Step::Share { from, to } if from != to => self.share(from, to),
            Step::Share { .. } => {}
            Step::Verdict { auditor, which, passed } => {
                let open = self.open_to(auditor);
                if !open.is_empty() {
                    let about = open[usize::from(which) % open.len()].clone();
                    self.verdict(auditor, &about, passed);
                }
            }
        }
    }
}

/// `proposal`, signed by the first three peers.
fn certify(swarm: &Swarm, proposal: &Proposal) -> Certificate {
    let frontier = proposal.frontier.clone();
    let vote = |peer: &Peer| {
        let vote = Vote::sign(&peer.identity, run(), frontier.epoch, 0, Ballot::Precommit, frontier.name());
        Signed { voter: vote.voter, signature: vote.signature }
    };
    let mut signed: Vec<Signed> = swarm.peers.iter().take(3).map(vote).collect();
    signed.sort_unstable_by_key(|signed| signed.voter);
    Certificate { frontier, round: 0, signed }
}

/// What peer 0 holds becomes final for all of `peers`.
pub(crate) fn finalize(swarm: &mut Swarm, peers: &[usize]) {
    let proposal = swarm.fold(0).candidate().expect("enough was done");
    let certificate = certify(swarm, &proposal);
    for peer in peers {
        swarm.peers[*peer].fold.finalize(&certificate, proposal.clone()).unwrap();
    }
}

/// The header of what `author` would say next on top of what `fold` holds.
pub(crate) fn next_header(fold: &Fold, author: PeerId, body: Body) -> Header {
    let (log, epochs) = (fold.log(), fold.epochs());
    let next = log.next_position(&author);
    Header {
        run: run(),
        author,
        seq: next.seq,
        previous: next.previous,
        epoch: epochs.number(),
        frontier: epochs.newest().frontier.name(),
        base: log.version().to_components(),
        body,
    }
}

pub(crate) fn verdict(about: &Entry, passed: bool) -> Verdict {
    Verdict {
        author: about.author(),
        seq: about.seq(),
        update: about.hash(),
        passed,
        replay: Hash([4; 32]),
        stage: Stage::First,
        draw: [0; 96],
    }
}

pub(crate) fn offer(fold: &mut Fold, said: &Said) -> Insertion {
    fold.insert(said.entry.clone(), said.payload.clone())
}

/// Offers `said` in the order given, again and again, until nothing more is taken.
pub(crate) fn offer_until_quiet(fold: &mut Fold, said: &[Said]) {
    loop {
        let before = fold.log().version().clone();
        said.iter().for_each(|said| drop(offer(fold, said)));
        if *fold.log().version() == before {
            return;
        }
    }
}

/// `said` in an order that `seed` decides: any order, not one that respects causality.
pub(crate) fn shuffled(said: &[Said], seed: u64) -> Vec<Said> {
    let mut keyed: Vec<(u64, Said)> = said.iter().cloned().enumerate().map(|(i, s)| (mix(seed, i as u64), s)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, said)| said).collect()
}

/// The part of `said` that `view` names.
pub(crate) fn within(said: &[Said], view: &VersionVector) -> Vec<Said> {
    said.iter().filter(|said| view.contains(&said.entry.author(), said.entry.seq())).cloned().collect()
}

/// A payload made by the encoder, and its norm.
pub(crate) fn learned(seed: u64, scale: f32) -> (Arc<[u8]>, u64) {
    let end: Vec<f32> = (0..PARAMETERS as u64).map(|i| unit(seed, i) * scale).collect();
    let (start, mut residual, mut payload) = (vec![0.0; PARAMETERS], vec![0.0; PARAMETERS], Vec::new());
    let top = TopK::new(64).unwrap();
    let norm = compress(top, 0.0, &start, &end, &mut residual, &mut payload).unwrap();
    (payload.into(), norm.0)
}

/// Uniform in [-1, 1).
fn unit(seed: u64, i: u64) -> f32 {
    (mix(seed, i) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
}

/// SplitMix64.
pub(crate) fn mix(seed: u64, i: u64) -> u64 {
    let x = (seed << 32).wrapping_add(i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One thing that happens in a generated history.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Update { peer: usize, scale: u8 },
    Share { from: usize, to: usize },
    Verdict { auditor: usize, which: u8, passed: bool },
}

/// A history of `peers` peers: who learns, hears and judges, in which order.
pub(crate) fn history(peers: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..peers, 1u8..=8).prop_map(|(peer, scale)| Step::Update { peer, scale }),
        5 => (0..peers, 0..peers).prop_map(|(from, to)| Step::Share { from, to }),
        3 => (0..peers, any::<u8>(), any::<bool>())
            .prop_map(|(auditor, which, passed)| Step::Verdict { auditor, which, passed }),
    ];
    proptest::collection::vec(step, 5..45)
}
