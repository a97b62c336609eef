//! One peer as a process: the node on its driver, the learner on a thread of its own, and reports to the launcher.
//!
//! In life-cycle order: `bootstrap` gets the manifest, `setup` makes what follows from it, `store` reads the disk; [`run`]
//! puts node, transport and learner together; `host` serves the node; `learner` trains, audits and finishes, and reaches the
//! node only through `update_log`; `report` writes to the launcher.

mod account;
mod address_book;
mod auditing;
mod bootstrap;
mod budget;
mod checkpoints;
mod contribution;
mod divergence;
mod exchange;
mod host;
mod learner;
mod link;
mod pace;
mod partial_files;
mod report;
mod segment_runner;
mod setup;
mod state_storage;
mod status;
mod steps;
mod store;
mod update_log;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64, mpsc},
    time::Duration,
};

use murmur_coordinatorless::{Node, Setup};
use murmur_quic::{Events, OwnAddresses, Request, Transport, TransportConfig, drive};
use murmur_verification::Attack;

use crate::crash::{self, Part, endless, enter};
use crate::error::Exit;
use crate::error::Failure;
use crate::learn::numeric::class_hash;
use crate::learn::segment::Worker;
use crate::observe::metrics::{self, Metrics};
use crate::observe::status::Endpoint;
use crate::protocol::{Command, EventKind, Started};
use crate::run::identity_file::HeldIdentity;
use crate::run::manifest::Manifest;
use crate::run::ticket::Ticket;

pub use pace::{NotAPace, Pace};
pub(crate) use store::stored_names;
use {
    address_book::AddressBookFile,
    checkpoints::Checkpoints,
    host::PeerHost,
    learner::Learner,
    link::{Notice, Shared},
    report::Reporter,
    setup::{check_memory, choice_seed, genesis, incarnation, limits, node_config, read_manifest, worker},
    state_storage::StateStorage,
    status::StatusSource,
    store::Store,
    update_log::UpdateLog,
};

/// How a peer process is started.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// Its folder, with its identity and, unless it joins by `ticket`, the manifest.
    pub state_dir: PathBuf,
    /// How to reach a run whose manifest is not in the folder yet.
    pub ticket: Option<Ticket>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Pairs of other peers between whom packets are passed on at once.
    pub relay: usize,
    /// Whether the router is asked to keep a port open for it.
    pub port_map: bool,
    /// Where to serve metrics.
    pub metrics: SocketAddr,
    /// A file or folder of text instead of the built-in data.
    pub data: Option<PathBuf>,
    /// For demonstrations and tests: the attack it plays.
    pub attack: Option<Attack>,
    /// A model's state that takes more MiB than this lies in files instead of memory.
    pub state_memory: usize,
    /// Whether a joiner refuses a run that does not fit into this machine.
    pub memory_check: bool,
    /// Threads it computes with, as the launcher shared them out.
    pub threads: usize,
    /// For benchmarks: train nothing, at this pace.
    pub stand_in: Option<Pace>,
    /// For benchmarks: report each update that is folded.
    pub reports_folds: bool,
    /// How long to wait, when asked to drain, for neighbours that still train.
    pub patience: Duration,
}

/// Runs a peer until a command ends it. Its reports go to stdout, its commands come from stdin.
///
/// # Errors
/// [`Failure`] with the process's exit code; it has been reported, too.
pub fn run(options: PeerOptions) -> Result<(), Failure> {
    let reporter = Reporter;
    let result = run_reporting(options, &reporter);
    if let Err(failure) = &result {
        reporter.fault(failure);
    }
    result
}

