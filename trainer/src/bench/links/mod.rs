//! Shaped links for real processes: a network namespace for each peer, joined by links of one [`LinkProfile`].
//!
//! Nothing of it touches the machine's own network. Where the kernel can delay packets (`tc netem`), or where nothing has to be
//! delayed, the namespaces hang on a bridge in a namespace of its own, and `tc` shapes (`bridge`). Elsewhere this program is the
//! network (`wire`): each namespace's interface is a TUN device, and a thread carries packets from one to another, as late
//! and as slowly as the profile says, by the arithmetic of the simulator. Both need root and `ip` (iproute2).

#[cfg(target_os = "linux")]
mod bridge;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(target_os = "linux")]
mod tun;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(not(target_os = "linux"))]
mod elsewhere;

pub use murmur_sim::{LinkProfile, PROFILES, UnknownProfile};

#[cfg(not(target_os = "linux"))]
pub use elsewhere::Namespaces;
#[cfg(target_os = "linux")]
pub use namespaces::Namespaces;

/// The most peers that are joined.
pub const PEERS_MAX: usize = 64;

/// Why there are no shaped links.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLinks {
    /// This machine cannot have them: a reason to skip what needs them.
    #[error("network namespaces: {0}")]
    Missing(String),
    /// It should be able to, and a step failed; whatever was made is removed.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
}
