//! The rounds of one epoch, as one voter sees them: the votes it received, what it may sign next, and what is decided.
//!
//! Contract:
//! - The owner makes candidates known with [`Rounds::introduce`] and passes votes to [`Rounds::hear`].
//! - The owner judges each candidate (are all its entries held, is its state right?), and calls [`Rounds::accept`].
//! - [`Rounds::vote`] and [`Rounds::offer`] say what to sign. The owner stores [`Rounds::signing`] before it sends the vote:
//!   a voter that forgets a vote may contradict it after a restart.
//! - There is no clock here: the owner calls [`Rounds::next_round`] when a round is over.
//!
//! [`crate::Frontier`] says why the rules are safe.

mod counting;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rkyv::{Archive, Deserialize, Serialize};

use crate::{Ballot, Frontier, Hash, PeerId, Rules, Vote};

/// Votes kept of one voter, the newest ones. Older votes that a lock rests on are kept with the newest prevote quorum.
const VOTES_KEPT: usize = 8;

/// When this many known frontiers have no vote, they are forgotten.
const UNVOTED_MAX: usize = 16;

/// Known frontiers, at most.
const FRONTIERS_MAX: usize = 128;

/// Peers whose votes are kept, at most.
const VOICES_MAX: usize = 4 * crate::VOTERS_MAX;

/// What a voter has signed in an epoch. It must survive restarts.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Signing {
    /// The epoch.
    pub epoch: u32,
    /// Name of the frontier before.
    pub previous: Hash,
    /// The newest round in which it signed.
    pub round: u32,
    /// The frontier of its prevote in that round.
    pub proposed: Option<Hash>,
    /// The frontier of its precommit in that round.
    pub committed: Option<Hash>,
    /// Round and frontier of its newest precommit.
    pub lock: Option<(u32, Hash)>,
}

/// What a voter has waited for long enough. The rules that fade with work also need this: where epochs are short, work
/// accumulates faster than votes travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// A decision in this epoch: votes that only work stands behind count from now on.
    pub undecided: bool,
    /// A decision since its newest precommit: its lock may fade from now on.
    pub committed: bool,
}

/// What [`Rounds::hear`] did with a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It counts from now on, and should be forwarded.
    New,
    /// It was known, or is older than the votes kept; nothing changed.
    Known,
    /// Its voter signed a different vote of the same kind in the same round, or is no voter; nothing changed.
    Refused,
}

/// Prevotes of one round that decide, for one frontier.
#[derive(Debug, Clone)]
struct PrevoteQuorum {
    round: u32,
    frontier: Hash,
    votes: Vec<Vote>,
}

/// One voter's view of the rounds of one epoch.
#[derive(Debug, Clone)]
pub struct Rounds {
    rules: Arc<Rules>,
    me: PeerId,
    previous: Arc<Frontier>,
    round: u32,
    signing: Signing,
    frontiers: BTreeMap<Hash, Arc<Frontier>>,
    accepted: BTreeSet<Hash>,
    /// Tokens of the owner's set.
    clock: u64,
    patience: Patience,
    votes: BTreeMap<PeerId, BTreeMap<(u32, Ballot), Vote>>,
    quorum: Option<PrevoteQuorum>,
}

