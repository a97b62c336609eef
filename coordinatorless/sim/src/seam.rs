//! The seam to the node: the only file that knows what goes into a [`Node`] and what comes out of it.

use core::time::Duration;
use std::net::SocketAddr;

use murmur_collectives::{Hash, PeerId};
use murmur_coordinatorless::{
    Closing, Compacted, Config, Draft, EntryName, Event, Input, Kind, Node, Output, PeerAddress, Reach, Setup,
    StoredEntry, Swim, Time,
};

use crate::{queue::Mail, scenario::Scenario, swarm::Run};

/// Numeric class of every simulated machine.
pub(crate) const CLASS: Hash = Hash([7; 32]);

/// What the machine around a node tells it.
pub(crate) enum Word {
    /// A segment's result.
    Author(Box<Draft>),
    /// Come to an end.
    Finish,
    /// An address to dial.
    Introduce(SocketAddr),
    /// Say goodbye.
    Leave,
    /// From the network.
    Mail(Mail, PeerId),
    /// The result of a replay; `None` if it could not be done.
    Judged { update: EntryName, verdict: Option<(bool, Hash)> },
    /// Nothing but the time: a timer is due.
    Time,
}

/// What a node wants of the machine around it.
pub(crate) enum Deed {
    /// Store a record.
    Append { record: StoredEntry, durable: bool },
    /// Store where others are.
    Book(Vec<PeerAddress>),
    /// End a connection; `offended` if the other side broke the protocol.
    Close { peer: PeerId, offended: bool },
    /// Store a final frontier in place of the log.
    Compact(Box<Compacted>),
    /// Store a chunk of a state that is being fetched.
    Keep { root: Hash, index: u32, bytes: Vec<u8> },
    /// Open a connection, to this peer if it is named.
    Dial { address: SocketAddr, expect: Option<PeerId> },
    /// Open a connection through a volunteer.
    DialThrough { relay: PeerId, peer: PeerId },
    /// Set the stored log aside.
    Reset,
    /// Send a message; the smaller the number, the more urgent.
    Send { to: PeerId, priority: usize, bytes: Vec<u8> },
    /// Store what was voted for.
    Sign(Vec<u8>),
    /// Something worth telling.
    Tell(Event),
}

/// Makes a peer as its machine would on starting it.
pub(crate) fn awaken(scenario: &Scenario, run: &Run, setup: Waking) -> Node {
    let Waking { identity, seed, is_author, incarnation, address_book, stored, is_on_loopback, relay } = setup;
    let far = scenario.network.latency_ms[1] > FAR_MS;
    let config = Config {
        neighbours_max: scenario.neighbours_max,
        enroll_early: is_author,
        swim: if far { Swim::wan() } else { Swim::lan() },
        loopback_only: is_on_loopback,
        relay,
        ..Config::default()
    };
    Node::new(Setup {
        manifest: vec![1, 2, 3],
        run: run.id,
        rules: run.rules.clone(),
        genesis: run.genesis.clone().into(),
        identity,
        class: CLASS,
        config,
        seed,
        incarnation,
        address_book,
        stored,
    })
}

/// What differs from peer to peer when it starts.
pub(crate) struct Waking {
    pub(crate) identity: murmur_collectives::Identity,
    pub(crate) seed: u64,
    pub(crate) is_author: bool,
    pub(crate) incarnation: u64,
    pub(crate) address_book: Vec<PeerAddress>,
    pub(crate) stored: murmur_coordinatorless::Stored,
    /// Whether all machines have loopback addresses.
    pub(crate) is_on_loopback: bool,
    /// Whether it passes packets on.
    pub(crate) relay: bool,
}

/// Tells `node` something at its own time `now`.
pub(crate) fn tell(node: &mut Node, now: Time, word: Word) {
    let input = match word {
        Word::Author(draft) => Input::Author(draft),
        Word::Finish => Input::Finish { patience: Duration::from_secs(5) },
        Word::Introduce(address) => Input::Introduce { address },
        Word::Leave => Input::Leave,
        Word::Mail(mail, from) => input_of(mail, from),
        Word::Judged { update, verdict: Some((passed, replay)) } => Input::Judged { update, passed, replay },
        Word::Judged { update, verdict: None } => Input::Unjudged { update },
        Word::Time => return node.handle_timeout(now),
    };
    node.handle(now, input);
}

fn input_of(mail: Mail, from: PeerId) -> Input {
    match mail {
        Mail::Connected { peer, address, relay } => {
            let reach = relay.map_or(Reach::Direct, |by| Reach::Relayed { by });
            Input::Connected { peer, address, reach }
        }
        Mail::Datagram { bytes, .. } => Input::Datagram { from, bytes },
        Mail::DialFailed { address, retry } => Input::DialFailed { address, retry },
        Mail::Disconnected { peer } => Input::Disconnected { peer },
        Mail::Message { bytes, .. } => Input::Message { from, bytes },
        Mail::Moved { peer, address } => Input::Moved { peer, address },
    }
}

/// The next thing `node` wants, after `seen` has looked at it.
pub(crate) fn ask(node: &mut Node, seen: impl FnOnce(&Output)) -> Option<Deed> {
    let output = node.poll_output()?;
    seen(&output);
    Some(match output {
        Output::Append { record, durable } => Deed::Append { record, durable },
        Output::AddressBook { peers } => Deed::Book(peers),
        Output::Close { peer, reason } => Deed::Close { peer, offended: reason == Closing::Misbehaved },
        Output::Compact(compacted) => Deed::Compact(compacted),
        Output::Datagram { to, bytes } => Deed::Send { to, priority: DATAGRAM, bytes },
        Output::Dial { address, expect } => Deed::Dial { address, expect },
        Output::DialThrough { relay, peer } => Deed::DialThrough { relay, peer },
        Output::Event(event) => Deed::Tell(event),
        Output::KeepChunk { root, index, bytes } => Deed::Keep { root, index, bytes },
        Output::Reset => Deed::Reset,
        Output::Send { to, kind, bytes } => Deed::Send { to, priority: priority(kind), bytes },
        Output::Signing { bytes } => Deed::Sign(bytes),
    })
}

/// Names of the priorities, most urgent first; then what passes every queue.
pub(crate) const PRIORITIES: [&str; 5] = ["control", "header", "payload", "bulk", "datagram"];

/// Place of datagrams among the priorities.
pub(crate) const DATAGRAM: usize = 4;

/// With links longer than this, milliseconds one way, members are probed as is right for a wide area.
const FAR_MS: u64 = 80;

fn priority(kind: Kind) -> usize {
    match kind {
        Kind::Control => 0,
        Kind::Header => 1,
        Kind::Payload => 2,
        Kind::Bulk => 3,
    }
}
