//! Reports as a peer would send them, for tests of everything that reads them.

use super::{Ages, Event, EventKind, Fault, Finished, Segment, Started};

/// The id of the `index`-th made-up peer.
pub(crate) fn peer_id(index: usize) -> String {
    format!("{:02x}", index + 1).repeat(32)
}

/// A peer that listens on port 4000 + index and works on segments of 10 steps of 100 tokens.
pub(crate) fn started(index: usize) -> Started {
    Started {
        peer_id: peer_id(index),
        petname: format!("calm-heron-{index:04}"),
        pid: 1000 + u32::try_from(index).expect("a small index"),
        address: ([127, 0, 0, 1], 4000 + u16::try_from(index).expect("a small index")).into(),
        metrics: format!("http://127.0.0.1:{}/metrics", 5000 + index),
        state_dir: format!("/tmp/peer-{index}"),
        params: 1_000_000,
        train_bytes: 40_000_000,
        validation_bytes: 2_000_000,
        data: "built-in".to_owned(),
        device: "cpu".to_owned(),
        class: "flex-x86_64".to_owned(),
        run_id: "0f".repeat(32),
        step_tokens: 100,
        segment_steps: 10,
        run_tokens: 80_000,
    }
}

/// The `seq`-th segment of one peer among four that keep pace.
pub(crate) fn segment(seq: u64) -> Segment {
    Segment {
        seq,
        clock: seq * 4_000,
        set_tokens: (seq + 1) * 4_000,
        tokens_self: (seq + 1) * 1_000,
        loss: 5.0 - f64::from(u32::try_from(seq).expect("a small number")) / 10.0,
        seconds: 0.5,
        steps: 10,
        updates_folded: (seq + 1) * 4,
        peers: 3,
        bytes_sent: (seq + 1) * 60_000,
        bytes_received: (seq + 1) * 60_000,
        payload_bits_per_param: 0.15,
        audits_passed: seq,
        audits_failed: 0,
        validation_loss: seq.is_multiple_of(2).then_some(4.5),
        base: "bb".repeat(32),
    }
}

/// Something that happened to `peer`.
pub(crate) fn event(kind: EventKind, peer: &str) -> Event {
    Event { kind, peer: Some(peer.to_owned()), detail: String::new() }
}

/// A good end: every peer says the same.
pub(crate) fn finished(index: usize) -> Finished {
    Finished {
        peer_id: peer_id(index),
        petname: format!("calm-heron-{index:04}"),
        seq: 20,
        updates: 80,
        tokens_set: 80_000,
        tokens_self: 20_000,
        state_root: "aa".repeat(32),
        version: "cc".repeat(32),
        val_loss: 2.5,
        val_bytes: 1_000,
        loss_first: 5.5,
        loss_last: 2.4,
        bytes_sent: 1_200_000,
        bytes_received: 1_200_000,
        audits_passed: 7,
        audits_failed: 0,
        evicted: vec![],
        seconds: 10.0,
        steps_self: 200,
        payload_bits_per_param: 0.15,
        roots_matched: 12,
        roots_differed: 0,
        chains: std::collections::BTreeMap::from([(peer_id(index), 41)]),
        final_epoch: 5,
        ages: ages(),
        reason: "budget".to_owned(),
        checkpoint: Some(format!("/tmp/peer-{index}/checkpoint-000000000080000.safetensors")),
        fault: None,
    }
}

/// Four updates that missed one step of others each, and one that missed ten.
fn ages() -> Ages {
    let mut ages = Ages::default();
    [100, 100, 100, 100, 1_000].into_iter().for_each(|age| ages.add(age));
    ages
}

/// A peer without data.
pub(crate) fn fault() -> Fault {
    Fault { code: 20, name: "data".to_owned(), message: "no data".to_owned(), hint: "pass --data".to_owned() }
}
