//! Commands of the launcher: one line each, a word and for `connect` an address.

use std::{fmt, net::SocketAddr, str::FromStr};

/// One line from the launcher to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Dial this address, now and again whenever the connection is lost.
    Connect(SocketAddr),
    /// Start working: only a stand-in waits for it.
    Begin,
    /// Finish the present segment, reach the same set as the neighbours, report `finished`.
    Drain,
    /// Exit now.
    Halt,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(address) => write!(f, "connect {address}"),
            Self::Begin => f.write_str("begin"),
            Self::Drain => f.write_str("drain"),
            Self::Halt => f.write_str("halt"),
        }
    }
}

/// A line that is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a command; expected `connect ADDRESS`, `begin`, `drain` or `halt`")]
pub struct NotACommand(String);

impl FromStr for Command {
    type Err = NotACommand;

    fn from_str(line: &str) -> Result<Self, NotACommand> {
        let unknown = || NotACommand(line.chars().take(80).collect());
        match line.trim() {
            "begin" => Ok(Self::Begin),
            "drain" => Ok(Self::Drain),
            "halt" => Ok(Self::Halt),
            other => {
                let address = other.strip_prefix("connect ").ok_or_else(unknown)?;
                address.parse().map(Self::Connect).map_err(|_| unknown())
            }
        }
    }
}
