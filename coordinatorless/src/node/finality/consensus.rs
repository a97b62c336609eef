//! The epoch under decision: votes by round, and the proposals they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use murmur_collectives::{Hash, PeerId, Proposal, Rounds, Rules, Vote};

use super::{
    Context,
    proposals::Rejection,
    vote_record::{self, VoteRecord},
};

/// Votes and proposals of the epoch that follows the newest final one.
#[derive(Debug)]
pub(super) struct Consensus {
    rules: Arc<Rules>,
    me: PeerId,
    /// None until something is to be decided after the newest frontier.
    rounds: Option<Rounds>,
    /// What this voter signed before the present rounds: before a restart, or in an epoch that is over.
    record: VoteRecord,
    proposals: BTreeMap<Hash, Proposal>,
    rejections: BTreeMap<Hash, Rejection>,
}

impl Consensus {
    pub(super) fn new(rules: Arc<Rules>, me: PeerId, stored: Option<&[u8]>) -> Self {
        let record = stored.and_then(VoteRecord::decode).unwrap_or_default();
        Self { rules, me, rounds: None, record, proposals: BTreeMap::new(), rejections: BTreeMap::new() }
    }

    /// The rounds of the epoch under decision; begun when first asked for.
    ///
    /// After a restart they know what was signed before, and hear the own votes again: a voter that forgot its votes might
    /// sign others, and a vote that no other peer received could be repeated by nobody else.
    pub(super) fn rounds(&mut self, cx: &Context<'_>) -> &mut Rounds {
        let Self { rules, me, rounds, record, proposals, .. } = self;
        rounds.get_or_insert_with(|| {
            let newest = &cx.set.fold.epochs().newest().frontier;
            let mut rounds = Rounds::new(rules.clone(), *me, newest.clone(), record.signing().cloned());
            let known = record.proposals().iter().filter(|proposal| rounds.introduce(proposal.frontier.clone()));
            proposals.extend(known.map(|proposal| (proposal.frontier.name(), proposal.clone())));
            let (run, epoch) = (cx.set.fold.run(), rounds.epoch());
            let said = |(round, ballot, name)| Vote::sign(&cx.net.core.identity, run, epoch, round, ballot, name);
            for vote in rounds.signed().map(said).collect::<Vec<_>>() {
                rounds.hear(vote);
            }
            rounds
        })
    }

    /// The same, if they have begun.
    pub(super) fn begun(&self) -> Option<&Rounds> {
        self.rounds.as_ref()
    }

    /// The vote record as it has to be stored before the newest vote is sent.
    pub(super) fn encode_record(&mut self, cx: &Context<'_>) -> Vec<u8> {
        let rounds = self.rounds(cx);
        let signing = rounds.signing().clone();
        let names: BTreeSet<Hash> = rounds.signed().map(|(_, _, name)| name).collect();
        let proposals = names.iter().filter_map(|name| self.proposals.get(name)).cloned().collect();
        vote_record::encode(signing, proposals)
    }

    pub(super) fn proposal(&self, name: &Hash) -> Option<&Proposal> {
        self.proposals.get(name)
    }

    /// Makes a proposal known, so that votes for it count. False if it cannot follow the newest frontier, or too many are
    /// known. Forgets those that the rounds have let go.
    pub(super) fn introduce(&mut self, cx: &Context<'_>, proposal: Proposal) -> bool {
        let known = self.rounds(cx).introduce(proposal.frontier.clone());
        if known {
            self.proposals.insert(proposal.frontier.name(), proposal);
            let Self { rounds, proposals, rejections, .. } = self;
            let counts = |name: &Hash| rounds.as_ref().is_some_and(|rounds| rounds.frontier(name).is_some());
            proposals.retain(|name, _| counts(name));
            rejections.retain(|name, _| counts(name));
        }
        known
    }

    pub(super) fn rejection(&self, name: &Hash) -> Option<&Rejection> {
        self.rejections.get(name)
    }

    pub(super) fn reject(&mut self, name: Hash, rejection: Rejection) {
        self.rejections.insert(name, rejection);
    }

    /// In a later round a proposal may be accepted that was not before.
    pub(super) fn forget_rejections(&mut self) {
        self.rejections.clear();
    }

    /// Whether another voter proposed something in the present round that may still become acceptable.
    pub(super) fn has_acceptable_offer(&self) -> bool {
        let hopeful = |name: &Hash| self.rejections.get(name).is_none_or(Rejection::may_pass);
        self.rounds.as_ref().is_some_and(|rounds| rounds.proposed_now().any(|name| hopeful(&name)))
    }

    /// The epoch is over.
    pub(super) fn end_epoch(&mut self) {
        // One that abstained had signed in another history. That record stays: it must not sign there again either.
        if let Some(rounds) = self.rounds.take().filter(|rounds| !rounds.abstains()) {
            self.record.set_signing(rounds.signing().clone());
        }
        self.proposals.clear();
        self.rejections.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, all_say, voters};
    use crate::Output;

    #[test]
    fn a_restarted_voter_knows_what_it_signed_and_says_it_again() {
        let (mut benches, mut said) = voters(4);
        all_say(&mut benches, &mut said, Bench::update);
        let now = crate::Time(10_000_000);
        benches[0].settle();
        benches[0].core.now = now;
        benches[0].settle(); // its turn has come, whatever its rank
        let stored = benches[0].outputs().into_iter().find_map(|output| {
            let Output::Signing { bytes } = output else { return None };
            Some(bytes)
        });
        let mut again = Bench::among(0, 4, stored.as_deref());
        said.iter().for_each(|entry| again.insert(entry));
        let (signed, told) = again.run(|finality, cx| {
            let rounds = finality.consensus.rounds(cx);
            (rounds.signed().collect::<Vec<_>>(), rounds.telling().len())
        });
        let [(0, _, name)] = signed.as_slice() else { panic!("{signed:?}") };
        assert_eq!(told, 1);
        assert!(again.finality.consensus.proposal(name).is_some_and(|proposal| proposal.is_whole()));
        again.core.now = now;
        again.settle();
        assert!(again.outputs().is_empty(), "it does not sign twice in one round");
    }
}
