//! Frontiers: sets of entries that voters have certified. What is in a certified frontier is final.
//!
//! **Epochs.** G₀ is the empty set. In epoch e + 1 voters decide on one frontier G₍e₊₁₎ ⊇ G₍e₎. The voters of epoch 1 are the
//! founders, with one vote each. Later, each trusted author's weight is the tokens that it added in G₍e₎ ∖ G₍e₋₁₎
//! ([`Frontier::voters`]). Votes are signed apart from the authors' chains: neither a forked chain nor a pruned one can
//! change what a certificate proves, a newcomer checks the certificates from the founders on without the log, and training
//! waits for none of this.
//!
//! **Votes.** In every round of an epoch a voter signs at most one [`Ballot::Prevote`] and at most one
//! [`Ballot::Precommit`]. It precommits to F only after prevotes for F of more than 2/3 of the weight in the same round (a
//! *quorum*), and then it is *locked* on F: in a later round it prevotes for another F′ only if F′ had a prevote quorum in a
//! round after its lock. F is decided when more than 2/3 of the weight precommitted to it in one round. This is Tendermint
//! (Buchman, Kwon, Milosevic, "The latest gossip on BFT consensus", arXiv:1807.04938, §3) with one departure: there is no
//! leader, and any voter's candidate can be decided.
//!
//! **Safety.** Let less than 1/3 of the weight be faulty, and let r be the first round in which some F is decided. Two
//! quorums share an honest voter, so nothing else is decided in r. The honest voters that precommitted in r have more than
//! 1/3 of the weight and are locked on F. Suppose another F′ gets a prevote quorum in a later round, and take the first such
//! round. The quorum contains one of those locked voters. It prevoted for F′ only because F′ had a prevote quorum in an
//! earlier round after r, which contradicts that this was the first. So no other frontier is ever decided in this epoch.
//!
//! **Restarts.** A voter stores what it signed last before it sends the vote, together with the rows of the frontiers it
//! signed for and the entries it held. After a restart it sends those votes again. Without the rows, a lock on a frontier
//! that no other peer remembers would block every later decision. Without the repetition, all would wait for a vote that
//! only its voter had heard of.
//!
//! **Exclusion.** When G₍e₎ becomes final, every peer removes the same entries: those outside G₍e₎ whose author knew no newer
//! epoch than e − 2. So each entry has a whole epoch to spread, and a partition shorter than an epoch loses nothing. Where
//! epochs are shorter than training segments, voters wait for the segments that were under way when the newest frontier
//! became final, for up to three epochs' work. An author's entries know no newer epoch than its enrolment does until a
//! frontier contains the enrolment: so they leave together. Otherwise a peer that had received the enrolment would keep
//! entries that a peer without it cannot check.
//!
//! **Horizon.** The weight of an entry that knows epoch e depends on nothing before G₍e₋₁₎ except each author's totals there,
//! and a verdict concerns an update outside G₍e₋₁₎. Entries outside G₍e₎ know epoch e − 1 or e. Therefore everything before
//! G₍e₋₂₎ can be pruned to those totals. They are the [`crate::Foundation`], whose digest is part of the frontier.
//!
//! **Forks.** The proof of a fork takes entries out of the fold, and an entry's weight may depend on entries that such a proof
//! removed although its author had not seen the proof. So a frontier that contains an entry built on a removed branch, but
//! not the branch, must contain the proof. Then the frontier alone determines the weight of everything in it, and a voter
//! that has not received the proof does not accept the frontier before it has.
//!
//! **Fading.** If 1/3 of the weight leaves for good, the rule above decides nothing any more. So the weights of G₍e₎'s voters
//! fade as work accumulates without a new frontier:
//! - after four epochs' work, F is also decided by more than 2/3 of the work in F ∖ G₍e₎ together with more than 1/3 of the
//!   weight of G₍e₎'s voters;
//! - after eight epochs' work, by more than 2/3 of the work in F ∖ G₍e₎ alone.
//!
//! Of that work only the newest two epochs' counts, or that of at least four authors if those are fewer. Otherwise, where
//! peers come and go, the live ones could never again have 2/3 of it. For the same reason a lock fades when four epochs' work
//! was done after the frontier it is on, or one epoch's work where work alone decides: had that frontier been decided, a
//! peer that knew would have sent the certificate by then. Where epochs are short, that much work takes almost no time. So
//! voters also wait for the time of four first rounds before they count work alone or give up a lock ([`crate::Patience`]).
//!
//! **Belief.** A certificate that more than 1/3 of G₍e₎'s voters signed cannot be invented by strangers. One that only work
//! stands behind can be, so it convinces only peers that hold that work and have checked it ([`Certificate::is_backed`]).
//!
//! **Reunion.** Two sides of a partition that outlasts four epochs' work may decide on different frontiers. When they meet, the
//! certificate that more of G₍e₎'s voters signed stands ([`Certificate::is_stronger`]), and the other side starts again from
//! that frontier. One that only work stands behind replaces nothing, and an application gives up a bounded number of epochs:
//! else departed voters, or strangers, could rewrite what is final.
//!
//! **Bounded work.** An application may bound the work that is added while none of it is final. That bound has to grow to four
//! times its first value as rounds pass without a decision. Otherwise authors that reached the bound and left might own most
//! of the open work, and the remaining ones could never come to 2/3 of it.
//!
//! In short: *safe while less than a third of the weight is faulty and no partition outlasts four epochs' work; if nothing was
//! decided for eight epochs' work, while no partition outlasts one.*

