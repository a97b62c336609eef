//! Asking a peer of this machine for its status: one HTTP request, bounded in time and size.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use super::Status;

/// How long connecting, and then each piece of the answer, may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The status of the peer that answers at `http`. One that listens everywhere is asked on loopback.
///
/// # Errors
/// Whatever keeps it from answering; an answer that is no status is [`io::ErrorKind::InvalidData`].
pub fn ask(http: SocketAddr) -> io::Result<Status> {
    let mut stream = TcpStream::connect_timeout(&here(http), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /status HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is no status"))
}

fn here(http: SocketAddr) -> SocketAddr {
    let ip = match http.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, http.port())
}

fn parse(answer: &[u8]) -> Option<Status> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = answer[..end].strip_prefix(b"HTTP/1.")?;
    let succeeded = head.get(1..5) == Some(b" 200");
    succeeded.then(|| serde_json::from_slice(&answer[end + 4..]).ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::observe::status::{Limits, Phase, SetStatus, StepsReason, StepsStatus, Verdicts};

    pub(crate) fn status() -> Status {
        Status {
            peer_id: "ab".repeat(32),
            petname: "calm-heron".to_owned(),
            run_id: "0f".repeat(32),
            pid: 7,
            state_dir: "/tmp/peer-0".to_owned(),
            address: "127.0.0.1:4000".to_owned(),
            phase: Phase::Training,
            seconds: 12.5,
            loss: Some(2.5),
            validation_loss: None,
            tokens_self: 1000,
            set: SetStatus {
                updates: 8,
                tokens: 4000,
                tokens_budget: 9000,
                authors: 4,
                version: "cc".repeat(8),
                roots_matched: 3,
                roots_differed: 0,
                final_epoch: 2,
                final_tokens: 3000,
            },
            audits: Verdicts { passed: 1, failed: 0 },
            evicted: Vec::new(),
            neighbours: Vec::new(),
            seen_from_outside: None,
            bytes_sent: 10,
            bytes_received: 20,
            limits: Limits { threads: 1, connections: 64, message_bytes: 4 << 20 },
            steps: Some(steps()),
        }
    }

    pub(crate) fn steps() -> StepsStatus {
        StepsStatus {
            steps: 8,
            top: 64,
            top_most: 4096,
            least: 5,
            most: 100,
            reason: StepsReason::Link,
            step_seconds: 0.08,
            segment_bytes: 159_000,
            payload_bytes: 52_000,
            uplink_bytes_per_second: Some(250_000),
            link_seconds: 0.636,
            swarm_tokens_per_second: 12_800.0,
            peers: 3,
        }
    }

    fn answering(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of the question, or closing would reset the connection.
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                question.extend(byte);
            }
            let _ = stream.write_all(&answer);
        });
        address
    }

    #[test]
    fn a_status_comes_back_as_it_was() {
        let body = serde_json::to_string(&status()).unwrap();
        let address =
            answering(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{body}").into_bytes());
        assert_eq!(ask(address).unwrap(), status());
    }

    #[test]
    fn whatever_else_answers_is_refused() {
        for answer in ["", "garbage", "HTTP/1.1 404 Not Found\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n{}"] {
            assert!(ask(answering(answer.into())).is_err(), "{answer}");
        }
    }
}
