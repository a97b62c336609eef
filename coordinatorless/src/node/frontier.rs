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

/// Frontiers asked for at once, at most.
const ASKED_AT_ONCE: usize = 4;

/// How often what was heard is told again during the first round.
pub(super) const TELLS_A_ROUND: u32 = 3;

/// From this round on a frontier is accepted although it leaves out, for good, something that is held here.
pub(super) const INSISTS_UNTIL_ROUND: u32 = 3;

/// The state of making work final.
#[derive(Debug)]
pub(super) struct Finality {
    pub(super) rules: Arc<Rules>,
    pub(super) me: PeerId,
    pub(super) rounds: Option<Rounds>,
    /// When the present round began here; not before enough work was done.
    pub(super) round_began: Option<Time>,
    /// When its time is over.
    pub(super) over_at: Time,
    /// How many others' turn to offer comes before this peer's in it.
    pub(super) rank: u32,
    pub(super) proposals: BTreeMap<Hash, Proposal>,
    /// Not accepted when the set was this, and whether that may still change.
    pub(super) refused: BTreeMap<Hash, (VersionVector, bool)>,
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
    /// Until then nothing is offered: too few are there to decide it.
    offers_at: Time,
    /// Since when something is to be decided, and since when this peer is committed.
    pub(super) undecided_since: Option<Time>,
    pub(super) committed_at: Time,
    /// For so many rounds' time nothing was decided.
    pub(super) waited: u32,
    /// When what was heard is told to a neighbour again: votes may be lost.
    pub(super) tell_at: Time,
    pub(super) stalled: bool,
    /// Who has added no update since the newest frontier was final, of those who worked before, and how many each had then.
    pub(super) at_work: BTreeMap<PeerId, u32>,
    /// Tokens there are, and since when.
    pub(super) grown: (u64, Time),
    /// When those are not waited for any longer, if they are.
    pub(super) hurries_at: Option<Time>,
}

