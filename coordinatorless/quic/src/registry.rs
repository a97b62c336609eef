//! Which peers are connected, and by which of several connections: one per pair, the same one on both sides.
//!
//! Two peers may dial each other at the same moment. Both connections can pass the handshake, so both sides must keep
//! the same one without asking. The rule: **the connection dialed by the smaller `PeerId` stays.** The one that loses
//! is *retired*: nothing new is sent on it, but it is still read for a while, so that no message under way is lost.
//!
//! The rule is only for connections that began together. If the other side shows a new certificate it has restarted;
//! if the connection we hold is old, or was dialed by the same side, or is closed, the other side has lost it, or it
//! would not have dialed. Then the newcomer *replaces* it, and the caller is told of the loss.
//!
//! A direct connection beats one through a relay that began together with it, whoever dialed: both sides see the difference.
//! A relayed newcomer still replaces a direct connection that is old, because its dialer would not have dialed otherwise.
//!
//! Why both sides agree: a peer never finishes a dial to a peer that it is connected to, or is dialing already, but for a
//! direct dial in place of a relayed connection ([`Registry::claim_dial`]). So two live connections of one pair were dialed by different sides, each before
//! its dialer knew of the other, which is within one handshake timeout.

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
};

/// All connections of a transport, and all dials under way.
#[derive(Debug)]
pub(crate) struct Registry {
    own: PeerId,
    /// Connections that began within this time of each other may have been dialed simultaneously.
    simultaneous: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<PeerId, Arc<Link>>,
    dialed_peers: BTreeSet<PeerId>,
    dialed_addresses: BTreeSet<SocketAddr>,
    places: usize,
    places_by_ip: BTreeMap<IpAddr, usize>,
    stopping: bool,
}

/// What becomes of a connection that passed its handshake.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is the pair's only one.
    First(Arc<Link>),
    /// It takes over from a connection that is lost, known or not. The old one must be closed.
    Replaces(Arc<Link>, Arc<Link>),
    /// It won the tie-break; the loser is retired, its queue taken over.
    Supersedes(Arc<Link>, Arc<Link>),
    /// It, the first, lost the tie-break against the second, and is retired.
    Loses(Arc<Link>, Arc<Link>),
    /// The transport takes no more connections.
    Stopping,
}

/// How a newcomer relates to the connection that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Replaces,
    Supersedes,
    Loses,
}

/// What the tie-break looks at in each of two connections.
#[derive(Clone, Copy, Debug)]
struct Trait {
    dialed: bool,
    relayed: bool,
}

/// How much of the connection that is there can still be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    /// It is closed, or the other side has restarted.
    Gone,
    /// It is open, but old: had the other side not lost it, it would not have dialed.
    Old,
    /// It may have begun together with the newcomer.
    Current,
}

/// The tie-break, as a function of what both sides know.
fn judge(own: PeerId, peer: PeerId, newcomer: Trait, held: Trait, holder: Holder) -> Verdict {
    let newcomer_is_from_smaller = newcomer.dialed == (own < peer);
    let newcomer_is_more_direct = held.relayed && !newcomer.relayed;
    let held_is_more_direct = newcomer.relayed && !held.relayed;
    match holder {
        Holder::Old | Holder::Current if newcomer_is_more_direct => Verdict::Supersedes,
        Holder::Gone | Holder::Old => Verdict::Replaces,
        Holder::Current if held_is_more_direct => Verdict::Loses,
        Holder::Current if newcomer.dialed == held.dialed => Verdict::Replaces,
        Holder::Current if newcomer_is_from_smaller => Verdict::Supersedes,
        Holder::Current => Verdict::Loses,
    }
}

/// Marks `loser` as having lost to `winner`, which must not be reported as ended before `loser` has.
fn retire(loser: &Arc<Link>, winner: &Link) {
    loser.retired.raise();
    winner.elders().push(loser.clone());
}

impl Registry {
    pub(crate) fn new(own: PeerId, handshake_timeout: Duration) -> Self {
        Self { own, simultaneous: 2 * handshake_timeout, state: Mutex::default() }
    }

    pub(crate) fn own(&self) -> PeerId {
        self.own
    }

    /// The connection to `peer`.
    pub(crate) fn link(&self, peer: &PeerId) -> Option<Arc<Link>> {
        self.lock().links.get(peer).cloned()
    }

