//! The command line: from arguments to a command, and from its end to an exit code.

mod arguments;
mod bench;
mod doctor;
mod estimate;
mod inputs;
mod join;
mod pages;
mod peer;
mod run;
mod sample;
mod sim;
mod status;
mod suite;
mod text;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::{Parser, error::ErrorKind};
use tracing_subscriber::EnvFilter;

use crate::{
    crash::{self, Audience},
    error::{Exit, Failure},
    learn::numeric::check_forced_level,
    observe::output::{Format, Output, is_closed},
    resources::start_shared_pool,
};

pub use arguments::{
    BaselineArgs, BenchArgs, BenchCommand, ChurnArgs, Cli, Command, CompareArgs, ConfigArgs, ConfigCommand, DoctorArgs,
    EstimateArgs, ExchangeArgs, ExplainArgs, JoinArgs, PeerArgs, ReportArgs, RunArgs, SampleArgs, SettingArgs, SimArgs,
    StatusArgs, SuiteArgs, VerifyArgs,
};

/// Variable that chooses how much is logged on stderr, as in `MURMUR_LOG=debug`.
const LOG_VARIABLE: &str = "MURMUR_LOG";

/// Runs the command of this process's arguments. Call it once, from `main`.
pub fn main() -> ExitCode {
    let arguments = BenchArgs::written_out(std::env::args_os().collect());
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => carry_out(&cli),
        Err(error) => not_understood(&error, &arguments).into(),
    }
}

fn carry_out(cli: &Cli) -> ExitCode {
    log(&cli.command);
    crash::install(cli.command.audience());
    let mut output = Output::new(cli.command.format());
    let Err(failure) = dispatch(cli, &mut output).and_then(|()| output.check()) else { return Exit::Ok.into() };
    let exit = failure.exit();
    match &cli.command {
        Command::Peer(_) => peer::log(failure),
        Command::Run(_)
        | Command::Join(_)
        | Command::Sample(_)
        | Command::Status(_)
        | Command::Peers(_)
        | Command::Bench(_)
        | Command::Estimate(_)
        | Command::Sim(_)
        | Command::Doctor(_)
        | Command::Config(_)
        | Command::Explain(_)
        | Command::BaselineRank
        | Command::Completions { .. } => output.failure(failure),
    }
    exit.into()
}

fn dispatch(cli: &Cli, output: &mut Output) -> Result<(), Failure> {
    if cli.command.computes() {
        check_forced_level()?;
        // A run first makes sure that its peers may have theirs, too.
        if !matches!(cli.command, Command::Run(_) | Command::Join(_)) {
            start_shared_pool()?;
        }
    }
    match &cli.command {
        Command::Run(arguments) => run::run(arguments, output),
        Command::Join(arguments) => join::join(arguments, output),
        Command::Sample(arguments) => sample::sample(arguments, output),
        Command::Status(arguments) => status::status(arguments, output),
        Command::Peers(arguments) => status::peers(arguments, output),
        Command::Bench(arguments) => bench::bench(arguments, output),
        Command::Estimate(arguments) => estimate::estimate(arguments, output),
        Command::Sim(arguments) => sim::sim(arguments, output),
        Command::Doctor(arguments) => doctor::doctor(arguments, output),
        Command::Config(arguments) => pages::config(arguments, output),
        Command::Explain(arguments) => pages::explain(arguments, output),
        Command::Completions { shell } => {
            pages::completions(*shell, output);
            Ok(())
        }
        Command::Peer(arguments) => peer::peer(arguments),
        Command::BaselineRank => crate::bench::baseline::process::run(),
    }
}

/// Help and version are answers; the rest is a usage error. clap's own text says what and where.
fn not_understood(error: &clap::Error, arguments: &[OsString]) -> Exit {
    let answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let printed = error.print();
    if answer {
        return if printed.is_err_and(|error| !is_closed(&error)) { Exit::DiskFull } else { Exit::Ok };
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let text = error.to_string();
        let sentence = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Output::new(Format::Json).page("", &Failure::new(Exit::Usage, sentence).to_json());
    }
    Exit::Usage
}

/// Log lines go to stderr: warnings for people, more in a peer's log file.
fn log(command: &Command) {
    let default = if matches!(command, Command::Peer(_)) { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    // A log on a full disk is a log that is missed, and no reason to end; the library would panic when it complains there.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    // A second call in one process, as tests make, changes nothing.
    let _ = lines.with_ansi(io::stderr().is_terminal()).try_init();
}

impl Command {
    /// Whether kernels run in it, or in processes that it starts.
    fn computes(&self) -> bool {
        match self {
            Self::Run(_)
            | Self::Join(_)
            | Self::Sample(_)
            | Self::Bench(_)
            | Self::BaselineRank
            | Self::Estimate(_)
            | Self::Sim(_)
            | Self::Doctor(_) => true,
            // A peer says itself what is wrong, to its launcher.
            Self::Peer(_) => false,
            Self::Status(_) | Self::Peers(_) | Self::Config(_) | Self::Explain(_) | Self::Completions { .. } => false,
        }
    }

    /// The reader of a crash report.
    fn audience(&self) -> Audience {
        match (self, self.format()) {
            (Self::Peer(_), _) => Audience::Launcher,
            (_, Format::Json) => Audience::Program,
            (_, Format::Text) => Audience::Person,
        }
    }

    fn format(&self) -> Format {
        let json = match self {
            Self::Run(arguments) => arguments.json,
            Self::Join(arguments) => arguments.json,
            Self::Sample(arguments) => arguments.json,
            Self::Bench(arguments) => arguments.json(),
            Self::Config(arguments) => arguments.json(),
            Self::Status(arguments) | Self::Peers(arguments) => arguments.json,
            Self::Explain(arguments) => arguments.json,
            Self::Estimate(arguments) => arguments.json,
            Self::Sim(arguments) => arguments.json,
            Self::Doctor(arguments) => arguments.json,
            Self::Completions { .. } | Self::Peer(_) | Self::BaselineRank => false,
        };
        if json { Format::Json } else { Format::Text }
    }
}
