//! Replication: every entry that one peer of a swarm holds reaches all others.
//!
//! - *Gossip*: a peer that adds an entry to its set announces its name to neighbours that lack it.
//! - *Pull*: a peer that hears of an entry requests it from one neighbour that holds it, and from another if no answer comes.
//! - *Arrival*: an entry that came in is checked and inserted, or kept until its causal past is held.
//! - *Long payloads* come in chunks, by the transfer: [`Event::FetchPayload`] names what and from whom, and the node gives the
//!   result to [`Replication::on_payload`] or [`Replication::on_payload_lost`].
//! - *Anti-entropy*: now and then two neighbours compare digests of their sets, which finds whatever was lost before.
//!
//! Contract:
//! - [`Replication::connected`] and [`Replication::disconnected`] follow the connections. What is known of a peer lasts as
//!   long as its connection: digests are numbered per connection.
//! - `on_*` takes a message of a connected peer; `*_due` does what is due, and may be called at any time;
//!   [`Replication::next_deadline`] says when that is.
//! - [`Replication::pull`] follows every input: only it sends requests for chains.
//! - This machine alone adds entries to the set. Catching up replaces the set and finality prunes it; both then call
//!   [`Replication::retry_all`], since entries that wait may fit now.
//! - Inserting an entry can evict its author or start an audit, and what follows from that must be done before the next
//!   entry of the same answer is looked at. So every operation that handles several entries is split into *steps*: each is
//!   raised as [`Event::Resume`] behind what the step before it raised, and the node gives it back to
//!   [`Replication::resume`].

mod anti_entropy;
mod arrival;
mod comparison;
mod gossip;
mod knowledge;
mod long;
mod payloads;
mod pending;
mod pull;
#[cfg(test)]
pub(super) mod testing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use murmur_collectives::{Entry, Hash, PeerId, VersionVector};

pub(crate) use self::{
    gossip::WANT_MAX,
    pending::{Checked, Room, checked},
};
use self::{
    knowledge::Peer,
    long::LongPayloads,
    pending::{Arrival, Pending},
    pull::OpenRequest,
};
use super::{
    context::{Core, Network},
    set::Set,
};
use crate::Time;

/// What replication raises.
#[derive(Debug)]
pub(crate) enum Event {
    /// The rest of an operation: to be given to [`Replication::resume`] when all that was raised before it is done.
    Resume(Step),
    /// A digest came from this peer, which makes its connection one on which entries are exchanged.
    Greeted(PeerId),
    /// This peer takes part in another run.
    OtherRun(PeerId),
    /// A neighbour's digest named the newest frontier that is final there.
    EpochTold {
        /// The neighbour.
        peer: PeerId,
        /// The frontier's epoch.
        epoch: u32,
        /// Its name.
        frontier: Hash,
    },
    /// A neighbour sent an entry that names an epoch which is not final here yet.
    EpochAhead {
        /// The neighbour.
        peer: PeerId,
        /// The epoch.
        epoch: u32,
    },
    /// An entry was added to the set.
    Applied(Box<Entry>),
    /// Updates of this author have become void.
    Evicted(PeerId),
    /// An entry whose causal past is not held yet proves that `forger` forked its chain.
    ForkProven {
        /// The author of the forked chain.
        forger: PeerId,
        /// The entry with the proof.
        proof: Box<Entry>,
    },
    /// An author signed two entries for one position.
    Forks {
        /// The one that is held.
        held: Box<Entry>,
        /// The one that came.
        other: Box<Entry>,
    },
    /// An entry came while a final frontier is being fetched, and may be part of it.
    Staged {
        /// The entry.
        entry: Box<Entry>,
        /// Its payload, if it came with it.
        payload: Option<Arc<[u8]>>,
    },
    /// A payload is to be fetched in chunks; raised once for each source.
    FetchPayload {
        /// Its root.
        root: Hash,
        /// Its length.
        bytes: u64,
        /// A neighbour that says it holds the entry.
        source: PeerId,
    },
    /// A payload is not fetched any more.
    ForgetPayload {
        /// Its root.
        root: Hash,
        /// Its length.
        bytes: u64,
    },
    /// All entries of one answer were raised as [`Event::Staged`]; they are of these authors.
    AnswerStaged(BTreeSet<PeerId>),
}

/// The rest of an operation.
#[derive(Debug)]
pub(crate) struct Step(Work);

#[derive(Debug)]
enum Work {
    /// Takes one entry of an answer.
    Receive(Box<Arrival>),
    /// Strikes a peer for an entry that is malformed.
    Blame { peer: PeerId, reason: String },
    /// Closes the requests that an answer with entries of `authors` settles.
    EndAnswer { from: PeerId, authors: BTreeSet<PeerId> },
    /// Tries an entry that waited.
    Retried(Box<Arrival>),
    /// Tries the entries that wait for the next of the chains that have grown.
    Retry,
    /// Announces an entry that was added to the set.
    Announce(Box<Entry>),
    /// Keeps an entry until what it needs is held.
    Wait { arrival: Box<Arrival>, needs: VersionVector },
    /// Gives up a request that ran out.
    Overdue { author: PeerId, to: PeerId },
    /// Sends digests on schedule.
    Compare,
    /// Compares the own set with the one that `from` has just told.
    Told { from: PeerId, digest: Box<crate::Digest> },
    /// Sends a digest.
    SayDigest { to: PeerId, reply: bool, lost: bool },
}

