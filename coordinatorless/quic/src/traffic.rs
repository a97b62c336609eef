//! What a transport has sent, received and refused, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One number that only grows.
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
        /// The `udp_*` numbers are counted at the socket and hold everything in a datagram: handshakes, acknowledgements,
        /// retransmissions and strangers' garbage. Headers of UDP and IP come on top: 28 bytes a datagram, 48 with IPv6.
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
    /// Messages that peers' QUIC acknowledged: they arrived, and may still be dropped there.
    messages_tx,
    /// Bytes of messages that peers acknowledged.
    messages_tx_bytes,
    /// Messages given to the caller.
    messages_rx,
    /// Bytes of messages given to the caller.
    messages_rx_bytes,
    /// Messages refused by [`Transport::send`](crate::Transport::send) because the peer's queue was full.
    messages_tx_full,
    /// Messages lost on the way out: the connection ended, or the peer stopped reading them.
    messages_tx_lost,
    /// Messages dropped on the way in because they were longer than allowed; each ended its connection.
    messages_rx_too_long,
    /// Messages dropped on the way in because their bytes did not come in time.
    messages_rx_timed_out,
    /// Messages dropped on the way in because the sender gave them up.
    messages_rx_aborted,
    /// Datagrams handed to a connection.
    datagrams_tx,
    /// Datagrams that did not fit, or whose peer was not connected.
    datagrams_tx_lost,
    /// Datagrams given to the caller.
    datagrams_rx,
    /// Datagrams dropped on the way in: too many, too long, or of no known kind.
    datagrams_rx_dropped,
    /// Packets passed on between two others.
    relayed,
    /// Bytes of packets passed on between two others.
    relayed_bytes,
    /// Packets not passed on: not asked to, no connection to the receiver, or a limit was reached.
    relay_refused,
    /// Dials started.
    dials,
    /// Dials that did not end in a connection.
    dials_failed,
    /// Incoming connections welcomed.
    accepted,
    /// Incoming connections refused, for any reason.
    refused,
    /// Incoming connections asked to prove their address first.
    retried,
}
