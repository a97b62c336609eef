//! Counting votes: who decides, what gathered, what may still gather, and which round others have reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{PrevoteQuorum, Rounds};
use crate::{Ballot, Certificate, Frontier, Hash, PeerId, Signed, Vote};

impl Rounds {
    /// Takes proposals that were told together: if they gather in a later round than any known here, they count, even
    /// those whose voter said something else here or was forgotten. A faulty voter that tells everyone something else
    /// could make a lock rest on its word which nobody else may follow; told together, the proposals explain the lock.
    ///
    /// # Errors
    /// In whose name a vote among those that would count stands which `is_signed` refuses; nothing is taken then.
    pub fn hear_together(&mut self, votes: &[Vote], is_signed: impl Fn(&Vote) -> bool) -> Result<(), PeerId> {
        let known = self.best.as_ref().map(|best| best.round);
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
        self.best = Some(PrevoteQuorum { round, frontier, votes });
        Ok(())
    }

    /// The certificate, once the epoch is decided.
    pub fn certificate(&self) -> Option<Certificate> {
        let rounds: BTreeSet<u32> =
            self.votes.values().flat_map(|votes| votes.keys()).map(|(round, _)| *round).collect();
        let decided = |round: &u32| Some((*round, self.gathered(*round, Ballot::Precommit)?));
        let (round, name) = rounds.iter().find_map(decided)?;
        let votes = self.votes_for(round, Ballot::Precommit, &name);
        let signed = votes.map(|vote| Signed { voter: vote.voter, signature: vote.signature }).collect();
        let frontier = self.frontiers.get(&name)?.as_ref().clone();
        Some(Certificate { frontier, round, signed })
    }

    /// Goes to the newest round that more than a third of the weight has reached: of the voters, or, when weights fade, of
    /// those who did the work of a frontier that was accepted. Whether that changed anything.
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

    /// Whether these votes decide. What only the work stands behind counts if it was checked here, as a stranger may claim any,
    /// and after long.
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

    /// What a deciding weight voted for.
    pub(super) fn gathered(&self, round: u32, ballot: Ballot) -> Option<Hash> {
        let decided = |(name, frontier): &(&Hash, &Arc<Frontier>)| {
            let voters = self.votes_for(round, ballot, name).map(|vote| &vote.voter);
            self.decides(name, frontier, voters)
        };
        self.frontiers.iter().find(decided).map(|(name, _)| *name)
    }

    /// Whether no frontier can gather in the present round any more, whoever has yet to propose one of those `there` are.
    pub fn is_split(&self, there: impl Fn(&PeerId) -> bool) -> bool {
        let place = (self.round, Ballot::Prevote);
        let spoke = |peer: &PeerId| self.votes.get(peer).is_some_and(|votes| votes.contains_key(&place));
        let can_gather = |name: &Hash| {
            let Some(frontier) = self.frontiers.get(name) else { return true };
            let all = self.previous.voters.iter().chain(&frontier.voters).map(|voter| &voter.peer);
            let silent: BTreeSet<&PeerId> = all.filter(|peer| !spoke(peer) && there(peer)).collect();
            let voters = self.votes_for(self.round, Ballot::Prevote, name).map(|vote| &vote.voter);
            self.previous.decides(&self.rules, frontier, voters.chain(silent.iter().copied()))
        };
        let proposed: BTreeSet<Hash> =
            self.votes.values().filter_map(|votes| votes.get(&place)).map(|vote| vote.frontier).collect();
        !proposed.is_empty() && !proposed.iter().any(can_gather)
    }

    /// Remembers the newest round in which proposals gathered.
    pub(super) fn gather(&mut self) {
        let from = self.best.as_ref().map_or(0, |best| best.round + 1);
        let all = self.votes.values().flat_map(|votes| votes.keys());
        let rounds: BTreeSet<u32> = all.map(|(round, _)| *round).filter(|round| *round >= from).collect();
        for round in rounds.into_iter().rev() {
            if let Some(frontier) = self.gathered(round, Ballot::Prevote) {
                let votes = self.votes_for(round, Ballot::Prevote, &frontier).cloned().collect();
                self.best = Some(PrevoteQuorum { round, frontier, votes });
                return;
            }
        }
    }
}
