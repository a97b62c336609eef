//! Rate limits for a neighbour that follows the protocol, penalties for one that does not.
//!
//! Contract: [`Limits::connected`] and [`Limits::disconnected`] follow the connections. Between the two calls
//! - the node asks [`Limits::admit_message`] or [`Limits::admit_datagram`] before it decodes any bytes;
//! - every request that this peer sends is reported to [`Limits::expect_answer`], so that the answer passes the rate
//!   limit;
//! - [`Limits::admit_request`] queues a request beyond the rate, and [`Limits::next_request`] returns it when tokens
//!   are available again; [`Limits::charge`] takes the tokens for an answer;
//! - [`Limits::strike`] counts an offence, and raises [`Event::Banned`] when the neighbour has committed too many.

mod penalties;
mod rate_limit;

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::PeerId;

use self::{
    penalties::Penalties,
    rate_limit::{RateLimits, answer_bytes_max, answer_messages_max},
};
use super::context::Core;
use crate::{Time, message::Request};

/// The slowest link for which this peer waits: 10 Mbit/s.
const SLOWEST_LINK_BYTES_PER_SECOND: u64 = 1_250_000;

/// A decision of the limits that the machines above must carry out.
#[derive(Debug)]
pub(crate) enum Event {
    /// The peer committed too many offences. The node closes the connection and does not dial the peer again.
    Banned(PeerId),
}

/// The rate limits of every connected peer, and the penalties of the peers that committed offences.
#[derive(Default, Debug)]
pub(crate) struct Limits {
    rates: BTreeMap<PeerId, RateLimits>,
    penalties: Penalties,
}

impl Limits {
    /// A connection to `peer` came up. Its token buckets start full, and answers expected on an older connection are
    /// void.
    pub(crate) fn connected(&mut self, core: &Core, peer: PeerId) {
        self.rates.insert(peer, RateLimits::new(&core.config, core.now));
    }

    /// The connection to `peer` is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        self.rates.remove(peer);
    }

    /// Takes tokens for a message of `bytes` and says whether to decode it. The node drops a message beyond the rate.
    pub(crate) fn admit_message(&mut self, core: &Core, from: &PeerId, bytes: usize) -> bool {
        let Some(rates) = self.rates.get_mut(from) else { return false };
        rates.admit_message(&core.config, core.now, bytes as u64)
    }

    /// Takes a token for a datagram and says whether to decode it.
    pub(crate) fn admit_datagram(&mut self, core: &Core, from: &PeerId) -> bool {
        let Some(rates) = self.rates.get_mut(from) else { return false };
        rates.admit_datagram(&core.config, core.now)
    }

    /// Takes a token for one address that `from` sent and says whether to store it.
    pub(crate) fn admit_address(&mut self, core: &Core, from: &PeerId) -> bool {
        self.rates.get_mut(from).is_some_and(|rates| rates.admit_address(core.now))
    }

    /// Records that this peer sent `request` to `to`, and lets the largest possible answer pass the byte limit.
    pub(crate) fn expect_answer(&mut self, core: &Core, to: &PeerId, request: &Request) {
        if let Some(rates) = self.rates.get_mut(to) {
            rates.expect_answer(answer_bytes_max(core, request), answer_messages_max(request));
        }
    }

    /// Returns `request` if `from` has tokens for an answer now. Otherwise the request is queued for
    /// [`Limits::next_request`].
    pub(crate) fn admit_request(&mut self, core: &Core, from: &PeerId, request: Request) -> Option<Request> {
        self.rates.get_mut(from)?.admit_request(&core.config, core.now, request)
    }

    /// The next queued request whose sender has tokens for an answer now.
    pub(crate) fn next_request(&mut self, core: &Core) -> Option<(PeerId, Request)> {
        self.rates.iter_mut().find_map(|(peer, rates)| Some((*peer, rates.next_request(&core.config, core.now)?)))
    }

    /// Takes the tokens for an answer of `bytes` to `to`. They are taken afterwards because the size is not known
    /// before.
    pub(crate) fn charge(&mut self, to: &PeerId, bytes: u64) {
        if let Some(rates) = self.rates.get_mut(to) {
            rates.charge(bytes);
        }
    }

    /// The time at which [`Limits::next_request`] can return a request.
    pub(crate) fn next_deadline(&self, config: &crate::Config) -> Option<Time> {
        self.rates.values().filter_map(|rates| rates.next_deadline(config)).min()
    }

    /// Whether `peer` is banned at `now`.
    pub(crate) fn is_banned(&self, peer: &PeerId, now: Time) -> bool {
        self.penalties.is_banned(peer, now)
    }

    /// Counts an offence of `peer` and reports it. Too many offences ban the peer; see [`Event::Banned`].
    ///
    /// An offence of a peer that is not connected is only reported: it no longer takes any resources.
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

/// The deadline for an answer to `request`: the timeout plus the time that the largest answer takes on the slowest
/// link.
pub(crate) fn overdue_at(core: &Core, request: &Request) -> Time {
    let bytes = answer_bytes_max(core, request);
    core.now + core.config.request_timeout + longest_transfer(bytes)
}

/// How long `bytes` take on the slowest link.
pub(crate) fn longest_transfer(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / SLOWEST_LINK_BYTES_PER_SECOND)
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests;
