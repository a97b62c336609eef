//! The newest report of every local peer, and the rounds that follow from them. No clock, no processes.

use std::{collections::BTreeMap, time::Duration};

use super::{dense::allreduce_bytes, presence::Presence};
use crate::observe::views::{Audits, EventLine, Round, petname_of};
use crate::protocol::{Event, EventKind, Fault, Finished, Segment, Started};

/// A peer of another machine that is back within this time never left.
const BACK_WITHIN: Duration = Duration::from_secs(3);

/// What is known of one local peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Seat {
    pub(super) started: Option<Started>,
    pub(super) newest: Option<Segment>,
    pub(super) validation_loss: Option<f64>,
    pub(super) loss_first: Option<f64>,
    pub(super) finished: Option<Finished>,
    pub(super) fault: Option<Fault>,
    pub(super) gone: bool,
    /// Why the launcher ended it, if it did not answer any more.
    pub(super) lost: Option<String>,
}

impl Seat {
    /// Bytes it has sent, by its last report.
    pub(super) fn bytes_sent(&self) -> u64 {
        let segment = self.newest.as_ref().map_or(0, |segment| segment.bytes_sent);
        self.finished.as_ref().map_or(0, |finished| finished.bytes_sent).max(segment)
    }

    /// Tokens per second of its newest segment.
    fn rate(&self) -> Option<f64> {
        let (started, segment) = (self.started.as_ref()?, self.newest.as_ref()?);
        Some((segment.steps * started.step_tokens) as f64 / segment.seconds.max(1e-3))
    }
}

/// Collects reports by peer index and says when a round is over.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) seats: Vec<Seat>,
    presence: Presence,
    /// Peers that left and may come back: until when, and the event to show then.
    departures: BTreeMap<String, (Duration, EventLine)>,
    /// Whether peers leaving is still news.
    draining: bool,
    rounds: u64,
    /// Tokens in the set now.
    pub(super) tokens: u64,
    /// Tokens in the set that the first segment here was based on.
    pub(super) tokens_start: u64,
    /// Tokens at which the next round is over.
    next_round_at: u64,
    pub(super) bytes_allreduce: f64,
    /// When the first screen was shown; no round ends before.
    begun: Option<Duration>,
    /// When the last round ended; absent before the first segment.
    last: Option<Mark>,
}

/// When the last round ended, for rates.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    at: Duration,
    tokens: u64,
}

impl Board {
    /// A board for `peers` peers.
    pub(super) fn new(peers: usize) -> Self {
        Self {
            seats: vec![Seat::default(); peers],
            presence: Presence::default(),
            departures: BTreeMap::new(),
            draining: false,
            rounds: 0,
            tokens: 0,
            tokens_start: 0,
            next_round_at: 0,
            bytes_allreduce: 0.0,
            begun: None,
            last: None,
        }
    }

    /// A peer is up.
    pub(super) fn started(&mut self, index: usize, started: Started) {
        self.presence.child_up(&started.peer_id);
        self.seats[index].started = Some(started);
    }

    /// Whether every peer is up or gone, and one at least is up.
    pub(super) fn ready(&self) -> bool {
        let settled = self.seats.iter().all(|seat| seat.started.is_some() || seat.gone);
        settled && self.up().next().is_some()
    }

    /// The first screen is shown at `now`: rounds may follow, and the time counts.
    pub(super) fn begin(&mut self, now: Duration) {
        self.begun = Some(now);
    }

    /// From now on peers leaving is what was asked for.
    pub(super) fn draining(&mut self) {
        self.draining = true;
    }

    /// A peer finished a segment. `left` is what a time limit leaves. Says the round that is over with it, if any.
    pub(super) fn segment(
        &mut self,
        index: usize,
        segment: Segment,
        now: Duration,
        left: Option<Duration>,
    ) -> Option<Round> {
        let (set_tokens, clock) = (segment.set_tokens, segment.clock);
        let taken = Duration::try_from_secs_f64(segment.seconds).unwrap_or_default();
        let seat = &mut self.seats[index];
        seat.validation_loss = segment.validation_loss.or(seat.validation_loss);
        seat.loss_first.get_or_insert(segment.loss);
        seat.newest = Some(segment);
        if self.last.is_none() {
            self.first_segment(clock, now.saturating_sub(taken));
        }
        let grown = set_tokens.saturating_sub(self.tokens);
        self.tokens += grown;
        self.bytes_allreduce += self.dense(grown);
        let over = self.begun.is_some() && self.tokens >= self.next_round_at;
        over.then(|| self.round(now, left))
    }

    /// Counting starts with what the first segment was based on: nothing in a new run, much for a joiner.
    fn first_segment(&mut self, clock: u64, at: Duration) {
        self.tokens_start = clock;
        self.tokens = clock;
        self.last = Some(Mark { at, tokens: clock });
        self.next_round_at = clock + self.round_tokens();
    }

    /// A peer trains no more. The last such report counts.
    pub(super) fn finished(&mut self, index: usize, finished: Finished) {
        self.tokens = self.tokens.max(finished.tokens_set);
        self.seats[index].finished = Some(finished);
    }

    /// The name to say of a local peer.
    pub(super) fn name(&self, index: usize) -> String {
        let started = self.seats[index].started.as_ref();
        started.map_or_else(|| format!("peer {index}"), |started| started.petname.clone())
    }

    /// The launcher gives up a peer; `why` says what it failed to do.
    pub(super) fn lost(&mut self, index: usize, why: String) {
        self.seats[index].lost = Some(why);
    }

    /// A peer says why it is about to exit.
    pub(super) fn fault(&mut self, index: usize, fault: Fault) {
        self.seats[index].fault = Some(fault);
    }

