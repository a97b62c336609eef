//! The parts of a run: the [`manifest`] that all peers agree on, the [`ticket`] to join with, and its files on this machine: the
//! run's folder ([`state_dir`]), each peer's [`identity`](identity_file), and [`checkpoint`]s.

pub mod checkpoint;
pub mod identity_file;
pub mod manifest;
pub mod state_dir;
pub mod ticket;
