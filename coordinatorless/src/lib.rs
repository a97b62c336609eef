//! A complete peer as a sans-IO state machine: membership, gossip, anti-entropy, joining, audits, finishing.
//!
//! In life-cycle order: a [`Node`] is made from a [`Setup`]. The driver feeds it [`Input`]s and carries out its
//! [`Output`]s. The node connects to neighbours, catches up, announces and pulls entries, draws lotteries and
//! requests replays, serves newcomers, and at the end reaches agreement with the other finishing peers without a
//! vote. [`Message`] lists all messages between peers.
//!
//! This crate uses no clock, socket, thread, file or randomness of the operating system.

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
