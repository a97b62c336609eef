//! Final frontiers and the fold: what to propose, whether a proposal is right, and what becoming final does.

use super::{Fold, Judgement, RebuildError, apply::PAYLOADS_HELD, move_weight};
use crate::frontier::{RECENT, RECENT_MIN};
use crate::{
    Certificate, Entry, Foundation, Frontier, Hash, NotFinal, PeerId, Proposal, Record, Row, State, VOTERS_MAX,
    VersionVector, Voter, rows_digest,
};

/// What a peer begins with that does not begin at the first entry.
#[derive(Debug)]
pub struct Resumption {
    /// Names of all final frontiers, the empty set's first.
    pub names: Vec<Hash>,
    /// The newest one's proof.
    pub certificate: Certificate,
    /// Its rows.
    pub rows: Vec<Row>,
    /// What it stands on.
    pub foundation: Foundation,
    /// Its state, `[parameters]`.
    pub state: State,
    /// The entries that its foundation names, with payloads where they are held, in any order.
    pub entries: Vec<(Entry, Option<std::sync::Arc<[u8]>>)>,
}

impl Fold {
    /// The whole set as the next frontier, if enough work was done since the last.
    pub fn candidate(&self) -> Option<Proposal> {
        let every = self.rules.frontier_every_tokens;
        let due = self.epochs.newest().frontier.clock.saturating_add(every);
        let grown = every > 0 && self.clock() >= due;
        if grown { self.proposal(self.log.version(), self.state_root()) } else { None }
    }

    /// Clock and voters of the largest closed part of `view` as the next frontier, without the work that the rest of it takes.
    pub fn outline(&self, view: &VersionVector) -> Frontier {
        let (previous, view) = (&self.epochs.newest().frontier, self.closed_part(view));
        Frontier { clock: self.log.clock(&view), voters: self.voters(&view), ..(**previous).clone() }
    }

    /// The largest closed part of `view` as the next frontier, if enough work in it was done since the last.
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

    /// The largest causally closed set that is part of `view` and contains what is final.
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

    /// How many of the first `count` positions of `author` build on nothing outside `view`.
    fn closed_count(&self, view: &VersionVector, author: &PeerId, count: u32) -> u32 {
        let final_view = self.epochs.newest().view.count(author);
        let open = self.log.from(author, final_view).iter().take_while(|record| record.entry.seq() < count);
        let closed = open.take_while(|record| self.builds_on(view, &record.entry));
        closed.last().map_or(final_view, |record| record.entry.seq() + 1)
    }

    /// Whether what `entry` names, as far as it is in the set, is in `view`; and of what a fork cut off, the proof, so that
    /// who holds no more than `view` knows why it is missing, and gives `entry` the same weight.
    fn builds_on(&self, view: &VersionVector, entry: &Entry) -> bool {
        entry.base().iter().all(|(author, count)| {
            let inside = view.count(&author);
            let held = |seq: u32| self.log.from(&author, inside).first().is_some_and(|r| r.entry.seq() < seq);
            let cut = || self.log.is_cut(&author, count - 1) && !self.standing.is_cut_at(&author, inside, view);
            count <= inside || !held(count) && !cut()
        })
    }

