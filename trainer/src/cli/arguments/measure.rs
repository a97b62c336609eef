//! Arguments of the commands that measure: `bench`, `sim`, `doctor`.

use clap::{Args, Subcommand};

use super::seconds;

/// Arguments of `murmur bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// What `murmur bench` can measure.
#[derive(Debug, Clone, Subcommand)]
pub enum BenchCommand {
    /// Local peers exchange updates of a model without training it: how many arrive, how fast, at what cost
    Exchange(ExchangeArgs),
    /// Local peers are killed, frozen, and started again at random; then they must agree
    Churn(ChurnArgs),
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
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            BenchCommand::Exchange(arguments) => arguments.json,
            BenchCommand::Churn(arguments) => arguments.json,
        }
    }
}
