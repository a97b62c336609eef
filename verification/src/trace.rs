//! The trace of a segment: a leaf every few inner steps, committed as one Merkle root before anyone knows who audits.

use murmur_collectives::{Hash, PeerId};

const LEAF_CONTEXT: &str = "murmuration trace leaf v1";
const NODE_CONTEXT: &str = "murmuration trace node v1";

/// What is committed after an inner step.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// The author: makes copying another's leaf useless.
    pub peer: PeerId,
    /// The author's segment.
    pub segment: u32,
    /// Inner steps done, from 1.
    pub step: u32,
    /// Digest of parameters and optimizer state after the step.
    pub digest: [u8; 32],
    /// The step's training loss, as bits.
    pub loss_bits: u32,
}

/// Collects leaves and gives their root.
#[derive(Clone, Default, Debug)]
pub struct Trace(Vec<Hash>);

impl Trace {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: &Leaf) {
        let mut bytes = Vec::with_capacity(76);
        bytes.extend_from_slice(&leaf.peer.0);
        bytes.extend_from_slice(&leaf.segment.to_le_bytes());
        bytes.extend_from_slice(&leaf.step.to_le_bytes());
        bytes.extend_from_slice(&leaf.digest);
        bytes.extend_from_slice(&leaf.loss_bits.to_le_bytes());
        self.0.push(Hash::of(LEAF_CONTEXT, &bytes));
    }

    /// Merkle root of the leaves: pairs are hashed level by level, an odd last one moves up unchanged.
    /// [`Hash::NONE`] without leaves.
    pub fn root(&self) -> Hash {
        let mut level = self.0.clone();
        while level.len() > 1 {
            level = level.chunks(2).map(parent).collect();
        }
        level.first().copied().unwrap_or(Hash::NONE)
    }
}

fn parent(pair: &[Hash]) -> Hash {
    match pair {
        [left, right] => Hash::of(NODE_CONTEXT, &[left.0, right.0].concat()),
        _ => pair[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(steps: u32, loss_bits: u32) -> Trace {
        let mut trace = Trace::default();
        for step in 1..=steps {
            trace.push(&Leaf { peer: PeerId([1; 32]), segment: 0, step, digest: [2; 32], loss_bits });
        }
        trace
    }

    #[test]
    fn every_leaf_counts() {
        let roots = [trace(0, 0), trace(1, 0), trace(2, 0), trace(3, 0), trace(3, 1)].map(|trace| trace.root());
        for (i, a) in roots.iter().enumerate() {
            assert!(roots[i + 1..].iter().all(|b| a != b));
        }
    }
}
