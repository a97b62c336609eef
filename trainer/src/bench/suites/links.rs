//! `links`: what a link costs. The default model on four real peers, each behind a link of every profile in turn; and, for as long
//! as it takes to compare, dense all-reduce behind one of them.
//!
//! Two shares say whether training waits for the network. `training_share` is the part of the time from the first introduction
//! to each peer's last segment in which its segments computed. `processor_share` is the part of all the machine's processor time
//! that the peers used, beside `network_share`, what this program took to be the network, and `others_share`, what programs that
//! have nothing to do with it took. Bytes are counted twice: at the peers' UDP sockets, and as IP packets at their interfaces.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    bench::{
        baseline::{case::BaselineCase, group::Place, method::MethodName},
        cases::Case,
        curves::to_one_loss,
        exchange::agreed,
        figures::{mean, percentile},
        fleet::{Fleet, Process},
        footprint,
        links::{LinkProfile, Namespaces, PROFILES},
        report::{Metric, Target},
        run_folder::{RunFolder, Work},
        suite::{Conclusion, Options, Point, Sample, Suite},
    },
    error::{Exit, Failure},
    observe::output::Output,
    protocol::{Command, Report},
};

/// The suite.
pub(super) const LINKS: Suite = Suite {
    name: "links",
    about: "the default model on four peers, behind each kind of link: time, bytes, loss, and how much of it is training",
    trains: true,
    run,
    conclude,
};

/// Peers, each a process in a namespace of its own.
const PEERS: usize = 4;

/// Tokens of a run, unless the user asks for others.
const TOKENS: u64 = 300_000;

/// The link behind which all-reduce is compared, what that case is called, and its tokens: a hundredth of what it would take to
/// the swarm's last loss.
const DENSE_LINK: &str = "cable";
const DENSE: &str = "cable allreduce";
const DENSE_TOKENS: u64 = 60_000;

/// What is asked: how many times as long all-reduce takes to a loss that both reached.
const FASTER: (&str, f64) = ("seconds_ratio_allreduce_cable", 20.0);

/// How long processes may take to start and to meet; the worst link takes a few round trips of each pair.
const START_WITHIN: Duration = Duration::from_secs(120);

/// How long one run may take. What takes longer is a failed sample.
const TRAIN_WITHIN: Duration = Duration::from_secs(1800);

/// How long the peers may take to end with one state.
const AGREE_WITHIN: Duration = Duration::from_secs(60);

fn run(options: &Options, output: &mut Output, give: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    for &seed in &options.seeds {
        for profile in PROFILES {
            let empty = || Sample { case: profile.name.to_owned(), seed, ..Sample::default() };
            let links = match Namespaces::create(profile, PEERS) {
                Ok(links) => links,
                Err(why) => {
                    output.note(&format!("Skipped {}: {why}.", profile.name));
                    give(Sample { failure: Some(format!("skipped: {why}")), ..empty() });
                    continue;
                }
            };
            output.note(&format!("Training behind {} links, seed {seed}, by {} …", profile.name, links.method()));
            match measure(&profile, links, seed, options) {
                Ok(sample) => give(sample),
                // The user stopped it.
                Err(failure) if failure.exit() == Exit::TryAgain => return Err(failure),
                Err(failure) => give(Sample { failure: Some(failure.sentence()), ..empty() }),
            }
        }
        output.note(&format!("All-reduce behind {DENSE_LINK} links, seed {seed} …"));
        give(dense(options, seed)?);
    }
    Ok(())
}

/// All-reduce behind the slow link.
fn dense(options: &Options, seed: u64) -> Result<Sample, Failure> {
    let failed = |why: String| Sample { case: DENSE.to_owned(), seed, failure: Some(why), ..Sample::default() };
    let links = match LinkProfile::named(DENSE_LINK).map_err(|unknown| unknown.to_string()) {
        Ok(profile) => Namespaces::create(profile, PEERS).map_err(|why| format!("skipped: {why}")),
        Err(unknown) => Err(unknown),
    };
    let links = match links {
        Ok(links) => links,
        Err(why) => return Ok(failed(why)),
    };
    let method = MethodName::AllReduce;
    let case = BaselineCase { case: DENSE.to_owned(), method, peers: PEERS, tokens: DENSE_TOKENS, sets: Vec::new() };
    let options = Options { tokens: options.tokens.map(|tokens| tokens.min(DENSE_TOKENS)), ..options.clone() };
    case.sample(&options, seed, &|rank| Place::within(&links, rank))
}

