//! One voter's part in deciding one epoch: which votes it heard, what it may sign next, and when the epoch is decided.
//!
//! Contract: the owner judges candidates (does it hold exactly this set, is the state right?) and says so with
//! [`Rounds::accept`]; [`Rounds::vote`] and [`Rounds::offer`] then say what to sign, which the owner must make durable
//! before anyone sees it. No clock: the owner says when a round is over. See [`crate::Frontier`] for why this is safe.

mod counting;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rkyv::{Archive, Deserialize, Serialize};

use crate::{Ballot, Frontier, Hash, PeerId, Rules, Vote};

/// Votes kept of one voter: the newest; what an honest one's lock rests on is kept by the best gathering.
const VOTES_KEPT: usize = 8;

/// Frontiers that are known but voted for by nobody, at most.
const UNVOTED_MAX: usize = 16;

/// Frontiers known at a time, at most.
const FRONTIERS_MAX: usize = 128;

/// Peers whose votes are kept, at most.
const VOICES_MAX: usize = 4 * crate::VOTERS_MAX;

/// What a voter has signed in an epoch and must not forget.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Signing {
    /// The epoch.
    pub epoch: u32,
    /// Name of the frontier before.
    pub previous: Hash,
    /// The newest round it signed in.
    pub round: u32,
    /// What it proposed in that round.
    pub proposed: Option<Hash>,
    /// What it committed to in that round.
    pub committed: Option<Hash>,
    /// The newest commitment: round and frontier.
    pub lock: Option<(u32, Hash)>,
}

/// For what a voter has waited long, in time. Work alone measures no time where epochs are short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// For a decision: then what the work alone stands behind counts.
    pub undecided: bool,
    /// For one since its newest commitment: then a lock may fade.
    pub committed: bool,
}

/// What became of a vote that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It counts, and is worth passing on.
    New,
    /// Nothing new.
    Known,
    /// Its voter said something else in the same round and place, or is no voter.
    Refused,
}

/// More than two thirds proposed one frontier in one round.
#[derive(Debug, Clone)]
struct PrevoteQuorum {
    round: u32,
    frontier: Hash,
    votes: Vec<Vote>,
}

/// The decision of one epoch as one voter sees it.
#[derive(Debug, Clone)]
pub struct Rounds {
    rules: Arc<Rules>,
    me: PeerId,
    previous: Arc<Frontier>,
    round: u32,
    signing: Signing,
    frontiers: BTreeMap<Hash, Arc<Frontier>>,
    accepted: BTreeSet<Hash>,
    /// Tokens there are, as far as the owner knows.
    clock: u64,
    /// Whether the owner has waited for long: for any decision, and for one since it committed.
    patience: Patience,
    votes: BTreeMap<PeerId, BTreeMap<(u32, Ballot), Vote>>,
    best: Option<PrevoteQuorum>,
}

impl Rounds {
    /// Begins deciding what follows `previous`. `signing` is what this voter signed before a restart, if anything.
    pub fn new(rules: Arc<Rules>, me: PeerId, previous: Arc<Frontier>, signing: Option<Signing>) -> Self {
        let (epoch, name) = (previous.epoch + 1, previous.name());
        // Whoever signed for this epoch or a later one of another history signs nothing in this one.
        let elsewhere = |signed: &Signing| signed.previous != name && signed.epoch >= epoch;
        let silent = signing.as_ref().is_some_and(elsewhere);
        let fresh = Signing { epoch, previous: name, round: 0, proposed: None, committed: None, lock: None };
        let signing = signing.filter(|signed| signed.epoch == epoch && signed.previous == name).unwrap_or(fresh);
        let round = if silent { u32::MAX } else { signing.round };
        let (frontiers, accepted, votes) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let clock = previous.clock;
        Self {
            rules,
            me,
            previous,
            round,
            signing,
            frontiers,
            accepted,
            clock,
            patience: Patience::default(),
            votes,
            best: None,
        }
    }

