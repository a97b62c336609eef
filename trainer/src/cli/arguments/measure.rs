//! Arguments of the commands that measure: `bench`, `sim`, `doctor`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand};

use super::seconds;
use crate::bench::suites;

const BENCH_EXAMPLES: &str = "\
Examples:
  murmur bench codec                              run a suite and store its result (short for `bench run codec`)
  murmur bench parity --seeds 5 --json            more seeds; the last object on stdout is the conclusion
  murmur bench compare before.json after.json     what changed, as far as equal seeds show it
  murmur bench report before.json                 a page with plots, and tables for other programs
  murmur bench verify before.json                 whether it is whole and says what its samples say";

/// Arguments of `murmur bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = format!("{BENCH_EXAMPLES}\n\nSuites:\n{}", suites::list()))]
pub struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// What `murmur bench` can measure.
#[derive(Debug, Clone, Subcommand)]
pub enum BenchCommand {
    /// Run a suite once for each seed, store its result and say what it shows
    Run(SuiteArgs),
    /// Compare two results of a suite: what changed, as far as equal seeds show it
    Compare(CompareArgs),
    /// Show results, and write a page with plots (HTML) and tables (CSV)
    Report(ReportArgs),
    /// Check that a result is whole, and that its conclusion follows from its samples
    Verify(VerifyArgs),
    /// Local peers exchange updates of a model without training it: how many arrive, how fast, at what cost
    Exchange(ExchangeArgs),
    /// Local peers are killed, frozen, and started again at random; then they must agree
    Churn(ChurnArgs),
    /// Train in rounds with a barrier, by one of the methods that others use, to compare with
    Baseline(BaselineArgs),
}

/// Arguments of `murmur bench baseline`.
#[derive(Debug, Clone, Args)]
pub struct BaselineArgs {
    /// central, allreduce, param-server, diloco, noloco, demo, sparseloco, or rounds (the update log's payloads)
    pub method: String,
    /// Ranks, each a process
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub peers: Option<u16>,
    /// Momentum of the outer step, instead of the method's
    #[arg(long, value_name = "M")]
    pub momentum: Option<f32>,
    /// Change a setting of the run, after the method's own; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Put each rank behind a link of this profile, in a network namespace of its own (Linux, root): lan, cable, dsl …
    #[arg(long, value_name = "PROFILE", conflicts_with = "in_process")]
    pub link: Option<String>,
    /// Train all ranks in this one process, in turn: the same result, for searches
    #[arg(long)]
    pub in_process: bool,
    /// Print NDJSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur bench run`.
#[derive(Debug, Clone, Args)]
pub struct SuiteArgs {
    /// The suite; a name that is none lists all
    pub suite: String,
    /// How many seeds, from 1 on, or a list of them, as in 1,2,7 (7, is seed 7 alone)
    #[arg(long, value_name = "N", default_value = "3")]
    pub seeds: String,
    /// Tokens of each training run, as in 500k, instead of the suite's
    #[arg(long, value_name = "N")]
    pub tokens: Option<String>,
    /// Change a setting of the runs; may be repeated (`murmur config explain` lists them)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where the result goes [default: a file named after suite and time in the current folder]
    #[arg(long, value_name = "FILE.json")]
    pub out: Option<PathBuf>,
    /// Print NDJSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur bench compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The result before
    pub before: PathBuf,
    /// The result after
    pub after: PathBuf,
    /// Compare results of different machines, configurations or suites, and mark the comparison
    #[arg(long)]
    pub anyway: bool,
    /// Print one JSON object for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur bench report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Results
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The page; the tables lie beside it [default: the first result with .html]
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
    /// Print one JSON object for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur bench verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// A result
    pub result: PathBuf,
    /// Print one JSON object for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur bench exchange`.
#[derive(Debug, Clone, Args)]
pub struct ExchangeArgs {
    /// Peers, each a process
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub peers: u16,
    /// Parameters of the model, as in 2.4M; the nearest possible shape is taken
    #[arg(long, value_name = "N", default_value = "2.4M")]
    pub params: String,
    /// Updates that each peer makes
    #[arg(long, value_name = "R", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub rounds: u16,
    /// Seconds from one update of a peer to its next
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = seconds)]
    pub every: f64,
    /// Let all peers work at the same moments instead of spreading them evenly
    #[arg(long)]
    pub together: bool,
    /// Of every 4096 parameters, how many an update carries
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(16..=4096))]
    pub top: u16,
    /// Target: mean seconds from announcing an update to its being folded by all
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = seconds)]
    pub target_seconds: f64,
    /// Target: memory of all peers together, MiB
    #[arg(long, value_name = "N", default_value_t = 1536.0, value_parser = seconds)]
    pub target_mib: f64,
    /// Print NDJSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur bench churn`.
