//! The participants: the run that all peers share, and one machine for each peer.

use core::time::Duration;

use murmur_collectives::{Founder, Hash, Identity, ONE_Q16, PeerId, Rules};
use murmur_coordinatorless::{Node, Time};
use murmur_kernels::from_f32;
use murmur_verification::Attack;

use crate::{disk::Disk, learner::Segment, node_io::CLASS, queue::SimEvent, rng::SeededRng, scenario::Scenario};

/// The run that all peers share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: Hash,
    pub(crate) rules: Rules,
    pub(crate) genesis: Vec<i64>,
}

/// A peer and its machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: PeerId,
    pub(crate) identity: Identity,
    /// The node while its process runs.
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    /// Counts starts and ends of the process. An event scheduled for an earlier generation is void.
    pub(crate) generation: u32,
    started_at: Time,
    drift_ppm: i64,
    pub(crate) is_stopped: bool,
    /// The peer has left, is lost for good, or is a reserve that has not started.
    pub(crate) is_absent: bool,
    /// Events that reached the process while it was stopped.
    pub(crate) deferred: Vec<SimEvent>,
    /// Until when the process waits for its disk.
    pub(crate) busy_until: Time,
    pub(crate) has_slow_disk: bool,
    pub(crate) segment: Option<Segment>,
    pub(crate) segment_time: Duration,
    pub(crate) is_author: bool,
    /// Whether the peer was told to finish.
    pub(crate) is_finishing: bool,
    /// Whether the peer reported that it finished in agreement.
    pub(crate) has_finished: bool,
    /// The attack it runs; `None` for an honest peer.
    pub(crate) attack: Option<Attack>,
    /// When its next timeout is scheduled.
    pub(crate) timer_at: Option<Time>,
}

impl Machine {
    fn new(identity: Identity, segment_time: Duration, drift_ppm: i64) -> Self {
        Self {
            id: identity.peer_id(),
            identity,
            node: None,
            disk: Disk::default(),
            generation: 0,
            started_at: Time(0),
            drift_ppm,
            is_stopped: false,
            is_absent: false,
            deferred: Vec::new(),
            busy_until: Time(0),
            has_slow_disk: false,
            segment: None,
            segment_time,
            is_author: true,
            is_finishing: false,
            has_finished: false,
            attack: None,
            timer_at: None,
        }
    }

    /// Whether the peer is honest.
    pub(crate) fn is_honest(&self) -> bool {
        self.attack.is_none()
    }

    /// Whether its process runs and is not stopped.
    pub(crate) fn is_live(&self) -> bool {
        self.node.is_some() && !self.is_stopped
    }

    /// Starts its process with `node` at `now`.
    pub(crate) fn start_process(&mut self, now: Time, node: Node) {
        self.generation += 1;
        (self.node, self.started_at, self.busy_until) = (Some(node), now, now);
        (self.is_stopped, self.has_slow_disk) = (false, false);
        (self.is_finishing, self.has_finished) = (false, false);
    }

    /// Ends its process; only the disk remains.
    pub(crate) fn end_process(&mut self) {
        self.generation += 1;
        (self.node, self.segment, self.timer_at, self.is_stopped) = (None, None, None, false);
        self.deferred.clear();
    }

    /// Its local time: since the process started, on a clock that drifts.
    pub(crate) fn local_time(&self, now: Time) -> Time {
        let elapsed = u128::from(now.0.saturating_sub(self.started_at.0));
        Time(u64::try_from(elapsed * u128::from(self.clock_rate()) / 1_000_000).unwrap_or(u64::MAX))
    }

    /// The first global time at which its clock shows `local_time`. Rounded up: a timeout that fires early would find
    /// nothing due and be scheduled again at the same moment.
    pub(crate) fn global_time(&self, local_time: Time) -> Time {
        let elapsed = (u128::from(local_time.0) * 1_000_000).div_ceil(u128::from(self.clock_rate()));
        Time(u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(self.started_at.0))
    }

    fn clock_rate(&self) -> u64 {
        1_000_000u64.saturating_add_signed(self.drift_ppm)
    }
}

