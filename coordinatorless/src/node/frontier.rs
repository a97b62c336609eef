//! Making work final: votes on frontiers, their certificates, and what follows when one is decided.
//!
//! The rule and why it is safe stand in [`murmur_collectives::Frontier`]. This file decides when to say something: a
//! voter offers the set it holds when its turn comes (ranks are drawn anew each round) unless it heard an acceptable
//! offer, which it echoes; a round that does not decide is followed by a longer one. Training waits for none of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Node, overdue::Getting, vow::Vow};
use crate::{Event, Message, Time};
use murmur_collectives::{
    Certificate, Hash, Heard, Judgement, PeerId, Proposal, Rounds, Rules, Signing, VersionVector, Vote,
};

/// Votes in one message, at most.
const VOTES_MAX: usize = 1024;

/// A round lasts at most this many times the first.
const ROUND_GROWTH_MAX: u32 = 10;

/// How often what was heard is told again during the first round.
const TELLS_A_ROUND: u32 = 3;

/// From this round on a frontier is accepted although it leaves out, for good, something that is held here.
const INSISTS_UNTIL_ROUND: u32 = 3;

/// With more epochs' work than this not final, none is added: memory and disk stay bounded.
const OPEN_EPOCHS_MAX: u64 = 12;

/// As much again may be added after this many rounds without a decision, up to so many times as much. A quarter of all work
/// not final is then of those who had reached the bound and are gone, at most: those who are left outweigh them.
const ROUNDS_UNTIL_MORE: u32 = 4;
const MORE_MAX: u32 = 4;

/// The state of making work final.
#[derive(Debug)]
pub(super) struct Finality {
    pub(super) rules: Arc<Rules>,
    pub(super) me: PeerId,
    pub(super) rounds: Option<Rounds>,
    /// When the present round began here; not before enough work was done.
    round_began: Option<Time>,
    pub(super) proposals: BTreeMap<Hash, Proposal>,
    /// Not accepted when the set was this, and whether that may still change.
    refused: BTreeMap<Hash, (VersionVector, bool)>,
    /// Proofs of all final frontiers, from the first on.
    pub(super) chain: Vec<Certificate>,
    /// Proofs of frontiers after those, as long as the newest is still asked for.
    pub(super) learned: Vec<Certificate>,
    /// Decided, but not held yet.
    pub(super) pending: Option<(Certificate, Proposal)>,
    /// How it stands with getting that.
    pub(super) getting: Getting,
    pub(super) signing: Option<Signing>,
    /// What was signed for before a restart.
    pub(super) vowed: Vec<Proposal>,
    pub(super) sought_until: Time,
    offered_in: Option<u32>,
    /// When what was heard is told to a neighbour again: votes may be lost.
    tell_at: Time,
    stalled: bool,
}

impl Finality {
    pub(super) fn new(rules: &Rules, me: PeerId, signing: Option<&[u8]>) -> Self {
        let (signing, vowed) = signing.and_then(Vow::decode).map(|vow| (vow.signing, vow.proposals)).unzip();
        Self {
            rules: Arc::new(rules.clone()),
            me,
            rounds: None,
            round_began: None,
            proposals: BTreeMap::new(),
            refused: BTreeMap::new(),
            chain: Vec::new(),
            learned: Vec::new(),
            pending: None,
            getting: Getting::default(),
            signing,
            vowed: vowed.unwrap_or_default(),
            sought_until: Time::default(),
            offered_in: None,
            tell_at: Time::default(),
            stalled: false,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.rules.frontier_every_tokens > 0
    }

    /// Forgets the decision under way: the epoch is over.
    fn begin_epoch(&mut self) {
        // Who abstained had signed in another history, and must not forget that.
        if let Some(rounds) = self.rounds.take().filter(|rounds| !rounds.abstains()) {
            self.signing = Some(rounds.signing().clone());
        }
        (self.round_began, self.pending, self.offered_in, self.stalled) = (None, None, None, false);
        self.getting = Getting::default();
        self.proposals.clear();
        self.refused.clear();
        self.learned.clear();
    }
}

impl Node {
    /// Certificates of all final frontiers, from the first on.
    pub fn certificates(&self) -> &[Certificate] {
        &self.finality.chain
    }

