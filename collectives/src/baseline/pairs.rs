//! NoLoCo (arXiv 2506.10911): random pairs exchange their models and what they changed; there is no common model.

use super::mailbox::{from_bytes, to_bytes};
use super::{BadMessage, Mailbox, Method};

/// In each round a peer averages with one other, drawn anew. Its outer step has momentum, and pulls it towards the pair's
/// mean: m ← momentum · m − rate · mean(start − end) + pull · (mean(start) − own start), start ← start + m.
#[derive(Debug, Clone)]
pub struct Pairs {
    rate: f32,
    momentum: f32,
    pull: f32,
    seed: [u8; 32],
    velocity: Vec<f32>,
    vector: Vec<f32>,
}

impl Pairs {
    /// With these constants (0.7, 0.5, 0.7 as published); pairs are drawn from `seed` and the round.
    pub fn new(rate: f32, momentum: f32, pull: f32, seed: [u8; 32]) -> Self {
        Self { rate, momentum, pull, seed, velocity: Vec::new(), vector: Vec::new() }
    }

    /// Who is with whom: a shuffle of all ranks, of which neighbours are pairs. With an odd number the last is alone.
    fn partner(&self, round: u32, rank: usize, peers: usize) -> usize {
        let mut order: Vec<usize> = (0..peers).collect();
        let mut draws = blake3::Hasher::new_keyed(&self.seed).update(&round.to_le_bytes()).finalize_xof();
        for last in (1..peers).rev() {
            let mut word = [0; 8];
            draws.fill(&mut word);
            let chosen = (u128::from(u64::from_le_bytes(word)) * (last as u128 + 1)) >> 64;
            order.swap(last, chosen as usize);
        }
        let position = order.iter().position(|other| *other == rank).unwrap_or(0);
        order.get(position ^ 1).copied().unwrap_or(rank)
    }
}

impl Method for Pairs {
    fn begin(&mut self, mailbox: &mut Mailbox, parameters: &[f32], vector: Vec<f32>) {
        let partner = self.partner(mailbox.round(), mailbox.rank(), mailbox.peers());
        if partner != mailbox.rank() {
            let mut body = to_bytes(parameters);
            body.extend(to_bytes(&vector));
            mailbox.send(partner, 0, &body);
        }
        self.vector = vector;
    }

    fn advance(&mut self, mailbox: &mut Mailbox, _: u64, parameters: &mut [f32]) -> Result<bool, BadMessage> {
        let partner = self.partner(mailbox.round(), mailbox.rank(), mailbox.peers());
        let alone = partner == mailbox.rank();
        let (theirs, changed) = if alone {
            (parameters.to_vec(), self.vector.clone())
        } else {
            let Some(body) = mailbox.take(partner, 0) else { return Ok(false) };
            let bad = BadMessage { from: partner, why: "it is no model with a vector" };
            let mut values = from_bytes(&body, 2 * parameters.len()).ok_or(bad)?;
            let changed = values.split_off(parameters.len());
            (values, changed)
        };
        self.velocity.resize(parameters.len(), 0.0);
        let others = theirs.iter().zip(&changed);
        for (((own, velocity), mine), (theirs, changed)) in
            parameters.iter_mut().zip(&mut self.velocity).zip(&self.vector).zip(others)
        {
            let (changed, apart) = ((mine + changed) / 2.0, (theirs - *own) / 2.0);
            *velocity = self.momentum * *velocity - self.rate * changed + self.pull * apart;
            *own += *velocity;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partners_have_each_other_and_change() {
        let pairs = Pairs::new(0.7, 0.5, 0.7, [3; 32]);
        for peers in 1..9 {
            for round in 0..20 {
                let partner = |rank| pairs.partner(round, rank, peers);
                assert!((0..peers).all(|rank| partner(partner(rank)) == rank));
                let alone = (0..peers).filter(|rank| partner(*rank) == *rank).count();
                assert_eq!(alone, peers % 2);
            }
        }
        let met: std::collections::BTreeSet<_> = (0..30).map(|round| pairs.partner(round, 0, 4)).collect();
        assert_eq!(met.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    }
}