/// One run behind one kind of link.
fn measure(profile: &LinkProfile, links: Namespaces, seed: u64, options: &Options) -> Result<Sample, Failure> {
    let tokens = options.tokens.unwrap_or(TOKENS);
    let own = [format!("seed={seed}"), format!("run.tokens={tokens}")];
    let sets: Vec<&str> = own.iter().chain(&options.sets).map(String::as_str).collect();
    let run_folder = RunFolder::new(&format!("links-{}", profile.name), PEERS, Work::Train, &sets)?;
    let mut fleet = Fleet::new(run_folder)?.within(links);
    meet(&mut fleet)?;
    let (begun, before) = (Instant::now(), Spent::by(&fleet));
    let curve = train(&mut fleet, begun)?;
    let trained_for = begun.elapsed().as_secs_f64();
    let spent = Spent::by(&fleet).zip(before).map(|(after, before)| after.shares_since(&before, trained_for));
    let equal = fleet.until(AGREE_WITHIN, agreed)?;
    let mut figures = figures(&fleet, begun, trained_for);
    figures.insert("equal_states".to_owned(), f64::from(u8::from(equal)));
    figures.extend(spent.into_iter().flatten().map(|(name, share)| (name.to_owned(), share)));
    fleet.shut_down()?;
    Ok(Sample { case: profile.name.to_owned(), seed, figures, curve, failure: None })
}

/// Processor seconds so far.
struct Spent {
    peers: f64,
    /// This program, which may be the network.
    own: f64,
    machine: f64,
}

impl Spent {
    fn by(fleet: &Fleet) -> Option<Self> {
        let own = footprint::cpu_seconds(std::process::id())?;
        Some(Self { peers: fleet.cpu_seconds()?, own, machine: footprint::machine_cpu_seconds()? })
    }

