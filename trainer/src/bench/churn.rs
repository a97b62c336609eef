//! `bench churn`: real peers are killed, frozen, started anew and started again at random; then they must agree.
//!
//! Life-cycle: founders start and meet; for the time asked, an action follows every half to two seconds (`random_action`); then
//! frozen peers are woken, all are drained, and `check` tests the rules. Killing is SIGKILL, freezing
//! SIGSTOP. A killed peer may start again in its folder and must go on as itself.

mod check;
mod random_action;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use self::random_action::{Action, Present, between};
use super::{
    exchange::agreed,
    figures::mean,
    fleet::{Fleet, Life},
    report::{Metric, Report},
    run_folder::{RunFolder, Work},
};
use crate::{
    error::{Exit, Failure},
    observe::output::Output,
    peer::Pace,
    protocol::Command,
};

/// How long founders may take to start and meet.
const START_WITHIN: Duration = Duration::from_secs(120);

/// Between two things that happen.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));

/// How long a frozen peer stays so.
const FROZEN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// How long newcomers may take to catch up once nothing happens any more, and then all to agree.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// Processes to begin with.
    pub peers: usize,
    /// How long things happen.
    pub duration: Duration,
    /// Where the choice of what happens comes from.
    pub seed: u64,
    /// Parameters, about.
    pub params: u64,
    /// From one update of a peer to its next.
    pub every: Duration,
    /// Whether peers train a tiny model instead of standing in.
    pub train: bool,
}

/// What happened so far.
struct Story<'a> {
    asked: &'a Churn,
    fleet: Fleet,
    rng: ChaCha8Rng,
    /// Frozen processes and when each goes on.
    wakes: BTreeMap<usize, Instant>,
    folders: usize,
    counts: BTreeMap<&'static str, usize>,
}

/// Disturbs, checks and reports.
///
/// # Errors
/// Whatever keeps it from running; [`Exit::Bug`] when a rule was broken.
pub fn churn(asked: &Churn, output: &mut Output) -> Result<(), Failure> {
    let work = if asked.train { Work::Tiny } else { Work::StandIn { params: asked.params } };
    let sets = ["audit.rate=0.05", "checkpoint.every_tokens=4k"];
    let fleet = Fleet::new(RunFolder::new("churn", asked.peers, work, &sets)?)?;
    let rng = ChaCha8Rng::seed_from_u64(asked.seed);
    let (wakes, counts) = (BTreeMap::new(), BTreeMap::new());
    let mut story = Story { asked, fleet, rng, wakes, folders: asked.peers, counts };
    output.note(&format!("Starting {} peers …", asked.peers));
    story.begin()?;
    output.note(&format!("Disturbing them for {} s …", asked.duration.as_secs_f64()));
    story.disturb()?;
    output.note("Waiting for them to agree …");
    let report = story.end()?;
    output.result(&report.to_text(), &report.to_json());
    report.verdict()
}