impl Finality {
    pub(super) fn new(rules: &Rules, me: PeerId, signing: Option<&[u8]>) -> Self {
        let (signing, vowed) = signing.and_then(Vow::decode).map(|vow| (vow.signing, vow.proposals)).unzip();
        Self {
            rules: Arc::new(rules.clone()),
            me,
            rounds: None,
            round_began: None,
            over_at: Time::default(),
            rank: 0,
            proposals: BTreeMap::new(),
            refused: BTreeMap::new(),
            chain: Vec::new(),
            learned: Vec::new(),
            pending: None,
            getting: Getting::default(),
            signing,
            vowed: vowed.unwrap_or_default(),
            sought_until: Time::default(),
            offers_at: Time::default(),
            undecided_since: None,
            committed_at: Time::default(),
            waited: 0,
            tell_at: Time::default(),
            stalled: false,
            at_work: BTreeMap::new(),
            grown: (0, Time::default()),
            hurries_at: None,
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
        (self.round_began, self.pending, self.hurries_at, self.stalled) = (None, None, None, false);
        (self.getting, self.offers_at) = (Getting::default(), Time::default());
        (self.waited, self.undecided_since, self.committed_at) = (0, None, Time::default());
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

    pub(super) fn tell_again(&mut self) {
        let votes = self.rounds().telling();
        let peers = self.neighbours();
        if !peers.is_empty() {
            let peer = peers[self.core.below(peers.len())];
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
        unknown.into_iter().take(ASKED_AT_ONCE).for_each(|name| self.send(peer, &Message::WantFrontier { name }));
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
        let clock = self.set.clock();
        let patience = self.patience();
        self.rounds().set_clock(clock, patience);
        if self.finality.round_began.is_none() && self.is_due() {
            self.begin_round();
            self.finality.tell_at = self.core.now + self.core.config.round_timeout / TELLS_A_ROUND;
        }
        if self.finality.round_began.is_some() {
            self.judge_proposals();
            self.offer_in_turn();
            self.say_votes();
        }
    }

    fn judge_proposals(&mut self) {
        let open: Vec<Hash> = self.rounds().open_questions().into_iter().collect();
        for name in open {
            let round = self.rounds().round();
            let Some(proposal) = self.finality.proposals.get(&name) else { continue };
            let version = self.set.fold.log().version();
            if self.finality.refused.get(&name).is_some_and(|(at, hope)| !hope || at == version) {
                continue;
            }
            let early = round < INSISTS_UNTIL_ROUND && self.would_lose(proposal);
            let judgement = if early { Judgement::Lacks } else { self.set.fold.judge(proposal) };
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
        let (view, number) = (proposal.view(), self.set.fold.epochs().number());
        self.set
            .fold
            .log()
            .records()
            .any(|r| r.entry.epoch() < number && !view.contains(&r.entry.author(), r.entry.seq()))
    }

    fn offer_in_turn(&mut self) {
        let turn = self.turn_at().is_some_and(|at| self.core.now >= at.max(self.finality.offers_at));
        if turn && !self.rounds().has_proposed() && !self.offer_what_is_held() {
            self.finality.offers_at = self.core.now + self.core.config.propose_stagger * (1 + self.finality.rank);
        }
    }

    /// Offers what is widely held or, when weights fade, all that is held here, if that is enough and this peer's vote for it
    /// counts. Whether it did.
    fn offer_what_is_held(&mut self) -> bool {
        let view = if self.is_fading() { self.decidable() } else { self.as_a_voter() };
        let Some(proposal) = view.and_then(|view| self.set.fold.candidate_within(&view)) else { return false };
        let name = proposal.frontier.name();
        if !self.know_frontier(proposal) {
            return false;
        }
        self.rounds().accept(name);
        let offered = self.rounds().offer(name);
        offered.into_iter().for_each(|(ballot, name)| self.say_vote(ballot, name));
        offered.is_some()
    }

    /// What is widely held, if this peer is a voter.
    fn as_a_voter(&mut self) -> Option<VersionVector> {
        let me = self.finality.me;
        (self.rounds().previous().weight(&me) > 0).then(|| self.widely_held())
    }

    /// All that is held here, if those who are there could make it final, and this peer is one of its voters.
    fn decidable(&mut self) -> Option<VersionVector> {
        let (there, me, patient) = (self.there(), self.finality.me, self.patience().undecided);
        let view = self.set.fold.log().version().clone();
        let (previous, outline) = (self.rounds().previous().clone(), self.set.fold.outline(&view));
        let rules = &self.finality.rules;
        let backed = previous.backs(rules, &outline, there.iter());
        let could = backed || patient && previous.decides(rules, &outline, there.iter());
        (could && previous.may_vote(&outline, &me)).then_some(view)
    }

    /// Makes a frontier known, and forgets those that count for nothing any more.
    fn know_frontier(&mut self, proposal: Proposal) -> bool {
        let known = self.rounds().introduce(proposal.frontier.clone());
        if known {
            self.finality.proposals.insert(proposal.frontier.name(), proposal);
            let Finality { rounds, proposals, refused, .. } = &mut self.finality;
            let known = |name: &Hash| rounds.as_ref().is_some_and(|rounds| rounds.frontier(name).is_some());
            proposals.retain(|name, _| known(name));
            refused.retain(|name, _| known(name));
        }
        known
    }

    /// What voters of more than two thirds of the weight that is in sight hold, as far as this peer knows.
    fn widely_held(&self) -> VersionVector {
        let (version, previous) = (self.set.fold.log().version(), &self.set.fold.epochs().newest().frontier);
        let known = self
            .neighbours
            .iter()
            .filter_map(|(peer, _)| Some((previous.weight(&peer), self.replication.known(&peer)?)));
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
        if !self.finality.is_on() {
            return;
        }
        self.show_decision(from, votes);
        if !self.catch_up.is_done() {
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
        let run = self.set.fold.run();
        self.seek_frontiers(from, votes);
        if let Err(voter) = self.rounds().hear_together(votes, |vote| vote.is_signed(run)) {
            return self.strike(from, format!("a vote in the name of {voter}"));
        }
        if news.is_empty() {
            return;
        }
        self.pass_on(Some(from), &news);
        self.ask_frontiers(from, news.iter().map(|vote| vote.frontier).collect());
        if self.rounds().follow() && self.finality.round_began.is_some() {
            self.begin_round();
        }
        self.look_for_decision();
    }

    fn hear_vote(&mut self, from: PeerId, vote: &Vote) -> Result<Heard, String> {
        let run = self.set.fold.run();
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
            // Who did not know it could not count the votes of those who are voters only by it.
            let rounds = self.rounds();
            let new = |vote: &Vote| vote.frontier == name && rounds.previous().weight(&vote.voter) == 0;
            let votes: Vec<Vote> = rounds.telling().into_iter().filter(new).collect();
            self.tell_votes(from, &votes);
        }
    }

    /// Votes of those who are no voters may count when weights fade, if the frontier says so: then asks for that. Only what
    /// is said by peers whose work is known here and trusted is worth it.
    fn seek_frontiers(&mut self, from: PeerId, votes: &[Vote]) {
        if !self.is_fading() {
            return;
        }
        let (run, epoch) = (self.set.fold.run(), self.rounds().epoch());
        let mut names = BTreeSet::new();
        for vote in votes.iter().filter(|vote| vote.epoch == epoch) {
            let known = names.contains(&vote.frontier) || self.rounds().frontier(&vote.frontier).is_some();
            if !known && self.set.fold.is_trusted(&vote.voter, self.set.fold.log().version()) && vote.is_signed(run) {
                names.insert(vote.frontier);
            }
        }
        self.neighbours.seek(&from, names.iter().take(ASKED_AT_ONCE));
        self.ask_frontiers(from, names);
    }

    pub(super) fn on_frontier(&mut self, from: PeerId, proposal: Proposal) {
        if !self.finality.is_on() || !self.catch_up.is_done() {
            return;
        }
        let name = proposal.frontier.name();
        let sought = self.neighbours.was_sought(&from, &name);
        if !sought && !self.rounds().open_questions().contains(&name) {
            return;
        }
        if !proposal.is_whole() {
            return self.strike(from, "a frontier that is not whole".to_owned());
        }
        if self.know_frontier(proposal) {
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
        self.set.fold.expect_final(&proposal);
        self.set.changed();
        let known = self.finality.pending.replace((certificate, proposal));
        self.begin_getting(known.map(|(certificate, _)| certificate.frontier.name()));
        self.finalize_pending();
    }

    /// Another frontier is the newest: what was under way for the one before is forgotten.
    pub(super) fn begin_epoch(&mut self) {
        self.set.changed();
        self.finality.begin_epoch();
        self.finality.at_work = self.at_work();
        self.replication.forget_wanted_payloads();
    }

    fn finalize_pending(&mut self) {
        let Some((_, proposal)) = &self.finality.pending else { return };
        let (held, missing) = (self.set.fold.holds(proposal), self.set.fold.payloads_to_finalize(proposal));
        if held && !missing.is_empty() {
            return self.replication.want_payloads(&missing);
        }
        let Some((certificate, proposal)) = self.finality.pending.take_if(|_| held) else { return };
        let (epoch, clock) = (certificate.frontier.epoch, certificate.frontier.clock);
        match self.set.fold.finalize(&certificate, proposal) {
            Ok(out) => {
                self.begin_epoch();
                self.finality.chain.push(certificate);
                self.core.tell(Event::Final { epoch, clock, excluded: out.len() as u64 });
                self.forget_audits_of_the_excluded();
                self.keep_final();
                self.retry_all_pending();
            }
            Err(error) => self.core.tell(Event::BadInput { peer: self.id(), reason: error.to_string() }),
        }
    }
}
