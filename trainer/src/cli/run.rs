//! `murmur run`: a new run with this machine's peers as founders, or an old one again.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use murmur_collectives::{Founder, Identity};
use murmur_verification::{Attack, Lottery};

use super::{arguments::RunArgs, inputs, text};
use crate::{
    config::{Resolved, Settings},
    crash::{self, Part},
    error::{Exit, Failure},
    launcher::{PeerPlan, Plan, check_ports, lan, launch, threads},
    observe::output::Output,
    resources::{self, Free, Machine, Shape, probe_threads, start_shared_pool, threads_of_peer},
    run::{
        identity_file,
        manifest::{Manifest, Parts},
        state_dir::{self, Broken, MANIFEST, Origin, StateDir},
    },
};

/// Starts or resumes a run and stays until it ends.
///
/// # Errors
/// Whatever made it fail, with its exit code.
pub(super) fn run(arguments: &RunArgs, output: &mut Output) -> Result<(), Failure> {
    let (dir, mut settings, broken) = match &arguments.resume {
        Some(path) => resume(arguments, path, output)?,
        None => begin(arguments, output)?,
    };
    if arguments.lan {
        settings.net.listen = lan::listening(settings.net.listen);
    }
    for (index, why) in &broken {
        output.note(&format!("Going on without peer {index}: {}.", why.sentence()));
    }
    let (cheats, crashes) = (cheats(arguments, dir.peers())?, crashes(arguments, dir.peers())?);
    let peer = |index: usize| {
        let mode = cheats.iter().find(|(cheat, _)| *cheat == index).map(|(_, mode)| mode.as_str());
        let mut plan = PeerPlan::new(&dir, index, &settings, None, mode);
        let crash = crashes.iter().find(|(crashes, _)| *crashes == index);
        plan.arguments.extend(crash.into_iter().flat_map(|(_, part)| ["--crash".into(), part.name().into()]));
        plan
    };
    let plan = Plan {
        program: this_program()?,
        peers: sound(&dir, &broken).map(peer).collect(),
        run_id: dir.run_id(),
        state_dir: dir.path().to_owned(),
        announce: settings.net.announce.parse().ok(),
        limit: arguments.seconds.map(Duration::from_secs_f64),
        joined: false,
        resumed: arguments.resume.is_some(),
        data: settings.data.path.clone(),
        lan: arguments.lan,
    };
    if crashes.iter().any(|(_, part)| *part == Part::Reports) {
        crash::set_target(Part::Reports);
    }
    let ended = launch(&plan, output);
    if ended.is_err() && !plan.resumed && !output.has_opened() {
        dir.discard();
    }
    ended
}

/// A new run in a new folder.
fn begin(arguments: &RunArgs, output: &mut Output) -> Result<(StateDir, Settings, Broken), Failure> {
    let resolved = Resolved::new(&inputs::of_run(arguments, &[])?)?;
    resolved.ignored_variables().iter().for_each(|note| output.note(note));
    let settings = resolved.settings()?;
    let peers = inputs::local(arguments);
    cheats(arguments, peers)?;
    check_ports(&settings, peers)?;
    check_room(&settings, peers, |threads| Shape::of_settings(&settings, 0, threads))?;
    check_threads(&settings, peers)?;
    let corpus = text::read(&settings, output)?;
    corpus.check(settings.model.context())?;
    check_room(&settings, peers, |threads| Shape::of_settings(&settings, corpus.bytes(), threads))?;
    let data_root = corpus.root();
    drop(corpus);
    let identities = (0..peers).map(|_| identity_file::generate()).collect::<Result<Vec<_>, _>>()?;
    let founders = identities.iter().map(founder).collect();
    let manifest = Manifest::new(&settings, Parts { founders, data_root, genesis: None })?;
    let manifest = manifest.to_bytes();
    let run_id = Manifest::run_id(&manifest).0;
    let path = arguments.state_dir.clone().map_or_else(|| state_dir::default_path(Origin::Run, run_id), Ok)?;
    let dir = StateDir::create_run(&path, run_id, &manifest, &identities, resolved.machine_given())?;
    Ok((dir, settings, Broken::new()))
}

