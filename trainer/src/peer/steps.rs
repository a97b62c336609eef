//! How much of the parameters the next update carries, and how many inner steps its segment takes, H: chosen after each segment
//! from what the peer measures.
//!
//! Exchange as much as the link allows. A segment makes bytes: its own payload, as often as this peer must send it, its share of
//! passing on others' payloads, and small messages. If they take the up-link longer than the segment computes, they pile up. Then
//! updates get sparser, and when they are as sparse as the run allows, segments get longer: at equal bytes that loses least
//! (`experiments/parity`). A segment is at most as long as the swarm takes for half of a final epoch: what is based on a set that
//! is two frontiers old is lost, and nobody can replay it.

use std::time::{Duration, Instant};

use murmur_kernels::TopK;
use murmur_quic::Sending;

use crate::{
    observe::status::{StepsReason, StepsStatus},
    run::manifest::{DENSITIES, Length},
};

/// How much of a smoothed number a new measurement leaves: about the last ten segments count.
const KEPT: f64 = 0.9;

/// The need must fall below this share of the present number of steps before the number falls: noise changes nothing.
const FALLS_BELOW: f64 = 0.75;

/// Segments after a change of density before the next choice: until then others' bytes are still those of before.
const SETTLES: u32 = 4;

/// The density of a peer that has measured nothing.
const FIRST_DENSITY: u16 = 256;

/// The part of a final epoch that may pass in the swarm during one segment.
pub(super) const EPOCH_SHARE: u64 = 2;

/// What the run allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Steps of a segment where nothing asks for another number.
    pub(super) least: u32,
    /// The most steps. Equal to `least` where the number is set.
    pub(super) most: u32,
    /// The sparsest and the densest update, of 4096. Equal where the number is set.
    pub(super) density: (u16, u16),
    /// Tokens between two final frontiers; 0 for none.
    pub(super) epoch_tokens: u64,
}

impl Allowed {
    /// The density next to `top` that is allowed, sparser or denser; `top` itself if there is none.
    fn beside(self, top: u16, denser: bool) -> u16 {
        let (sparsest, densest) = self.density;
        if denser {
            DENSITIES.into_iter().find(|&other| other > top).unwrap_or(densest).min(densest).max(top)
        } else {
            DENSITIES.into_iter().rev().find(|&other| other < top).unwrap_or(sparsest).max(sparsest).min(top)
        }
    }
}

/// What is measured, smoothed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// Seconds of one inner step, what merging takes included.
    pub(super) step_seconds: f64,
    /// Seconds that the up-link takes for what a segment makes it send.
    pub(super) link_seconds: f64,
    /// Tokens that the swarm adds in a second.
    pub(super) swarm_tokens_per_second: f64,
}

/// A density, a number of steps, and what decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// The number by the link alone, from which the next choice goes on.
    by_link: u32,
    /// The number of steps.
    pub(super) steps: u32,
    /// How many of every 4096 parameters an update carries.
    pub(super) top: u16,
    /// What decided.
    pub(super) reason: StepsReason,
}

impl Choice {
    /// Before anything is measured.
    pub(super) fn first(allowed: Allowed) -> Self {
        let reason = if allowed.least == allowed.most { StepsReason::Set } else { StepsReason::LinkIsFast };
        let (sparsest, densest) = allowed.density;
        Self { by_link: allowed.least, steps: allowed.least, top: FIRST_DENSITY.clamp(sparsest, densest), reason }
    }

    /// The next choice: a function of its arguments alone.
    pub(super) fn next(self, allowed: Allowed, measured: Measured) -> Self {
        let Allowed { least, most, epoch_tokens, .. } = allowed;
        let step_seconds = measured.step_seconds.max(1e-6);
        let need = measured.link_seconds / step_seconds;
        let top = self.density_by_link(allowed, need);
        let by_link = if top < self.top { self.by_link } else { steps_by_link(self.by_link, need) }.clamp(least, most);
        let epoch_seconds = epoch_tokens as f64 / measured.swarm_tokens_per_second.max(1e-6);
        let by_swarm = epoch_seconds / EPOCH_SHARE as f64 / step_seconds;
        let by_swarm = if epoch_tokens == 0 { u32::MAX } else { (by_swarm as u32).max(1) };
        let reason = if by_swarm < by_link {
            StepsReason::Swarm
        } else if least == most {
            StepsReason::Set
        } else if by_link > least || top < allowed.density.1 {
            StepsReason::Link
        } else {
            StepsReason::LinkIsFast
        };
        Self { by_link, steps: by_link.min(by_swarm), top, reason }
    }

    /// The density that the link asks for, when the bytes of a segment take it as long as `need` steps compute.
    fn density_by_link(self, allowed: Allowed, need: f64) -> u16 {
        if need > f64::from(self.by_link) {
            return allowed.beside(self.top, false);
        }
        let denser = allowed.beside(self.top, true);
        let growth = bits(denser) / bits(self.top);
        let fits = self.by_link == allowed.least && need * growth < FALLS_BELOW * f64::from(allowed.least);
        if fits { denser } else { self.top }
    }
}

