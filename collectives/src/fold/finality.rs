//! The fold's part in finality: making a candidate, judging a proposal, and making a decided frontier final.

use super::{Fold, Judgement, RebuildError, apply::PAYLOADS_HELD, move_weight};
use crate::frontier::{RECENT, RECENT_MIN};
use crate::pace::Work;
use crate::{
    Certificate, Entry, Foundation, Frontier, Hash, NotFinal, Pace, PeerId, Proposal, Record, Row, State, VOTERS_MAX,
    VersionVector, Voter, rows_digest,
};

/// All that a peer needs to begin at a final frontier instead of the first entry.
#[derive(Debug)]
pub struct Resumption {
    /// Names of all final frontiers, the empty set's first.
    pub names: Vec<Hash>,
    /// The proof of the newest one.
    pub certificate: Certificate,
    /// The newest one's rows.
    pub rows: Vec<Row>,
    /// The newest one's foundation.
    pub foundation: Foundation,
    /// The newest one's state, `[parameters]`.
    pub state: State,
    /// The entries that the foundation names, in any order, with payloads where they are held.
    pub entries: Vec<(Entry, Option<std::sync::Arc<[u8]>>)>,
}

impl Fold {
    /// A proposal of the whole set, if it has an epoch's work since the newest final frontier.
    pub fn candidate(&self) -> Option<Proposal> {
        let every = self.rules.frontier_every_tokens;
        let due = self.epochs.newest().frontier.clock.saturating_add(every);
        let grown = every > 0 && self.clock() >= due;
        if grown { self.proposal(self.log.version(), self.state_root()) } else { None }
    }

    /// Clock and voters that a proposal of `view` would have; the other fields are not computed, which would rebuild a state.
    pub fn outline(&self, view: &VersionVector) -> Frontier {
        let (previous, view) = (&self.epochs.newest().frontier, self.closed_part(view));
        Frontier { clock: self.log.clock(&view), voters: self.voters(&view), ..(**previous).clone() }
    }

    /// A proposal of the largest causally closed part of `view`, if that has an epoch's work since the newest final frontier.
    /// Rebuilds a state, so it costs about as much as a checkpoint.
    pub fn candidate_within(&self, view: &VersionVector) -> Option<Proposal> {
        let every = self.rules.frontier_every_tokens;
        let view = self.closed_part(view);
        let due = self.epochs.newest().frontier.clock.saturating_add(every);
        if every == 0 || self.log.clock(&view) < due {
            return None;
        }
        let state = self.state_at(&view).ok()?;
        self.proposal(&view, Hash(murmur_kernels::state_root(&state)))
    }

    /// The largest causally closed subset of `view` that contains the newest final frontier.
    fn closed_part(&self, view: &VersionVector) -> VersionVector {
        let final_view = &self.epochs.newest().view;
        let mut part: VersionVector = self
            .log
            .version()
            .iter()
            .map(|(a, held)| (a, view.count(&a).min(held).max(final_view.count(&a))))
            .collect();
        loop {
            let before = part.clone();
            for (author, count) in before.iter() {
                part.set(author, self.closed_count(&part, &author, count));
            }
            if part == before {
                return part;
            }
        }
    }

    /// How many of `author`'s first `count` positions build on nothing outside `view`, up to the first that does.
    fn closed_count(&self, view: &VersionVector, author: &PeerId, count: u32) -> u32 {
        let final_view = self.epochs.newest().view.count(author);
        let open = self.log.from(author, final_view).iter().take_while(|record| record.entry.seq() < count);
        let closed = open.take_while(|record| self.builds_on(view, &record.entry));
        closed.last().map_or(final_view, |record| record.entry.seq() + 1)
    }

    /// Whether everything in the set that `entry` builds on is in `view`. If it builds on entries that a fork cut off, `view`
    /// has to contain the proof of the fork: else a peer that holds no more than `view` would give `entry` another weight.
    fn builds_on(&self, view: &VersionVector, entry: &Entry) -> bool {
        entry.base().iter().all(|(author, count)| {
            let inside = view.count(&author);
            let held = |seq: u32| self.log.from(&author, inside).first().is_some_and(|r| r.entry.seq() < seq);
            let cut = || self.log.is_cut(&author, count - 1) && !self.standing.is_cut_at(&author, inside, view);
            count <= inside || !held(count) && !cut()
        })
    }

    /// The proposal of `view`; `None` if it goes beyond the set.
    fn proposal(&self, view: &VersionVector, state: Hash) -> Option<Proposal> {
        let row = |(author, count)| Some(Row { author, count, head: self.log.head_at(&author, count)? });
        let rows: Vec<Row> = view.iter().map(row).collect::<Option<_>>()?;
        let newest = &self.epochs.newest().frontier;
        let frontier = Frontier {
            epoch: newest.epoch + 1,
            previous: newest.name(),
            rows: rows_digest(&rows),
            clock: self.log.clock(view),
            state,
            foundation: self.foundation_of(view).digest(),
            voters: self.voters(view),
            pace: self.pace(view),
        };
        Some(Proposal { frontier, rows })
    }

