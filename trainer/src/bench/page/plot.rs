//! Plots as SVG: lines with bands, and values as points in rows. Colours are classes, so that the page decides between light and
//! dark.

use std::fmt::Write as _;

use super::band::Place;

/// Size of a plot, and what is left around it for numbers.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// Height of a row of points, and room for its name.
const ROW: f64 = 26.0;
const NAMES: f64 = 210.0;

/// Colours; further cases take them again, dashed.
const COLOURS: usize = 8;

/// What may stand in markup, in attributes too.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(character),
            // Not even escaped may these stand in XML.
            control if control.is_control() => safe.push('�'),
            other => safe.push(other),
        }
    }
    safe
}

/// The classes of the `index`-th case.
pub(super) fn class(index: usize) -> String {
    let dashed = if index / COLOURS % 2 == 1 { " dashed" } else { "" };
    format!("c{}{dashed}", index % COLOURS)
}

/// A number in few characters, as on an axis.
fn few(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = if scaled != 0.0 && scaled.abs() < 1e-3 {
        format!("{scaled:.1e}").replace(".0e", "e")
    } else {
        let text = format!("{scaled:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    format!("{text}{suffix}")
}

/// Round numbers from `low` to `high`, four to nine of them.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return vec![low];
    }
    let unit = 10f64.powf((span / 4.0).log10().floor());
    let step = [5.0, 2.0, 1.0].into_iter().map(|n| n * unit).find(|step| span / step >= 4.0).unwrap_or(unit);
    let first = (low / step).ceil();
    (0..10).map(|n| (first + f64::from(n)) * step).take_while(|tick| *tick <= high + 1e-9 * span).collect()
}

/// A scale from numbers to points of the drawing.
#[derive(Clone, Copy)]
struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    fn at(self, value: f64) -> f64 {
        let share = (value - self.from.0) / (self.from.1 - self.from.0);
        self.to.0 + share * (self.to.1 - self.to.0)
    }
}

/// The least and greatest of numbers, apart even if they are equal.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let room = if high > low { 0.0 } else { 0.05 * low.abs().max(1e-9) };
    low.is_finite().then_some((low - room, high + room))
}

