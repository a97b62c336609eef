//! Ways through relays, made to look like addresses.
//!
//! quinn knows connections by UDP addresses. A way to a peer through a relay gets a stand-in address from 240.0.0.0/4, which
//! nobody on the internet has (RFC 1112 §4): one IP address a relay, one port a peer behind it. So the limit of connections per
//! IP address is one per relay here. What quinn sends to a stand-in goes to [`relay`](crate::relay) instead of the socket;
//! what comes through a relay appears to come from the stand-in. A real datagram that claims such a source is dropped.

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

/// Packets that wait in each direction; more are dropped, as a router would.
const PACKETS_MAX: usize = 512;

/// Peers behind one relay, at most. One more takes the place of the oldest.
const PEERS_PER_RELAY_MAX: usize = 128;

/// Relays, at most, over the life of a transport.
const RELAYS_MAX: usize = 1024;

/// A packet on its way to a stand-in address.
pub(crate) type Packet = (SocketAddr, Bytes);

/// All ways through relays.
#[derive(Debug)]
pub(crate) struct Paths {
    state: Mutex<State>,
    outgoing: mpsc::Sender<Packet>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their stand-in IP addresses.
    relays: Vec<Behind>,
    places: BTreeMap<PeerId, usize>,
    incoming: VecDeque<Packet>,
    reader: Option<Waker>,
}

/// The peers behind one relay, in the order of their ports.
#[derive(Debug)]
struct Behind {
    relay: PeerId,
    peers: Vec<PeerId>,
    next: usize,
}

impl Behind {
    /// The place of `peer`, made if need be.
    fn place(&mut self, peer: PeerId) -> usize {
        if let Some(place) = self.peers.iter().position(|known| *known == peer) {
            return place;
        }
        let place = self.next;
        self.next = (place + 1) % PEERS_PER_RELAY_MAX;
        match self.peers.get_mut(place) {
            Some(oldest) => *oldest = peer,
            None => self.peers.push(peer),
        }
        place
    }
}

impl Paths {
    /// No ways yet, and the packets that will have to be sent on them.
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Packet>) {
        let (outgoing, packets) = mpsc::channel(PACKETS_MAX);
        (Arc::new(Self { state: Mutex::default(), outgoing }), packets)
    }

    /// The stand-in for `peer` behind `relay`. If no more can be made up, an address that leads nowhere.
    pub(crate) fn to(&self, relay: PeerId, peer: PeerId) -> SocketAddr {
        let made = self.lock().stand_in(relay, peer);
        made.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::new(255, 255, 255, 255), u16::MAX)))
    }

    /// The relay, and the peer behind it, that `addr` stands for.
    pub(crate) fn through(&self, addr: SocketAddr) -> Option<(PeerId, PeerId)> {
        let IpAddr::V4(ip) = addr.ip().to_canonical() else { return None };
        let relay = (u32::from(ip) as usize).checked_sub(FIRST as usize)?;
        let state = self.lock();
        let behind = state.relays.get(relay)?;
        let peer = behind.peers.get(usize::from(addr.port()).checked_sub(1)?)?;
        Some((behind.relay, *peer))
    }

    /// A packet came from `peer` through `relay`. Returns whether there was room for it.
    pub(crate) fn arrive(&self, relay: PeerId, peer: PeerId, packet: Bytes) -> bool {
        let mut state = self.lock();
        if state.incoming.len() >= PACKETS_MAX {
            return false;
        }
        let Some(from) = state.stand_in(relay, peer) else { return false };
        state.incoming.push_back((from, packet));
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// Fills `bufs` with what came through relays; `None`, and a wake-up call later, if nothing has.
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
        self.state.lock().expect("no code panics while it holds the paths")
    }
}

/// The stand-in IP address of the first relay.
const FIRST: u32 = u32::from_be_bytes([240, 0, 0, 1]);