    /// Decides about a new connection, and notes it unless it loses.
    pub(crate) fn admit(&self, candidate: Candidate, queue: impl FnOnce() -> crate::queue::SendQueue) -> Admission {
        let mut state = self.lock();
        if state.stopping {
            return Admission::Stopping;
        }
        let peer = candidate.peer;
        let Some(holder) = state.links.get(&peer).cloned() else {
            let link = Arc::new(Link::new(candidate, Arc::new(queue())));
            state.links.insert(peer, link.clone());
            return Admission::First(link);
        };
        let newcomer = Trait { dialed: candidate.dialed, relayed: candidate.relay.is_some() };
        let held = Trait { dialed: holder.dialed, relayed: holder.relay.is_some() };
        match judge(self.own, peer, newcomer, held, self.state_of(&holder, &candidate.certificate)) {
            Verdict::Replaces => {
                let link = Arc::new(Link::new(candidate, Arc::new(queue())));
                state.links.insert(peer, link.clone());
                Admission::Replaces(link, holder)
            }
            Verdict::Supersedes => {
                let link = Arc::new(Link::new(candidate, holder.queue.clone()));
                state.links.insert(peer, link.clone());
                retire(&holder, &link);
                Admission::Supersedes(link, holder)
            }
            Verdict::Loses => {
                let link = Arc::new(Link::new(candidate, holder.queue.clone()));
                retire(&link, &holder);
                Admission::Loses(link, holder)
            }
        }
    }

    /// Takes the connections whose messages must be given to the caller before the end of `link` is.
    ///
    /// Under the registry's lock because [`admit`](Self::admit) adds to them only while `link` is open, and `link` asks
    /// only once it is closed: none can be added too late.
    pub(crate) fn take_elders(&self, link: &Link) -> Vec<Arc<Link>> {
        let _state = self.lock();
        std::mem::take(&mut *link.elders())
    }

    /// What a connection that shows `certificate` says about `holder`.
    fn state_of(&self, holder: &Link, certificate: &CertificateDer<'_>) -> Holder {
        match holder.is_open() && holder.certificate == *certificate {
            false => Holder::Gone,
            true if holder.since.elapsed() < self.simultaneous => Holder::Current,
            true => Holder::Old,
        }
    }

    /// Forgets `link`, which has ended, if it is still the pair's connection.
    pub(crate) fn forget(&self, link: &Arc<Link>) {
        let mut state = self.lock();
        if state.links.get(&link.peer).is_some_and(|held| Arc::ptr_eq(held, link)) {
            state.links.remove(&link.peer);
        }
    }

    /// Reserves the right to dial `peer`, who showed `certificate`; ends with [`release_dial`](Self::release_dial).
    ///
    /// # Errors
    ///
    /// We hold a live connection to the same process, or are dialing it. One through a relay does not count for a dial
    /// that is `straight`.
    pub(crate) fn claim_dial(
        &self,
        peer: PeerId,
        certificate: &CertificateDer<'_>,
        straight: bool,
    ) -> Result<(), DialError> {
        let mut state = self.lock();
        let would_improve = |link: &Arc<Link>| straight && link.relay.is_some();
        let connected = |link: &Arc<Link>| link.is_open() && link.certificate == *certificate && !would_improve(link);
        if state.links.get(&peer).is_some_and(connected) {
            Err(DialError::AlreadyConnected(peer))
        } else if state.dialed_peers.insert(peer) {
            Ok(())
        } else {
            Err(DialError::AlreadyDialing)
        }
    }

    pub(crate) fn release_dial(&self, peer: PeerId) {
        self.lock().dialed_peers.remove(&peer);
    }

    /// Reserves the right to dial `addr`.
    ///
    /// # Errors
    ///
    /// We are dialing it, we hold `connections_max`, or are shutting down.
    pub(crate) fn begin_dial(self: &Arc<Self>, addr: SocketAddr, connections_max: usize) -> Result<Place, DialError> {
        let mut state = self.lock();
        if state.stopping {
            return Err(DialError::Stopping);
        }
        if state.places >= connections_max {
            return Err(DialError::Full);
        }
        if !state.dialed_addresses.insert(addr) {
            return Err(DialError::AlreadyDialing);
        }
        state.places += 1;
        Ok(Place { registry: self.clone(), ip: None })
    }

    pub(crate) fn end_dial(&self, addr: SocketAddr) {
        self.lock().dialed_addresses.remove(&addr);
    }

