//! The objects of `run --json` and `join --json`: names and keys are a promise, new keys may be added.

use serde_json::{Value, json};

use crate::{
    observe::views::{Agreement, Audits, EventLine, Opening, Round, Row, Summary, reduction},
    protocol::Started,
};

/// `murmur.started/1`.
pub(super) fn opening(opening: &Opening) -> Value {
    json!({
        "schema": "murmur.started/1",
        "ticket": opening.ticket,
        "join": opening.join,
        "run_id": opening.run_id,
        "state_dir": opening.state_dir,
        "joined": opening.joined,
        "peers": opening.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}

fn peer(started: &Started) -> Value {
    json!({
        "petname": started.petname, "peer_id": started.peer_id, "pid": started.pid, "address": started.address,
        "metrics": started.metrics, "state_dir": started.state_dir, "params": started.params,
        "device": started.device, "class": started.class, "train_bytes": started.train_bytes,
        "validation_bytes": started.validation_bytes,
    })
}

/// `murmur.round/1`.
pub(super) fn round(round: &Round) -> Value {
    json!({
        "schema": "murmur.round/1",
        "round": round.number,
        "tokens": round.tokens,
        "loss": round.loss,
        "val_loss": round.val_loss,
        "tokens_per_second_self": round.tokens_per_second_self,
        "tokens_per_second": round.tokens_per_second,
        "peers": round.peers,
        "bytes_sent": round.bytes_sent,
        "bytes_allreduce": whole(round.bytes_allreduce),
        "reduction": reduction(round.bytes_allreduce, round.bytes_sent),
        "audits": audits(round.audits),
        "seconds": round.seconds,
        "eta_seconds": round.eta_seconds,
    })
}

/// `murmur.event/1`.
pub(super) fn event(event: &EventLine) -> Value {
    json!({
        "schema": "murmur.event/1", "kind": event.kind.name(), "peer_id": event.peer_id, "petname": event.petname,
        "detail": event.detail,
    })
}

/// `murmur.summary/1`.
pub(super) fn summary(summary: &Summary) -> Value {
    json!({
        "schema": "murmur.summary/1",
        "run_id": summary.run_id,
        "state_dir": summary.state_dir,
        "peers": summary.peers,
        "survivors": summary.survivors,
        "tokens": summary.tokens,
        "updates": summary.updates,
        "loss_first": summary.loss_first,
        "loss_final": summary.loss_final,
        "val_loss": summary.val_loss,
        "state_root": summary.state_root,
        "state_roots_equal": summary.agreement == Agreement::Equal,
        "comparisons": { "equal": summary.comparisons.0, "different": summary.comparisons.1 },
        "bytes_sent": summary.bytes_sent,
        "bytes_allreduce": whole(summary.bytes_allreduce),
        "reduction": reduction(summary.bytes_allreduce, summary.bytes_sent),
        "payload_bits_per_param": summary.payload_bits_per_param,
        "staleness_tokens_mean": summary.staleness_tokens.map(|(mean, _)| mean),
        "staleness_tokens_p95": summary.staleness_tokens.map(|(_, p95)| p95),
        "audits": audits(summary.audits),
        "evicted": summary.evicted,
        "seconds": summary.seconds,
        "tokens_per_second": summary.tokens_per_second,
        "had_ended": summary.had_ended,
        "checkpoint": summary.checkpoint,
        "per_peer": summary.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(row: &Row) -> Value {
    json!({
        "petname": row.petname, "end": row.end, "updates": row.updates, "tokens": row.tokens, "loss": row.loss,
        "bytes_sent": row.bytes_sent, "bytes_received": row.bytes_received, "state_root": row.state_root,
    })
}

fn audits(audits: Audits) -> Value {
    json!({ "passed": audits.passed, "failed": audits.failed })
}

/// Bytes are whole numbers.
fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}
