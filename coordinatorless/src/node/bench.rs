//! Identities, a core and an empty set, for unit tests that drive one machine alone.

use std::net::SocketAddr;

use murmur_collectives::{Fold, Founder, Hash, Identity, ONE_Q16, PeerId, Rules};

use super::{context::Core, set::Set};
use crate::{Event, Message, Output, Time};

/// The run of every test.
pub(crate) const RUN: Hash = Hash([9; 32]);

/// The peer whose machine is tested.
pub(crate) const ME: u8 = 1;

/// Parameters of the model; no test trains one.
const PARAMETERS: usize = 64;

/// The key of peer `n`.
pub(crate) fn identity(n: u8) -> Identity {
    Identity::from_secret(&[n; 32])
}

/// The id of peer `n`.
pub(crate) fn peer(n: u8) -> PeerId {
    identity(n).peer_id()
}

/// An address that the default settings allow.
pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The time this long after the start.
pub(crate) fn at_ms(milliseconds: u64) -> Time {
    Time(milliseconds * 1000)
}

/// The core of peer [`ME`] with the default settings, at the start.
pub(crate) fn core() -> Core {
    Core::for_test(identity(ME), Hash::NONE, &rules())
}

/// A set without entries, in a run that peers [`ME`] and 2 founded.
pub(crate) fn set() -> Set {
    Set::new(Fold::new(RUN, rules(), vec![0; PARAMETERS]))
}

/// Rules of a run that peers [`ME`] and 2 founded; a test of another run changes what matters to it.
pub(crate) fn rules() -> Rules {
    Rules {
        parameters: PARAMETERS as u64,
        top: 64,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16,
        clip_q16: ONE_Q16,
        tokens_per_step: 100,
        segment_tokens: 1000,
        steps_max: 100,
        token_budget: 1_000_000,
        audit_rate_q16: ONE_Q16,
        audit_quorum: 2,
        span: 1,
        frontier_every_tokens: 0,
        class: None,
        founders: [ME, 2].map(|n| Founder { peer: peer(n), vrf_key: [0; 32] }).to_vec(),
    }
}

/// The events that were reported since the last call; other outputs are dropped.
pub(crate) fn take_events(core: &mut Core) -> Vec<Event> {
    let event = |output| if let Output::Event(event) = output { Some(event) } else { None };
    core.outputs.drain(..).filter_map(event).collect()
}

/// The messages that were sent since the last call, with their receivers; other outputs are dropped.
#[allow(clippy::unwrap_used)]
pub(crate) fn take_messages(core: &mut Core) -> Vec<(PeerId, Message)> {
    let message = |output| if let Output::Send { to, bytes, .. } = output { Some((to, bytes)) } else { None };
    core.outputs.drain(..).filter_map(message).map(|(to, bytes)| (to, Message::decode(&bytes).unwrap())).collect()
}

/// The addresses that were dialed since the last call; other outputs are dropped.
pub(crate) fn take_dials(core: &mut Core) -> Vec<SocketAddr> {
    let dial = |output| if let Output::Dial { address, .. } = output { Some(address) } else { None };
    core.outputs.drain(..).filter_map(dial).collect()
}
