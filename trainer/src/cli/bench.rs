//! `murmur bench`: from arguments to what is measured.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Map, json};

use super::{
    arguments::{BaselineArgs, BenchArgs, BenchCommand, ChurnArgs, ExchangeArgs},
    suite,
};
use crate::{
    bench::{
        baseline::{group, in_process, method::MethodName, rank::Task},
        churn::{Churn, churn},
        exchange::{Exchange, exchange},
        links::{LinkProfile, Namespaces},
    },
    config::{Kind, Value},
    error::{Exit, Failure},
    launcher::threads,
    observe::output::Output,
};

/// Fewest and most parameters of a benchmark's model.
const PARAMETERS: (u64, u64) = (10_000, 100_000_000);

/// Measures and reports.
///
/// # Errors
/// Whatever keeps it from measuring; [`Exit::TargetMissed`]; [`Exit::Bug`] when a rule was broken.
pub(super) fn bench(arguments: &BenchArgs, output: &mut Output) -> Result<(), Failure> {
    match &arguments.command {
        BenchCommand::Run(arguments) => suite::run(arguments, output),
        BenchCommand::Compare(arguments) => suite::compare(arguments, output),
        BenchCommand::Report(arguments) => suite::report(arguments, output),
        BenchCommand::Verify(arguments) => suite::verify(arguments, output),
        BenchCommand::Exchange(arguments) => exchange(&of_exchange(arguments)?, output),
        BenchCommand::Churn(arguments) => churn(&of_churn(arguments)?, output),
        BenchCommand::Baseline(arguments) => baseline(arguments, output),
    }
}

/// Peers of a baseline, unless it is central.
const BASELINE_PEERS: u16 = 4;

fn baseline(arguments: &BaselineArgs, output: &mut Output) -> Result<(), Failure> {
    let method: MethodName = arguments.method.parse()?;
    let usual = if method == MethodName::Central { 1 } else { BASELINE_PEERS };
    let peers = usize::from(arguments.peers.unwrap_or(usual));
    let task = Task::new(method, peers, arguments.momentum, &arguments.set)?;
    let threads = threads(task.settings.device.threads, if arguments.in_process { 1 } else { peers });
    let sample = if arguments.in_process {
        in_process::train(&task, threads)?
    } else {
        let links = arguments.link.as_deref().map(|name| links(name, peers)).transpose()?;
        let place = |rank| links.as_ref().map_or_else(group::Place::here, |links| group::Place::within(links, rank));
        let places = (0..peers).map(place).collect::<Result<Vec<_>, _>>()?;
        group::train(&task, &arguments.set, places, threads)?
    };
    let metrics =
        sample.figures.iter().map(|(name, value)| (name.clone(), json!({ "value": value }))).collect::<Map<_, _>>();
    let curve = sample.curve.iter().map(|p| json!([p.tokens, p.seconds, p.bytes, p.loss])).collect::<Vec<_>>();
    let object = json!({
        "schema": "murmur.bench/1", "suite": "baseline", "case": sample.case, "seed": sample.seed,
        "metrics": metrics, "curve": curve,
    });
    let lines = sample.figures.iter().map(|(name, value)| format!("{name:<16} {value:.4}")).collect::<Vec<_>>();
    output.result(&format!("{}, seed {}\n{}", sample.case, sample.seed, lines.join("\n")), &object);
    Ok(())
}

/// A namespace behind such a link for each peer.
fn links(name: &str, peers: usize) -> Result<Namespaces, Failure> {
    let profile = LinkProfile::named(name).map_err(|unknown| Failure::new(Exit::Usage, unknown.to_string()))?;
    Namespaces::create(profile, peers)
        .map_err(|why| Failure::new(Exit::Device, "the links cannot be shaped here").because(why.to_string()))
}

fn of_exchange(arguments: &ExchangeArgs) -> Result<Exchange, Failure> {
    Ok(Exchange {
        peers: arguments.peers.into(),
        params: parameters(&arguments.params)?,
        rounds: arguments.rounds.into(),
        every: Duration::from_secs_f64(arguments.every),
        together: arguments.together,
        top: arguments.top,
        target_seconds: arguments.target_seconds,
        target_mib: arguments.target_mib,
    })
}

fn of_churn(arguments: &ChurnArgs) -> Result<Churn, Failure> {
    Ok(Churn {
        peers: arguments.peers.into(),
        duration: Duration::from_secs_f64(arguments.seconds),
        seed: arguments.seed,
        params: parameters(&arguments.params)?,
        every: Duration::from_secs_f64(arguments.every),
        train: arguments.train,
    })
}

/// A number of parameters as settings write numbers.
fn parameters(text: &str) -> Result<u64, Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("`{text}` is no number of parameters")).at("--params");
    let (least, most) = PARAMETERS;
    match whole(text, least..=most) {
        Some(number) => Ok(number),
        None => Err(wrong().hint(format!("Write a number from {least} to {most}, as in 200k or 2.4M."))),
    }
}

/// A whole number as settings write it, if it is one and allowed.
pub(super) fn whole(text: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
    match Value::parse(&Kind::Whole(allowed), text) {
        Ok(Value::Whole(number)) => Some(number),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_written_as_in_settings() {
        assert_eq!(parameters("2.4M").unwrap(), 2_400_000);
        for wrong in ["", "many", "5", "1G", "-3k"] {
            assert_eq!(parameters(wrong).unwrap_err().exit(), Exit::Usage, "{wrong}");
        }
    }
}
