//! What goes into a peer and what comes out.

use core::time::Duration;
use std::{net::SocketAddr, sync::Arc};

use murmur_collectives::{Entry, Hash, PeerId, State, VersionVector, Voided, WireEntry};

use crate::{Delay, EntryName, Kind, PeerAddress};

/// What can happen to a peer.
#[derive(Debug)]
pub enum Input {
    /// The trainer finished a segment.
    Author(Box<Draft>),
    /// A connection is up.
    Connected {
        /// The other side, proven by its key.
        peer: PeerId,
        /// Where it is; a stand-in that nobody else can dial if it is relayed.
        address: SocketAddr,
        /// How its packets travel: [`Reach::Direct`] or [`Reach::Relayed`]. Whether a direct one had to be punched, the
        /// node knows itself.
        reach: Reach,
    },
    /// A datagram came in.
    Datagram {
        /// From whom, proven by its key.
        from: PeerId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A dial failed.
    DialFailed {
        /// Where to.
        address: SocketAddr,
        /// Whether a later attempt may succeed; not if it led to this peer itself or to one already connected.
        retry: bool,
    },
    /// A connection is gone.
    Disconnected {
        /// The other side.
        peer: PeerId,
    },
    /// Author nothing more; reach agreement with those who finish, too, then report [`Event::Finished`].
    Finish {
        /// How long to wait for neighbours that still train.
        patience: Duration,
    },
    /// The user gave an address to dial.
    Introduce {
        /// Where to.
        address: SocketAddr,
    },
    /// Say goodbye: the peer stops after the outputs of this input.
    Leave,
    /// The trainer replayed an update.
    Judged {
        /// The update.
        update: EntryName,
        /// Whether the replay gave the same bits.
        passed: bool,
        /// Digest of what the replay gave.
        replay: Hash,
    },
    /// A message came in.
    Message {
        /// From whom, proven by its key.
        from: PeerId,
        /// Its bytes, at most as long as the transport allows.
        bytes: Vec<u8>,
    },
    /// A relayed connection was replaced by one that goes straight; nothing was lost.
    Moved {
        /// The other side.
        peer: PeerId,
        /// Where it is.
        address: SocketAddr,
    },
    /// Where this peer may be dialed beside where others see it: addresses of its own network, and the outer end of a mapped
    /// port. In place of those given before; the first four count. Give none that the user did not open to the network:
    /// neighbours that see this peer elsewhere are told.
    OwnAddresses {
        /// All of them.
        addresses: Vec<SocketAddr>,
    },
    /// A dial led to another process that proved to hold this peer's own key.
    Twin {
        /// Where to.
        address: SocketAddr,
    },
    /// An audit could not be replayed here; forget it.
    Unjudged {
        /// The update.
        update: EntryName,
    },
}

/// How the packets of a connection travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Straight, after one side simply dialed the other.
    Direct,
    /// Straight, through holes that both sides made in their address translators at the same moment.
    Punched,
    /// Through a third peer, encrypted end to end.
    Relayed {
        /// The third peer.
        by: PeerId,
    },
}

/// A segment's result, to become an update.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The set the segment started from.
    pub base: VersionVector,
    /// The newest epoch that was final when it started.
    pub epoch: u32,
    /// The name of its frontier then. If another history took its place meanwhile, the segment is lost.
    pub frontier: Hash,
    /// Its number.
    pub segment: u32,
    /// Inner steps taken.
    pub steps: u32,
    /// The compressed pseudo-gradient.
    pub payload: Arc<[u8]>,
    /// Mean training loss, micro-nats per token.
    pub loss_micronats: u32,
    /// Root of the trace.
    pub trace: Hash,
    /// Root of the carry the segment started from, [`Hash::NONE`] if fresh.
    pub carry_before: Hash,
    /// The sealed carry after it.
    pub carry: Arc<[u8]>,
}

