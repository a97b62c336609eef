//! Replication alone, with what it may touch, and entries for it.

use core::time::Duration;
use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use murmur_collectives::{Body, Enroll, Entry, Fold, Founder, Hash, Header, Identity, PeerId, Rules};

use super::{Context, Event, Mode, Replication};
use crate::{
    Config, Digest, Item, Message, Output, Time,
    node::{
        bench,
        connectivity::Neighbours,
        context::{Core, Network, Raised},
        limits::{self, Limits},
        set::Set,
    },
};

/// The peer that is tested, the founder of its run.
pub(crate) const ME: u8 = 200;

pub(crate) fn id(peer: u8) -> PeerId {
    Identity::from_secret(&[peer; 32]).peer_id()
}

fn rules() -> Rules {
    Rules {
        clip_q16: 3 << 15,
        tokens_per_step: 10,
        segment_tokens: 100,
        steps_max: 10,
        founders: vec![Founder { peer: id(ME), vrf_key: [0; 32] }],
        ..bench::rules()
    }
}

fn fold() -> Fold {
    Fold::new(Hash([9; 32]), rules(), vec![0; 64])
}

/// The first entry of `author`, which has seen the first entries of `past`. Another `key` makes another entry.
pub(crate) fn enrolment(author: u8, key: u8, past: &[u8]) -> Entry {
    let (identity, fold) = (Identity::from_secret(&[author; 32]), fold());
    let past: murmur_collectives::VersionVector = past.iter().map(|peer| (id(*peer), 1)).collect();
    let header = Header {
        run: fold.run(),
        author: identity.peer_id(),
        seq: 0,
        previous: fold.log().next_position(&identity.peer_id()).previous,
        epoch: 0,
        frontier: fold.epochs().newest().frontier.name(),
        base: past.to_components(),
        body: Body::Enroll(Enroll { vrf_key: [key; 32] }),
    };
    Entry::sign(&identity, header)
}

pub(crate) fn item(entry: &Entry) -> Item {
    Item { entry: entry.to_wire(), payload: None }
}

/// What other machines would be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Applied(PeerId),
    Banned(PeerId),
    Epoch(PeerId),
    Forks(PeerId),
    Greeted(PeerId),
    Staged(PeerId),
    AnswerStaged,
    Other,
}

/// Two neighbours: 1 is connected with 2.
pub(crate) fn pair() -> (Bench, Bench) {
    (Bench::new(&[2]), Bench::new(&[1]))
}

/// The machine with a set, connections and settings.
pub(crate) struct Bench {
    pub(crate) machine: Replication,
    pub(crate) core: Core,
    pub(crate) set: Set,
    pub(crate) mode: Mode,
    limits: Limits,
    neighbours: Neighbours,
}

impl Bench {
    /// A peer that has caught up, and its connected neighbours.
    pub(crate) fn new(neighbours: &[u8]) -> Self {
        let (identity, config) = (Identity::from_secret(&[ME; 32]), Config::default());
        let mut bench = Self {
            machine: Replication::default(),
            core: Core::new(identity, Hash([7; 32]), Arc::new(rules()), config, 1),
            set: Set::new(fold()),
            mode: Mode { pulls: true, is_caught_up: true, is_done_auditing: true, ..Mode::default() },
            limits: Limits::default(),
            neighbours: Neighbours::default(),
        };
        neighbours.iter().for_each(|peer| bench.connect(*peer));
        bench
    }

    pub(crate) fn connect(&mut self, peer: u8) {
        self.neighbours.connect_near(id(peer), SocketAddr::from(([127, 0, 0, 1], u16::from(peer))));
        self.limits.connected(&self.core, id(peer));
        self.machine.connected(id(peer));
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.core.now = self.core.now + time;
    }

