//! The inputs and outputs of a peer.

use core::time::Duration;
use std::{net::SocketAddr, sync::Arc};

use murmur_collectives::{Entry, Hash, PeerId, State, VersionVector, Voided, WireEntry};
use murmur_kernels::TopK;

use crate::{Delay, EntryName, Kind, PeerAddress};

/// An input from the transport, the trainer or the user.
#[derive(Debug)]
pub enum Input {
    /// The trainer finished a segment.
    Author(Box<Draft>),
    /// A connection is up.
    Connected {
        /// The peer at the other end, authenticated by its key.
        peer: PeerId,
        /// The address of the other end. For a relayed connection a placeholder, which no other peer can dial.
        address: SocketAddr,
        /// The path of its packets: [`Reach::Direct`] or [`Reach::Relayed`]. The node itself knows whether a direct
        /// connection was punched.
        reach: Reach,
    },
    /// A datagram arrived.
    Datagram {
        /// The sender, authenticated by its key.
        from: PeerId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A dial failed.
    DialFailed {
        /// The dialed address.
        address: SocketAddr,
        /// Whether a later attempt may succeed. It cannot if the dial led to this peer itself or to a peer that is
        /// already connected.
        retry: bool,
    },
    /// A connection is gone.
    Disconnected {
        /// The peer at the other end.
        peer: PeerId,
    },
    /// Stop authoring, reach agreement with the neighbours that finish as well, then report [`Event::Finished`].
    Finish {
        /// How long to wait for neighbours that still train.
        patience: Duration,
    },
    /// The user gave an address to dial.
    Introduce {
        /// The address.
        address: SocketAddr,
    },
    /// Say goodbye. The peer stops after the outputs of this input.
    Leave,
    /// The trainer replayed an update.
    Judged {
        /// The update.
        update: EntryName,
        /// Whether the replay gave the same bits.
        passed: bool,
        /// The digest of the replayed result.
        replay: Hash,
    },
    /// A message arrived.
    Message {
        /// The sender, authenticated by its key.
        from: PeerId,
        /// Its bytes; the transport limits their number.
        bytes: Vec<u8>,
    },
    /// The transport replaced a relayed connection by a direct one, without losing any bytes.
    Moved {
        /// The peer at the other end.
        peer: PeerId,
        /// The new address of the other end.
        address: SocketAddr,
    },
    /// Further addresses at which this peer may be dialed, beside the one that others see: those of its own network,
    /// and the outer end of a port mapping. They replace earlier ones, and the first four count. Give none that the
    /// user did not open to the network, because neighbours that see this peer elsewhere receive them.
    OwnAddresses {
        /// The complete list.
        addresses: Vec<SocketAddr>,
    },
    /// A dial led to another process with this peer's own key, which it proved.
    Twin {
        /// The dialed address.
        address: SocketAddr,
    },
    /// An audit could not be replayed here and is dropped.
    Unjudged {
        /// The update.
        update: EntryName,
    },
}

/// The path of a connection's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Direct, by a plain dial.
    Direct,
    /// Direct, by hole punching: both sides dialed at the same time through their NATs.
    Punched,
    /// Through a relay, encrypted end to end.
    Relayed {
        /// The relay.
        by: PeerId,
    },
}

/// The result of a segment, from which the node makes an update.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The set from which the segment started; then the set after each merge, with the inner steps done by then. At least
    /// one, and each includes the one before it.
    pub views: Vec<(u32, VersionVector)>,
    /// The newest final epoch at its start.
    pub epoch: u32,
    /// The name of that epoch's frontier. If another history replaces it meanwhile, the segment is lost.
    pub frontier: Hash,
    /// The number of the segment.
    pub segment: u32,
    /// The number of inner steps.
    pub steps: u32,
    /// The compressed pseudo-gradient.
    pub payload: Arc<[u8]>,
    /// How many of every 4096 parameters it carries.
    pub top: TopK,
    /// The mean training loss, in micro-nats per token.
    pub loss_micronats: u32,
    /// The root of the trace.
    pub trace: Hash,
    /// The root of the carry from which the segment started, or [`Hash::NONE`], or
    /// [`Update::CONTINUES`](murmur_collectives::Update::CONTINUES).
    pub carry_before: Hash,
    /// The sealed carry after the segment; nothing if the span goes on.
    pub carry: Option<Arc<[u8]>>,
}