    /// Of all the machine's processor time in so many seconds: what the peers took, what this program took, and what others took
    /// away from both.
    fn shares_since(&self, before: &Self, seconds: f64) -> [(&'static str, f64); 3] {
        let all = seconds * std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let [peers, own] = [self.peers - before.peers, self.own - before.own];
        let others = (self.machine - before.machine - peers - own).max(0.0);
        [("processor_share", peers / all), ("network_share", own / all), ("others_share", others / all)]
    }
}

/// Starts everybody and introduces everybody to everybody.
fn meet(fleet: &mut Fleet) -> Result<(), Failure> {
    (0..PEERS).try_for_each(|index| fleet.spawn(index, None, None))?;
    let up = fleet.until(START_WITHIN, |fleet| fleet.processes.iter().all(|process| process.started.is_some()))?;
    if !up || !fleet.complaints().is_empty() {
        let why = fleet.complaints().into_iter().next().unwrap_or_else(|| "they took too long".to_owned());
        return Err(Failure::new(Exit::Device, "the peers did not start").because(why));
    }
    let addresses = fleet.addresses();
    for (index, process) in fleet.processes.iter_mut().enumerate() {
        let others = addresses.iter().enumerate().filter(|(other, _)| *other != index);
        others.for_each(|(_, address)| process.send(Command::Connect(*address)));
    }
    Ok(())
}

/// Lets them train until all have finished. Gives the losses that they measured on the way.
fn train(fleet: &mut Fleet, begun: Instant) -> Result<Vec<Point>, Failure> {
    let (deadline, mut curve) = (begun + TRAIN_WITHIN, Vec::new());
    while fleet.living().any(|process| process.finished.is_none()) {
        if Instant::now() >= deadline {
            return Err(Failure::new(Exit::NoPeers, format!("not done within {} s", TRAIN_WITHIN.as_secs())));
        }
        let Some((_, Report::Segment(segment))) = fleet.next_report(deadline)? else { continue };
        let bytes = fleet.processes.iter().map(|process| process.bytes_sent).sum();
        let point = |loss| Point { tokens: segment.set_tokens, seconds: begun.elapsed().as_secs_f64(), bytes, loss };
        curve.extend(segment.validation_loss.map(point));
    }
    match fleet.complaints().first() {
        Some(complaint) => Err(Failure::new(Exit::Device, "a peer did not finish").because(complaint)),
        None => Ok(curve),
    }
}

fn figures(fleet: &Fleet, begun: Instant, seconds: f64) -> BTreeMap<String, f64> {
    let finished = || fleet.processes.iter().filter_map(|process| process.finished.as_ref());
    let tokens = finished().map(|finished| finished.tokens_set).max().unwrap_or(0) as f64;
    let losses: Vec<f64> = finished().map(|finished| finished.val_loss).collect();
    let shares: Vec<f64> = fleet.processes.iter().filter_map(|process| training_share(process, begun)).collect();
    let sent: u64 = fleet.processes.iter().map(|process| process.bytes_sent).sum();
    let at_interfaces: Option<u64> = (0..PEERS).map(|index| fleet.links()?.sent_bytes(index)).sum();
    let last = fleet.processes.iter().filter_map(|process| process.segments.last()).max();
    let training = last.map(|last| last.saturating_duration_since(begun).as_secs_f64());
    let measured = [
        ("seconds", Some(seconds)),
        ("training_seconds", training),
        ("tokens", Some(tokens)),
        ("tokens_per_second", training.map(|training| tokens / training)),
        ("training_share", mean(&shares)),
        ("sent_bytes", Some(sent as f64)),
        ("sent_ip_bytes", at_interfaces.map(|bytes| bytes as f64)),
        ("val_loss_nats", mean(&losses)),
    ];
    measured.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The part of the time up to a peer's last segment in which its segments computed.
fn training_share(process: &Process, begun: Instant) -> Option<f64> {
    let lasted = process.segments.last()?.saturating_duration_since(begun).as_secs_f64();
    (lasted > 0.0).then(|| (process.trained_seconds / lasted).min(1.0))
}

/// What is told of each profile: the figure, and its unit.
const TOLD: [(&str, &str); 8] = [
    ("val_loss_nats", "nats per byte, held out"),
    ("seconds", "s until all have finished"),
    ("training_seconds", "s until the last segment"),
    ("tokens_per_second", "tokens/s"),
    ("training_share", "of the time"),
    ("processor_share", "of the processor"),
    ("others_share", "of the processor, lost to other programs"),
    ("sent_ip_bytes", "bytes of IP, all peers"),
];

fn conclude(samples: &[Sample]) -> Conclusion {
    let metric = |profile: &str, (figure, unit): (&str, &'static str)| {
        Metric::new(format!("{profile}_{figure}"), percentile(&Case::of(samples, profile).values(figure), 0.5), unit)
    };
    let mut metrics: Vec<Metric> =
        PROFILES.iter().flat_map(|profile| TOLD.map(|told| metric(profile.name, told))).collect();
    metrics.extend(PROFILES[1..].iter().map(|profile| speed(samples, profile.name)));
    let [ours, theirs] = [DENSE_LINK, DENSE].map(|case| Case::of(samples, case));
    metrics.push(to_one_loss(&ours, &theirs, FASTER.0, |spent| spent.seconds));
    let targets = vec![Target::AtLeast(FASTER.0, FASTER.1)];
    let differ = samples.iter().filter(|sample| sample.figures.get("equal_states") == Some(&0.0));
    let violation =
        |sample: &Sample| format!("{}, seed {}: the peers ended with different states", sample.case, sample.seed);
    Conclusion { metrics, targets, violations: differ.map(violation).collect() }
}

/// How fast a swarm behind such links trains, as a share of its speed on loopback with the same seed.
fn speed(samples: &[Sample], profile: &str) -> Metric {
    let speed_of = |case: &str, seed| {
        let sample = samples.iter().find(|sample| sample.case == case && sample.seed == seed)?;
        sample.figures.get("tokens_per_second").copied()
    };
    let here = samples.iter().filter(|sample| sample.case == profile);
    let ratio = |sample: &Sample| Some(speed_of(profile, sample.seed)? / speed_of(PROFILES[0].name, sample.seed)?);
    let ratios: Vec<f64> = here.filter_map(ratio).collect();
    Metric::new(format!("{profile}_speed_vs_loopback"), percentile(&ratios, 0.5), "of the tokens/s on loopback")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample(case: &str, seed: u64, figures: &[(&str, f64)]) -> Sample {
        let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Sample { case: case.to_owned(), seed, figures, ..Sample::default() }
    }

    #[test]
    fn medians_are_told_of_each_profile_and_different_states_are_a_violation() {
        let seconds = |seed, value| sample("cable", seed, &[("seconds", value), ("equal_states", 1.0)]);
        let mut samples = vec![seconds(1, 30.0), seconds(2, 90.0), seconds(3, 40.0)];
        samples.push(sample("dsl", 1, &[("seconds", 50.0), ("equal_states", 0.0)]));
        let told = conclude(&samples);
        let value = |name: &str| told.metrics.iter().find(|metric| metric.name == name).unwrap().value;
        assert_eq!(
            (value("cable_seconds"), value("dsl_seconds"), value("lossy_seconds")),
            (Some(40.0), Some(50.0), None)
        );
        let speed = |case, seed, value| sample(case, seed, &[("tokens_per_second", value)]);
        let paired = [speed("loopback", 1, 100.0), speed("lan", 1, 90.0), speed("lan", 2, 10.0)];
        let told_of_lan = conclude(&paired).metrics.into_iter().find(|metric| metric.name == "lan_speed_vs_loopback");
        assert_eq!(told_of_lan.unwrap().value, Some(0.9), "seed 2 has no pair");
        assert_eq!(told.violations, ["dsl, seed 1: the peers ended with different states"]);
    }
}