use rkyv::{Archive, Deserialize, Serialize, rancor};

use crate::{Hash, Identity, Pace, PeerId, Rules, VersionVector};

/// Voters of an epoch, at most: those who did the most work.
pub const VOTERS_MAX: usize = 256;

const FRONTIER_CONTEXT: &str = "murmuration frontier v1";
const ROWS_CONTEXT: &str = "murmuration frontier rows v1";
const VOTE_CONTEXT: &str = "murmuration vote v1";

/// After this many epochs' work without a new frontier, a third of the voters' weight suffices next to the work.
const FADES_AFTER: u64 = 4;

/// After this many, work alone decides.
const FADED_AFTER: u64 = 8;

/// After this many epochs' work on top of it, a frontier that work alone may decide locks its voters no longer.
const FREES_AFTER: u64 = 1;

/// Voters are weighed by this many epochs' newest work, if more was done since the frontier before.
pub(crate) const RECENT: u64 = 2;

/// If fewer authors than this did that work, twice as much of it counts, and so on. Otherwise one author could decide alone
/// because all others were away for a moment.
pub(crate) const RECENT_MIN: usize = 4;

/// How much of one author's chain a frontier contains.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The author.
    pub author: PeerId,
    /// The number of positions, from the first on.
    pub count: u32,
    /// Hash of the entry at the last of these positions.
    pub head: Hash,
}

/// A peer that decides on what follows a frontier.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Voter {
    /// The peer.
    pub peer: PeerId,
    /// Tokens of its updates since the frontier before.
    pub weight: u64,
}

/// A set of entries, as voters sign it: by digests, so that its size grows with the number of voters only.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Frontier {
    /// Number of the epoch that it ends, from 1 on; the empty set has 0.
    pub epoch: u32,
    /// Name of the frontier before.
    pub previous: Hash,
    /// Digest of its rows, which name its entries.
    pub rows: Hash,
    /// Tokens of its updates.
    pub clock: u64,
    /// State root of exactly this set.
    pub state: Hash,
    /// Digest of the [`crate::Foundation`] under it.
    pub foundation: Hash,
    /// The voters of the next epoch, ascending.
    pub voters: Vec<Voter>,
    /// What the entries that name this frontier's epoch are weighed by.
    pub pace: Pace,
}

/// A frontier with its rows, as a voter proposes it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// The frontier.
    pub frontier: Frontier,
    /// Its rows, authors ascending.
    pub rows: Vec<Row>,
}

/// The two kinds of votes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[rkyv(derive(PartialEq, Eq, PartialOrd, Ord))]
pub enum Ballot {
    /// The voter accepts this frontier. The first prevote for a frontier proposes it.
    Prevote,
    /// The voter has seen a prevote quorum for this frontier in the same round, and is locked on it.
    Precommit,
}

/// One signed vote of one voter in one round.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Vote {
    /// The epoch that is decided.
    pub epoch: u32,
    /// The round of that decision, from 0 on.
    pub round: u32,
    /// Its kind.
    pub ballot: Ballot,
    /// Name of the frontier it is for.
    pub frontier: Hash,
    /// The voter.
    pub voter: PeerId,
    /// The voter's signature over the fields above and the run.
    pub signature: [u8; 64],
}

/// One signature of a certificate.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The voter.
    pub voter: PeerId,
    /// The signature of its precommit.
    pub signature: [u8; 64],
}

/// The proof that a frontier was decided.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The frontier.
    pub frontier: Frontier,
    /// The round in which it was decided.
    pub round: u32,
    /// Precommits of that round, voters ascending.
    pub signed: Vec<Signed>,
}

