//! What a voter signed, and must not forget, whatever happens to it. It is durable before anyone sees it.
//!
//! Who forgot what it signed might vote twice. If all who know what a frontier names forgot that, nothing could ever follow
//! for those who committed to it. And a vote that only its voter heard of can be said again by nobody else.

use std::collections::BTreeSet;

use murmur_collectives::{Ballot, Hash, Proposal, Rounds, Signing, Vote};
use rkyv::{Archive, Deserialize, Serialize, rancor};

use super::Node;
use crate::Output;

/// What a voter signed last, and the frontiers that it signed for.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct Vow {
    pub(super) signing: Signing,
    pub(super) proposals: Vec<Proposal>,
}

impl Vow {
    /// Reads it as it was stored, or as it was before frontiers were a part of it.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let alone = || rkyv::from_bytes::<Signing, rancor::Failure>(bytes).ok();
        let vow = rkyv::from_bytes::<Self, rancor::Failure>(bytes).ok();
        vow.or_else(|| Some(Self { signing: alone()?, proposals: Vec::new() }))
    }

    fn encode(&self) -> Vec<u8> {
        rkyv::to_bytes::<rancor::Error>(self).expect("it serializes into memory").to_vec()
    }
}

impl Node {
    /// The decision under way; at first, after a restart, it knows what was signed before.
    pub(super) fn rounds(&mut self) -> &mut Rounds {
        let newest = &self.set.fold.epochs().newest().frontier;
        let finality = &mut self.finality;
        finality.rounds.get_or_insert_with(|| {
            let mut rounds = Rounds::new(finality.rules.clone(), finality.me, newest.clone(), finality.signing.clone());
            let known = finality.vowed.iter().filter(|proposal| rounds.introduce(proposal.frontier.clone()));
            finality.proposals.extend(known.map(|proposal| (proposal.frontier.name(), proposal.clone())));
            let (run, epoch) = (self.set.fold.run(), rounds.epoch());
            let said = |(round, ballot, name)| Vote::sign(&self.core.identity, run, epoch, round, ballot, name);
            for vote in rounds.signed().map(said).collect::<Vec<_>>() {
                rounds.hear(vote);
            }
            rounds
        })
    }

    /// Signs a vote and says it.
    pub(super) fn say_vote(&mut self, ballot: Ballot, name: Hash) {
        let (epoch, round) = (self.rounds().epoch(), self.rounds().round());
        if ballot == Ballot::Precommit {
            self.finality.committed_at = self.core.now;
        }
        let signing = self.rounds().signing().clone();
        let names: BTreeSet<Hash> = self.rounds().signed().map(|(_, _, name)| name).collect();
        let proposals = names.iter().filter_map(|name| self.finality.proposals.get(name)).cloned().collect();
        self.core.outputs.push_back(Output::Signing { bytes: Vow { signing, proposals }.encode() });
        let vote = Vote::sign(&self.core.identity, self.set.fold.run(), epoch, round, ballot, name);
        self.rounds().hear(vote.clone());
        self.pass_on(None, &[vote]);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_read_with_and_without_frontiers_and_not_from_rubbish() {
        let (previous, name) = (Hash([1; 32]), Hash([2; 32]));
        let signing =
            Signing { epoch: 3, previous, round: 2, proposed: Some(name), committed: None, lock: Some((1, name)) };
        let alone = rkyv::to_bytes::<rancor::Error>(&signing).unwrap();
        assert_eq!(Vow::decode(&alone).unwrap().signing, signing);
        let vow = Vow { signing: signing.clone(), proposals: Vec::new() }.encode();
        assert_eq!(Vow::decode(&vow).unwrap().signing, signing);
        assert!(Vow::decode(&[]).is_none() && Vow::decode(&[0xff; 300]).is_none());
    }
}
