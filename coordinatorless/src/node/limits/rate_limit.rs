//! How much of this peer's time and line one neighbour may take: what comes in is metered, by messages and by bytes that
//! nobody asked for, and requests beyond the meter wait their turn, so that no neighbour is served at the cost of others.

use std::collections::VecDeque;

use murmur_collectives::{FOUNDATION_BYTES_MAX, HEADER_BYTES_MAX, Rules};
use murmur_kernels::BLOB_CHUNK;

use crate::{
    Config, MANIFEST_BYTES_MAX, Message, Time,
    message::{ANSWER_BYTES, UNPACKED_BYTES_MAX},
};

/// Answers that one neighbour may owe at a time, in bytes, unless a single one is longer.
const EXPECTED_BYTES_MAX: u64 = 32 << 20;

/// Bytes a message takes beside what it carries, at most.
const SPARE_BYTES: usize = 1024;

/// Requests of one neighbour that may wait, at most; it asks again for those beyond.
const WAITING_MAX: usize = 64;

/// A token bucket in virtual time. It may be overdrawn by what was only known afterwards.
#[derive(Clone, Copy, Debug)]
struct Meter {
    /// Tokens times a million.
    level: i128,
    at: Time,
}

impl Meter {
    /// A full one: `rate` tokens a second, two seconds' worth at once.
    pub(super) fn full(rate: u64, now: Time) -> Self {
        Self { level: i128::from(rate) * 2_000_000, at: now }
    }

    fn refill(&mut self, rate: u64, now: Time) {
        let gained = now.since(self.at).as_micros().min(1 << 60) as i128 * i128::from(rate);
        self.level = (self.level + gained).min(i128::from(rate) * 2_000_000);
        self.at = self.at.max(now);
    }

    /// Whether there is anything left.
    pub(super) fn is_open(&mut self, rate: u64, now: Time) -> bool {
        self.refill(rate, now);
        self.level > 0
    }

    pub(super) fn charge(&mut self, tokens: u64) {
        self.level -= i128::from(tokens) * 1_000_000;
    }

    /// Takes one token if there is one.
    pub(super) fn admit(&mut self, rate: u64, now: Time) -> bool {
        let open = self.is_open(rate, now);
        if open {
            self.charge(1);
        }
        open
    }

    /// When there will be something left.
    fn opens_at(&self, rate: u64) -> Time {
        let lacking = (-self.level).max(0) + 1_000_000;
        let micros = lacking / i128::from(rate.max(1)) + 1;
        Time(self.at.0.saturating_add(u64::try_from(micros).unwrap_or(u64::MAX)))
    }
}

/// One neighbour's meters.
#[derive(Debug)]
pub(super) struct RateLimits {
    messages: Meter,
    datagrams: Meter,
    addresses: Meter,
    served_bytes: Meter,
    received_bytes: Meter,
    /// Bytes of answers that may still come to what this peer asked.
    expected_bytes: u64,
    waiting: VecDeque<Message>,
}

/// Addresses taken from one neighbour, a second.
const ADDRESSES_PER_SECOND: u64 = 32;

