//! A peer's metrics, and the Prometheus endpoint that serves them. Names start with `murmur_`, units are base units.

mod serve;

use std::{sync::Arc, time::Duration};

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector,
};

pub use serve::{Listener, listen};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To other peers.
    Sent,
    /// From other peers.
    Received,
}

impl Direction {
    fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// The counters and gauges of one peer. Clones share them; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    tokens: IntCounter,
    loss: Gauge,
    validation_loss: Gauge,
    updates_folded: IntCounter,
    bytes: IntCounterVec,
    udp_bytes: IntCounterVec,
    payload_bits: Gauge,
    peers: IntGauge,
    audits: IntCounterVec,
    segment_seconds: Histogram,
    fold_seconds: Histogram,
    ages: HistogramVec,
    rejected: IntCounterVec,
}

impl Metrics {
    /// All at zero. The losses are NaN until they are known.
    pub fn new() -> Self {
        let r = Registry::new();
        let inner = Inner {
            tokens: counter(&r, "tokens_total", "Tokens this peer has trained on."),
            loss: gauge(&r, "loss", "Mean training loss of the newest segment, nats per byte."),
            validation_loss: gauge(&r, "validation_loss", "Loss on held-out text, nats per byte."),
            updates_folded: counter(&r, "updates_folded_total", "Updates folded into the state, of all authors."),
            bytes: counters(&r, "bytes_total", "Bytes of messages.", &["direction", "kind"]),
            udp_bytes: counters(&r, "udp_bytes_total", "Bytes at the UDP socket, handshakes included.", &["direction"]),
            payload_bits: gauge(&r, "payload_bits_per_parameter", "Size of the newest payload, per model parameter."),
            peers: peers(&r),
            audits: counters(&r, "audits_total", "Audits this peer has made.", &["result"]),
            segment_seconds: histogram(&r, "segment_seconds", "Time to compute a segment.", 0.05, 14),
            fold_seconds: histogram(&r, "fold_seconds", "Time to fold one update.", 0.000_05, 16),
            ages: ages(&r),
            rejected: counters(&r, "rejected_total", "Things peers sent that were refused.", &["reason"]),
            registry: r,
        };
        inner.loss.set(f64::NAN);
        inner.validation_loss.set(f64::NAN);
        Self(Arc::new(inner))
    }

    /// Tokens this peer has trained on.
    pub fn tokens(&self) -> u64 {
        self.0.tokens.get()
    }

    /// Training loss of the newest segment, nats per byte; NaN before the first.
    pub fn loss(&self) -> f64 {
        self.0.loss.get()
    }

    /// Loss on held-out text at the last measurement, nats per byte; NaN before the first.
    pub fn validation_loss(&self) -> f64 {
        self.0.validation_loss.get()
    }

    /// Counts tokens of a finished segment.
    pub fn add_tokens(&self, tokens: u64) {
        self.0.tokens.inc_by(tokens);
    }

    /// Shows the training loss of the newest segment, nats per byte.
    pub fn set_loss(&self, loss: f64) {
        self.0.loss.set(loss);
    }

    /// Shows the loss on held-out text, nats per byte.
    pub fn set_validation_loss(&self, loss: f64) {
        self.0.validation_loss.set(loss);
    }

    /// Counts folded updates.
    pub fn add_updates_folded(&self, updates: u64) {
        self.0.updates_folded.inc_by(updates);
    }

    /// Counts bytes of a message of one kind. Kinds are names of messages, never anything a peer chose.
    pub fn add_bytes(&self, direction: Direction, kind: &'static str, bytes: u64) {
        self.0.bytes.with_label_values(&[direction.label(), kind]).inc_by(bytes);
    }

    /// Shows the bytes that went through the UDP socket so far. A total below the last one is ignored.
    pub fn set_udp_bytes(&self, direction: Direction, total: u64) {
        let counter = self.0.udp_bytes.with_label_values(&[direction.label()]);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// Shows the size of the newest payload, bits per parameter.
    pub fn set_payload_bits_per_parameter(&self, bits: f64) {
        self.0.payload_bits.set(bits);
    }

    /// Shows how many other peers are connected.
    pub fn set_peers(&self, peers: usize) {
        self.0.peers.set(i64::try_from(peers).unwrap_or(i64::MAX));
    }

    /// Counts an audit this peer has made.
    pub fn add_audit(&self, passed: bool) {
        self.0.audits.with_label_values(&[if passed { "passed" } else { "failed" }]).inc();
    }

    /// Records how long a segment computed.
    pub fn observe_segment(&self, took: Duration) {
        self.0.segment_seconds.observe(took.as_secs_f64());
    }

    /// Records how long folding one update took.
    pub fn observe_fold(&self, took: Duration) {
        self.0.fold_seconds.observe(took.as_secs_f64());
    }

    /// Records how stale an update was when it joined the set: tokens of others that were in it and that the author, this peer
    /// or another, had not seen.
    pub fn observe_age(&self, is_own: bool, tokens: u64) {
        self.0.ages.with_label_values(&[if is_own { "self" } else { "other" }]).observe(tokens as f64);
    }

    /// Counts something a peer sent that was refused. Reasons are names of checks, never anything a peer chose.
    pub fn add_rejected(&self, reason: &'static str) {
        self.0.rejected.with_label_values(&[reason]).inc();
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let encoded = TextEncoder::new().encode_utf8(&self.0.registry.gather(), &mut text);
        encoded.expect("every family has a name and a sample");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("names and labels are constants that a test exercises");
    registry.register(Box::new(collector.clone())).expect("names are distinct, which a test exercises");
    collector
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("murmur_{name}"), help)
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::with_opts(options(name, help)))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(options(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    registered(registry, Gauge::with_opts(options(name, help)))
}

fn peers(registry: &Registry) -> IntGauge {
    registered(registry, IntGauge::with_opts(options("peers", "Other peers connected now.")))
}

/// Buckets from a step of the smallest models to a few final epochs.
fn ages(registry: &Registry) -> HistogramVec {
    let buckets = prometheus::exponential_buckets(64.0, 2.0, 18).expect("a positive start and a factor above 1");
    let help = "Tokens of others that the set held when an update joined it and that its author had not seen.";
    let options = HistogramOpts::from(options("update_age_tokens", help)).buckets(buckets);
    registered(registry, HistogramVec::new(options, &["author"]))
}

/// Buckets start at `first` seconds and double.
fn histogram(registry: &Registry, name: &str, help: &str, first: f64, buckets: usize) -> Histogram {
    let buckets = prometheus::exponential_buckets(first, 2.0, buckets).expect("a positive start and a factor above 1");
    let options = HistogramOpts::from(options(name, help)).buckets(buckets);
    registered(registry, Histogram::with_opts(options))
}

#[cfg(test)]
mod tests;