/// Why a frontier that a peer called final is not. The fault is the sender's; the receiver's state is unchanged.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum NotFinal {
    /// It does not follow the frontier before it.
    #[error("the frontier does not continue the one before")]
    Order,
    /// A signature is wrong, or the signers are not ascending.
    #[error("a commit vote is not signed by who it names")]
    Signature,
    /// The signers have too little weight.
    #[error("too little work stands behind the frontier")]
    Weight,
    /// Rows, foundation, state or entries are not the ones that the frontier names.
    #[error("what came is not what the frontier names")]
    Contents,
}

impl Frontier {
    /// The empty set, with the founders as voters.
    pub fn genesis(rules: &Rules) -> Self {
        let mut voters: Vec<Voter> = rules.founders.iter().map(|f| Voter { peer: f.peer, weight: 1 }).collect();
        voters.sort_unstable_by_key(|voter| voter.peer);
        let [previous, rows, state, foundation] = [Hash::NONE; 4];
        Self { epoch: 0, previous, rows, clock: 0, state, foundation, voters, pace: Pace::planned(rules) }
    }

    /// Its name; [`Hash::NONE`] for epoch 0, which follows from the manifest.
    pub fn name(&self) -> Hash {
        if self.epoch == 0 {
            return Hash::NONE;
        }
        let bytes = rkyv::to_bytes::<rancor::Error>(self).expect("a frontier serializes into memory");
        Hash::of(FRONTIER_CONTEXT, &bytes)
    }

    /// Weight of `peer` in the next epoch; 0 if it is no voter.
    pub fn weight(&self, peer: &PeerId) -> u64 {
        let at = self.voters.binary_search_by_key(peer, |voter| voter.peer);
        at.ok().and_then(|at| self.voters.get(at)).map_or(0, |voter| voter.weight)
    }

    /// Whether the voters are ascending, no more than [`VOTERS_MAX`], and each has a weight that cannot overflow a sum. To be
    /// checked of every frontier that comes from a peer.
    pub fn is_canonical(&self) -> bool {
        let ascending = self.voters.windows(2).all(|pair| pair[0].peer < pair[1].peer);
        let weights = self.voters.iter().all(|voter| voter.weight > 0 && voter.weight <= 1 << 50);
        ascending && weights && !self.voters.is_empty() && self.voters.len() <= VOTERS_MAX && self.pace.is_canonical()
    }

    /// Whether precommits of `signers` (each named once) for `next`, a candidate to follow this frontier, decide; and also
    /// whether their prevotes form a quorum.
    pub fn decides<'a>(&self, rules: &Rules, next: &Self, signers: impl Iterator<Item = &'a PeerId> + Clone) -> bool {
        let by_work = next.clock >= self.after(rules, FADED_AFTER) && next.share(signers.clone()).exceeds(2, 3);
        by_work || self.backs(rules, next, signers)
    }

    /// Whether they decide with so much weight of this frontier's own voters that an honest one is among the signers.
    pub fn backs<'a>(&self, rules: &Rules, next: &Self, signers: impl Iterator<Item = &'a PeerId> + Clone) -> bool {
        let old = self.share(signers.clone());
        old.exceeds(2, 3)
            || next.clock >= self.fades_at(rules) && old.exceeds(1, 3) && next.share(signers).exceeds(2, 3)
    }

    /// The token clock at which the weights of this frontier's voters begin to fade.
    pub fn fades_at(&self, rules: &Rules) -> u64 {
        self.after(rules, FADES_AFTER)
    }

    /// The token clock at which a lock on `next`, a candidate to follow this frontier, has faded.
    pub fn frees_at(&self, rules: &Rules, next: &Self) -> u64 {
        let by_work = next.clock >= self.after(rules, FADED_AFTER);
        next.after(rules, if by_work { FREES_AFTER } else { FADES_AFTER })
    }

    fn after(&self, rules: &Rules, epochs: u64) -> u64 {
        self.clock.saturating_add(epochs.saturating_mul(rules.frontier_every_tokens))
    }

    /// Whether a vote of `peer` for `next` counts: it is a voter of this frontier, or would be one of `next`.
    pub fn may_vote(&self, next: &Self, peer: &PeerId) -> bool {
        self.weight(peer) > 0 || next.weight(peer) > 0
    }

    fn share<'a>(&self, signers: impl Iterator<Item = &'a PeerId>) -> Share {
        let of = signers.map(|peer| u128::from(self.weight(peer))).sum();
        Share { of, all: self.voters.iter().map(|voter| u128::from(voter.weight)).sum() }
    }
}

/// The weight of some voters, and of all.
struct Share {
    of: u128,
    all: u128,
}

