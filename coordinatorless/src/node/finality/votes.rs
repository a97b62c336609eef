//! Votes: those of others are checked, counted, forwarded and sent again. The own vote is signed in `vote_record`.
//!
//! A vote that is new to this peer is forwarded to all other neighbours at once, with one exception: of a message that holds
//! a vote with a wrong signature no vote is forwarded. Forwarded votes may be lost, too. Both are repaired in the same way:
//! while a round lasts, the peer sends a random neighbour all votes that count, again and again.

use std::collections::BTreeSet;

use murmur_collectives::{Hash, Heard, PeerId, Vote};

use super::{
    Context, Finality, Joining,
    proposals::{REQUESTS_AT_ONCE, send_votes},
};
use crate::Message;

/// Votes in one message, at most.
pub(super) const VOTES_MAX: usize = 1024;

impl Finality {
    /// Signs whatever votes the rounds allow now; then one more vote may have decided.
    pub(super) fn cast_votes(&mut self, cx: &mut Context<'_>) {
        while let Some((ballot, name)) = self.consensus.rounds(cx).vote() {
            self.cast(cx, ballot, name);
        }
        self.look_for_decision(cx);
    }

    /// Tells a random neighbour again what counts in the present round, and asks it for what is not known.
    pub(super) fn retell_votes(&mut self, cx: &mut Context<'_>) {
        let votes = self.consensus.rounds(cx).telling();
        let peers: Vec<PeerId> = cx.net.peers().collect();
        if !peers.is_empty() {
            let peer = peers[cx.core().below(peers.len())];
            let named = self.consensus.rounds(cx).open_questions();
            self.request_frontiers(cx, peer, named);
            send_votes(cx, peer, &votes);
        }
    }

    /// Sends votes to all neighbours but the one they came from.
    pub(super) fn forward_votes(&self, cx: &mut Context<'_>, from: Option<PeerId>, votes: &[Vote]) {
        let targets: Vec<PeerId> = cx.net.peers().filter(|peer| Some(*peer) != from).collect();
        targets.into_iter().for_each(|peer| cx.net.send(peer, &Message::Votes { votes: votes.to_vec() }));
    }

    /// A neighbour sent votes. In this order:
    /// 1. A neighbour that still votes on an epoch that is decided here gets the proof of the decision. A peer that has not
    ///    caught up sends it, too, because it may be the only one that has the proof, and does none of the other steps.
    /// 2. Each vote is checked and counted alone. The first with a wrong signature is an offence, and the rest of the message
    ///    is dropped. The votes before it stay counted but are not forwarded now: [`Finality::retell_votes`] sends them later.
    /// 3. While weights fade, frontiers are requested that count votes of peers that are no voters yet.
    /// 4. The prevotes are counted together: they may form a quorum although step 2 refused some of them
    ///    ([`Rounds::hear_together`](murmur_collectives::Rounds::hear_together)). A wrong signature ends the message as in step 2.
    /// 5. New votes are forwarded, and frontiers that they name and that are unknown are requested. This comes before step 6,
    ///    so that the neighbours have the votes that lead to what this peer does next.
    /// 6. The peer goes to the round that enough voters have reached, and looks whether the epoch is decided.
    pub(crate) fn on_votes(&mut self, cx: &mut Context<'_>, from: PeerId, votes: &[Vote]) {
        if votes.len() > VOTES_MAX {
            return cx.net.strike(from, format!("{} votes at once", votes.len()));
        }
        if !self.is_on() {
            return;
        }
        self.show_decision(cx, from, votes);
        if cx.joining != Joining::CaughtUp {
            return;
        }
        let mut news = Vec::new();
        for vote in votes {
            match self.hear_vote(cx, from, vote) {
                Ok(Heard::New) => news.push(vote.clone()),
                Ok(Heard::Known | Heard::Refused) => {}
                Err(reason) => return cx.net.strike(from, reason),
            }
        }
        let run = cx.set.fold.run();
        self.request_unvoted_frontiers(cx, from, votes);
        if let Err(voter) = self.consensus.rounds(cx).hear_together(votes, |vote| vote.is_signed(run)) {
            return cx.net.strike(from, format!("a vote in the name of {voter}"));
        }
        if news.is_empty() {
            return;
        }
        self.forward_votes(cx, Some(from), &news);
        self.request_frontiers(cx, from, news.iter().map(|vote| vote.frontier).collect());
        if self.consensus.rounds(cx).follow() && self.pacemaker.is_running() {
            self.begin_round(cx);
        }
        self.look_for_decision(cx);
    }

    /// Takes one vote. The error is what its sender did wrong.
    fn hear_vote(&mut self, cx: &mut Context<'_>, from: PeerId, vote: &Vote) -> Result<Heard, String> {
        let run = cx.set.fold.run();
        let rounds = self.consensus.rounds(cx);
        if vote.epoch > rounds.epoch() {
            // Its sender votes on what follows a frontier that is not final here.
            self.seek_epoch(cx, from, vote.epoch - 1);
            return Ok(Heard::Known);
        }
        if !rounds.is_news(vote) {
            return Ok(Heard::Known);
        }
        if !vote.is_signed(run) {
            return Err("a vote that its voter did not sign".to_owned());
        }
        Ok(rounds.hear(vote.clone()))
    }