    /// The epoch that is decided.
    pub fn epoch(&self) -> u32 {
        self.signing.epoch
    }

    /// The frontier before.
    pub fn previous(&self) -> &Arc<Frontier> {
        &self.previous
    }

    /// The present round.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// What must be durable before the newest vote is sent.
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// The frontier of that name, if it is known.
    pub fn frontier(&self, name: &Hash) -> Option<&Arc<Frontier>> {
        self.frontiers.get(name)
    }

    /// Makes a frontier known, so that votes for it can be counted.
    pub fn introduce(&mut self, frontier: Frontier) -> bool {
        let follows = frontier.previous == self.previous.name() && frontier.epoch == self.epoch();
        let young = frontier.clock < self.previous.clock.saturating_add(self.rules.frontier_every_tokens);
        if !follows || young || !frontier.is_canonical() {
            return false;
        }
        self.forget_unvoted();
        if self.frontiers.len() >= FRONTIERS_MAX {
            self.forget_old();
        }
        self.accepted.retain(|name| self.frontiers.contains_key(name));
        if self.frontiers.len() >= FRONTIERS_MAX {
            return false;
        }
        self.frontiers.insert(frontier.name(), Arc::new(frontier));
        self.gather();
        true
    }

    /// Forgets frontiers of earlier rounds, but for those that bind somebody.
    fn forget_old(&mut self) {
        let all = self.votes.values().flat_map(|votes| votes.values());
        let mut kept: BTreeSet<Hash> =
            all.filter(|vote| vote.round.saturating_add(1) >= self.round).map(|vote| vote.frontier).collect();
        kept.extend(self.binding());
        self.frontiers.retain(|name, _| kept.contains(name));
    }