    fn round_timeout(&self) -> core::time::Duration {
        let round = self.finality.rounds.as_ref().map_or(0, Rounds::round);
        self.config.round_timeout * round.saturating_add(1).min(ROUND_GROWTH_MAX)
    }

    /// When this peer's turn to offer comes in the present round.
    fn turn_at(&self) -> Option<Time> {
        let rounds = self.finality.rounds.as_ref()?;
        let began = self.finality.round_began?;
        let turn = began + self.config.propose_stagger * rounds.rank(&self.finality.me);
        // Somebody's offer is not acceptable yet: what it lacks may be on its way.
        let hopeful = |name: &Hash| self.finality.refused.get(name).is_none_or(|(_, hope)| *hope);
        let heard = rounds.proposed_now().any(|name| hopeful(&name));
        Some(if heard { turn.max(began + self.round_timeout() / 2) } else { turn })
    }

    pub(super) fn next_final_deadline(&self) -> Option<Time> {
        let over = self.finality.round_began? + self.round_timeout();
        let offered = self.finality.rounds.as_ref().is_some_and(Rounds::has_proposed);
        let turn = self.turn_at().filter(|at| *at > self.now && !offered);
        Some(turn.map_or(over, |turn| turn.min(over)).min(self.finality.tell_at.max(self.finality.round_began?)))
    }

    /// A round that did not decide is over, a late one as soon as it is split for good; or it is time to tell again what was
    /// heard.
    pub(super) fn finality_due(&mut self) {
        let Some(began) = self.finality.round_began.filter(|_| self.catch_up.is_done()) else { return };
        let late = self.now >= began + self.round_timeout();
        if late || self.rounds().round() >= INSISTS_UNTIL_ROUND && self.rounds().is_split() {
            self.rounds().next_round();
            self.rounds().follow();
            self.finality.round_began = Some(self.now);
            self.finality.refused.clear();
            self.go_on_if_more_is_allowed();
        }
        if self.now >= self.finality.tell_at {
            self.finality.tell_at = self.now + self.config.round_timeout / TELLS_A_ROUND;
            self.tell_again();
        }
    }

    fn tell_again(&mut self) {
        let votes = self.rounds().telling();
        let peers = self.neighbours();
        if !peers.is_empty() {
            let peer = peers[self.below(peers.len())];
            let named = self.rounds().open_questions();
            self.ask_frontiers(peer, named);
            self.tell_votes(peer, &votes);
        }
    }

    fn tell_votes(&mut self, to: PeerId, votes: &[Vote]) {
        for votes in votes.chunks(VOTES_MAX) {
            self.send(to, &Message::Votes { votes: votes.to_vec() });
        }
    }

    /// Asks for frontiers that votes name, a few at a time.
    fn ask_frontiers(&mut self, peer: PeerId, named: BTreeSet<Hash>) {
        let rounds = self.rounds();
        let unknown: Vec<Hash> = named.into_iter().filter(|name| rounds.frontier(name).is_none()).collect();
        unknown.into_iter().take(4).for_each(|name| self.send(peer, &Message::WantFrontier { name }));
    }

    /// What follows from any change for what is being decided.
    pub(super) fn check_final(&mut self) {
        if !self.finality.is_on() {
            return;
        }
        self.finalize_pending();
        if !self.catch_up.is_done() || self.finality.pending.is_some() {
            return;
        }
        let since = self.tokens_since_final();
        if self.finality.round_began.is_none() && since >= self.finality.rules.frontier_every_tokens {
            self.rounds();
            self.finality.round_began = Some(self.now);
            self.finality.tell_at = self.now + self.config.round_timeout / TELLS_A_ROUND;
        }
        if self.finality.round_began.is_some() {
            self.judge_proposals();
            self.offer_in_turn();
            self.say_votes();
        }
    }

    fn tokens_since_final(&mut self) -> u64 {
        self.clock().saturating_sub(self.fold.epochs().newest().frontier.clock)
    }

    /// Whether so much work is not final that none is to be added. Told once.
    pub(super) fn is_stalled(&mut self) -> bool {
        let (tokens, stalled) = (self.tokens_since_final(), self.has_too_much_open());
        if stalled && !self.finality.stalled {
            self.finality.stalled = true;
            self.tell(Event::Stalled { tokens });
        }
        stalled
    }

