//! Arrival: an entry that came in is checked against the set, the rules and the lotteries, and inserted or kept.

use std::{collections::BTreeSet, sync::Arc};

use murmur_collectives::{Entry, Fold, Insertion, Invalid, PeerId, Refused, VersionVector};
use murmur_verification::check_verdict;

use super::{
    Context, Event, Replication, Work,
    gossip::WANT_MAX,
    later,
    pending::{Arrival, Checked, Room},
};
use crate::{
    EntryName, Item, StoredEntry, Want,
    message::Request,
    node::{context::Core, set::Set},
};

impl Replication {
    /// Takes the entries of an answer one by one, then requests what it left out.
    pub(crate) fn on_entries(&mut self, cx: &mut Context<'_>, from: PeerId, items: Vec<Item>) {
        let mut authors = BTreeSet::new();
        for Item { entry, payload } in items.into_iter().take(WANT_MAX as usize) {
            match Entry::check(entry) {
                Ok(entry) => {
                    authors.insert(entry.author());
                    let arrival = Arrival { entry, payload: payload.map(Arc::from), from: Some(from) };
                    later(cx.net.core, Work::Receive(Box::new(arrival)));
                }
                Err(error) => later(cx.net.core, Work::Blame { peer: from, reason: error.to_string() }),
            }
        }
        later(cx.net.core, Work::EndAnswer { from, authors });
    }

    pub(super) fn receive(&mut self, cx: &mut Context<'_>, arrival: Arrival) {
        let count = arrival.entry.seq().saturating_add(1);
        arrival.from.iter().for_each(|peer| self.note(cx, peer, arrival.entry.author(), count));
        self.offer(cx, arrival);
    }

    pub(super) fn end_answer(&mut self, cx: &mut Context<'_>, from: PeerId, authors: BTreeSet<PeerId>) {
        // An empty answer leaves its request to run out, so that the same neighbour is not asked in a loop.
        for author in &authors {
            self.answered(author, &from);
        }
        if cx.mode.is_staging {
            return cx.net.core.raise(Event::AnswerStaged(authors));
        }
        self.retry(cx.net.core);
    }

    /// Tries the entries that wait for chains that have grown, until nothing more fits.
    pub(crate) fn retry(&mut self, core: &mut Core) {
        later(core, Work::Retry);
    }

    /// Tries all entries that wait: for changes other than a chain's growth.
    pub(crate) fn retry_all(&mut self, core: &mut Core) {
        if !self.pending.is_empty() {
            self.pending.grow_all();
            self.retry(core);
        }
    }

    /// Tries the entries that wait for one chain, then those for the next. While a final set is fetched everything waits.
    pub(super) fn retry_next(&mut self, cx: &mut Context<'_>) {
        let Some(waiting) = (!cx.mode.is_staging).then(|| self.pending.next_grown()).flatten() else { return };
        for arrival in waiting {
            later(cx.net.core, Work::Retried(Box::new(arrival)));
        }
        self.retry(cx.net.core);
    }

    pub(super) fn offer_again(&mut self, cx: &mut Context<'_>, arrival: Arrival) {
        // It may be dropped or refused, and then has to be pulled again.
        self.lacking.insert(arrival.entry.author());
        self.offer(cx, arrival);
    }

    fn offer(&mut self, cx: &mut Context<'_>, mut arrival: Arrival) {
        cx.set.fold.log().share_base(&mut arrival.entry);
        if cx.mode.is_staging {
            let Arrival { entry, payload, .. } = arrival;
            return cx.net.core.raise(Event::Staged { entry: Box::new(entry), payload });
        }
        if self.take_payload(cx, &arrival) {
            return;
        }
        let insertion = self.insert(cx, arrival.entry.clone(), arrival.payload.clone(), check_draw);
        self.after_offer(cx, arrival, insertion);
    }

    fn after_offer(&mut self, cx: &mut Context<'_>, arrival: Arrival, insertion: Insertion) {
        let author = arrival.entry.author();
        match insertion {
            Insertion::Applied { .. } | Insertion::Known => {}
            // What builds on it need not wait for it any more.
            Insertion::Excluded => self.pending.grow(author),
            Insertion::Early { epoch } => {
                arrival.from.iter().for_each(|peer| cx.net.core.raise(Event::EpochAhead { peer: *peer, epoch }));
                self.pending.hold(arrival, author, Room::of(cx.net.core));
            }
            Insertion::Waits { needs, closed: None } => self.wait(cx, arrival, &needs),
            Insertion::Waits { needs, closed: Some(forger) } => self.on_fork_proven(cx, arrival, needs, forger),
            Insertion::NeedsPayloads(names) => {
                let on = names.first().map_or(author, |(author, _)| *author);
                self.want_payloads(&names);
                self.pending.hold(arrival, on, Room::of(cx.net.core));
            }
            Insertion::Forks(held) => {
                cx.net.core.raise(Event::Forks { held, other: Box::new(arrival.entry) });
            }
            Insertion::OtherBranch { seq } => {
                let want = Want { author, from: seq, count: 1, payloads: false };
                arrival.from.iter().for_each(|peer| cx.net.request(*peer, Request::Entries(want)));
            }
            Insertion::Refused(Refused::WrongPayload) if arrival.payload.is_none() => {
                if !self.wait_for_payload(cx, &arrival) {
                    // It came without its payload: below a final frontier few keep it. Somebody else is asked.
                    arrival.from.iter().for_each(|peer| self.doubt(cx, peer, author));
                }
            }
            Insertion::Refused(refused) => {
                let blamed = arrival.from.unwrap_or(author);
                self.doubt(cx, &blamed, author);
                cx.net.strike(blamed, refused.to_string());
            }
        }
    }