    /// Frontiers that the best gathering and the own votes name.
    fn binding(&self) -> impl Iterator<Item = Hash> + '_ {
        self.best.iter().map(|best| best.frontier).chain(self.signed().map(|(_, _, name)| name))
    }

    fn forget_unvoted(&mut self) {
        let mut kept: BTreeSet<Hash> =
            self.votes.values().flat_map(|votes| votes.values()).map(|vote| vote.frontier).collect();
        kept.extend(self.binding());
        let unvoted: Vec<Hash> = self.frontiers.keys().filter(|name| !kept.contains(name)).copied().collect();
        if unvoted.len() >= UNVOTED_MAX {
            unvoted.iter().for_each(|name| drop(self.frontiers.remove(name)));
        }
    }

    /// The owner holds exactly this set, and everything about it is right.
    pub fn accept(&mut self, name: Hash) {
        self.accepted.insert(name);
        self.gather();
    }

    /// The owner holds so many tokens, and has waited so.
    pub fn set_clock(&mut self, clock: u64, patience: Patience) {
        let ended = self.patience != patience;
        (self.clock, self.patience) = (clock, patience);
        if ended {
            self.gather();
        }
    }

    /// Whether the owner accepted it.
    pub fn is_accepted(&self, name: &Hash) -> bool {
        self.accepted.contains(name)
    }

    /// Whether it signs nothing in this epoch, because it signed for it, or for a later one, in another history.
    pub fn abstains(&self) -> bool {
        self.round == u32::MAX
    }

    /// What this voter signed last, and in which round: a proposal, and the commitment that locks it. A frontier that it
    /// committed to gives way to none but one that others gather around later; so the owner must be able to show what it
    /// names, and to say the votes again, whatever happens.
    pub fn signed(&self) -> impl Iterator<Item = (u32, Ballot, Hash)> + '_ {
        let Signing { round, proposed, lock, .. } = &self.signing;
        let proposed = proposed.map(|name| (*round, Ballot::Prevote, name));
        proposed.into_iter().chain(lock.map(|(round, name)| (round, Ballot::Precommit, name)))
    }

    /// Frontiers that votes name and that are not known, or known and not yet judged.
    pub fn open_questions(&self) -> BTreeSet<Hash> {
        let named = self.votes.values().flat_map(|votes| votes.values()).map(|vote| vote.frontier);
        named.filter(|name| !self.accepted.contains(name)).collect()
    }

    /// Whether a vote is worth checking: for this epoch, by a voter, and not heard before.
    pub fn is_news(&self, vote: &Vote) -> bool {
        let known = self.votes.get(&vote.voter).is_some_and(|votes| votes.contains_key(&(vote.round, vote.ballot)));
        vote.epoch == self.epoch() && !known && self.may_vote(vote)
    }

    fn may_vote(&self, vote: &Vote) -> bool {
        let known = self.frontiers.get(&vote.frontier);
        self.previous.weight(&vote.voter) > 0 || known.is_some_and(|f| f.weight(&vote.voter) > 0)
    }

    /// Takes a vote whose signature was checked.
    pub fn hear(&mut self, vote: Vote) -> Heard {
        let crowded = self.votes.len() >= VOICES_MAX && !self.votes.contains_key(&vote.voter);
        let heard_first = self.previous.weight(&vote.voter) > 0;
        if vote.epoch != self.epoch() || !self.may_vote(&vote) || crowded && !heard_first {
            return Heard::Refused;
        }
        let votes = self.votes.entry(vote.voter).or_default();
        let place = (vote.round, vote.ballot);
        if let Some(before) = votes.get(&place) {
            return if before.frontier == vote.frontier { Heard::Known } else { Heard::Refused };
        }
        votes.insert(place, vote);
        if votes.len() > VOTES_KEPT && votes.pop_first().is_some_and(|(dropped, _)| dropped == place) {
            return Heard::Known;
        }
        self.gather();
        Heard::New
    }

    /// Votes worth telling a neighbour, together: the best gathering, those of the present round and the one before, and what
    /// each voter said last, so that whoever comes later learns which round others have reached.
    pub fn telling(&self) -> Vec<Vote> {
        let mut told: Vec<Vote> = self.best.iter().flat_map(|best| best.votes.iter()).cloned().collect();
        let newest = |votes: &BTreeMap<(u32, Ballot), Vote>| votes.last_key_value().map_or(0, |((round, _), _)| *round);
        let all = self.votes.values().flat_map(|votes| votes.values().map(move |vote| (vote, newest(votes))));
        let worth = |vote: &Vote, newest: u32| vote.round.saturating_add(1) >= self.round.min(newest.saturating_add(1));
        let recent = all.filter(|(vote, newest)| worth(vote, *newest) && !told.contains(vote)).map(|(vote, _)| vote);
        let recent: Vec<Vote> = recent.cloned().collect();
        told.extend(recent);
        told
    }

    /// Goes on to the next round.
    pub fn next_round(&mut self) {
        self.round = self.round.saturating_add(1);
    }

    /// What this voter should sign now, given what it heard and accepted; recorded as signed. Proposals of others are
    /// echoed, lowest rank first.
    pub fn vote(&mut self) -> Option<(Ballot, Hash)> {
        if !self.may_sign() {
            return None;
        }
        if self.proposed().is_none()
            && let Some(choice) = self.bound_choice().or_else(|| self.heard_choice()).filter(|name| self.counts(name))
        {
            return Some(self.sign(Ballot::Prevote, choice));
        }
        let gathered = self.gathered(self.round, Ballot::Prevote).filter(|name| self.accepted.contains(name));
        match gathered {
            Some(name) if self.committed().is_none() && self.counts(&name) => Some(self.sign(Ballot::Precommit, name)),
            Some(_) | None => None,
        }
    }

    /// Offers the own candidate (known and accepted) if nothing acceptable was proposed in this round; recorded as signed.
    pub fn offer(&mut self, candidate: Hash) -> Option<(Ballot, Hash)> {
        let led = self.bound_choice().or_else(|| self.heard_choice()).is_some();
        let free = self.may_sign() && self.proposed().is_none() && !led && self.lock_allows(candidate);
        (free && self.accepted.contains(&candidate)).then(|| self.sign(Ballot::Prevote, candidate))
    }

    /// Whether this peer's vote for it would count.
    fn counts(&self, name: &Hash) -> bool {
        self.frontiers.get(name).is_some_and(|frontier| self.previous.may_vote(frontier, &self.me))
    }

    /// Whether this voter has proposed in the present round.
    pub fn has_proposed(&self) -> bool {
        self.proposed().is_some()
    }

    /// How many of its `rivals` come before this voter in the present round: its rank.
    pub fn rank<'a>(&self, rivals: impl Iterator<Item = &'a PeerId>) -> u32 {
        let mine = self.ticket(&self.me);
        let before = rivals.filter(|rival| self.ticket(rival) < mine).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn ticket(&self, peer: &PeerId) -> Hash {
        let (epoch, round) = (self.epoch().to_le_bytes(), self.round.to_le_bytes());
        Hash::of("murmuration proposer rank v1", &[&epoch[..], &round, &self.previous.name().0, &peer.0].concat())
    }

    fn may_sign(&self) -> bool {
        !self.abstains() && self.round >= self.signing.round
    }

    fn proposed(&self) -> Option<Hash> {
        self.signing.proposed.filter(|_| self.signing.round == self.round)
    }

    fn committed(&self) -> Option<Hash> {
        self.signing.committed.filter(|_| self.signing.round == self.round)
    }

    fn sign(&mut self, ballot: Ballot, name: Hash) -> (Ballot, Hash) {
        if self.signing.round != self.round {
            (self.signing.round, self.signing.proposed, self.signing.committed) = (self.round, None, None);
        }
        match ballot {
            Ballot::Prevote => self.signing.proposed = Some(name),
            Ballot::Precommit => {
                self.signing.committed = Some(name);
                self.signing.lock = Some((self.round, name));
            }
        }
        (ballot, name)
    }

    /// The lock and the best gathering leave no choice: the newer of the two.
    fn bound_choice(&self) -> Option<Hash> {
        let best = self.best.as_ref().filter(|best| best.round < self.round).map(|best| (best.round, best.frontier));
        let bound = best.into_iter().chain(self.lock()).max_by_key(|(round, _)| *round).map(|(_, name)| name);
        bound.filter(|name| self.accepted.contains(name) && self.lock_allows(*name) && !self.is_faded(name))
    }

    /// The newest commitment, unless it has faded.
    fn lock(&self) -> Option<(u32, Hash)> {
        self.signing.lock.filter(|(_, name)| !self.is_faded(name))
    }

    /// Whether so much was done since a frontier that it binds nobody any more.
    fn is_faded(&self, name: &Hash) -> bool {
        let known = self.frontiers.get(name);
        self.patience.committed && known.is_some_and(|f| self.clock >= self.previous.frees_at(&self.rules, f))
    }

    /// A lock gives way only to a gathering in a later round.
    fn lock_allows(&self, name: Hash) -> bool {
        let Some((round, locked)) = self.lock() else { return true };
        let newer = self.best.as_ref().filter(|best| best.round > round && best.round < self.round);
        locked == name || newer.is_some_and(|best| best.frontier == name)
    }

    /// What others proposed in the present round.
    pub fn proposed_now(&self) -> impl Iterator<Item = Hash> + '_ {
        let place = (self.round, Ballot::Prevote);
        let others = self.votes.iter().filter(|(peer, _)| **peer != self.me);
        others.filter_map(move |(_, votes)| votes.get(&place)).map(|vote| vote.frontier)
    }

    /// What the lowest-ranked voter proposed in this round, of what was accepted.
    fn heard_choice(&self) -> Option<Hash> {
        let here =
            self.votes.iter().filter_map(|(peer, votes)| Some((peer, votes.get(&(self.round, Ballot::Prevote))?)));
        let open = here.filter(|(peer, vote)| {
            **peer != self.me && self.accepted.contains(&vote.frontier) && self.lock_allows(vote.frontier)
        });
        open.min_by_key(|(peer, _)| self.ticket(peer)).map(|(_, vote)| vote.frontier)
    }
}
