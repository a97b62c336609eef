//! What a machine is connected by, as a user says it.

use murmur_sim::{LinkProfile, PROFILES};

use crate::error::{Exit, Failure};

/// A link.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// As it was written.
    pub name: String,
    /// Bytes a second up; no limit on loopback.
    pub up: Option<f64>,
    /// Bytes a second down.
    pub down: Option<f64>,
    /// To another peer and back.
    pub rtt_seconds: f64,
}

/// Bytes a second of a Mbit/s.
const MEGABIT: f64 = 125_000.0;

impl Link {
    /// Reads a name, or `UP/DOWN/RTT` in Mbit/s and milliseconds.
    ///
    /// # Errors
    /// [`Exit::Usage`] naming the nearest link, or the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if text.contains('/') {
            let [up, down, rtt] = numbers(text)?;
            let rate = |megabits: f64| Some(megabits * MEGABIT);
            return Ok(Self { name: text.to_owned(), up: rate(up), down: rate(down), rtt_seconds: rtt / 1000.0 });
        }
        let profile = LinkProfile::named(text).map_err(|unknown| wrong(&unknown.to_string()))?;
        let rate = |bits: u64| (bits > 0).then_some(bits as f64 / 8.0);
        Ok(Self {
            name: text.to_owned(),
            up: rate(profile.up_bits_per_second),
            down: rate(profile.down_bits_per_second),
            rtt_seconds: profile.round_trip.as_secs_f64(),
        })
    }
}

fn numbers(text: &str) -> Result<[f64; 3], Failure> {
    let parts: Vec<&str> = text.split('/').map(str::trim).collect();
    let [up, down, rtt] = parts[..] else {
        return Err(wrong(&format!("`{text}` has {} parts and not three", parts.len())));
    };
    let number = |what: &str, part: &str, unit: &str, least: f64| {
        let number = part.strip_suffix(unit).unwrap_or(part).trim().parse::<f64>().ok();
        let fits = |number: &f64| *number >= least && *number <= 1e6;
        number.filter(fits).ok_or_else(|| wrong(&format!("`{part}` is no {what}")))
    };
    Ok([
        number("rate up in Mbit/s", up, "Mbit", 1e-3)?,
        number("rate down in Mbit/s", down, "Mbit", 1e-3)?,
        number("round trip in ms", rtt, "ms", 0.0)?,
    ])
}

fn wrong(message: &str) -> Failure {
    let names = PROFILES.map(|profile| profile.name).join(", ");
    Failure::new(Exit::Usage, message)
        .at("--link")
        .hint(format!("Write UP/DOWN/RTT, as in 20/100/20 for 20 Mbit/s up, 100 down and 20 ms, or one of {names}."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_name_or_three_numbers() {
        let cable = Link::parse("cable").unwrap();
        assert_eq!(cable, Link { name: "cable".to_owned(), ..Link::parse("20/100/20").unwrap() });
        assert_eq!((cable.up, cable.down, cable.rtt_seconds), (Some(2.5e6), Some(12.5e6), 0.02));
        assert_eq!(Link::parse("5/10/3.5ms").unwrap().rtt_seconds, 0.0035);
        assert_eq!(Link::parse("loopback").unwrap().up, None);
    }

    #[test]
    fn a_wrong_link_says_what_is_wrong_with_it() {
        for (text, why) in [
            ("cabel", "the nearest is `cable`"),
            ("20/100", "2 parts"),
            ("0/1/1", "no rate up"),
            ("1/x/1", "`x` is no rate down"),
            ("1/1/-1", "no round trip"),
            ("1/1/nan", "no round trip"),
        ] {
            let failure = Link::parse(text).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.sentence().contains(why), "{text}: {}", failure.sentence());
        }
    }
}
