//! Links between sockets of this process, whose threads enter the namespaces. Without root or namespaces they say so and pass.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use super::*;
use crate::bench::links::tun::enter;

/// The links, or a line that says why there are none.
fn links(profile: &str, peers: usize) -> Option<Namespaces> {
    match Namespaces::create(LinkProfile::named(profile).unwrap(), peers) {
        Ok(made) => Some(made),
        Err(NoLinks::Missing(why)) => {
            println!("skipped: {why}");
            None
        }
        Err(failed @ NoLinks::Failed { .. }) => panic!("{failed}"),
    }
}

/// Runs `work` as a peer, on a thread of its own.
fn as_peer<T: Send + 'static>(
    links: &Namespaces,
    index: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let name = links.names[index].clone();
    std::thread::spawn(move || {
        enter(&name).unwrap();
        work()
    })
}

/// The shortest of ten round trips of a small packet from peer 0 to peer 1.
fn round_trip(links: &Namespaces) -> Duration {
    let to = SocketAddr::new(links.address(1), 9000);
    let (bound, is_bound) = std::sync::mpsc::channel();
    let echo = as_peer(links, 1, move || {
        let socket = UdpSocket::bind(to).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        bound.send(()).unwrap();
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if length == 1 {
                return;
            }
            socket.send_to(&buffer[..length], from).unwrap();
        }
    });
    is_bound.recv().unwrap();
    let from = SocketAddr::new(links.address(0), 0);
    let asks = as_peer(links, 0, move || {
        let socket = UdpSocket::bind(from).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let once = || {
            let (begun, mut buffer) = (Instant::now(), [0; 64]);
            socket.send_to(&[0; 40], to).unwrap();
            socket.recv_from(&mut buffer).ok().map(|_| begun.elapsed())
        };
        let shortest = (0..10).filter_map(|_| once()).min();
        socket.send_to(&[0], to).unwrap();
        shortest.expect("not all ten packets are lost")
    });
    let shortest = asks.join().unwrap();
    echo.join().unwrap();
    shortest
}

/// Bits per second of so many bytes by TCP from peer 0 to peer 1.
fn goodput(links: &Namespaces, bytes: usize) -> f64 {
    let to = SocketAddr::new(links.address(1), 9001);
    let (bound, is_bound) = std::sync::mpsc::channel();
    let takes = as_peer(links, 1, move || {
        let listener = TcpListener::bind(to).unwrap();
        bound.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut taken = Vec::new();
        stream.read_to_end(&mut taken).unwrap();
        taken.len()
    });
    is_bound.recv().unwrap();
    let begun = Instant::now();
    let gives = as_peer(links, 0, move || TcpStream::connect(to).unwrap().write_all(&vec![7; bytes]).unwrap());
    gives.join().unwrap();
    assert_eq!(takes.join().unwrap(), bytes);
    bytes as f64 * 8.0 / begun.elapsed().as_secs_f64()
}

#[test]
fn a_cable_link_is_as_far_and_as_slow_as_its_profile_says() {
    let Some(links) = links("cable", 2) else { return };
    let cable = LinkProfile::named("cable").unwrap();
    let (round_trip, goodput) = (round_trip(&links), goodput(&links, 4_000_000));
    println!("{}: {round_trip:?}, {:.1} Mbit/s", links.method(), goodput / 1e6);
    assert!(round_trip >= cable.round_trip, "{round_trip:?}");
    let up = cable.up_bits_per_second as f64;
    // The least is what a machine that is busy with other tests still gives.
    assert!(goodput <= up && goodput >= up / 10.0, "{goodput}");
    assert!(links.sent_bytes(0).unwrap() >= 4_000_000);
}

#[test]
fn a_loopback_link_carries_large_packets_and_adds_nothing() {
    let Some(links) = links("loopback", 2) else { return };
    println!("{}: {:?}, {:.0} Mbit/s", links.method(), round_trip(&links), goodput(&links, 4_000_000) / 1e6);
    assert_eq!(links.method(), "a bridge and tc", "needs no delay");
}

#[test]
fn a_program_runs_as_a_peer() {
    let Some(links) = links("lan", 2) else { return };
    let told = links.command(1, "ip").args(["-o", "-4", "addr", "show", INTERFACE]).output().unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(text.contains(&links.address(1).to_string()), "{text}");
}

#[test]
fn nothing_is_left_of_links_after_a_panic_nor_of_a_killed_process() {
    let Some(first) = links("cable", 2) else { return };
    let exists = |name: &str| Path::new("/run/netns").join(name).exists();
    let names = first.names.clone();
    assert!(names.iter().all(|name| exists(name)));
    let panics = AssertUnwindSafe(move || {
        let _held = first;
        panic!("as a test should");
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(!names.iter().any(|name| exists(name)), "{names:?}");

    let mut gone = Command::new("true").spawn().unwrap();
    let pid = gone.id();
    gone.wait().unwrap();
    let (left, kept) = (format!("{PREFIX}-{pid}-0-1"), format!("other-{pid}"));
    ip(&["netns", "add", &left]).unwrap();
    ip(&["netns", "add", &kept]).unwrap();
    let second = links("loopback", 1);
    let found = (exists(&left), exists(&kept));
    ip(&["netns", "del", &kept]).unwrap();
    assert_eq!(found, (false, true), "only what such a benchmark left");
    drop(second);
}
