//! One seed from start to report: peers start, faults strike, faults end, training stops, the swarm agrees and
//! finishes.

use core::time::Duration;

use murmur_collectives::{Hash, PeerId};
use murmur_coordinatorless::{Node, Time};

use crate::{
    faults,
    invariants::{PeerSnapshot, SwarmSnapshot, is_settled},
    node_io::NodeInput,
    queue::{MachineIndex, SimEvent},
    report::{Figures, Report, Summary, Violation},
    rng::SeededRng,
    scenario::Scenario,
    simulation::Simulation,
    swarm::Machine,
};

/// Time before the first fault. A swarm killed before its first messages exercises nothing.
const FAULT_FREE_START: Duration = Duration::from_secs(1);

/// Interval at which the end of a run polls for agreement.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Verified signatures and lottery draws cached during a seed: all nodes of the process verify the same ones.
const PROOFS_CACHED_MAX: usize = 1 << 16;

/// Simulates one seed of a scenario.
///
/// # Panics
/// If the scenario was not checked; see [`Scenario::check`].
pub fn run_seed(scenario: &Scenario, seed: u64) -> Report {
    let mut report = simulate(scenario, seed);
    let wanted = scenario.checks.tokens_percent;
    if wanted > 0 {
        let calm = simulate(&scenario.without_faults(), seed).figures.tokens;
        let percent = (report.figures.tokens * 100).checked_div(calm).unwrap_or(0);
        report.figures.tokens_percent = Some(percent);
        if percent < wanted {
            let detail = format!("{percent} % of the tokens of the same seed without faults, wanted: {wanted} %");
            let time = Time(report.figures.virtual_ms * 1000);
            let finding = crate::invariants::Finding { time, invariant: "tokens", detail };
            report.violations.push(Violation::new(scenario, seed, finding));
        }
    }
    report
}

/// Simulates seeds one after the other and passes each report to `on_report`. To use several processors, give each
/// thread its own seeds and add their reports to one [`Summary`].
pub fn run_seeds(
    scenario: &Scenario,
    seeds: impl IntoIterator<Item = u64>,
    mut on_report: impl FnMut(&Report),
) -> Summary {
    let mut summary = Summary::default();
    for seed in seeds {
        let report = run_seed(scenario, seed);
        summary.add(&report);
        on_report(&report);
    }
    summary
}

fn simulate(scenario: &Scenario, seed: u64) -> Report {
    murmur_collectives::remember_proofs(PROOFS_CACHED_MAX);
    let mut simulation = Simulation::new(scenario.clone(), seed);
    simulation.schedule_run();
    let faults_end = Time(0) + Duration::from_secs(scenario.seconds);
    simulation.run_until(faults_end);
    simulation.end_faults();
    let sent = simulation.figures.sent();
    simulation.run_until(faults_end + Duration::from_secs(scenario.calm_seconds));
    simulation.figures.record_calm_traffic(&sent, scenario.calm_seconds, simulation.machines.len());
    simulation.is_training = false;
    let patience = Duration::from_secs(scenario.heal_seconds);
    // Odd seeds agree first and finish then. Even seeds do both at once, as in a run that the user ends.
    simulation.is_finishing = seed.is_multiple_of(2);
    simulation.await_agreement(patience);
    simulation.is_finishing = true;
    simulation.await_finish(patience);
    murmur_collectives::remember_proofs(0);
    simulation.report()
}

impl Simulation {
    fn schedule_run(&mut self) {
        let mut rng = SeededRng::new(self.seed, "starts");
        let length = self.scenario.seconds * 1_000_000;
        let initial = self.machines.len() - self.scenario.reserves;
        let newcomers = initial - self.scenario.newcomers;
        for at in 0..initial {
            let early = rng.below(self.scenario.starts_ms * 1000);
            let late = rng.between([length / 5, length * 3 / 4]);
            self.queue.schedule(Time(if at < newcomers { early } else { late }), SimEvent::Start { at });
        }
        let from = Time(0) + FAULT_FREE_START;
        faults::schedule(&self.scenario.faults, self.seed, from, Time(length), &mut self.queue);
        self.queue.schedule(from, SimEvent::CheckInvariants);
    }

    /// Checks the invariants and schedules the next check.
    pub(crate) fn check_invariants(&mut self) {
        let peers = self.peer_snapshots();
        self.figures.observe(self.now, &peers);
        self.checker.check(&swarm_snapshot(self.now, &self.machines, &peers, self.is_training));
        let next = self.now + Duration::from_millis(self.scenario.checks.every_ms);
        self.queue.schedule(next, SimEvent::CheckInvariants);
    }

    fn peer_snapshots(&mut self) -> Vec<PeerSnapshot> {
        let honest = self.machines.iter_mut().enumerate();
        let live = honest.filter(|(_, machine)| machine.is_honest() && machine.is_live());
        live.filter_map(|(at, machine)| peer_snapshot(at, machine)).collect()
    }

