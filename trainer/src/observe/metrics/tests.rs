//! Every metric appears under its documented name with its value, and over HTTP.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

fn exercised() -> Metrics {
    let metrics = Metrics::new();
    metrics.add_tokens(1500);
    metrics.set_loss(2.5);
    metrics.set_validation_loss(2.75);
    metrics.add_updates_folded(4);
    metrics.add_bytes(Direction::Sent, "payload", 100);
    metrics.add_bytes(Direction::Received, "header", 7);
    metrics.set_udp_bytes(Direction::Sent, 120);
    metrics.set_payload_bits_per_parameter(0.15);
    metrics.set_peers(3);
    metrics.add_audit(true);
    metrics.add_audit(false);
    metrics.observe_segment(Duration::from_millis(600));
    metrics.observe_fold(Duration::from_micros(80));
    metrics.observe_age(true, 256);
    metrics.observe_age(false, 1024);
    metrics.add_rejected("bad_signature");
    metrics
}

#[test]
fn every_metric_is_there_with_its_value() {
    let text = exercised().text();
    let expected = [
        "murmur_tokens_total 1500",
        "murmur_loss 2.5",
        "murmur_validation_loss 2.75",
        "murmur_updates_folded_total 4",
        "murmur_bytes_total{direction=\"sent\",kind=\"payload\"} 100",
        "murmur_bytes_total{direction=\"received\",kind=\"header\"} 7",
        "murmur_udp_bytes_total{direction=\"sent\"} 120",
        "murmur_payload_bits_per_parameter 0.15",
        "murmur_peers 3",
        "murmur_audits_total{result=\"passed\"} 1",
        "murmur_audits_total{result=\"failed\"} 1",
        "murmur_segment_seconds_count 1",
        "murmur_fold_seconds_count 1",
        "murmur_update_age_tokens_sum{author=\"self\"} 256",
        "murmur_update_age_tokens_count{author=\"other\"} 1",
        "murmur_rejected_total{reason=\"bad_signature\"} 1",
    ];
    for line in expected {
        assert!(text.lines().any(|shown| shown == line), "{line} is missing in:\n{text}");
    }
}

#[test]
fn counters_and_only_counters_end_in_total() {
    let text = exercised().text();
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let kinds: BTreeSet<_> = kinds.map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(kinds.len(), 13);
    for (name, kind) in kinds {
        assert!(name.starts_with("murmur_"));
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
    }
}

#[test]
fn socket_totals_never_fall() {
    let metrics = Metrics::new();
    for total in [10, 30, 20] {
        metrics.set_udp_bytes(Direction::Received, total);
    }
    assert!(metrics.text().contains("murmur_udp_bytes_total{direction=\"received\"} 30"));
}

/// A listener that serves made-up metrics and no status: its peer has stopped.
async fn listener() -> SocketAddr {
    let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address();
    listener.serve(exercised(), || async { None });
    address
}

async fn answer(address: SocketAddr, page: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let question = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_endpoint_answers_over_http() {
    let address = listener().await;
    let metrics = answer(address, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.to_lowercase().contains("content-type: text/plain; version=0.0.4"));
    assert!(metrics.contains("murmur_tokens_total 1500"));
    assert_eq!(listen(address).await.unwrap_err().exit(), crate::error::Exit::Config);
}

#[tokio::test]
async fn a_stopped_peer_has_no_status_and_nothing_else_is_there() {
    let address = listener().await;
    assert!(answer(address, "/status").await.starts_with("HTTP/1.1 503"));
    assert!(answer(address, "/").await.starts_with("HTTP/1.1 404"));
}
