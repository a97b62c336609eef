//! `murmur sim`: seeds of a simulated swarm, spread over the processor's threads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use murmur_sim::{Figures, LinkProfile, Report, Scenario, Summary, run_seed};
use serde_json::json;

use super::arguments::SimArgs;
use crate::{
    crash::MORE_THREADS,
    error::{Exit, Failure},
    observe::output::Output,
};

/// Plays the seeds and says what did not hold.
///
/// # Errors
/// An unknown or impossible scenario; [`Exit::Bug`] when an invariant was violated.
pub(super) fn sim(arguments: &SimArgs, output: &mut Output) -> Result<(), Failure> {
    let scenario = scenario(arguments)?;
    let (first, count) = arguments.seed.map_or((0, arguments.seeds), |seed| (seed, 1));
    let started = std::time::Instant::now();
    let (summary, figures) = play(&scenario, first, count, output)?;
    conclude(&scenario, (&summary, figures), started.elapsed().as_secs_f64(), output);
    match summary.violation_count() {
        0 => Ok(()),
        found => Err(Failure::new(Exit::Bug, format!("{found} violations of invariants in {} seeds", summary.seeds))
            .hint("Each is listed with the command that shows it again; please report one of them.")),
    }
}

fn scenario(arguments: &SimArgs) -> Result<Scenario, Failure> {
    let name = &arguments.scenario;
    let bad = |reason: String| {
        Failure::new(Exit::Config, format!("scenario `{name}`: {reason}"))
            .hint("Change that number in the scenario's file, or give other --peers or --seconds.")
    };
    let mut scenario = match Scenario::built_in(name) {
        Some(scenario) => scenario,
        None if name.ends_with(".toml") => {
            let text = std::fs::read_to_string(name).map_err(|error| bad(error.to_string()))?;
            // The line that reproduces a violation names the file, not what the file calls itself.
            let name = name.clone();
            Scenario { name, ..Scenario::from_toml(&text).map_err(|error| bad(error.to_string()))? }
        }
        None => {
            let known: Vec<&str> = Scenario::built_in_names().collect();
            let hint = format!("Built in: {}. Or name a file that ends in .toml.", known.join(", "));
            return Err(Failure::new(Exit::Usage, format!("there is no scenario `{name}`")).hint(hint));
        }
    };
    scenario.peers = arguments.peers.unwrap_or(scenario.peers);
    scenario.seconds = arguments.seconds.unwrap_or(scenario.seconds);
    if let Some(name) = &arguments.link {
        let profile =
            LinkProfile::named(name).map_err(|unknown| Failure::new(Exit::Usage, unknown.to_string()).at("--link"))?;
        scenario.link = Some(profile);
    }
    scenario.check().map_err(|error| bad(error.to_string()))?;
    Ok(scenario)
}

/// Each thread takes the next seed; reports are shown as they come and summed in the order of seeds. A single seed also shows
/// its chronicle and gives all its figures; those of many seeds are dropped, because many reports wait for the sum.
fn play(
    scenario: &Scenario,
    first: u64,
    count: u64,
    output: &mut Output,
) -> Result<(Summary, Option<Figures>), Failure> {
    let (next, end) = (AtomicU64::new(first), first.saturating_add(count));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(usize::try_from(count).unwrap_or(1));
    let (reports, finished) = std::sync::mpsc::channel();
    let (mut held, mut started, mut refused) = (Vec::new(), 0, None);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (next, reports) = (&next, reports.clone());
            let work = move || {
                let seeds = std::iter::from_fn(|| Some(next.fetch_add(1, Relaxed)).filter(|seed| *seed < end));
                seeds.for_each(|seed| {
                    let mut report = run_seed(scenario, seed);
                    if count > 1 {
                        report.chronicle = Vec::new();
                    }
                    drop(reports.send(report));
                });
            };
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, work) {
                refused = Some(error);
                break;
            }
            started += 1;
        }
        drop(reports);
        for report in finished {
            show(&report, output);
            held.push(report);
        }
    });
    // Fewer threads than wanted take longer; none at all do nothing.
    if let Some(error) = refused.filter(|_| started == 0) {
        return Err(Failure::new(Exit::Device, "cannot start a thread").because(error).hint(MORE_THREADS));
    }
    if held.len() as u64 != count {
        return Err(Failure::new(Exit::Bug, "a simulated seed stopped unexpectedly"));
    }
    held.sort_by_key(|report| report.seed);
    let mut summary = Summary::default();
    held.iter().for_each(|report| summary.add(report));
    let single = held.pop().filter(|_| count == 1);
    Ok((summary, single.map(|report| report.figures)))
}

fn show(report: &Report, output: &mut Output) {
    report.chronicle.iter().for_each(|line| output.note(line));
    for violation in &report.violations {
        output.note(&format!("seed {}: {violation}", report.seed));
    }
}

fn conclude(scenario: &Scenario, (summary, figures): (&Summary, Option<Figures>), seconds: f64, output: &mut Output) {
    let found = summary.violation_count();
    let faults: u64 = summary.faults.values().sum();
    let text = format!(
        "{} seeds of {} with {} peers: {} violations, {} segments, {faults} faults, {:.0} virtual minutes in {seconds:.0} s",
        summary.seeds,
        scenario.name,
        scenario.peers,
        found,
        summary.authored,
        summary.virtual_ms as f64 / 60_000.0,
    );
    let object = json!({
        "schema": "murmur.sim/1",
        "scenario": scenario.name,
        "peers": scenario.peers,
        "link": scenario.link.map(|link| link.name),
        "seeds": summary.seeds,
        "violations": found,
        "violated": summary.violated,
        "first_violations": summary.violations,
        "figures": {
            "segments": summary.authored,
            "faults": summary.faults,
            "virtual_seconds": summary.virtual_ms as f64 / 1000.0,
            "heal_seconds_max": summary.heal_ms_max as f64 / 1000.0,
            "seconds": seconds,
        },
        "seed_figures": figures,
    });
    output.result(&text, &object);
}
