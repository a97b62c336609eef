//! The launcher: starts this machine's peers as processes of their own, shows what they report, and ends them.
//!
//! It is no peer itself. Peers exchange messages over QUIC only; the launcher sends each the others' addresses, asks them to
//! drain, and reads their reports. In order: [`Plan`] (folder, identities, manifest, flags), spawn, collect `started`, connect
//! all pairs, rounds until every live peer has finished, wait for equal sets, halt, [`Summary`](crate::observe::views::Summary).

mod addresses;
mod board;
mod child;
mod dense;
mod exit_cause;
mod interfaces;
pub mod lan;
mod liveness;
mod opening;
mod plan;
mod presence;
mod repetition;
mod signals;
mod summary;
mod swarm;

pub use addresses::check_ports;
pub use dense::allreduce_bytes;
pub use plan::{PeerPlan, Plan, threads};
pub use swarm::launch;

pub(crate) use child::{Peer, describe};
pub(crate) use signals::listen;
pub(crate) use swarm::Notice;
