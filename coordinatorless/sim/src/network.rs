//! The simulated network: connections, partitions and message delays.
//!
//! A connection behaves like a QUIC connection with one stream for each message: a message arrives whole or not at all,
//! may overtake others, and comes late after a packet loss. While the path is blocked (partition, stopped process),
//! messages are buffered. A connection silent for the idle timeout is dropped with its buffered messages.

use core::time::Duration;
use std::{collections::BTreeMap, net::SocketAddr};

use murmur_coordinatorless::Time;

use crate::{
    link_profile::{Lane, LinkProfile},
    queue::MachineIndex,
    rng::SeededRng,
    scenario,
};

/// Messages buffered on a silent connection; further ones are dropped, as by a full send queue.
const STALLED_MAX: usize = 1024;

/// Packet size, bytes.
const PACKET_BYTES: u64 = 1200;

/// A connection between two machines.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Distinguishes the connection from earlier and later ones of the same pair: a message in flight on an old one
    /// must not arrive on a new one.
    pub(crate) number: u64,
    /// Since when the path has been blocked.
    pub(crate) silent_since: Option<Time>,
    /// Buffered messages: sender, priority, bytes.
    pub(crate) stalled: Vec<(MachineIndex, usize, Vec<u8>)>,
    /// One process has ended and the other has not noticed yet.
    pub(crate) is_half_open: bool,
    /// The machine that relays its packets; `None` if it is direct.
    pub(crate) relay: Option<MachineIndex>,
    /// Whether the dialed NAT admitted the dial only because of a punched hole.
    pub(crate) is_punched: bool,
    ends: BTreeMap<MachineIndex, End>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The generation of the process that opened the connection.
    pub(crate) generation: u32,
    /// The address at which it sees the other end.
    pub(crate) remote_address: SocketAddr,
}

/// A partition into two sides.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Distinguishes it from earlier and later partitions.
    pub(crate) number: u64,
    side: Vec<bool>,
    one_way: bool,
}

/// All connections, the partition, and the state of every uplink.
#[derive(Debug)]
pub(crate) struct Network {
    settings: scenario::Network,
    /// What every machine's link is, in place of the scenario's latencies, jitter, loss and upload rates.
    link: Option<LinkProfile>,
    seed: u64,
    rng: SeededRng,
    connections: BTreeMap<(MachineIndex, MachineIndex), Connection>,
    count: u64,
    partition: Option<Partition>,
    /// For each machine and priority: when its uplink is free again.
    uplinks: Vec<[Time; 4]>,
    /// The way into each machine; used only with a link profile.
    downlinks: Vec<Lane>,
    is_fault_free: bool,
}

impl Network {
    pub(crate) fn new(settings: scenario::Network, link: Option<LinkProfile>, seed: u64, machines: usize) -> Self {
        Self {
            settings,
            link,
            seed,
            rng: SeededRng::new(seed, "network"),
            connections: BTreeMap::new(),
            count: 0,
            partition: None,
            uplinks: vec![[Time(0); 4]; machines],
            downlinks: link.map_or_else(Vec::new, |link| vec![link.downlink(); machines]),
            is_fault_free: false,
        }
    }

    /// Stops message loss, drops and duplicates.
    pub(crate) fn end_faults(&mut self) {
        self.is_fault_free = true;
    }

    pub(crate) fn connection(&self, a: MachineIndex, b: MachineIndex) -> Option<&Connection> {
        self.connections.get(&ordered(a, b))
    }

    pub(crate) fn connection_mut(&mut self, a: MachineIndex, b: MachineIndex) -> Option<&mut Connection> {
        self.connections.get_mut(&ordered(a, b))
    }

    /// Opens a connection between two running processes.
    pub(crate) fn connect(&mut self, ends: [(MachineIndex, End); 2], relay: Option<MachineIndex>) {
        self.count += 1;
        let connection = Connection {
            number: self.count,
            silent_since: None,
            stalled: Vec::new(),
            is_half_open: false,
            relay,
            is_punched: false,
            ends: ends.into_iter().collect(),
        };
        self.connections.insert(ordered(ends[0].0, ends[1].0), connection);
    }

    pub(crate) fn disconnect(&mut self, a: MachineIndex, b: MachineIndex) -> Option<Connection> {
        self.connections.remove(&ordered(a, b))
    }

    /// Connected pairs.
    pub(crate) fn pairs(&self) -> Vec<(MachineIndex, MachineIndex)> {
        self.connections.keys().copied().collect()
    }