    /// A place for an incoming connection from `ip`.
    ///
    /// # Errors
    ///
    /// One of the limits is reached.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr, max: usize, per_ip_max: usize) -> Result<Place, Refusal> {
        let mut state = self.lock();
        if state.stopping || state.places >= max {
            return Err(Refusal::Full);
        }
        let here = state.places_by_ip.entry(ip).or_insert(0);
        if *here >= per_ip_max {
            return Err(Refusal::FullForAddress);
        }
        *here += 1;
        state.places += 1;
        Ok(Place { registry: self.clone(), ip: Some(ip) })
    }

    /// Connections and handshakes at the moment.
    pub(crate) fn places(&self) -> usize {
        self.lock().places
    }

    /// Takes no more connections. Returns those that are there.
    pub(crate) fn stop(&self) -> Vec<Arc<Link>> {
        let mut state = self.lock();
        state.stopping = true;
        state.links.values().cloned().collect()
    }

    fn leave(&self, ip: Option<IpAddr>) {
        let mut state = self.lock();
        state.places -= 1;
        let Some(ip) = ip else { return };
        let here = state.places_by_ip.get_mut(&ip).expect("whoever leaves has entered");
        *here -= 1;
        if *here == 0 {
            state.places_by_ip.remove(&ip);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the registry")
    }
}

/// A connection's place among `connections_max`, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    registry: Arc<Registry>,
    ip: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.leave(self.ip);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SMALL: PeerId = PeerId([1; 32]);
    const LARGE: PeerId = PeerId([2; 32]);

    fn straight(dialed: bool) -> Trait {
        Trait { dialed, relayed: false }
    }

    fn relayed(dialed: bool) -> Trait {
        Trait { dialed, relayed: true }
    }

    /// What each side does with the connection dialed by `dialer` when it holds the one dialed by the other.
    fn both_sides(dialer: PeerId) -> (Verdict, Verdict) {
        let at =
            |own: PeerId, peer| judge(own, peer, straight(own == dialer), straight(own != dialer), Holder::Current);
        (at(SMALL, LARGE), at(LARGE, SMALL))
    }

    #[test]
    fn both_sides_keep_the_connection_that_the_smaller_dialed() {
        assert_eq!(both_sides(SMALL), (Verdict::Supersedes, Verdict::Supersedes));
        assert_eq!(both_sides(LARGE), (Verdict::Loses, Verdict::Loses));
    }

    #[test]
    fn a_connection_that_its_dialer_has_lost_is_replaced() {
        for holder in [Holder::Gone, Holder::Old] {
            assert_eq!(judge(SMALL, LARGE, straight(false), straight(true), holder), Verdict::Replaces);
        }
        assert_eq!(judge(SMALL, LARGE, straight(false), straight(false), Holder::Current), Verdict::Replaces);
    }

    #[test]
    fn a_straight_connection_beats_a_relayed_one_whoever_dialed() {
        for (new, old) in [(true, true), (true, false), (false, true), (false, false)] {
            for holder in [Holder::Old, Holder::Current] {
                assert_eq!(judge(SMALL, LARGE, straight(new), relayed(old), holder), Verdict::Supersedes);
            }
            assert_eq!(judge(SMALL, LARGE, relayed(new), straight(old), Holder::Current), Verdict::Loses);
            assert_eq!(judge(SMALL, LARGE, straight(new), relayed(old), Holder::Gone), Verdict::Replaces);
        }
    }

    #[test]
    fn places_are_counted_in_all_and_per_address_and_given_back() {
        let registry = Arc::new(Registry::new(SMALL, Duration::from_secs(1)));
        let (home, away) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = registry.enter(home, 2, 1).unwrap();
        assert_eq!(registry.enter(home, 2, 1).unwrap_err(), Refusal::FullForAddress);
        let second = registry.enter(away, 2, 1).unwrap();
        assert_eq!(registry.enter([127, 0, 0, 3].into(), 2, 1).unwrap_err(), Refusal::Full);
        drop(first);
        let third = registry.enter(home, 2, 1).unwrap();
        drop((second, third));
        assert_eq!(registry.places(), 0);
        assert!(registry.lock().places_by_ip.is_empty());
    }

    #[test]
    fn an_address_is_dialed_once_at_a_time() {
        let registry = Arc::new(Registry::new(SMALL, Duration::from_secs(1)));
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        let _place = registry.begin_dial(addr, 4).unwrap();
        assert_eq!(registry.begin_dial(addr, 4).unwrap_err(), DialError::AlreadyDialing);
        registry.end_dial(addr);
        assert!(registry.begin_dial(addr, 4).is_ok());
    }
}
