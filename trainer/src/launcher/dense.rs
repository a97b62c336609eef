//! The bytes that the same work would have sent with dense gradients exchanged at every step.

/// Bytes that `local` of `peers` peers send when `tokens` tokens are trained in steps of `step_tokens` tokens a peer,
/// with a ring all-reduce of bf16 gradients of `params` parameters after every step.
///
/// A swarm step is one step of every peer, `peers · step_tokens` tokens. In a ring, each peer sends
/// `2 · (peers − 1) / peers` times the gradient, so all together send `2 · (peers − 1) · params · 2` bytes a step.
/// A lone peer sends nothing.
pub fn allreduce_bytes(tokens: u64, peers: u64, local: u64, step_tokens: u64, params: u64) -> f64 {
    if peers < 2 || step_tokens == 0 {
        return 0.0;
    }
    let (tokens, peers, local) = (tokens as f64, peers as f64, local as f64);
    let swarm_steps = tokens / (peers * step_tokens as f64);
    let bytes_per_swarm_step = 4.0 * (peers - 1.0) * params as f64;
    swarm_steps * bytes_per_swarm_step * local / peers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_local_peers_send_what_the_formula_says() {
        // 1000 swarm steps of 4 · 100 tokens; each moves 2 · 3 · 1e6 parameters of 2 bytes.
        assert_eq!(allreduce_bytes(400_000, 4, 4, 100, 1_000_000), 1000.0 * 2.0 * 3.0 * 1e6 * 2.0);
    }

    #[test]
    fn one_of_four_peers_sends_a_quarter() {
        let (all, one) = (allreduce_bytes(4_000, 4, 4, 10, 99), allreduce_bytes(4_000, 4, 1, 10, 99));
        assert_eq!(one * 4.0, all);
    }

    #[test]
    fn a_lone_peer_sends_nothing() {
        assert_eq!(allreduce_bytes(1_000, 1, 1, 10, 99), 0.0);
        assert_eq!(allreduce_bytes(1_000, 0, 0, 10, 99), 0.0);
        assert_eq!(allreduce_bytes(1_000, 4, 4, 0, 99), 0.0);
    }
}
