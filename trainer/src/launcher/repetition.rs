//! Limits events that many peers report alike: the first few are shown, then how many more there were.

use std::{collections::BTreeMap, time::Duration};

use crate::protocol::EventKind;

/// How long events of one kind are counted together.
const WINDOW: Duration = Duration::from_secs(10);

/// How many of them are shown.
const SHOWN: u32 = 5;

/// What has been shown and what not, by kind.
#[derive(Debug, Default)]
pub(super) struct Repetition(BTreeMap<EventKind, Window>);

#[derive(Debug)]
struct Window {
    ends_at: Duration,
    shown: u32,
    more: u32,
}

impl Repetition {
    /// Whether an event of `kind` at `now` is to be shown; if not, it is counted.
    pub(super) fn shows(&mut self, kind: EventKind, now: Duration) -> bool {
        let window = self.0.entry(kind).or_insert(Window { ends_at: now + WINDOW, shown: 0, more: 0 });
        let shows = window.shown < SHOWN;
        *(if shows { &mut window.shown } else { &mut window.more }) += 1;
        shows
    }

    /// What was counted and not shown in times that are over at `now`, in words.
    pub(super) fn over(&mut self, now: Duration) -> Vec<String> {
        let over = self.0.extract_if(.., |_, window| window.ends_at <= now);
        let said = |(kind, Window { more, .. }): (EventKind, Window)| {
            (more > 0).then(|| format!("{} … and {more} more like these", kind.name()))
        };
        over.filter_map(said).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_shown_and_the_rest_is_counted() {
        let (mut repetition, kind) = (Repetition::default(), EventKind::Unfinished);
        let shown = (0..64).filter(|_| repetition.shows(kind, Duration::ZERO)).count();
        assert_eq!(shown, SHOWN as usize);
        assert!(repetition.over(WINDOW - Duration::from_secs(1)).is_empty());
        assert_eq!(repetition.over(WINDOW), ["unfinished … and 59 more like these"]);
        assert!(repetition.shows(kind, WINDOW) && repetition.over(WINDOW).is_empty(), "a new time begins");
    }

    #[test]
    fn a_few_are_all_shown() {
        let mut repetition = Repetition::default();
        assert!((0..SHOWN).all(|_| repetition.shows(EventKind::Joined, Duration::ZERO)));
        assert!(repetition.over(WINDOW).is_empty());
    }
}