    /// Pairs whose connection one of these machines relays.
    pub(crate) fn relayed_by(&self, relays: [MachineIndex; 2]) -> Vec<(MachineIndex, MachineIndex)> {
        let passed =
            self.connections.iter().filter(|(_, held)| held.relay.is_some_and(|relay| relays.contains(&relay)));
        passed.map(|(pair, _)| *pair).collect()
    }

    /// Partitions the machines into two sides. With `one_way`, packets still get from the `true` side to the other.
    pub(crate) fn partition(&mut self, side: Vec<bool>, one_way: bool) -> u64 {
        self.count += 1;
        self.partition = Some(Partition { number: self.count, side, one_way });
        self.count
    }

    pub(crate) fn partition_number(&self) -> Option<u64> {
        self.partition.as_ref().map(|partition| partition.number)
    }

    pub(crate) fn heal(&mut self) {
        self.partition = None;
    }

    /// Whether the partition lets packets from `a` to `b` through.
    pub(crate) fn delivers(&self, a: MachineIndex, b: MachineIndex) -> bool {
        self.partition
            .as_ref()
            .is_none_or(|partition| partition.side[a] == partition.side[b] || (partition.one_way && partition.side[a]))
    }

    /// Whether packets get through in both directions. A QUIC connection needs both: without acknowledgements it goes
    /// silent.
    pub(crate) fn is_bidirectional(&self, a: MachineIndex, b: MachineIndex) -> bool {
        self.delivers(a, b) && self.delivers(b, a)
    }

    /// Whether a full send queue drops a message.
    pub(crate) fn drops_message(&mut self) -> bool {
        !self.is_fault_free && self.rng.chance(self.settings.drop_percent)
    }

    /// Whether a message arrives twice.
    pub(crate) fn duplicates_message(&mut self) -> bool {
        !self.is_fault_free && self.rng.chance(self.settings.double_percent)
    }

    /// Round-trip time of a direct path.
    pub(crate) fn round_trip(&self, a: MachineIndex, b: MachineIndex) -> Duration {
        2 * self.latency(a, b)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.idle_timeout_ms)
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.handshake_timeout_ms)
    }

    /// Arrival time of a message that `from` sends at `now`. A lost packet delays the whole message by a
    /// retransmission.
    pub(crate) fn arrival(
        &mut self,
        now: Time,
        from: MachineIndex,
        to: MachineIndex,
        priority: usize,
        bytes: usize,
    ) -> Time {
        let jitter = self.jitter();
        let lost = self.loses((bytes as u64).div_ceil(PACKET_BYTES));
        let path_latency = self.path_latency(from, to);
        let retransmission = if lost { 2 * path_latency + Duration::from_millis(25) } else { Duration::ZERO };
        let left = self.departure(now, from, priority, bytes as u64);
        self.through_downlink(left + path_latency + jitter + retransmission, to, bytes as u64)
    }

    /// When a message whose last byte reaches the receiver's downlink at `last` is through it. The first byte came before the
    /// last one by what the uplink took.
    fn through_downlink(&mut self, last: Time, to: MachineIndex, bytes: u64) -> Time {
        let Some(link) = self.link else { return last };
        let since_start = last.since(Time(0));
        let first = since_start.saturating_sub(link.uplink().duration(bytes));
        Time(0) + self.downlinks[to].message(first, since_start, bytes)
    }

    fn jitter(&mut self) -> Duration {
        let micros = self.link.map_or(self.settings.jitter_ms * 1000, |link| link.jitter.as_micros() as u64);
        Duration::from_micros(self.rng.below(micros + 1))
    }

    /// Whether one of so many packets is lost. A lossy link stays lossy when the faults have ended.
    fn loses(&mut self, packets: u64) -> bool {
        match self.link {
            Some(link) => self.rng.below(1_000_000) < (u64::from(link.loss_per_million) * packets).min(900_000),
            None => !self.is_fault_free && self.rng.chance((self.settings.loss_percent * packets).min(90)),
        }
    }

    /// Arrival time of a datagram that `from` sends at `now`; `None` if it is lost.
    pub(crate) fn datagram_arrival(&mut self, now: Time, from: MachineIndex, to: MachineIndex) -> Option<Time> {
        let jitter = self.jitter();
        let lost = self.loses(1);
        (!lost).then(|| now + self.path_latency(from, to) + jitter)
    }

    /// When the last byte of a message leaves the uplink. A message delays all messages of its own and of lower
    /// priority, and none of higher priority.
    fn departure(&mut self, now: Time, from: MachineIndex, priority: usize, bytes: u64) -> Time {
        let rate = self.upload(from);
        let Some(micros) = (bytes * 1000).checked_div(rate) else { return now };
        let duration = Duration::from_micros(micros);
        let free = &mut self.uplinks[from];
        let left = free[priority].max(now) + duration;
        for slot in &mut free[priority..] {
            *slot = (*slot).max(now) + duration;
        }
        left
    }

    /// Upload rate of a machine, bytes per millisecond; 0 means unlimited.
    fn upload(&self, at: MachineIndex) -> u64 {
        if let Some(link) = self.link {
            return link.up_bits_per_second / 8000;
        }
        let [slow, fast] = self.settings.upload_kb_per_s;
        slow + mix(self.seed, at as u64, u64::MAX) % (fast - slow + 1)
    }

    /// One-way latency of the path that the connection uses.
    fn path_latency(&self, a: MachineIndex, b: MachineIndex) -> Duration {
        let relay = self.connection(a, b).and_then(|connection| connection.relay);
        relay.map_or_else(|| self.latency(a, b), |relay| self.latency(a, relay) + self.latency(relay, b))
    }

    fn latency(&self, a: MachineIndex, b: MachineIndex) -> Duration {
        if let Some(link) = self.link {
            return link.one_way_delay();
        }
        let (a, b) = ordered(a, b);
        let [short, long] = self.settings.latency_ms.map(|ms| ms * 1000);
        Duration::from_micros(short + mix(self.seed, a as u64, b as u64) % (long - short + 1))
    }
}

