//! Many curves as one line: the median over the seeds, with a band from the lowest to the highest.

use super::super::{
    figures::{median, percentile},
    suite::{Point, Sample},
};

/// Places at which curves are read.
const PLACES: usize = 60;

/// What a curve is drawn against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Across {
    Tokens,
    Seconds,
    Bytes,
}

impl Across {
    pub(super) const ALL: [Self; 3] = [Self::Tokens, Self::Seconds, Self::Bytes];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Tokens => "tokens, all peers",
            Self::Seconds => "seconds of training",
            Self::Bytes => "bytes sent, all peers",
        }
    }

    fn of(self, point: &Point) -> f64 {
        match self {
            Self::Tokens => point.tokens as f64,
            Self::Seconds => point.seconds,
            Self::Bytes => point.bytes as f64,
        }
    }
}

/// One place of a line: the place, the lowest, the median, the highest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) x: f64,
    pub(super) low: f64,
    pub(super) middle: f64,
    pub(super) high: f64,
}

/// The line of all samples that have a curve, over the range that all of them cover. Empty without curves, or where they cover
/// nothing together.
pub(super) fn band(samples: &[&Sample], across: Across) -> Vec<Place> {
    let curves: Vec<Vec<(f64, f64)>> = samples
        .iter()
        .filter(|sample| sample.curve.len() >= 2)
        .map(|sample| sample.curve.iter().map(|point| (across.of(point), point.loss)).collect())
        .collect();
    let x = |point: Option<&(f64, f64)>| point.map(|point| point.0);
    let from = curves.iter().filter_map(|curve| x(curve.first())).fold(f64::NEG_INFINITY, f64::max);
    let to = curves.iter().filter_map(|curve| x(curve.last())).fold(f64::INFINITY, f64::min);
    if !(from.is_finite() && to.is_finite() && from < to) {
        return Vec::new();
    }
    let place = |index: usize| {
        let x = from + (to - from) * index as f64 / (PLACES - 1) as f64;
        let losses: Vec<f64> = curves.iter().filter_map(|curve| at(curve, x)).collect();
        let (low, high) = (percentile(&losses, 0.0)?, percentile(&losses, 1.0)?);
        Some(Place { x, low, middle: median(&losses)?, high })
    };
    (0..PLACES).filter_map(place).collect()
}

/// The curve at `x`, between its points in a straight line.
fn at(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    let next = curve.iter().position(|point| point.0 >= x).unwrap_or(curve.len() - 1);
    let (x1, y1) = *curve.get(next)?;
    let Some((x0, y0)) = next.checked_sub(1).map(|before| curve[before]).filter(|(x0, _)| x1 > *x0) else {
        return Some(y1);
    };
    Some(y0 + (y1 - y0) * ((x - x0) / (x1 - x0)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sample(losses: &[f64]) -> Sample {
        let point = |(index, loss): (usize, &f64)| Point {
            tokens: index as u64 * 1000,
            seconds: index as f64,
            bytes: index as u64 * 50,
            loss: *loss,
        };
        Sample { curve: losses.iter().enumerate().map(point).collect(), ..Sample::default() }
    }

    #[test]
    fn a_line_is_the_median_between_the_lowest_and_the_highest() {
        let samples = [sample(&[4.0, 3.0, 2.0]), sample(&[4.0, 3.5, 3.0]), sample(&[4.0, 2.0, 0.0, -9.0])];
        let line = band(&samples.iter().collect::<Vec<_>>(), Across::Tokens);
        assert_eq!(line.len(), PLACES);
        let last = line[PLACES - 1];
        assert_eq!((last.x, last.low, last.middle, last.high), (2000.0, 0.0, 2.0, 3.0), "where the shortest ends");
        assert_eq!((line[0].low, line[0].high), (4.0, 4.0));
    }

    #[test]
    fn without_curves_there_is_no_line() {
        let samples = [sample(&[4.0]), Sample::default()];
        assert!(band(&samples.iter().collect::<Vec<_>>(), Across::Bytes).is_empty());
        assert!(band(&[], Across::Seconds).is_empty());
    }

    #[test]
    fn between_points_a_curve_is_straight() {
        let curve = [(0.0, 1.0), (10.0, 2.0), (10.0, 3.0), (20.0, 4.0)];
        assert_eq!(at(&curve, 5.0), Some(1.5));
        assert_eq!(at(&curve, 15.0), Some(3.5));
        assert_eq!((at(&curve, -1.0), at(&curve, 99.0)), (Some(1.0), Some(4.0)));
    }
}
