//! `murmur join`: one peer of this machine in a run that others started.

use std::time::Duration;

use super::{arguments::JoinArgs, inputs, run::this_program, text};
use crate::{
    config::Resolved,
    error::{Exit, Failure},
    launcher::{PeerPlan, Plan, check_ports, lan, launch, threads},
    observe::output::Output,
    resources::{probe_threads, threads_of_peer},
    run::{
        state_dir::{self, Origin, StateDir},
        ticket::{Ticket, TicketError},
    },
};

/// Joins and stays until the run ends, or this machine leaves it.
///
/// # Errors
/// Whatever made it fail, with its exit code.
pub(super) fn join(arguments: &JoinArgs, output: &mut Output) -> Result<(), Failure> {
    let ticket = ticket(arguments, output)?;
    let resolved = Resolved::new(&inputs::of_join(arguments)?)?;
    resolved.ignored_variables().iter().for_each(|note| output.note(note));
    resolved.machine_only("joining a run")?;
    let mut settings = resolved.settings()?;
    // The peer itself checks memory, once it has the manifest.
    probe_threads(1, threads_of_peer(threads(settings.device.threads, 1)))?;
    if settings.data.path.is_some() {
        text::read(&settings, output)?;
    }
    if arguments.lan {
        settings.net.listen = lan::listening(settings.net.listen);
    }
    let default = || state_dir::default_path(Origin::Join, ticket.run_id());
    let path = arguments.state_dir.clone().map_or_else(default, Ok)?;
    let is_new = !path.exists();
    let (dir, index) = match StateDir::of_local_peer(&path, ticket.run_id())? {
        Some(lost) => lost,
        None => (StateDir::for_join(&path, ticket.run_id())?, 0),
    };
    check_ports(&settings, index + 1)?;
    let plan = Plan {
        program: this_program()?,
        peers: vec![PeerPlan::new(&dir, index, &settings, Some(&ticket), None)],
        run_id: dir.run_id(),
        state_dir: dir.path().to_owned(),
        announce: settings.net.announce.parse().ok(),
        limit: arguments.seconds.map(Duration::from_secs_f64),
        joined: true,
        resumed: true,
        data: settings.data.path.clone(),
        lan: arguments.lan,
    };
    let ended = launch(&plan, output);
    if ended.is_err() && is_new && !output.has_opened() {
        dir.discard();
    }
    ended
}

/// The ticket given, or the one found on the local network; with `--lan`, with the addresses of both.
fn ticket(arguments: &JoinArgs, output: &mut Output) -> Result<Ticket, Failure> {
    let given = arguments.ticket.as_deref().map(|text| text.parse::<Ticket>().map_err(refused)).transpose()?;
    if !arguments.lan {
        return given.ok_or_else(|| Failure::new(Exit::Usage, "there is no ticket").hint("Pass one, or --lan."));
    }
    output.note("Looking for runs on the local network …");
    let heard = lan::discover(given.as_ref().map(Ticket::run_id), lan::LISTEN, lan::Interfaces::All)?;
    match given {
        Some(ticket) => Ok(lan::extend(&ticket, &heard)),
        None => only(&heard),
    }
}

/// The one run that was found.
fn only(heard: &[Ticket]) -> Result<Ticket, Failure> {
    match heard {
        [ticket] => Ok(ticket.clone()),
        [] => Err(Failure::new(Exit::NoPeers, "no run announces itself on the local network")
            .hint("Start one with `murmur run --lan`, or ask for its ticket.")),
        several => {
            let tickets: Vec<String> = several.iter().map(Ticket::to_string).collect();
            Err(Failure::new(Exit::Usage, format!("{} runs announce themselves on the local network", several.len()))
                .hint(format!("Pass the ticket of one of them:\n{}", tickets.join("\n"))))
        }
    }
}

/// What is wrong with a ticket, as a failure of the command.
pub(super) fn refused(error: TicketError) -> Failure {
    let (exit, hint) = match error {
        TicketError::Version(_) => (Exit::Version, "Update murmur to the version of the peer that made the ticket."),
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
    fn without_a_ticket_exactly_one_run_must_be_there() {
        let run = |n: u8| Ticket::new([n; 32], &["10.0.0.1:1".parse().unwrap()]).unwrap();
        assert_eq!(only(&[run(1)]).unwrap(), run(1));
        assert_eq!(only(&[]).unwrap_err().exit(), Exit::NoPeers);
        let several = only(&[run(1), run(2)]).unwrap_err();
        assert_eq!(several.exit(), Exit::Usage);
        assert!(several.to_fault().hint.contains(&run(2).to_string()));
    }

    #[test]
    fn a_ticket_of_another_version_has_its_own_code() {
        let failure = refused("murmur2abc".parse::<Ticket>().unwrap_err());
        assert_eq!(failure.exit(), Exit::Version);
        assert!(failure.sentence().contains("made by a newer murmur"), "{}", failure.sentence());
    }
}
