//! A router's side of NAT-PMP (RFC 6886), as small as it can be: for experiments in network namespaces, not for routers.
//!
//! `router --outer ADDR [--lease-max S]` answers on UDP port 5351 and keeps its mappings as elements of the nftables map
//! `nat mapped`, from which the kernel takes them when their time is up. `experiments/nat/run.sh` makes that map, and the
//! rule that follows it. Each thing done is one line on stdout.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Command, ExitCode},
    time::Instant,
};

/// Where routers listen for NAT-PMP and PCP.
const PORT: u16 = 5351;

/// The answer to a request has its number and this bit.
const ANSWER: u8 = 128;

/// Result codes (RFC 6886 §3.5).
const SUCCESS: u16 = 0;
const UNSUPPORTED_VERSION: u16 = 1;
const UNSUPPORTED_REQUEST: u16 = 5;

/// What the command line says.
struct Arguments {
    outer: Ipv4Addr,
    lease_max: u32,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let (mut outer, mut lease_max) = (None, 3600);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--outer" => outer = Some(words.next()?.parse().ok()?),
                "--lease-max" => lease_max = words.next()?.parse().ok()?,
                _ => return None,
            }
        }
        outer.map(|outer| Self { outer, lease_max })
    }
}

/// A request to map a UDP port.
struct Asked {
    inner: u16,
    outer: u16,
    seconds: u32,
}

impl Asked {
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 12] = bytes.try_into().ok()?;
        let (inner, outer) = (u16::from_be_bytes([bytes[4], bytes[5]]), u16::from_be_bytes([bytes[6], bytes[7]]));
        let seconds = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        (inner != 0).then_some(Self { inner, outer, seconds })
    }
}

/// Has nftables change the map.
fn nft(what: &str, element: &str) -> bool {
    let command = format!("{what} element ip nat mapped {{ {element} }}");
    Command::new("nft").arg(command).status().is_ok_and(|status| status.success())
}

/// Carries a request out; the outer port and the lease that are granted.
fn map(asked: &Asked, client: Ipv4Addr, lease_max: u32) -> Option<(u16, u32)> {
    let outer = if asked.outer == 0 { asked.inner } else { asked.outer };
    // An element cannot be changed, only taken out and put in again.
    let _ = Command::new("nft").arg(format!("delete element ip nat mapped {{ {outer} }}")).output();
    if asked.seconds == 0 {
        println!("removed {client}:{}", asked.inner);
        return Some((0, 0));
    }
    let lease = asked.seconds.min(lease_max);
    let added = nft("add", &format!("{outer} timeout {lease}s : {client} . {}", asked.inner));
    println!("mapped {outer} to {client}:{} for {lease} s", asked.inner);
    added.then_some((outer, lease))
}

/// The answer to a datagram, if it deserves one.
fn answer(request: &[u8], client: Ipv4Addr, arguments: &Arguments, epoch: u32) -> Option<Vec<u8>> {
    let (&version, &operation) = (request.first()?, request.get(1)?);
    let head = |result: u16| {
        let mut head = vec![0, ANSWER | operation];
        head.extend(result.to_be_bytes());
        head.extend(epoch.to_be_bytes());
        head
    };
    match (version, operation) {
        (0, 0) => Some([head(SUCCESS), arguments.outer.octets().to_vec()].concat()),
        (0, 1) => {
            let asked = Asked::read(request)?;
            let (outer, lease) = map(&asked, client, arguments.lease_max)?;
            let ports = [asked.inner.to_be_bytes(), outer.to_be_bytes()].concat();
            Some([head(SUCCESS), ports, lease.to_be_bytes().to_vec()].concat())
        }
        (0, _) => Some(head(UNSUPPORTED_REQUEST)),
        _ => Some(head(UNSUPPORTED_VERSION)),
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        eprintln!("usage: router --outer ADDR [--lease-max S]");
        return ExitCode::from(2);
    };
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)) else {
        eprintln!("cannot listen on UDP port {PORT}");
        return ExitCode::FAILURE;
    };
    let (begun, mut buffer) = (Instant::now(), [0; 1100]);
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let SocketAddr::V4(client) = from else { continue };
        let epoch = u32::try_from(begun.elapsed().as_secs()).unwrap_or(u32::MAX);
        if let Some(bytes) = answer(&buffer[..length], *client.ip(), &arguments, epoch) {
            // Whoever does not get it asks again.
            let _ = socket.send_to(&bytes, from);
        }
    }
    ExitCode::SUCCESS
}