impl Story<'_> {
    fn begin(&mut self) -> Result<(), Failure> {
        for index in 0..self.asked.peers {
            let pace = self.pace(index);
            self.fleet.spawn(index, None, pace)?;
        }
        self.fleet.until(START_WITHIN, |fleet| fleet.processes.iter().all(|process| process.started.is_some()))?;
        let addresses = self.fleet.addresses();
        for (index, process) in self.fleet.processes.iter_mut().enumerate() {
            addresses.iter().take(index).for_each(|address| process.send(Command::Connect(*address)));
        }
        let others = self.asked.peers - 1;
        let met = |fleet: &Fleet| fleet.living().all(|process| process.neighbours.len() >= others);
        if !self.fleet.until(START_WITHIN, met)? {
            let why = self.fleet.complaints().into_iter().next().unwrap_or_default();
            return Err(Failure::new(Exit::TryAgain, "the peers did not all meet in time").because(why));
        }
        self.fleet.send_all(Command::Begin);
        Ok(())
    }

    fn disturb(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + self.asked.duration;
        let mut next = Instant::now() + between(&mut self.rng, PAUSE);
        while Instant::now() < end {
            let wake = self.wakes.values().min().copied().unwrap_or(end);
            self.fleet.next_report(next.min(wake).min(end))?;
            self.wake_due();
            if Instant::now() >= next {
                self.act()?;
                next = Instant::now() + between(&mut self.rng, PAUSE);
            }
        }
        Ok(())
    }

    fn act(&mut self) -> Result<(), Failure> {
        let present = self.present();
        match random_action::choose(&mut self.rng, &present) {
            Action::Kill(index) => {
                self.wakes.remove(&index);
                self.fleet.kill(index);
                self.count("killed");
            }
            Action::Freeze(index) => {
                self.fleet.freeze(index, true);
                self.wakes.insert(index, Instant::now() + between(&mut self.rng, FROZEN));
                self.count("frozen");
            }
            Action::Restart(folder) => {
                self.join(folder)?;
                self.count("restarted");
            }
            Action::Join => {
                self.fleet.run_folder.newcomer(self.folders)?;
                self.folders += 1;
                self.join(self.folders - 1)?;
                self.count("joined");
            }
        }
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Starts the peer of `folder` with a ticket; it begins once it has caught up.
    fn join(&mut self, folder: usize) -> Result<(), Failure> {
        let ticket = self.fleet.run_folder.ticket(&self.fleet.addresses());
        let pace = self.pace(folder);
        self.fleet.spawn(folder, ticket.as_ref(), pace)?;
        self.fleet.processes.iter_mut().last().iter_mut().for_each(|process| process.send(Command::Begin));
        Ok(())
    }

    /// Spreads peers over the time between two updates; nothing when they train.
    fn pace(&self, folder: usize) -> Option<Pace> {
        let phase = self.asked.every.mul_f64((folder % self.asked.peers) as f64 / self.asked.peers as f64);
        (!self.asked.train).then(|| Pace::new(self.asked.every, phase, 0))
    }

    fn present(&self) -> Present {
        let processes = self.fleet.processes.iter().enumerate();
        let having = |life: Life| processes.clone().filter(|(_, p)| p.life == life).map(|(index, _)| index).collect();
        let living: Vec<usize> = self.fleet.living().map(|process| process.folder).collect();
        let dead = (0..self.folders).filter(|folder| !living.contains(folder)).collect();
        let founders = self.asked.peers;
        let up = self.fleet.addresses().len();
        Present { running: having(Life::Running), frozen: having(Life::Frozen), dead, up, founders }
    }

    fn wake_due(&mut self) {
        let now = Instant::now();
        for (index, _) in self.wakes.extract_if(.., |_, wake| *wake <= now) {
            self.fleet.freeze(index, false);
        }
    }

    /// Wakes, drains, checks.
    fn end(mut self) -> Result<Report, Failure> {
        for index in core::mem::take(&mut self.wakes).into_keys() {
            self.fleet.freeze(index, false);
        }
        let mut violations = self.fleet.complaints();
        if !self.fleet.until(CATCH_UP_WITHIN, |fleet| fleet.living().all(|process| process.ready))? {
            violations.push("a newcomer never caught up".to_owned());
        }
        self.fleet.send_all(Command::Drain);
        let settling = Instant::now();
        if !self.fleet.until(CATCH_UP_WITHIN, |fleet| agreed(fleet) || fleet.alive().is_empty())? {
            violations.push(check::disagreement(&self.fleet));
        }
        let settled = settling.elapsed();
        let survivors = self.fleet.alive();
        violations.extend(check::rules(&self.fleet, &survivors, self.folders));
        let (flatness, grew) = check::memory(&self.fleet);
        violations.extend(grew);
        let ended = self.fleet.shut_down()?;
        violations.extend(ended);
        violations.extend(check::disks(&self.fleet.run_folder, self.folders));
        violations.sort_unstable();
        violations.dedup();
        let mut metrics = self.metrics(&survivors);
        metrics.push(Metric::new("settled_seconds", settled.as_secs_f64(), "s"));
        metrics.push(Metric::new("memory_growth_percent", flatness, "%, worst process"));
        Ok(Report { suite: "churn", metrics, targets: Vec::new(), violations })
    }

    fn metrics(&self, survivors: &[usize]) -> Vec<Metric> {
        let counted = |what: &str| self.counts.get(what).copied().unwrap_or(0);
        let finished = survivors.iter().filter_map(|index| self.fleet.processes[*index].finished.as_ref());
        let updates = finished.clone().map(|finished| finished.updates as usize).max();
        let last_final = finished.map(|finished| f64::from(finished.final_epoch)).reduce(f64::min);
        let resident: Vec<f64> = self.fleet.memory.series.values().filter_map(|series| mean(series)).collect();
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        vec![
            Metric::new("seconds", self.asked.duration.as_secs_f64(), "s"),
            Metric::count("killed", counted("killed"), "processes"),
            Metric::count("frozen", counted("frozen"), "processes"),
            Metric::count("restarted", counted("restarted"), "processes"),
            Metric::count("joined", counted("joined"), "processes"),
            Metric::count("survivors", survivors.len(), "processes"),
            Metric::new("updates", updates.map(|updates| updates as f64), "updates in the final set"),
            Metric::new("final_epoch", last_final, "final frontiers, at every survivor"),
            Metric::count("excluded", self.fleet.tally.authors_excluded(), "authors who were too late for one"),
            Metric::count("folds", self.fleet.tally.folded_by(1), "updates that anybody folded"),
            Metric::new(
                "longest_pause_seconds",
                check::longest_pause(&self.fleet, survivors),
                "s, of a peer that was never frozen",
            ),
            Metric::new(
                "memory_resident_mib",
                mean(&resident).map(mib),
                "MiB, one process that has caught up, on average",
            ),
        ]
    }
}
