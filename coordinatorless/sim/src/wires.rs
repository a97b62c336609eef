//! Connections come and go: dials, closings, silence, and the loss of what was silent too long.

use murmur_collectives::PeerId;

use crate::{
    queue::{Happening, Mail, Place},
    swarm::address,
    world::World,
};

impl World {
    /// A dial has had its round trip: either both are connected now, or it fails.
    pub(crate) fn shake_hands(&mut self, from: Place, life: u32, to: Place, expect: Option<PeerId>) {
        if self.machines[from].life != life {
            return;
        }
        let open = self.network.is_open(from, to) && self.machines[to].is_live() && self.machines[from].is_live();
        let open = open && expect.is_none_or(|peer| peer == self.machines[to].id);
        if !open {
            let rest = self.network.handshake_timeout().saturating_sub(self.network.round_trip(from, to));
            return self.post(self.now + rest, from, Mail::DialFailed { address: address(to), retry: true });
        }
        if self.is_connected(from, to) {
            return self.post(self.now, from, Mail::DialFailed { address: address(to), retry: false });
        }
        self.lose(from, to); // an earlier life of one of them left it behind
        self.network.connect([(from, life), (to, self.machines[to].life)]);
        for (one, other) in [(from, to), (to, from)] {
            let peer = self.machines[other].id;
            self.post(self.now, one, Mail::Connected { peer, address: address(other) });
        }
    }

    /// Whether the two are connected, by a connection made in the present life of both.
    fn is_connected(&self, a: Place, b: Place) -> bool {
        self.network.connection(a, b).is_some_and(|connection| !connection.is_orphan)
    }

    /// One side ends a connection. If the other side `offended`, honest peers agree that it should not have.
    pub(crate) fn close(&mut self, at: Place, peer: PeerId, offended: bool) {
        let Some(other) = self.places.get(&peer).copied() else { return };
        if offended {
            self.watch.banned(self.now, at, other, &self.machines);
        }
        self.lose(at, other);
    }

    /// A connection ends; whoever lived with it is told.
    pub(crate) fn lose(&mut self, a: Place, b: Place) {
        let Some(connection) = self.network.disconnect(a, b) else { return };
        for (one, other, life) in [(a, b, connection.life_of(a)), (b, a, connection.life_of(b))] {
            if self.machines[one].life == life {
                let peer = self.machines[other].id;
                self.post(self.now, one, Mail::Disconnected { peer });
            }
        }
    }

    /// The idle timeout of a connection has passed since it fell silent, unless it has carried something since.
    pub(crate) fn notice_loss(&mut self, a: Place, b: Place, number: u64) {
        let silent = |connection: &&crate::network::Connection| {
            let long = connection.silent_since.map(|since| since + self.network.idle_timeout());
            connection.number == number && long.is_some_and(|at| at <= self.now)
        };
        if self.network.connection(a, b).filter(silent).is_some() {
            self.lose(a, b);
        }
    }

    /// Something changed that may separate machines: looks at every connection of `at`, or at all.
    pub(crate) fn listen(&mut self, at: Option<Place>) {
        let touched = |(a, b): &(Place, Place)| at.is_none_or(|at| *a == at || *b == at);
        for (a, b) in self.network.pairs().into_iter().filter(touched) {
            self.listen_to(a, b);
        }
    }

    fn listen_to(&mut self, a: Place, b: Place) {
        let open = self.network.is_open(a, b) && self.machines[a].is_live() && self.machines[b].is_live();
        let (now, idle) = (self.now, self.network.idle_timeout());
        let Some(connection) = self.network.connection_mut(a, b) else { return };
        let open = open && !connection.is_orphan;
        if open == connection.silent_since.is_none() {
            return;
        }
        if open {
            connection.silent_since = None;
            for (from, priority, bytes) in core::mem::take(&mut connection.stalled) {
                self.transmit_once(from, if from == a { b } else { a }, priority, bytes);
            }
        } else {
            connection.silent_since = Some(now);
            let connection = connection.number;
            self.queue.plan(now + idle, Happening::Broken { a, b, connection });
        }
    }
}
