//! A peer that only connects, to measure which peers reach each other through which NATs.
//!
//! `reach --secret N --listen ADDR [--bootstrap ADDR]… [--relay] [--port-map] --seconds S` runs for `S` seconds and then prints one JSON
//! object a line for every peer it is connected to, and one for every peer it ever was connected to, with the time from its start
//! to a direct path, or to any path if there was no direct one. `experiments/nat/run.sh` runs several of them in network namespaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use murmur_collectives::{Hash, Identity, ONE_Q16, PeerId, Rules};
use murmur_coordinatorless::{Compacted, Config, Event, Input, Node, PeerAddress, Reach, Setup, Stored, StoredEntry};
use murmur_quic::{Host, OwnAddresses, Request, Transport, TransportConfig, drive};
use tokio::{sync::mpsc, time::sleep};

/// A step towards a peer is given up after this long. Short, as these networks are.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often ways are looked at, to see when they came about.
const GLANCE: Duration = Duration::from_millis(10);

/// What the command line says.
struct Arguments {
    secret: u8,
    listen: SocketAddr,
    bootstrap: Vec<SocketAddr>,
    relay: bool,
    port_map: bool,
    seconds: u64,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut arguments = Self {
            secret: 0,
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            bootstrap: Vec::new(),
            relay: false,
            port_map: false,
            seconds: 20,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--secret" => arguments.secret = words.next()?.parse().ok()?,
                "--listen" => arguments.listen = words.next()?.parse().ok()?,
                "--bootstrap" => arguments.bootstrap.push(words.next()?.parse().ok()?),
                "--relay" => arguments.relay = true,
                "--port-map" => arguments.port_map = true,
                "--seconds" => arguments.seconds = words.next()?.parse().ok()?,
                _ => return None,
            }
        }
        Some(arguments)
    }
}

/// A host that stores only the names of the peers that greeted.
#[derive(Default)]
struct Witness {
    greeted: Arc<Mutex<BTreeSet<PeerId>>>,
}

impl Host for Witness {
    type Error = Infallible;

    fn append(&mut self, _: &StoredEntry, _: bool) -> Result<(), Infallible> {
        Ok(())
    }

    fn keep_chunk(&mut self, _: Hash, _: u32, _: &[u8]) {}

    fn address_book(&mut self, _: &[PeerAddress]) {}

    fn compact(&mut self, _: &Compacted) -> Result<(), Infallible> {
        Ok(())
    }

