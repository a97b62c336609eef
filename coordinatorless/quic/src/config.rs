//! The settings of a transport, and the QUIC parameters that follow from them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::{IdleTimeout, VarInt};

use crate::error::BindError;

/// Messages in flight in each direction of a connection, at most: QUIC's limit on unidirectional streams. An honest sender
/// opens no more than the 44 that [`Priority`](crate::Priority) allows, so it never waits for this limit.
pub(crate) const STREAMS_MAX: u32 = 64;

/// A message longer than this holds one of the [`LARGE_MESSAGES`] permits of its connection while it is assembled.
pub(crate) const SMALL_MESSAGE_BYTES: usize = 64 * 1024;

/// Large messages of one connection that are assembled, or wait in [`Events`](crate::Events), at once.
pub(crate) const LARGE_MESSAGES: usize = 2;

/// Flow-control window of a stream, in bytes. At a round trip of 100 ms it allows one message 5 MB/s.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;

/// Flow-control window of a connection, in bytes. An honest sender opens up to 12 payload and bulk streams (6 MiB): even if
/// all of them stall, control messages have room.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Bytes of received datagrams queued for a connection's reader. When they are full, the oldest is dropped.
const DATAGRAMS_IN_BYTES: usize = 128 * 1024;

/// Bytes of datagrams queued to be sent. At 10 Mbit/s they are sent in 50 ms; a datagram that waited longer would be stale.
const DATAGRAMS_OUT_BYTES: usize = 64 * 1024;

/// Settings of a [`Transport`](crate::Transport). [`TransportConfig::new`] gives the defaults named on each field.
///
/// A transport holds at most (8 MiB window + 4 MiB of short messages + 2 × `message_bytes_max`) of received bytes for each of
/// `connections_max` connections, and `send_queue_bytes_max` of queued messages.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// The UDP address to listen on and dial from. With port 0 the system chooses the port.
    pub bind: SocketAddr,
    /// The longest message, in bytes, sent or received. A peer that sends a longer one is disconnected. 4 MiB:
    /// four times the payload of 4 M parameters at 2 bits each.
    pub message_bytes_max: usize,
    /// Connections at once, half-open ones included. 64: a cohort of about 20 peers (ARCHITECTURE.md, "Scale") with room for churn.
    /// From half of it on, a client must first validate its address by a Retry.
    pub connections_max: usize,
    /// Accepted connections at once from one IPv4 address, or one IPv6 network of 64 bits. 32. Raise it for a larger swarm
    /// behind one address.
    pub connections_per_ip_max: usize,
    /// Bytes queued for one peer and not yet acknowledged by it. 32 MiB; at least twice `message_bytes_max`, because
    /// [`Priority::Bulk`](crate::Priority::Bulk) may fill only half.
    pub send_queue_bytes_max: usize,
    /// Messages queued for one peer and not yet acknowledged by it. 4096.
    pub send_queue_messages_max: usize,
    /// Events queued for the caller; when they are full, connections are not read. 256.
    pub events_max: usize,
    /// From dialing to welcome, or from a first packet to a finished handshake. 5 s: five retransmissions of a lost
    /// first packet would take longer than that, two do not.
    pub handshake_timeout: Duration,
    /// A connection without a packet for this long is lost. 10 s: five missed keep-alives.
    pub idle_timeout: Duration,
    /// The interval of keep-alive packets on an idle connection. 2 s: shorter than the mapping timeout of any NAT.
    pub keep_alive: Duration,
    /// The total wait for the bytes of one message. After it the stream is stopped and the message is dropped. 30 s:
    /// `message_bytes_max` at 140 kB/s.
    pub message_timeout: Duration,
    /// Pairs of other peers between which this peer forwards packets at once. 0: it is no relay.
    pub relay_sessions_max: usize,
    /// Bytes of packets forwarded per second, for all pairs together. 1 MiB. Only used with `relay_sessions_max`.
    pub relay_bytes_per_s_max: u64,
    /// How long a connection that lost the tie-break is still read, for messages under way. 3 s.
    pub handover: Duration,
}