fn run_reporting(options: PeerOptions, reporter: &Reporter) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Device, "cannot start the network runtime").because(error))?;
    let work = Arc::default();
    reporter.keep_beating(Arc::clone(&work))?;
    let result = runtime.block_on(start(options, reporter, work));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn start(options: PeerOptions, reporter: &Reporter, work: Arc<AtomicU64>) -> Result<(), Failure> {
    let held = HeldIdentity::open_soon(&options.state_dir)?;
    let identity = held.identity().clone();
    partial_files::remove(&options.state_dir);
    let commands = link::read_commands()?;
    let manifest_bytes = bootstrap::manifest(&options, &identity).await?;
    let manifest = read_manifest(&manifest_bytes)?;
    check_memory(&options, &manifest, 0)?;
    let worker = worker(&options, &manifest)?;
    let class = worker.class();
    let storage = StateStorage::new(manifest.rules.parameter_count(), options.state_memory, &options.state_dir);
    let (store, stored) = Store::open(&options.state_dir, identity.peer_id(), &storage, reporter)?;
    let genesis = genesis(&manifest, &storage)?;
    let (transport, events) = bind(&identity, options.listen, options.relay)?;
    let metrics = Metrics::new();
    let listener = metrics::listen(options.metrics).await?;
    let started = Started {
        peer_id: identity.peer_id().to_string(),
        petname: identity.peer_id().petname(),
        pid: std::process::id(),
        address: transport.local_addr(),
        metrics: format!("http://{}/metrics", listener.address()),
        state_dir: options.state_dir.display().to_string(),
        params: manifest.rules.parameters,
        train_bytes: worker.text_bytes().0,
        validation_bytes: worker.text_bytes().1,
        data: options.data.as_ref().map_or("cargo registry sources".to_owned(), |path| path.display().to_string()),
        device: worker.device(),
        class: class.clone(),
        run_id: Manifest::run_id(&manifest_bytes).to_string(),
        step_tokens: u64::from(manifest.rules.tokens_per_step),
        segment_steps: u64::from(manifest.inner.steps),
        run_tokens: manifest.rules.token_budget,
    };
    let node = Node::new(Setup {
        run: Manifest::run_id(&manifest_bytes),
        manifest: manifest_bytes,
        rules: manifest.rules.clone(),
        genesis,
        class: class_hash(&class),
        config: node_config(&manifest, &options),
        seed: choice_seed(&identity.peer_id()),
        incarnation: incarnation(),
        address_book: AddressBookFile::of(&options.state_dir).read(),
        identity,
        stored,
    });
    reporter.started(started.clone());
    let (requests, inbox) = tokio::sync::mpsc::channel(64);
    let shared = Arc::new(Shared::new(work));
    let source = StatusSource {
        started,
        begun: std::time::Instant::now(),
        limits: limits(&options),
        metrics: metrics.clone(),
        transport: transport.clone(),
        shared: shared.clone(),
        requests: requests.clone(),
    };
    let _endpoint = Endpoint::leave(&options.state_dir, listener.address())?;
    listener.serve(metrics.clone(), move || source.clone().now());
    let parts = Parts { node, transport, events, manifest, worker, store, metrics, commands, shared, inbox };
    run_parts(parts, (options, requests), reporter).await
}

/// All that a running peer is made of.
struct Parts {
    node: Node,
    transport: Transport,
    events: Events,
    manifest: Manifest,
    worker: Worker,
    store: Store,
    metrics: Metrics,
    commands: tokio::sync::mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    inbox: tokio::sync::mpsc::Receiver<Request>,
}

async fn run_parts(
    parts: Parts,
    (options, requests): (PeerOptions, tokio::sync::mpsc::Sender<Request>),
    reporter: &Reporter,
) -> Result<(), Failure> {
    let Parts { node, transport, events, manifest, worker, store, metrics, commands, shared, inbox } = parts;
    let (notices, noticed) = mpsc::channel();
    let collective = UpdateLog::new(requests.clone(), node.id());
    let carries = store.carries();
    let host_parts = (notices.clone(), shared.clone(), metrics.clone());
    let checkpoints = Checkpoints::new(store.dir(), node.fold().run(), &manifest, *reporter);
    let mut host = PeerHost::new(store, host_parts, *reporter, checkpoints.clone(), options.reports_folds);
    let addresses = options.ticket.as_ref().map_or(Vec::new(), |ticket| ticket.addresses().to_vec());
    let dispatch = link::dispatch_commands(commands, addresses, requests.clone(), notices.clone(), shared.clone());
    tokio::spawn(endless(Part::Dispatch, dispatch));
    let told = *reporter;
    let own = OwnAddresses::tell(transport.local_addr(), &requests, options.port_map, move |news| {
        told.event(EventKind::PortMap, None, news.to_string());
    });
    let learner = Learner {
        collective,
        notices: noticed,
        shared,
        manifest,
        worker,
        pace: options.stand_in,
        carries,
        checkpoints,
        metrics,
        reporter: *reporter,
        transport: transport.clone(),
        attack: options.attack,
        patience: options.patience,
        joined: options.ticket.is_some(),
    };
    let (end, ended) = tokio::sync::oneshot::channel();
    crash::start(Part::Learner, move || {
        let result = learner.run();
        // The node stops with the learner, whatever the reason.
        let _ = requests.blocking_send(Request::Stop);
        let _ = end.send(result);
    })?;
    enter(Part::Driver);
    let driven = drive(node, transport.clone(), events, inbox, &mut host).await;
    let _ = notices.send(Notice::Halt);
    own.retire().await;
    transport.shutdown(Duration::from_millis(500)).await;
    driven?;
    // Not a thread that joins the learner's: where no more can be had, that would be waited for without end.
    ended.await.unwrap_or_else(|_| Err(Failure::new(Exit::Crashed, "the learner stopped unexpectedly")))
}

fn bind(
    identity: &murmur_collectives::Identity,
    listen: SocketAddr,
    relay: usize,
) -> Result<(Transport, Events), Failure> {
    let mut config = TransportConfig { relay_sessions_max: relay, ..TransportConfig::new(listen) };
    if listen.ip().is_loopback() {
        config.connections_per_ip_max = config.connections_max; // all peers of this machine share one address
    }
    Transport::bind(identity, config).map_err(|error| {
        Failure::new(Exit::Config, format!("cannot listen on {listen}"))
            .because(error)
            .hint("Choose another address with --set net.listen=ADDRESS:PORT; port 0 takes any free one.")
    })
}
