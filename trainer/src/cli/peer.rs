//! The hidden `murmur peer`: from the launcher's arguments to a peer that runs.

use std::{
    io::{self, Write},
    time::Duration,
};

use murmur_verification::Attack;

use super::{arguments::PeerArgs, join::refused};
use crate::{
    config::{Inputs, Resolved},
    crash,
    error::{Exit, Failure},
    learn::numeric::check_forced_level,
    peer::{self, Pace, PeerOptions},
    protocol::Report,
    resources::start_shared_pool,
};

/// How long a draining peer of a run waits for neighbours that still train: they drain at the same time, but one may be
/// in the middle of an audit.
const PATIENCE_OF_A_RUN: Duration = Duration::from_secs(10);
/// How long a leaving volunteer waits: the others go on, so there is no end to wait for.
const PATIENCE_OF_A_VOLUNTEER: Duration = Duration::from_secs(3);

/// Runs one peer until a command ends it.
///
/// # Errors
/// Whatever made it fail; it has been reported already.
pub(super) fn peer(arguments: &PeerArgs) -> Result<(), Failure> {
    arguments.crash.into_iter().for_each(crash::set_target);
    match options(arguments) {
        Ok(options) => peer::run(options),
        Err(failure) => {
            say(&failure);
            Err(failure)
        }
    }
}

/// The launcher has resolved the settings; only what it passed on counts, not this process's environment.
fn options(arguments: &PeerArgs) -> Result<PeerOptions, Failure> {
    check_forced_level()?;
    start_shared_pool()?;
    let settings = Resolved::new(&Inputs { sets: arguments.set.clone(), ..Inputs::default() })?.settings()?;
    let ticket = arguments.ticket.as_deref().map(|text| text.parse().map_err(refused)).transpose()?;
    let attack = arguments.misbehave.as_deref().map(str::parse::<Attack>).transpose();
    let stand_in = arguments.stand_in.as_deref().map(str::parse::<Pace>).transpose();
    Ok(PeerOptions {
        state_dir: arguments.state_dir.clone(),
        patience: if ticket.is_some() { PATIENCE_OF_A_VOLUNTEER } else { PATIENCE_OF_A_RUN },
        ticket,
        listen: settings.net.listen,
        relay: settings.net.relay,
        port_map: settings.net.port_map,
        metrics: settings.net.metrics,
        state_memory: settings.device.state_memory,
        memory_check: settings.device.memory_check,
        threads: settings.device.threads,
        data: settings.data.path,
        stand_in: stand_in.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?,
        reports_folds: arguments.tell_folds,
        attack: attack.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?,
    })
}

/// Shows a failure in the peer's log; the peer has reported it.
pub(super) fn log(failure: Failure) {
    // A log that cannot be written is no reason to end otherwise.
    let _ = writeln!(io::stderr(), "{}", failure.render());
}

fn say(failure: &Failure) {
    // A launcher that is gone needs no report.
    let _ = writeln!(io::stdout(), "{}", Report::Error(failure.to_fault()).to_line());
}
