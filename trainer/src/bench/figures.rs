//! Statistics: means, medians, percentiles, intervals by bootstrap. Every resample is seeded: equal values give equal intervals.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 1000;

/// Fewer values have no interval.
pub(super) const FEWEST: usize = 3;

/// The mean; nothing of nothing.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The value in the middle, or the mean of the two in the middle; nothing of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some(f64::midpoint(sorted[low], sorted[high]))
}

/// The smallest value that at least `fraction` of all do not exceed.
pub(super) fn percentile(values: &[f64], fraction: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (fraction * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// A 95 % interval of the mean of `groups`' means, by bootstrap over the groups: what happens in one round is not
/// independent, rounds nearly are. Nothing with fewer than three.
pub(super) fn interval(groups: &[Vec<f64>]) -> Option<(f64, f64)> {
    let means: Vec<f64> = groups.iter().filter_map(|group| mean(group)).collect();
    bootstrap(&means, mean)
}

/// A 95 % interval of `statistic` by percentile bootstrap. Nothing with fewer than [`FEWEST`] values. Of so few it is at most
/// from the least to the greatest, which holds the truth less often than 95 % of the time.
pub(super) fn bootstrap(values: &[f64], statistic: fn(&[f64]) -> Option<f64>) -> Option<(f64, f64)> {
    if values.len() < FEWEST {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut draw = || values[((u64::from(rng.next_u32()) * values.len() as u64) >> 32) as usize];
    let mut resample = || statistic(&(0..values.len()).map(|_| draw()).collect::<Vec<_>>());
    let resampled: Vec<f64> = (0..RESAMPLES).map_while(|_| resample()).collect();
    Some((percentile(&resampled, 0.025)?, percentile(&resampled, 0.975)?))
}

/// How much higher the last quarter of a series is on average than its second: what it grew after it had settled.
/// Nothing with fewer than eight values.
pub(super) fn growth(series: &[f64]) -> Option<f64> {
    let quarter = series.len() / 4;
    if quarter < 2 {
        return None;
    }
    Some(mean(&series[series.len() - quarter..])? - mean(&series[quarter..2 * quarter])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.95), Some(19.0));
        assert_eq!(percentile(&values, 1.0), Some(20.0));
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_median_lies_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!((median(&[7.0]), median(&[])), (Some(7.0), None));
    }

    #[test]
    fn an_interval_of_three_reaches_from_the_least_to_the_greatest_and_is_always_the_same() {
        // Each of three equals the least in 1 of 27 resamples: more than 2.5 %.
        assert_eq!(bootstrap(&[1.0, 2.0, 4.0], mean), Some((1.0, 4.0)));
        assert_eq!(bootstrap(&[1.0, 2.0, 4.0], median), Some((1.0, 4.0)));
        let values: Vec<f64> = (0..20).map(|n| f64::from(n * n)).collect();
        assert_eq!(bootstrap(&values, median), bootstrap(&values, median));
        assert_eq!(bootstrap(&[1.0, 2.0], mean), None);
    }

    #[test]
    fn the_interval_holds_the_mean_and_narrows() {
        let groups = |count: usize| (0..count).map(|n| vec![(n % 5) as f64]).collect::<Vec<_>>();
        let (low, high) = interval(&groups(10)).unwrap_or_default();
        assert!(low < 2.0 && 2.0 < high, "{low} {high}");
        let (near, far) = interval(&groups(1000)).unwrap_or_default();
        assert!(far - near < (high - low) / 4.0);
        assert_eq!(interval(&groups(2)), None);
    }

    #[test]
    fn a_start_is_no_growth_but_a_slope_is() {
        let settled: Vec<f64> = (0..40).map(|n| if n < 8 { f64::from(n) } else { 8.0 }).collect();
        assert_eq!(growth(&settled), Some(0.0));
        let slope: Vec<f64> = (0..40).map(f64::from).collect();
        assert_eq!(growth(&slope), Some(20.0));
        assert_eq!(growth(&[1.0; 7]), None);
    }
}
