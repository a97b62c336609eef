//! The errors of a transport, one small enum per operation.

use std::{fmt, io, time::Duration};

use murmur_collectives::PeerId;
use quinn::{ConnectionError, VarInt};
use thiserror::Error;

/// Why a [`Transport`](crate::Transport) could not start. Nothing was left running.
#[derive(Debug, Error)]
pub enum BindError {
    /// A setting is out of range: the caller's fault.
    #[error("{key} = {given} is not possible: {allowed}")]
    Config {
        /// The field of [`TransportConfig`](crate::TransportConfig).
        key: &'static str,
        /// Its value.
        given: String,
        /// The allowed range.
        allowed: String,
    },
    /// The socket could not be opened: the address is in use, or is not one of this machine.
    #[error("cannot listen on UDP {addr}: {source}")]
    Socket {
        /// The address asked for.
        addr: std::net::SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificate could not be made from the identity.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
    /// The caller is not inside a tokio runtime.
    #[error("a transport must be bound inside a tokio runtime")]
    NoRuntime,
}

/// Why a message was not queued. It was dropped; nothing else changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// There is no connection to that peer.
    #[error("not connected")]
    NotConnected,
    /// The message is longer than `message_bytes_max`.
    #[error("the message has {bytes} bytes, the limit is {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The peer takes messages slower than they are sent to it.
    #[error("the peer's send queue is full")]
    Full,
}

/// Why a dial did not end in a connection of its own.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DialError {
    /// The peer does not speak this protocol version.
    #[error("the peer does not speak {}", crate::alpn::ALPN)]
    Version,
    /// The address leads to this transport itself.
    #[error("the address leads to this peer itself")]
    SelfConnection,
    /// Another process answered, and proved that it holds the key of this peer.
    #[error("another process there has this peer's own identity")]
    Twin,
    /// Another peer answered. It did not learn the identity of this peer.
    #[error("expected {expected} there, found {found}")]
    WrongPeer {
        /// The peer that the caller expected.
        expected: PeerId,
        /// The peer that answered.
        found: PeerId,
    },
    /// The pair is connected, by an earlier dial or by one of the other side. Not a fault.
    #[error("already connected to {0:?}")]
    AlreadyConnected(PeerId),
    /// A dial to the same address or peer is under way, and will report its own outcome.
    #[error("already dialing there")]
    AlreadyDialing,
    /// This side holds `connections_max` connections.
    #[error("this peer holds as many connections as it may")]
    Full,
    /// The peer holds as many connections as it may.
    #[error("the peer takes no more connections")]
    PeerFull,
    /// The peer closed the connection instead of sending a welcome.
    #[error("the peer refused: {0}")]
    Refused(CloseReason),
    /// The certificate has no valid Ed25519 key, or the peer did not prove that it holds the key.
    #[error("the peer's certificate is not valid: {0}")]
    Certificate(String),
    /// No answer, or no welcome, within `handshake_timeout`.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The address cannot be dialed from here.
    #[error("the address cannot be dialed: {0}")]
    Address(String),
    /// The transport is shutting down.
    #[error("shutting down")]
    Stopping,
    /// QUIC or TLS failed otherwise.
    #[error("the handshake failed: {0}")]
    Handshake(String),
}

/// Why an incoming connection was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It does not speak this protocol version.
    #[error("it does not speak {}", crate::alpn::ALPN)]
    Version,
    /// It showed no certificate.
    #[error("it showed no certificate")]
    NoCertificate,
    /// Its certificate has no valid Ed25519 key, or it did not prove that it holds the key.
    #[error("its certificate is not valid: {0}")]
    Certificate(String),
    /// It has the identity of this peer: this transport dialed itself, or another process has a copy of the key.
    #[error("it has this peer's own identity")]
    SelfConnection,
    /// This side holds `connections_max` connections.
    #[error("this peer holds as many connections as it may")]
    Full,
    /// Its IP address holds `connections_per_ip_max` connections.
    #[error("its IP address holds as many connections as it may")]
    FullForAddress,
    /// There is a connection to that peer, which stays.
    #[error("already connected to {0:?}")]
    AlreadyConnected(PeerId),
    /// It aborted the handshake: this is not the peer that it expected, or it gave up.
    #[error("it left the handshake: {0}")]
    Aborted(String),
    /// The handshake took longer than `handshake_timeout`.
    #[error("its handshake took too long")]
    TimedOut,
    /// QUIC or TLS failed otherwise.
    #[error("the handshake failed: {0}")]
    Handshake(String),
}