    /// Runs until all honest peers agree, for at most `patience`, and makes the final checks.
    fn await_agreement(&mut self, patience: Duration) {
        let (begun, end) = (self.now, self.now + patience);
        loop {
            let peers = self.peer_snapshots();
            let swarm = swarm_snapshot(self.now, &self.machines, &peers, self.is_training);
            // A segment in progress ends first: its update belongs to the set.
            let at_rest = is_settled(&swarm) && self.machines.iter().all(|machine| machine.segment.is_none());
            if at_rest {
                self.figures.heal_ms = Some(u64::try_from(self.now.since(begun).as_millis()).unwrap_or(u64::MAX));
            }
            if at_rest || self.now >= end {
                self.figures.tokens = peers.iter().map(|peer| peer.clock).max().unwrap_or(0);
                self.checker.check_at_end(&swarm);
                return;
            }
            self.step();
        }
    }

    /// Runs until all honest peers have finished, for at most `patience`.
    fn await_finish(&mut self, patience: Duration) {
        let end = self.now + patience;
        while self.now < end && !self.unfinished().is_empty() {
            self.step();
        }
        for at in self.unfinished() {
            let delays = self.machines[at].node.as_mut().map_or(Vec::new(), Node::delays);
            self.checker.never_finishes(self.now, at, &delays);
        }
    }

    /// Honest live peers that have not finished.
    fn unfinished(&self) -> Vec<MachineIndex> {
        let machines = self.machines.iter().enumerate();
        let late = machines.filter(|(_, m)| m.is_honest() && m.is_live() && !m.has_finished);
        late.map(|(at, _)| at).collect()
    }

    /// Runs for one poll interval. While the swarm finishes, tells each idle peer to finish once. A peer that is still
    /// catching up is not told: it would leave without the set, because a finishing peer dials nobody.
    fn step(&mut self) {
        if self.is_finishing {
            let idle = |machine: &Machine| {
                let is_caught_up = machine.node.as_ref().is_some_and(Node::is_caught_up);
                machine.is_honest() && !machine.is_stopped && is_caught_up && machine.segment.is_none()
            };
            for at in 0..self.machines.len() {
                if idle(&self.machines[at]) && !core::mem::replace(&mut self.machines[at].is_finishing, true) {
                    self.handle_input(at, NodeInput::Finish);
                }
            }
        }
        self.run_until(self.now + POLL_INTERVAL);
    }

    fn report(mut self) -> Report {
        self.figures.virtual_ms = self.now.0 / 1000;
        (self.figures.reach, self.figures.arranged) = self.reach_figures();
        let nodes = self.machines.iter().filter(|machine| machine.is_honest()).filter_map(|m| m.node.as_ref());
        let nodes: Vec<&Node> = nodes.collect();
        let entries = nodes.iter().map(|node| node.fold().log().records().count() as u64).max();
        self.figures.entries = entries.unwrap_or(0);
        let authors = self.machines.iter().filter(|machine| machine.is_honest() && machine.is_author);
        let authors: Vec<PeerId> = authors.map(|machine| machine.id).collect();
        let folded = |node: &&Node| authors.iter().map(|id| u64::from(node.fold().log().segments(id))).min();
        self.figures.rounds = nodes.iter().filter_map(folded).min().unwrap_or(0);
        let footprints: Vec<_> = nodes.iter().map(|node| node.footprint()).collect();
        self.figures.record_footprints(&footprints);
        let findings = core::mem::take(&mut self.checker.findings);
        let violations =
            findings.into_iter().map(|finding| Violation::new(&self.scenario, self.seed, finding)).collect();
        let (trace, figures) = (self.trace(), core::mem::take::<Figures>(&mut self.figures));
        Report { seed: self.seed, violations, figures, chronicle: self.chronicle, trace }
    }
}

fn swarm_snapshot<'a>(
    now: Time,
    machines: &'a [Machine],
    peers: &'a [PeerSnapshot],
    is_training: bool,
) -> SwarmSnapshot<'a> {
    SwarmSnapshot { now, machines, peers, is_training }
}

fn peer_snapshot(at: usize, machine: &mut Machine) -> Option<PeerSnapshot> {
    let node = machine.node.as_mut()?;
    let root = node.state_root();
    let log = node.fold().log();
    let epochs = node.fold().epochs();
    let mut bytes = epochs.names().last().map_or(Vec::new(), |name| name.0.to_vec());
    for (author, count) in log.version().iter() {
        bytes.extend_from_slice(&author.0);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&log.head(&author).0);
    }
    log.forked().for_each(|author| bytes.extend_from_slice(&author.0));
    let set = Hash::of("murmuration simulated set v1", &bytes);
    let (clock, is_caught_up) = (node.fold().clock(), node.is_caught_up());
    let final_clock = epochs.newest().frontier.clock;
    let epoch = epochs.number();
    Some(PeerSnapshot { at, epoch, set, root, clock, final_clock, is_caught_up, footprint: node.footprint() })
}
