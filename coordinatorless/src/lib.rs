//! The whole peer as a sans-IO state machine: membership, gossip, anti-entropy, joining, audits, finishing.
//!
//! In life-cycle order: a [`Node`] is made from a [`Setup`]; the driver feeds it [`Input`]s and carries out its
//! [`Output`]s; it greets neighbours, catches up, announces and pulls entries, holds lotteries and asks for replays,
//! serves newcomers, and at the end agrees with the others without a vote. [`Message`] lists everything peers say.
//!
//! There is no clock, socket, thread, file or operating-system randomness in this crate.

mod config;
mod event;
mod message;
mod node;
mod packing;
mod time;

pub use config::{Config, Swim};
pub use event::{Closing, Compacted, DownReason, Draft, Event, Input, Output, Reach, StoredEntry};
pub use message::{
    DATAGRAM_BYTES_MAX, Digest, EntryName, Item, Kind, MANIFEST_BYTES_MAX, Message, MessageError, PeerAddress, Proven,
    Want,
};
pub use node::{
    AuditJob, Delay, Fetched, Footprint, Mapping, Member, MemberState, NeighbourView, Node, Setup, Snapshot, Stored,
};
pub use time::Time;