impl State {
    fn stand_in(&mut self, relay: PeerId, peer: PeerId) -> Option<SocketAddr> {
        let place = match self.places.get(&relay) {
            Some(place) => *place,
            None if self.relays.len() >= RELAYS_MAX => return None,
            None => {
                self.relays.push(Behind { relay, peers: Vec::new(), next: 0 });
                self.places.insert(relay, self.relays.len() - 1);
                self.relays.len() - 1
            }
        };
        let port = self.relays.get_mut(place)?.place(peer) + 1;
        let ip = Ipv4Addr::from(FIRST + u32::try_from(place).ok()?);
        Some(SocketAddr::from((ip, u16::try_from(port).ok()?)))
    }
}

/// Whether `addr` is one that only stands in for a way.
pub(crate) fn is_stand_in(addr: SocketAddr) -> bool {
    matches!(addr.ip().to_canonical(), IpAddr::V4(ip) if ip.octets()[0] >= 240)
}

/// A socket of quinn's whose stand-in addresses lead through relays.
#[derive(Debug)]
pub(crate) struct PathSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    paths: Arc<Paths>,
    /// quinn has mapped all that it dials from an IPv6 socket, and knows answers by the same form only.
    maps: bool,
}

impl PathSocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, paths: Arc<Paths>) -> Self {
        let maps = inner.local_addr().is_ok_and(|own| own.is_ipv6());
        Self { inner, paths, maps }
    }

    /// `addr` as quinn knows it.
    fn known(&self, addr: SocketAddr) -> SocketAddr {
        match addr.ip() {
            IpAddr::V4(ip) if self.maps => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => addr,
        }
    }
}

impl AsyncUdpSocket for PathSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !is_stand_in(transmit.destination) {
            return self.inner.try_send(transmit);
        }
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for packet in transmit.contents.chunks(size) {
            // A full way drops packets; the congestion control of the connection on it sees to that.
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
            meta.iter_mut().take(count).for_each(|meta| meta.addr = self.known(meta.addr));
            return Poll::Ready(Ok(count));
        }
        let count = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for meta in meta.iter_mut().take(count).filter(|meta| is_stand_in(meta.addr)) {
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
    fn a_way_keeps_its_stand_in_and_each_relay_has_its_own_ip() {
        let (paths, _packets) = Paths::new();
        let there = paths.to(peer(1), peer(2));
        assert_eq!(paths.to(peer(1), peer(2)), there);
        assert_eq!(paths.through(there), Some((peer(1), peer(2))));
        assert_eq!(paths.to(peer(1), peer(3)).ip(), there.ip());
        assert_ne!(paths.to(peer(4), peer(2)).ip(), there.ip());
        assert!(is_stand_in(there) && !is_stand_in(([127, 0, 0, 1], 1).into()));
    }

    #[test]
    fn a_relay_that_invents_peers_fills_only_its_own_ports() {
        let (paths, _packets) = Paths::new();
        let invented = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            paths.to(peer(1), PeerId(id))
        };
        let honest = paths.to(peer(2), peer(3));
        let made: std::collections::BTreeSet<SocketAddr> = (0..1000).map(invented).collect();
        assert_eq!(made.len(), PEERS_PER_RELAY_MAX);
        assert_eq!(paths.to(peer(2), peer(3)), honest);
    }

    #[test]
    fn packets_beyond_the_limit_are_dropped() {
        let (paths, _packets) = Paths::new();
        let kept = (0..1000).filter(|_| paths.arrive(peer(1), peer(2), Bytes::from_static(b"x"))).count();
        assert_eq!(kept, PACKETS_MAX);
    }

    #[test]
    fn addresses_that_stand_for_nothing_lead_nowhere() {
        let (paths, _packets) = Paths::new();
        paths.to(peer(1), peer(2));
        for text in ["240.0.0.1:0", "240.0.0.1:2", "240.0.0.2:1", "240.0.0.0:1", "127.0.0.1:1", "[::1]:1"] {
            assert_eq!(paths.through(text.parse().unwrap()), None, "{text}");
        }
        assert_eq!(paths.through("[::ffff:240.0.0.1]:1".parse().unwrap()), Some((peer(1), peer(2))));
    }
}