    /// The foundation that `view` would have as the next frontier.
    fn foundation_of(&self, view: &VersionVector) -> Foundation {
        let pruned = self.epochs.pruned_next();
        let mut author_totals = self.log.author_totals_at(&pruned);
        self.standing.complete(&self.rules, &mut author_totals, &pruned);
        let middle = self.epochs.newest().view.to_components();
        let middle_pace = self.epochs.newest().frontier.pace;
        Foundation { author_totals, middle, middle_pace, kept: self.log.kept_between(&pruned, view) }
    }

    /// The foundation of the newest final frontier, for newcomers. Call it when the frontier has just become final: what comes
    /// later may change the standing that it records.
    pub fn foundation(&self) -> Foundation {
        let pruned = self.epochs.pruned();
        let mut author_totals = self.log.author_totals_at(&pruned);
        self.standing.complete(&self.rules, &mut author_totals, &pruned);
        let before = self.epochs.number().saturating_sub(1);
        let middle = self.epochs.view(before).cloned().unwrap_or_default();
        let middle_pace = self.epochs.pace(before).unwrap_or(Pace::planned(&self.rules));
        let kept = self.log.kept_between(&pruned, &self.epochs.newest().view);
        Foundation { author_totals, middle: middle.to_components(), middle_pace, kept }
    }

    /// The voters of `view`: its trusted authors, weighed by their tokens since the newest final frontier. If more was done
    /// since then than the newest epochs' work, only that counts, provided that enough authors did it. If nobody qualifies,
    /// the voters stay the same.
    pub fn voters(&self, view: &VersionVector) -> Vec<Voter> {
        let (newest, clock) = (self.epochs.newest(), self.log.clock(view));
        let recent = self.rules.frontier_every_tokens.saturating_mul(RECENT);
        let windows = core::iter::successors(Some(recent.max(1)), |window| window.checked_mul(2));
        let since =
            windows.map(|window| clock.saturating_sub(window)).take_while(|since| *since > newest.frontier.clock);
        let mut electorates = since.map(|since| self.voters_since(view, &self.older(view, since)));
        let mut voters = electorates
            .find(|voters| voters.len() >= RECENT_MIN)
            .unwrap_or_else(|| self.voters_since(view, &newest.view));
        voters.sort_unstable_by_key(|voter| (core::cmp::Reverse(voter.weight), voter.peer));
        voters.truncate(VOTERS_MAX);
        voters.sort_unstable_by_key(|voter| voter.peer);
        if voters.is_empty() { newest.frontier.voters.clone() } else { voters }
    }

    /// The pace of `view`: of what its trusted authors did since the newest final frontier, trusted at the time or not. If
    /// nobody did anything, the pace stays the same.
    fn pace(&self, view: &VersionVector) -> Pace {
        let newest = self.epochs.newest();
        let work = |(author, count): (PeerId, u32)| {
            let records = self.log.from(&author, newest.view.count(&author)).iter();
            let open = records.take_while(|record| record.entry.seq() < count);
            let tokens = open.filter_map(|record| record.entry.update()).map(|update| update.tokens);
            let none = Work { tokens: 0, updates: 0 };
            tokens.fold(none, |work, tokens| Work { tokens: work.tokens + tokens, updates: work.updates + 1 })
        };
        let all: Vec<Work> = view.iter().filter(|(author, _)| self.qualifies(author, view)).map(work).collect();
        Pace::of(&all).unwrap_or(newest.frontier.pace)
    }

    /// Whether `author` is trusted in `view`, and no fork of its chain is proven there.
    fn qualifies(&self, author: &PeerId, view: &VersionVector) -> bool {
        self.is_trusted(author, view) && !self.standing.is_forked(author, view)
    }

    /// Trusted authors of `view`, weighed by their tokens outside `before`.
    fn voters_since(&self, view: &VersionVector, before: &VersionVector) -> Vec<Voter> {
        let added = |(peer, count)| {
            let weight = self.log.tokens(&peer, count).saturating_sub(self.log.tokens(&peer, before.count(&peer)));
            Voter { peer, weight }
        };
        view.iter().map(added).filter(|voter| voter.weight > 0 && self.qualifies(&voter.peer, view)).collect()
    }

    /// The part of `view` that is final, or whose authors had seen fewer than `since` tokens: per author, everything before
    /// the first entry that knew more.
    fn older(&self, view: &VersionVector, since: u64) -> VersionVector {
        let count = |(author, count): (PeerId, u32)| {
            let final_view = self.epochs.newest().view.count(&author);
            let mut open = self.log.from(&author, final_view).iter().take_while(|record| record.entry.seq() < count);
            let recent = open.find(|record| self.log.clock(record.entry.base()) >= since);
            (author, recent.map_or(count, |record| record.entry.seq()))
        };
        view.iter().map(count).collect()
    }

