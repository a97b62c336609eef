//! Frontiers: sets of entries that two thirds of the recent, trusted work have signed. What is in one is final.
//!
//! **Epochs.** G₀ is the empty set, and the founders decide what follows, one vote each. G₍e₊₁₎ ⊇ G₍e₎ is decided by votes
//! weighted with the tokens that each trusted author added in G₍e₎ ∖ G₍e₋₁₎ ([`Frontier::voters`]). Training waits for none
//! of this: votes are signed apart from the chains, so neither a forked chain nor a pruned one can change what a
//! certificate proves, and a newcomer checks the chain of certificates from the founders on without the log.
//!
//! **Votes.** In every round of an epoch a voter signs at most one [`Ballot::Prevote`] and at most one [`Ballot::Precommit`].
//! It commits to F only after more than 2/3 of the weight proposed F in this round, and then is *locked*: in a later round
//! it proposes another F′ only if more than 2/3 proposed F′ in a round after its lock. F is final when more than 2/3
//! committed to it in one round. This is Tendermint (Buchman, Kwon, Milosevic, "The latest gossip on BFT consensus",
//! arXiv:1807.04938, §3), without a leader: any voter's candidate will do.
//!
//! **Safety.** Let less than a third of the weight be faulty, and F be committed in round r, the first such round. Two sets
//! of more than 2/3 share an honest voter, so nothing else is committed in r. The honest committers, more than 1/3, are
//! locked on F. For another F′ to gather 2/3 proposals in a later round, the first time, one of them would have to propose
//! it, which it does only after such a gathering in an earlier round after r: there is none. So nothing else is ever
//! committed in this epoch.
//!
//! **Restarts.** What a voter signed last is durable before anyone sees it, with the rows of the frontiers it signed for and
//! the entries it held; restarted, it says the votes again. Without the rows a lock whose frontier nobody else remembers
//! would let nothing follow; without the votes, one that only its voter heard of would be waited for in vain.
//!
//! **Exclusion.** When G₍e₎ is final, an entry outside it whose author knew no newer epoch than e − 2 leaves the set on every
//! peer alike. So each entry had a whole epoch to spread, and a partition shorter than an epoch loses nothing. Where epochs are
//! shorter than segments, voters wait for what was under way when the newest became final, up to three epochs' work. Until a
//! frontier contains an author's enrolment its entries know no epoch but the enrolment's, so that they leave with it: else
//! those who heard of the author before would hold what those who hear of it later could not judge.
//!
//! **Horizon.** What an entry that knows epoch e weighs depends on nothing before G₍e₋₁₎ but each author's totals there, and
//! a verdict is about an update outside G₍e₋₁₎. Entries outside G₍e₎ know epoch e − 1 or e, so everything before G₍e₋₂₎
//! can be pruned to those totals ([`crate::Foundation`]), whose digest is part of the frontier.
//!
//! **Forks.** What an entry weighs may depend on a proof that its author had not seen: what a fork cut off counts nowhere. So
//! a frontier that contains an entry built on a branch, and not the branch, contains the proof as well. Then its set alone
//! says what everything in it weighs, and who has not heard of the fork waits for the proof before it agrees.
//!
//! **Fading.** If a third of the weight is gone for good, nothing becomes final. So after four epochs' work without a new
//! frontier, F is certified also by more than 2/3 of the work in F ∖ G₍e₎ together with more than 1/3 of the voters of
//! G₍e₎; after eight, by 2/3 of the work alone. Of that work only the newest two epochs' counts, or of at least four authors:
//! else, where peers come and go, those who are there would never again have two thirds of it. For the same reason a lock
//! fades when four epochs' work was done after what it is on, or one where work alone decides: whoever knew that this had
//! been decided would have said so by then. Where epochs are short that would be no time at all. So voters wait for four
//! rounds' time as well before they count what work alone decides, or break a lock ([`crate::Patience`]).
//! What a third of G₍e₎'s voters signed no stranger can have invented; what the work alone stands behind is believed by those
//! who hold that work and have checked it ([`Certificate::is_backed`]).
//! The two sides of a partition that outlasts four epochs' work may both decide. When they meet, the certificate that more of
//! G₍e₎'s voters signed stands ([`Certificate::is_stronger`]), and the other side starts again from it.
//! Peers that add no more than so much work before any of it is final must allow three times as much again while rounds go
//! by: however much of it was by peers that are gone, those who are left then come to two thirds.
//! So: *safe while less than a third of the weight is faulty and no partition outlasts four epochs' work; when nothing was
//! decided for eight, none that outlasts one.*

