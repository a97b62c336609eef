//! Ring all-reduce: each rank sends a share of the vector to the next, 2 (n − 1) times.

use core::ops::Range;

use super::averaged::Mean;
use super::mailbox::{BadMessage, Mailbox, from_bytes, to_bytes};

/// Dense vectors around a ring. In the first n − 1 phases each share is summed on its way, in the order of ranks; in the next
/// n − 1 the finished sums go around. A rank sends 2 (n − 1) / n of a vector, whatever n is.
#[derive(Debug, Default)]
pub struct Ring {
    vector: Vec<f32>,
    phase: u32,
}

impl Mean for Ring {
    fn begin(&mut self, mailbox: &mut Mailbox, vector: Vec<f32>) {
        *self = Self { vector, phase: 0 };
        if mailbox.peers() > 1 {
            self.send(mailbox);
        }
    }

    fn advance(&mut self, mailbox: &mut Mailbox) -> Result<Option<Vec<f32>>, BadMessage> {
        let (rank, peers) = (mailbox.rank(), mailbox.peers());
        let from = (rank + peers - 1) % peers;
        let phases = 2 * (peers as u32 - 1);
        while self.phase < phases {
            let Some(body) = mailbox.take(from, self.phase) else { return Ok(None) };
            let range = self.share(peers, rank + peers - 1);
            let bad = BadMessage { from, why: "it is no share of the vector" };
            let values = from_bytes(&body, range.len()).ok_or(bad)?;
            let summing = self.phase < peers as u32 - 1;
            for (mine, value) in self.vector[range].iter_mut().zip(values) {
                *mine = if summing { *mine + value } else { value };
            }
            self.phase += 1;
            if self.phase < phases {
                self.send(mailbox);
            }
        }
        self.vector.iter_mut().for_each(|value| *value /= peers as f32);
        Ok(Some(std::mem::take(&mut self.vector)))
    }
}

impl Ring {
    fn send(&self, mailbox: &mut Mailbox) {
        let (rank, peers) = (mailbox.rank(), mailbox.peers());
        let body = to_bytes(&self.vector[self.share(peers, rank)]);
        mailbox.send((rank + 1) % peers, self.phase, &body);
    }

    /// The share that `rank` sends in this phase; one more than a multiple of `peers` makes no difference.
    fn share(&self, peers: usize, rank: usize) -> Range<usize> {
        let index = (rank + 2 * peers - self.phase as usize) % peers;
        let bound = |index: usize| self.vector.len() * index / peers;
        bound(index)..bound(index + 1)
    }
}