/// What machines above this one are doing, as plain values; the node fills them in for every call.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Mode {
    /// A final frontier is being fetched: the set will be replaced, and entries that come may belong to that frontier.
    pub(crate) is_staging: bool,
    /// Chains are pulled: a peer that has not chosen yet where to begin may skip most of them.
    pub(crate) pulls: bool,
    /// The set has contained a neighbour's once.
    pub(crate) is_caught_up: bool,
    /// The peer finishes and authors nothing unless something new arrives.
    pub(crate) is_finishing: bool,
    /// It no longer waits for neighbours that train, and pulls only from those that finish, too.
    pub(crate) is_closing: bool,
    /// No audit is under way.
    pub(crate) is_done_auditing: bool,
    /// Own entries known to have been signed before the start.
    pub(crate) signed_before: u32,
}

/// What replication may touch.
pub(crate) struct Context<'a> {
    pub(crate) net: Network<'a>,
    pub(crate) set: &'a mut Set,
    pub(crate) mode: Mode,
}

/// What neighbours hold, what is requested of them, and the entries that wait.
#[derive(Default, Debug)]
pub(crate) struct Replication {
    peers: BTreeMap<PeerId, Peer>,
    /// At most one request for each author's chain.
    requests: BTreeMap<PeerId, OpenRequest>,
    /// Authors of whom some neighbour may hold more, and of whom nothing is requested: the only ones that [`Self::pull`] looks
    /// at, so that a peer that lacks nothing looks at nothing.
    lacking: BTreeSet<PeerId>,
    pending: Pending,
    /// Payloads needed to remove void updates whose entries came without, below a final frontier.
    payloads: BTreeMap<(PeerId, u32), Option<OpenRequest>>,
    /// Payloads that are fetched in chunks.
    long: LongPayloads,
    anti_entropy_at: Time,
    /// How often a neighbour with the same set had the same state, and how often another.
    roots_compared: (u64, u64),
}

impl Replication {
    /// A connection is up; what was said and asked on one before it is void.
    pub(crate) fn connected(&mut self, peer: PeerId) {
        self.peers.insert(peer, Peer::default());
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        self.forget_requests_to(peer);
        self.peers.remove(peer);
    }

    /// Does the next step of an operation.
    pub(crate) fn resume(&mut self, cx: &mut Context<'_>, step: Step) {
        match step.0 {
            Work::Receive(arrival) => self.receive(cx, *arrival),
            Work::Blame { peer, reason } => cx.net.strike(peer, reason),
            Work::EndAnswer { from, authors } => self.end_answer(cx, from, authors),
            Work::Retried(arrival) => self.offer_again(cx, *arrival),
            Work::Retry => self.retry_next(cx),
            Work::Announce(entry) => self.announce(cx, entry),
            Work::Wait { arrival, needs } => self.wait(cx, *arrival, &needs),
            Work::Overdue { author, to } => self.give_up(cx, author, to),
            Work::Compare => self.compare(cx),
            Work::Told { from, digest } => self.compare_with(cx, from, &digest),
            Work::SayDigest { to, reply, lost } => self.say_digest(cx, to, reply, lost),
        }
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Time {
        let payloads = self.payloads.values().flatten();
        let requests = self.requests.values().chain(payloads).map(|request| request.deadline);
        requests.chain(self.long.next_deadline()).fold(self.anti_entropy_at, Time::min)
    }

    /// Requests that wait for an answer, and payloads that are wanted of any peer that has them.
    pub(crate) fn awaited(&self) -> (usize, usize) {
        (self.requests.len(), self.payloads.len() + self.long.count())
    }

    /// How often a neighbour with the same set had the same state, and how often another.
    pub(crate) fn roots_compared(&self) -> (u64, u64) {
        self.roots_compared
    }

    /// Bytes of the entries that wait and of requests.
    pub(crate) fn held_bytes(&self) -> usize {
        let requests = self.requests.len() + self.payloads.len() + self.lacking.len();
        self.pending.held_bytes() + requests * size_of::<(PeerId, u32, OpenRequest)>()
    }

    /// Bytes of what is known of connected peers.
    pub(crate) fn peers_held_bytes(&self) -> usize {
        self.peers.values().map(Peer::held_bytes).sum()
    }
}

/// Has `work` done after all that was raised before.
fn later(core: &mut Core, work: Work) {
    core.raise(Event::Resume(Step(work)));
}
