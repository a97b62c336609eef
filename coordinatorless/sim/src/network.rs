//! The simulated network: which machines are connected, what separates them, and how long messages take.
//!
//! A connection is what QUIC gives: messages arrive whole or not at all, may overtake each other, and come late when a
//! packet is lost. While nothing gets through (a partition, a stopped process), messages wait; a connection that
//! carries nothing for the idle timeout is lost with all that waits.

use core::time::Duration;
use std::{collections::BTreeMap, net::SocketAddr};

use murmur_coordinatorless::Time;

use crate::{dice::Dice, queue::Place, scenario};

/// Messages that wait on a silent connection, at most; more are dropped, as by a full queue.
const STALLED_MAX: usize = 1024;

/// Bytes of a packet.
const PACKET_BYTES: u64 = 1200;

/// A connection of two machines.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Tells it from earlier and later ones of the same two.
    pub(crate) number: u64,
    /// Since when it carries nothing.
    pub(crate) silent_since: Option<Time>,
    /// What waits: sender, priority, bytes.
    pub(crate) stalled: Vec<(Place, usize, Vec<u8>)>,
    /// The process at one end has ended, and the other has not noticed yet.
    pub(crate) is_orphan: bool,
    /// The machine that passes its packets on, if they do not go straight.
    pub(crate) via: Option<Place>,
    /// Whether the one that was dialed let the other in only because it had called it itself.
    pub(crate) is_punched: bool,
    ends: BTreeMap<Place, End>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The life in which the machine made the connection.
    pub(crate) life: u32,
    /// Where it sees the other end.
    pub(crate) sees: SocketAddr,
}

/// A partition.
#[derive(Debug)]
pub(crate) struct Split {
    /// Tells it from others.
    pub(crate) number: u64,
    side: Vec<bool>,
    one_way: bool,
}

/// All connections and what separates machines.
#[derive(Debug)]
pub(crate) struct Network {
    settings: scenario::Network,
    seed: u64,
    dice: Dice,
    connections: BTreeMap<(Place, Place), Connection>,
    count: u64,
    split: Option<Split>,
    /// For each machine and priority: when its uplink is free again.
    uplinks: Vec<[Time; 4]>,
    calm: bool,
}

impl Network {
    pub(crate) fn new(settings: scenario::Network, seed: u64, machines: usize) -> Self {
        Self {
            settings,
            seed,
            dice: Dice::new(seed, "network"),
            connections: BTreeMap::new(),
            count: 0,
            split: None,
            uplinks: vec![[Time(0); 4]; machines],
            calm: false,
        }
    }

