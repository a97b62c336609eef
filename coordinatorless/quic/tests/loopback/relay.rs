//! A wire between two peers that counts what passes, and may take its time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{net::UdpSocket, task::JoinHandle, time::sleep};

use crate::peer::localhost;

/// Bytes and datagrams.
type Counts = [AtomicU64; 2];

/// A UDP relay in front of one peer, for one dialer. It ends when dropped.
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    passed: Arc<[Counts; 2]>,
    relaying: JoinHandle<()>,
}

impl Relay {
    /// Passes datagrams to and from `accepter`, each `latency` after it came.
    pub(crate) async fn start(accepter: SocketAddr, latency: Duration) -> Self {
        let socket = Arc::new(UdpSocket::bind(localhost()).await.unwrap());
        let (addr, passed) = (socket.local_addr().unwrap(), Arc::new(<[Counts; 2]>::default()));
        let relaying = tokio::spawn(relay(socket, accepter, latency, passed.clone()));
        Self { addr, passed, relaying }
    }

    /// Bytes and datagrams that came from the dialer.
    pub(crate) fn dialer_sent(&self) -> [u64; 2] {
        [0, 1].map(|index| self.passed[0][index].load(SeqCst))
    }

    /// Bytes and datagrams that came from the accepter.
    pub(crate) fn accepter_sent(&self) -> [u64; 2] {
        [0, 1].map(|index| self.passed[1][index].load(SeqCst))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.relaying.abort();
    }
}

async fn relay(socket: Arc<UdpSocket>, accepter: SocketAddr, latency: Duration, passed: Arc<[Counts; 2]>) {
    let (mut buffer, mut dialer) = (vec![0; 65536], None);
    loop {
        let (bytes, from) = socket.recv_from(&mut buffer).await.unwrap();
        let (to, counts) = match from == accepter {
            true => (dialer.expect("the dialer speaks first"), &passed[1]),
            false => (accepter, &passed[0]),
        };
        if from != accepter {
            dialer = Some(from);
        }
        counts[0].fetch_add(bytes as u64, SeqCst);
        counts[1].fetch_add(1, SeqCst);
        let (datagram, socket) = (buffer[..bytes].to_vec(), socket.clone());
        tokio::spawn(async move {
            sleep(latency).await;
            socket.send_to(&datagram, to).await.unwrap();
        });
    }
}