use rkyv::{Archive, Deserialize, Serialize, rancor};

use crate::{Hash, Identity, PeerId, Rules, VersionVector};

/// Voters of an epoch, at most: those who did the most work.
pub const VOTERS_MAX: usize = 256;

const FRONTIER_CONTEXT: &str = "murmuration frontier v1";
const ROWS_CONTEXT: &str = "murmuration frontier rows v1";
const VOTE_CONTEXT: &str = "murmuration vote v1";

/// Epochs' work after which weights fade, and after which they are gone.
const FADES_AFTER: u64 = 4;
const FADED_AFTER: u64 = 8;

/// Epochs' work after which a lock on what the work alone may decide fades.
const FREES_AFTER: u64 = 1;

/// Epochs' work by which voters are weighed, if there was more since the frontier before.
pub(crate) const RECENT: u64 = 2;

/// Authors whose work that has to be, at least; else twice as much counts, and so on. Nobody is to decide alone because all
/// others were away for a moment.
pub(crate) const RECENT_MIN: usize = 4;

/// How far a frontier goes in one author's chain.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Whose chain.
    pub author: PeerId,
    /// How many of its positions.
    pub count: u32,
    /// Hash of the entry at the last of them.
    pub head: Hash,
}

/// Who decides what follows a frontier.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Voter {
    /// Who.
    pub peer: PeerId,
    /// The tokens of its updates since the frontier before.
    pub weight: u64,
}

/// What is voted on: everything about a set, in short.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Frontier {
    /// Its number, from 1 on; 0 is the empty set.
    pub epoch: u32,
    /// Name of the frontier before.
    pub previous: Hash,
    /// Digest of its rows, which say what is in it.
    pub rows: Hash,
    /// Tokens in it.
    pub clock: u64,
    /// State root of exactly this set.
    pub state: Hash,
    /// Digest of the [`crate::Foundation`] under it.
    pub foundation: Hash,
    /// Who decides on the next one, ascending.
    pub voters: Vec<Voter>,
}

/// A frontier with its rows.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// In short.
    pub frontier: Frontier,
    /// What is in it, authors ascending.
    pub rows: Vec<Row>,
}

/// The two kinds of votes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[rkyv(derive(PartialEq, Eq, PartialOrd, Ord))]
pub enum Ballot {
    /// "I would accept this."
    Prevote,
    /// "I saw that two thirds would."
    Precommit,
}

/// One voter's word in one round.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Vote {
    /// The epoch that is decided.
    pub epoch: u32,
    /// The round of that decision, from 0 on.
    pub round: u32,
    /// Which kind.
    pub ballot: Ballot,
    /// Name of the frontier it is for.
    pub frontier: Hash,
    /// Who signed.
    pub voter: PeerId,
    /// Over all of the above and the run.
    pub signature: [u8; 64],
}

/// One signature of a certificate.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// Who.
    pub voter: PeerId,
    /// Its commit vote's signature.
    pub signature: [u8; 64],
}

/// A final frontier and the proof.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// What is final.
    pub frontier: Frontier,
    /// The round it was decided in.
    pub round: u32,
    /// Commit votes of that round, voters ascending.
    pub signed: Vec<Signed>,
}

/// Why something said to be final is not. The sender's fault.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum NotFinal {
    /// It does not continue the frontier before.
    #[error("the frontier does not continue the one before")]
    Order,
    /// A signature is wrong, or signers are not ascending.
    #[error("a commit vote is not signed by who it names")]
    Signature,
    /// Those who signed are too few.
    #[error("too little work stands behind the frontier")]
    Weight,
    /// Rows, foundation, state or entries are not those the frontier names.
    #[error("what came is not what the frontier names")]
    Contents,
}

impl Frontier {
    /// The empty set before everything.
    pub fn genesis(rules: &Rules) -> Self {
        let mut voters: Vec<Voter> = rules.founders.iter().map(|f| Voter { peer: f.peer, weight: 1 }).collect();
        voters.sort_unstable_by_key(|voter| voter.peer);
        let [previous, rows, state, foundation] = [Hash::NONE; 4];
        Self { epoch: 0, previous, rows, clock: 0, state, foundation, voters }
    }