/// Bits of an update for a parameter, nearly: two for each that is carried, and where it is.
fn bits(top: u16) -> f64 {
    let share = f64::from(top) / 4096.0;
    let place = |part: f64| if part > 0.0 { -part * part.log2() } else { 0.0 };
    2.0 * share + place(share) + place(1.0 - share)
}

/// The number of steps that the link asks for, when it was `before` and the bytes of a segment take it as long as `need` steps
/// compute. Doubles or halves at most, so that one odd measurement does little.
fn steps_by_link(before: u32, need: f64) -> u32 {
    let least_that_fits = need.ceil().min(f64::from(u32::MAX)) as u32;
    if need > f64::from(before) {
        least_that_fits.min(before.saturating_mul(2))
    } else if need < FALLS_BELOW * f64::from(before) {
        least_that_fits.max(before / 2)
    } else {
        before
    }
}

/// Totals at the end of a segment; they only grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    pub(super) at: Instant,
    /// Bytes that were queued to be sent.
    pub(super) queued_bytes: u64,
    /// What the up-link carried.
    pub(super) sending: Sending,
    /// Tokens of the set.
    pub(super) clock: u64,
}

/// Measures a peer's segments and chooses their number of steps and the density of their updates.
#[derive(Debug)]
pub(super) struct StepsChooser {
    allowed: Allowed,
    choice: Choice,
    /// Segments until the next choice.
    settles: u32,
    last: Totals,
    step_seconds: Smoothed,
    segment_bytes: Smoothed,
    payload_bytes: Smoothed,
    swarm_tokens_per_second: Smoothed,
    /// Bytes carried lately and the seconds they took.
    carried: (f64, f64),
}

impl StepsChooser {
    /// A chooser that has measured nothing; `begun` are the totals now.
    pub(super) fn new(allowed: Allowed, begun: Totals) -> Self {
        Self {
            allowed,
            choice: Choice::first(allowed),
            settles: 0,
            last: begun,
            step_seconds: Smoothed::default(),
            segment_bytes: Smoothed::default(),
            payload_bytes: Smoothed::default(),
            swarm_tokens_per_second: Smoothed::default(),
            carried: (0.0, 0.0),
        }
    }

    /// The next segment's inner steps and density.
    pub(super) fn length(&self) -> Length {
        Length { steps: self.choice.steps, top: TopK::new(self.choice.top).expect("the manifest was checked") }
    }

    /// A segment of `steps` steps took `took` and gave `payload` bytes; `now` are the totals after it.
    pub(super) fn record(&mut self, steps: u32, took: Duration, payload: usize, now: Totals) {
        let last = core::mem::replace(&mut self.last, now);
        let seconds = now.at.saturating_duration_since(last.at).as_secs_f64().max(1e-6);
        self.step_seconds.add(took.as_secs_f64() / f64::from(steps.max(1)));
        self.segment_bytes.add(now.queued_bytes.saturating_sub(last.queued_bytes) as f64);
        self.payload_bytes.add(payload as f64);
        self.swarm_tokens_per_second.add(now.clock.saturating_sub(last.clock) as f64 / seconds);
        let busy = now.sending.busy.saturating_sub(last.sending.busy).as_secs_f64();
        let (bytes, busy_before) = self.carried;
        self.carried = (KEPT * bytes + now.sending.bytes - last.sending.bytes, KEPT * busy_before + busy);
        if self.settles > 0 {
            self.settles -= 1;
            return;
        }
        let next = self.choice.next(self.allowed, self.measured());
        if next.top != self.choice.top {
            self.settles = SETTLES;
            self.segment_bytes = Smoothed::default();
            self.payload_bytes = Smoothed::default();
        }
        self.choice = next;
    }

    fn measured(&self) -> Measured {
        Measured {
            step_seconds: self.step_seconds.mean,
            link_seconds: self.uplink().map_or(0.0, |uplink| self.segment_bytes.mean / uplink),
            swarm_tokens_per_second: self.swarm_tokens_per_second.mean,
        }
    }

    /// Bytes a second that the up-link carries while it is busy; nothing where it never was for a measurable time.
    fn uplink(&self) -> Option<f64> {
        let (bytes, seconds) = self.carried;
        (bytes > 0.0 && seconds > 1e-6).then(|| bytes / seconds)
    }

    /// The choice and what it was made from, seen from among `peers` other peers.
    pub(super) fn status(&self, peers: u64) -> StepsStatus {
        let Measured { step_seconds, link_seconds, swarm_tokens_per_second } = self.measured();
        StepsStatus {
            steps: self.choice.steps,
            top: self.choice.top,
            top_most: self.allowed.density.1,
            least: self.allowed.least,
            most: self.allowed.most,
            reason: self.choice.reason,
            step_seconds,
            segment_bytes: self.segment_bytes.mean.round() as u64,
            payload_bytes: self.payload_bytes.mean.round() as u64,
            uplink_bytes_per_second: self.uplink().map(|uplink| uplink.round() as u64),
            link_seconds,
            swarm_tokens_per_second,
            peers,
        }
    }
}

/// A mean of which old measurements fade; 0 before the first one.
#[derive(Debug, Clone, Copy, Default)]
struct Smoothed {
    mean: f64,
    count: u32,
}

impl Smoothed {
    fn add(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        let share = (1.0 / f64::from(self.count)).max(1.0 - KEPT);
        self.mean += share * (value - self.mean);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
