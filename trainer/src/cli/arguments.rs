//! The arguments of the command line, and their help.

mod measure;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use measure::{
    BaselineArgs, BenchArgs, BenchCommand, ChurnArgs, CompareArgs, DoctorArgs, EstimateArgs, ExchangeArgs, ReportArgs,
    SimArgs, SuiteArgs, VerifyArgs,
};

use crate::crash::Part;

const EXAMPLES: &str = "\
Examples:
  murmur run                            train the built-in default with 4 local peers
  murmur run --local 2 --tokens 500k    a short one
  murmur run run.toml                   be the first peer of a run of your own
  murmur join murmur1…                  take part in a run
  murmur sample --prompt 'fn main'      write with the newest checkpoint
  murmur config explain train.lr        what a setting does and where its value comes from
  murmur explain 20                     what an exit code means and what to do";

/// Trains one model on many machines with no coordinator.
#[derive(Debug, Parser)]
#[command(name = "murmur", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `murmur` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a run: train a model with local peers, and let others join
    Run(RunArgs),
    /// Take part in a run with the ticket it printed
    Join(JoinArgs),
    /// Say what the peers on this machine are doing
    Status(StatusArgs),
    /// List the neighbours of this machine's peers, and how they are connected
    Peers(StatusArgs),
    /// Write text with a trained model
    Sample(SampleArgs),
    /// Measure: run suites of benchmarks, store, compare, show and check their results
    Bench(BenchArgs),
    /// Say what a run will take before it starts: memory, traffic, time
    Estimate(EstimateArgs),
    /// Simulate whole swarms with faults and check what must hold.
    Sim(SimArgs),
    /// Examine this machine: whether its kernels compute the exact profile, and how fast
    Doctor(DoctorArgs),
    /// Look at settings
    Config(ConfigArgs),
    /// Say what an exit code means and what to do about it
    Explain(ExplainArgs),
    /// Print a script that completes murmur's commands in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// One peer process; the launcher starts these
    #[command(hide = true)]
    Peer(PeerArgs),
    /// One rank of a baseline; benchmarks start these
    #[command(hide = true)]
    BaselineRank,
}

/// Arguments of `murmur run`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Settings of the run (TOML); without it, the built-in default
    pub file: Option<PathBuf>,
    /// Peers on this machine [default: 4 without a file, 1 with one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub local: Option<u16>,
    /// End after this many tokens of all peers together, as in 500k or 12M
    #[arg(long, value_name = "N")]
    pub tokens: Option<String>,
    /// End after this many seconds of training
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// Where initial parameters and the order of the data come from
    #[arg(long, value_name = "N")]
    pub seed: Option<String>,
    /// A file or folder of text instead of the built-in text
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Change a setting; may be repeated (`murmur config explain` lists them)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The folder of this run [default: a new one in this account's data folder]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Go on with a run that this machine started
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "local", "state_dir"])]
    pub resume: Option<PathBuf>,
    /// Probability that an update is audited, 0 to 1
    #[arg(long, value_name = "R")]
    pub audit_rate: Option<String>,
    /// Announce the run on the local network (multicast DNS), for `murmur join --lan`
    #[arg(long)]
    pub lan: bool,
    /// Pass packets on between peers that cannot reach each other: N pairs at once
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "8", require_equals = true)]
    pub relay: Option<String>,
    /// Ask the router to let others in: map a port by PCP, NAT-PMP or UPnP while the peer runs
    #[arg(long)]
    pub port_map: bool,
    /// Let a local peer cheat, to watch it being caught: skip, noise or copy
    #[arg(long, value_name = "PEER=MODE", hide = true)]
    pub misbehave: Vec<String>,
    /// Let a thread or task of a local peer crash, to test the report
    #[arg(long, value_name = "PEER=PART", hide = true)]
    pub crash: Vec<String>,
    /// Print NDJSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur join`.
