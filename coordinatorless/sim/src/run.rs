//! A seed from beginning to end: the swarm starts, faults come and go, all is calm, training stops, and everyone agrees.

use core::time::Duration;

use murmur_collectives::{Hash, PeerId};
use murmur_coordinatorless::{Node, Time};

use crate::{
    dice::Dice,
    faults,
    invariants::{Glance, Sight, is_settled},
    queue::{Happening, Place},
    report::{Figures, Report, Summary, Violation},
    scenario::Scenario,
    seam::Word,
    swarm::Machine,
    world::World,
};

/// Faults begin after this long: a swarm that is killed before it has begun shows nothing.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// How often agreement is looked for at the end.
const STEP: Duration = Duration::from_millis(250);

/// Signatures and draws remembered while a seed is played: every peer checks what every other one checked.
const PROOFS_REMEMBERED: usize = 1 << 16;

/// Runs one seed of a scenario.
///
/// # Panics
/// If the scenario was not checked; see [`Scenario::check`].
pub fn run_seed(scenario: &Scenario, seed: u64) -> Report {
    let mut report = play(scenario, seed);
    let wanted = scenario.checks.tokens_percent;
    if wanted > 0 {
        let calm = play(&scenario.without_faults(), seed).figures.tokens;
        let percent = (report.figures.tokens * 100).checked_div(calm).unwrap_or(0);
        report.figures.tokens_percent = Some(percent);
        if percent < wanted {
            let detail = format!("{percent} % of the tokens of the same seed without faults, wanted: {wanted} %");
            let at = Time(report.figures.virtual_ms * 1000);
            let found = crate::invariants::Found { at, invariant: "tokens", detail };
            report.violations.push(Violation::new(scenario, seed, found));
        }
    }
    report
}

/// Runs several seeds, one after the other, and shows each report. To use several processors, give each thread its own
/// seeds and add their reports to one [`Summary`].
pub fn run_seeds(scenario: &Scenario, seeds: impl IntoIterator<Item = u64>, mut shown: impl FnMut(&Report)) -> Summary {
    let mut summary = Summary::default();
    for seed in seeds {
        let report = run_seed(scenario, seed);
        summary.add(&report);
        shown(&report);
    }
    summary
}

fn play(scenario: &Scenario, seed: u64) -> Report {
    murmur_collectives::remember_proofs(PROOFS_REMEMBERED);
    let mut world = World::new(scenario.clone(), seed);
    world.plan();
    let faulty = Time(0) + Duration::from_secs(scenario.seconds);
    world.pass_until(faulty);
    world.calm_down();
    let sent = world.figures.sent();
    world.pass_until(faulty + Duration::from_secs(scenario.calm_seconds));
    world.figures.weigh_calm(&sent, scenario.calm_seconds, world.machines.len());
    world.is_training = false;
    let patience = Duration::from_secs(scenario.heal_seconds);
    // Half of all swarms agree first and then finish; the others, as when a user stops a run, have all of it at once.
    world.is_finishing = seed.is_multiple_of(2);
    world.settle(patience);
    world.is_finishing = true;
    world.finish(patience);
    murmur_collectives::remember_proofs(0);
    world.report()
}

impl World {
    fn plan(&mut self) {
        let mut dice = Dice::new(self.seed, "starts");
        let length = self.scenario.seconds * 1_000_000;
        let there = self.machines.len() - self.scenario.reserves;
        let newcomers = there - self.scenario.newcomers;
        for at in 0..there {
            let early = dice.below(self.scenario.starts_ms * 1000);
            let late = dice.between([length / 5, length * 3 / 4]);
            self.queue.plan(Time(if at < newcomers { early } else { late }), Happening::Start { at });
        }
        let from = Time(0) + UNDISTURBED;
        faults::plan(&self.scenario.faults, self.seed, from, Time(length), &mut self.queue);
        self.queue.plan(from, Happening::Look);
    }

    /// Shows the swarm to the invariants, and plans to do so again.
    pub(crate) fn look(&mut self) {
        let glances = self.glances();
        self.figures.note(self.now, &glances);
        self.watch.look(&sight(self.now, &self.machines, &glances, self.is_training));
        let next = self.now + Duration::from_millis(self.scenario.checks.every_ms);
        self.queue.plan(next, Happening::Look);
    }