impl Rounds {
    /// The rounds of the epoch after `previous`. `signing` is what this voter signed before a restart or in an earlier epoch,
    /// if anything.
    pub fn new(rules: Arc<Rules>, me: PeerId, previous: Arc<Frontier>, signing: Option<Signing>) -> Self {
        let (epoch, name) = (previous.epoch + 1, previous.name());
        // A voter that signed for this epoch or a later one in another history abstains here: its votes in both histories
        // could make two certificates for one epoch.
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
            quorum: None,
        }
    }

    /// The epoch under decision.
    pub fn epoch(&self) -> u32 {
        self.signing.epoch
    }

    /// The newest final frontier.
    pub fn previous(&self) -> &Arc<Frontier> {
        &self.previous
    }

    /// The present round.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// What must be stored before the newest vote is sent.
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// The known frontier with this name.
    pub fn frontier(&self, name: &Hash) -> Option<&Arc<Frontier>> {
        self.frontiers.get(name)
    }

    /// Makes a frontier known, so that votes for it are counted. False if it cannot follow the newest final frontier, or if
    /// too many are known.
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
        self.update_quorum();
        true
    }

    /// Forgets frontiers of earlier rounds, except those that a lock rests on: without them nothing that follows the lock
    /// could be counted.
    fn forget_old(&mut self) {
        let all = self.votes.values().flat_map(|votes| votes.values());
        let mut kept: BTreeSet<Hash> =
            all.filter(|vote| vote.round.saturating_add(1) >= self.round).map(|vote| vote.frontier).collect();
        kept.extend(self.binding());
        self.frontiers.retain(|name, _| kept.contains(name));
    }

    /// Frontiers of the newest prevote quorum and of the own votes.
    fn binding(&self) -> impl Iterator<Item = Hash> + '_ {
        self.quorum.iter().map(|quorum| quorum.frontier).chain(self.signed().map(|(_, _, name)| name))
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

    /// The owner has judged this frontier: it holds all its entries, and everything about it is right.
    pub fn accept(&mut self, name: Hash) {
        self.accepted.insert(name);
        self.update_quorum();
    }

    /// Tells how many tokens the owner's set has, and what it has waited for. Both only matter where weights or locks fade.
    pub fn set_clock(&mut self, clock: u64, patience: Patience) {
        let ended = self.patience != patience;
        (self.clock, self.patience) = (clock, patience);
        if ended {
            self.update_quorum();
        }
    }

    /// Whether the owner accepted it.
    pub fn is_accepted(&self, name: &Hash) -> bool {
        self.accepted.contains(name)
    }

    /// Whether this voter signs nothing in this epoch because it signed for it, or for a later one, in another history.
    pub fn abstains(&self) -> bool {
        self.round == u32::MAX
    }

    /// The newest votes of this voter with their rounds: its prevote, and the precommit that it is locked by. Only a later
    /// prevote quorum releases a lock. So the owner must keep the frontiers of these votes, and repeat the votes after a
    /// restart: else no peer might know what the lock is on, and nothing could be decided any more.
    pub fn signed(&self) -> impl Iterator<Item = (u32, Ballot, Hash)> + '_ {
        let Signing { round, proposed, lock, .. } = &self.signing;
        let proposed = proposed.map(|name| (*round, Ballot::Prevote, name));
        proposed.into_iter().chain(lock.map(|(round, name)| (round, Ballot::Precommit, name)))
    }

    /// Frontiers that votes name and that the owner has not accepted; it may have to fetch them first.
    pub fn open_questions(&self) -> BTreeSet<Hash> {
        let named = self.votes.values().flat_map(|votes| votes.values()).map(|vote| vote.frontier);
        named.filter(|name| !self.accepted.contains(name)).collect()
    }

    /// Whether the signature of a vote is worth checking: it is for this epoch, by a voter, and not known.
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
        let step = (vote.round, vote.ballot);
        if let Some(before) = votes.get(&step) {
            return if before.frontier == vote.frontier { Heard::Known } else { Heard::Refused };
        }
        votes.insert(step, vote);
        if votes.len() > VOTES_KEPT && votes.pop_first().is_some_and(|(dropped, _)| dropped == step) {
            return Heard::Known;
        }
        self.update_quorum();
        Heard::New
    }

    /// Votes to repeat to a neighbour, all in one: the newest prevote quorum, which explains locks; votes of the present round
    /// and the one before; and the newest of each voter, from which a late peer learns the round that others have reached.
    pub fn telling(&self) -> Vec<Vote> {
        let mut told: Vec<Vote> = self.quorum.iter().flat_map(|quorum| quorum.votes.iter()).cloned().collect();
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

    /// The vote that this voter should sign now, recorded as signed. It prevotes for what its lock or the newest quorum binds
    /// it to, else for the accepted proposal of the lowest rank; and it precommits when the present round has a prevote quorum.
    pub fn vote(&mut self) -> Option<(Ballot, Hash)> {
        if !self.may_sign() {
            return None;
        }
        if self.proposed().is_none()
            && let Some(choice) = self.bound_choice().or_else(|| self.heard_choice()).filter(|name| self.counts(name))
        {
            return Some(self.sign(Ballot::Prevote, choice));
        }
        let quorum = self.decided_in(self.round, Ballot::Prevote).filter(|name| self.accepted.contains(name));
        match quorum {
            Some(name) if self.committed().is_none() && self.counts(&name) => Some(self.sign(Ballot::Precommit, name)),
            Some(_) | None => None,
        }
    }

    /// Prevotes for the own candidate, which must be known and accepted, if this voter is free to and no other acceptable
    /// proposal came in this round. Recorded as signed.
    pub fn offer(&mut self, candidate: Hash) -> Option<(Ballot, Hash)> {
        let led = self.bound_choice().or_else(|| self.heard_choice()).is_some();
        let free = self.may_sign() && self.proposed().is_none() && !led && self.lock_allows(candidate);
        (free && self.accepted.contains(&candidate)).then(|| self.sign(Ballot::Prevote, candidate))
    }

    /// Whether this voter's vote for a frontier would count.
    fn counts(&self, name: &Hash) -> bool {
        self.frontiers.get(name).is_some_and(|frontier| self.previous.may_vote(frontier, &self.me))
    }

    /// Whether this voter has prevoted in the present round.
    pub fn has_proposed(&self) -> bool {
        self.proposed().is_some()
    }

    /// This voter's rank in the present round: how many of its `rivals` have a smaller rank hash. The hashes
    /// differ in each round, so that a voter that is silent or faulty comes first only now and then.
    pub fn rank<'a>(&self, rivals: impl Iterator<Item = &'a PeerId>) -> u32 {
        let mine = self.rank_hash(&self.me);
        let before = rivals.filter(|rival| self.rank_hash(rival) < mine).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn rank_hash(&self, peer: &PeerId) -> Hash {
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

    /// The frontier that this voter has to prevote for: that of its lock or of the newest prevote quorum, whichever is of the
    /// later round.
    fn bound_choice(&self) -> Option<Hash> {
        let quorum = self
            .quorum
            .as_ref()
            .filter(|quorum| quorum.round < self.round)
            .map(|quorum| (quorum.round, quorum.frontier));
        let bound = quorum.into_iter().chain(self.lock()).max_by_key(|(round, _)| *round).map(|(_, name)| name);
        bound.filter(|name| self.accepted.contains(name) && self.lock_allows(*name) && !self.is_faded(name))
    }

    /// The newest precommit, unless it has faded.
    fn lock(&self) -> Option<(u32, Hash)> {
        self.signing.lock.filter(|(_, name)| !self.is_faded(name))
    }

    /// Whether enough tokens were added after a frontier for locks on it to have faded.
    fn is_faded(&self, name: &Hash) -> bool {
        let known = self.frontiers.get(name);
        self.patience.committed && known.is_some_and(|f| self.clock >= self.previous.frees_at(&self.rules, f))
    }

    /// Whether the lock permits a prevote for `name`: it is on that frontier, or a later round had a prevote quorum for it.
    fn lock_allows(&self, name: Hash) -> bool {
        let Some((round, locked)) = self.lock() else { return true };
        let newer = self.quorum.as_ref().filter(|quorum| quorum.round > round && quorum.round < self.round);
        locked == name || newer.is_some_and(|quorum| quorum.frontier == name)
    }

    /// Frontiers that others prevoted for in the present round.
    pub fn proposed_now(&self) -> impl Iterator<Item = Hash> + '_ {
        let prevote = (self.round, Ballot::Prevote);
        let others = self.votes.iter().filter(|(peer, _)| **peer != self.me);
        others.filter_map(move |(_, votes)| votes.get(&prevote)).map(|vote| vote.frontier)
    }

    /// Of the accepted frontiers that others prevoted for in this round, the one of the voter with the lowest rank.
    fn heard_choice(&self) -> Option<Hash> {
        let here =
            self.votes.iter().filter_map(|(peer, votes)| Some((peer, votes.get(&(self.round, Ballot::Prevote))?)));
        let open = here.filter(|(peer, vote)| {
            **peer != self.me && self.accepted.contains(&vote.frontier) && self.lock_allows(vote.frontier)
        });
        open.min_by_key(|(peer, _)| self.rank_hash(peer)).map(|(_, vote)| vote.frontier)
    }
}