    /// Asks for frontiers that count votes of peers that are no voters yet. When weights fade, such votes may decide; but
    /// only the frontier itself says whose do. Asked is only for what trusted authors have signed: anybody may sign votes
    /// for frontiers that do not exist.
    fn request_unvoted_frontiers(&mut self, cx: &mut Context<'_>, from: PeerId, votes: &[Vote]) {
        if !cx.is_fading(&self.rules) {
            return;
        }
        let (run, epoch) = (cx.set.fold.run(), self.consensus.rounds(cx).epoch());
        let mut names: BTreeSet<Hash> = BTreeSet::new();
        for vote in votes.iter().filter(|vote| vote.epoch == epoch) {
            let known = names.contains(&vote.frontier) || self.consensus.rounds(cx).frontier(&vote.frontier).is_some();
            let fold = &cx.set.fold;
            if !known && fold.is_trusted(&vote.voter, fold.log().version()) && vote.is_signed(run) {
                names.insert(vote.frontier);
            }
        }
        self.peers.request(&from, names.iter().take(REQUESTS_AT_ONCE));
        self.request_frontiers(cx, from, names);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmur_collectives::Ballot;

    use super::super::Event;
    use super::super::bench::{Bench, all_say, exchange, voters};
    use super::*;
    use crate::{Output, Time};

    fn epochs(benches: &[Bench]) -> Vec<u32> {
        benches.iter().map(|bench| bench.set.fold.epochs().number()).collect()
    }

    #[test]
    fn voters_that_hold_the_same_decide_at_once_one_epoch_after_the_other() {
        let (mut benches, mut said) = voters(4);
        for epoch in 1..=3 {
            all_say(&mut benches, &mut said, Bench::update);
            exchange(&mut benches, Time(u64::from(epoch) * 1_000_000));
            assert_eq!(epochs(&benches), [epoch; 4]);
            for bench in &mut benches {
                assert!(matches!(bench.raised().as_slice(), [Event::Finalized]));
                assert_eq!(bench.finality.certificates().len(), epoch as usize);
            }
        }
    }

    #[test]
    fn too_little_work_and_too_few_voters_decide_nothing() {
        let (mut benches, mut said) = voters(4);
        exchange(&mut benches, Time(1));
        assert!(benches.iter().all(|bench| !bench.finality.pacemaker.is_running()));
        all_say(&mut benches, &mut said, Bench::update);
        benches.truncate(2);
        (0..30).for_each(|n| exchange(&mut benches, Time(n * 1_000_000)));
        assert_eq!(epochs(&benches), [0, 0]);
        assert!(benches.iter().all(|bench| bench.finality.pacemaker.is_running()));
    }

    #[test]
    fn a_vote_that_was_lost_is_told_again() {
        // Of three voters all have to vote, so the first round decides nothing unless the lost vote comes after all.
        let (mut benches, mut said) = voters(3);
        all_say(&mut benches, &mut said, Bench::update);
        benches.iter_mut().for_each(Bench::settle);
        let lost: Vec<Output> = benches.iter_mut().flat_map(Bench::outputs).collect();
        assert!(lost.iter().any(|output| matches!(output, Output::Send { .. })));
        (1..6).for_each(|n| exchange(&mut benches, Time(n * 500_000)));
        assert_eq!(epochs(&benches), [1; 3]);
        assert!(benches.iter().all(|bench| bench.finality.certificates()[0].round == 0));
    }

    #[test]
    fn a_vote_is_recorded_before_it_is_sent() {
        let (mut benches, mut said) = voters(1);
        benches[0].connect(PeerId([7; 32]));
        all_say(&mut benches, &mut said, Bench::update);
        benches[0].settle();
        let outputs = benches[0].outputs();
        let steps: Vec<bool> = outputs
            .iter()
            .filter(|o| !matches!(o, Output::Event(_)))
            .map(|o| matches!(o, Output::Signing { .. }))
            .collect();
        assert_eq!(steps, [true, false, true, false], "a prevote and a precommit");
    }

    #[test]
    fn a_forged_vote_is_struck_and_not_passed_on() {
        let (mut benches, _) = voters(3);
        let (victim, from) = (benches[1].id(), benches[2].id());
        let run = benches[0].set.fold.run();
        let mut forged = Vote::sign(&benches[2].core.identity, run, 1, 0, Ballot::Prevote, Hash([3; 32]));
        forged.voter = victim;
        benches[0].outputs();
        benches[0].take(Message::Votes { votes: vec![forged] }, from);
        let outputs = benches[0].outputs();
        assert!(matches!(outputs.as_slice(), [Output::Event(crate::Event::BadInput { peer, .. })] if *peer == from));
    }

    #[test]
    fn a_peer_that_has_not_caught_up_does_not_vote() {
        let (mut benches, mut said) = voters(1);
        all_say(&mut benches, &mut said, Bench::update);
        benches[0].joining = Joining::Behind;
        benches[0].settle();
        assert!(benches[0].outputs().is_empty());
    }
}
