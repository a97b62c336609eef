//! Relayed paths, each under a placeholder address.
//!
//! quinn identifies a path by its UDP address. A path through a relay gets a placeholder address from 240.0.0.0/4, which no
//! host has (RFC 1112 §4): one IP address for each relay, one port for each peer behind it. So the limit on connections per IP
//! address becomes a limit per relay. A packet that quinn sends to a placeholder goes to [`relay`](crate::relay) instead of the
//! socket, and a relayed packet reaches quinn with the placeholder as its source. A UDP datagram with such a source is
//! dropped.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use murmur_collectives::PeerId;
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::sync::mpsc;

/// Packets queued in each direction; more are dropped, as by a router.
const PACKETS_MAX: usize = 512;

/// Peers behind one relay, at most. One more replaces the oldest.
const PEERS_PER_RELAY_MAX: usize = 128;

/// Relays, at most, over the life of a transport.
const RELAYS_MAX: usize = 1024;

/// A packet and its placeholder address: the destination of one that quinn sends, the source of one that came.
pub(crate) type Packet = (SocketAddr, Bytes);

/// All relayed paths.
#[derive(Debug)]
pub(crate) struct RelayPaths {
    state: Mutex<State>,
    outgoing: mpsc::Sender<Packet>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their placeholder IP addresses.
    relays: Vec<Relay>,
    /// The index of each relay in `relays`.
    indices: BTreeMap<PeerId, usize>,
    incoming: VecDeque<Packet>,
    reader: Option<Waker>,
}

/// A relay, and the peers behind it in the order of their ports.
#[derive(Debug)]
struct Relay {
    id: PeerId,
    peers: Vec<PeerId>,
    /// The index that the next new peer gets.
    next: usize,
}

impl Relay {
    /// The index of `peer`, which is added if it is new.
    fn index_of(&mut self, peer: PeerId) -> usize {
        if let Some(index) = self.peers.iter().position(|known| *known == peer) {
            return index;
        }
        let index = self.next;
        self.next = (index + 1) % PEERS_PER_RELAY_MAX;
        match self.peers.get_mut(index) {
            Some(oldest) => *oldest = peer,
            None => self.peers.push(peer),
        }
        index
    }
}

impl RelayPaths {
    /// No paths, and the queue of the packets that quinn will send on them.
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Packet>) {
        let (outgoing, packets) = mpsc::channel(PACKETS_MAX);
        (Arc::new(Self { state: Mutex::default(), outgoing }), packets)
    }

    /// The placeholder address of `peer` behind `relay`. If there are no more placeholders, an address that no host has.
    pub(crate) fn address_of(&self, relay: PeerId, peer: PeerId) -> SocketAddr {
        let placeholder = self.lock().placeholder(relay, peer);
        placeholder.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::new(255, 255, 255, 255), u16::MAX)))
    }

    /// The relay and the peer behind it whose placeholder `addr` is; `None` if it is none.
    pub(crate) fn resolve(&self, addr: SocketAddr) -> Option<(PeerId, PeerId)> {
        let IpAddr::V4(ip) = addr.ip().to_canonical() else { return None };
        let index = (u32::from(ip) as usize).checked_sub(FIRST as usize)?;
        let state = self.lock();
        let relay = state.relays.get(index)?;
        let peer = relay.peers.get(usize::from(addr.port()).checked_sub(1)?)?;
        Some((relay.id, *peer))
    }

    /// Queues a packet that came from `peer` through `relay`. False if it was dropped.
    pub(crate) fn receive(&self, relay: PeerId, peer: PeerId, packet: Bytes) -> bool {
        let mut state = self.lock();
        if state.incoming.len() >= PACKETS_MAX {
            return false;
        }
        let Some(from) = state.placeholder(relay, peer) else { return false };
        state.incoming.push_back((from, packet));
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// Fills `bufs` with relayed packets. `None` if none are queued; then the next one wakes the task of `cx`.
    fn poll(&self, cx: &Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Option<usize> {
        let mut state = self.lock();
        let mut filled = 0;
        while let Some(slot) = bufs.get_mut(filled).filter(|_| filled < meta.len()) {
            let Some((from, packet)) = state.incoming.pop_front() else { break };
            let len = packet.len().min(slot.len());
            slot[..len].copy_from_slice(&packet[..len]);
            meta[filled] = RecvMeta { addr: from, len, stride: len, ecn: None, dst_ip: None };
            filled += 1;
        }
        if filled == 0 {
            state.reader = Some(cx.waker().clone());
        }
        (filled > 0).then_some(filled)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the relayed paths")
    }
}

/// The placeholder IP address of the first relay.
const FIRST: u32 = u32::from_be_bytes([240, 0, 0, 1]);

impl State {
    fn placeholder(&mut self, relay: PeerId, peer: PeerId) -> Option<SocketAddr> {
        let index = match self.indices.get(&relay) {
            Some(index) => *index,
            None if self.relays.len() >= RELAYS_MAX => return None,
            None => {
                self.relays.push(Relay { id: relay, peers: Vec::new(), next: 0 });
                self.indices.insert(relay, self.relays.len() - 1);
                self.relays.len() - 1
            }
        };
        let port = self.relays.get_mut(index)?.index_of(peer) + 1;
        let ip = Ipv4Addr::from(FIRST + u32::try_from(index).ok()?);
        Some(SocketAddr::from((ip, u16::try_from(port).ok()?)))
    }
}

/// Whether `addr` is in the range of the placeholders.
pub(crate) fn is_placeholder(addr: SocketAddr) -> bool {
    matches!(addr.ip().to_canonical(), IpAddr::V4(ip) if ip.octets()[0] >= 240)
}

/// quinn's socket: packets to and from placeholder addresses travel through relays, all others over `inner`.
#[derive(Debug)]
pub(crate) struct RelaySocket {
    inner: Arc<dyn AsyncUdpSocket>,
    paths: Arc<RelayPaths>,
    /// On an IPv6 socket quinn dials IPv4 addresses in their IPv6-mapped form, and expects answers from the same form.
    maps_ipv4: bool,
}

impl RelaySocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, paths: Arc<RelayPaths>) -> Self {
        let maps_ipv4 = inner.local_addr().is_ok_and(|own| own.is_ipv6());
        Self { inner, paths, maps_ipv4 }
    }

    /// `addr` in the form in which quinn dials it.
    fn as_dialed(&self, addr: SocketAddr) -> SocketAddr {
        match addr.ip() {
            IpAddr::V4(ip) if self.maps_ipv4 => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => addr,
        }
    }
}

