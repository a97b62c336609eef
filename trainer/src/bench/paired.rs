//! Ratios of pairs: what two cases, or two programs, did with equal seeds. A seed that is hard for one is hard for the other, so a
//! ratio says more than two medians.

use super::figures::{FEWEST, bootstrap, mean};

/// Quantiles of Student's distribution for a two-sided 95 % interval, by degrees of freedom from 1 on (any table of it).
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// The same for more degrees of freedom.
const NORMAL: f64 = 1.96;

/// The geometric mean of ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ratio {
    /// The mean.
    pub(super) value: f64,
    /// Where it lies with 95 % confidence; nothing with fewer than three pairs.
    pub(super) interval: Option<(f64, f64)>,
    /// Pairs it is of.
    pub(super) pairs: usize,
}

impl Ratio {
    /// Of `(before, after)` pairs, after to before. Pairs that are not both positive have no ratio, unless both are zero.
    /// Nothing without any.
    ///
    /// The interval is the wider one, at each end, of a bootstrap and of Student's for the logarithms: of a handful of pairs a
    /// bootstrap alone is too narrow, and Student's alone trusts them to be of one shape.
    pub(super) fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let log = |(before, after): &(f64, f64)| match (before, after) {
            (before, after) if *before > 0.0 && *after > 0.0 => Some((after / before).ln()),
            (before, after) if *before == 0.0 && *after == 0.0 => Some(0.0),
            _ => None,
        };
        let logs: Vec<f64> = pairs.iter().filter_map(log).collect();
        let value = mean(&logs)?.exp();
        let interval = bootstrap(&logs, mean).zip(student(&logs)).map(|((low, high), (lower, higher))| {
            let (low, high) = (low.min(lower), high.max(higher));
            (low.exp(), high.exp())
        });
        Some(Self { value, interval, pairs: logs.len() })
    }

    /// Whether the pairs carry a claim, and which: greater or less than one.
    pub(super) fn claim(self) -> Claim {
        match self.interval {
            None => Claim::TooFew,
            Some((low, _)) if low > 1.0 => Claim::More,
            Some((_, high)) if high < 1.0 => Claim::Less,
            Some(_) => Claim::NotShown,
        }
    }
}

/// What pairs show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Fewer than three pairs show nothing.
    TooFew,
    /// The interval holds one.
    NotShown,
    /// After is more than before.
    More,
    /// After is less than before.
    Less,
}

fn student(values: &[f64]) -> Option<(f64, f64)> {
    let (count, mean) = (values.len(), mean(values)?);
    if count < FEWEST {
        return None;
    }
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    let error = (squares / (count - 1) as f64 / count as f64).sqrt();
    let reach = STUDENT.get(count - 2).unwrap_or(&NORMAL) * error;
    Some((mean - reach, mean + reach))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-3 * b.abs()
    }

    #[test]
    fn students_interval_is_the_text_book_s() {
        // Mean 2, standard deviation 1, of three: 2 ± 4.303 / √3.
        let (low, high) = student(&[1.0, 2.0, 3.0]).unwrap();
        assert!(near(low, 2.0 - 2.484) && near(high, 2.0 + 2.484), "{low} {high}");
        assert_eq!(student(&[1.0, 2.0]), None);
    }

    #[test]
    fn a_doubling_is_shown_whatever_the_seeds_do_to_both() {
        let pairs = [(1.0, 2.0), (10.0, 20.4), (100.0, 198.0), (3.0, 6.0)];
        let ratio = Ratio::of(&pairs).unwrap();
        assert!(near(ratio.value, 2.0) && ratio.claim() == Claim::More, "{ratio:?}");
        let back = Ratio::of(&pairs.map(|(before, after)| (after, before))).unwrap();
        assert!(near(back.value, 0.5) && back.claim() == Claim::Less);
    }

    #[test]
    fn what_two_pairs_or_an_interval_with_one_in_it_say_is_no_claim() {
        assert_eq!(Ratio::of(&[(1.0, 2.0), (1.0, 2.0)]).unwrap().claim(), Claim::TooFew);
        let mixed = Ratio::of(&[(1.0, 1.2), (1.0, 0.9), (1.0, 1.1)]).unwrap();
        assert_eq!(mixed.claim(), Claim::NotShown);
        let (low, high) = mixed.interval.unwrap();
        assert!(low < 0.9 && high > 1.2, "three pairs are few: {low} {high}");
        let same = Ratio::of(&[(5.0, 5.0); 5]).unwrap();
        assert_eq!((same.value, same.claim()), (1.0, Claim::NotShown));
    }

    #[test]
    fn nothing_to_nothing_is_no_change_and_nothing_to_something_no_ratio() {
        assert_eq!(Ratio::of(&[(0.0, 0.0)]).unwrap().value, 1.0);
        assert_eq!(Ratio::of(&[(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)]), None);
        assert_eq!(Ratio::of(&[]), None);
    }
}
