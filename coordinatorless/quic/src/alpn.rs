//! The protocol version, named in the settings of TLS and in errors.

/// The protocol and its version, negotiated in the handshake (RFC 7301). Peers of different versions do not connect.
pub const ALPN: &str = "murmur/8";