    fn has_too_much_open(&mut self) -> bool {
        let round = self.finality.rounds.as_ref().map_or(0, Rounds::round);
        let times = u64::from((1 + round / ROUNDS_UNTIL_MORE).min(MORE_MAX));
        let most = self.finality.rules.frontier_every_tokens.saturating_mul(OPEN_EPOCHS_MAX * times);
        self.finality.is_on() && self.tokens_since_final() >= most
    }

    fn go_on_if_more_is_allowed(&mut self) {
        if self.finality.stalled && !self.has_too_much_open() {
            self.finality.stalled = false;
            self.tell(Event::Resumed);
        }
    }

    fn judge_proposals(&mut self) {
        let open: Vec<Hash> = self.rounds().open_questions().into_iter().collect();
        for name in open {
            let round = self.rounds().round();
            let Some(proposal) = self.finality.proposals.get(&name) else { continue };
            let version = self.fold.log().version();
            if self.finality.refused.get(&name).is_some_and(|(at, _)| at == version) {
                continue;
            }
            let early = round < INSISTS_UNTIL_ROUND && self.would_lose(proposal);
            let judgement = if early { Judgement::Lacks } else { self.fold.judge(proposal) };
            let version = version.clone();
            match judgement {
                Judgement::Good => self.rounds().accept(name),
                Judgement::Lacks => drop(self.finality.refused.insert(name, (version, true))),
                Judgement::Wrong(_) => drop(self.finality.refused.insert(name, (version, false))),
            }
        }
    }

    /// Whether `proposal` would exclude something that is held here.
    fn would_lose(&self, proposal: &Proposal) -> bool {
        let (view, number) = (proposal.view(), self.fold.epochs().number());
        self.fold.log().records().any(|r| r.entry.epoch() < number && !view.contains(&r.entry.author(), r.entry.seq()))
    }

    fn offer_in_turn(&mut self) {
        let round = self.rounds().round();
        let turn = self.turn_at().is_some_and(|at| self.now >= at);
        if !turn || self.rounds().has_proposed() || self.finality.offered_in == Some(round) {
            return;
        }
        self.finality.offered_in = Some(round);
        let Some(proposal) = self.fold.candidate_within(&self.widely_held()) else { return };
        let me = self.finality.me;
        let votes = self.rounds().previous().may_vote(&proposal.frontier, &me);
        let name = proposal.frontier.name();
        if votes && self.rounds().introduce(proposal.frontier.clone()) {
            self.rounds().accept(name);
            self.finality.proposals.insert(name, proposal);
            if let Some((ballot, name)) = self.rounds().offer(name) {
                self.say_vote(ballot, name);
            }
        }
    }

    /// What voters of more than two thirds of the weight that is in sight hold, as far as this peer knows.
    fn widely_held(&self) -> VersionVector {
        let (version, previous) = (self.fold.log().version(), &self.fold.epochs().newest().frontier);
        let known = self.neighbours.iter().map(|(peer, neighbour)| (previous.weight(&peer), &neighbour.known));
        let known: Vec<(u64, &VersionVector)> =
            known.chain([(previous.weight(&self.id()), version)]).filter(|(weight, _)| *weight > 0).collect();
        let all: u64 = known.iter().map(|(weight, _)| weight).sum();
        let held = |author: &PeerId| {
            let mut counts: Vec<(u32, u64)> =
                known.iter().map(|(weight, view)| (view.count(author), *weight)).collect();
            counts.sort_unstable_by_key(|(count, _)| core::cmp::Reverse(*count));
            let mut sum = 0;
            let enough = counts.into_iter().find(|(_, weight)| {
                sum += u128::from(*weight);
                sum * 3 > u128::from(all) * 2
            });
            enough.map_or(u32::MAX, |(count, _)| count)
        };
        version.iter().map(|(author, count)| (author, count.min(held(&author)))).collect()
    }

    fn say_votes(&mut self) {
        while let Some((ballot, name)) = self.rounds().vote() {
            self.say_vote(ballot, name);
        }
        self.look_for_decision();
    }

    pub(super) fn pass_on(&mut self, from: Option<PeerId>, votes: &[Vote]) {
        let targets: Vec<PeerId> = self.neighbours().into_iter().filter(|peer| Some(*peer) != from).collect();
        targets.into_iter().for_each(|peer| self.send(peer, &Message::Votes { votes: votes.to_vec() }));
    }

