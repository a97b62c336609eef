//! Real transports on 127.0.0.1, in the order of a connection's life: dialing, messages, strangers, traffic.
//!
//! Nothing here sleeps to let something happen. Every wait is for an event or a count, and [`PATIENCE`](peer::PATIENCE)
//! only bounds how long a failing test takes.

// A test that gets another event than it expects prints it and fails, whichever it is.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod peer;
mod relay;
mod stranger;
mod throttle;

mod datagrams;
mod dialing;
mod driving;
mod dual;
mod hostile;
mod messages;
mod relayed;
mod traffic;
