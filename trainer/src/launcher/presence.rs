//! The members of the swarm, as the local peers report them, and which of their events are new.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{Event, EventKind};

/// After this many events of one kind about one peer, further ones are only counted by the peers' metrics.
const SHOWN_MAX: usize = 20;
/// The launcher as a witness of its own children.
const LAUNCHER: usize = usize::MAX;

/// Sees reports of several peers about several peers and passes each piece of news once.
#[derive(Debug, Default)]
pub(super) struct Presence {
    seen_by: BTreeMap<String, BTreeSet<usize>>,
    told: BTreeMap<(EventKind, String), BTreeSet<String>>,
}

impl Presence {
    /// A child of the launcher is up: that other peers connect to it is no news.
    pub(super) fn child_up(&mut self, peer: &str) {
        self.seen_by.entry(peer.to_owned()).or_default().insert(LAUNCHER);
    }

    /// A child is gone. Says whether that is news.
    pub(super) fn child_down(&mut self, peer: &str, index: usize) -> bool {
        for witnesses in self.seen_by.values_mut() {
            witnesses.remove(&index);
        }
        self.seen_by.remove(peer).is_some_and(|witnesses| witnesses.contains(&LAUNCHER))
    }

    /// Whether an event that the peer `witness` reports about `about` is news.
    pub(super) fn is_news(&mut self, witness: usize, about: &str, event: &Event) -> bool {
        match event.kind {
            EventKind::Joined => {
                let witnesses = self.seen_by.entry(about.to_owned()).or_default();
                let first = witnesses.is_empty();
                witnesses.insert(witness);
                first
            }
            EventKind::Departed => self.lost(witness, about),
            EventKind::AuditPassed => false,
            EventKind::AuditFailed
            | EventKind::Evicted
            | EventKind::Diverged
            | EventKind::CaughtUp
            | EventKind::BadInput
            | EventKind::Checkpoint
            | EventKind::Banned
            | EventKind::SetAside
            | EventKind::Final
            | EventKind::Stalled
            | EventKind::PortMap
            | EventKind::Usurped => self.first_time(about, event),
            // What is missing changes all the time; that it is not over is news once.
            EventKind::Unfinished => self.first_time(about, &Event { detail: String::new(), ..event.clone() }),
        }
    }

    /// The last witness to lose sight of a peer has news.
    fn lost(&mut self, witness: usize, about: &str) -> bool {
        let Some(witnesses) = self.seen_by.get_mut(about) else {
            return false;
        };
        let knew = witnesses.remove(&witness);
        knew && witnesses.is_empty()
    }

    fn first_time(&mut self, about: &str, event: &Event) -> bool {
        // A checkpoint is one event whichever peer wrote it first, and what is final is final for all.
        let about = if matches!(event.kind, EventKind::Checkpoint | EventKind::Final) { "" } else { about };
        let told = self.told.entry((event.kind, about.to_owned())).or_default();
        let limited = matches!(event.kind, EventKind::BadInput | EventKind::AuditFailed | EventKind::Banned);
        (!limited || told.len() < SHOWN_MAX) && told.insert(event.detail.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, detail: &str) -> Event {
        Event { kind, peer: None, detail: detail.to_owned() }
    }

    #[test]
    fn a_newcomer_is_shown_once_and_leaves_with_its_last_witness() {
        let mut presence = Presence::default();
        let (joined, departed) = (event(EventKind::Joined, ""), event(EventKind::Departed, ""));
        let told: Vec<_> = (0..3).map(|witness| presence.is_news(witness, "new", &joined)).collect();
        assert_eq!(told, [true, false, false]);
        let told: Vec<_> = (0..3).map(|witness| presence.is_news(witness, "new", &departed)).collect();
        assert_eq!(told, [false, false, true]);
        assert!(presence.is_news(1, "new", &joined), "it may come back");
    }

    #[test]
    fn local_peers_that_meet_are_no_event_and_their_end_is_shown_once() {
        let mut presence = Presence::default();
        ["a", "b"].into_iter().for_each(|child| presence.child_up(child));
        assert!(!presence.is_news(0, "b", &event(EventKind::Joined, "")));
        assert!(presence.child_down("b", 1));
        assert!(!presence.is_news(0, "b", &event(EventKind::Departed, "")));
    }

    #[test]
    fn equal_events_are_shown_once_and_floods_are_cut() {
        let mut presence = Presence::default();
        assert!(presence.is_news(0, "x", &event(EventKind::Evicted, "")));
        assert!(!presence.is_news(1, "x", &event(EventKind::Evicted, "")));
        assert!(!presence.is_news(1, "x", &event(EventKind::AuditPassed, "")));
        let bad = |number: usize| event(EventKind::BadInput, &number.to_string());
        let told = (0..100).filter(|number| presence.is_news(0, "x", &bad(*number))).count();
        assert_eq!(told, SHOWN_MAX);
    }
}