    /// Keeps an entry until the first chain that lacks some of `needs` grows; its sender holds what it needs, too.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>, arrival: Arrival, needs: &VersionVector) {
        for (author, count) in needs.iter() {
            arrival.from.iter().for_each(|peer| self.note(cx, peer, author, count));
        }
        let first = needs.iter().next().map_or(arrival.entry.author(), |(author, _)| author);
        let on = cx.set.fold.log().lacking(needs).unwrap_or(first);
        self.pending.hold(arrival, on, Room::of(cx.net.core));
    }

    /// An entry proves a fork and stands behind entries that are not held yet. The proof counts at once: the fold has closed
    /// the forged chain, and whatever waited may fit now.
    fn on_fork_proven(&mut self, cx: &mut Context<'_>, arrival: Arrival, needs: VersionVector, forger: PeerId) {
        cx.set.changed();
        self.pending.grow_all();
        cx.net.core.raise(Event::ForkProven { forger, proof: Box::new(arrival.entry.clone()) });
        later(cx.net.core, Work::Wait { arrival: Box::new(arrival), needs });
    }

    /// Adds an own entry to the set. The caller calls [`Replication::retry`] if it was applied.
    pub(crate) fn insert_own(&mut self, cx: &mut Context<'_>, entry: Entry, payload: Option<Arc<[u8]>>) -> Insertion {
        self.insert(cx, entry, payload, |_, _| Ok(()))
    }

    /// Adds an entry to the set, stores it, tells of it, and has it announced. With [`Replication::put_back`] the one place
    /// where an entry is added.
    fn insert(
        &mut self,
        cx: &mut Context<'_>,
        entry: Entry,
        payload: Option<Arc<[u8]>>,
        check: impl FnOnce(&Fold, &Entry) -> Result<(), Invalid>,
    ) -> Insertion {
        let (shared, kept) = (entry.clone(), payload.clone());
        let behind = cx.set.fold.log().excluded(&entry.author()).filter(|late| late.seq() + 1 == entry.seq()).cloned();
        let insertion = cx.set.insert_checked(entry, payload, check);
        if let Insertion::Applied { voided } = insertion {
            self.pending.grow(shared.author());
            // Without the excluded entry that it follows, it would not fit after a restart.
            if let Some(late) = behind {
                cx.net.core.append(StoredEntry::new(&late, None), false);
            }
            // An own entry that comes back from others is not the newest: that one stays where it is.
            let durable = shared.author() == cx.net.core.id() && shared.seq() >= cx.mode.signed_before;
            cx.net.core.append(StoredEntry::new(&shared, kept), durable);
            tell(cx, &shared);
            voided.into_iter().for_each(|peer| cx.net.core.raise(Event::Evicted(peer)));
            later(cx.net.core, Work::Announce(Box::new(shared)));
        }
        insertion
    }

    /// Takes in what the disk held, in the order in which it was stored. Nothing is told or announced; what does not fit yet
    /// waits, and is tried by the next [`Replication::retry`].
    pub(crate) fn put_back(&mut self, set: &mut Set, entries: impl IntoIterator<Item = Checked>) {
        for (entry, payload) in entries {
            match set.insert(entry.clone(), payload.clone()) {
                Insertion::Waits { .. } | Insertion::Early { .. } | Insertion::NeedsPayloads(_) => {
                    self.hold(entry, payload, Room::BOUNDLESS);
                }
                Insertion::Applied { .. }
                | Insertion::Known
                | Insertion::Excluded
                | Insertion::Forks(_)
                | Insertion::OtherBranch { .. }
                | Insertion::Refused(_) => {}
            }
        }
    }

    /// Keeps an entry to be tried by the next [`Replication::retry`].
    pub(crate) fn hold(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, room: Room) {
        let on = entry.author();
        self.pending.hold(Arrival { entry, payload, from: None }, on, room);
        self.pending.grow(on);
    }

    /// Keeps an entry until everything that waits is tried again: trying it now would only bring it back here.
    pub(crate) fn keep(&mut self, entry: Entry, payload: Option<Arc<[u8]>>, room: Room) {
        let on = entry.author();
        self.pending.hold(Arrival { entry, payload, from: None }, on, room);
    }
}