impl AsyncUdpSocket for RelaySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !is_placeholder(transmit.destination) {
            return self.inner.try_send(transmit);
        }
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for packet in transmit.contents.chunks(size) {
            // A full queue drops packets, as any path may. QUIC detects that and sends their contents again.
            let _ = self.paths.outgoing.try_send((transmit.destination, Bytes::copy_from_slice(packet)));
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if let Some(count) = self.paths.poll(cx, bufs, meta) {
            meta.iter_mut().take(count).for_each(|meta| meta.addr = self.as_dialed(meta.addr));
            return Poll::Ready(Ok(count));
        }
        let count = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for meta in meta.iter_mut().take(count).filter(|meta| is_placeholder(meta.addr)) {
            meta.len = 0;
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    #[test]
    fn a_path_keeps_its_placeholder_and_each_relay_has_its_own_ip() {
        let (paths, _packets) = RelayPaths::new();
        let address = paths.address_of(peer(1), peer(2));
        assert_eq!(paths.address_of(peer(1), peer(2)), address);
        assert_eq!(paths.resolve(address), Some((peer(1), peer(2))));
        assert_eq!(paths.address_of(peer(1), peer(3)).ip(), address.ip());
        assert_ne!(paths.address_of(peer(4), peer(2)).ip(), address.ip());
        assert!(is_placeholder(address) && !is_placeholder(([127, 0, 0, 1], 1).into()));
    }

    #[test]
    fn a_relay_that_invents_peers_fills_only_its_own_ports() {
        let (paths, _packets) = RelayPaths::new();
        let invented = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            paths.address_of(peer(1), PeerId(id))
        };
        let honest = paths.address_of(peer(2), peer(3));
        let made: std::collections::BTreeSet<SocketAddr> = (0..1000).map(invented).collect();
        assert_eq!(made.len(), PEERS_PER_RELAY_MAX);
        assert_eq!(paths.address_of(peer(2), peer(3)), honest);
    }

    #[test]
    fn packets_beyond_the_limit_are_dropped() {
        let (paths, _packets) = RelayPaths::new();
        let kept = (0..1000).filter(|_| paths.receive(peer(1), peer(2), Bytes::from_static(b"x"))).count();
        assert_eq!(kept, PACKETS_MAX);
    }

    #[test]
    fn an_address_that_is_no_placeholder_is_not_resolved() {
        let (paths, _packets) = RelayPaths::new();
        paths.address_of(peer(1), peer(2));
        for text in ["240.0.0.1:0", "240.0.0.1:2", "240.0.0.2:1", "240.0.0.0:1", "127.0.0.1:1", "[::1]:1"] {
            assert_eq!(paths.resolve(text.parse().unwrap()), None, "{text}");
        }
        assert_eq!(paths.resolve("[::ffff:240.0.0.1]:1".parse().unwrap()), Some((peer(1), peer(2))));
    }
}
