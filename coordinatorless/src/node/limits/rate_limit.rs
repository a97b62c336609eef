//! Rate limits of one neighbour: token buckets for messages, datagrams, addresses, bytes that it sends unasked, and
//! bytes of answers to it. A request beyond the last bucket is queued, so that one neighbour cannot use up the uplink
//! of the others.

use std::collections::VecDeque;

use murmur_collectives::{FOUNDATION_BYTES_MAX, HEADER_BYTES_MAX};
use murmur_kernels::BLOB_CHUNK;

use crate::{
    Config, MANIFEST_BYTES_MAX, Time,
    message::{ANSWER_BYTES, LIST_PART_MAX, Request, UNPACKED_BYTES_MAX},
    node::context::Core,
};

/// The bytes of answers that one neighbour may owe at a time, at most, unless a single answer is larger.
const OWED_BYTES_MAX: u64 = 32 << 20;

/// The same in messages. Large blobs come as many messages of one chunk each, faster than the rate for messages allows.
const OWED_MESSAGES_MAX: u64 = 2048;

/// The bytes of a message beside its payload, at most.
const OVERHEAD_BYTES: usize = 1024;

/// The number of queued requests of one neighbour, at most. Further ones are dropped, and the neighbour asks again
/// after its timeout.
const QUEUED_REQUESTS_MAX: usize = 64;

/// A token bucket in virtual time. The level may become negative, because the size of an answer is only known
/// afterwards.
#[derive(Clone, Copy, Debug)]
struct TokenBucket {
    /// In millionths of a token, so that a refill per microsecond is exact.
    level: i128,
    at: Time,
}

impl TokenBucket {
    /// A full bucket: it gains `rate` tokens per second and holds the tokens of two seconds.
    pub(super) fn full(rate: u64, now: Time) -> Self {
        Self { level: i128::from(rate) * 2_000_000, at: now }
    }

    /// Adds the tokens gained since the last call.
    fn refill(&mut self, rate: u64, now: Time) {
        let gained = now.since(self.at).as_micros().min(1 << 60) as i128 * i128::from(rate);
        self.level = (self.level + gained).min(i128::from(rate) * 2_000_000);
        self.at = self.at.max(now);
    }

    /// Whether the bucket holds any tokens at `now`.
    pub(super) fn has_tokens(&mut self, rate: u64, now: Time) -> bool {
        self.refill(rate, now);
        self.level > 0
    }

    /// Takes tokens, below zero if need be.
    pub(super) fn charge(&mut self, tokens: u64) {
        self.level -= i128::from(tokens) * 1_000_000;
    }

    /// Takes one token if the bucket holds any.
    pub(super) fn try_take(&mut self, rate: u64, now: Time) -> bool {
        let has_room = self.has_tokens(rate, now);
        if has_room {
            self.charge(1);
        }
        has_room
    }

    /// The time at which the bucket holds a token again.
    fn refilled_at(&self, rate: u64) -> Time {
        let lacking = (-self.level).max(0) + 1_000_000;
        let micros = lacking / i128::from(rate.max(1)) + 1;
        Time(self.at.0.saturating_add(u64::try_from(micros).unwrap_or(u64::MAX)))
    }
}

/// The token buckets of one neighbour, and its queued requests.
#[derive(Debug)]
pub(super) struct RateLimits {
    messages: TokenBucket,
    datagrams: TokenBucket,
    addresses: TokenBucket,
    served_bytes: TokenBucket,
    received_bytes: TokenBucket,
    /// The bytes of answers that this neighbour still owes. They pass the bucket for received bytes.
    expected_bytes: u64,
    /// The messages of these answers. They pass the bucket for messages.
    expected_messages: u64,
    queued: VecDeque<Request>,
}

/// The number of addresses per second that one neighbour may send.
const ADDRESSES_PER_SECOND: u64 = 32;

impl RateLimits {
    /// Full buckets.
    pub(super) fn new(config: &Config, now: Time) -> Self {
        Self {
            messages: TokenBucket::full(config.messages_per_second, now),
            datagrams: TokenBucket::full(config.datagrams_per_second, now),
            addresses: TokenBucket::full(ADDRESSES_PER_SECOND, now),
            served_bytes: TokenBucket::full(config.served_bytes_per_second, now),
            received_bytes: TokenBucket::full(config.received_bytes_per_second, now),
            expected_bytes: 0,
            expected_messages: 0,
            queued: VecDeque::new(),
        }
    }

    /// Takes tokens for a message of `bytes`, if there are any.
    pub(super) fn admit_message(&mut self, config: &Config, now: Time, bytes: u64) -> bool {
        let is_expected = self.expected_messages > 0 && bytes <= self.expected_bytes;
        if is_expected {
            self.expected_messages -= 1;
        }
        (self.messages.try_take(config.messages_per_second, now) || is_expected)
            && self.admit_bytes(bytes, config.received_bytes_per_second, now)
    }

    /// Takes a token for a datagram, if there is one.
    pub(super) fn admit_datagram(&mut self, config: &Config, now: Time) -> bool {
        self.datagrams.try_take(config.datagrams_per_second, now)
    }

    /// Takes a token for an address, if there is one.
    pub(super) fn admit_address(&mut self, now: Time) -> bool {
        self.addresses.try_take(ADDRESSES_PER_SECOND, now)
    }

