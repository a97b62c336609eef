//! The inputs of a running peer, made and checked before it starts: manifest, worker, initial state, settings of the node.

use murmur_collectives::{Hash, PeerId, State};
use murmur_coordinatorless::Config;
use murmur_quic::TransportConfig;

use super::{PeerOptions, StateStorage};
use crate::{
    error::{Exit, Failure},
    learn::{
        data::{Corpus, DataSource},
        numeric::exact_pool,
        segment::{Trainer, Worker},
    },
    observe::status::Limits,
    resources::{self, Free, Machine, Shape, carries_kept},
    run::manifest::Manifest,
};

/// Reads the manifest.
///
/// # Errors
/// [`Exit::Version`].
pub(super) fn read_manifest(bytes: &[u8]) -> Result<Manifest, Failure> {
    Manifest::from_bytes(bytes)
        .map_err(|error| Failure::new(Exit::Version, "the run's manifest cannot be used").because(error))
}

/// Whether the run fits into memory. A founder's launcher has checked it; a joiner has the manifest only now.
///
/// # Errors
/// As [`resources::check`].
pub(super) fn check_memory(options: &PeerOptions, manifest: &Manifest, text: u64) -> Result<(), Failure> {
    if options.ticket.is_none() || !options.memory_check || options.stand_in.is_some() {
        return Ok(());
    }
    let machine = Machine { threads: options.threads, state_memory: options.state_memory };
    resources::check(&Shape::of_manifest(manifest, text, machine), 1, Free::now())
}

/// The worker of this peer, with its replica and text loaded.
///
/// # Errors
/// [`Exit::Data`] when the text is not the run's; those of [`check_memory`]; [`Exit::Version`], [`Exit::Device`].
pub(super) fn worker(options: &PeerOptions, manifest: &Manifest) -> Result<Worker, Failure> {
    if options.stand_in.is_some() {
        return Ok(Worker::StandIn(manifest.carry_shape()));
    }
    let corpus = load_corpus(options, manifest)?;
    check_memory(options, manifest, corpus.bytes())?;
    let numeric = manifest.numeric().map_err(|error| Failure::new(Exit::Version, error.to_string()))?;
    let replica = numeric.replica(manifest.model(), options.threads)?;
    let pool = exact_pool(options.threads)?;
    Ok(Worker::Train(Box::new(Trainer::new(replica, manifest.optimizer(), pool, corpus))))
}

fn load_corpus(options: &PeerOptions, manifest: &Manifest) -> Result<Corpus, Failure> {
    let corpus = Corpus::load(&DataSource::of(options.data.clone()))?;
    if corpus.root() == manifest.data_root.0 {
        corpus.check(manifest.model().context())?;
        return Ok(corpus);
    }
    let ours = Hash(corpus.root());
    let message = format!("this data is not the run's: its root is {ours:?}…, the run's is {:?}…", manifest.data_root);
    Err(Failure::new(Exit::Data, message).hint(
        "Pass the run's own text with --data PATH. For the built-in data, build the same version of murmur and run \
        `cargo fetch` in its source checkout.",
    ))
}

/// θ₀ from the seed.
///
/// # Errors
/// [`Exit::Version`] when this program computes another one than the manifest names; those of the storage.
pub(super) fn genesis(manifest: &Manifest, storage: &StateStorage) -> Result<State, Failure> {
    let mut state = storage.zeros()?;
    if manifest.write_seeded_state(&mut state) {
        return Ok(state);
    }
    let message = "this program does not compute the run's initial parameters";
    Err(Failure::new(Exit::Version, message).hint("Build the version of murmur that the run was started with."))
}

/// The node's settings for this run and machine.
pub(super) fn node_config(manifest: &Manifest, options: &PeerOptions) -> Config {
    let listens_locally = options.listen.ip().is_loopback();
    Config {
        carries_kept: carries_kept(manifest.carry_shape()),
        loopback_only: listens_locally,
        relay: options.relay > 0,
        ..if listens_locally { Config::default() } else { Config::wan() }
    }
}

/// Which start of this identity this is: the time, which no earlier start can exceed unless the clock was set back.
pub(super) fn incarnation() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
    u64::try_from(since).unwrap_or(u64::MAX)
}

/// The limits that the status shows.
pub(super) fn limits(options: &PeerOptions) -> Limits {
    let transport = TransportConfig::new(options.listen);
    Limits {
        threads: options.threads as u64,
        connections: transport.connections_max as u64,
        message_bytes: transport.message_bytes_max as u64,
    }
}

/// Peers choose differently among neighbours; the choice needs no secrecy.
pub(super) fn choice_seed(peer: &PeerId) -> u64 {
    u64::from_le_bytes(Hash::of("murmuration choice seed v1", &peer.0).prefix())
}
