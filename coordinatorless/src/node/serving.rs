//! How much of this peer's time and line one neighbour may take: what comes in is metered, by messages and by bytes that
//! nobody asked for, and requests beyond the meter wait their turn, so that no neighbour is served at the cost of others.

use core::time::Duration;
use std::collections::VecDeque;

use murmur_collectives::{FOUNDATION_BYTES_MAX, HEADER_BYTES_MAX, PeerId};
use murmur_kernels::BLOB_CHUNK;

use super::{Node, gossip::ANSWER_BYTES};
use crate::{MANIFEST_BYTES_MAX, Message, Output, Time, message::UNPACKED_BYTES_MAX};

/// Answers that one neighbour may owe at a time, in bytes, unless a single one is longer.
const EXPECTED_BYTES_MAX: u64 = 32 << 20;

/// Bytes a message takes beside what it carries, at most.
const SPARE_BYTES: usize = 1024;

/// The slowest line worth waiting for: 10 Mbit/s.
const SLOW_BYTES_PER_SECOND: u64 = 1_250_000;

/// Requests of one neighbour that may wait, at most; it asks again for those beyond.
const WAITING_MAX: usize = 64;

/// A token bucket in virtual time. It may be overdrawn by what was only known afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
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
pub(super) struct Intake {
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

impl Intake {
    pub(super) fn new(config: &crate::Config, now: Time) -> Self {
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

    /// Whether a message of so many bytes is looked at: an answer, or within what a neighbour may send unasked.
    fn admits_bytes(&mut self, bytes: u64, rate: u64, now: Time) -> bool {
        let answered = bytes.min(self.expected_bytes);
        self.expected_bytes -= answered;
        let open = bytes == answered || self.received_bytes.is_open(rate, now);
        if open {
            self.received_bytes.charge(bytes - answered);
        }
        open
    }

    /// Whether one more address of this neighbour is looked at.
    pub(super) fn admits_address(&mut self, now: Time) -> bool {
        self.addresses.admit(ADDRESSES_PER_SECOND, now)
    }
}

impl Node {
    /// Whether a message of `from` is looked at. What is beyond the meters is dropped: its sender floods.
    pub(super) fn accept_message(&mut self, from: &PeerId, bytes: usize) -> bool {
        let (now, messages, received) =
            (self.now, self.config.messages_per_second, self.config.received_bytes_per_second);
        let Some(neighbour) = self.neighbours.entry(from) else { return false };
        neighbour.heard_at = now;
        let intake = &mut neighbour.intake;
        intake.messages.admit(messages, now) && intake.admits_bytes(bytes as u64, received, now)
    }

    /// Notes that `to` is asked for something, and may answer with as many bytes as that takes.
    pub(super) fn expect_answer(&mut self, to: &PeerId, request: &Message) {
        let bytes = self.answer_bytes(request);
        if let Some(neighbour) = self.neighbours.entry(to) {
            let expected = &mut neighbour.intake.expected_bytes;
            *expected = expected.saturating_add(bytes).min(EXPECTED_BYTES_MAX.max(bytes));
        }
    }

    /// When an answer to `request` is overdue: a slow line needs longer for a long one.
    pub(super) fn overdue_at(&self, request: &Message) -> Time {
        let takes = Duration::from_micros(self.answer_bytes(request).saturating_mul(1_000_000) / SLOW_BYTES_PER_SECOND);
        self.now + self.config.request_timeout + takes
    }

    /// The longest answer to a request, in bytes; 0 for what is no request.
    fn answer_bytes(&self, request: &Message) -> u64 {
        let rules = self.fold.rules();
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

    /// The same for a datagram.
    pub(super) fn accept_datagram(&mut self, from: &PeerId) -> bool {
        let (now, rate) = (self.now, self.config.datagrams_per_second);
        let Some(neighbour) = self.neighbours.entry(from) else { return false };
        neighbour.heard_at = now;
        neighbour.intake.datagrams.admit(rate, now)
    }

    /// Answers a request now if its sender's meter allows, else later.
    pub(super) fn serve(&mut self, from: PeerId, request: Message) {
        let (now, rate) = (self.now, self.config.served_bytes_per_second);
        let Some(neighbour) = self.neighbours.entry(&from) else { return };
        let intake = &mut neighbour.intake;
        if intake.waiting.is_empty() && intake.served_bytes.is_open(rate, now) {
            self.answer(from, request);
        } else if intake.waiting.len() < WAITING_MAX {
            intake.waiting.push_back(request);
        }
    }

    fn answer(&mut self, from: PeerId, request: Message) {
        let before = self.outputs.len();
        self.on_request(from, request);
        let answers = self.outputs.iter().skip(before).filter_map(|output| {
            let Output::Send { to, bytes, .. } = output else { return None };
            (*to == from).then_some(bytes.len() as u64)
        });
        let spent: u64 = answers.sum();
        if let Some(neighbour) = self.neighbours.entry(&from) {
            neighbour.intake.served_bytes.charge(spent);
        }
    }

    /// Answers requests that waited.
    pub(super) fn serving_due(&mut self) {
        let (now, rate) = (self.now, self.config.served_bytes_per_second);
        let peers: Vec<PeerId> = self.neighbours.iter_all().map(|(peer, _)| peer).collect();
        for peer in peers {
            while let Some(request) = self.neighbours.entry(&peer).and_then(|neighbour| {
                let open = !neighbour.intake.waiting.is_empty() && neighbour.intake.served_bytes.is_open(rate, now);
                open.then(|| neighbour.intake.waiting.pop_front()).flatten()
            }) {
                self.answer(peer, request);
            }
        }
    }

    /// When a request that waits can be answered.
    pub(super) fn next_serving(&self) -> Option<Time> {
        let rate = self.config.served_bytes_per_second;
        let waiting = self.neighbours.iter_all().filter(|(_, neighbour)| !neighbour.intake.waiting.is_empty());
        waiting.map(|(_, neighbour)| neighbour.intake.served_bytes.opens_at(rate)).min()
    }
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
        let (config, rate) = (crate::Config { received_bytes_per_second: 100, ..crate::Config::default() }, 100);
        let mut intake = Intake::new(&config, Time(0));
        let through = (0..1000).filter(|_| intake.admits_bytes(50, rate, Time(0))).count();
        assert_eq!(through, 4, "two seconds' worth");
        assert!(!intake.admits_bytes(1, rate, Time(0)));
        intake.expected_bytes = 5000;
        assert!(intake.admits_bytes(4000, rate, Time(0)), "an answer");
        assert!(!intake.admits_bytes(4000, rate, Time(0)), "more than was asked for");
        assert!(intake.admits_bytes(4000, rate, Time(1_000_000)), "but the meter opens again");
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
