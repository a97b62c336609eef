//! The yardstick: what `reach` of `murmur-quic` does, done by iroh, with the same command line and the same answers.
//!
//! Peer 1 is the relay, peer 2 does nothing, peer 3 accepts, peer 4 dials 3, of whom it knows the name and the relay, as
//! iroh's default discovery would tell it. No discovery service is used, and no address is given.
#![allow(clippy::unwrap_used)] // an experiment: whatever goes wrong ends it

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use iroh::{
    Endpoint, EndpointAddr, RelayMap, RelayMode, RelayUrl, SecretKey,
    endpoint::{Connection, PortmapperConfig, presets},
};
use iroh_relay::{
    RelayConfig, RelayQuicConfig,
    server::{CertConfig, QuicConfig, RelayConfig as Relaying, Server, ServerConfig, TlsConfig},
    tls::CaTlsConfig,
};
use n0_future::StreamExt;
use tokio::time::{sleep, timeout};

const PROTOCOL: &[u8] = b"murmur-nat-yardstick/1";

/// Where the relay finds out addresses over QUIC, and where it relays.
const QUIC_PORT: u16 = 7842;
const HTTPS_PORT: u16 = 7443;

struct Arguments {
    secret: u8,
    listen: SocketAddr,
    relay_at: Option<SocketAddr>,
    port_map: bool,
    seconds: u64,
}

fn arguments() -> Arguments {
    let mut read =
        Arguments { secret: 0, listen: ([0, 0, 0, 0], 0).into(), relay_at: None, port_map: false, seconds: 20 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--secret" => read.secret = words.next().unwrap().parse().unwrap(),
            "--listen" => read.listen = words.next().unwrap().parse().unwrap(),
            "--bootstrap" => {
                let address = words.next().unwrap().parse().unwrap();
                read.relay_at.get_or_insert(address);
            }
            "--relay" => {}
            "--port-map" => read.port_map = true,
            "--seconds" => read.seconds = words.next().unwrap().parse().unwrap(),
            other => panic!("{other}?"),
        }
    }
    read
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

/// A relay with a certificate of its own making.
async fn serve(at: SocketAddr) -> Server {
    let made = rcgen::generate_simple_self_signed(vec![at.ip().to_string()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server_config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let mut relay = Relaying::new((at.ip(), 7080));
    relay.tls = Some(TlsConfig::new((at.ip(), HTTPS_PORT), CertConfig::Manual { server_config }));
    let mut config = ServerConfig::default();
    config.relay = Some(relay);
    config.quic = Some(QuicConfig::new((at.ip(), QUIC_PORT)));
    Server::spawn(config).await.unwrap()
}

fn relay_url(at: SocketAddr) -> RelayUrl {
    format!("https://{}:{HTTPS_PORT}", at.ip()).parse().unwrap()
}

async fn endpoint(arguments: &Arguments) -> Endpoint {
    let url = relay_url(arguments.relay_at.unwrap());
    let map: RelayMap = RelayConfig::new(url, Some(RelayQuicConfig::new(QUIC_PORT))).into();
    let portmapper = if arguments.port_map { PortmapperConfig::default() } else { PortmapperConfig::Disabled };
    Endpoint::builder(presets::Minimal)
        .secret_key(secret(arguments.secret))
        .alpns(vec![PROTOCOL.to_vec()])
        .relay_mode(RelayMode::Custom(map))
        .ca_tls_config(CaTlsConfig::insecure_skip_verify())
        .portmapper_config(portmapper)
        .bind_addr(arguments.listen)
        .unwrap()
        .bind()
        .await
        .unwrap()
}

/// Follows the ways of a connection, and says the last one that was used when `lasts` is over.
async fn follow(connection: &Connection, from: u8, begun: Instant, lasts: Duration) {
    let connected = begun.elapsed();
    let mut straight = None;
    let mut paths = connection.paths_stream();
    let watch = async {
        while let Some(list) = paths.next().await {
            if list.iter().any(|path| path.is_selected() && path.is_ip()) {
                straight.get_or_insert_with(|| begun.elapsed());
            }
        }
    };
    let _ = timeout(lasts, watch).await;
    let selected = connection.paths().iter().find(|path| path.is_selected()).map(|path| path.is_ip());
    let reach = match selected {
        Some(true) => "direct",
        Some(false) => "relayed",
        None => "none",
    };
    let (to, after) = (7 - from, straight.unwrap_or(connected).as_millis());
    println!(
        "{{\"schema\":\"iroh.reach/1\",\"from\":{from},\"to\":{to},\"reach\":\"{reach}\",\"greeted\":true,\"mapping\":\"\"}}"
    );
    println!(
        "{{\"schema\":\"iroh.reach.first/1\",\"from\":{from},\"to\":{to},\"straight\":{},\"relayed_ms\":{},\"after_ms\":{after}}}",
        straight.is_some(),
        connected.as_millis(),
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (arguments, begun) = (arguments(), Instant::now());
    let until = Duration::from_secs(arguments.seconds);
    match arguments.secret {
        1 => {
            let _server = serve(arguments.listen).await;
            sleep(until).await;
        }
        3 => {
            let endpoint = endpoint(&arguments).await;
            let accepting = async {
                let connection = endpoint.accept().await.unwrap().await.unwrap();
                follow(&connection, 3, begun, until.saturating_sub(begun.elapsed())).await;
            };
            let _ = timeout(until + Duration::from_secs(1), accepting).await;
            endpoint.close().await;
        }
        4 => {
            let endpoint = endpoint(&arguments).await;
            let there = EndpointAddr::new(secret(3).public()).with_relay_url(relay_url(arguments.relay_at.unwrap()));
            let connection = loop {
                match endpoint.connect(there.clone(), PROTOCOL).await {
                    Ok(connection) => break connection,
                    Err(error) => eprintln!("{:?}: {error:#}", begun.elapsed()),
                }
            };
            follow(&connection, 4, begun, until.saturating_sub(begun.elapsed())).await;
            endpoint.close().await;
        }
        _ => {}
    }
}
