//! The seam to the node: the only file that knows what goes into a [`Node`] and what comes out of it.

use core::time::Duration;
use std::{net::SocketAddr, sync::Arc};

use murmur_collectives::{Hash, PeerId};
use murmur_coordinatorless::{
    Closing, Config, Draft, EntryName, Event, Input, Kind, Node, Output, Setup, StoredEntry, Time,
};

use crate::{queue::Mail, scenario::Scenario, swarm::Run};

/// Numeric class of every simulated machine.
pub(crate) const CLASS: Hash = Hash([7; 32]);

/// What the machine around a node tells it.
pub(crate) enum Word {
    /// A segment's result.
    Author(Box<Draft>),
    /// Come to an end.
    #[allow(dead_code)] // said by scenarios that finish
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
    /// Store a state that came from others.
    Adopt(Arc<Vec<i64>>),
    /// End a connection; `offended` if the other side broke the protocol.
    Close { peer: PeerId, offended: bool },
    /// Open a connection.
    Dial(SocketAddr),
    /// Set the stored log aside.
    Reset,
    /// Send a message; the smaller the number, the more urgent.
    Send { to: PeerId, priority: usize, bytes: Vec<u8> },
    /// Something worth telling.
    Tell(Event),
}

/// Makes a peer as its machine would on starting it.
pub(crate) fn awaken(scenario: &Scenario, run: &Run, setup: Waking) -> Node {
    let Waking { identity, seed, stored } = setup;
    let config = Config {
        checkpoint_every_tokens: scenario.work.checkpoint_every_tokens,
        neighbours_max: scenario.neighbours_max,
        ..Config::default()
    };
    Node::new(Setup {
        manifest: vec![1, 2, 3],
        run: run.id,
        rules: run.rules.clone(),
        genesis: run.genesis.clone(),
        identity,
        class: CLASS,
        config,
        seed,
        stored,
    })
}

/// What differs from peer to peer when it starts.
pub(crate) struct Waking {
    pub(crate) identity: murmur_collectives::Identity,
    pub(crate) seed: u64,
    pub(crate) stored: murmur_coordinatorless::Stored,
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
        Mail::Connected { peer, address } => Input::Connected { peer, address },
        Mail::DialFailed { address, retry } => Input::DialFailed { address, retry },
        Mail::Disconnected { peer } => Input::Disconnected { peer },
        Mail::Message { bytes, .. } => Input::Message { from, bytes },
    }
}

/// The next thing `node` wants.
pub(crate) fn ask(node: &mut Node) -> Option<Deed> {
    Some(match node.poll_output()? {
        Output::Append { record, durable } => Deed::Append { record, durable },
        Output::Adopted { state, root: _ } => Deed::Adopt(state),
        Output::Close { peer, reason } => Deed::Close { peer, offended: reason == Closing::Misbehaved },
        Output::Dial { address } => Deed::Dial(address),
        Output::Event(event) => Deed::Tell(event),
        Output::Reset => Deed::Reset,
        Output::Send { to, kind, bytes } => Deed::Send { to, priority: priority(kind), bytes },
    })
}

/// Names of the priorities, most urgent first.
pub(crate) const PRIORITIES: [&str; 4] = ["control", "header", "payload", "bulk"];

fn priority(kind: Kind) -> usize {
    match kind {
        Kind::Control => 0,
        Kind::Header => 1,
        Kind::Payload => 2,
        Kind::Bulk => 3,
    }
}