impl Share {
    fn exceeds(&self, numerator: u128, denominator: u128) -> bool {
        self.of * denominator > self.all * numerator
    }
}

impl Proposal {
    /// Whether the rows match the frontier's digest and are in canonical order, and the frontier is canonical.
    pub fn is_whole(&self) -> bool {
        let ascending = self.rows.windows(2).all(|pair| pair[0].author < pair[1].author);
        let counted = self.rows.iter().all(|row| row.count > 0);
        ascending && counted && self.frontier.is_canonical() && rows_digest(&self.rows) == self.frontier.rows
    }

    /// The set as a version vector.
    pub fn view(&self) -> VersionVector {
        self.rows.iter().map(|row| (row.author, row.count)).collect()
    }
}

/// Digest of rows.
pub fn rows_digest(rows: &[Row]) -> Hash {
    let mut bytes = Vec::with_capacity(rows.len() * 68);
    for row in rows {
        bytes.extend_from_slice(&row.author.0);
        bytes.extend_from_slice(&row.count.to_le_bytes());
        bytes.extend_from_slice(&row.head.0);
    }
    Hash::of(ROWS_CONTEXT, &bytes)
}

impl Vote {
    /// Signs a vote.
    pub fn sign(identity: &Identity, run: Hash, epoch: u32, round: u32, ballot: Ballot, frontier: Hash) -> Self {
        let voter = identity.peer_id();
        let signature = identity.sign(&digest(run, epoch, round, ballot, frontier).0);
        Self { epoch, round, ballot, frontier, voter, signature }
    }

    /// Whether its voter signed it for this run.
    pub fn is_signed(&self, run: Hash) -> bool {
        self.voter.verifies(&digest(run, self.epoch, self.round, self.ballot, self.frontier).0, &self.signature)
    }
}

fn digest(run: Hash, epoch: u32, round: u32, ballot: Ballot, frontier: Hash) -> Hash {
    let kind = [match ballot {
        Ballot::Prevote => 0,
        Ballot::Precommit => 1,
    }];
    let parts = [&run.0[..], &epoch.to_le_bytes(), &round.to_le_bytes(), &kind, &frontier.0];
    Hash::of(VOTE_CONTEXT, &parts.concat())
}

impl Certificate {
    /// Checks that this certificate proves its frontier to be decided after `previous`. Whether work alone stands behind it
    /// is not checked: see [`Certificate::is_backed`].
    ///
    /// # Errors
    /// [`NotFinal`] if it does not follow `previous`, is not signed, or has too little weight.
    pub fn check(&self, run: Hash, rules: &Rules, previous: &Frontier) -> Result<(), NotFinal> {
        let follows = self.frontier.previous == previous.name() && self.frontier.epoch == previous.epoch + 1;
        if !follows || !self.frontier.is_canonical() || self.frontier.clock < previous.clock {
            return Err(NotFinal::Order);
        }
        let ascending = self.signed.windows(2).all(|pair| pair[0].voter < pair[1].voter);
        if !ascending || self.signed.len() > 2 * VOTERS_MAX {
            return Err(NotFinal::Signature);
        }
        if !previous.decides(rules, &self.frontier, self.signed.iter().map(|signed| &signed.voter)) {
            return Err(NotFinal::Weight);
        }
        let said = digest(run, self.frontier.epoch, self.round, Ballot::Precommit, self.frontier.name());
        let verified = self.signed.iter().all(|signed| signed.voter.verifies(&said.0, &signed.signature));
        if verified { Ok(()) } else { Err(NotFinal::Signature) }
    }

    /// Whether an honest voter of `previous` must be among the signers. That voter has checked the frontier, so a peer that
    /// cannot check it may believe the certificate. Without such a voter, a peer has to check the frontier itself.
    pub fn is_backed(&self, rules: &Rules, previous: &Frontier) -> bool {
        previous.backs(rules, &self.frontier, self.signed.iter().map(|signed| &signed.voter))
    }

    /// Whether this certificate prevails over `other`, which is for another frontier after `previous`. The one that more
    /// weight of `previous`'s voters signed prevails; between equals, the one whose frontier has the smaller name.
    pub fn is_stronger(&self, other: &Self, previous: &Frontier) -> bool {
        let behind = |c: &Self| previous.share(c.signed.iter().map(|signed| &signed.voter)).of;
        match behind(self).cmp(&behind(other)) {
            core::cmp::Ordering::Greater => true,
            core::cmp::Ordering::Less => false,
            core::cmp::Ordering::Equal => self.frontier.name() < other.frontier.name(),
        }
    }
}
