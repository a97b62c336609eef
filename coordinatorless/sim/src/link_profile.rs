//! Profiles of a peer's access to the internet: how fast, how far, how lossy. Pure data, of which the simulator makes simulated
//! links and the benchmarks make shaped ones for real processes, with one [`Lane`] for both.

use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The link of one peer. With several peers of one profile, a packet passes the sender's uplink, then the way, and then the
/// receiver's downlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkProfile {
    /// What users call it.
    pub name: &'static str,
    /// To the peer, bits per second; 0 means as fast as the machine.
    pub down_bits_per_second: u64,
    /// From the peer, bits per second; 0 means as fast as the machine.
    pub up_bits_per_second: u64,
    /// From one peer to another and back, both of this profile, without waiting in queues.
    pub round_trip: Duration,
    /// The most that a packet may come later than the others, on top.
    pub jitter: Duration,
    /// Packets lost on the way, each direction, per million.
    pub loss_per_million: u32,
    /// How much traffic a modem holds before it drops packets, as the time it takes to send it. None is held where the rate is
    /// not limited.
    pub buffer: Duration,
    /// The largest IP packet, bytes.
    pub packet_bytes_max: u16,
    /// Where the numbers come from.
    pub source: &'static str,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const MBIT: u64 = 1_000_000;

/// All profiles, from the best link to the worst. The buffers of home links are a tenth of a second: long enough for one
/// connection to fill the link at any round trip here, and short of the seconds that bad modems hold.
pub const PROFILES: [LinkProfile; 7] = [
    LinkProfile {
        name: "loopback",
        down_bits_per_second: 0,
        up_bits_per_second: 0,
        round_trip: ms(0),
        jitter: ms(0),
        loss_per_million: 0,
        buffer: ms(0),
        packet_bytes_max: 65_535,
        source: "peers on one machine: nothing is added to what the machine takes; the packet size is that of Linux's loopback",
    },
    LinkProfile {
        name: "lan",
        down_bits_per_second: 1000 * MBIT,
        up_bits_per_second: 1000 * MBIT,
        round_trip: Duration::from_micros(400),
        jitter: Duration::from_micros(50),
        loss_per_million: 0,
        buffer: ms(5),
        packet_bytes_max: 1500,
        source: "gigabit Ethernet (IEEE 802.3ab) through one switch; the round trip is what two wired hosts commonly show",
    },
    LinkProfile {
        name: "cable",
        down_bits_per_second: 100 * MBIT,
        up_bits_per_second: 20 * MBIT,
        round_trip: ms(20),
        jitter: ms(2),
        loss_per_million: 0,
        buffer: ms(100),
        packet_bytes_max: 1500,
        source: "100/20 Mbit/s is what the FCC calls broadband since 2024 (FCC 24-27); 20 ms as a cable modem within one region",
    },
    LinkProfile {
        name: "dsl",
        down_bits_per_second: 50 * MBIT,
        up_bits_per_second: 10 * MBIT,
        round_trip: ms(40),
        jitter: ms(3),
        loss_per_million: 100,
        buffer: ms(100),
        packet_bytes_max: 1492,
        source: "VDSL2 (ITU-T G.993.2) as sold at 50/10 Mbit/s, with interleaving on; packets are shortened by PPPoE (RFC 2516)",
    },
    LinkProfile {
        name: "mobile",
        down_bits_per_second: 12 * MBIT,
        up_bits_per_second: 12 * MBIT,
        round_trip: ms(70),
        jitter: ms(15),
        loss_per_million: 1000,
        buffer: ms(300),
        packet_bytes_max: 1500,
        source: "WebPageTest's profile `LTE`: 12/12 Mbit/s, 70 ms; jitter, loss and the deep buffer are ours",
    },
    LinkProfile {
        name: "intercontinental",
        down_bits_per_second: 100 * MBIT,
        up_bits_per_second: 100 * MBIT,
        round_trip: ms(200),
        jitter: ms(5),
        loss_per_million: 500,
        buffer: ms(100),
        packet_bytes_max: 1500,
        source: "good links at both ends of 20,000 km of fibre and back, at two thirds of the speed of light",
    },
    LinkProfile {
        name: "lossy",
        down_bits_per_second: 50 * MBIT,
        up_bits_per_second: 10 * MBIT,
        round_trip: ms(60),
        jitter: ms(20),
        loss_per_million: 20_000,
        buffer: ms(100),
        packet_bytes_max: 1500,
        source: "ours: bad Wi-Fi in front of a home link; two lost packets of a hundred are where loss-driven senders starve",
    },
];

/// A name that no profile has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no link profile `{name}`; the nearest is `{nearest}`")]
pub struct UnknownProfile {
    /// What was asked for.
    pub name: String,
    /// The most similar name.
    pub nearest: &'static str,
}

