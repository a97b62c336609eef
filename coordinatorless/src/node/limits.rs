//! What a neighbour may cost this peer: rate limits while it keeps to the protocol, penalties when it does not.
//!
//! Contract: [`Limits::connected`] and [`Limits::disconnected`] follow the connections; between them
//! - [`Limits::admit_message`] and [`Limits::admit_datagram`] are asked before bytes are read;
//! - [`Limits::expect_answer`] is told of every request that this peer sends, so that the answer is let in;
//! - [`Limits::admit_request`] holds back requests beyond the rate, and [`Limits::next_request`] gives them back later;
//!   [`Limits::charge`] is told what an answer cost;
//! - [`Limits::strike`] counts an offence; too many, and [`Event::Banned`] is raised.

mod penalties;
mod rate_limit;

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::{PeerId, Rules};

pub(crate) use self::rate_limit::answer_bytes_max;
use self::{penalties::Penalties, rate_limit::RateLimits};
use super::context::Core;
use crate::{Message, Time};

/// The slowest line worth waiting for: 10 Mbit/s.
const SLOW_BYTES_PER_SECOND: u64 = 1_250_000;

/// What the limits have decided.
#[derive(Debug)]
pub(crate) enum Event {
    /// The peer offended too often: its connection is to be closed, and it is not dialed again.
    Banned(PeerId),
}

/// The limits of every connected peer, and the penalties of those that offended.
#[derive(Default, Debug)]
pub(crate) struct Limits {
    rates: BTreeMap<PeerId, RateLimits>,
    penalties: Penalties,
}

impl Limits {
    /// A connection is up; what was owed on one before it is void.
    pub(crate) fn connected(&mut self, core: &Core, peer: PeerId) {
        self.rates.insert(peer, RateLimits::new(&core.config, core.now));
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        self.rates.remove(peer);
    }

    /// Whether a message of `bytes` is looked at. Beyond the rate it is dropped: its sender floods.
    pub(crate) fn admit_message(&mut self, core: &Core, from: &PeerId, bytes: usize) -> bool {
        let Some(rates) = self.rates.get_mut(from) else { return false };
        rates.admit_message(&core.config, core.now, bytes as u64)
    }

    /// The same for a datagram.
    pub(crate) fn admit_datagram(&mut self, core: &Core, from: &PeerId) -> bool {
        let Some(rates) = self.rates.get_mut(from) else { return false };
        rates.admit_datagram(&core.config, core.now)
    }

    /// Whether one more address told by `from` is looked at.
    pub(crate) fn admit_address(&mut self, core: &Core, from: &PeerId) -> bool {
        self.rates.get_mut(from).is_some_and(|rates| rates.admit_address(core.now))
    }

    /// Notes that `to` is asked for something, and may answer with as many bytes as that takes.
    pub(crate) fn expect_answer(&mut self, rules: &Rules, to: &PeerId, request: &Message) {
        if let Some(rates) = self.rates.get_mut(to) {
            rates.expect(answer_bytes_max(rules, request));
        }
    }

    /// A request came in: gives it back if it is to be answered now, and keeps it for later if not.
    pub(crate) fn admit_request(&mut self, core: &Core, from: &PeerId, request: Message) -> Option<Message> {
        self.rates.get_mut(from)?.admit_request(&core.config, core.now, request)
    }

    /// A request that waited and may be answered now.
    pub(crate) fn next_request(&mut self, core: &Core) -> Option<(PeerId, Message)> {
        self.rates.iter_mut().find_map(|(peer, rates)| Some((*peer, rates.next_request(&core.config, core.now)?)))
    }

    /// An answer to `to` took `bytes`.
    pub(crate) fn charge(&mut self, to: &PeerId, bytes: u64) {
        if let Some(rates) = self.rates.get_mut(to) {
            rates.charge(bytes);
        }
    }

    /// When a request that waits can be answered.
    pub(crate) fn next_deadline(&self, config: &crate::Config) -> Option<Time> {
        self.rates.values().filter_map(|rates| rates.next_deadline(config)).min()
    }

    /// Whether `peer` is not listened to now.
    pub(crate) fn is_banned(&self, peer: &PeerId, now: Time) -> bool {
        self.penalties.is_banned(peer, now)
    }

    /// Counts an offence; too many, and the peer is sent away for a while. Of one that is not connected it is only told.
    pub(crate) fn strike(&mut self, core: &mut Core, peer: PeerId, reason: String) {
        core.tell(crate::Event::BadInput { peer, reason: reason.clone() });
        if !self.rates.contains_key(&peer) {
            return;
        }
        let (strikes_max, ban) = (core.config.strikes_max, core.config.ban);
        if let Some(lasts) = self.penalties.offend(peer, core.now, strikes_max, ban) {
            core.tell(crate::Event::Banned { peer, lasts, reason });
            core.raise(Event::Banned(peer));
        }
    }
}

/// When an answer to `request` is overdue: a slow line needs longer for a long one.
pub(crate) fn overdue_at(core: &Core, rules: &Rules, request: &Message) -> Time {
    let bytes = answer_bytes_max(rules, request);
    let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / SLOW_BYTES_PER_SECOND);
    core.now + core.config.request_timeout + takes
}
