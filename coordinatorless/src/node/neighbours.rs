//! Who this peer is connected to, who it knows of, and who it sent away.

use std::{collections::BTreeMap, net::SocketAddr};

use murmur_collectives::{Hash, PeerId, VersionVector};

use super::Node;
use crate::{Closing, Event, Message, Output, PeerAddress, Time};

/// Addresses remembered, at most.
const ADDRESSES_MAX: usize = 1024;

/// Attempts to reach a lost neighbour again, each after twice the time.
const REDIALS_MAX: u32 = 6;

/// What is known of a connected peer.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    /// What it is known to hold, at least.
    pub(super) known: VersionVector,
    /// State root of exactly `digest_vector`, by its own account.
    pub(super) digest: Option<(VersionVector, Hash)>,
    /// Whether it has said what it holds. Until then it may be a stranger who only asks for the manifest.
    greeted: bool,
    /// It will author nothing more unless something new arrives.
    pub(super) idle: bool,
    /// It is about to leave.
    pub(super) finishing: bool,
    pub(super) checkpoint: Option<crate::CheckpointName>,
    strikes: u32,
}

/// A peer to dial again.
#[derive(Clone, Copy, Debug)]
struct Redial {
    at: Time,
    attempts: u32,
}

/// The book of peers.
#[derive(Default, Debug)]
pub(super) struct Neighbours {
    connected: BTreeMap<PeerId, Neighbour>,
    addresses: BTreeMap<PeerId, SocketAddr>,
    redials: BTreeMap<SocketAddr, Redial>,
    banned_until: BTreeMap<PeerId, Time>,
}

impl Neighbours {
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer)
    }

    pub(super) fn entry(&mut self, peer: &PeerId) -> Option<&mut Neighbour> {
        self.connected.get_mut(peer)
    }

    /// Connected peers, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Neighbour)> {
        self.connected.iter().map(|(peer, neighbour)| (*peer, neighbour))
    }

    pub(super) fn len(&self) -> usize {
        self.connected.len()
    }

    /// Notes that `peer` holds the first `count` entries of `author`.
    pub(super) fn note(&mut self, peer: &PeerId, author: PeerId, count: u32) {
        if let Some(neighbour) = self.connected.get_mut(peer) {
            neighbour.known.raise(author, count);
        }
    }

    /// Bytes of what is known of others.
    pub(super) fn held_bytes(&self) -> usize {
        let claims = |neighbour: &Neighbour| {
            let digest = neighbour.digest.as_ref().map_or(0, |(vector, _)| super::footprint::vector_bytes(vector));
            let checkpoint = neighbour.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.vector.len() * 36);
            super::footprint::vector_bytes(&neighbour.known) + digest + checkpoint
        };
        let connected: usize = self.connected.values().map(|n| size_of::<Neighbour>() + claims(n)).sum();
        let known = self.addresses.len() + self.redials.len() + self.banned_until.len();
        connected + known * size_of::<(PeerId, SocketAddr)>()
    }

    pub(super) fn next_redial(&self) -> Option<Time> {
        self.redials.values().map(|redial| redial.at).min()
    }
}

impl Node {
    /// Peers connected now, ascending.
    pub fn neighbours(&self) -> Vec<PeerId> {
        self.neighbours.iter().map(|(peer, _)| peer).collect()
    }

    pub(super) fn on_connected(&mut self, peer: PeerId, address: SocketAddr) {
        let banned = self.neighbours.banned_until.get(&peer).is_some_and(|until| *until > self.now);
        let full = self.neighbours.len() >= self.config.neighbours_max;
        let unwelcome =
            [(self.fold.is_evicted(&peer), Closing::Evicted), (banned, Closing::Misbehaved), (full, Closing::Full)];
        if let Some((_, reason)) = unwelcome.into_iter().find(|(applies, _)| *applies) {
            self.outputs.push_back(Output::Close { peer, reason });
            return;
        }
        self.neighbours.redials.remove(&address);
        self.remember(peer, address);
        let fresh = Neighbour {
            known: VersionVector::default(),
            digest: None,
            greeted: false,
            idle: false,
            finishing: false,
            checkpoint: None,
            strikes: 0,
        };
        self.neighbours.connected.insert(peer, fresh);
        self.send_digest(peer, true);
        self.introduce_others(peer);
    }

    /// The first digest makes a connection a neighbour.
    pub(super) fn on_greeted(&mut self, peer: PeerId) {
        let Some(neighbour) = self.neighbours.entry(&peer) else { return };
        if !core::mem::replace(&mut neighbour.greeted, true) {
            self.tell(Event::Joined { peer });
        }
    }

