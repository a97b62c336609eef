//! The registry: one connection for each connected peer, the dials under way, and the slots that both take.
//!
//! A connection that passed its handshake is admitted here. If the pair has one already, the tie-break of
//! [`tie_break`](crate::tie_break) decides, at both sides in the same way. The one that loses is *retired*: nothing new is sent
//! on it, but it is still read for a while, so that no message under way is lost.
//!
//! All of this is behind one lock, because a dial must see links and dials of one moment: between two locks a dial could end
//! in a link that the next dial to the same peer does not see.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use murmur_collectives::PeerId;
use rustls::pki_types::CertificateDer;

use crate::{
    candidate::Candidate,
    error::{DialError, Refusal},
    link::Link,
    queue::SendQueue,
    slots::Slots,
    tie_break::{self, Contender, Liveness, Outcome},
};

/// All connections of a transport, and all dials under way.
#[derive(Debug)]
pub(crate) struct Registry {
    own: PeerId,
    /// Two connections whose handshakes overlapped began within this time of each other.
    simultaneous_within: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<PeerId, Arc<Link>>,
    dials: Dials,
    slots: Slots,
    is_stopping: bool,
}

/// The dials under way: by address from the start, and by peer as soon as its certificate has come.
#[derive(Debug, Default)]
struct Dials {
    addresses: BTreeSet<SocketAddr>,
    peers: BTreeSet<PeerId>,
}

/// What becomes of a connection that passed its handshake.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is the pair's only one.
    First(Arc<Link>),
    /// It, the first, replaces a connection that is lost. The old one must be closed.
    Replaces(Arc<Link>, Arc<Link>),
    /// It, the first, won the tie-break. The other one is retired, and its queue goes on in this one.
    Supersedes(Arc<Link>, Arc<Link>),
    /// It, the first, lost the tie-break against the second, and is retired.
    Loses(Arc<Link>, Arc<Link>),
    /// The transport takes no more connections.
    Stopping,
}

/// Retires `loser`. The end of `winner` must not be reported before the end of `loser`.
fn retire(loser: &Arc<Link>, winner: &Link) {
    loser.retired.raise();
    winner.predecessors().push(loser.clone());
}

impl Registry {
    pub(crate) fn new(own: PeerId, handshake_timeout: Duration) -> Self {
        Self { own, simultaneous_within: 2 * handshake_timeout, state: Mutex::default() }
    }

    pub(crate) fn own(&self) -> PeerId {
        self.own
    }

    /// The connection to `peer`.
    pub(crate) fn link(&self, peer: &PeerId) -> Option<Arc<Link>> {
        self.lock().links.get(peer).cloned()
    }

    /// Decides about a new connection, and stores it unless it loses. `queue` makes the queue of one that takes over none.
    pub(crate) fn admit(&self, candidate: Candidate, queue: impl FnOnce() -> SendQueue) -> Admission {
        let mut state = self.lock();
        if state.is_stopping {
            return Admission::Stopping;
        }
        let peer = candidate.peer;
        let Some(held) = state.links.get(&peer).cloned() else {
            let link = Arc::new(Link::new(candidate, Arc::new(queue())));
            state.links.insert(peer, link.clone());
            return Admission::First(link);
        };
        match self.tie_break(&candidate, &held) {
            Outcome::Replaces => {
                let link = Arc::new(Link::new(candidate, Arc::new(queue())));
                state.links.insert(peer, link.clone());
                Admission::Replaces(link, held)
            }
            Outcome::Supersedes => {
                let link = Arc::new(Link::new(candidate, held.queue.clone()));
                state.links.insert(peer, link.clone());
                retire(&held, &link);
                Admission::Supersedes(link, held)
            }
            Outcome::Loses => {
                let link = Arc::new(Link::new(candidate, held.queue.clone()));
                retire(&link, &held);
                Admission::Loses(link, held)
            }
        }
    }

    fn tie_break(&self, candidate: &Candidate, held: &Link) -> Outcome {
        let newcomer = Contender { dialed: candidate.dialed, relayed: candidate.relay.is_some() };
        let liveness = match held.is_open() && held.certificate == candidate.certificate {
            false => Liveness::Gone,
            true if held.since.elapsed() < self.simultaneous_within => Liveness::Current,
            true => Liveness::Old,
        };
        let held = Contender { dialed: held.dialed, relayed: held.relay.is_some() };
        tie_break::decide(self.own, candidate.peer, newcomer, held, liveness)
    }

    /// Takes the connections whose messages the caller must get before the end of `link`.
    ///
    /// Under the registry's lock because [`admit`](Self::admit) adds to them only while `link` is open, and `link` asks
    /// only once it is closed: none can be added too late.
    pub(crate) fn take_predecessors(&self, link: &Link) -> Vec<Arc<Link>> {
        let _state = self.lock();
        std::mem::take(&mut *link.predecessors())
    }