    /// From now on nothing is lost, dropped or doubled.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
    }

    pub(crate) fn connection(&self, a: Place, b: Place) -> Option<&Connection> {
        self.connections.get(&ordered(a, b))
    }

    pub(crate) fn connection_mut(&mut self, a: Place, b: Place) -> Option<&mut Connection> {
        self.connections.get_mut(&ordered(a, b))
    }

    /// Makes a new connection between two machines in their present lives.
    pub(crate) fn connect(&mut self, ends: [(Place, End); 2], via: Option<Place>) {
        self.count += 1;
        let connection = Connection {
            number: self.count,
            silent_since: None,
            stalled: Vec::new(),
            is_orphan: false,
            via,
            is_punched: false,
            ends: ends.into_iter().collect(),
        };
        self.connections.insert(ordered(ends[0].0, ends[1].0), connection);
    }

    pub(crate) fn disconnect(&mut self, a: Place, b: Place) -> Option<Connection> {
        self.connections.remove(&ordered(a, b))
    }

    /// Pairs that are connected.
    pub(crate) fn pairs(&self) -> Vec<(Place, Place)> {
        self.connections.keys().copied().collect()
    }

    /// Pairs whose packets one of these machines passes on.
    pub(crate) fn relayed_by(&self, relays: [Place; 2]) -> Vec<(Place, Place)> {
        let passed = self.connections.iter().filter(|(_, held)| held.via.is_some_and(|via| relays.contains(&via)));
        passed.map(|(pair, _)| *pair).collect()
    }

    /// Splits the machines into two parts.
    pub(crate) fn split(&mut self, side: Vec<bool>, one_way: bool) -> u64 {
        self.count += 1;
        self.split = Some(Split { number: self.count, side, one_way });
        self.count
    }

    pub(crate) fn split_number(&self) -> Option<u64> {
        self.split.as_ref().map(|split| split.number)
    }

    pub(crate) fn heal(&mut self) {
        self.split = None;
    }

    /// Whether packets from `a` reach `b`.
    pub(crate) fn reaches(&self, a: Place, b: Place) -> bool {
        self.split.as_ref().is_none_or(|split| split.side[a] == split.side[b] || (split.one_way && split.side[a]))
    }

    /// Whether packets get through in both directions.
    pub(crate) fn is_open(&self, a: Place, b: Place) -> bool {
        self.reaches(a, b) && self.reaches(b, a)
    }

    /// Whether a message is dropped by a full queue on its way out.
    pub(crate) fn drops(&mut self) -> bool {
        !self.calm && self.dice.happens(self.settings.drop_percent)
    }

    /// Whether a message comes twice.
    pub(crate) fn doubles(&mut self) -> bool {
        !self.calm && self.dice.happens(self.settings.double_percent)
    }

    /// Time for a packet to go and an answer to come.
    pub(crate) fn round_trip(&self, a: Place, b: Place) -> Duration {
        2 * self.latency(a, b)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.idle_timeout_ms)
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.handshake_timeout_ms)
    }

    /// When a message that leaves `from` now is there.
    pub(crate) fn arrival(&mut self, now: Time, from: Place, to: Place, priority: usize, bytes: usize) -> Time {
        let jitter = Duration::from_micros(self.dice.below(self.settings.jitter_ms * 1000 + 1));
        let packets = (bytes as u64).div_ceil(PACKET_BYTES);
        let lost = !self.calm && self.dice.happens((self.settings.loss_percent * packets).min(90));
        let way = self.way(from, to);
        let again = if lost { 2 * way + Duration::from_millis(25) } else { Duration::ZERO };
        self.leaves(now, from, priority, bytes as u64) + way + jitter + again
    }

    /// When a datagram that leaves `from` now is there; never, if it is lost.
    pub(crate) fn datagram_arrival(&mut self, now: Time, from: Place, to: Place) -> Option<Time> {
        let jitter = Duration::from_micros(self.dice.below(self.settings.jitter_ms * 1000 + 1));
        let lost = !self.calm && self.dice.happens(self.settings.loss_percent);
        (!lost).then(|| now + self.way(from, to) + jitter)
    }

    /// When the last byte of a message has left: urgent messages overtake those that wait.
    fn leaves(&mut self, now: Time, from: Place, priority: usize, bytes: u64) -> Time {
        let rate = self.upload(from);
        let Some(micros) = (bytes * 1000).checked_div(rate) else { return now };
        let took = Duration::from_micros(micros);
        let free = &mut self.uplinks[from];
        let left = free[priority].max(now) + took;
        for slot in &mut free[priority..] {
            *slot = (*slot).max(now) + took;
        }
        left
    }

    /// Upload of a machine in bytes a millisecond; 0 means unlimited.
    fn upload(&self, at: Place) -> u64 {
        let [slow, fast] = self.settings.upload_kb_per_s;
        slow + mix(self.seed, at as u64, u64::MAX) % (fast - slow + 1)
    }

    /// How long a packet of the connection of the two takes.
    fn way(&self, a: Place, b: Place) -> Duration {
        let via = self.connection(a, b).and_then(|connection| connection.via);
        via.map_or_else(|| self.latency(a, b), |relay| self.latency(a, relay) + self.latency(relay, b))
    }

    fn latency(&self, a: Place, b: Place) -> Duration {
        let (a, b) = ordered(a, b);
        let [short, long] = self.settings.latency_ms.map(|ms| ms * 1000);
        Duration::from_micros(short + mix(self.seed, a as u64, b as u64) % (long - short + 1))
    }
}

impl Connection {
    /// The life in which the machine at `end` made the connection.
    pub(crate) fn life_of(&self, end: Place) -> u32 {
        self.ends.get(&end).map_or(0, |end| end.life)
    }

    /// Who is at its ends.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (Place, End)> + '_ {
        self.ends.iter().map(|(place, end)| (*place, *end))
    }

    /// Its packets go straight from now on.
    pub(crate) fn straighten(&mut self, ends: [(Place, End); 2]) {
        (self.via, self.ends) = (None, ends.into_iter().collect());
    }

    /// Keeps a message until the connection carries something again.
    pub(crate) fn stall(&mut self, from: Place, priority: usize, bytes: Vec<u8>) {
        if self.stalled.len() < STALLED_MAX {
            self.stalled.push((from, priority, bytes));
        }
    }
}

fn ordered(a: Place, b: Place) -> (Place, Place) {
    (a.min(b), a.max(b))
}

/// A number that follows from three, the same whenever it is asked for (SplitMix64's finalizer).
fn mix(seed: u64, a: u64, b: u64) -> u64 {
    let mut x = seed ^ a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(upload: u64) -> Network {
        let settings = scenario::Network {
            latency_ms: [10, 10],
            jitter_ms: 0,
            loss_percent: 0,
            upload_kb_per_s: [upload, upload],
            ..scenario::Network::default()
        };
        Network::new(settings, 1, 2)
    }

    #[test]
    fn a_link_takes_its_time_and_urgent_messages_do_not_wait_for_others() {
        let mut net = network(1000);
        assert_eq!(net.arrival(Time(0), 0, 1, 2, 1_000_000), Time(1_010_000));
        assert_eq!(net.arrival(Time(0), 0, 1, 0, 1000), Time(11_000), "control overtakes");
        assert_eq!(net.arrival(Time(0), 0, 1, 2, 1_000_000), Time(2_011_000), "payloads queue");
    }

    #[test]
    fn an_unlimited_link_takes_only_its_latency() {
        assert_eq!(network(0).arrival(Time(7), 0, 1, 3, 1 << 20), Time(10_007));
    }

    #[test]
    fn a_one_way_partition_cuts_one_way() {
        let mut net = network(0);
        net.split(vec![true, false], true);
        assert!(net.reaches(0, 1) && !net.reaches(1, 0) && !net.is_open(0, 1));
        net.heal();
        assert!(net.is_open(0, 1));
    }
}
