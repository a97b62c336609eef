//! The transport of a peer: authenticated QUIC connections to other peers, and messages over them.
//!
//! Apart from the driver this crate moves bytes and knows nothing of updates. In the order of a connection's life:
//!
//! 1. [`Transport::bind`] opens one UDP socket that both dials and listens. Every byte of it is counted ([`Traffic`]).
//! 2. [`Transport::dial`] starts a TLS 1.3 handshake with ALPN [`ALPN`]. Both sides show a self-signed certificate whose
//!    key *is* their Ed25519 identity, so a connection has a proven [`PeerId`](murmur_collectives::PeerId) at each end and no authority is asked.
//! 3. The accepting side looks at what it has got (same identity? already connected? full?) and answers with an empty
//!    *welcome* stream or a [`CloseReason`]. Only then is the pair connected: [`TransportEvent::Connected`] on both sides.
//!    When two peers dial each other at once, the connection dialed by the smaller `PeerId` stays.
//! 4. [`Transport::send`] queues a message; each is one unidirectional stream, whose end is the message's end.
//!    Messages between two peers may overtake each other: a more urgent [`Priority`] does so on purpose.
//!    [`Transport::send_datagram`] goes past every queue, and may be lost.
//! 5. Two peers that cannot reach each other connect through a third that volunteers: [`Transport::dial_through`]. To both
//!    ends it is a connection like any other, encrypted end to end; the packets of one travel in the datagrams of others.
//!    As soon as a straight connection succeeds it takes over: [`TransportEvent::Moved`].
//! 6. A connection ends by [`Transport::close`], by the other side, by silence, or by breaking a limit: [`TransportEvent::Disconnected`].
//! 7. [`Transport::shutdown`] sends what is queued, for a bounded time, and says goodbye.
//!
//! [`drive`] runs a whole peer, `murmur_coordinatorless::Node`, over a transport; [`OwnAddresses`] tells it where it is, and has
//! the router keep a port open for it if the user wants that.
//!
//! Delivery is not promised: a message can be lost with its connection, and a full queue refuses more.
//! The log's anti-entropy repairs both.
//!
//! What a hostile peer can make this crate hold is bounded by [`TransportConfig`]: connections, per address too, half-open
//! handshakes, streams and bytes per connection. What it sends is given on as bytes, unread.

mod accept;
mod alpn;
mod bucket;
mod candidate;
mod certificate;
mod config;
mod connection;
mod datagram;
mod dial;
mod driver;
mod error;
mod event;
mod flag;
mod inbound;
mod link;
mod outbound;
mod own_address;
mod path;
mod port_map;
mod queue;
mod registry;
mod relay;
mod route;
mod shared;
mod socket;
mod switchboard;
mod tls;
mod traffic;
mod transport;
mod verifier;

pub use alpn::ALPN;
pub use config::TransportConfig;
pub use datagram::DATAGRAM_BYTES_MAX;
pub use driver::{Host, Request, drive};
pub use error::{BindError, CloseReason, DialError, Disconnect, Refusal, SendError};
pub use event::{Events, TransportEvent};
pub use own_address::{OwnAddresses, local_addresses, outward};
pub use port_map::{PortMapError, PortMapNews, PortMapping};
pub use queue::Priority;
pub use traffic::Traffic;
pub use transport::Transport;