/// One line a case, with its band. `across` says what the horizontal axis counts. Nothing without lines.
pub(super) fn lines(title: &str, across: &str, cases: &[(usize, Vec<Place>)]) -> Option<String> {
    let places = || cases.iter().flat_map(|(_, places)| places);
    let x = Scale { from: range(places().map(|place| place.x))?, to: (LEFT, WIDTH - RIGHT) };
    let y = range(places().flat_map(|place| [place.low, place.high]))?;
    let y = Scale { from: y, to: (HEIGHT - BOTTOM, TOP) };
    let mut svg = opening(title, HEIGHT);
    for tick in ticks(y.from.0, y.from.1) {
        let (at, right) = (y.at(tick), WIDTH - RIGHT);
        let _ = write!(svg, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>");
        let _ = write!(svg, "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>", LEFT - 6.0, at + 4.0, few(tick));
    }
    for tick in ticks(x.from.0, x.from.1) {
        let (at, below) = (x.at(tick), HEIGHT - BOTTOM);
        let _ = write!(svg, "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{below}\"/>");
        let _ = write!(svg, "<text class=\"mid\" x=\"{at:.1}\" y=\"{}\">{}</text>", below + 16.0, few(tick));
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let _ = write!(svg, "<text class=\"mid\" x=\"{middle}\" y=\"{}\">{}</text>", HEIGHT - 8.0, escaped(across));
    for (index, places) in cases.iter().filter(|(_, places)| !places.is_empty()) {
        let points = |value: fn(&Place) -> f64| {
            places.iter().map(move |place| format!("{:.1},{:.1}", x.at(place.x), y.at(value(place))))
        };
        let class = class(*index);
        let outline: Vec<String> = points(|place| place.low).chain(points(|place| place.high).rev()).collect();
        let _ = write!(svg, "<polygon class=\"band {class}\" points=\"{}\"/>", outline.join(" "));
        let line: Vec<String> = points(|place| place.middle).collect();
        let _ = write!(svg, "<polyline class=\"line {class}\" points=\"{}\"/>", line.join(" "));
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// One row a case: its values as points, the median as a bar. Nothing without values.
pub(super) fn rows(title: &str, cases: &[(usize, &str, Vec<f64>, Option<f64>)]) -> Option<String> {
    let values = cases.iter().flat_map(|(.., values, _)| values.iter().copied());
    let (low, high) = range(values)?;
    // Amounts begin at nothing, so that twice as long is twice as much.
    let low = if low > 0.0 { 0.0 } else { low };
    let height = ROW * cases.len() as f64 + BOTTOM;
    let x = Scale { from: (low, high), to: (NAMES, WIDTH - RIGHT - 8.0) };
    let mut svg = opening(title, height);
    for tick in ticks(low, high) {
        let (at, below) = (x.at(tick), height - BOTTOM + 6.0);
        let _ = write!(svg, "<line class=\"grid\" x1=\"{at:.1}\" y1=\"4\" x2=\"{at:.1}\" y2=\"{below}\"/>");
        let _ = write!(svg, "<text class=\"mid\" x=\"{at:.1}\" y=\"{}\">{}</text>", below + 16.0, few(tick));
    }
    for (row, (index, name, values, median)) in cases.iter().enumerate() {
        let (y, class) = (ROW * (row as f64 + 0.5) + 4.0, class(*index));
        let _ =
            write!(svg, "<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>", NAMES - 10.0, y + 4.0, escaped(&cut(name)));
        if let Some(median) = median {
            let at = x.at(*median);
            let (top, bottom) = (y - 9.0, y + 9.0);
            let _ = write!(
                svg,
                "<line class=\"line {class}\" x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>"
            );
        }
        for value in values {
            let _ = write!(svg, "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{y}\" r=\"4\"/>", x.at(*value));
        }
    }
    svg.push_str("</svg>");
    Some(svg)
}

fn opening(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">"
    )
}

/// A name that fits beside a row; all of it stands in the table.
fn cut(name: &str) -> String {
    const MOST: usize = 32;
    if name.chars().count() <= MOST { name.to_owned() } else { name.chars().take(MOST - 1).chain(['…']).collect() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        for (low, high) in [(0.0, 1.0), (1.234, 5.678), (-3.0, 3e6), (1e-9, 2e-9), (7.0, 7.1)] {
            let ticks = ticks(low, high);
            assert!((4..=10).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            assert!(ticks.iter().all(|tick| *tick >= low - 1e-9 && *tick <= high * (1.0 + 1e-9)), "{ticks:?}");
        }
        assert_eq!(ticks(5.0, 5.0), [5.0]);
    }

    #[test]
    fn numbers_on_axes_are_short() {
        assert_eq!([0.0, 1.5, 12_000.0, 2.5e6, 3e9, 1e-5].map(few), ["0", "1.5", "12k", "2.5M", "3G", "1e-5"]);
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(escaped("<a href=\"x\">&\u{1b}"), "&lt;a href=&quot;x&quot;&gt;&amp;�");
    }

    #[test]
    fn equal_values_and_none_can_be_drawn() {
        let svg = rows("t", &[(0, "one", vec![2.0, 2.0], Some(2.0))]).unwrap();
        assert!(svg.matches("<circle").count() == 2 && !svg.contains("NaN"), "{svg}");
        let zeros = rows("t", &[(0, "one", vec![0.0], Some(0.0))]).unwrap();
        assert!(!zeros.contains("NaN"), "{zeros}");
        assert_eq!(rows("t", &[(0, "one", vec![], None)]), None);
        assert_eq!(lines("t", "x", &[(0, Vec::new())]), None);
    }

    #[test]
    fn lines_lie_inside_the_drawing() {
        let places = [0.0, 5.0, 10.0].map(|x| Place { x, low: 1.0, middle: 2.0 + x, high: 20.0 });
        let svg = lines("loss", "tokens", &[(9, places.to_vec())]).unwrap();
        assert!(svg.contains("class=\"line c1 dashed\""), "{svg}");
        let points = svg.split("points=\"").nth(2).unwrap().split('"').next().unwrap();
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y), "{point}");
        }
    }
}
