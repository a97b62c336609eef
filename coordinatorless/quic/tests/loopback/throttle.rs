//! A wire of limited bandwidth with a queue in front that drops what does not fit, as a home router has.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::peer::localhost;

/// A UDP proxy in front of one peer, for one dialer, with the same limits in both directions. It ends when dropped.
pub(crate) struct Throttle {
    pub(crate) addr: SocketAddr,
    dropped: Arc<AtomicU64>,
    passing: JoinHandle<()>,
}

impl Throttle {
    /// Passes `bytes_per_s` to and from `accepter`; at most `queue_bytes` wait in each direction.
    pub(crate) async fn start(accepter: SocketAddr, bytes_per_s: u64, queue_bytes: usize) -> Self {
        let socket = Arc::new(UdpSocket::bind(localhost()).await.unwrap());
        let (addr, dropped) = (socket.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let queue = Duration::from_micros(queue_bytes as u64 * 1_000_000 / bytes_per_s);
        let passing = tokio::spawn(pass(socket, accepter, bytes_per_s, queue, dropped.clone()));
        Self { addr, dropped, passing }
    }

    /// Datagrams that did not fit in a queue.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(SeqCst)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

/// One direction: when its wire is free again, and where its datagrams wait.
struct Lane {
    free_at: Instant,
    waiting: mpsc::UnboundedSender<(Instant, SocketAddr, Vec<u8>)>,
}

impl Lane {
    fn new(socket: Arc<UdpSocket>) -> Self {
        let (waiting, mut queue) = mpsc::unbounded_channel::<(Instant, SocketAddr, Vec<u8>)>();
        tokio::spawn(async move {
            while let Some((at, to, datagram)) = queue.recv().await {
                sleep_until(at).await;
                // Whoever has gone does not get it.
                let _ = socket.send_to(&datagram, to).await;
            }
        });
        Self { free_at: Instant::now(), waiting }
    }

    /// Whether the datagram fits; then it leaves when all before it have.
    fn enter(&mut self, to: SocketAddr, datagram: &[u8], bytes_per_s: u64, queue: Duration) -> bool {
        let now = Instant::now();
        let begins = self.free_at.max(now);
        let fits = begins - now <= queue;
        if fits {
            self.free_at = begins + Duration::from_micros(datagram.len() as u64 * 1_000_000 / bytes_per_s);
            let _ = self.waiting.send((self.free_at, to, datagram.to_vec()));
        }
        fits
    }
}

async fn pass(
    socket: Arc<UdpSocket>,
    accepter: SocketAddr,
    bytes_per_s: u64,
    queue: Duration,
    dropped: Arc<AtomicU64>,
) {
    let (mut there, mut back) = (Lane::new(socket.clone()), Lane::new(socket.clone()));
    let (mut buffer, mut dialer) = (vec![0; 65536], None);
    loop {
        let (bytes, from) = socket.recv_from(&mut buffer).await.unwrap();
        let fits = match (from == accepter, dialer) {
            (true, Some(dialer)) => back.enter(dialer, &buffer[..bytes], bytes_per_s, queue),
            (true, None) => false,
            (false, _) => {
                dialer = Some(from);
                there.enter(accepter, &buffer[..bytes], bytes_per_s, queue)
            }
        };
        if !fits {
            dropped.fetch_add(1, SeqCst);
        }
    }
}