/// The machines of a seed: founders, others, newcomers, reserves, in this order. Attackers are drawn among all of them.
pub(crate) fn machines(scenario: &Scenario, seed: u64) -> Vec<Machine> {
    let mut rng = SeededRng::new(seed, "machines");
    let mut machines: Vec<Machine> = (0..scenario.peers).map(|_| machine(scenario, &mut rng)).collect();
    for number in 0..scenario.hostile.peers {
        let index = rng.index(machines.len());
        let attacks = &scenario.hostile.ways;
        // Consecutive seeds continue the list where the last one stopped, so that together they cover every attack.
        let first = usize::try_from(seed).unwrap_or(0) * scenario.hostile.peers;
        machines[index].attack = machines[index].attack.or(Some(attacks[(first + number) % attacks.len()]));
    }
    machines.iter_mut().rev().take(scenario.reserves).for_each(|machine| machine.is_absent = true);
    if scenario.work.authors > 0 {
        machines.iter_mut().skip(scenario.work.authors).for_each(|machine| machine.is_author = false);
    }
    machines
}

fn machine(scenario: &Scenario, rng: &mut SeededRng) -> Machine {
    let secret: [u8; 32] = rng.bytes(32).try_into().unwrap_or([0; 32]);
    let slowdown = rng.between([0, scenario.work.segment_spread_percent]);
    let segment_time = Duration::from_micros(scenario.work.segment_ms * 10 * (100 + slowdown));
    let drift =
        rng.below(scenario.network.drift_ppm + 1).cast_signed() - (scenario.network.drift_ppm / 2).cast_signed();
    Machine::new(Identity::from_secret(&secret), segment_time, drift)
}

impl Run {
    /// The run that the founders among `machines` define.
    pub(crate) fn new(scenario: &Scenario, seed: u64, machines: &[Machine]) -> Self {
        let sizes = &scenario.work.parameters;
        let parameters = sizes[SeededRng::new(seed, "model").index(sizes.len())];
        let founders: Vec<Founder> =
            machines[..scenario.founders].iter().map(|machine| Node::founder(&machine.identity)).collect();
        let id = Hash(SeededRng::new(seed, "run").bytes(32).try_into().unwrap_or([0; 32]));
        let intervals = &scenario.work.frontier_every_tokens;
        let frontier_every_tokens = intervals[SeededRng::new(seed, "finality").index(intervals.len())];
        let floats = vec![0.5; usize::try_from(parameters).unwrap_or(1)];
        let rules = Rules {
            parameters,
            top: scenario.work.top,
            alpha_start_q16: ONE_Q16,
            alpha_end_q16: ONE_Q16 / 2,
            clip_q16: ONE_Q16 * 3 / 2,
            tokens_per_step: 10,
            segment_tokens: 100,
            steps_max: scenario.work.steps,
            token_budget: if frontier_every_tokens > 0 { frontier_every_tokens * 4096 } else { 1 << 40 },
            audit_rate_q16: scenario.work.audit_percent * ONE_Q16 / 100,
            audit_quorum: 2,
            span: 1,
            frontier_every_tokens,
            class: Some(CLASS),
            founders,
        };
        Self { id, rules, genesis: from_f32(&floats).expect("a half is finite") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_on_a_drifting_clock_is_never_early() {
        for drift in [-50_000, -1, 0, 3, 50_000] {
            let mut machine = Machine::new(Identity::from_secret(&[1; 32]), Duration::ZERO, drift);
            machine.started_at = Time(777);
            for local_time in [0, 1, 999_999, 123_456_789] {
                let at = machine.global_time(Time(local_time));
                assert!(machine.local_time(at) >= Time(local_time), "drift {drift}, {local_time}");
                assert!(machine.local_time(Time(at.0.saturating_sub(3))) <= Time(local_time), "and at most 3 µs late");
            }
        }
    }

    #[test]
    fn a_swarm_has_at_most_the_configured_attackers() {
        let scenario = Scenario::default();
        for seed in 0..20 {
            let machines = machines(&scenario, seed);
            let hostile = machines.iter().filter(|machine| !machine.is_honest()).count();
            assert!((1..=scenario.hostile.peers).contains(&hostile), "{hostile}");
        }
    }
}
