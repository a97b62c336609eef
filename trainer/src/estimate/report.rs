//! An estimate as a table for people and an object for programs.

use serde_json::{Value, json};

use super::Estimate;
use crate::observe::output::{Column, bytes, duration, short, table};

/// `murmur.estimate/1`.
pub fn to_json(estimate: &Estimate) -> Value {
    let Estimate { peers, need, traffic, speed, link, .. } = estimate;
    let megabits = |rate: Option<f64>| rate.map(|rate| rate * 8.0 / 1e6);
    let segments = segments(estimate);
    json!({
        "schema": "murmur.estimate/1",
        "peers": peers.swarm,
        "local_peers": peers.local,
        "parameters": estimate.parameters,
        "tokens": estimate.tokens,
        "memory": {
            "peer_bytes": need.total(), "model_bytes": need.model, "batch_bytes": need.batch, "log_bytes": need.log,
            "text_bytes": need.text, "base_bytes": need.base, "local_bytes": need.total() * peers.local as u64,
        },
        "top": estimate.top,
        "payload_bytes": traffic.payload,
        "segment_up_bytes": traffic.up,
        "segment_down_bytes": traffic.down,
        "peer_up_bytes": (traffic.up as f64 * segments).round(),
        "peer_down_bytes": (traffic.down as f64 * segments).round(),
        "link": { "name": link.name, "up_mbit": megabits(link.up), "down_mbit": megabits(link.down),
            "rtt_seconds": link.rtt_seconds },
        "segment_seconds": estimate.segment_seconds,
        "update_delay_seconds": estimate.delay_seconds,
        "utilisation": estimate.utilisation,
        "step_share": speed.step_share,
        "peer_tokens_per_second": speed.tokens_per_second,
        "swarm_tokens_per_second": estimate.tokens as f64 / estimate.training_seconds,
        "training_seconds": estimate.training_seconds,
        "calibration_seconds": speed.seconds,
    })
}

/// Segments of each peer.
fn segments(estimate: &Estimate) -> f64 {
    estimate.training_seconds * estimate.utilisation / estimate.segment_seconds
}

/// The same for people.
pub fn to_text(estimate: &Estimate) -> String {
    let Estimate { peers, need, traffic, speed, link, .. } = estimate;
    let columns = [Column::text("what", 0), Column::number("estimate", 0), Column::text("of that", 1)];
    let segments = segments(estimate);
    let row = |what: &str, value: String, of: String| vec![what.to_owned(), value, of];
    let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    let rate = |bytes: u64| format!("{:.2} Mbit/s while it trains", rate(bytes, estimate) * 8.0 / 1e6);
    let parts = format!(
        "model {}, batch {}, log {}, text {}, program {}",
        mib(need.model),
        mib(need.batch),
        mib(need.log),
        mib(need.text),
        mib(need.base)
    );
    let percent = |part: f64| format!("{:.0} %", 100.0 * part);
    let swarm =
        format!("{} peers, {} here, {} parameters", peers.swarm, peers.local, short(estimate.parameters as f64));
    let rows = [
        row("memory of a peer", mib(need.total()), parts),
        row("memory of this machine's peers", mib(need.total() * peers.local as u64), String::new()),
        row(
            "payload of an update",
            bytes(traffic.payload),
            format!(
                "{} of 4096 parameters, {:.3} bits a parameter",
                estimate.top,
                8.0 * traffic.payload as f64 / estimate.parameters as f64
            ),
        ),
        row("sent by a peer", bytes((traffic.up as f64 * segments) as u64), rate(traffic.up)),
        row("received by a peer", bytes((traffic.down as f64 * segments) as u64), rate(traffic.down)),
        row(
            "a segment",
            format!("{:.2} s", estimate.segment_seconds),
            format!("{} of it in inner steps", percent(speed.step_share)),
        ),
        row("until all have an update", format!("{:.2} s", estimate.delay_seconds), format!("over {}", link.name)),
        row("time that the link leaves for work", percent(estimate.utilisation), format!("over {}", link.name)),
        row(
            "speed",
            format!("{} tokens/s", short(estimate.tokens as f64 / estimate.training_seconds)),
            format!("{} tokens/s a peer", short(speed.tokens_per_second)),
        ),
        row(
            "training",
            duration(estimate.training_seconds),
            format!("{} tokens by {swarm}", short(estimate.tokens as f64)),
        ),
    ];
    table(&columns, &rows, crate::observe::output::terminal_width())
}

/// Bytes a second.
fn rate(bytes: u64, estimate: &Estimate) -> f64 {
    bytes as f64 * estimate.utilisation / estimate.segment_seconds
}

#[cfg(test)]
mod tests {
    use super::super::tests::estimate;
    use super::*;

    #[test]
    fn the_object_has_its_keys_and_the_table_says_the_same() {
        let estimate = estimate(&["run.tokens=1M"], 4, "cable");
        let object = to_json(&estimate);
        assert_eq!(object["schema"], "murmur.estimate/1");
        for key in [
            "payload_bytes",
            "segment_up_bytes",
            "segment_down_bytes",
            "peer_up_bytes",
            "utilisation",
            "segment_seconds",
            "update_delay_seconds",
            "training_seconds",
            "swarm_tokens_per_second",
            "step_share",
        ] {
            assert!(object[key].is_number(), "{key}");
        }
        assert!(object["memory"]["peer_bytes"].is_u64() && object["link"]["up_mbit"] == 20.0);
        let text = to_text(&estimate);
        assert!(text.contains(&duration(estimate.training_seconds)) && text.contains("over cable"), "{text}");
    }
}
