//! A network in this program: a thread that carries IP packets from one peer's TUN device to another's.
//!
//! A packet waits in the sender's uplink for its turn, is on the way for half a round trip and a bit, is lost now and then, and
//! waits in the receiver's downlink. Packets from one peer to another keep their order, as they mostly do on real links.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use murmur_sim::Lane;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    LinkProfile, NoLinks,
    namespaces::{INTERFACE, index_of},
    tun,
};

/// Packets taken from one device before the others have their turn.
const PACKETS_AT_ONCE: usize = 64;

/// How much sooner than others this thread is scheduled: what it delays is part of what is measured.
const NICENESS: i32 = -15;

/// The thread; it ends, and its devices are gone, when this is dropped.
#[derive(Debug)]
pub(super) struct Wire {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Makes a device in each of the namespaces and begins to carry packets.
    ///
    /// # Errors
    /// [`NoLinks::Missing`] when TUN devices cannot be made; [`NoLinks::Failed`] when a thread cannot be started.
    pub(super) fn start(profile: &LinkProfile, namespaces: &[String]) -> Result<Self, NoLinks> {
        let failed = |error: std::io::Error| NoLinks::Failed {
            command: "start a thread that carries packets".to_owned(),
            said: error.to_string(),
        };
        let (stop, stopped) = UnixStream::pair().map_err(failed)?;
        let (ready, begun) = mpsc::channel();
        let (profile, namespaces) = (*profile, namespaces.to_vec());
        let work = move || match devices(&namespaces) {
            Ok(devices) => {
                // Without the right to it, packets are a bit later.
                let _ = rustix::process::setpriority_process(None, NICENESS);
                // Whoever asked is waiting.
                let _ = ready.send(Ok(()));
                Carrier::new(&profile, devices).run(&stopped);
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        let thread = std::thread::Builder::new().name("wire".to_owned()).spawn(work).map_err(failed)?;
        let wire = Self { stop: Some(stop), thread: Some(thread) };
        match begun.recv() {
            Ok(Ok(())) => Ok(wire),
            Ok(Err(error)) => Err(NoLinks::Missing(format!("no `tc netem`, and no TUN devices either: {error}"))),
            Err(_) => Err(failed(std::io::Error::other("it ended at once"))),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop = None;
        // A thread that panicked has ended, too.
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn devices(namespaces: &[String]) -> std::io::Result<Vec<File>> {
    let device = |name: &String| tun::enter(name).and_then(|()| tun::open(INTERFACE));
    namespaces.iter().map(device).collect()
}

/// A packet that has to wait.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    until: Duration,
    /// Distinguishes packets of one moment, in the order they came.
    number: u64,
    to: usize,
    /// Whether it is through the receiver's downlink then, or only at its beginning.
    arrives: bool,
    packet: Vec<u8>,
}

struct Carrier {
    profile: LinkProfile,
    devices: Vec<File>,
    uplinks: Vec<Lane>,
    downlinks: Vec<Lane>,
    /// When the last packet of each sender reaches each receiver's downlink.
    order: Vec<Vec<Duration>>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    number: u64,
    rng: ChaCha8Rng,
    clock: Instant,
    buffer: Vec<u8>,
}

impl Carrier {
    fn new(profile: &LinkProfile, devices: Vec<File>) -> Self {
        let peers = devices.len();
        Self {
            profile: *profile,
            devices,
            uplinks: vec![profile.uplink(); peers],
            downlinks: vec![profile.downlink(); peers],
            order: vec![vec![Duration::ZERO; peers]; peers],
            waiting: BinaryHeap::new(),
            number: 0,
            rng: ChaCha8Rng::seed_from_u64(1),
            clock: Instant::now(),
            buffer: vec![0; 1 << 16],
        }
    }

    /// Carries packets until the other end of `stopped` is closed.
    fn run(mut self, stopped: &UnixStream) {
        loop {
            self.move_on();
            match self.wait(stopped) {
                Some(readable) => readable.into_iter().for_each(|index| self.take_from(index)),
                None => return,
            }
        }
    }

    /// Waits for packets, or until one has waited long enough. Says whose there are; nothing at the end.
    fn wait(&self, stopped: &UnixStream) -> Option<Vec<usize>> {
        let sources = self.devices.iter().map(AsFd::as_fd).chain([stopped.as_fd()]);
        let mut sources: Vec<PollFd<'_>> =
            sources.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN)).collect();
        let next = self.waiting.peek().map(|Reverse(first)| first.until.saturating_sub(self.clock.elapsed()));
        let patience = next.and_then(|wait| Timespec::try_from(wait).ok());
        // Interrupted by a signal, it looks again.
        let _ = poll(&mut sources, patience.as_ref());
        let mut told = sources.iter().map(|source| !source.revents().is_empty());
        let readable = (0..self.devices.len()).filter(|_| told.next() == Some(true)).collect();
        (told.next() != Some(true)).then_some(readable)
    }

    fn take_from(&mut self, from: usize) {
        for _ in 0..PACKETS_AT_ONCE {
            let Ok(length) = self.devices[from].read(&mut self.buffer) else { return };
            let now = self.clock.elapsed();
            let packet = &self.buffer[..length];
            let Some(to) = receiver(packet, self.devices.len()) else { continue };
            let packet = packet.to_vec();
            self.send(now, from, to, packet);
        }
    }

    /// Through the uplink and on the way.
    fn send(&mut self, now: Duration, from: usize, to: usize, packet: Vec<u8>) {
        let Some(left) = self.uplinks[from].packet(now, packet.len() as u64) else { return };
        if self.below(1_000_000) < u64::from(self.profile.loss_per_million) {
            return;
        }
        let jitter = Duration::from_nanos(self.below(self.profile.jitter.as_nanos() as u64));
        let reaches = (left + self.profile.one_way_delay() + jitter).max(self.order[from][to]);
        self.order[from][to] = reaches;
        self.hold(reaches, to, false, packet);
    }

    fn hold(&mut self, until: Duration, to: usize, arrives: bool, packet: Vec<u8>) {
        self.number += 1;
        self.waiting.push(Reverse(Waiting { until, number: self.number, to, arrives, packet }));
    }

    /// Moves every packet on that has waited long enough.
    fn move_on(&mut self) {
        while self.waiting.peek().is_some_and(|Reverse(first)| first.until <= self.clock.elapsed()) {
            let Some(Reverse(Waiting { until, to, arrives, packet, .. })) = self.waiting.pop() else { return };
            if arrives {
                // An interface that is down takes none, as a machine that is off.
                let _ = self.devices[to].write(&packet);
            } else if let Some(through) = self.downlinks[to].packet(until, packet.len() as u64) {
                self.hold(through, to, true, packet);
            }
        }
    }

    /// A number below `bound`; 0 if it is 0.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.rng.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// Whom an IPv4 packet is for; nothing for any other packet.
fn receiver(packet: &[u8], peers: usize) -> Option<usize> {
    let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    is_v4.then(|| index_of(to, peers)).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A header of IPv4 and so many bytes.
    fn packet(to: [u8; 4], bytes: usize) -> Vec<u8> {
        let mut packet = vec![0; bytes];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&to);
        packet
    }

    #[test]
    fn packets_go_to_whom_they_are_for_and_others_nowhere() {
        assert_eq!(receiver(&packet([10, 77, 0, 2], 40), 3), Some(1));
        assert_eq!(receiver(&packet([10, 77, 0, 4], 40), 3), None, "nobody has it");
        assert_eq!(receiver(&packet([224, 0, 0, 1], 40), 3), None);
        assert_eq!(receiver(&[0x60; 40], 3), None, "IPv6");
        assert_eq!(receiver(&[0x45; 3], 3), None, "cut short");
    }

    #[test]
    fn packets_of_a_pair_keep_their_order_and_come_no_earlier_than_they_can() {
        let profile = LinkProfile::named("lossy").unwrap();
        let devices = (0..2).map(|_| tempfile::tempfile().unwrap()).collect();
        let mut carrier = Carrier::new(&profile, devices);
        let second = Duration::from_secs(1);
        let to = || packet([10, 77, 0, 2], 1500);
        (0..500).for_each(|index| carrier.send(index * second / 500, 0, 1, to()));
        let sent = carrier.number;
        assert!((450..500).contains(&sent), "{sent} of 500 are on the way: some were lost");
        // A packet takes 1.2 ms to send; of these twenty not more than five are lost.
        (0..20).for_each(|_| carrier.send(2 * second, 0, 1, to()));
        let mut waiting = std::mem::take(&mut carrier.waiting).into_sorted_vec();
        waiting.reverse();
        assert!(waiting.windows(2).all(|pair| pair[0].0.number < pair[1].0.number));
        let (first, last) = (&waiting[0].0, &waiting[waiting.len() - 1].0);
        assert!(first.until >= profile.one_way_delay());
        assert!(last.until >= 2 * second + profile.one_way_delay() + profile.uplink().duration(15 * 1500));
    }
}
