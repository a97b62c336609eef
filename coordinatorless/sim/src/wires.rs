//! Connections end: closings, silence, and the loss of what was silent too long.

use murmur_collectives::PeerId;

use crate::{
    queue::{Happening, Mail, Place},
    world::World,
};

impl World {
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
        connection.ends().for_each(|(at, end)| self.translators.let_close(at, end.sees, self.now));
        self.listen_beyond(a, b);
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
        let via = |a, b| self.network.connection(a, b).and_then(|connection| connection.via);
        let touched = |(a, b): &(Place, Place)| at.is_none_or(|at| *a == at || *b == at || via(*a, *b) == Some(at));
        let touched: Vec<(Place, Place)> = self.network.pairs().into_iter().filter(touched).collect();
        for (a, b) in touched {
            self.listen_to(a, b);
        }
    }

    /// A connection came or went: looks at those that one of its ends passes on.
    pub(crate) fn listen_beyond(&mut self, a: Place, b: Place) {
        if self.translators.have_relays() {
            let relayed = self.network.relayed_by([a, b]);
            relayed.into_iter().for_each(|(c, d)| self.listen_to(c, d));
        }
    }

    /// Whether packets get through between two machines, straight or passed on by a third.
    pub(crate) fn gets_through(&self, a: Place, b: Place, via: Option<Place>) -> bool {
        let open =
            |a: Place, b: Place| self.network.is_open(a, b) && self.machines[a].is_live() && self.machines[b].is_live();
        let hop = |a, b| {
            let straight = self.network.connection(a, b).filter(|hop| !hop.is_orphan && hop.via.is_none());
            open(a, b) && straight.is_some()
        };
        via.map_or_else(|| open(a, b), |relay| hop(a, relay) && hop(relay, b))
    }

    fn listen_to(&mut self, a: Place, b: Place) {
        let via = self.network.connection(a, b).and_then(|connection| connection.via);
        let open = self.gets_through(a, b, via);
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