    /// Admits bytes that belong to an expected answer, and other bytes as the bucket allows.
    fn admit_bytes(&mut self, bytes: u64, rate: u64, now: Time) -> bool {
        let answered = bytes.min(self.expected_bytes);
        self.expected_bytes -= answered;
        let has_room = bytes == answered || self.received_bytes.has_tokens(rate, now);
        if has_room {
            self.received_bytes.charge(bytes - answered);
        }
        has_room
    }

    /// Expects an answer of up to `bytes` in up to `messages`. The caps keep a neighbour that never answers from saving up an
    /// allowance for a flood.
    pub(super) fn expect_answer(&mut self, bytes: u64, messages: u64) {
        self.expected_messages = self.expected_messages.saturating_add(messages).min(OWED_MESSAGES_MAX);
        self.expected_bytes = self.expected_bytes.saturating_add(bytes).min(OWED_BYTES_MAX.max(bytes));
    }

    /// Returns `request` if the bucket for answers holds tokens. Otherwise queues it, unless the queue is full.
    pub(super) fn admit_request(&mut self, config: &Config, now: Time, request: Request) -> Option<Request> {
        if self.queued.is_empty() && self.served_bytes.has_tokens(config.served_bytes_per_second, now) {
            return Some(request);
        }
        if self.queued.len() < QUEUED_REQUESTS_MAX {
            self.queued.push_back(request);
        }
        None
    }

    /// The oldest queued request, if the bucket for answers holds tokens.
    pub(super) fn next_request(&mut self, config: &Config, now: Time) -> Option<Request> {
        let has_room = !self.queued.is_empty() && self.served_bytes.has_tokens(config.served_bytes_per_second, now);
        has_room.then(|| self.queued.pop_front()).flatten()
    }

    /// Takes the tokens for an answer of `bytes`.
    pub(super) fn charge(&mut self, bytes: u64) {
        self.served_bytes.charge(bytes);
    }

    /// The time at which a queued request can be answered.
    pub(super) fn next_deadline(&self, config: &Config) -> Option<Time> {
        (!self.queued.is_empty()).then(|| self.served_bytes.refilled_at(config.served_bytes_per_second))
    }
}

/// The size of the largest answer to a request, in bytes.
pub(super) fn answer_bytes_max(core: &Core, request: &Request) -> u64 {
    let (rules, in_message) = (&core.rules, core.config.payload_in_message_max);
    let answer_bytes = match request {
        Request::Entries(want) if want.payloads => {
            let payload = murmur_kernels::payload_bytes_max(rules.top_k(), rules.parameter_count());
            let entry = HEADER_BYTES_MAX.saturating_add(payload.min(in_message));
            entry.saturating_add(ANSWER_BYTES.min(entry.saturating_mul(want.count as usize)))
        }
        Request::Entries(want) => {
            HEADER_BYTES_MAX.saturating_mul(want.count as usize).min(ANSWER_BYTES + HEADER_BYTES_MAX)
        }
        Request::Chunks { indices, .. } => indices.len() * (BLOB_CHUNK + OVERHEAD_BYTES),
        Request::ChunkList { .. } => {
            let hashes = rules.parameter_count().div_ceil(BLOB_CHUNK / 8).max(FOUNDATION_BYTES_MAX / BLOB_CHUNK);
            hashes.min(LIST_PART_MAX) * 32
        }
        Request::ChunkHashes { .. } => LIST_PART_MAX * 32,
        Request::Certificates { .. } | Request::Frontier { .. } => UNPACKED_BYTES_MAX,
        Request::Manifest { .. } => MANIFEST_BYTES_MAX,
    };
    answer_bytes as u64 + OVERHEAD_BYTES as u64
}

/// The number of messages of an answer, at most.
pub(super) fn answer_messages_max(request: &Request) -> u64 {
    if let Request::Chunks { indices, .. } = request { indices.len() as u64 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_admits_its_rate_and_no_more() {
        let mut bucket = TokenBucket::full(10, Time(0));
        let admitted = (0..10_000u64).filter(|n| bucket.try_take(10, Time(n * 1000))).count();
        assert!((119..=121).contains(&admitted), "two seconds' worth at once, then ten a second: {admitted}");
    }

    #[test]
    fn an_expected_answer_passes_an_empty_bucket() {
        let (config, rate) = (Config { received_bytes_per_second: 100, ..Config::default() }, 100);
        let mut limits = RateLimits::new(&config, Time(0));
        let admitted = (0..1000).filter(|_| limits.admit_bytes(50, rate, Time(0))).count();
        assert_eq!(admitted, 4, "two seconds' worth");
        assert!(!limits.admit_bytes(1, rate, Time(0)));
        limits.expected_bytes = 5000;
        assert!(limits.admit_bytes(4000, rate, Time(0)), "an answer");
        assert!(!limits.admit_bytes(4000, rate, Time(0)), "more than was requested");
        assert!(limits.admit_bytes(4000, rate, Time(1_000_000)), "the bucket has refilled");
    }

    #[test]
    fn an_overdrawn_bucket_names_the_time_of_its_next_token() {
        let mut bucket = TokenBucket::full(10, Time(0));
        bucket.charge(120);
        assert!(!bucket.has_tokens(10, Time(9_000_000)));
        let refilled = bucket.refilled_at(10);
        assert!(!bucket.has_tokens(10, Time(refilled.0 - 200_000)));
        assert!(bucket.has_tokens(10, refilled), "{refilled:?}");
        assert!(bucket.refilled_at(0) > refilled, "a rate of zero is not divided by");
    }
}
