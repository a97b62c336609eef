//! What a case took to a loss: read off its curve.

use std::borrow::Cow;

use super::{
    cases::Case,
    paired::Ratio,
    report::Metric,
    suite::{Point, Sample},
};

/// How many times as much `theirs` took as `ours`, to the lowest loss that both reached, over equal seeds.
pub(super) fn to_one_loss(
    ours: &Case<'_>,
    theirs: &Case<'_>,
    name: impl Into<Cow<'static, str>>,
    of: impl Fn(Spent) -> f64,
) -> Metric {
    let pair = |mine: &&Sample| {
        let other = theirs.samples().iter().find(|other| other.seed == mine.seed)?;
        let loss = common_loss(mine, other)?;
        Some((of(spent(&mine.curve, loss)?), of(spent(&other.curve, loss)?)))
    };
    let pairs: Vec<(f64, f64)> = ours.samples().iter().filter_map(pair).collect();
    let ratio = Ratio::of(&pairs);
    let failed = ours.failures().count() + theirs.failures().count();
    let interval = ratio.and_then(|ratio| ratio.interval);
    Metric { interval, failed, ..Metric::new(name, ratio.map(|ratio| ratio.value), "× as much, to one loss") }
}

/// What was spent by the time that the loss was first as low as asked, between two points in proportion to the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spent {
    /// Tokens of all peers together.
    pub(super) tokens: f64,
    /// Seconds since training began.
    pub(super) seconds: f64,
    /// Bytes of all peers together.
    pub(super) bytes: f64,
}

/// What `curve` took to `loss`; nothing if it never came so low.
fn spent(curve: &[Point], loss: f64) -> Option<Spent> {
    let at = curve.iter().position(|point| point.loss <= loss)?;
    let (after, before) = (curve[at], curve[at.saturating_sub(1)]);
    let fall = before.loss - after.loss;
    let share = if fall > 0.0 { (before.loss - loss) / fall } else { 1.0 };
    let between = |before: f64, after: f64| before + share * (after - before);
    Some(Spent {
        tokens: between(before.tokens as f64, after.tokens as f64),
        seconds: between(before.seconds, after.seconds),
        bytes: between(before.bytes as f64, after.bytes as f64),
    })
}

/// The lowest loss that both curves reached: what they can be compared at.
fn common_loss(one: &Sample, other: &Sample) -> Option<f64> {
    let lowest = |sample: &Sample| sample.curve.iter().map(|point| point.loss).min_by(f64::total_cmp);
    Some(lowest(one)?.max(lowest(other)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: &[f64]) -> Vec<Point> {
        let point = |(index, loss): (usize, &f64)| Point {
            tokens: 100 * index as u64,
            seconds: index as f64,
            bytes: 10 * index as u64,
            loss: *loss,
        };
        losses.iter().enumerate().map(point).collect()
    }

    #[test]
    fn a_loss_between_two_points_is_reached_between_them() {
        let curve = curve(&[6.0, 4.0, 3.0, 3.5, 2.0]);
        assert_eq!(spent(&curve, 5.0), Some(Spent { tokens: 50.0, seconds: 0.5, bytes: 5.0 }));
        assert_eq!(spent(&curve, 3.0).map(|spent| spent.tokens), Some(200.0), "the first time");
        assert_eq!(spent(&curve, 7.0).map(|spent| spent.tokens), Some(0.0));
        assert_eq!(spent(&curve, 1.0), None);
    }

    #[test]
    fn curves_are_compared_where_both_have_been() {
        let of = |losses: &[f64]| Sample { curve: curve(losses), ..Sample::default() };
        assert_eq!(common_loss(&of(&[6.0, 2.0]), &of(&[6.0, 3.0])), Some(3.0));
        assert_eq!(common_loss(&of(&[6.0, 2.0]), &of(&[])), None);
    }
}