    /// `view` as the next frontier.
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
        };
        Some(Proposal { frontier, rows })
    }

    /// What the next frontier, if it is `view`, stands on.
    fn foundation_of(&self, view: &VersionVector) -> Foundation {
        let pruned = self.epochs.pruned_next();
        let mut author_totals = self.log.author_totals_at(&pruned);
        self.standing.complete(&self.rules, &mut author_totals, &pruned);
        let middle = self.epochs.newest().view.to_components();
        Foundation { author_totals, middle, kept: self.log.kept_between(&pruned, view) }
    }

    /// What the newest final frontier stands on, for newcomers. To be taken when it has just become final.
    pub fn foundation(&self) -> Foundation {
        let pruned = self.epochs.pruned();
        let mut author_totals = self.log.author_totals_at(&pruned);
        self.standing.complete(&self.rules, &mut author_totals, &pruned);
        let middle = self.epochs.view(self.epochs.number().saturating_sub(1)).cloned().unwrap_or_default();
        let kept = self.log.kept_between(&pruned, &self.epochs.newest().view);
        Foundation { author_totals, middle: middle.to_components(), kept }
    }

    /// Who decides what follows `view`: its trusted authors, by the tokens since the newest frontier, but none that are older
    /// than the newest epochs' work, if enough authors did that.
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

    /// Trusted authors of `view` by the tokens that are not in `before`.
    fn voters_since(&self, view: &VersionVector, before: &VersionVector) -> Vec<Voter> {
        let trusted =
            |peer: &PeerId| self.standing.is_trusted(&self.rules, peer, view) && !self.standing.is_forked(peer, view);
        let added = |(peer, count)| {
            let weight = self.log.tokens(&peer, count).saturating_sub(self.log.tokens(&peer, before.count(&peer)));
            Voter { peer, weight }
        };
        view.iter().map(added).filter(|voter| voter.weight > 0 && trusted(&voter.peer)).collect()
    }

    /// The part of `view` that is final, or whose authors had seen fewer than `since` tokens.
    fn older(&self, view: &VersionVector, since: u64) -> VersionVector {
        let count = |(author, count): (PeerId, u32)| {
            let final_view = self.epochs.newest().view.count(&author);
            let mut open = self.log.from(&author, final_view).iter().take_while(|record| record.entry.seq() < count);
            let recent = open.find(|record| self.log.clock(record.entry.base()) >= since);
            (author, recent.map_or(count, |record| record.entry.seq()))
        };
        view.iter().map(count).collect()
    }

    /// Whether `proposal` may follow the newest frontier. Rebuilds its state, so it costs about as much as a checkpoint.
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

    /// Whether what the entries of `view` name, as far as it is in the set, is in `view`.
    fn is_closed(&self, view: &VersionVector) -> bool {
        let final_view = &self.epochs.newest().view;
        let open = |(author, count): (PeerId, u32)| {
            let records = self.log.from(&author, final_view.count(&author)).iter();
            records.take_while(move |record| record.entry.seq() < count)
        };
        view.iter().flat_map(open).all(|record| self.builds_on(view, &record.entry))
    }

    /// Says what is about to be final, so that a forked author's entries up to there are taken in: those that were held before
    /// the fork was known, at once.
    pub fn expect_final(&mut self, proposal: &Proposal) {
        self.log.set_target(&proposal.rows);
        for Record { entry, payload, .. } in self.log.take_cut_off() {
            // Whatever does not fit yet is asked for like everything that is missing.
            let _ = self.insert(entry.as_ref().clone(), payload);
        }
    }

    /// Whether exactly the entries of `proposal` are held, so that it can be made final.
    pub fn holds(&self, proposal: &Proposal) -> bool {
        self.log.version().includes(&proposal.view()) && self.log.holds(&proposal.rows)
    }

    /// Payloads that must be supplied before `proposal` is made final: what it takes out may change what others weigh.
    pub fn payloads_to_finalize(&self, proposal: &Proposal) -> Vec<(PeerId, u32)> {
        let (view, number) = (proposal.view(), self.epochs.number());
        let late = |r: &Record| r.entry.epoch() < number && !view.contains(&r.entry.author(), r.entry.seq());
        let changes = self.log.forked().next().is_some() || self.log.records().any(late);
        if changes { self.payloads_to_weigh_again(None) } else { Vec::new() }
    }

    /// Makes a certified frontier final: takes out what came too late for it, and prunes. Returns what was taken out.
    ///
    /// # Errors
    /// [`NotFinal`], and nothing changed.
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

    /// Takes what left the set out of the state, as far as it was in it.
    pub(super) fn take_out(&mut self, records: &[Record]) {
        for record in records {
            move_weight(&self.rules, record, murmur_kernels::Weight::ZERO, &mut self.state).expect(PAYLOADS_HELD);
        }
    }
}
