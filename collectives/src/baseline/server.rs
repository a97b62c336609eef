//! A parameter server: rank 0 has the optimizer; the others send it vectors and get parameters back.

use super::mailbox::{from_bytes, to_bytes};
use super::{BadMessage, Mailbox, Method, Outer};

/// Rank of the server, which trains, too.
const SERVER: usize = 0;

/// Dense vectors to the server, dense parameters from it. The server sends and receives n − 1 of each a round.
pub struct Server {
    outer: Box<dyn Outer + Send>,
    /// What has come to the server, by rank.
    vectors: Vec<Option<Vec<f32>>>,
}

impl Server {
    /// The server steps by `outer`; the others do not use it.
    pub fn new(outer: Box<dyn Outer + Send>) -> Self {
        Self { outer, vectors: Vec::new() }
    }

    fn serve(&mut self, mailbox: &mut Mailbox, clock: u64, parameters: &mut [f32]) -> Result<bool, BadMessage> {
        for (from, vector) in self.vectors.iter_mut().enumerate().filter(|(_, vector)| vector.is_none()) {
            if let Some(body) = mailbox.take(from, 0) {
                *vector = Some(dense(from, &body, parameters.len())?);
            }
        }
        if self.vectors.iter().any(Option::is_none) {
            return Ok(false);
        }
        let mut mean = vec![0.0; parameters.len()];
        for vector in self.vectors.iter().flatten() {
            mean.iter_mut().zip(vector).for_each(|(mean, value)| *mean += value);
        }
        mean.iter_mut().for_each(|mean| *mean /= self.vectors.len() as f32);
        self.outer.step(clock, parameters, &mean);
        let body = to_bytes(parameters);
        (0..mailbox.peers()).filter(|to| *to != SERVER).for_each(|to| mailbox.send(to, 1, &body));
        Ok(true)
    }
}

impl Method for Server {
    fn begin(&mut self, mailbox: &mut Mailbox, _: &[f32], vector: Vec<f32>) {
        if mailbox.rank() == SERVER {
            self.vectors = vec![None; mailbox.peers()];
            self.vectors[SERVER] = Some(vector);
        } else {
            mailbox.send(SERVER, 0, &to_bytes(&vector));
        }
    }

    fn advance(&mut self, mailbox: &mut Mailbox, clock: u64, parameters: &mut [f32]) -> Result<bool, BadMessage> {
        if mailbox.rank() == SERVER {
            return self.serve(mailbox, clock, parameters);
        }
        let Some(body) = mailbox.take(SERVER, 1) else { return Ok(false) };
        parameters.copy_from_slice(&dense(SERVER, &body, parameters.len())?);
        Ok(true)
    }
}

fn dense(from: usize, body: &[u8], count: usize) -> Result<Vec<f32>, BadMessage> {
    from_bytes(body, count).ok_or(BadMessage { from, why: "it is no vector of this model" })
}
