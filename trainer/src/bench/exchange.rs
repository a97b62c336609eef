//! `bench exchange`: peers that train nothing exchange updates of a real size over real connections.
//!
//! An update counts as announced when its author has it on disk and in its set, which is the moment before the first
//! announcement leaves, and as folded by all when the last process has it in its state. Both times come from one clock,
//! the machine's. Processes start together, connect to each other, and only then begin.

use std::time::Duration;

use super::{
    figures::{interval, mean, percentile},
    fleet::Fleet,
    report::{Metric, Report, Target},
    run_folder::{RunFolder, Work},
};
use crate::{
    error::{Exit, Failure},
    observe::output::Output,
    peer::Pace,
    protocol::Command,
};

/// How long processes may take to start and to connect to each other.
const START_WITHIN: Duration = Duration::from_secs(120);

/// How much longer than its own pace the exchange may take.
const SLACK: Duration = Duration::from_secs(60);

/// How long the peers may take to end with one state.
const AGREE_WITHIN: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exchange {
    /// Processes.
    pub peers: usize,
    /// Parameters, about.
    pub params: u64,
    /// Updates of each peer.
    pub rounds: u32,
    /// From one update of a peer to its next.
    pub every: Duration,
    /// Whether all work at the same moments.
    pub together: bool,
    /// Density of updates, of 4096.
    pub top: u16,
    /// The most that announcing to folded-by-all may take on average, seconds.
    pub target_seconds: f64,
    /// The most memory all processes together may take, MiB.
    pub target_mib: f64,
}

/// Figures that need the processes alive.
struct Costs {
    cpu_seconds: Option<f64>,
    resident_bytes: u64,
    proportional_bytes: u64,
}

/// Measures and reports.
///
/// # Errors
/// Whatever keeps it from measuring; [`Exit::TargetMissed`] and [`Exit::Bug`] as [`Report::verdict`].
pub fn exchange(asked: &Exchange, output: &mut Output) -> Result<(), Failure> {
    let top = format!("compress.top={}", asked.top);
    let sets = [top.as_str(), "audit.rate=0", "checkpoint.every_tokens=1000000000000"];
    let run_folder = RunFolder::new("exchange", asked.peers, Work::StandIn { params: asked.params }, &sets)?;
    output.note(&format!("Starting {} peers of {} parameters …", asked.peers, run_folder.params()));
    let mut fleet = Fleet::new(run_folder)?;
    start(asked, &mut fleet)?;
    output.note(&format!("Exchanging {} updates …", asked.peers as u64 * u64::from(asked.rounds)));
    let costs = measure(asked, &mut fleet)?;
    let violations = end(&mut fleet)?;
    let report = report(asked, &fleet, &costs, violations);
    output.result(&report.to_text(), &report.to_json());
    report.verdict()
}

/// Starts everybody and waits until everybody is connected to everybody.
fn start(asked: &Exchange, fleet: &mut Fleet) -> Result<(), Failure> {
    for index in 0..asked.peers {
        let turn = if asked.together { 0 } else { index };
        let phase = asked.every.mul_f64(turn as f64 / asked.peers as f64);
        fleet.spawn(index, None, Some(Pace::new(asked.every, phase, asked.rounds)))?;
    }
    let up = fleet.until(START_WITHIN, |fleet| fleet.processes.iter().all(|process| process.started.is_some()))?;
    let addresses = fleet.addresses();
    for (index, process) in fleet.processes.iter_mut().enumerate() {
        addresses.iter().take(index).for_each(|address| process.send(Command::Connect(*address)));
    }
    let others = asked.peers - 1;
    let met = fleet.until(START_WITHIN, |fleet| fleet.living().all(|process| process.neighbours.len() >= others))?;
    match fleet.complaints().first() {
        Some(complaint) => Err(Failure::new(Exit::Device, "a peer did not start").because(complaint)),
        None if up && met => Ok(()),
        None => Err(Failure::new(Exit::TryAgain, "the peers did not all meet in time")),
    }
}

