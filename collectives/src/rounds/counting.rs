//! Counting votes: quorums, certificates, rounds that can still decide, and the round that others have reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{PrevoteQuorum, Rounds};
use crate::{Ballot, Certificate, Frontier, Hash, PeerId, Signed, Vote};

impl Rounds {
    /// Takes prevotes that came in one message. If they form a quorum in a later round than any quorum known here, it counts as
    /// a whole, even if it contains votes that [`Rounds::hear`] refused because their voter had signed something else.
    ///
    /// A faulty voter that signs different prevotes for different peers could otherwise lock one of them by a quorum that no
    /// other peer can count. The votes of that quorum, sent together, let the others follow.
    ///
    /// # Errors
    /// The voter in whose name a vote stands that `is_signed` refuses; nothing changed. Only votes that would count are checked.
    pub fn hear_together(&mut self, votes: &[Vote], is_signed: impl Fn(&Vote) -> bool) -> Result<(), PeerId> {
        let known = self.quorum.as_ref().map(|quorum| quorum.round);
        let mut groups: BTreeMap<(u32, Hash), BTreeMap<PeerId, &Vote>> = BTreeMap::new();
        for vote in votes.iter().filter(|v| v.epoch == self.epoch() && v.ballot == Ballot::Prevote) {
            if known.is_none_or(|known| vote.round > known) {
                groups.entry((vote.round, vote.frontier)).or_default().insert(vote.voter, vote);
            }
        }
        let decides = |((_, name), votes): &(&(u32, Hash), &BTreeMap<PeerId, &Vote>)| {
            let known = self.frontiers.get(name);
            known.is_some_and(|frontier| self.decides(name, frontier, votes.keys()))
        };
        let Some((&(round, frontier), votes)) = groups.iter().rev().find(decides) else { return Ok(()) };
        let heard = |vote: &Vote| self.votes.get(&vote.voter).and_then(|votes| votes.get(&(round, vote.ballot)));
        if let Some(forged) = votes.values().find(|vote| heard(vote) != Some(vote) && !is_signed(vote)) {
            return Err(forged.voter);
        }
        let votes = votes.values().map(|vote| (*vote).clone()).collect();
        self.quorum = Some(PrevoteQuorum { round, frontier, votes });
        Ok(())
    }

    /// The certificate, once the epoch is decided.
    pub fn certificate(&self) -> Option<Certificate> {
        let rounds: BTreeSet<u32> =
            self.votes.values().flat_map(|votes| votes.keys()).map(|(round, _)| *round).collect();
        let decided = |round: &u32| Some((*round, self.decided_in(*round, Ballot::Precommit)?));
        let (round, name) = rounds.iter().find_map(decided)?;
        let votes = self.votes_for(round, Ballot::Precommit, &name);
        let signed = votes.map(|vote| Signed { voter: vote.voter, signature: vote.signature }).collect();
        let frontier = self.frontiers.get(&name)?.as_ref().clone();
        Some(Certificate { frontier, round, signed })
    }

    /// Skips to the newest round that more than a third of the weight has reached: an honest voter is among them. The weight is
    /// that of the voters or, when weights fade, that of the work in an accepted frontier. True if the round changed.
    pub fn follow(&mut self) -> bool {
        let fades_at = self.previous.fades_at(&self.rules);
        let checked = self.accepted.iter().filter_map(|name| self.frontiers.get(name));
        let faded = checked.filter(|frontier| frontier.clock >= fades_at);
        let reached = faded.chain([&self.previous]).filter_map(|frontier| self.reached(frontier)).max();
        let behind = reached.is_some_and(|round| round > self.round);
        self.round = reached.map_or(self.round, |round| round.max(self.round));
        behind
    }

