//! The transport of a peer: authenticated QUIC connections to other peers, and messages over them.
//!
//! Apart from the driver this crate transports bytes and knows nothing of updates. In the order of a connection's life:
//!
//! 1. [`Transport::bind`] opens one UDP socket that both dials and listens. All of its bytes are counted ([`Traffic`]).
//! 2. [`Transport::dial`] starts a TLS 1.3 handshake with ALPN [`ALPN`]. Each side shows a self-signed certificate whose key
//!    *is* its Ed25519 identity, so each side has proven its [`PeerId`](murmur_collectives::PeerId), without an authority.
//! 3. The accepting side decides whether it admits the connection, and sends the *welcome*, an empty stream, or a
//!    [`CloseReason`]. After the welcome the pair is connected: [`TransportEvent::Connected`] on both sides. After a
//!    simultaneous open the connection dialed by the smaller `PeerId` stays.
//! 4. [`Transport::send`] queues a message; each is one unidirectional stream, whose end is the message's end.
//!    Messages between two peers may overtake each other; those of a higher [`Priority`] do so on purpose.
//!    [`Transport::send_datagram`] bypasses the queue; a datagram may be lost.
//! 5. Two peers that cannot reach each other directly connect through a relay: [`Transport::dial_through`]. Such a connection
//!    is encrypted end to end like any other; its packets travel in datagrams of other connections. As soon as a direct
//!    connection succeeds, it takes over: [`TransportEvent::Moved`].
//! 6. A connection ends by [`Transport::close`], by the other side, by the idle timeout, or by a broken limit:
//!    [`TransportEvent::Disconnected`].
//! 7. [`Transport::shutdown`] sends queued messages, for a bounded time, and closes all connections.
//!
//! [`drive`] runs a whole peer, `murmur_coordinatorless::Node`, over a transport. [`OwnAddresses`] gives it the addresses of this
//! machine, and has the router map a port to it if the user wants that.
//!
//! Delivery is not guaranteed: a message can be lost with its connection, and a full queue refuses more. The log's anti-entropy
//! repairs both.
//!
//! [`TransportConfig`] bounds the memory that a hostile peer can take: connections, in all and per address, half-open handshakes,
//! streams and bytes per connection. Received bytes are given to the caller without being interpreted.

mod accept;
mod alpn;
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
mod occupancy;
mod outbound;
mod own_address;
mod port_map;
mod queue;
mod registry;
mod relay;
mod relay_path;
mod relay_quota;
mod route;
mod shared;
mod slots;
mod socket;
mod tie_break;
mod tls;
mod token_bucket;
mod traffic;
mod transport;
mod verifier;

pub use alpn::ALPN;
pub use config::TransportConfig;
pub use datagram::DATAGRAM_BYTES_MAX;
pub use driver::{Host, Request, drive};
pub use error::{BindError, CloseReason, DialError, Disconnect, Refusal, SendError};
pub use event::{Events, TransportEvent};
pub use occupancy::Sending;
pub use own_address::{OwnAddresses, local_addresses, outward};
pub use port_map::{PortMapError, PortMapNews, PortMapping};
pub use queue::Priority;
pub use traffic::Traffic;
pub use transport::Transport;