    /// Forgets `link`, which has ended, if it is still the pair's connection.
    pub(crate) fn forget(&self, link: &Arc<Link>) {
        let mut state = self.lock();
        if state.links.get(&link.peer).is_some_and(|held| Arc::ptr_eq(held, link)) {
            state.links.remove(&link.peer);
        }
    }

    /// Claims the dial to `peer`, which showed `certificate`; ends with [`release_dial`](Self::release_dial).
    ///
    /// # Errors
    ///
    /// There is a live connection to the same process, or a dial to it. A relayed connection does not count if this dial is
    /// `direct`, because that improves the path.
    pub(crate) fn claim_dial(
        &self,
        peer: PeerId,
        certificate: &CertificateDer<'_>,
        direct: bool,
    ) -> Result<(), DialError> {
        let mut state = self.lock();
        let would_improve = |link: &Arc<Link>| direct && link.relay.is_some();
        let connected = |link: &Arc<Link>| link.is_open() && link.certificate == *certificate && !would_improve(link);
        if state.links.get(&peer).is_some_and(connected) {
            Err(DialError::AlreadyConnected(peer))
        } else if state.dials.peers.insert(peer) {
            Ok(())
        } else {
            Err(DialError::AlreadyDialing)
        }
    }

    pub(crate) fn release_dial(&self, peer: PeerId) {
        self.lock().dials.peers.remove(&peer);
    }

    /// Claims the dial to `addr`, and a slot; ends with [`end_dial`](Self::end_dial).
    ///
    /// # Errors
    ///
    /// A dial to `addr` is under way, `connections_max` slots are taken, or the transport is stopping.
    pub(crate) fn begin_dial(self: &Arc<Self>, addr: SocketAddr, connections_max: usize) -> Result<Slot, DialError> {
        let mut state = self.lock();
        if state.is_stopping {
            return Err(DialError::Stopping);
        }
        if state.slots.taken() >= connections_max {
            return Err(DialError::Full);
        }
        if !state.dials.addresses.insert(addr) {
            return Err(DialError::AlreadyDialing);
        }
        state.slots.take();
        Ok(Slot { registry: self.clone(), ip: None })
    }

    pub(crate) fn end_dial(&self, addr: SocketAddr) {
        self.lock().dials.addresses.remove(&addr);
    }

    /// Takes a slot for an incoming connection from `ip`.
    ///
    /// # Errors
    ///
    /// A limit is reached, or the transport is stopping.
    pub(crate) fn take_slot(self: &Arc<Self>, ip: IpAddr, max: usize, per_ip_max: usize) -> Result<Slot, Refusal> {
        let mut state = self.lock();
        if state.is_stopping {
            return Err(Refusal::Full);
        }
        state.slots.take_from(ip, max, per_ip_max)?;
        Ok(Slot { registry: self.clone(), ip: Some(ip) })
    }

    /// The number of connections and handshakes now.
    pub(crate) fn slots_taken(&self) -> usize {
        self.lock().slots.taken()
    }

    /// From now on admits no connection. Returns those that are held.
    pub(crate) fn stop(&self) -> Vec<Arc<Link>> {
        let mut state = self.lock();
        state.is_stopping = true;
        state.links.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the registry")
    }
}

/// One of the `connections_max` slots, freed when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    registry: Arc<Registry>,
    ip: Option<IpAddr>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.registry.lock().slots.free(self.ip);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OWN: PeerId = PeerId([1; 32]);

    #[test]
    fn a_slot_is_freed_when_it_is_dropped() {
        let registry = Arc::new(Registry::new(OWN, Duration::from_secs(1)));
        let home = IpAddr::from([127, 0, 0, 1]);
        let first = registry.take_slot(home, 2, 1).unwrap();
        assert_eq!(registry.take_slot(home, 2, 1).unwrap_err(), Refusal::FullForAddress);
        drop(first);
        let second = registry.take_slot(home, 2, 1).unwrap();
        assert_eq!(registry.slots_taken(), 1);
        drop(second);
        assert_eq!(registry.slots_taken(), 0);
    }

    #[test]
    fn an_address_is_dialed_once_at_a_time() {
        let registry = Arc::new(Registry::new(OWN, Duration::from_secs(1)));
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        let _slot = registry.begin_dial(addr, 4).unwrap();
        assert_eq!(registry.begin_dial(addr, 4).unwrap_err(), DialError::AlreadyDialing);
        registry.end_dial(addr);
        assert!(registry.begin_dial(addr, 4).is_ok());
    }
}
