//! All peers get the same mean and take the same outer step: all-reduce, DiLoCo, DeMo, SparseLoCo.

use super::{BadMessage, Mailbox, Method, Outer};

/// How one vector of each peer becomes their mean, the same on every peer.
pub trait Mean {
    /// Takes this peer's vector and sends what comes first.
    fn begin(&mut self, mailbox: &mut Mailbox, vector: Vec<f32>);

    /// Goes on as far as the messages that came allow; the mean once all is there.
    ///
    /// # Errors
    /// A message that is none of this exchange's.
    fn advance(&mut self, mailbox: &mut Mailbox) -> Result<Option<Vec<f32>>, BadMessage>;
}

/// An exchange of vectors, and what is done with their mean.
pub struct Averaged<M> {
    mean: M,
    outer: Box<dyn Outer + Send>,
}

impl<M: Mean> Averaged<M> {
    /// Means by `mean`, steps by `outer`.
    pub fn new(mean: M, outer: Box<dyn Outer + Send>) -> Self {
        Self { mean, outer }
    }
}

impl<M: Mean> Method for Averaged<M> {
    fn begin(&mut self, mailbox: &mut Mailbox, _: &[f32], vector: Vec<f32>) {
        self.mean.begin(mailbox, vector);
    }

    fn advance(&mut self, mailbox: &mut Mailbox, clock: u64, parameters: &mut [f32]) -> Result<bool, BadMessage> {
        let Some(mean) = self.mean.advance(mailbox)? else { return Ok(false) };
        self.outer.step(clock, parameters, &mean);
        Ok(true)
    }
}