    fn glances(&mut self) -> Vec<Glance> {
        let honest = self.machines.iter_mut().enumerate();
        let live = honest.filter(|(_, machine)| machine.is_honest() && machine.is_live());
        live.filter_map(|(at, machine)| glance(at, machine)).collect()
    }

    /// Lets time pass until all honest peers agree, `patience` at most, and lets the invariants conclude.
    fn settle(&mut self, patience: Duration) {
        let (begun, end) = (self.now, self.now + patience);
        loop {
            let glances = self.glances();
            let sight = sight(self.now, &self.machines, &glances, self.is_training);
            // A segment under way is finished first: what it gives belongs to the set.
            let at_rest = is_settled(&sight) && self.machines.iter().all(|machine| machine.segment.is_none());
            if at_rest {
                self.figures.heal_ms = Some(u64::try_from(self.now.since(begun).as_millis()).unwrap_or(u64::MAX));
            }
            if at_rest || self.now >= end {
                self.figures.tokens = glances.iter().map(|glance| glance.clock).max().unwrap_or(0);
                self.watch.conclude(&sight);
                return;
            }
            self.step();
        }
    }

    /// Lets time pass until all honest peers say that they may leave, `patience` at most.
    fn finish(&mut self, patience: Duration) {
        let end = self.now + patience;
        while self.now < end && !self.unfinished().is_empty() {
            self.step();
        }
        for at in self.unfinished() {
            let delays = self.machines[at].node.as_mut().map_or(Vec::new(), Node::delays);
            self.watch.never_finishes(self.now, at, &delays);
        }
    }

    /// Honest peers that run and have not said that they may leave.
    fn unfinished(&self) -> Vec<Place> {
        let machines = self.machines.iter().enumerate();
        let late = machines.filter(|(_, m)| m.is_honest() && m.is_live() && !m.has_finished);
        late.map(|(at, _)| at).collect()
    }

    /// Lets a little time pass; whoever is done with its segment finishes, if all are to. Not one that still comes: it would
    /// leave with nothing, and dials nobody once it is told to.
    fn step(&mut self) {
        if self.is_finishing {
            let idle = |machine: &Machine| {
                let is_there = machine.node.as_ref().is_some_and(Node::is_caught_up);
                machine.is_honest() && !machine.is_stopped && is_there && machine.segment.is_none()
            };
            for at in 0..self.machines.len() {
                if idle(&self.machines[at]) && !core::mem::replace(&mut self.machines[at].is_finishing, true) {
                    self.tell(at, Word::Finish);
                }
            }
        }
        self.pass_until(self.now + STEP);
    }

    fn report(mut self) -> Report {
        self.figures.virtual_ms = self.now.0 / 1000;
        (self.figures.reach, self.figures.arranged) = self.reaches();
        let nodes = self.machines.iter().filter(|machine| machine.is_honest()).filter_map(|m| m.node.as_ref());
        let nodes: Vec<&Node> = nodes.collect();
        let entries = nodes.iter().map(|node| node.fold().log().records().count() as u64).max();
        self.figures.entries = entries.unwrap_or(0);
        let authors = self.machines.iter().filter(|machine| machine.is_honest() && machine.is_author);
        let authors: Vec<PeerId> = authors.map(|machine| machine.id).collect();
        let folded = |node: &&Node| authors.iter().map(|id| u64::from(node.fold().log().segments(id))).min();
        self.figures.rounds = nodes.iter().filter_map(folded).min().unwrap_or(0);
        let footprints: Vec<_> = nodes.iter().map(|node| node.footprint()).collect();
        self.figures.weigh(&footprints);
        let found = core::mem::take(&mut self.watch.found);
        let violations = found.into_iter().map(|found| Violation::new(&self.scenario, self.seed, found)).collect();
        let (trace, figures) = (self.trace(), core::mem::take::<Figures>(&mut self.figures));
        Report { seed: self.seed, violations, figures, chronicle: self.chronicle, trace }
    }
}

fn sight<'a>(now: Time, machines: &'a [Machine], glances: &'a [Glance], is_training: bool) -> Sight<'a> {
    Sight { now, machines, glances, is_training }
}

fn glance(at: usize, machine: &mut Machine) -> Option<Glance> {
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
    Some(Glance { at, epoch, set, root, clock, final_clock, is_caught_up, footprint: node.footprint() })
}
