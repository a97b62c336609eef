//! All-gather of compressed vectors: each rank sends its own to all others, and adds up what all sent.

use super::averaged::Mean;
use super::mailbox::{BadMessage, Mailbox};

/// Makes a vector small, with whatever it must remember of what was left out.
pub trait Codec {
    /// The payload of a vector.
    fn encode(&mut self, vector: &[f32]) -> Vec<u8>;

    /// Adds what a payload says to `sum`.
    ///
    /// # Errors
    /// The bytes are no payload of a vector of this length.
    fn add(&self, payload: &[u8], sum: &mut [f32]) -> Result<(), BadPayload>;
}

/// Bytes that no codec made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no payload")]
pub struct BadPayload;

/// Payloads of a codec, each sent to all, summed in the order of ranks.
#[derive(Debug)]
pub struct Gather<C> {
    codec: C,
    length: usize,
    payloads: Vec<Option<Vec<u8>>>,
}

impl<C: Codec> Gather<C> {
    /// With this codec.
    pub fn new(codec: C) -> Self {
        Self { codec, length: 0, payloads: Vec::new() }
    }
}

impl<C: Codec> Mean for Gather<C> {
    fn begin(&mut self, mailbox: &mut Mailbox, vector: Vec<f32>) {
        let (rank, peers) = (mailbox.rank(), mailbox.peers());
        let payload = self.codec.encode(&vector);
        (0..peers).filter(|to| *to != rank).for_each(|to| mailbox.send(to, 0, &payload));
        self.length = vector.len();
        self.payloads = vec![None; peers];
        self.payloads[rank] = Some(payload);
    }

    fn advance(&mut self, mailbox: &mut Mailbox) -> Result<Option<Vec<f32>>, BadMessage> {
        for (from, payload) in self.payloads.iter_mut().enumerate() {
            if payload.is_none() {
                *payload = mailbox.take(from, 0);
            }
        }
        if self.payloads.iter().any(Option::is_none) {
            return Ok(None);
        }
        let mut mean = vec![0.0; self.length];
        for (from, payload) in self.payloads.iter().enumerate() {
            let payload = payload.as_deref().unwrap_or_default();
            self.codec
                .add(payload, &mut mean)
                .map_err(|_| BadMessage { from, why: "its payload cannot be decoded" })?;
        }
        let peers = self.payloads.len() as f32;
        mean.iter_mut().for_each(|value| *value /= peers);
        Ok(Some(mean))
    }
}