    /// Its name; [`Hash::NONE`] for epoch 0, which follows from the manifest.
    pub fn name(&self) -> Hash {
        if self.epoch == 0 {
            return Hash::NONE;
        }
        let bytes = rkyv::to_bytes::<rancor::Error>(self).expect("a frontier serializes into memory");
        Hash::of(FRONTIER_CONTEXT, &bytes)
    }

    /// Weight of `peer` in deciding what follows.
    pub fn weight(&self, peer: &PeerId) -> u64 {
        let at = self.voters.binary_search_by_key(peer, |voter| voter.peer);
        at.ok().and_then(|at| self.voters.get(at)).map_or(0, |voter| voter.weight)
    }

    /// Whether the voters are ascending, not too many, and each has a weight: required of what strangers send.
    pub fn is_canonical(&self) -> bool {
        let ascending = self.voters.windows(2).all(|pair| pair[0].peer < pair[1].peer);
        let weights = self.voters.iter().all(|voter| voter.weight > 0 && voter.weight <= 1 << 50);
        ascending && weights && !self.voters.is_empty() && self.voters.len() <= VOTERS_MAX
    }

    /// Whether the votes of `signers` (each named once) for `next`, the frontier after this one, decide.
    pub fn decides<'a>(&self, rules: &Rules, next: &Self, signers: impl Iterator<Item = &'a PeerId> + Clone) -> bool {
        let by_work = next.clock >= self.after(rules, FADED_AFTER) && next.share(signers.clone()).exceeds(2, 3);
        by_work || self.backs(rules, next, signers)
    }

    /// The same, and so many of this frontier's own voters are among them that an honest one is.
    pub fn backs<'a>(&self, rules: &Rules, next: &Self, signers: impl Iterator<Item = &'a PeerId> + Clone) -> bool {
        let (old, new) = (self.share(signers.clone()), next.share(signers));
        old.exceeds(2, 3) || next.clock >= self.fades_at(rules) && new.exceeds(2, 3) && old.exceeds(1, 3)
    }

    /// With how many tokens in all the weights of this frontier's voters begin to fade.
    pub fn fades_at(&self, rules: &Rules) -> u64 {
        self.after(rules, FADES_AFTER)
    }

    /// With how many tokens in all a lock on `next`, which would follow this frontier, has faded.
    pub fn frees_at(&self, rules: &Rules, next: &Self) -> u64 {
        let by_work = next.clock >= self.after(rules, FADED_AFTER);
        next.after(rules, if by_work { FREES_AFTER } else { FADES_AFTER })
    }

    fn after(&self, rules: &Rules, epochs: u64) -> u64 {
        self.clock.saturating_add(epochs.saturating_mul(rules.frontier_every_tokens))
    }

    /// Whether `peer`'s vote for `next` counts.
    pub fn may_vote(&self, next: &Self, peer: &PeerId) -> bool {
        self.weight(peer) > 0 || next.weight(peer) > 0
    }

    fn share<'a>(&self, signers: impl Iterator<Item = &'a PeerId>) -> Share {
        let of = signers.map(|peer| u128::from(self.weight(peer))).sum();
        Share { of, all: self.voters.iter().map(|voter| u128::from(voter.weight)).sum() }
    }
}

/// A part of a whole weight.
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
    /// Whether the rows are the frontier's, in canonical order, and its voters are, too.
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
    /// Checks that this certificate makes its frontier the one after `previous`.
    ///
    /// # Errors
    /// [`NotFinal`] says why it does not.
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

    /// Whether voters of `previous` stand behind it, so many that an honest one does, which has checked everything. If not,
    /// it is proven only to those who can check its frontier themselves.
    pub fn is_backed(&self, rules: &Rules, previous: &Frontier) -> bool {
        previous.backs(rules, &self.frontier, self.signed.iter().map(|signed| &signed.voter))
    }

    /// Whether this certificate stands against `other`, which makes another frontier the one after `previous`: the one
    /// that more of `previous`'s voters signed does, and of equals the one with the smaller name.
    pub fn is_stronger(&self, other: &Self, previous: &Frontier) -> bool {
        let behind = |c: &Self| previous.share(c.signed.iter().map(|signed| &signed.voter)).of;
        match behind(self).cmp(&behind(other)) {
            core::cmp::Ordering::Greater => true,
            core::cmp::Ordering::Less => false,
            core::cmp::Ordering::Equal => self.frontier.name() < other.frontier.name(),
        }
    }
}
