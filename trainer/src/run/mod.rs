//! What a run consists of: the [`manifest`] that all peers agree on, the [`ticket`] that leads to it, and what lies on this machine:
//! the run's folder ([`state_dir`]), each peer's [`identity`](identity_file), and the [`checkpoint`]s.

pub mod checkpoint;
pub mod identity_file;
pub mod manifest;
pub mod state_dir;
pub mod ticket;
