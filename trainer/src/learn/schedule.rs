//! The learning rate as a function of the token clock: linear warm-up, then half a cosine down to a fraction.
//!
//! Auditors compute it again, so it uses only additions and multiplications: the same bits on every machine.

use rkyv::{Archive, Deserialize, Serialize};

/// Learning rate over the token clock.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct Schedule {
    peak: f32,
    warmup_tokens: u64,
    final_fraction: f32,
}

impl Schedule {
    /// A rise to `peak` over `warmup_tokens`, then a fall to `final_fraction` of it at the end of the run.
    pub fn new(peak: f32, warmup_tokens: u64, final_fraction: f32) -> Self {
        Self { peak, warmup_tokens, final_fraction }
    }

    /// Whether every number is one a schedule can have.
    pub fn is_sound(&self) -> bool {
        self.peak > 0.0 && self.peak <= 1.0 && (0.0..=1.0).contains(&self.final_fraction)
    }

    /// The learning rate at `clock` tokens of a run of `budget` tokens.
    pub fn lr(&self, clock: u64, budget: u64) -> f32 {
        let warm = (clock as f64 / self.warmup_tokens.max(1) as f64).min(1.0);
        let done = (clock as f64 / budget.max(1) as f64).min(1.0);
        let fraction = f64::from(self.final_fraction);
        let shape = fraction + (1.0 - fraction) * half_cosine(done);
        (f64::from(self.peak) * warm * shape) as f32
    }
}

/// (1 + cos(πx)) / 2 on 0 ≤ x ≤ 1, by the sine's series about the middle; off by less than 1e-7.
fn half_cosine(x: f64) -> f64 {
    let y = core::f64::consts::PI * (x - 0.5);
    let square = y * y;
    let mut term = y;
    let mut sine = y;
    for n in [2.0, 4.0, 6.0, 8.0, 10.0, 12.0] {
        term = -term * square / (n * (n + 1.0));
        sine += term;
    }
    (1.0 - sine) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_is_a_half_cosine() {
        for i in 0..=100 {
            let x = f64::from(i) / 100.0;
            let exact = (1.0 + (core::f64::consts::PI * x).cos()) / 2.0;
            assert!((half_cosine(x) - exact).abs() < 1e-7, "at {x}");
        }
    }

    #[test]
    fn it_rises_and_falls() {
        let schedule = Schedule::new(1e-2, 100, 0.1);
        assert!(schedule.lr(10, 10_000) < schedule.lr(100, 10_000));
        assert!((schedule.lr(10_000, 10_000) - 1e-3).abs() < 1e-8);
        assert_eq!(schedule.lr(10_000, 10_000), schedule.lr(99_999, 10_000));
    }
}
