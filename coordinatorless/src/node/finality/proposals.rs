//! Proposals: judging those of others, and making one's own.

use std::collections::BTreeSet;

use murmur_collectives::{Hash, Judgement, PeerId, Proposal, VersionVector, Vote};

use super::{Context, Finality, Joining, rounds::INSISTS_UNTIL_ROUND};
use crate::{Message, message::Request};

/// Frontiers asked for at once, at most: a stranger's votes may name any number.
pub(super) const REQUESTS_AT_ONCE: usize = 4;

/// A proposal that was not accepted.
#[derive(Debug)]
pub(super) struct Rejection {
    /// The set it was judged against.
    version: VersionVector,
    /// Whether a larger set may change that. If not, it is wrong whatever comes.
    may_pass: bool,
}

impl Rejection {
    pub(super) fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// Whether judging again would come to the same.
    fn holds(&self, version: &VersionVector) -> bool {
        !self.may_pass || self.version == *version
    }
}

impl Finality {
    /// Judges proposals that votes name, unless that was done with the same set: judging one rebuilds its state.
    pub(super) fn judge_proposals(&mut self, cx: &mut Context<'_>) {
        let open: Vec<Hash> = self.consensus.rounds(cx).open_questions().into_iter().collect();
        for name in open {
            let round = self.consensus.rounds(cx).round();
            let Some(proposal) = self.consensus.proposal(&name) else { continue };
            let version = cx.set.fold.log().version();
            if self.consensus.rejection(&name).is_some_and(|rejection| rejection.holds(version)) {
                continue;
            }
            let insists = round < INSISTS_UNTIL_ROUND && would_exclude(cx, proposal);
            let judgement = if insists { Judgement::Lacks } else { cx.set.fold.judge(proposal) };
            let version = version.clone();
            match judgement {
                Judgement::Good => self.consensus.rounds(cx).accept(name),
                Judgement::Lacks => self.consensus.reject(name, Rejection { version, may_pass: true }),
                Judgement::Wrong(_) => self.consensus.reject(name, Rejection { version, may_pass: false }),
            }
        }
    }

    /// Proposes when this voter's turn has come, unless it has prevoted in this round.
    pub(super) fn propose_in_turn(&mut self, cx: &mut Context<'_>) {
        let turn = self.turn_at(cx.core()).is_some_and(|at| self.pacemaker.may_propose(cx.now(), at));
        if turn && !self.consensus.rounds(cx).has_proposed() && !self.propose(cx) {
            self.pacemaker.propose_later(cx.now(), cx.config());
        }
    }

    /// Proposes what most voters hold or, when weights fade, all that is held here. False if that is too little work, or if
    /// this peer's vote would not count for it.
    fn propose(&mut self, cx: &mut Context<'_>) -> bool {
        let view = if cx.is_fading(&self.rules) { self.decidable(cx) } else { self.widely_held_if_voter(cx) };
        let Some(proposal) = view.and_then(|view| cx.set.fold.candidate_within(&view)) else { return false };
        let name = proposal.frontier.name();
        if !self.consensus.introduce(cx, proposal) {
            return false;
        }
        let rounds = self.consensus.rounds(cx);
        rounds.accept(name);
        let Some((ballot, name)) = rounds.offer(name) else { return false };
        self.cast(cx, ballot, name);
        true
    }

    fn widely_held_if_voter(&mut self, cx: &Context<'_>) -> Option<VersionVector> {
        let weight = self.consensus.rounds(cx).previous().weight(&self.me);
        (weight > 0).then(|| widely_held(cx, &self.me))
    }

    /// All that is held here, if the live members could decide on it, and this peer is one of its voters. Proposing what only
    /// members that are gone could decide would cost a round.
    fn decidable(&mut self, cx: &Context<'_>) -> Option<VersionVector> {
        let live = cx.live_members();
        let patient = self.patience(cx).undecided;
        let view = cx.set.fold.log().version().clone();
        let previous = self.consensus.rounds(cx).previous().clone();
        let outline = cx.set.fold.outline(&view);
        let backed = previous.backs(&self.rules, &outline, live.iter());
        let could = backed || patient && previous.decides(&self.rules, &outline, live.iter());
        (could && previous.may_vote(&outline, &self.me)).then_some(view)
    }

    pub(crate) fn on_want_frontier(&mut self, cx: &mut Context<'_>, from: PeerId, name: Hash) {
        let Some(proposal) = self.consensus.proposal(&name).cloned() else { return };
        cx.net.send(from, &Message::Frontier(Box::new(proposal)));
        // Without the proposal `from` took those for strangers that are voters only by it, and dropped their votes.
        let rounds = self.consensus.rounds(cx);
        let by_new_voter = |vote: &Vote| vote.frontier == name && rounds.previous().weight(&vote.voter) == 0;
        let votes: Vec<Vote> = rounds.telling().into_iter().filter(by_new_voter).collect();
        send_votes(cx, from, &votes);
    }

