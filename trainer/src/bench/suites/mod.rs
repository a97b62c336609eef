//! The suites there are. A new one is a file here and a line in [`SUITES`].

mod audit;
mod churn;
mod codec;
mod links;
mod methods;
mod parity;
mod quick;
mod scale;
mod step;

use super::suite::Suite;
use crate::error::{Exit, Failure};

/// Every suite, in the order in which they are listed.
pub const SUITES: &[Suite] = &[
    quick::SUITE,
    parity::SUITE,
    methods::SUITE,
    links::LINKS,
    scale::SUITE,
    churn::SUITE,
    codec::SUITE,
    step::SUITE,
    audit::SUITE,
];

/// The suite called `name`.
///
/// # Errors
/// [`Exit::Usage`] naming the nearest and all others.
pub fn find(name: &str) -> Result<&'static Suite, Failure> {
    SUITES.iter().find(|suite| suite.name == name).ok_or_else(|| {
        let likeness = |suite: &&Suite| strsim::normalized_damerau_levenshtein(name, suite.name);
        let nearest = SUITES.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        let nearest = nearest.map_or("none", |suite| suite.name);
        Failure::new(Exit::Usage, format!("there is no suite `{name}`; the nearest is `{nearest}`"))
            .hint(format!("The suites are:\n{}", list()))
    })
}

/// All suites, a line each.
pub fn list() -> String {
    let line = |suite: &Suite| format!("  {:<8} {}", suite.name, suite.about);
    SUITES.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_suite_names_the_nearest_and_all() {
        assert_eq!(find("codec").unwrap().name, "codec");
        let failure = find("codek").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.sentence().contains("the nearest is `codec`"), "{}", failure.sentence());
        assert!(SUITES.iter().all(|suite| failure.to_fault().hint.contains(suite.about)));
    }

    #[test]
    fn names_are_distinct_words_and_nothing_concludes_from_nothing() {
        let mut names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        assert!(names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_lowercase())));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SUITES.len());
        for suite in SUITES {
            let conclusion = (suite.conclude)(&[]);
            assert!(conclusion.metrics.iter().all(|metric| metric.value.is_none()), "{}", suite.name);
        }
    }
}