/// Whether as many peers fit into this machine. `shape` makes the shape of the run from the threads of each.
fn check_room(settings: &Settings, peers: usize, shape: impl FnOnce(usize) -> Shape) -> Result<(), Failure> {
    let threads = threads(settings.device.threads, peers);
    if settings.device.memory_check { resources::check(&shape(threads), peers, Free::now()) } else { Ok(()) }
}

/// Whether as many peers may start their threads; then this process starts its own, too.
fn check_threads(settings: &Settings, peers: usize) -> Result<(), Failure> {
    probe_threads(peers, threads_of_peer(threads(settings.device.threads, peers)))?;
    start_shared_pool()
}

/// Indices of the peers that can go on.
fn sound<'a>(dir: &StateDir, broken: &'a Broken) -> impl Iterator<Item = usize> + use<'a> {
    (0..dir.peers()).filter(|index| broken.iter().all(|(broken, _)| broken != index))
}

/// A run that this machine started before: its manifest is fixed, this machine's settings may change.
fn resume(arguments: &RunArgs, path: &Path, output: &mut Output) -> Result<(StateDir, Settings, Broken), Failure> {
    let (dir, broken) = StateDir::for_resume(path)?;
    let resolved = Resolved::new(&inputs::of_run(arguments, dir.machine_settings())?)?;
    resolved.ignored_variables().iter().for_each(|note| output.note(note));
    resolved.machine_only("resuming a run")?;
    let settings = resolved.settings()?;
    check_ports(&settings, dir.peers())?;
    // One that cannot be read is its peer's to complain of.
    let peers = sound(&dir, &broken).count();
    let manifest = sound(&dir, &broken)
        .find_map(|index| Manifest::from_bytes(&fs::read(dir.peer(index).join(MANIFEST)).ok()?).ok());
    let check = |text| {
        let Some(manifest) = &manifest else { return Ok(()) };
        let machine = |threads| Machine { threads, state_memory: settings.device.state_memory };
        check_room(&settings, peers, |threads| Shape::of_manifest(manifest, text, machine(threads)))
    };
    check(0)?;
    check_threads(&settings, peers)?;
    if settings.data.path.is_some() {
        let text = text::read(&settings, output)?.bytes();
        check(text)?;
    }
    Ok((dir, settings, broken))
}

fn founder(identity: &Identity) -> Founder {
    Founder { peer: identity.peer_id(), vrf_key: Lottery::of(identity).public() }
}

/// Which peers cheat, and how, all of it checked.
fn cheats(arguments: &RunArgs, peers: usize) -> Result<Vec<(usize, String)>, Failure> {
    let cheats = inputs::misbehaviour(&arguments.misbehave, peers)?;
    for (_, mode) in &cheats {
        let known: Result<Attack, _> = mode.parse();
        known.map_err(|error| Failure::new(Exit::Usage, error.to_string()).at("--misbehave"))?;
    }
    Ok(cheats)
}

/// Which parts of which peers crash, for tests.
fn crashes(arguments: &RunArgs, peers: usize) -> Result<Vec<(usize, Part)>, Failure> {
    let parse = |argument: &String| {
        let (index, part) = inputs::of_peer(argument, peers)?;
        Some((index, part.parse().ok()?))
    };
    let wrong = |argument: &String| {
        Failure::new(Exit::Usage, format!("`{argument}` names no local peer and part")).at("--crash")
    };
    arguments.crash.iter().map(|argument| parse(argument).ok_or_else(|| wrong(argument))).collect()
}

/// The path of this executable, of which the peers are further processes.
pub(super) fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Device, "cannot find murmur's own program").because(error))
}