/// Checks that the draw of a verdict is its author's.
fn check_draw(fold: &Fold, entry: &Entry) -> Result<(), Invalid> {
    let drawn = entry.verdict().is_none_or(|verdict| check_verdict(fold, entry, verdict).is_ok());
    if drawn { Ok(()) } else { Err(Invalid::Subject) }
}

/// Tells the trainer of an entry that was added.
fn tell(cx: &mut Context<'_>, entry: &Entry) {
    let name = EntryName { author: entry.author(), seq: entry.seq() };
    if let Some(update) = entry.update() {
        let record = cx.set.fold.log().record(&name.author, name.seq);
        let weight_q16 = record.map_or(0, |record| record.applied.q16());
        let (tokens, age_tokens) = (update.tokens, cx.set.fold.log().age(entry));
        cx.net.core.tell(crate::Event::Applied { update: name, tokens, weight_q16, age_tokens });
    }
    if let Some(verdict) = entry.verdict() {
        let update = EntryName { author: verdict.author, seq: verdict.seq };
        cx.net.core.tell(crate::Event::Audited { update, auditor: name.author, passed: verdict.passed });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Told, enrolment, id, item};
    use super::*;

    #[test]
    fn an_entry_waits_for_its_past_which_is_requested_of_its_sender() {
        let mut bench = Bench::new(&[1]);
        let (first, second) = (enrolment(10, 0, &[]), enrolment(11, 0, &[10]));
        let told = bench.act(|machine, cx| machine.on_entries(cx, id(1), vec![item(&second)]));
        assert!(told.is_empty() && !bench.holds(11));

        bench.act(Replication::pull);
        let want = crate::Message::Want(Want { author: id(10), from: 0, count: 1, payloads: true });
        assert_eq!(bench.sent(), [(id(1), want)]);

        let told = bench.act(|machine, cx| machine.on_entries(cx, id(1), vec![item(&first)]));
        assert_eq!(told, [Told::Applied(id(10)), Told::Applied(id(11))]);
        assert_eq!(bench.machine.awaited(), (0, 0), "the answer closes the request");
    }

    #[test]
    fn what_follows_from_one_entry_is_raised_before_the_next_one_is_looked_at() {
        let mut bench = Bench::new(&[1]);
        let entries = [enrolment(10, 0, &[]), enrolment(10, 1, &[]), enrolment(11, 0, &[]), enrolment(10, 0, &[])];
        let items = entries.iter().map(item).collect();
        let told = bench.act(|machine, cx| machine.on_entries(cx, id(1), items));
        assert_eq!(told, [Told::Applied(id(10)), Told::Forks(id(10)), Told::Applied(id(11))]);
    }

    #[test]
    fn every_malformed_entry_is_an_offence_of_its_sender() {
        let mut bench = Bench::new(&[1]);
        let mut bad = item(&enrolment(10, 0, &[]));
        bad.entry.signature[0] ^= 1;
        let offences = bench.core.config.strikes_max as usize;
        let told = bench.act(|machine, cx| machine.on_entries(cx, id(1), vec![bad; offences]));
        assert_eq!(told, [Told::Banned(id(1))]);
        assert!(!bench.holds(10));
    }

    #[test]
    fn while_a_final_frontier_is_fetched_entries_go_to_it_and_what_waits_stays() {
        let mut bench = Bench::new(&[1]);
        bench.machine.hold(enrolment(11, 0, &[]), None, Room::BOUNDLESS);
        bench.mode.is_staging = true;
        let told = bench.act(|machine, cx| machine.on_entries(cx, id(1), vec![item(&enrolment(10, 0, &[]))]));
        assert_eq!(told, [Told::Staged(id(10)), Told::AnswerStaged]);
        assert_eq!(bench.act(|machine, cx| machine.retry(cx.net.core)), []);

        bench.mode.is_staging = false;
        assert_eq!(bench.act(|machine, cx| machine.retry(cx.net.core)), [Told::Applied(id(11))]);
    }

    #[test]
    fn what_the_disk_held_is_neither_stored_nor_announced_again() {
        let mut bench = Bench::new(&[1]);
        let (first, second) = (enrolment(10, 0, &[]), enrolment(11, 0, &[10]));
        bench.machine.put_back(&mut bench.set, [(second, None), (first, None)]);
        assert!(bench.holds(10) && !bench.holds(11) && bench.core.outputs.is_empty());
        assert_eq!(bench.act(|machine, cx| machine.retry(cx.net.core)), [Told::Applied(id(11))]);
    }
}
