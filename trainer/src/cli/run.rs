//! `murmur run`: a new run with this machine's peers as founders, or an old one again.

use std::{path::PathBuf, time::Duration};

use murmur_collectives::{Founder, Identity};
use murmur_verification::Lottery;

use super::{arguments::RunArgs, inputs};
use crate::{
    config::{Resolved, Settings},
    data::{Corpus, DataSource},
    error::Failure,
    explain::Exit,
    identity_file, lan,
    launcher::{PeerPlan, Plan, launch},
    manifest::{Manifest, Parts},
    output::Output,
    segment::Misbehave,
    state_dir::{self, Origin, StateDir},
};

/// Starts or resumes a run and stays until it ends.
///
/// # Errors
/// Whatever made it fail, with its exit code.
pub(super) fn run(arguments: &RunArgs, output: &mut Output) -> Result<(), Failure> {
    let (dir, mut settings) = match &arguments.resume {
        Some(path) => resume(arguments, path)?,
        None => begin(arguments, output)?,
    };
    if arguments.lan {
        settings.net.listen = lan::listening(settings.net.listen);
    }
    let cheats = cheats(arguments, dir.peers())?;
    let peer = |index| {
        let mode = cheats.iter().find(|(cheat, _)| *cheat == index).map(|(_, mode)| mode.as_str());
        PeerPlan::new(&dir, index, &settings, None, mode)
    };
    let plan = Plan {
        program: this_program()?,
        peers: (0..dir.peers()).map(peer).collect(),
        run_id: dir.run_id(),
        state_dir: dir.path().to_owned(),
        announce: settings.net.announce.parse().ok(),
        limit: arguments.seconds.map(Duration::from_secs_f64),
        joined: false,
        lan: arguments.lan,
    };
    launch(&plan, output)
}

/// A new run in a new folder.
fn begin(arguments: &RunArgs, output: &mut Output) -> Result<(StateDir, Settings), Failure> {
    let resolved = Resolved::new(&inputs::of_run(arguments, &[])?)?;
    let settings = resolved.settings()?;
    let peers = inputs::local(arguments);
    cheats(arguments, peers)?;
    output.note("Reading the text …");
    let source = settings.data.path.clone().map_or(DataSource::Registry, DataSource::Path);
    let data_root = Corpus::load(&source)?.root();
    let identities = (0..peers).map(|_| identity_file::generate()).collect::<Result<Vec<_>, _>>()?;
    let founders = identities.iter().map(founder).collect();
    let manifest = Manifest::new(&settings, Parts { founders, data_root, genesis: None })?.to_bytes();
    let run_id = Manifest::run_id(&manifest).0;
    let path = arguments.state_dir.clone().map_or_else(|| state_dir::default_path(Origin::Run, run_id), Ok)?;
    let dir = StateDir::create_run(&path, run_id, &manifest, &identities, resolved.machine_given())?;
    Ok((dir, settings))
}

/// A run that this machine started before: its manifest is fixed, this machine's settings may change.
fn resume(arguments: &RunArgs, path: &std::path::Path) -> Result<(StateDir, Settings), Failure> {
    let dir = StateDir::for_resume(path)?;
    let resolved = Resolved::new(&inputs::of_run(arguments, dir.machine_settings())?)?;
    resolved.machine_only("resuming a run")?;
    let settings = resolved.settings()?;
    Ok((dir, settings))
}

fn founder(identity: &Identity) -> Founder {
    Founder { peer: identity.peer_id(), vrf_key: Lottery::of(identity).public() }
}

/// Which peers cheat, and how, all of it checked.
fn cheats(arguments: &RunArgs, peers: usize) -> Result<Vec<(usize, String)>, Failure> {
    let cheats = inputs::misbehaviour(&arguments.misbehave, peers)?;
    for (_, mode) in &cheats {
        let known: Result<Misbehave, _> = mode.parse();
        known.map_err(|error| Failure::new(Exit::Usage, error.to_string()).at("--misbehave"))?;
    }
    Ok(cheats)
}

/// The path of this executable, of which the peers are further processes.
pub(super) fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Device, "cannot find murmur's own program").because(error))
}
