//! Who takes part: the run that all agree on, and one machine for each peer.

use core::time::Duration;

use murmur_collectives::{Founder, Hash, Identity, ONE_Q16, PeerId, Rules};
use murmur_coordinatorless::{Node, Time};
use murmur_kernels::from_f32;
use murmur_verification::Attack;

use crate::{dice::Dice, disk::Disk, learner::Segment, queue::Happening, scenario::Scenario, seam::CLASS};

/// What all peers of a simulated run agree on.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: Hash,
    pub(crate) rules: Rules,
    pub(crate) genesis: Vec<i64>,
}

/// A peer and the machine it runs on.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: PeerId,
    pub(crate) identity: Identity,
    /// The peer while it runs.
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    /// Counts starts and ends of its process: what was planned for an earlier life does not happen in a later one.
    pub(crate) life: u32,
    started_at: Time,
    drift_ppm: i64,
    pub(crate) is_stopped: bool,
    /// It has said goodbye, or is not to come back, or not yet.
    pub(crate) is_gone: bool,
    /// What reached it while it was stopped.
    pub(crate) held: Vec<Happening>,
    /// Until when it waits for its disk.
    pub(crate) busy_until: Time,
    pub(crate) has_slow_disk: bool,
    pub(crate) segment: Option<Segment>,
    pub(crate) segment_time: Duration,
    pub(crate) is_author: bool,
    /// It was told to come to an end.
    pub(crate) is_finishing: bool,
    /// It told that it may leave, and that all who finish agree.
    pub(crate) has_finished: bool,
    /// How it does harm; honest peers do not.
    pub(crate) attack: Option<Attack>,
    /// When its timer will be looked at.
    pub(crate) wake_at: Option<Time>,
}

impl Machine {
    fn new(identity: Identity, segment_time: Duration, drift_ppm: i64) -> Self {
        Self {
            id: identity.peer_id(),
            identity,
            node: None,
            disk: Disk::default(),
            life: 0,
            started_at: Time(0),
            drift_ppm,
            is_stopped: false,
            is_gone: false,
            held: Vec::new(),
            busy_until: Time(0),
            has_slow_disk: false,
            segment: None,
            segment_time,
            is_author: true,
            is_finishing: false,
            has_finished: false,
            attack: None,
            wake_at: None,
        }
    }

    /// Whether it means well.
    pub(crate) fn is_honest(&self) -> bool {
        self.attack.is_none()
    }

    /// Whether its process runs and is not stopped.
    pub(crate) fn is_live(&self) -> bool {
        self.node.is_some() && !self.is_stopped
    }

    /// Its process begins at `now` with this peer.
    pub(crate) fn begin(&mut self, now: Time, node: Node) {
        self.life += 1;
        (self.node, self.started_at, self.busy_until) = (Some(node), now, now);
        (self.is_stopped, self.has_slow_disk) = (false, false);
        (self.is_finishing, self.has_finished) = (false, false);
    }

    /// Its process ends; only the disk is left.
    pub(crate) fn end(&mut self) {
        self.life += 1;
        (self.node, self.segment, self.wake_at, self.is_stopped) = (None, None, None, false);
        self.held.clear();
    }

    /// The time by its own clock: since its process began, and a little fast or slow.
    pub(crate) fn local(&self, now: Time) -> Time {
        let elapsed = u128::from(now.0.saturating_sub(self.started_at.0));
        Time(u64::try_from(elapsed * u128::from(self.speed()) / 1_000_000).unwrap_or(u64::MAX))
    }

    /// The first moment at which its own clock shows `local`.
    pub(crate) fn global(&self, local: Time) -> Time {
        let elapsed = (u128::from(local.0) * 1_000_000).div_ceil(u128::from(self.speed()));
        Time(u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(self.started_at.0))
    }

    fn speed(&self) -> u64 {
        1_000_000u64.saturating_add_signed(self.drift_ppm)
    }
}