impl TransportConfig {
    /// The defaults, listening on `bind`.
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            message_bytes_max: 4 * 1024 * 1024,
            connections_max: 64,
            connections_per_ip_max: 32,
            send_queue_bytes_max: 32 * 1024 * 1024,
            send_queue_messages_max: 4096,
            events_max: 256,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(2),
            message_timeout: Duration::from_secs(30),
            relay_sessions_max: 0,
            relay_bytes_per_s_max: 1024 * 1024,
            handover: Duration::from_secs(3),
        }
    }

    /// Checks every setting against its allowed range.
    pub(crate) fn validate(&self) -> Result<(), BindError> {
        let queue_min = self.message_bytes_max.saturating_mul(2);
        at_least("message_bytes_max", self.message_bytes_max, 1)?;
        at_least("connections_max", self.connections_max, 1)?;
        at_least("connections_per_ip_max", self.connections_per_ip_max, 1)?;
        at_least("send_queue_bytes_max", self.send_queue_bytes_max, queue_min)?;
        at_least("send_queue_messages_max", self.send_queue_messages_max, 2)?;
        at_least("events_max", self.events_max, 1)?;
        if self.keep_alive >= self.idle_timeout {
            return Err(impossible(
                "keep_alive",
                &self.keep_alive,
                format!("below idle_timeout ({:?})", self.idle_timeout),
            ));
        }
        self.idle().map(drop)
    }

    /// The QUIC parameters of direct connections, dialed or accepted.
    pub(crate) fn quic(&self) -> Result<Arc<quinn::TransportConfig>, BindError> {
        self.parameters().map(Arc::new)
    }

    /// Those of relayed connections: their packets stay at the smallest size that QUIC allows, because each travels in a
    /// datagram of another connection.
    pub(crate) fn relayed_quic(&self) -> Result<Arc<quinn::TransportConfig>, BindError> {
        let mut quic = self.parameters()?;
        quic.mtu_discovery_config(None);
        Ok(Arc::new(quic))
    }

    fn parameters(&self) -> Result<quinn::TransportConfig, BindError> {
        let mut quic = quinn::TransportConfig::default();
        quic.max_concurrent_uni_streams(STREAMS_MAX.into())
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(Some(DATAGRAMS_IN_BYTES))
            .datagram_send_buffer_size(DATAGRAMS_OUT_BYTES)
            .stream_receive_window(STREAM_WINDOW_BYTES.into())
            .receive_window(CONNECTION_WINDOW_BYTES.into())
            .send_window(CONNECTION_WINDOW_BYTES.into())
            .max_idle_timeout(Some(self.idle()?))
            .keep_alive_interval(Some(self.keep_alive));
        Ok(quic)
    }

    fn idle(&self) -> Result<IdleTimeout, BindError> {
        IdleTimeout::try_from(self.idle_timeout)
            .map_err(|_| impossible("idle_timeout", &self.idle_timeout, "below 2^62 ms".to_owned()))
    }
}

fn at_least(key: &'static str, given: usize, least: usize) -> Result<(), BindError> {
    if given >= least { Ok(()) } else { Err(impossible(key, &given, format!("at least {least}"))) }
}

fn impossible(key: &'static str, given: &dyn std::fmt::Debug, allowed: String) -> BindError {
    BindError::Config { key, given: format!("{given:?}"), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> TransportConfig {
        TransportConfig::new(([127, 0, 0, 1], 0).into())
    }

    #[test]
    fn the_defaults_are_allowed() {
        assert!(defaults().validate().is_ok());
        assert!(defaults().quic().is_ok());
    }

    #[test]
    fn an_impossible_value_is_named_with_what_is_allowed() {
        let starved = TransportConfig { send_queue_bytes_max: 100, message_bytes_max: 51, ..defaults() };
        let said = starved.validate().map_err(|e| e.to_string());
        assert_eq!(said, Err("send_queue_bytes_max = 100 is not possible: at least 102".to_owned()));

        let drowsy = TransportConfig { keep_alive: Duration::from_secs(10), ..defaults() };
        let said = drowsy.validate().map_err(|e| e.to_string());
        assert_eq!(said, Err("keep_alive = 10s is not possible: below idle_timeout (10s)".to_owned()));
    }
}