macro_rules! close_reasons {
    ($($(#[$doc:meta])+ $name:ident = $code:literal, $text:literal;)+) => {
        /// Why one side closes a connection. Only the number is sent, so that no text of a peer is ever shown.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CloseReason { $($(#[$doc])+ $name = $code,)+ }

        impl CloseReason {
            /// The reason with this number, if it is known.
            pub(crate) fn from_code(code: VarInt) -> Option<Self> {
                match code.into_inner() { $($code => Some(Self::$name),)+ _ => None }
            }
        }

        impl fmt::Display for CloseReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }
    };
}

close_reasons! {
    /// The peer shuts down.
    Leaving = 0, "leaving";
    /// The pair has another connection, which stays.
    Duplicate = 1, "another connection to this peer stays";
    /// The pair has a newer connection, because the peer had restarted or had lost this one.
    Replaced = 2, "replaced by a newer connection";
    /// A message was longer than allowed.
    TooLong = 3, "a message was too long";
    /// The peer broke the protocol.
    Misbehaved = 4, "broke the protocol";
    /// The swarm has proof against the peer.
    Evicted = 5, "evicted";
    /// The peer is in another run.
    Incompatible = 6, "incompatible";
    /// The connection is not needed: there are enough others.
    Unneeded = 7, "not needed";
    /// The accepting side holds as many connections as it may.
    Full = 8, "full";
}

impl CloseReason {
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Disconnect {
    /// This side closed it.
    #[error("closed by us: {0}")]
    ByUs(CloseReason),
    /// The peer closed it.
    #[error("closed by the peer: {0}")]
    ByPeer(CloseReason),
    /// No packet came for `idle_timeout`.
    #[error("the peer fell silent")]
    Silent,
    /// QUIC failed otherwise.
    #[error("the connection failed: {0}")]
    Failed(String),
}

impl Disconnect {
    /// Converts QUIC's error; `ours` is the reason that this side gave, if it closed the connection.
    pub(crate) fn new(error: &ConnectionError, ours: Option<CloseReason>) -> Self {
        match (error, ours) {
            (ConnectionError::LocallyClosed, ours) => Self::ByUs(ours.unwrap_or(CloseReason::Leaving)),
            (ConnectionError::TimedOut, _) => Self::Silent,
            (ConnectionError::ApplicationClosed(close), _) => CloseReason::from_code(close.error_code)
                .map_or_else(|| Self::Failed(format!("closed with unknown code {}", close.error_code)), Self::ByPeer),
            (other, _) => Self::Failed(brief(other)),
        }
    }
}

/// A short text for `error`, without any text that the peer chose.
pub(crate) fn brief(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionClosed(close) => format!("aborted by peer: {}", close.error_code),
        ConnectionError::ApplicationClosed(close) => format!("closed by peer: code {}", close.error_code),
        ConnectionError::TransportError(error) => error.code.to_string(),
        ConnectionError::VersionMismatch
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_survives_its_number_and_an_unknown_number_is_no_reason() {
        for code in 0..=8 {
            assert_eq!(CloseReason::from_code(VarInt::from_u32(code)).map(|r| r.code()), Some(VarInt::from_u32(code)));
        }
        assert_eq!(CloseReason::from_code(VarInt::from_u32(9)), None);
        assert_eq!(CloseReason::from_code(VarInt::MAX), None);
    }

    #[test]
    fn text_of_a_peer_is_not_shown() {
        let close = quinn::ApplicationClose { error_code: VarInt::from_u32(77), reason: "\u{1b}[2J".into() };
        let said = Disconnect::new(&ConnectionError::ApplicationClosed(close), None).to_string();
        assert_eq!(said, "the connection failed: closed with unknown code 77");
    }
}