    /// Whether `proposal` may follow the newest final frontier. Rebuilds its state, so it costs about as much as a checkpoint.
    pub fn judge(&self, proposal: &Proposal) -> Judgement {
        let newest = self.epochs.newest();
        let frontier = &proposal.frontier;
        if !proposal.is_whole()
            || frontier.epoch != newest.frontier.epoch + 1
            || frontier.previous != newest.frontier.name()
        {
            return Judgement::Wrong("it does not continue the newest frontier");
        }
        let view = proposal.view();
        if !view.includes(&newest.view) {
            return Judgement::Wrong("it leaves out what is final");
        }
        if frontier.clock < newest.frontier.clock.saturating_add(self.rules.frontier_every_tokens) {
            return Judgement::Wrong("it comes too early");
        }
        if !self.log.version().includes(&view) {
            return Judgement::Lacks;
        }
        if !self.log.holds(&proposal.rows) {
            return Judgement::Wrong("it names another branch");
        }
        if !self.is_closed(&view) {
            return Judgement::Wrong("it is not causally closed");
        }
        match self.state_at(&view) {
            Ok(state) => self.compare(proposal, &view, Hash(murmur_kernels::state_root(&state))),
            Err(RebuildError::NotHeld | RebuildError::PayloadMissing { .. }) => Judgement::Lacks,
        }
    }

    fn compare(&self, proposal: &Proposal, view: &VersionVector, state: Hash) -> Judgement {
        match self.proposal(view, state) {
            Some(own) if own == *proposal => Judgement::Good,
            Some(_) => Judgement::Wrong("its state, clock, voters or foundation are not this set's"),
            None => Judgement::Lacks,
        }
    }

    /// Whether everything in the set that entries of `view` build on is in `view`.
    fn is_closed(&self, view: &VersionVector) -> bool {
        let final_view = &self.epochs.newest().view;
        let open = |(author, count): (PeerId, u32)| {
            let records = self.log.from(&author, final_view.count(&author)).iter();
            records.take_while(move |record| record.entry.seq() < count)
        };
        view.iter().flat_map(open).all(|record| self.builds_on(view, &record.entry))
    }

    /// `proposal` is decided and will become final. From now on entries of a forked author are accepted if it contains them.
    /// Those that were held before the fork was proven are put back at once.
    pub fn expect_final(&mut self, proposal: &Proposal) {
        self.log.set_target(&proposal.rows);
        for Record { entry, payload, .. } in self.log.take_cut_off() {
            // Entries that do not fit yet are lost here, and asked for like all that are missing.
            let _ = self.insert(entry.as_ref().clone(), payload);
        }
    }

    /// Whether all entries of `proposal` are held, on the branches that it names.
    pub fn holds(&self, proposal: &Proposal) -> bool {
        self.log.version().includes(&proposal.view()) && self.log.holds(&proposal.rows)
    }

    /// Author and position of payloads that must be supplied before `proposal` is made final. It takes entries out, which may
    /// change the weights of others, and those have to be added to the state again.
    pub fn payloads_to_finalize(&self, proposal: &Proposal) -> Vec<(PeerId, u32)> {
        let (view, number) = (proposal.view(), self.epochs.number());
        let late = |r: &Record| r.entry.epoch() < number && !view.contains(&r.entry.author(), r.entry.seq());
        let changes = self.log.forked().next().is_some() || self.log.records().any(late);
        if changes { self.payloads_to_weigh_again(None) } else { Vec::new() }
    }

    /// Makes a decided frontier final: excludes entries that came too late for it, and prunes. Returns the excluded ones.
    ///
    /// # Errors
    /// [`NotFinal`] if the certificate does not prove `proposal`, or if entries or payloads are missing; nothing changed.
    pub fn finalize(&mut self, certificate: &Certificate, proposal: Proposal) -> Result<Vec<Record>, NotFinal> {
        certificate.check(self.run, &self.rules, &self.epochs.newest().frontier)?;
        let ready = self.holds(&proposal) && self.payloads_to_finalize(&proposal).is_empty();
        if proposal.frontier != certificate.frontier || !proposal.is_whole() || !ready {
            return Err(NotFinal::Contents);
        }
        let before = self.epochs.newest().view.clone();
        self.epochs.push(certificate, proposal);
        self.log.set_target(&[]);
        let out = self.log.exclude(&self.epochs);
        if !out.is_empty() || self.log.forked().next().is_some() {
            self.forget_order();
            self.replay(&before);
            self.apply_all(&out);
        }
        self.prune();
        Ok(out)
    }

    fn prune(&mut self) {
        let view = self.epochs.pruned();
        let mut author_totals = self.log.author_totals_at(&view);
        self.standing.complete(&self.rules, &mut author_totals, &view);
        self.standing.prune(&author_totals, &view);
        self.log.prune(author_totals, self.epochs.oldest_open());
        self.forget_order();
    }

    /// Subtracts excluded entries from the state, with the weights they were added with.
    pub(super) fn take_out(&mut self, records: &[Record]) {
        for record in records {
            let weights = [record.applied, murmur_kernels::Weight::ZERO];
            move_weight(record, weights, &mut self.state).expect(PAYLOADS_HELD);
        }
    }
}