#[derive(Debug, Clone, Args)]
pub struct ChurnArgs {
    /// Peers to begin with, each a process
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(3..=32))]
    pub peers: u16,
    /// How long to disturb them
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = seconds)]
    pub seconds: f64,
    /// Where the choice of what happens to whom comes from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Parameters of the model, as in 200k; the nearest possible shape is taken
    #[arg(long, value_name = "N", default_value = "200k")]
    pub params: String,
    /// Seconds from one update of a peer to its next
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = seconds)]
    pub every: f64,
    /// Train a tiny model on the built-in text instead of standing in
    #[arg(long)]
    pub train: bool,
    /// Print NDJSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur estimate`.
#[derive(Debug, Clone, Default, Args)]
pub struct EstimateArgs {
    /// Settings of the run (TOML); without it, the built-in default
    pub file: Option<PathBuf>,
    /// Peers of the whole swarm, all alike [default: those on this machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub peers: Option<u16>,
    /// Of them, peers on this machine [default: 4 without a file, 1 with one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub local: Option<u16>,
    /// Tokens of all peers together, as in 500k or 12M
    #[arg(long, value_name = "N")]
    pub tokens: Option<String>,
    /// This machine's link: UP/DOWN in Mbit/s and the round trip in ms, as in 20/100/20, or a name (loopback, lan, cable, dsl, mobile)
    #[arg(long, value_name = "LINK", default_value = "loopback")]
    pub link: String,
    /// A file or folder of text instead of the built-in text
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Change a setting; may be repeated (`murmur config explain` lists them)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print one JSON object for programs
    #[arg(long)]
    pub json: bool,
}

/// What is simulated.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// A built-in scenario (mix, fast, wan, partition, churn125, byzantine, thousand, joins, nat), or a file that ends in .toml.
    #[arg(long, default_value = "mix", value_name = "NAME")]
    pub scenario: String,
    /// Peers, instead of the scenario's number.
    #[arg(long, value_name = "N")]
    pub peers: Option<usize>,
    /// The link of every peer, instead of the scenario's network: loopback, lan, cable, dsl, mobile, intercontinental or lossy.
    #[arg(long, value_name = "PROFILE")]
    pub link: Option<String>,
    /// Virtual seconds, instead of the scenario's.
    #[arg(long, value_name = "S")]
    pub seconds: Option<u64>,
    /// How many seeds, from 0 on.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub seeds: u64,
    /// This seed alone; its chronicle goes to stderr.
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Compute and measure with every instruction set of the processor, for about ten seconds
    #[arg(long, required = true)]
    pub kernels: bool,
    /// Print one JSON object for programs
    #[arg(long)]
    pub json: bool,
}

impl BenchArgs {
    /// Writes `murmur bench SUITE …` out as `murmur bench run SUITE …`: what follows `bench` and is neither a flag nor one of its
    /// commands is taken for a suite.
    pub(crate) fn written_out(mut arguments: Vec<OsString>) -> Vec<OsString> {
        let is_command = |word: &str| word == "help" || BenchCommand::has_subcommand(word);
        if let [_, bench, word, ..] = &arguments[..]
            && bench == "bench"
            && word.to_str().is_none_or(|word| !word.starts_with('-') && !is_command(word))
        {
            arguments.insert(2, "run".into());
        }
        arguments
    }

    pub(crate) fn json(&self) -> bool {
        match &self.command {
            BenchCommand::Run(arguments) => arguments.json,
            BenchCommand::Compare(arguments) => arguments.json,
            BenchCommand::Report(arguments) => arguments.json,
            BenchCommand::Verify(arguments) => arguments.json,
            BenchCommand::Exchange(arguments) => arguments.json,
            BenchCommand::Churn(arguments) => arguments.json,
            BenchCommand::Baseline(arguments) => arguments.json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_run_by_its_name_and_commands_stay_what_they_are() {
        let written = |line: &str| {
            let words = BenchArgs::written_out(line.split_whitespace().map(OsString::from).collect());
            words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(written("murmur bench parity --json"), "murmur bench run parity --json");
        assert_eq!(written("murmur bench codek"), "murmur bench run codek");
        for same in [
            "murmur bench run codec",
            "murmur bench churn --seed 3",
            "murmur bench --help",
            "murmur bench",
            "murmur run",
        ] {
            assert_eq!(written(same), same);
        }
    }
}
