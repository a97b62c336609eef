//! Detects training that no longer learns, from the losses of a peer's segments.
//!
//! The loss of a guess, which gives every token the same probability, is ln(vocabulary). Training is given up when its loss
//! stays one nat above both that and its loss at the first step; or when it stays above that of a guess for long without
//! falling. One bad segment means nothing: training at a high learning rate often recovers.

/// This far above a guess, and above the first step's loss, nothing is being learned: nats.
const FAR_NATS: f64 = 1.0;

/// This near to a guess counts as one: nats.
const NEAR_NATS: f64 = 0.05;

/// Segments in a row that are far above after which training is given up.
const FAR_SEGMENTS: u32 = 3;

/// Segments in a row that are worse than a guess, without falling, after which training is given up.
const GUESSING_SEGMENTS: u32 = 50;

/// Whether training learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// The model is better than a guess, or on its way there.
    Well,
    /// The newest losses are bad; they may recover.
    Unwell,
    /// Training does not learn any more.
    Diverged,
}

/// The losses of one peer's segments.
#[derive(Debug, Clone)]
pub(super) struct LossWatch {
    /// The loss of a guess, nats.
    guess: f64,
    /// The loss from which on it is far above; set by the first step.
    far: Option<f64>,
    far_segments: u32,
    guessing_segments: u32,
    /// The mean of the segment with which guessing began.
    guessed_first: f64,
}

impl LossWatch {
    /// Watches a model over `vocabulary` tokens.
    pub(super) fn new(vocabulary: usize) -> Self {
        let guess = (vocabulary as f64).ln();
        Self { guess, far: None, far_segments: 0, guessing_segments: 0, guessed_first: 0.0 }
    }

    /// The loss of a model that guesses every token alike, nats.
    pub(super) fn guess(&self) -> f64 {
        self.guess
    }

    /// Records the loss at a segment's first step and its mean, nats. One that is not finite is far above.
    pub(super) fn record(&mut self, first: f64, mean: f64) -> Health {
        let far = *self.far.get_or_insert(self.guess.max(first) + FAR_NATS);
        self.far_segments = if mean <= far { 0 } else { self.far_segments + 1 };
        if mean <= self.guess + NEAR_NATS {
            self.guessing_segments = 0;
        } else {
            if self.guessing_segments == 0 {
                self.guessed_first = mean;
            }
            self.guessing_segments += 1;
        }
        let stays = self.guessing_segments >= GUESSING_SEGMENTS && mean > self.guessed_first - NEAR_NATS;
        match self.far_segments {
            FAR_SEGMENTS.. => Health::Diverged,
            _ if stays => Health::Diverged,
            0 => Health::Well,
            _ => Health::Unwell,
        }
    }

    /// Whether a model that ends with this `loss` on held-out text has learned nothing: it is far above a guess.
    pub(super) fn is_lost(&self, loss: f64) -> bool {
        loss.is_nan() || loss > self.far.unwrap_or(self.guess + FAR_NATS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> LossWatch {
        LossWatch::new(256)
    }

    fn record_all(watch: &mut LossWatch, losses: impl IntoIterator<Item = f64>) -> Vec<Health> {
        losses.into_iter().map(|loss| watch.record(loss, loss)).collect()
    }

    #[test]
    fn a_loss_that_falls_is_well_from_the_start() {
        let mut watch = watch();
        let health = record_all(&mut watch, [6.2, 5.9, 5.0, 4.0, 2.0]);
        assert!(health.iter().all(|health| *health == Health::Well), "{health:?}");
        assert!(!watch.is_lost(6.0), "a run too short to learn has not diverged");
    }

    #[test]
    fn a_loss_that_grows_is_given_up_after_three_segments() {
        let mut watch = watch();
        assert_eq!(record_all(&mut watch, [6.2, 9.0, 14.0]), [Health::Well, Health::Unwell, Health::Unwell]);
        assert_eq!(watch.record(20.0, 29.0), Health::Diverged);
        assert!(watch.is_lost(70.0));
    }

    #[test]
    fn a_spike_that_recovers_is_forgotten() {
        let mut watch = watch();
        let health = record_all(&mut watch, [6.0, 9.0, 9.0, 5.0, 9.0, 9.0, 5.0]);
        assert!(!health.contains(&Health::Diverged), "{health:?}");
        assert_eq!(health.last(), Some(&Health::Well));
    }

    #[test]
    fn no_better_than_a_guess_for_long_is_given_up_unless_it_falls() {
        let stuck = record_all(&mut watch(), std::iter::repeat_n(5.8, GUESSING_SEGMENTS as usize));
        assert_eq!(stuck.iter().position(|health| *health == Health::Diverged), Some(GUESSING_SEGMENTS as usize - 1));
        let falling = record_all(&mut watch(), (0..100).map(|n| 6.4 - f64::from(n) * 0.008));
        assert!(!falling.contains(&Health::Diverged), "slow, but learning");
    }

    #[test]
    fn what_is_not_a_number_is_far_above() {
        let mut watch = watch();
        assert_eq!(watch.record(6.0, f64::NAN), Health::Unwell);
        assert!(watch.is_lost(f64::NAN) && watch.is_lost(f64::INFINITY));
    }

    #[test]
    fn a_joiner_measures_against_a_guess_and_not_against_the_trained_model() {
        let mut watch = watch();
        assert_eq!(watch.record(2.3, 5.0), Health::Well);
        assert_eq!(watch.record(5.0, 6.6), Health::Unwell);
    }
}