    /// Asks `peer` for frontiers that votes name and that are not known, a few at a time.
    pub(super) fn request_frontiers(&mut self, cx: &mut Context<'_>, peer: PeerId, named: BTreeSet<Hash>) {
        let rounds = self.consensus.rounds(cx);
        let unknown: Vec<Hash> = named.into_iter().filter(|name| rounds.frontier(name).is_none()).collect();
        for name in unknown.into_iter().take(REQUESTS_AT_ONCE) {
            cx.net.request(peer, Request::Frontier { name });
        }
    }

    pub(crate) fn on_frontier(&mut self, cx: &mut Context<'_>, from: PeerId, proposal: Proposal) {
        if !self.is_on() || cx.joining != Joining::CaughtUp {
            return;
        }
        let name = proposal.frontier.name();
        let requested = self.peers.take_requested(&from, &name);
        if !requested && !self.consensus.rounds(cx).open_questions().contains(&name) {
            return;
        }
        if !proposal.is_whole() {
            return cx.net.strike(from, "a frontier that is not whole".to_owned());
        }
        if self.consensus.introduce(cx, proposal) {
            self.look_for_decision(cx);
        }
    }
}

pub(super) fn send_votes(cx: &mut Context<'_>, to: PeerId, votes: &[Vote]) {
    for votes in votes.chunks(super::votes::VOTES_MAX) {
        cx.net.send(to, &Message::Votes { votes: votes.to_vec() });
    }
}

/// Whether `proposal`, once final, would exclude something that is held here.
fn would_exclude(cx: &Context<'_>, proposal: &Proposal) -> bool {
    let (view, number) = (proposal.view(), cx.set.fold.epochs().number());
    let mut records = cx.set.fold.log().records();
    records.any(|r| r.entry.epoch() < number && !view.contains(&r.entry.author(), r.entry.seq()))
}

/// The entries that voters with more than two thirds of the connected weight hold, as far as this peer knows. A proposal of
/// these can get a quorum at once, while one of all that is held here would wait for what others lack.
fn widely_held(cx: &Context<'_>, me: &PeerId) -> VersionVector {
    let version = cx.set.fold.log().version();
    let previous = &cx.set.fold.epochs().newest().frontier;
    let others = cx.held_by_peers().map(|(peer, held)| (previous.weight(&peer), held));
    let voters: Vec<(u64, &VersionVector)> =
        others.chain([(previous.weight(me), version)]).filter(|(weight, _)| *weight > 0).collect();
    let positions =
        |author: &PeerId| held_by_two_thirds(voters.iter().map(|(weight, held)| (held.count(author), *weight)));
    version.iter().map(|(author, count)| (author, count.min(positions(&author)))).collect()
}

/// The largest count that holders of more than two thirds of the weight have reached, given each one's count and weight.
fn held_by_two_thirds(counts: impl Iterator<Item = (u32, u64)>) -> u32 {
    let mut counts: Vec<(u32, u64)> = counts.collect();
    let all: u128 = counts.iter().map(|(_, weight)| u128::from(*weight)).sum();
    counts.sort_unstable_by_key(|(count, _)| core::cmp::Reverse(*count));
    let mut sum = 0;
    let enough = counts.into_iter().find(|(_, weight)| {
        sum += u128::from(*weight);
        sum * 3 > all * 2
    });
    enough.map_or(u32::MAX, |(count, _)| count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_hold_what_the_least_of_them_holds() {
        assert_eq!(
            held_by_two_thirds([(5, 1), (9, 1), (7, 1)].into_iter()),
            5,
            "two of three are not more than two thirds"
        );
        assert_eq!(held_by_two_thirds([(5, 1), (9, 1), (7, 1), (2, 1)].into_iter()), 5);
        assert_eq!(held_by_two_thirds([(0, 1), (9, 5)].into_iter()), 9);
        assert_eq!(held_by_two_thirds(core::iter::empty()), u32::MAX);
    }

    #[test]
    fn a_rejection_is_kept_until_the_set_changes_or_for_good() {
        let (one, other) = (VersionVector::default(), [(PeerId([1; 32]), 3)].into_iter().collect());
        let lacks = Rejection { version: one.clone(), may_pass: true };
        assert!(lacks.holds(&one) && !lacks.holds(&other));
        assert!(Rejection { version: one, may_pass: false }.holds(&other));
    }
}