/// An action for the driver. It carries out the outputs in order, each before the next.
#[derive(Debug)]
pub enum Output {
    /// Store a record of the log. If `durable`, it must be on disk before the driver takes the next output.
    Append {
        /// The record.
        record: StoredEntry,
        /// Whether losing it would fork this peer's own chain.
        durable: bool,
    },
    /// Store the address book in place of the one before: peers to which this one was connected, newest success
    /// first, several addresses a peer, a few hundred lines at most. It comes back as [`crate::Setup::address_book`].
    AddressBook {
        /// The whole book.
        peers: Vec<PeerAddress>,
    },
    /// Close a connection.
    Close {
        /// The peer at the other end.
        peer: PeerId,
        /// The reason.
        reason: Closing,
    },
    /// Send a datagram over a connection that is up: at once, ahead of all queues, at most once. Without a connection
    /// it is dropped silently.
    Datagram {
        /// The receiver.
        to: PeerId,
        /// At most [`crate::DATAGRAM_BYTES_MAX`] bytes.
        bytes: Vec<u8>,
    },
    /// A frontier became final: store all of this in place of the log so far, either completely or not at all. It
    /// replaces every record appended before, and every chunk kept.
    Compact(Box<Compacted>),
    /// Store a chunk of a state that is being fetched, beside other chunks of the same root and in place of those of
    /// another. If it is lost it is fetched again.
    KeepChunk {
        /// The root of the state.
        root: Hash,
        /// The index of the chunk.
        index: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Open a connection.
    Dial {
        /// The address.
        address: SocketAddr,
        /// The peer expected there, if known. If another peer answers, the dial has failed.
        expect: Option<PeerId>,
    },
    /// Open a connection through a neighbour that volunteers as a relay.
    DialThrough {
        /// The relay.
        relay: PeerId,
        /// The peer expected at the other end.
        peer: PeerId,
    },
    /// Report an event to the trainer or the user.
    Event(Event),
    /// Store what this peer signed in the present epoch, in place of the stored one. It must be on disk before the
    /// driver takes the next output, because it keeps the peer from voting twice after a restart.
    Signing {
        /// The node needs them back at the next start.
        bytes: Vec<u8>,
    },
    /// Set the stored log aside: the node fetches it again from the first entry.
    Reset,
    /// Send a message.
    Send {
        /// The receiver.
        to: PeerId,
        /// Its kind, for priorities.
        kind: Kind,
        /// Its wire form.
        bytes: Vec<u8>,
    },
}

/// What a peer keeps on disk from a final frontier on. A log stored after it holds the records appended since.
#[derive(Clone, Debug)]
pub struct Compacted {
    /// The epoch.
    pub epoch: u32,
    /// The proof: certificates, rows and foundation, as [`crate::Node::new`] reads them.
    pub proof: Vec<u8>,
    /// The state of the final frontier, `[parameters]`.
    pub state: State,
    /// The first records of the log from now on: those that the foundation names, and those that are not final yet.
    pub records: Vec<StoredEntry>,
}

/// Why a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// The peer was evicted from the run.
    Evicted,
    /// All places for connections or neighbours are taken.
    Full,
    /// The connection served a single exchange and has been idle since.
    Idle,
    /// The peer said goodbye.
    Goodbye,
    /// The peer violated the protocol too often and is banned.
    Misbehaved,
    /// The peer takes part in another run.
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

/// A report to the trainer or the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// An update joined the set.
    Applied {
        /// Its name.
        update: EntryName,
        /// The number of its tokens.
        tokens: u64,
        /// Its weight in 16-bit fixed point; zero on probation.
        weight_q16: u32,
        /// Its age: tokens of others that the set held by now and that its author had not seen when it ended.
        age_tokens: u64,
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
        /// The peer that replayed it.
        auditor: PeerId,
        /// Whether the replay gave the same bits.
        passed: bool,
    },
    /// A peer violated the protocol; the message or datagram had no effect.
    BadInput {
        /// The peer.
        peer: PeerId,
        /// The violation.
        reason: String,
    },
    /// A peer is banned: its connection is closed and it is not dialed.
    Banned {
        /// The peer.
        peer: PeerId,
        /// The duration; each further ban lasts twice as long.
        lasts: Duration,
        /// Its last offence.
        reason: String,
    },
    /// The set and the state equal a neighbour's: training may start.
    CaughtUp,
    /// A neighbour left, or its connection was lost.
    Departed {
        /// The peer.
        peer: PeerId,
    },
    /// A neighbour with the same set has another state: a bug or an attack.
    Diverged {
        /// The peer.
        peer: PeerId,
        /// Its state root.
        theirs: Hash,
        /// This peer's state root.
        ours: Hash,
    },
    /// By this peer's fold, updates of a peer became void. The peer may be this one itself.
    Evicted {
        /// The peer.
        peer: PeerId,
        /// The reason.
        why: Voided,
    },
    /// A frontier became final.
    Final {
        /// The number of its epoch.
        epoch: u32,
        /// The number of its tokens.
        clock: u64,
        /// Entries that came too late for it and left the set.
        excluded: u64,
    },
    /// The peer may leave now. Reported again if the set grows afterwards and agreement is reached again.
    Finished {
        /// Whether all neighbours that also finished hold the same set and state.
        agreed: bool,
    },
    /// The peer has been finishing for a while and may not leave yet.
    Unfinished {
        /// The reasons.
        delays: Vec<Delay>,
    },
    /// By its signature, another process that started with this peer's key *before* this one is alive. This process
    /// must stop: it signs nothing from now on.
    IdentityInUse,
    /// Too much work is not final, so this peer adds none until that changes.
    Stalled {
        /// The number of tokens since the newest final frontier.
        tokens: u64,
    },
    /// More work may be added again, although nothing became final since [`Event::Stalled`].
    Resumed,
    /// A peer became a neighbour.
    Joined {
        /// The peer.
        peer: PeerId,
    },
    /// A member of the swarm is down.
    MemberDown {
        /// The peer.
        peer: PeerId,
        /// The reason.
        reason: DownReason,
    },
    /// The swarm has a new member, or one that was down is back.
    MemberUp {
        /// The peer.
        peer: PeerId,
    },
    /// Another process started with this peer's key *after* this one, and this one objected to it. The other one must
    /// stop.
    Usurped,
}

/// Why a member is down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DownReason {
    /// It said goodbye.
    Left,
    /// It answered no probe and did not refute the suspicion in time.
    Silent,
}
