//! Which protocol this crate speaks: the settings of TLS name it, and so do the errors of those who speak another.

/// The protocol and its version, negotiated in the handshake (RFC 7301). Peers of different versions do not connect.
pub const ALPN: &str = "murmur/5";