/// All machines of a seed, founders first, then others, newcomers, reserves; the hostile ones anywhere.
pub(crate) fn machines(scenario: &Scenario, seed: u64) -> Vec<Machine> {
    let mut dice = Dice::new(seed, "machines");
    let mut machines: Vec<Machine> = (0..scenario.peers).map(|_| machine(scenario, &mut dice)).collect();
    for number in 0..scenario.hostile.peers {
        let place = dice.index(machines.len());
        let ways = &scenario.hostile.ways;
        let first = usize::try_from(seed).unwrap_or(0) * scenario.hostile.peers;
        machines[place].attack = machines[place].attack.or(Some(ways[(first + number) % ways.len()]));
    }
    machines.iter_mut().rev().take(scenario.reserves).for_each(|machine| machine.is_gone = true);
    if scenario.work.authors > 0 {
        machines.iter_mut().skip(scenario.work.authors).for_each(|machine| machine.is_author = false);
    }
    machines
}

fn machine(scenario: &Scenario, dice: &mut Dice) -> Machine {
    let secret: [u8; 32] = dice.bytes(32).try_into().unwrap_or([0; 32]);
    let slower = dice.between([0, scenario.work.segment_spread_percent]);
    let segment_time = Duration::from_micros(scenario.work.segment_ms * 10 * (100 + slower));
    let drift =
        dice.below(scenario.network.drift_ppm + 1).cast_signed() - (scenario.network.drift_ppm / 2).cast_signed();
    Machine::new(Identity::from_secret(&secret), segment_time, drift)
}

impl Run {
    /// What the founders among `machines` agreed on.
    pub(crate) fn new(scenario: &Scenario, seed: u64, machines: &[Machine]) -> Self {
        let sizes = &scenario.work.parameters;
        let parameters = sizes[Dice::new(seed, "model").index(sizes.len())];
        let founders: Vec<Founder> =
            machines[..scenario.founders].iter().map(|machine| Node::founder(&machine.identity)).collect();
        let id = Hash(Dice::new(seed, "run").bytes(32).try_into().unwrap_or([0; 32]));
        let often = &scenario.work.frontier_every_tokens;
        let frontier_every_tokens = often[Dice::new(seed, "finality").index(often.len())];
        let floats = vec![0.5; usize::try_from(parameters).unwrap_or(1)];
        let rules = Rules {
            parameters,
            top: scenario.work.top,
            alpha_start_q16: ONE_Q16,
            alpha_end_q16: ONE_Q16 / 2,
            clip_q16: ONE_Q16 * 3 / 2,
            tokens_per_step: 10,
            steps_max: scenario.work.steps,
            token_budget: if frontier_every_tokens > 0 { frontier_every_tokens * 4096 } else { 1 << 40 },
            audit_rate_q16: scenario.work.audit_percent * ONE_Q16 / 100,
            audit_quorum: 2,
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
    fn a_timer_set_by_a_machines_own_clock_is_never_early() {
        for drift in [-50_000, -1, 0, 3, 50_000] {
            let mut machine = Machine::new(Identity::from_secret(&[1; 32]), Duration::ZERO, drift);
            machine.started_at = Time(777);
            for local in [0, 1, 999_999, 123_456_789] {
                let at = machine.global(Time(local));
                assert!(machine.local(at) >= Time(local), "drift {drift}, {local}");
                assert!(machine.local(Time(at.0.saturating_sub(3))) <= Time(local), "and not much later");
            }
        }
    }

    #[test]
    fn founders_and_hostile_peers_are_as_many_as_asked() {
        let scenario = Scenario::default();
        for seed in 0..20 {
            let machines = machines(&scenario, seed);
            let hostile = machines.iter().filter(|machine| !machine.is_honest()).count();
            assert!((1..=scenario.hostile.peers).contains(&hostile), "{hostile}");
        }
    }
}