/// What a peer wants done. Outputs are carried out in order, each before the next.
#[derive(Debug)]
pub enum Output {
    /// Store a record of the log. If `durable`, it must be on disk before the next output is looked at.
    Append {
        /// What to store.
        record: StoredEntry,
        /// Whether losing it would fork the own chain.
        durable: bool,
    },
    /// Store the address book in place of the one before: peers this one was connected to, newest success first, several
    /// addresses a peer, a few hundred lines at most. Comes back as [`crate::Setup::address_book`].
    AddressBook {
        /// The whole book.
        peers: Vec<PeerAddress>,
    },
    /// End a connection.
    Close {
        /// With whom.
        peer: PeerId,
        /// Why.
        reason: Closing,
    },
    /// Send a datagram over a connection that is up: at once, past every queue, at most once. Without a connection it is
    /// dropped silently.
    Datagram {
        /// To whom.
        to: PeerId,
        /// At most [`crate::DATAGRAM_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// A frontier became final: store all of this in place of the log so far, whole or not at all. It stands for every
    /// record appended before, and for every chunk kept.
    Compact(Box<Compacted>),
    /// Store a chunk of a state that is being fetched, beside others with the same root and in place of those with another.
    /// Losing it costs fetching it again.
    KeepChunk {
        /// Root of the state.
        root: Hash,
        /// Which chunk.
        index: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Open a connection.
    Dial {
        /// Where to.
        address: SocketAddr,
        /// Who must be there, if that is known; another peer there is a failed dial.
        expect: Option<PeerId>,
    },
    /// Open a connection through a neighbour that volunteers to pass packets on.
    DialThrough {
        /// The neighbour.
        relay: PeerId,
        /// Who must be at the other end.
        peer: PeerId,
    },
    /// Tell the trainer or the user.
    Event(Event),
    /// Store what this peer signed in the present epoch, in place of what was stored before. It must be on disk before the
    /// next output is looked at: it keeps the peer from voting twice.
    Signing {
        /// To be given back at the next start.
        bytes: Vec<u8>,
    },
    /// Set the stored log aside: it is fetched again from its first entry.
    Reset,
    /// Send a message.
    Send {
        /// To whom.
        to: PeerId,
        /// What it is about.
        kind: Kind,
        /// The wire form.
        bytes: Vec<u8>,
    },
}

/// What a peer keeps on its disk from a final frontier on. A log stored after it holds what was appended since.
#[derive(Clone, Debug)]
pub struct Compacted {
    /// The epoch.
    pub epoch: u32,
    /// The proof: certificates, rows and foundation, as [`crate::Node::new`] reads them.
    pub proof: Vec<u8>,
    /// The state of the final frontier, `[parameters]`.
    pub state: State,
    /// The log from now on begins with these: records that the foundation names, and those that are not final yet.
    pub records: Vec<StoredEntry>,
}

/// Why a connection is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// The peer was evicted from the run.
    Evicted,
    /// Enough others are connected.
    Full,
    /// The connection served a single purpose, and nothing was said on it for a while.
    Idle,
    /// The peer said goodbye.
    Goodbye,
    /// The peer broke the protocol too often.
    Misbehaved,
    /// The peer is in another run.
    OtherRun,
}

/// An entry with its payload, as stored.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    /// The entry.
    pub entry: WireEntry,
    /// The payload of an update; absent where only a final frontier's state contains it.
    pub payload: Option<Arc<[u8]>>,
}

impl StoredEntry {
    pub(crate) fn new(entry: &Entry, payload: Option<Arc<[u8]>>) -> Self {
        Self { entry: entry.to_wire(), payload }
    }
}

/// What is worth telling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// An update joined the set.
    Applied {
        /// Its name.
        update: EntryName,
        /// Its tokens.
        tokens: u64,
        /// Its weight in 16-bit fixed point; zero on probation.
        weight_q16: u32,
    },
    /// An update is ready to be replayed; see [`crate::Node::audit_job`].
    AuditReady {
        /// Its name.
        update: EntryName,
    },
    /// A verdict joined the set.
    Audited {
        /// The audited update.
        update: EntryName,
        /// Who replayed it.
        auditor: PeerId,
        /// Whether the bits were the same.
        passed: bool,
    },
    /// A peer sent something it should not have; nothing was applied.
    BadInput {
        /// Who.
        peer: PeerId,
        /// What.
        reason: String,
    },
    /// A peer is not listened to for a while.
    Banned {
        /// Who.
        peer: PeerId,
        /// For how long; twice as long each time.
        lasts: Duration,
        /// Its last offence.
        reason: String,
    },
    /// The set and the state equal a neighbour's: training may start.
    CaughtUp,
    /// A neighbour left or was lost.
    Departed {
        /// Who.
        peer: PeerId,
    },
    /// A neighbour with the same set has another state: a bug or an attack.
    Diverged {
        /// Who.
        peer: PeerId,
        /// Its state root.
        theirs: Hash,
        /// The own state root.
        ours: Hash,
    },
    /// Updates of a peer became void, by the own fold: of this peer itself or of another.
    Evicted {
        /// Who.
        peer: PeerId,
        /// Why.
        why: Voided,
    },
    /// A frontier became final.
    Final {
        /// Its number.
        epoch: u32,
        /// Its tokens.
        clock: u64,
        /// Entries that came too late for it and left the set.
        excluded: u64,
    },
    /// The peer may leave now. Told again if the set grows afterwards and agreement is reached again.
    Finished {
        /// Whether every neighbour that also finished holds the same set and state.
        agreed: bool,
    },
    /// The peer has been finishing for a while, and may not leave yet.
    Unfinished {
        /// What it waits for.
        delays: Vec<Delay>,
    },
    /// Another process that started with this peer's key *before* this one is alive, by its own signature. This one must
    /// stop: it authors nothing from now on.
    IdentityInUse,
    /// So much work is not final that this peer adds none until that changes.
    Stalled {
        /// Tokens since the newest final frontier.
        tokens: u64,
    },
    /// More work may be added again, although nothing became final since [`Event::Stalled`].
    Resumed,
    /// A neighbour came.
    Joined {
        /// Who.
        peer: PeerId,
    },
    /// A member of the swarm is no longer there.
    MemberDown {
        /// Who.
        peer: PeerId,
        /// Why it is believed.
        reason: DownReason,
    },
    /// The swarm has a new member, or one that was down is back.
    MemberUp {
        /// Who.
        peer: PeerId,
    },
    /// Another process that started with this peer's key *after* this one has been heard of, and was told to stop.
    Usurped,
}

/// Why a member is no longer counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DownReason {
    /// It said goodbye.
    Left,
    /// It did not answer, and did not deny it in time.
    Silent,
}