impl Connection {
    /// The generation of the process that opened the connection at `end`.
    pub(crate) fn generation_of(&self, end: MachineIndex) -> u32 {
        self.ends.get(&end).map_or(0, |end| end.generation)
    }

    /// Both ends with their machines.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (MachineIndex, End)> + '_ {
        self.ends.iter().map(|(index, end)| (*index, *end))
    }

    /// Moves the connection from its relayed path to a direct one.
    pub(crate) fn migrate_to_direct(&mut self, ends: [(MachineIndex, End); 2]) {
        (self.relay, self.ends) = (None, ends.into_iter().collect());
    }

    /// Buffers a message until the path is open again.
    pub(crate) fn stall(&mut self, from: MachineIndex, priority: usize, bytes: Vec<u8>) {
        if self.stalled.len() < STALLED_MAX {
            self.stalled.push((from, priority, bytes));
        }
    }
}

fn ordered(a: MachineIndex, b: MachineIndex) -> (MachineIndex, MachineIndex) {
    (a.min(b), a.max(b))
}

/// A hash of three numbers (SplitMix64's finalizer). A hash, and not the generator: latencies must not depend on the
/// order in which they are asked for.
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
        Network::new(settings, None, 1, 2)
    }

    #[test]
    fn an_uplink_takes_time_and_urgent_messages_overtake() {
        let mut net = network(1000);
        assert_eq!(net.arrival(Time(0), 0, 1, 2, 1_000_000), Time(1_010_000));
        assert_eq!(net.arrival(Time(0), 0, 1, 0, 1000), Time(11_000), "control overtakes");
        assert_eq!(net.arrival(Time(0), 0, 1, 2, 1_000_000), Time(2_011_000), "payloads queue");
    }

    #[test]
    fn an_unlimited_uplink_adds_no_delay() {
        assert_eq!(network(0).arrival(Time(7), 0, 1, 3, 1 << 20), Time(10_007));
    }

    #[test]
    fn a_link_profile_shapes_both_directions() {
        let cable = LinkProfile::named("cable").ok();
        let mut net = Network::new(scenario::Network::default(), cable, 1, 3);
        let within = |arrives: Time, least_ms: u64| (least_ms..=least_ms + 2).contains(&(arrives.0 / 1000));
        // A megabyte takes 400 ms up, 80 ms down at the same time, and 10 ms on the way.
        let (first, second) = (net.arrival(Time(0), 0, 2, 2, 1_000_000), net.arrival(Time(0), 1, 2, 2, 1_000_000));
        assert!(within(first, 410), "{first:?}");
        assert!(within(second, 490), "{second:?} has to share the receiver's downlink with the first");
    }

    #[test]
    fn a_one_way_partition_blocks_one_direction() {
        let mut net = network(0);
        net.partition(vec![true, false], true);
        assert!(net.delivers(0, 1) && !net.delivers(1, 0) && !net.is_bidirectional(0, 1));
        net.heal();
        assert!(net.is_bidirectional(0, 1));
    }
}
