//! The vote record: what a voter signed, durable before anyone sees the vote.
//!
//! A voter that forgot its votes might sign contradicting ones. The proposals belong to the record: if every peer that
//! knows what a locked-on frontier contains lost that, nothing could ever be decided after it. And a vote that only its
//! voter heard of can be repeated by nobody else, so that a restarted voter says its votes again.

use murmur_collectives::{Ballot, Hash, Proposal, Signing, Vote};
use rkyv::{Archive, Deserialize, Serialize, rancor};

use super::{Context, Finality};
use crate::Output;

/// The form that is stored.
#[derive(Archive, Serialize, Deserialize)]
struct Stored {
    signing: Signing,
    proposals: Vec<Proposal>,
}

/// The stored form of what a voter signed last, and of the proposals that it signed for.
pub(super) fn encode(signing: Signing, proposals: Vec<Proposal>) -> Vec<u8> {
    rkyv::to_bytes::<rancor::Error>(&Stored { signing, proposals }).expect("it serializes into memory").to_vec()
}

/// What this voter signed before the present rounds began.
#[derive(Default, Debug)]
pub(super) struct VoteRecord {
    signing: Option<Signing>,
    proposals: Vec<Proposal>,
}

impl VoteRecord {
    pub(super) fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
    }

    pub(super) fn proposals(&self) -> &[Proposal] {
        &self.proposals
    }

    pub(super) fn set_signing(&mut self, signing: Signing) {
        self.signing = Some(signing);
    }

    /// Reads a record as it is stored now, or as it was stored before proposals became a part of it.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if let Ok(Stored { signing, proposals }) = rkyv::from_bytes::<Stored, rancor::Failure>(bytes) {
            return Some(Self { signing: Some(signing), proposals });
        }
        let signing = rkyv::from_bytes::<Signing, rancor::Failure>(bytes).ok()?;
        Some(Self { signing: Some(signing), proposals: Vec::new() })
    }
}

impl Finality {
    /// Signs a vote that the rounds have recorded, and sends it to all neighbours. The record comes first: the host stores
    /// an output before it carries out the next.
    pub(super) fn cast(&mut self, cx: &mut Context<'_>, ballot: Ballot, name: Hash) {
        let rounds = self.consensus.rounds(cx);
        let (epoch, round) = (rounds.epoch(), rounds.round());
        if ballot == Ballot::Precommit {
            self.pacemaker.precommitted(cx.now());
        }
        let bytes = self.consensus.encode_record(cx);
        cx.core().outputs.push_back(Output::Signing { bytes });
        let vote = Vote::sign(&cx.net.core.identity, cx.set.fold.run(), epoch, round, ballot, name);
        self.consensus.rounds(cx).hear(vote.clone());
        self.forward_votes(cx, None, &[vote]);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_with_and_without_proposals_and_not_from_rubbish() {
        let (previous, name) = (Hash([1; 32]), Hash([2; 32]));
        let signing =
            Signing { epoch: 3, previous, round: 2, proposed: Some(name), committed: None, lock: Some((1, name)) };
        let alone = rkyv::to_bytes::<rancor::Error>(&signing).unwrap();
        assert_eq!(VoteRecord::decode(&alone).unwrap().signing, Some(signing.clone()));
        let stored = encode(signing.clone(), Vec::new());
        assert_eq!(VoteRecord::decode(&stored).unwrap().signing, Some(signing));
        assert!(VoteRecord::decode(&[]).is_none() && VoteRecord::decode(&[0xff; 300]).is_none());
    }
}
