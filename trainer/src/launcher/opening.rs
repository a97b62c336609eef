//! The first screen of a launch, known once its peers are up.

use data_encoding::HEXLOWER;

use super::{Plan, addresses::for_ticket};
use crate::{
    error::{Exit, Failure, shell::shell_word},
    observe::views::Opening,
    protocol::Started,
    run::ticket::Ticket,
};

/// What to show when `peers` are up.
///
/// # Errors
/// [`Exit::Bug`] when no ticket can be made of their addresses.
pub(super) fn opening(plan: &Plan, peers: Vec<Started>) -> Result<Opening, Failure> {
    let listening: Vec<_> = peers.iter().map(|started| started.address).collect();
    let ticket = Ticket::new(plan.run_id, &for_ticket(&listening, plan.announce))
        .map_err(|error| Failure::new(Exit::Bug, "cannot make a ticket").because(error))?;
    let data = plan.data.as_deref().map_or_else(String::new, |path| format!(" --data {}", shell_word(path)));
    Ok(Opening {
        join: format!("murmur join {ticket}{data}"),
        ticket: ticket.to_string(),
        run_id: HEXLOWER.encode(&plan.run_id),
        state_dir: plan.state_dir.to_string_lossy().into_owned(),
        peers,
        joined: plan.joined,
    })
}
