//! Connections are made: dials through address translators and through volunteers, and what takes over from what.

use core::time::Duration;
use std::net::SocketAddr;

use murmur_collectives::PeerId;

use crate::{
    nat::stand_in,
    network::End,
    queue::{Dial, Happening, Mail, Place, Way},
    world::World,
};

/// How soon a dial sends its first packets again.
const AGAIN: Duration = Duration::from_millis(200);

impl World {
    /// A machine dials an address.
    pub(crate) fn dial(&mut self, at: Place, address: SocketAddr, expect: Option<PeerId>) {
        match self.translators.place_of(address).filter(|to| *to != at) {
            Some(to) => {
                self.translators.opens(at, address, self.now);
                let round_trip = self.network.round_trip(at, to);
                self.begin_dial(at, to, Way::Straight(address), expect, round_trip);
            }
            None => self.post(self.now, at, Mail::DialFailed { address, retry: false }),
        }
    }

    /// A machine dials another one through a third.
    pub(crate) fn dial_through(&mut self, at: Place, relay: PeerId, peer: PeerId) {
        let places = [&relay, &peer].map(|peer| self.places.get(peer).copied().filter(|place| *place != at));
        if let [Some(relay), Some(to)] = places {
            let round_trip = self.network.round_trip(at, relay) + self.network.round_trip(relay, to);
            self.begin_dial(at, to, Way::Through(relay), Some(peer), round_trip);
        }
    }

    fn begin_dial(&mut self, from: Place, to: Place, way: Way, expect: Option<PeerId>, round_trip: Duration) {
        let dial = Dial { to, way, expect, ends: self.now + self.network.handshake_timeout() };
        let life = self.machines[from].life;
        self.queue.plan(self.now + round_trip, Happening::Handshake { from, life, dial });
    }

    /// The first packets of a dial have had their round trip: either both are connected now, or they are sent again, or the
    /// dial fails.
    pub(crate) fn shake_hands(&mut self, from: Place, dial: Dial) {
        let is_whom = dial.expect.is_none_or(|peer| peer == self.machines[dial.to].id);
        let answered = match dial.way {
            Way::Straight(address) => {
                let seen = self.translators.opens(from, address, self.now);
                self.gets_through(from, dial.to, None) && self.translators.lets_in(dial.to, address, seen, self.now)
            }
            Way::Through(relay) => self.translators.volunteers(relay) && self.gets_through(from, dial.to, Some(relay)),
        };
        // Where nobody is behind a translator, once is enough: what separates machines there lasts longer than a dial.
        let again = self.now + AGAIN;
        if answered && is_whom {
            self.meet_at(from, dial);
        } else if is_whom && again <= dial.ends && !self.translators.are_all_open() {
            let life = self.machines[from].life;
            self.queue.plan(again, Happening::Handshake { from, life, dial });
        } else if let Way::Straight(address) = dial.way {
            self.post(self.now.max(dial.ends), from, Mail::DialFailed { address, retry: true });
        }
    }

    /// A dial was answered: makes its connection, unless there is one that is as good.
    fn meet_at(&mut self, from: Place, dial: Dial) {
        let to = dial.to;
        let held = self.network.connection(from, to).filter(|held| !held.is_orphan).map(|held| held.via);
        match (dial.way, held) {
            (Way::Straight(address), Some(None)) => {
                self.post(self.now, from, Mail::DialFailed { address, retry: false });
            }
            (Way::Through(_), Some(_)) => {}
            (Way::Straight(address), Some(Some(_))) => self.straighten(from, to, address),
            (Way::Straight(address), None) => {
                self.lose(from, to); // an earlier life of one of them left it behind
                let ends = self.see(from, to, address);
                self.connect(ends, None);
                self.mark(from, to);
            }
            (Way::Through(relay), None) => {
                self.lose(from, to);
                let end = |at: Place, other| (at, End { life: self.machines[at].life, sees: stand_in(relay, other) });
                self.connect([end(from, to), end(to, from)], Some(relay));
            }
        }
    }

    /// Both ends of a straight connection to `address`, whose translators stay open.
    fn see(&mut self, from: Place, to: Place, address: SocketAddr) -> [(Place, End); 2] {
        let seen = self.translators.opens(from, address, self.now);
        self.translators.opens(to, seen, self.now);
        [(from, address), (to, seen)].map(|(at, sees)| {
            self.translators.keep_open(at, sees);
            (at, End { life: self.machines[at].life, sees })
        })
    }

    /// Notes whether the straight connection that `from` dialed took a hole.
    fn mark(&mut self, from: Place, to: Place) {
        let is_punched = self.translators.is_strict(to);
        if let Some(connection) = self.network.connection_mut(from, to) {
            connection.is_punched = is_punched;
        }
    }

    fn connect(&mut self, ends: [(Place, End); 2], via: Option<Place>) {
        self.network.connect(ends, via);
        let relay = via.map(|relay| self.machines[relay].id);
        let [(a, _), (b, _)] = ends;
        for ((at, end), other) in ends.into_iter().zip([b, a]) {
            let peer = self.machines[other].id;
            self.post(self.now, at, Mail::Connected { peer, address: end.sees, relay });
        }
        self.listen_beyond(a, b);
    }

    /// A straight connection takes over from a relayed one, with all that is under way on it.
    fn straighten(&mut self, from: Place, to: Place, address: SocketAddr) {
        self.figures.moved += 1;
        let ends = self.see(from, to, address);
        if let Some(connection) = self.network.connection_mut(from, to) {
            connection.straighten(ends);
        }
        self.mark(from, to);
        for ((at, end), other) in ends.into_iter().zip([to, from]) {
            let peer = self.machines[other].id;
            self.post(self.now, at, Mail::Moved { peer, address: end.sees });
        }
        self.post(self.now, from, Mail::DialFailed { address, retry: false });
        self.listen(Some(from));
        self.listen_beyond(from, to);
    }
}