    /// A peer's process is gone; `how` says how. News unless it had finished.
    pub(super) fn gone(&mut self, index: usize, how: &str) -> Option<EventLine> {
        let seat = &mut self.seats[index];
        seat.gone = true;
        let expected = seat.finished.is_some();
        let started = seat.started.as_ref()?;
        let (peer_id, petname) = (started.peer_id.clone(), started.petname.clone());
        let fault = seat.fault.as_ref().map(|fault| fault.message.clone());
        let detail = fault.or_else(|| seat.lost.clone()).unwrap_or_else(|| how.to_owned());
        let news = self.presence.child_down(&peer_id, index);
        let happening = EventLine { kind: EventKind::Departed, peer_id, petname, detail };
        (news && !expected).then_some(happening)
    }

    /// Something happened. Said once, however many peers report it; a departure only when it lasts ([`Self::overdue`]).
    pub(super) fn event(&mut self, index: usize, event: Event, now: Duration) -> Option<EventLine> {
        let reporter = self.seats[index].started.as_ref().map(|started| started.peer_id.clone());
        let peer_id = event.peer.clone().or(reporter).unwrap_or_default();
        if !self.presence.is_news(index, &peer_id, &event) {
            return None;
        }
        let happening = EventLine {
            kind: event.kind,
            petname: petname_of(&peer_id),
            peer_id: peer_id.clone(),
            detail: event.detail,
        };
        if event.kind == EventKind::Departed {
            self.departures.insert(peer_id, (now + BACK_WITHIN, happening));
            return None;
        }
        let is_back = event.kind == EventKind::Joined && self.departures.remove(&peer_id).is_some();
        (!is_back).then_some(happening)
    }

    /// Peers of other machines that have been gone for so long that they may be said to have departed.
    pub(super) fn overdue(&mut self, now: Duration) -> Vec<EventLine> {
        if self.draining {
            self.departures.clear();
        }
        let due = self.departures.extract_if(.., |_, (due, _)| *due <= now);
        due.map(|(_, (_, happening))| happening).collect()
    }

    /// Peers whose process lives.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| !seat.gone)
    }

    /// Verdicts in the fullest set any local peer reported.
    pub(super) fn audits(&self) -> Audits {
        let newest = self.seats.iter().filter_map(|seat| seat.newest.as_ref());
        let newest = newest.map(|segment| (segment.audits_passed, segment.audits_failed));
        let finished = self.seats.iter().filter_map(|seat| seat.finished.as_ref());
        let finished = finished.map(|finished| (finished.audits_passed, finished.audits_failed));
        newest.chain(finished).fold(Audits::default(), |most, (passed, failed)| Audits {
            passed: most.passed.max(passed),
            failed: most.failed.max(failed),
        })
    }

    /// How long training has lasted at `now`.
    pub(super) fn seconds(&self, now: Duration) -> f64 {
        now.saturating_sub(self.begun.unwrap_or(now)).as_secs_f64()
    }

    /// Bytes all local peers have sent.
    pub(super) fn bytes_sent(&self) -> u64 {
        self.seats.iter().map(Seat::bytes_sent).sum()
    }

    /// Peers that live and are up.
    fn up(&self) -> impl Iterator<Item = &Started> {
        self.alive().filter_map(|seat| seat.started.as_ref())
    }

    fn local(&self) -> u64 {
        self.alive().map(|_| 1).sum()
    }

    /// Peers in the swarm, this machine's included, as far as its peers see.
    fn peers(&self) -> u64 {
        let others = self.alive().filter_map(|seat| Some(seat.newest.as_ref()?.peers)).max();
        self.local().max(others.unwrap_or(0) + 1)
    }

    fn round_tokens(&self) -> u64 {
        let segment = self.up().map(|started| started.step_tokens * started.segment_steps).max();
        self.peers() * segment.unwrap_or(1).max(1)
    }

    fn dense(&self, tokens: u64) -> f64 {
        let one = self.seats.iter().find_map(|seat| seat.started.as_ref());
        one.map_or(0.0, |one| allreduce_bytes(tokens, self.peers(), self.local(), one.step_tokens, one.params))
    }

    fn round(&mut self, now: Duration, left: Option<Duration>) -> Round {
        self.rounds += 1;
        self.next_round_at = self.tokens + self.round_tokens();
        let mark = Mark { at: now, tokens: self.tokens };
        let last = self.last.replace(mark).unwrap_or_default();
        let took = now.saturating_sub(last.at).as_secs_f64().max(1e-3);
        let swarm = (mark.tokens - last.tokens) as f64 / took;
        Round {
            number: self.rounds,
            tokens: self.tokens,
            loss: mean(self.alive().filter_map(|seat| Some(seat.newest.as_ref()?.loss))).unwrap_or(f64::NAN),
            val_loss: mean(self.alive().filter_map(|seat| seat.validation_loss)),
            tokens_per_second_self: mean(self.alive().filter_map(Seat::rate)).unwrap_or(0.0),
            tokens_per_second: swarm,
            peers: self.peers(),
            bytes_sent: self.bytes_sent(),
            bytes_allreduce: self.bytes_allreduce,
            audits: self.audits(),
            seconds: self.seconds(now),
            eta_seconds: self.eta(swarm, left),
        }
    }

    fn eta(&self, rate: f64, left: Option<Duration>) -> Option<f64> {
        let budget = self.up().map(|started| started.run_tokens).max()?;
        let by_tokens = (rate > 0.0).then(|| budget.saturating_sub(self.tokens) as f64 / rate);
        let by_time = left.map(|left| left.as_secs_f64());
        by_tokens.into_iter().chain(by_time).reduce(f64::min)
    }
}

/// The mean of some numbers, if there are any.
pub(super) fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0u32), |(sum, count), number| (sum + number, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests;