    /// The newest round that more than a third of the weight of a frontier's voters has reached.
    fn reached(&self, frontier: &Frontier) -> Option<u32> {
        let all: u128 = frontier.voters.iter().map(|voter| u128::from(voter.weight)).sum();
        let newest = |peer: &PeerId| self.votes.get(peer)?.last_key_value().map(|((round, _), _)| *round);
        let mut reached: Vec<(u32, u128)> =
            frontier.voters.iter().filter_map(|v| Some((newest(&v.peer)?, u128::from(v.weight)))).collect();
        reached.sort_unstable_by_key(|(round, _)| core::cmp::Reverse(*round));
        let mut sum = 0;
        let enough = reached.into_iter().find(|(_, weight)| {
            sum += weight;
            3 * sum > all
        });
        enough.map(|(round, _)| round)
    }

    /// Whether these votes decide. Votes that only work stands behind count if this peer has checked that work, since any
    /// stranger may claim some, and if it has waited long enough.
    fn decides<'a>(&self, name: &Hash, next: &Frontier, voters: impl Iterator<Item = &'a PeerId> + Clone) -> bool {
        let decided = self.previous.decides(&self.rules, next, voters.clone());
        decided
            && (self.accepted.contains(name) && self.patience.undecided
                || self.previous.backs(&self.rules, next, voters))
    }

    pub(super) fn votes_for<'a>(
        &'a self,
        round: u32,
        ballot: Ballot,
        name: &'a Hash,
    ) -> impl Iterator<Item = &'a Vote> + Clone {
        let here = self.votes.values().filter_map(move |votes| votes.get(&(round, ballot)));
        here.filter(move |vote| vote.frontier == *name)
    }

    /// The frontier for which a deciding weight voted in this round.
    pub(super) fn decided_in(&self, round: u32, ballot: Ballot) -> Option<Hash> {
        let decided = |(name, frontier): &(&Hash, &Arc<Frontier>)| {
            let voters = self.votes_for(round, ballot, name).map(|vote| &vote.voter);
            self.decides(name, frontier, voters)
        };
        self.frontiers.iter().find(decided).map(|(name, _)| *name)
    }

    /// Whether no frontier can get a prevote quorum in the present round any more, even if all voters that are `live` and have
    /// not prevoted yet agreed.
    pub fn is_split(&self, live: impl Fn(&PeerId) -> bool) -> bool {
        let prevote = (self.round, Ballot::Prevote);
        let has_prevoted = |peer: &PeerId| self.votes.get(peer).is_some_and(|votes| votes.contains_key(&prevote));
        let can_decide = |name: &Hash| {
            let Some(frontier) = self.frontiers.get(name) else { return true };
            let all = self.previous.voters.iter().chain(&frontier.voters).map(|voter| &voter.peer);
            let silent: BTreeSet<&PeerId> = all.filter(|peer| !has_prevoted(peer) && live(peer)).collect();
            let voters = self.votes_for(self.round, Ballot::Prevote, name).map(|vote| &vote.voter);
            self.previous.decides(&self.rules, frontier, voters.chain(silent.iter().copied()))
        };
        let proposed: BTreeSet<Hash> =
            self.votes.values().filter_map(|votes| votes.get(&prevote)).map(|vote| vote.frontier).collect();
        !proposed.is_empty() && !proposed.iter().any(can_decide)
    }

    /// Looks for a prevote quorum in a later round than the newest one known, and keeps it.
    pub(super) fn update_quorum(&mut self) {
        let from = self.quorum.as_ref().map_or(0, |quorum| quorum.round + 1);
        let all = self.votes.values().flat_map(|votes| votes.keys());
        let rounds: BTreeSet<u32> = all.map(|(round, _)| *round).filter(|round| *round >= from).collect();
        for round in rounds.into_iter().rev() {
            if let Some(frontier) = self.decided_in(round, Ballot::Prevote) {
                let votes = self.votes_for(round, Ballot::Prevote, &frontier).cloned().collect();
                self.quorum = Some(PrevoteQuorum { round, frontier, votes });
                return;
            }
        }
    }
}
