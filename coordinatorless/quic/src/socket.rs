//! The UDP socket, with counters of all datagrams sent and received.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::traffic::Counters;

/// The shortest datagram that can be QUIC (RFC 9000 §10.3).
const QUIC_BYTES_MIN: usize = 21;

/// The bit that every QUIC packet has set (RFC 9000 §17). This endpoint does not negotiate greasing it (RFC 9287).
const FIXED_BIT: u8 = 0x40;

/// Opens a UDP socket. An IPv6 socket receives IPv4, too, whatever the default of the system, unless it does not support that.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6()
        && let Err(error) = socket.set_only_v6(false)
    {
        tracing::debug!(%error, "only IPv6 is heard");
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// quinn's socket, with counters.
#[derive(Debug)]
pub(crate) struct CountingSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    counters: Arc<Counters>,
}

impl CountingSocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }

    fn count_sent(&self, transmit: &Transmit<'_>) {
        let bytes = transmit.contents.len();
        let datagrams = transmit.segment_size.map_or(1, |size| bytes.div_ceil(size.max(1)));
        self.counters.udp_tx_bytes.add(bytes as u64);
        self.counters.udp_tx_datagrams.add(datagrams as u64);
    }

    fn count_received(&self, buffer: &[u8], meta: &RecvMeta) {
        // With receive offload one buffer holds several datagrams, `stride` bytes apart.
        let received = &buffer[..meta.len.min(buffer.len())];
        let stride = meta.stride.max(1);
        let datagrams = received.len().div_ceil(stride).max(1);
        let not_quic = received.chunks(stride).filter(|datagram| !may_be_quic(datagram)).count();
        self.counters.udp_rx_bytes.add(received.len() as u64);
        self.counters.udp_rx_datagrams.add(datagrams as u64);
        self.count_not_quic(not_quic.max(usize::from(received.is_empty())), meta.addr);
    }

    /// Logs the first one only, so that a sender of garbage cannot fill the log.
    fn count_not_quic(&self, datagrams: usize, from: SocketAddr) {
        if datagrams > 0 && self.counters.udp_rx_not_quic.add(datagrams as u64) == 0 {
            tracing::warn!(%from, "a datagram that is not QUIC arrived; ignored, and further ones are only counted");
        }
    }
}

fn may_be_quic(datagram: &[u8]) -> bool {
    datagram.len() >= QUIC_BYTES_MIN && datagram[0] & FIXED_BIT != 0
}

impl AsyncUdpSocket for CountingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)?;
        self.count_sent(transmit);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (buffer, meta) in bufs.iter().zip(meta.iter()).take(count) {
            self.count_received(buffer, meta);
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_datagrams_and_those_without_the_fixed_bit_are_not_quic() {
        assert!(may_be_quic(&[0x40; 21]));
        assert!(may_be_quic(&[0xff; 1200]));
        assert!(!may_be_quic(&[0x40; 20]));
        assert!(!may_be_quic(&[0xbf; 1200]));
        assert!(!may_be_quic(&[]));
    }
}