    fn signing(&mut self, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn event(&mut self, event: Event, _: &mut Node) {
        eprintln!("{event:?}");
        if let Event::Joined { peer } = event {
            self.greeted.lock().expect("no code panics while it holds it").insert(peer);
        }
    }

    fn count(&mut self, _: bool, _: &'static str, _: usize) {}

    fn settled(&mut self, _: Duration) {}
}

fn identity(secret: u8) -> Identity {
    Identity::from_secret(&[secret; 32])
}

/// The secret of a peer of this experiment.
fn number(peer: PeerId) -> i32 {
    (0..=u8::MAX).find(|n| identity(*n).peer_id() == peer).map_or(-1, i32::from)
}

fn node(arguments: &Arguments) -> Node {
    let rules = Rules {
        parameters: 4096,
        top: 64,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16,
        clip_q16: ONE_Q16,
        tokens_per_step: 10,
        segment_tokens: 100,
        steps_max: 10,
        token_budget: 1000,
        frontier_every_tokens: 0,
        class: None,
        audit_rate_q16: 0,
        audit_quorum: 2,
        span: 1,
        founders: vec![Node::founder(&identity(1))],
    };
    let config = Config {
        loopback_only: false,
        relay: arguments.relay,
        reach_patience: PATIENCE,
        reach_upgrade_after: PATIENCE,
        ..Config::default()
    };
    Node::new(Setup {
        manifest: Vec::new(),
        run: Hash([1; 32]),
        rules,
        genesis: vec![0; 4096].into(),
        identity: identity(arguments.secret),
        class: Hash([2; 32]),
        config,
        seed: u64::from(arguments.secret),
        incarnation: 1,
        address_book: Vec::new(),
        stored: Stored::default(),
    })
}

/// When this peer first had a path to each other peer, and when a direct one.
#[derive(Default)]
struct Firsts {
    any: BTreeMap<PeerId, Duration>,
    straight: BTreeMap<PeerId, Duration>,
}

impl Firsts {
    fn glance(&mut self, node: &Node, since: Instant) {
        for peer in node.neighbours() {
            let passed = since.elapsed();
            self.any.entry(peer).or_insert(passed);
            if matches!(node.reach_of(&peer), Some(Reach::Direct | Reach::Punched)) {
                self.straight.entry(peer).or_insert(passed);
            }
        }
    }

    fn describe(&self, from: u8) -> String {
        let line = |(peer, any): (&PeerId, &Duration)| {
            let (to, after) = (number(*peer), self.straight.get(peer).unwrap_or(any).as_millis());
            let straight = self.straight.contains_key(peer);
            format!(
                "{{\"schema\":\"murmur.reach.first/1\",\"from\":{from},\"to\":{to},\"straight\":{straight},\"after_ms\":{after}}}\n"
            )
        };
        self.any.iter().map(line).collect()
    }
}

/// Looks at the node's ways until it is gone.
async fn watch(requests: mpsc::WeakSender<Request>, firsts: Arc<Mutex<Firsts>>, since: Instant) {
    while let Some(requests) = requests.upgrade() {
        let firsts = firsts.clone();
        let look = move |node: &mut Node| firsts.lock().expect("no code panics while it holds it").glance(node, since);
        let _ = requests.send(Request::Look(Box::new(look))).await;
        drop(requests);
        sleep(GLANCE).await;
    }
}

fn describe(node: &Node, greeted: &BTreeSet<PeerId>, arguments: &Arguments) -> String {
    let line = |peer: PeerId| {
        let reach = match node.reach_of(&peer) {
            Some(Reach::Direct) => "direct",
            Some(Reach::Punched) => "punched",
            Some(Reach::Relayed { .. }) => "relayed",
            None => "none",
        };
        let (from, to, heard) = (arguments.secret, number(peer), greeted.contains(&peer));
        format!(
            "{{\"schema\":\"murmur.reach/1\",\"from\":{from},\"to\":{to},\"reach\":\"{reach}\",\"greeted\":{heard},\"mapping\":\"{:?}\"}}\n",
            node.mapping()
        )
    };
    node.neighbours().into_iter().map(line).collect()
}

async fn run(arguments: Arguments) -> Result<(), String> {
    let (begun, firsts) = (Instant::now(), Arc::new(Mutex::new(Firsts::default())));
    let mut config = TransportConfig::new(arguments.listen);
    config.handshake_timeout = PATIENCE;
    config.relay_sessions_max = if arguments.relay { 8 } else { 0 };
    let (transport, events) = Transport::bind(&identity(arguments.secret), config).map_err(|e| e.to_string())?;
    let (requests, inbox) = mpsc::channel(16);
    for address in &arguments.bootstrap {
        let introduced = Request::Input(Input::Introduce { address: *address });
        requests.send(introduced).await.map_err(|e| e.to_string())?;
    }
    let own = OwnAddresses::tell(transport.local_addr(), &requests, arguments.port_map, |news| eprintln!("{news}"));
    let node = node(&arguments);
    let mut witness = Witness::default();
    let greeted = witness.greeted.clone();
    tokio::spawn(watch(requests.downgrade(), firsts.clone(), begun));
    tokio::spawn(async move {
        sleep(Duration::from_secs(arguments.seconds)).await;
        let look = Box::new(move |node: &mut Node| {
            let greeted = greeted.lock().expect("no code panics while it holds it");
            let firsts = firsts.lock().expect("no code panics while it holds it");
            print!("{}{}", describe(node, &greeted, &arguments), firsts.describe(arguments.secret));
        });
        let _ = requests.send(Request::Look(look)).await;
        let _ = requests.send(Request::Stop).await;
    });
    let keep = transport.clone();
    let Ok(()) = drive(node, transport, events, inbox, &mut witness).await;
    own.retire().await;
    keep.shutdown(Duration::from_millis(200)).await;
    Ok(())
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        eprintln!("usage: reach --secret N --listen ADDR [--bootstrap ADDR]... [--relay] [--port-map] --seconds S");
        return ExitCode::from(2);
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
