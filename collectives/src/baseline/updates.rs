//! The update log's own payloads, in rounds with a barrier: what is left of a difference is what doing without one costs.

use murmur_kernels::{Direction, TopK, Weight, compress, fold, to_f32};

use super::gather::{BadPayload, Codec};

/// A weight of one, in the fold's fixed point.
const ONE: u32 = 1 << 16;

/// Top-k with error feedback, 2 bits a value, entropy-coded: see `murmur_kernels::compress`.
#[derive(Debug, Clone)]
pub struct Updates {
    top: TopK,
    decay: f32,
    residual: Vec<f32>,
}

impl Updates {
    /// With this density; `decay` of what is left out counts the next time.
    pub fn new(top: TopK, decay: f32) -> Self {
        Self { top, decay, residual: Vec::new() }
    }
}

impl Codec for Updates {
    /// A vector that is not finite has an empty payload, which nobody can decode.
    fn encode(&mut self, vector: &[f32]) -> Vec<u8> {
        self.residual.resize(vector.len(), 0.0);
        let (end, mut payload) = (vec![0.0; vector.len()], Vec::new());
        match compress(self.top, self.decay, vector, &end, &mut self.residual, &mut payload) {
            Ok(_) => payload,
            Err(_) => Vec::new(),
        }
    }

    fn add(&self, payload: &[u8], sum: &mut [f32]) -> Result<(), BadPayload> {
        let weight = Weight::new(ONE).map_err(|_| BadPayload)?;
        let mut state = vec![0; sum.len()];
        // Removing an update from nothing leaves what it says, as adding it would have subtracted that.
        fold(self.top, payload, weight, Direction::Remove, &mut state).map_err(|_| BadPayload)?;
        let mut values = vec![0.0; sum.len()];
        to_f32(&state, &mut values);
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_and_what_is_kept_are_what_there_was() {
        let vector: Vec<f32> = (0..5000).map(|index: i32| ((index * 7919) % 1000 - 500) as f32 / 500.0).collect();
        let mut codec = Updates::new(TopK::new(256).unwrap(), 0.5);
        let payload = codec.encode(&vector);
        let mut sent = vec![0.0; 5000];
        codec.add(&payload, &mut sent).unwrap();
        for ((sent, left), value) in sent.iter().zip(&codec.residual).zip(&vector) {
            assert!((sent + left - value).abs() < 1e-3, "{sent} {left} {value}");
        }
        assert!(codec.add(&payload[1..], &mut sent).is_err());
        codec.residual.fill(0.0);
        let bad = codec.encode(&vec![f32::NAN; 5000]);
        assert!(codec.add(&bad, &mut sent).is_err());
    }
}
