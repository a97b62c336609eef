//! The counters of what a transport sent, received and refused.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Returns the number before.
    pub(crate) fn add(&self, amount: u64) -> u64 {
        self.0.fetch_add(amount, Relaxed)
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! traffic {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Totals since [`Transport::bind`](crate::Transport::bind). They only grow.
        ///
        /// The `udp_*` numbers are counted at the socket and include handshakes, acknowledgements, retransmissions, and datagrams
        /// that are not QUIC. They exclude the headers of UDP and IP: 28 bytes a datagram, 48 with IPv6.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Traffic { $($(#[$doc])+ pub $name: u64,)+ }

        /// The counters behind [`Traffic`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)+ }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Traffic {
                Traffic { $($name: self.$name.get(),)+ }
            }
        }
    };
}

traffic! {
    /// Payload bytes of UDP datagrams handed to the system.
    udp_tx_bytes,
    /// Payload bytes of UDP datagrams received.
    udp_rx_bytes,
    /// UDP datagrams handed to the system.
    udp_tx_datagrams,
    /// UDP datagrams received.
    udp_rx_datagrams,
    /// Received datagrams that cannot be QUIC: too short, or without QUIC's fixed bit.
    udp_rx_not_quic,
    /// Messages that the QUIC stacks of peers acknowledged: they arrived, and may still be dropped there.
    messages_tx,
    /// Bytes of messages that peers acknowledged.
    messages_tx_bytes,
    /// Messages given to the caller.
    messages_rx,
    /// Bytes of messages given to the caller.
    messages_rx_bytes,
    /// Bytes of messages queued to be sent, but for [`Priority::Bulk`](crate::Priority::Bulk), which can wait.
    messages_queued_bytes,
    /// Messages refused by [`Transport::send`](crate::Transport::send) because the peer's queue was full.
    messages_tx_full,
    /// Sent or queued messages that were lost: the connection ended, or the peer stopped their streams.
    messages_tx_lost,
    /// Received messages that were longer than allowed; each ended its connection.
    messages_rx_too_long,
    /// Received messages dropped because their bytes did not come in time.
    messages_rx_timed_out,
    /// Received messages dropped because the sender reset their streams, or the connection ended.
    messages_rx_aborted,
    /// Datagrams handed to a connection.
    datagrams_tx,
    /// Datagrams that did not fit, or whose peer was not connected.
    datagrams_tx_lost,
    /// Datagrams given to the caller.
    datagrams_rx,
    /// Received datagrams dropped: too many, too long, or of an unknown kind.
    datagrams_rx_dropped,
    /// Packets forwarded as a relay.
    relayed,
    /// Bytes of packets forwarded as a relay.
    relayed_bytes,
    /// Packets not forwarded: this peer is no relay, has no direct connection to the receiver, or a limit was reached.
    relay_refused,
    /// Dials started.
    dials,
    /// Dials that did not end in a connection.
    dials_failed,
    /// Incoming connections welcomed.
    accepted,
    /// Incoming connections refused, for any reason.
    refused,
    /// Incoming connections that were sent a Retry, to validate their address.
    retried,
}
