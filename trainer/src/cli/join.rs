//! `murmur join`: one peer of this machine in a run that others started.

use std::time::Duration;

use super::{arguments::JoinArgs, inputs, run::this_program};
use crate::{
    config::Resolved,
    error::Failure,
    explain::Exit,
    launcher::{PeerPlan, Plan, launch},
    output::Output,
    state_dir::{self, Origin, StateDir},
    ticket::{Ticket, TicketError},
};

/// Joins and stays until the run ends, or this machine leaves it.
///
/// # Errors
/// Whatever made it fail, with its exit code.
pub(super) fn join(arguments: &JoinArgs, output: &mut Output) -> Result<(), Failure> {
    let ticket: Ticket = arguments.ticket.parse().map_err(refused)?;
    let resolved = Resolved::new(&inputs::of_join(arguments)?)?;
    resolved.machine_only("joining a run")?;
    let settings = resolved.settings()?;
    let default = || state_dir::default_path(Origin::Join, ticket.run_id());
    let path = arguments.state_dir.clone().map_or_else(default, Ok)?;
    let (dir, index) = match StateDir::of_local_peer(&path, ticket.run_id())? {
        Some(lost) => lost,
        None => (StateDir::for_join(&path, ticket.run_id())?, 0),
    };
    let plan = Plan {
        program: this_program()?,
        peers: vec![PeerPlan::new(&dir, index, &settings, Some(&ticket), None)],
        run_id: dir.run_id(),
        state_dir: dir.path().to_owned(),
        announce: settings.net.announce.parse().ok(),
        limit: arguments.seconds.map(Duration::from_secs_f64),
        joined: true,
    };
    launch(&plan, output)
}

/// What is wrong with a ticket, as a failure of the command.
pub(super) fn refused(error: TicketError) -> Failure {
    let (exit, hint) = match error {
        TicketError::Version(_) => (Exit::Version, "Run the same version of murmur as the peer that made the ticket."),
        TicketError::NotATicket
        | TicketError::TooLong
        | TicketError::Character(..)
        | TicketError::CutShort
        | TicketError::Checksum
        | TicketError::Malformed(_)
        | TicketError::AddressCount(_) => {
            (Exit::Usage, "Copy the whole word after `murmur join` from the run's first screen.")
        }
    };
    Failure::new(exit, "the ticket cannot be read").because(error).hint(hint)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_ticket_is_a_usage_error_that_says_what_is_wrong() {
        let error = "murmur1abc0".parse::<Ticket>().unwrap_err();
        let failure = refused(error);
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.sentence().contains("mistyped"), "{}", failure.sentence());
    }

    #[test]
    fn a_ticket_of_another_version_has_its_own_code() {
        assert_eq!(refused(TicketError::Version(2)).exit(), Exit::Version);
    }
}