impl RateLimits {
    pub(super) fn new(config: &Config, now: Time) -> Self {
        Self {
            messages: Meter::full(config.messages_per_second, now),
            datagrams: Meter::full(config.datagrams_per_second, now),
            addresses: Meter::full(ADDRESSES_PER_SECOND, now),
            served_bytes: Meter::full(config.served_bytes_per_second, now),
            received_bytes: Meter::full(config.received_bytes_per_second, now),
            expected_bytes: 0,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn admit_message(&mut self, config: &Config, now: Time, bytes: u64) -> bool {
        self.messages.admit(config.messages_per_second, now)
            && self.admit_bytes(bytes, config.received_bytes_per_second, now)
    }

    pub(super) fn admit_datagram(&mut self, config: &Config, now: Time) -> bool {
        self.datagrams.admit(config.datagrams_per_second, now)
    }

    pub(super) fn admit_address(&mut self, now: Time) -> bool {
        self.addresses.admit(ADDRESSES_PER_SECOND, now)
    }

    /// An answer, or within what a neighbour may send unasked.
    fn admit_bytes(&mut self, bytes: u64, rate: u64, now: Time) -> bool {
        let answered = bytes.min(self.expected_bytes);
        self.expected_bytes -= answered;
        let open = bytes == answered || self.received_bytes.is_open(rate, now);
        if open {
            self.received_bytes.charge(bytes - answered);
        }
        open
    }

    /// An answer of up to `bytes` may come.
    pub(super) fn expect(&mut self, bytes: u64) {
        self.expected_bytes = self.expected_bytes.saturating_add(bytes).min(EXPECTED_BYTES_MAX.max(bytes));
    }

    /// Gives `request` back if it may be answered now; else keeps it, if not too many wait.
    pub(super) fn admit_request(&mut self, config: &Config, now: Time, request: Message) -> Option<Message> {
        if self.waiting.is_empty() && self.served_bytes.is_open(config.served_bytes_per_second, now) {
            return Some(request);
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(request);
        }
        None
    }

    /// A request that waited, if it may be answered now.
    pub(super) fn next_request(&mut self, config: &Config, now: Time) -> Option<Message> {
        let open = !self.waiting.is_empty() && self.served_bytes.is_open(config.served_bytes_per_second, now);
        open.then(|| self.waiting.pop_front()).flatten()
    }

    pub(super) fn charge(&mut self, bytes: u64) {
        self.served_bytes.charge(bytes);
    }

    /// When a request that waits can be answered.
    pub(super) fn next_deadline(&self, config: &Config) -> Option<Time> {
        (!self.waiting.is_empty()).then(|| self.served_bytes.opens_at(config.served_bytes_per_second))
    }
}

/// The longest answer to a request, in bytes; 0 for what is no request.
pub(crate) fn answer_bytes_max(rules: &Rules, request: &Message) -> u64 {
    let longest = match request {
        Message::Want(want) if want.payloads => {
            let payload = murmur_kernels::payload_bytes_max(rules.top_k(), rules.parameter_count());
            let entry = HEADER_BYTES_MAX.saturating_add(payload);
            entry.saturating_add(ANSWER_BYTES.min(entry.saturating_mul(want.count as usize)))
        }
        Message::Want(want) => {
            HEADER_BYTES_MAX.saturating_mul(want.count as usize).min(ANSWER_BYTES + HEADER_BYTES_MAX)
        }
        Message::WantChunks { indices, .. } => indices.len() * (BLOB_CHUNK + SPARE_BYTES),
        Message::WantChunkList { .. } => {
            rules.parameter_count().div_ceil(BLOB_CHUNK / 8).max(FOUNDATION_BYTES_MAX / BLOB_CHUNK) * 32
        }
        Message::WantCertificates { .. } | Message::WantFrontier { .. } => UNPACKED_BYTES_MAX,
        Message::WantManifest { .. } => MANIFEST_BYTES_MAX,
        Message::Absent { .. }
        | Message::Announce { .. }
        | Message::Candidates { .. }
        | Message::Certificates { .. }
        | Message::Chunk { .. }
        | Message::ChunkList { .. }
        | Message::Digest(_)
        | Message::Entries { .. }
        | Message::Frontier(_)
        | Message::Goodbye
        | Message::Manifest { .. }
        | Message::Meet { .. }
        | Message::Observed { .. }
        | Message::Peers { .. }
        | Message::Punch { .. }
        | Message::Votes { .. } => return 0,
    };
    longest as u64 + SPARE_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_lets_through_its_rate_and_no_more() {
        let mut meter = Meter::full(10, Time(0));
        let through = (0..10_000u64).filter(|n| meter.admit(10, Time(n * 1000))).count();
        assert!((119..=121).contains(&through), "two seconds' worth at once, then ten a second: {through}");
    }

    #[test]
    fn what_was_asked_for_comes_in_whatever_was_sent_unasked() {
        let (config, rate) = (Config { received_bytes_per_second: 100, ..Config::default() }, 100);
        let mut limits = RateLimits::new(&config, Time(0));
        let through = (0..1000).filter(|_| limits.admit_bytes(50, rate, Time(0))).count();
        assert_eq!(through, 4, "two seconds' worth");
        assert!(!limits.admit_bytes(1, rate, Time(0)));
        limits.expected_bytes = 5000;
        assert!(limits.admit_bytes(4000, rate, Time(0)), "an answer");
        assert!(!limits.admit_bytes(4000, rate, Time(0)), "more than was asked for");
        assert!(limits.admit_bytes(4000, rate, Time(1_000_000)), "but the meter opens again");
    }

    #[test]
    fn an_overdrawn_meter_says_when_it_opens() {
        let mut meter = Meter::full(10, Time(0));
        meter.charge(120);
        assert!(!meter.is_open(10, Time(9_000_000)));
        let opens = meter.opens_at(10);
        assert!(!meter.is_open(10, Time(opens.0 - 200_000)));
        assert!(meter.is_open(10, opens), "{opens:?}");
        assert!(meter.opens_at(0) > opens, "a rate of nothing never divides by nothing");
    }
}