#[derive(Debug, Clone, Default, Args)]
pub struct JoinArgs {
    /// The ticket, as printed by the run
    #[arg(required_unless_present = "lan")]
    pub ticket: Option<String>,
    /// Look for runs on the local network (multicast DNS); without a ticket, join the one that is there
    #[arg(long)]
    pub lan: bool,
    /// Pass packets on between peers that cannot reach each other: N pairs at once
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "8", require_equals = true)]
    pub relay: Option<String>,
    /// Ask the router to let others in: map a port by PCP, NAT-PMP or UPnP while the peer runs
    #[arg(long)]
    pub port_map: bool,
    /// The folder of this peer [default: one in this account's data folder]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The run's text, if it is not the built-in one
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Leave after this many seconds of training
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// Change a setting of this machine (net.* or device.*); may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print NDJSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur status` and `murmur peers`.
#[derive(Debug, Clone, Default, Args)]
pub struct StatusArgs {
    /// Only the peers in this folder [default: all runs of this account]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print one JSON object for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur sample`.
#[derive(Debug, Clone, Args)]
pub struct SampleArgs {
    /// The text to go on from; empty starts a new file
    #[arg(long, default_value = "")]
    pub prompt: String,
    /// A checkpoint
    #[arg(long, value_name = "PATH", conflicts_with = "state_dir")]
    pub checkpoint: Option<PathBuf>,
    /// The newest checkpoint in this folder [default: the newest of any run on this account]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Bytes to write
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub length: usize,
    /// Below 1 is more predictable; 0 always takes the likeliest byte
    #[arg(long, value_name = "T", default_value_t = 0.8, value_parser = temperature)]
    pub temperature: f32,
    /// Choose among this many of the likeliest bytes; 0 for all
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub top: usize,
    /// The same seed writes the same text
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `murmur config`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// What to do with settings.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What `murmur config` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Show a setting's value, where it comes from and how to choose it; without KEY, list all
    Explain(SettingArgs),
}

/// Arguments of `murmur config explain`.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingArgs {
    /// The setting, as in train.lr
    pub key: Option<String>,
    /// The file that a run would be started with
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// As a run would be given; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

impl ConfigArgs {
    pub(super) fn json(&self) -> bool {
        let ConfigCommand::Explain(arguments) = &self.command;
        arguments.json
    }
}

/// Arguments of `murmur explain`.
#[derive(Debug, Clone, Default, Args)]
pub struct ExplainArgs {
    /// The code or its name; without it, list all
    pub code: Option<String>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of the hidden `murmur peer`, as the launcher writes them.
#[derive(Debug, Clone, Args)]
pub struct PeerArgs {
    /// Which of this machine's peers
    #[arg(long)]
    pub index: usize,
    /// The peer's own folder
    #[arg(long)]
    pub state_dir: PathBuf,
    /// How to reach the run, for a joiner
    #[arg(long)]
    pub ticket: Option<String>,
    /// How to cheat
    #[arg(long)]
    pub misbehave: Option<String>,
    /// The pace of a stand-in that trains nothing
    #[arg(long)]
    pub stand_in: Option<String>,
    /// The part that is to crash
    #[arg(long)]
    pub crash: Option<Part>,
    /// Report each update that is folded
    #[arg(long)]
    pub tell_folds: bool,
    /// Settings of this machine
    #[arg(long)]
    pub set: Vec<String>,
}

/// A time that is positive and finite.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    let sensible = seconds > 0.0 && seconds < 1e9;
    if sensible { Ok(seconds) } else { Err("must be more than 0 and less than a billion".to_owned()) }
}

/// A number that is not negative.
fn temperature(text: &str) -> Result<f32, String> {
    let temperature: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    let sensible = (0.0..=100.0).contains(&temperature);
    if sensible { Ok(temperature) } else { Err("must be from 0 to 100".to_owned()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_run_is_there() {
        let line = "murmur run my.toml --local 2 --tokens 500k --seconds 30 --seed 7 --data /text --set train.lr=1e-3 \
            --lan --port-map --set net.listen=0.0.0.0:0 --state-dir /s --json --misbehave 1=noise --audit-rate 0.5";
        let Command::Run(arguments) = parse(line).unwrap().command else { panic!("not run") };
        assert_eq!(arguments.file, Some("my.toml".into()));
        assert_eq!((arguments.local, arguments.seconds), (Some(2), Some(30.0)));
        assert_eq!(arguments.tokens.as_deref(), Some("500k"));
        assert_eq!(arguments.set.len(), 2);
        assert_eq!(arguments.misbehave, ["1=noise"]);
        assert!(arguments.json && arguments.port_map);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "murmur",
            "murmur dance",
            "murmur run --local 0",
            "murmur run --seconds -1",
            "murmur run --seconds nan",
            "murmur run --resume /a --state-dir /b",
            "murmur join",
            "murmur sample --temperature -1",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn help_shows_the_commands_but_not_the_hidden_one() {
        let help = Cli::command().render_help().to_string();
        for name in ["run", "join", "sample", "status", "peers", "bench", "estimate", "doctor", "config", "explain"] {
            assert!(help.contains(name), "{name}");
        }
        assert!(!help.contains("peer process"));
    }
}