    pub(super) fn on_votes(&mut self, from: PeerId, votes: &[Vote]) {
        if votes.len() > VOTES_MAX {
            return self.strike(from, format!("{} votes at once", votes.len()));
        }
        if !self.finality.is_on() || !self.catch_up.is_done() {
            return;
        }
        let mut news = Vec::new();
        for vote in votes {
            match self.hear_vote(from, vote) {
                Ok(Heard::New) => news.push(vote.clone()),
                Ok(Heard::Known | Heard::Refused) => {}
                Err(reason) => return self.strike(from, reason),
            }
        }
        let run = self.fold.run();
        if let Err(voter) = self.rounds().hear_together(votes, |vote| vote.is_signed(run)) {
            return self.strike(from, format!("a vote in the name of {voter}"));
        }
        if news.is_empty() {
            return;
        }
        self.pass_on(Some(from), &news);
        self.ask_frontiers(from, news.iter().map(|vote| vote.frontier).collect());
        if self.rounds().follow() && self.finality.round_began.is_some() {
            self.finality.round_began = Some(self.now);
        }
        self.look_for_decision();
    }

    fn hear_vote(&mut self, from: PeerId, vote: &Vote) -> Result<Heard, String> {
        let run = self.fold.run();
        let rounds = self.rounds();
        if vote.epoch > rounds.epoch() {
            self.seek_epoch(from, vote.epoch - 1);
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

    pub(super) fn on_want_frontier(&mut self, from: PeerId, name: Hash) {
        if let Some(proposal) = self.finality.proposals.get(&name).cloned() {
            self.send(from, &Message::Frontier(Box::new(proposal)));
        }
    }

    pub(super) fn on_frontier(&mut self, from: PeerId, proposal: Proposal) {
        if !self.finality.is_on() || !self.catch_up.is_done() {
            return;
        }
        let name = proposal.frontier.name();
        if !self.rounds().open_questions().contains(&name) {
            return;
        }
        if !proposal.is_whole() {
            return self.strike(from, "a frontier that is not whole".to_owned());
        }
        if self.rounds().introduce(proposal.frontier.clone()) {
            self.finality.proposals.insert(name, proposal);
            let Finality { rounds, proposals, .. } = &mut self.finality;
            proposals.retain(|name, _| rounds.as_ref().is_some_and(|rounds| rounds.frontier(name).is_some()));
            self.look_for_decision();
        }
    }

    fn look_for_decision(&mut self) {
        let Some(certificate) = self.rounds().certificate() else { return };
        let name = certificate.frontier.name();
        if let Some(proposal) = self.finality.proposals.get(&name).cloned() {
            self.decide(certificate, proposal);
        }
    }

    /// A frontier is certified: it becomes final as soon as it is held.
    pub(super) fn decide(&mut self, certificate: Certificate, proposal: Proposal) {
        self.fold.expect_final(&proposal);
        let known = self.finality.pending.replace((certificate, proposal));
        self.begin_getting(known.map(|(certificate, _)| certificate.frontier.name()));
        self.finalize_pending();
    }

    /// Another frontier is the newest: what was under way for the one before is forgotten.
    pub(super) fn begin_epoch(&mut self) {
        self.set_changed();
        self.finality.begin_epoch();
        self.gossip.payloads.clear(); // what still needs one asks again
    }

    fn finalize_pending(&mut self) {
        let Some((_, proposal)) = &self.finality.pending else { return };
        let (held, missing) = (self.fold.holds(proposal), self.fold.payloads_to_finalize(proposal));
        if held && !missing.is_empty() {
            return self.want_payloads(&missing);
        }
        let Some((certificate, proposal)) = self.finality.pending.take_if(|_| held) else { return };
        let (epoch, clock) = (certificate.frontier.epoch, certificate.frontier.clock);
        match self.fold.finalize(&certificate, proposal) {
            Ok(out) => {
                self.begin_epoch();
                self.finality.chain.push(certificate);
                self.tell(Event::Final { epoch, clock, excluded: out.len() as u64 });
                self.forget_audits_of_the_excluded();
                self.keep_final();
                self.retry_all_pending();
            }
            Err(error) => self.tell(Event::BadInput { peer: self.id(), reason: error.to_string() }),
        }
    }
}
