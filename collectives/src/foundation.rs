//! The foundation of a final frontier: totals of the pruned entries and names of the kept ones. A newcomer needs it to
//! continue from the frontier without the log before it. The frontier contains its digest, so a newcomer checks it first.

use rkyv::{Archive, Deserialize, Serialize, rancor};

use crate::{Component, Hash, Pace, PeerId, VersionVector};

/// The longest foundation that is accepted, in bytes.
pub const FOUNDATION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Totals of the pruned part of one author's chain.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AuthorTotals {
    /// The author.
    pub author: PeerId,
    /// The number of pruned positions.
    pub count: u32,
    /// Hash of the last pruned entry.
    pub head: Hash,
    /// The newest epoch that the last pruned entry knew.
    pub epoch: u32,
    /// Tokens of the pruned updates that counted.
    pub tokens: u64,
    /// Number of pruned updates.
    pub updates: u32,
    /// Norm of the newest pruned update that counted.
    pub latest_norm: Option<u64>,
    /// Root of the carry after the newest pruned update; [`Hash::NONE`] if it has none.
    pub carry: Hash,
    /// Whether its next update can go on from that carry: it goes back to a fresh one without a gap in the chain.
    pub founded: bool,
    /// The sortition key that the author enrolled.
    pub vrf_key: [u8; 32],
    /// Whether a verdict that counts confirmed one of its updates.
    pub vouched: bool,
    /// The position from which on its updates are void, if a quorum of verdicts found one false.
    pub void_from: Option<u32>,
    /// Whether a fork of its chain is proven; such a chain is never continued.
    pub forked: bool,
}

/// A final entry that is kept.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its position.
    pub seq: u32,
    /// Its hash.
    pub hash: Hash,
    /// Its weight in 16-bit fixed point; zero for entries that are no updates.
    pub weight_q16: u32,
    /// Whether its tokens count, if it is an update, or its verdict.
    pub counts: bool,
}

/// The kept entries of one author.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct KeptChain {
    /// The author.
    pub author: PeerId,
    /// Its kept entries by position, with gaps where entries were excluded.
    pub entries: Vec<Kept>,
}

/// What a peer needs besides the state to continue from frontier G₍e₎: totals at G₍e₋₂₎ and the names of all entries since.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Foundation {
    /// What is pruned, authors ascending.
    pub author_totals: Vec<AuthorTotals>,
    /// The frontier between, G₍e₋₁₎.
    pub middle: Vec<Component>,
    /// The pace that G₍e₋₁₎ fixed, by which the entries that name its epoch are weighed.
    pub middle_pace: Pace,
    /// The kept entries, authors ascending.
    pub kept: Vec<KeptChain>,
}

impl Foundation {
    /// The bytes that are sent and digested.
    pub fn encode(&self) -> Vec<u8> {
        rkyv::to_bytes::<rancor::Error>(self).expect("a foundation serializes into memory").to_vec()
    }

    /// Reads the bytes of [`Foundation::encode`]; `None` for any others, and for more than [`FOUNDATION_BYTES_MAX`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let read = |bytes| rkyv::from_bytes::<Self, rancor::Failure>(bytes).ok();
        let foundation = (bytes.len() <= FOUNDATION_BYTES_MAX).then(|| read(bytes)).flatten()?;
        foundation.is_canonical().then_some(foundation)
    }

    /// Its digest, which is the blob root of its bytes: a newcomer fetches it as a blob of this root.
    pub fn digest(&self) -> Hash {
        Hash(murmur_kernels::blob_root(&self.encode()))
    }

    /// The pruned set.
    pub fn view(&self) -> VersionVector {
        self.author_totals.iter().map(|totals| (totals.author, totals.count)).collect()
    }

    fn is_canonical(&self) -> bool {
        let author_totals = self.author_totals.windows(2).all(|pair| pair[0].author < pair[1].author);
        let chains = self.kept.windows(2).all(|pair| pair[0].author < pair[1].author);
        let ascending = |chain: &KeptChain| chain.entries.windows(2).all(|pair| pair[0].seq < pair[1].seq);
        author_totals && chains && self.middle_pace.is_canonical() && self.kept.iter().all(ascending)
    }
}