/// Lets them work until everything is folded everywhere, or the time is over.
fn measure(asked: &Exchange, fleet: &mut Fleet) -> Result<Costs, Failure> {
    let before = fleet.cpu_seconds();
    fleet.memory = super::fleet::Memory::default();
    fleet.send_all(Command::Begin);
    let all = updates(asked);
    let patience = asked.every * (asked.rounds + 1) + SLACK;
    fleet.until(patience, |fleet| fleet.tally.folded_by(asked.peers) >= all || fleet.alive().len() < asked.peers)?;
    let spent = fleet.cpu_seconds().zip(before).map(|(after, before)| after - before);
    let memory = &fleet.memory;
    let (resident_bytes, proportional_bytes) = (memory.resident_peak, memory.proportional_peak);
    Ok(Costs { cpu_seconds: spent, resident_bytes, proportional_bytes })
}

/// Drains, compares states, and ends all processes. Says what should not have been.
fn end(fleet: &mut Fleet) -> Result<Vec<String>, Failure> {
    let mut violations = fleet.complaints();
    fleet.send_all(Command::Drain);
    if !fleet.until(AGREE_WITHIN, agreed)? {
        violations.push("the peers did not end with the same state".to_owned());
    }
    violations.extend(fleet.shut_down()?);
    Ok(violations)
}

/// Whether all living processes have finished with one set and one state.
pub(super) fn agreed(fleet: &Fleet) -> bool {
    let end = |process: &super::fleet::Process| {
        let finished = process.finished.as_ref()?;
        Some((finished.version.clone(), finished.state_root.clone()))
    };
    let mut ends: Vec<_> = fleet.living().map(end).collect();
    let all = !ends.is_empty() && ends.iter().all(Option::is_some);
    ends.dedup();
    all && ends.len() == 1
}

fn updates(asked: &Exchange) -> usize {
    asked.peers * asked.rounds as usize
}

fn report(asked: &Exchange, fleet: &Fleet, costs: &Costs, violations: Vec<String>) -> Report {
    let groups: Vec<Vec<f64>> = fleet.tally.latencies(asked.peers).into_values().collect();
    let latencies = groups.concat();
    let peer_rounds = updates(asked) as f64;
    let mib = |bytes: u64| (bytes > 0).then_some(bytes as f64 / f64::from(1 << 20));
    let folded = 100.0 * fleet.tally.folded_by(asked.peers) as f64 / peer_rounds;
    let sent: u64 = fleet.processes.iter().map(|process| process.bytes_sent).sum();
    let mean_latency = Metric {
        interval: interval(&groups),
        ..Metric::new("announce_to_folded_by_all_mean_seconds", mean(&latencies), "s")
    };
    let metrics = vec![
        Metric::count("peers", asked.peers, "processes"),
        Metric::count("parameters", fleet.run_folder.params(), "parameters"),
        Metric::count("updates", updates(asked), "updates"),
        Metric::new("folded_everywhere_percent", folded, "%"),
        mean_latency,
        Metric::new("announce_to_folded_by_all_p95_seconds", percentile(&latencies, 0.95), "s"),
        Metric::new("announce_to_folded_by_all_max_seconds", percentile(&latencies, 1.0), "s"),
        Metric::new("memory_resident_mib", mib(costs.resident_bytes), "MiB, all processes"),
        Metric::new("memory_proportional_mib", mib(costs.proportional_bytes), "MiB, all processes"),
        Metric::new("cpu_seconds_per_peer_round", costs.cpu_seconds.map(|spent| spent / peer_rounds), "s"),
        Metric::new("bytes_sent_per_peer_round", sent as f64 / peer_rounds, "bytes at the UDP socket"),
    ];
    let targets = vec![
        Target::AtLeast("folded_everywhere_percent", 100.0),
        Target::AtMost("announce_to_folded_by_all_mean_seconds", asked.target_seconds),
        Target::AtMost("memory_resident_mib", asked.target_mib),
    ];
    Report { suite: "exchange", metrics, targets, violations }
}