impl LinkProfile {
    /// The profile of this name.
    ///
    /// # Errors
    /// [`UnknownProfile`] names the nearest.
    pub fn named(name: &str) -> Result<Self, UnknownProfile> {
        if let Some(profile) = PROFILES.iter().find(|profile| profile.name == name) {
            return Ok(*profile);
        }
        let likeness = |profile: &LinkProfile| strsim::normalized_damerau_levenshtein(name, profile.name);
        let best = PROFILES.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let nearest = best.map_or("loopback", |profile| profile.name);
        Err(UnknownProfile { name: name.to_owned(), nearest })
    }

    /// From one peer to another, without waiting in queues.
    pub fn one_way_delay(&self) -> Duration {
        self.round_trip / 2
    }

    /// Whether packets of this link are delayed or lost, which needs more than a limit of the rate.
    pub fn delays_or_loses(&self) -> bool {
        !self.round_trip.is_zero() || !self.jitter.is_zero() || self.loss_per_million > 0
    }

    /// The way out of a peer.
    pub fn uplink(&self) -> Lane {
        Lane::new(self.up_bits_per_second, self.buffer)
    }

    /// The way into a peer.
    pub fn downlink(&self) -> Lane {
        Lane::new(self.down_bits_per_second, self.buffer)
    }
}

/// Files hold the name.
impl Serialize for LinkProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for LinkProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// One direction of a link: sends at its rate, one after the other, and holds what has to wait. Times count from any common
/// moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    bits_per_second: u64,
    buffer: Duration,
    free: Duration,
}

impl Lane {
    /// An idle lane. A rate of 0 means no limit.
    pub fn new(bits_per_second: u64, buffer: Duration) -> Self {
        Self { bits_per_second, buffer, free: Duration::ZERO }
    }

    /// How long so many bytes take to send.
    pub fn duration(&self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 8_000_000_000).checked_div(u128::from(self.bits_per_second));
        Duration::from_nanos(u64::try_from(nanos.unwrap_or(0)).unwrap_or(u64::MAX))
    }

    /// A packet arrives at `now`: when its last byte is through; nothing if the buffer is full and drops it.
    pub fn packet(&mut self, now: Duration, bytes: u64) -> Option<Duration> {
        if self.bits_per_second == 0 {
            return Some(now);
        }
        let begins = self.free.max(now);
        if begins - now > self.buffer {
            return None;
        }
        self.free = begins + self.duration(bytes);
        Some(self.free)
    }

    /// A message of many packets arrives from `first` to `last`, all of which wait as long as it takes: when its last byte is
    /// through. Packets that are here are sent while others are still to come.
    pub fn message(&mut self, first: Duration, last: Duration, bytes: u64) -> Duration {
        let sent = self.free.max(first) + self.duration(bytes);
        self.free = sent.max(last);
        self.free
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_and_others_name_the_nearest() {
        for profile in PROFILES {
            assert_eq!(LinkProfile::named(profile.name), Ok(profile));
            assert!(!profile.source.is_empty() && profile.packet_bytes_max >= 1280, "{}", profile.name);
            assert!(profile.jitter <= profile.one_way_delay(), "{}: a packet never comes early", profile.name);
        }
        let nearest = |name| LinkProfile::named(name).unwrap_err().nearest;
        assert_eq!([nearest("cabel"), nearest("mobil"), nearest("WAN lossy")], ["cable", "mobile", "lossy"]);
    }

    #[test]
    fn a_lane_sends_at_its_rate_and_drops_what_its_buffer_cannot_hold() {
        let mut lane = Lane::new(8 * MBIT, ms(2));
        assert_eq!(lane.packet(ms(10), 1000), Some(ms(11)));
        assert_eq!(lane.packet(ms(10), 1000), Some(ms(12)));
        assert_eq!(lane.packet(ms(10), 1000), Some(ms(13)), "it waits for two milliseconds, just as long as it may");
        assert_eq!(lane.packet(ms(10), 1000), None);
        assert_eq!(lane.packet(ms(20), 1000), Some(ms(21)), "and is idle again later");
        assert_eq!(Lane::new(0, ms(0)).packet(ms(5), 1 << 40), Some(ms(5)));
    }

    #[test]
    fn a_message_passes_a_fast_lane_while_it_comes_and_a_slow_one_after() {
        let (mut fast, mut slow) = (Lane::new(80 * MBIT, ms(0)), Lane::new(8 * MBIT, ms(0)));
        assert_eq!(fast.message(ms(0), ms(50), 10_000), ms(50));
        assert_eq!(slow.message(ms(0), ms(5), 10_000), ms(10));
        assert_eq!(slow.message(ms(0), ms(5), 10_000), ms(20), "one after the other");
    }
}