    fn forget(&mut self, peer: PeerId) -> bool {
        let Some(neighbour) = self.neighbours.connected.remove(&peer) else { return false };
        self.forget_requests_to(peer);
        if neighbour.greeted {
            self.tell(Event::Departed { peer });
        }
        neighbour.greeted
    }

    fn remember(&mut self, peer: PeerId, address: SocketAddr) {
        if self.neighbours.addresses.len() < ADDRESSES_MAX || self.neighbours.addresses.contains_key(&peer) {
            self.neighbours.addresses.insert(peer, address);
        }
    }

    fn introduce_others(&mut self, to: PeerId) {
        let others = self.neighbours.connected.keys().filter(|peer| **peer != to);
        let known = others.filter_map(|peer| Some(PeerAddress::new(*peer, *self.neighbours.addresses.get(peer)?)));
        let peers: Vec<PeerAddress> = known.take(self.config.neighbours_max).collect();
        if !peers.is_empty() {
            self.send(to, &Message::Peers { peers });
        }
    }

    pub(super) fn on_peers(&mut self, from: PeerId, peers: &[PeerAddress]) {
        if peers.len() > ADDRESSES_MAX {
            return self.strike(from, format!("{} addresses at once", peers.len()));
        }
        for told in peers {
            let (peer, address) = (told.peer, told.address());
            let allowed = !self.config.loopback_only || address.ip().is_loopback();
            let wanted = peer != self.id() && !self.neighbours.is_connected(&peer) && !self.fold.is_evicted(&peer);
            if allowed && wanted && self.neighbours.len() < self.config.neighbours_max {
                self.outputs.push_back(Output::Dial { address });
            }
        }
    }

    pub(super) fn on_introduced(&mut self, address: SocketAddr) {
        self.outputs.push_back(Output::Dial { address });
    }

    pub(super) fn on_dial_failed(&mut self, address: SocketAddr, retry: bool) {
        if !retry {
            self.neighbours.redials.remove(&address);
            return;
        }
        let attempts = self.neighbours.redials.get(&address).map_or(0, |redial| redial.attempts);
        self.redial_later(address, attempts + 1);
    }

    pub(super) fn on_disconnected(&mut self, peer: PeerId) {
        let was_neighbour = self.forget(peer);
        let address = self.neighbours.addresses.get(&peer).copied();
        if let Some(address) = address.filter(|_| was_neighbour && !self.fold.is_evicted(&peer)) {
            self.redial_later(address, 0);
        }
    }

    pub(super) fn on_goodbye(&mut self, from: PeerId) {
        self.neighbours.addresses.remove(&from);
        self.on_disconnected(from);
        self.outputs.push_back(Output::Close { peer: from, reason: Closing::Goodbye });
    }

    fn redial_later(&mut self, address: SocketAddr, attempts: u32) {
        if attempts >= REDIALS_MAX || self.finish.is_begun() {
            self.neighbours.redials.remove(&address);
            return;
        }
        let wait = core::time::Duration::from_secs(1 << attempts);
        self.neighbours.redials.insert(address, Redial { at: self.now + wait, attempts });
    }

    pub(super) fn redial_due(&mut self) {
        let now = self.now;
        let due: Vec<SocketAddr> =
            self.neighbours.redials.iter().filter(|(_, redial)| redial.at <= now).map(|(a, _)| *a).collect();
        for address in due {
            if let Some(redial) = self.neighbours.redials.get_mut(&address) {
                redial.at = Time(u64::MAX); // until the dial succeeds or fails
            }
            self.outputs.push_back(Output::Dial { address });
        }
    }

    /// Counts an offence; too many, and the peer is sent away for a while.
    pub(super) fn strike(&mut self, peer: PeerId, reason: String) {
        self.tell(Event::BadInput { peer, reason });
        let Some(neighbour) = self.neighbours.connected.get_mut(&peer) else { return };
        neighbour.strikes += 1;
        if neighbour.strikes >= self.config.strikes_max {
            let until = self.now + self.config.ban;
            self.neighbours.banned_until.insert(peer, until);
            self.send_away(peer, Closing::Misbehaved);
        }
    }

    /// Ends the connection with `peer` and does not seek it again.
    pub(super) fn send_away(&mut self, peer: PeerId, reason: Closing) {
        if let Some(address) = self.neighbours.addresses.remove(&peer) {
            self.neighbours.redials.remove(&address);
        }
        if self.neighbours.is_connected(&peer) {
            self.forget(peer);
            self.outputs.push_back(Output::Close { peer, reason });
        }
    }
}
