//! How much of this peer's time and line one neighbour may take: what comes in is metered, and requests beyond the meter
//! wait their turn, so that no neighbour is served at the cost of others.

use std::collections::VecDeque;

use murmur_collectives::PeerId;

use super::Node;
use crate::{Message, Output, Time};

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
            waiting: VecDeque::new(),
        }
    }

    /// Whether one more address of this neighbour is looked at.
    pub(super) fn admits_address(&mut self, now: Time) -> bool {
        self.addresses.admit(ADDRESSES_PER_SECOND, now)
    }
}

impl Node {
    /// Whether a message of `from` is looked at. What is beyond the meter is dropped: its sender floods.
    pub(super) fn accept_message(&mut self, from: &PeerId) -> bool {
        let (now, rate) = (self.now, self.config.messages_per_second);
        let Some(neighbour) = self.neighbours.entry(from) else { return false };
        neighbour.heard_at = now;
        neighbour.intake.messages.admit(rate, now)
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
        for peer in self.neighbours() {
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
        let waiting = self.neighbours.iter().filter(|(_, neighbour)| !neighbour.intake.waiting.is_empty());
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
