//! Bytes of a peer by formulas, checked against real runs (`experiments/estimate`).

use murmur_kernels::{CHUNK, TopK};

use crate::config::Settings;

/// Bits of a chunk's two levels, on average: they are coded by what they differ from those of the chunk before.
const LEVEL_BITS: f64 = 4.0;

/// Bytes of an entry beside its payload: keys, hashes, signature, framing.
const ENTRY_BYTES: u64 = 400;

/// Bytes of an author in a version vector. An entry holds one vector for its base and one for each merge.
const AUTHOR_BYTES: u64 = 36;

/// What QUIC, UDP and IP, acknowledgements and the peers' small talk add to what is exchanged.
const WIRE: f64 = 1.04;

/// Bytes of one peer for each segment of each peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// A payload.
    pub payload: u64,
    /// Sent: payloads to the others, and what audits fetch.
    pub up: u64,
    /// Received; in a swarm of peers alike as much as is sent.
    pub down: u64,
}

impl Traffic {
    /// Of a swarm of `peers`, whose payloads and sealed private states are this large. Every peer gets every update once.
    pub(super) fn of(settings: &Settings, peers: usize, payload: u64, sealed: u64) -> Self {
        let others = peers.saturating_sub(1) as u64;
        let bases = others.min(settings.train.steps.saturating_sub(1)) + 1;
        let entry = ENTRY_BYTES + bases * peers as u64 * AUTHOR_BYTES;
        // A span is drawn with the audit rate, and its auditor fetches the state that it begins with.
        let audits =
            if others > 0 { settings.audit.rate * sealed as f64 / f64::from(settings.audit.span) } else { 0.0 };
        let sent = (WIRE * ((others * (payload + entry)) as f64 + audits)).round() as u64;
        Self { payload, up: sent, down: sent }
    }
}

/// Bytes of a payload whose entries lie at random: of each chunk of 4096 parameters k are sent, each with two bits and the gap
/// to the one before in a Rice code.
///
/// With p = k / 4096 and r bits of remainder, a gap takes 1 + r + y / (1 − y) bits, y = (1 − p)^(2^r); r is the one that takes
/// fewest. Where most are sent, those that are not are coded instead. Real positions cluster, which makes little difference.
pub(super) fn payload_bytes(top: TopK, parameters: usize) -> u64 {
    let sent = f64::from(top.get());
    let chunk = CHUNK as f64;
    let coded = sent.min(chunk - sent);
    let gap = |rice: i32| {
        let y = (1.0 - coded / chunk).powf(2f64.powi(rice));
        1.0 + f64::from(rice) + y / (1.0 - y)
    };
    let indices = if coded == 0.0 { 0.0 } else { coded * (0..=12).map(gap).fold(f64::INFINITY, f64::min) };
    let bits = 2.0 * sent + indices + LEVEL_BITS;
    (bits / 8.0 * parameters as f64 / chunk).ceil() as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmur_kernels::compress;
    use rand_chacha::{
        ChaCha8Rng,
        rand_core::{Rng, SeedableRng},
    };

    use super::*;

    #[test]
    fn the_formula_gives_the_size_of_real_payloads() {
        const PARAMETERS: usize = 64 * CHUNK;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut uniform = || rng.next_u32() as f32 / (1u64 << 31) as f32 - 1.0;
        let end: Vec<f32> = (0..PARAMETERS).map(|_| 1e-3 * uniform() * uniform()).collect();
        for k in [16, 64, 256, 1024, 2048, 4096] {
            let top = TopK::new(k).unwrap();
            let (mut residual, mut payload) = (vec![0.0; PARAMETERS], Vec::new());
            compress(top, 0.0, &vec![0.0; PARAMETERS], &end, &mut residual, &mut payload).unwrap();
            let ratio = payload_bytes(top, PARAMETERS) as f64 / payload.len() as f64;
            assert!((0.97..1.03).contains(&ratio), "top {k}: {ratio}");
        }
    }

    #[test]
    fn more_peers_audits_and_shorter_spans_send_more() {
        let up = |sets: &[&str], peers| Traffic::of(&super::super::tests::settings(sets), peers, 50_000, 2_000_000).up;
        assert_eq!(up(&[], 1), 0);
        assert!(up(&[], 4) > 3 * 50_000 && up(&[], 8) > 2 * up(&[], 4));
        assert!(up(&["audit.rate=0.5"], 4) > up(&[], 4));
        assert!(up(&["audit.span=1"], 4) > up(&[], 4));
    }
}