    /// Lets the machine act and then do all steps that follow. What it raised for others, in order.
    pub(crate) fn act(&mut self, act: impl FnOnce(&mut Replication, &mut Context<'_>)) -> Vec<Told> {
        let mut told = Vec::new();
        self.once(act);
        let mut raised = self.raised();
        while let Some(event) = raised.pop_front() {
            match event {
                Raised::Replication(Event::Resume(step)) => {
                    self.once(|machine, cx| machine.resume(cx, step));
                    self.raised().into_iter().rev().for_each(|event| raised.push_front(event));
                }
                Raised::Replication(event) => told.push(told_by(&event)),
                Raised::Limits(limits::Event::Banned(peer)) => told.push(Told::Banned(peer)),
                Raised::Connectivity(_)
                | Raised::Membership(_)
                | Raised::CatchUp(_)
                | Raised::Transfer(_)
                | Raised::Finality(_)
                | Raised::OwnChain(_)
                | Raised::Audits(_)
                | Raised::Eviction(_) => panic!("replication raises nothing in the name of another machine"),
            }
        }
        told
    }

    /// Lets the machine act, and nothing that follows.
    pub(crate) fn once(&mut self, act: impl FnOnce(&mut Replication, &mut Context<'_>)) {
        let (machine, mut cx) = self.parts();
        act(machine, &mut cx);
    }

    pub(crate) fn parts(&mut self) -> (&mut Replication, Context<'_>) {
        let net = Network::new(&mut self.core, &mut self.limits, &self.neighbours);
        (&mut self.machine, Context { net, set: &mut self.set, mode: self.mode })
    }

    /// What was raised and not looked at.
    pub(crate) fn raised(&mut self) -> VecDeque<Raised> {
        self.core.take_raised().into()
    }

    /// Messages sent since this was last asked.
    pub(crate) fn sent(&mut self) -> Vec<(PeerId, Message)> {
        let sent = |output| {
            let Output::Send { to, bytes, .. } = output else { return None };
            Message::decode(&bytes).ok().map(|message| (to, message))
        };
        self.core.outputs.drain(..).filter_map(sent).collect()
    }

    /// Digests sent since messages were last asked for.
    pub(crate) fn digests(&mut self) -> Vec<Digest> {
        let digest = |(_, message)| if let Message::Digest(digest) = message { Some(*digest) } else { None };
        self.sent().into_iter().filter_map(digest).collect()
    }

    /// The next digest for `to`.
    pub(crate) fn say(&mut self, to: u8) -> Digest {
        self.act(|machine, cx| machine.send_digest(cx, id(to), false));
        self.digests().remove(0)
    }

    pub(crate) fn hear(&mut self, from: u8, digest: &Digest) -> Vec<Told> {
        self.act(|machine, cx| machine.on_digest(cx, id(from), Box::new(digest.clone())))
    }

    /// `from` sends the first entry of `author`.
    pub(crate) fn learn(&mut self, from: u8, author: u8) {
        self.act(|machine, cx| machine.on_entries(cx, id(from), vec![item(&enrolment(author, 0, &[]))]));
        self.sent();
    }

    pub(crate) fn holds(&self, author: u8) -> bool {
        self.set.fold.log().version().count(&id(author)) > 0
    }

    pub(crate) fn now(&self) -> Time {
        self.core.now
    }
}

fn told_by(event: &Event) -> Told {
    match event {
        Event::Applied(entry) => Told::Applied(entry.author()),
        Event::EpochTold { peer, .. } => Told::Epoch(*peer),
        Event::Forks { other, .. } => Told::Forks(other.author()),
        Event::Greeted(peer) => Told::Greeted(*peer),
        Event::Staged { entry, .. } => Told::Staged(entry.author()),
        Event::AnswerStaged(_) => Told::AnswerStaged,
        Event::Resume(_)
        | Event::OtherRun(_)
        | Event::EpochAhead { .. }
        | Event::FetchPayload { .. }
        | Event::ForgetPayload { .. }
        | Event::Evicted(_)
        | Event::ForkProven { .. } => Told::Other,
    }
}
