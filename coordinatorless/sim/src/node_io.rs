//! Inputs and outputs of a node: the only file that knows the [`Input`] and [`Output`] types of a [`Node`]. A change of
//! the node's interface changes this file and nothing else in the simulator.

use core::time::Duration;
use std::net::SocketAddr;

use murmur_collectives::{Hash, PeerId};
use murmur_coordinatorless::{
    Closing, Compacted, Config, Draft, EntryName, Event, Input, Kind, Node, Output, PeerAddress, Reach, Setup,
    StoredEntry, Swim, Time,
};

use crate::{queue::Delivery, scenario::Scenario, swarm::Run};

/// Numeric class of every simulated machine. All are equal, so that every peer can replay every update.
pub(crate) const CLASS: Hash = Hash([7; 32]);

/// An input from the simulated machine to its node.
pub(crate) enum NodeInput {
    /// The result of a segment.
    Author(Box<Draft>),
    /// Finish and stop authoring.
    Finish,
    /// An address to dial.
    Introduce(SocketAddr),
    /// Leave with a goodbye.
    Leave,
    /// A delivery from the network, and its sender.
    Delivery(Delivery, PeerId),
    /// The verdict of an audit; `None` if the replay was impossible.
    Judged { update: EntryName, verdict: Option<(bool, Hash)> },
    /// A timer is due.
    Timeout,
}

/// An output of a node, carried out by its simulated machine.
pub(crate) enum NodeOutput {
    /// Append a record to the log.
    Append { record: StoredEntry, durable: bool },
    /// Store the address book.
    AddressBook(Vec<PeerAddress>),
    /// Close a connection; `misbehaved` if the peer broke the protocol.
    Close { peer: PeerId, misbehaved: bool },
    /// Replace the log by a final frontier.
    Compact(Box<Compacted>),
    /// Store a chunk of a state under download.
    KeepChunk { root: Hash, index: u32, bytes: Vec<u8> },
    /// Dial an address, and accept only `expect` if it is given.
    Dial { address: SocketAddr, expect: Option<PeerId> },
    /// Dial a peer through a relay.
    DialThrough { relay: PeerId, peer: PeerId },
    /// Discard the stored log.
    Reset,
    /// Send a message or datagram. Priority 0 is the most urgent.
    Send { to: PeerId, priority: usize, bytes: Vec<u8> },
    /// Store the vote record.
    Signing(Vec<u8>),
    /// An event to report.
    Event(Event),
}

/// Builds the node of a starting process.
pub(crate) fn start_node(scenario: &Scenario, run: &Run, options: StartOptions) -> Node {
    let StartOptions { identity, seed, is_author, incarnation, address_book, stored, is_on_loopback, relay } = options;
    let is_wide_area = scenario.network.latency_ms[1] > WIDE_AREA_MS;
    let config = Config {
        neighbours_max: scenario.neighbours_max,
        payload_in_message_max: scenario.work.payload_in_message_max as usize,
        enroll_early: is_author,
        swim: if is_wide_area { Swim::wan() } else { Swim::lan() },
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

/// Options that differ between processes.
pub(crate) struct StartOptions {
    pub(crate) identity: murmur_collectives::Identity,
    pub(crate) seed: u64,
    pub(crate) is_author: bool,
    pub(crate) incarnation: u64,
    pub(crate) address_book: Vec<PeerAddress>,
    pub(crate) stored: murmur_coordinatorless::Stored,
    /// Whether all machines have loopback addresses.
    pub(crate) is_on_loopback: bool,
    /// Whether the machine offers itself as a relay.
    pub(crate) relay: bool,
}

/// Hands an input to `node` at its local time `now`.
pub(crate) fn handle_input(node: &mut Node, now: Time, input: NodeInput) {
    let input = match input {
        NodeInput::Author(draft) => Input::Author(draft),
        NodeInput::Finish => Input::Finish { patience: Duration::from_secs(5) },
        NodeInput::Introduce(address) => Input::Introduce { address },
        NodeInput::Leave => Input::Leave,
        NodeInput::Delivery(delivery, from) => input_from(delivery, from),
        NodeInput::Judged { update, verdict: Some((passed, replay)) } => Input::Judged { update, passed, replay },
        NodeInput::Judged { update, verdict: None } => Input::Unjudged { update },
        NodeInput::Timeout => return node.handle_timeout(now),
    };
    node.handle(now, input);
}

fn input_from(delivery: Delivery, from: PeerId) -> Input {
    match delivery {
        Delivery::Connected { peer, address, relay } => {
            let reach = relay.map_or(Reach::Direct, |by| Reach::Relayed { by });
            Input::Connected { peer, address, reach }
        }
        Delivery::Datagram { bytes, .. } => Input::Datagram { from, bytes },
        Delivery::DialFailed { address, retry } => Input::DialFailed { address, retry },
        Delivery::Disconnected { peer } => Input::Disconnected { peer },
        Delivery::Message { bytes, .. } => Input::Message { from, bytes },
        Delivery::Moved { peer, address } => Input::Moved { peer, address },
    }
}

/// The next output of `node`. `observe` sees it first.
pub(crate) fn next_output(node: &mut Node, observe: impl FnOnce(&Output)) -> Option<NodeOutput> {
    let output = node.poll_output()?;
    observe(&output);
    Some(match output {
        Output::Append { record, durable } => NodeOutput::Append { record, durable },
        Output::AddressBook { peers } => NodeOutput::AddressBook(peers),
        Output::Close { peer, reason } => NodeOutput::Close { peer, misbehaved: reason == Closing::Misbehaved },
        Output::Compact(compacted) => NodeOutput::Compact(compacted),
        Output::Datagram { to, bytes } => NodeOutput::Send { to, priority: DATAGRAM, bytes },
        Output::Dial { address, expect } => NodeOutput::Dial { address, expect },
        Output::DialThrough { relay, peer } => NodeOutput::DialThrough { relay, peer },
        Output::Event(event) => NodeOutput::Event(event),
        Output::KeepChunk { root, index, bytes } => NodeOutput::KeepChunk { root, index, bytes },
        Output::Reset => NodeOutput::Reset,
        Output::Send { to, kind, bytes } => NodeOutput::Send { to, priority: priority(kind), bytes },
        Output::Signing { bytes } => NodeOutput::Signing(bytes),
    })
}

/// Names of the priorities, the most urgent first, and of datagrams.
pub(crate) const PRIORITIES: [&str; 5] = ["control", "header", "payload", "bulk", "datagram"];

/// Index of datagrams in [`PRIORITIES`].
pub(crate) const DATAGRAM: usize = 4;

/// One-way latency, milliseconds, above which a swarm probes members with wide-area timeouts.
const WIDE_AREA_MS: u64 = 80;

fn priority(kind: Kind) -> usize {
    match kind {
        Kind::Control => 0,
        Kind::Header => 1,
        Kind::Payload => 2,
        Kind::Bulk => 3,
    }
}
