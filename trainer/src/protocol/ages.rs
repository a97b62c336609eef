//! How stale updates were when they joined a set: counts by age, small enough for a report and added up over peers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Binary digits of an age that are kept: it is rounded down by at most a sixteenth.
const DIGITS: u32 = 5;

/// Counts of updates by age. An age is the tokens of others that the set held and that the update's author had not seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ages {
    /// Updates counted.
    count: u64,
    /// Their ages together, tokens.
    sum: u64,
    /// How many had which age, rounded down.
    #[serde(with = "pairs")]
    by_age: BTreeMap<u64, u64>,
}

impl Ages {
    /// Counts an update.
    pub fn add(&mut self, tokens: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(tokens);
        let dropped = (u64::BITS - tokens.leading_zeros()).saturating_sub(DIGITS);
        *self.by_age.entry(tokens >> dropped << dropped).or_default() += 1;
    }

    /// Counts what another peer counted.
    pub fn add_all(&mut self, others: &Self) {
        self.count += others.count;
        self.sum = self.sum.saturating_add(others.sum);
        others.by_age.iter().for_each(|(age, count)| *self.by_age.entry(*age).or_default() += count);
    }

    /// The mean age in tokens; nothing without an update.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The age in tokens that `share` of the updates do not pass, up to a sixteenth too small; nothing without an update.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.by_age.iter().find_map(|(age, count)| {
            seen += count;
            (seen >= wanted).then_some(*age)
        })
    }
}

/// A list of pairs: what reads reports takes the keys of a map for text.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<u64, u64>, serializer: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u64, u64>, D::Error> {
        Ok(Vec::<(u64, u64)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ages: impl IntoIterator<Item = u64>) -> Ages {
        ages.into_iter().fold(Ages::default(), |mut all, age| {
            all.add(age);
            all
        })
    }

    #[test]
    fn nothing_has_no_age() {
        assert_eq!((Ages::default().mean(), Ages::default().quantile(0.95)), (None, None));
    }

    #[test]
    fn the_mean_is_exact_and_a_quantile_nearly() {
        let ages = of((1..=100).map(|step| step * 256));
        assert_eq!(ages.mean(), Some(50.5 * 256.0));
        let p95 = ages.quantile(0.95).unwrap_or(0);
        assert!((95 * 256 * 15 / 16..=95 * 256).contains(&p95), "{p95}");
        assert_eq!((of([0, 0, 7]).quantile(0.5), of([0, 0, 7]).quantile(1.0)), (Some(0), Some(7)));
    }

    #[test]
    fn peers_counts_add_up() {
        let mut both = of([256, 512]);
        both.add_all(&of([512, u64::MAX]));
        assert_eq!(both, of([512, 256, u64::MAX, 512]));
    }

    #[test]
    fn it_takes_little_room_however_many_ages_there_are() {
        let ages = of((0..200_000).map(|age| age * 37));
        assert!(ages.by_age.len() < 16 * 24, "{}", ages.by_age.len());
    }
}
