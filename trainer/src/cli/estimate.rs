//! `murmur estimate`: from arguments to what a run will take.

use super::{
    arguments::{EstimateArgs, RunArgs},
    inputs, text,
};
use crate::{
    config::Resolved,
    error::{Exit, Failure},
    estimate::{Estimate, Link, Peers, to_json, to_text},
    observe::output::Output,
};

/// Estimates and shows it.
///
/// # Errors
/// Those of settings and data; [`Exit::Usage`] for a link or numbers of peers that make no sense; [`Exit::Device`].
pub(super) fn estimate(arguments: &EstimateArgs, output: &mut Output) -> Result<(), Failure> {
    let run = as_run(arguments);
    let link = Link::parse(&arguments.link)?;
    let peers = peers(arguments, inputs::local(&run))?;
    let resolved = Resolved::new(&inputs::of_run(&run, &[])?)?;
    resolved.ignored_variables().iter().for_each(|note| output.note(note));
    let settings = resolved.settings()?;
    let corpus = text::read(&settings, output)?;
    corpus.check(settings.model.context())?;
    if let Some(load) = busy() {
        output.note(&format!(
            "The machine is busy (load {load:.1}): what is measured now is slower than when it is quiet."
        ));
    }
    output.note("Measuring a few seconds of work …");
    let estimate = Estimate::new(&settings, peers, corpus.bytes(), link)?;
    output.result(&to_text(&estimate), &to_json(&estimate));
    Ok(())
}

/// The load of this machine, if it is more than half of what it can carry.
fn busy() -> Option<f64> {
    let load = sysinfo::System::load_average().one;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (load > 0.5 * cores as f64).then_some(load)
}

/// The run that is meant.
fn as_run(arguments: &EstimateArgs) -> RunArgs {
    let EstimateArgs { file, local, tokens, data, set, .. } = arguments.clone();
    let run = RunArgs { file, local, tokens, data, set, ..RunArgs::default() };
    // A swarm that is smaller than what this machine starts by itself is all here.
    let smaller = arguments.peers.filter(|peers| usize::from(*peers) < inputs::local(&run));
    RunArgs { local: local.or(smaller), ..run }
}

fn peers(arguments: &EstimateArgs, local: usize) -> Result<Peers, Failure> {
    let swarm = arguments.peers.map_or(local, usize::from);
    if swarm < local {
        let message = format!("a swarm of {swarm} peers cannot have {local} on this machine");
        return Err(Failure::new(Exit::Usage, message).at("--peers").hint("Give fewer --local or more --peers."));
    }
    Ok(Peers { swarm, local })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(peers_asked: Option<u16>, local: Option<u16>, file: bool) -> Result<Peers, Failure> {
        let file = file.then(|| "run.toml".into());
        let arguments = EstimateArgs { peers: peers_asked, local, file, ..EstimateArgs::default() };
        peers(&arguments, inputs::local(&as_run(&arguments)))
    }

    #[test]
    fn peers_are_here_unless_more_are_asked_for() {
        assert_eq!(of(None, None, false).unwrap(), Peers { swarm: 4, local: 4 });
        assert_eq!(of(None, None, true).unwrap(), Peers { swarm: 1, local: 1 });
        assert_eq!(of(Some(2), None, true).unwrap(), Peers { swarm: 2, local: 1 });
        assert_eq!(of(Some(8), None, true).unwrap(), Peers { swarm: 8, local: 1 });
        assert_eq!(of(Some(2), None, false).unwrap(), Peers { swarm: 2, local: 2 });
        assert_eq!(of(Some(2), Some(3), false).unwrap_err().exit(), Exit::Usage);
    }
}
