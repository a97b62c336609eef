//! Claims: what an entry's signature says, short enough that two of them prove a fork in a quarter of a kilobyte.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{Entry, Hash, PeerId};

const CONTEXT: &str = "murmuration claim v1";

/// "My entry number `seq`, said when I knew epoch `epoch` to be final, is `entry`."
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Position in the author's chain.
    pub seq: u32,
    /// The newest final epoch the author knew.
    pub epoch: u32,
    /// Hash of the entry.
    pub entry: Hash,
    /// The author's signature.
    pub signature: [u8; 64],
}

/// Two claims of one author that an honest one cannot both make: two entries for one position, or a later entry that
/// knows an earlier epoch.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Equivocation {
    /// Who made them.
    pub author: PeerId,
    /// One of them.
    pub first: Claim,
    /// The other.
    pub second: Claim,
}

impl Claim {
    /// What is signed.
    pub(crate) fn digest(run: Hash, author: PeerId, seq: u32, epoch: u32, entry: Hash) -> Hash {
        let (seq, epoch) = (seq.to_le_bytes(), epoch.to_le_bytes());
        Hash::of(CONTEXT, &[&run.0[..], &author.0, &seq, &epoch, &entry.0].concat())
    }

    fn is_signed_by(&self, run: Hash, author: PeerId) -> bool {
        author.verifies(&Self::digest(run, author, self.seq, self.epoch, self.entry).0, &self.signature)
    }
}

impl Equivocation {
    /// The evidence that two entries of one author make, if they make any.
    pub fn of(one: &Entry, other: &Entry) -> Self {
        let (one, other, author) = (one.claim(), other.claim(), one.author());
        let (first, second) =
            if (one.seq, one.entry) <= (other.seq, other.entry) { (one, other) } else { (other, one) };
        Self { author, first, second }
    }

    /// Checks the evidence on its own. Returns the author and the position from which its chain does not count.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn accused(&self, run: Hash) -> Result<(PeerId, u32), &'static str> {
        let (first, second) = (&self.first, &self.second);
        let twice = first.seq == second.seq && first.entry != second.entry;
        let backwards = first.seq < second.seq && first.epoch > second.epoch;
        if !twice && !backwards {
            return Err("the claims do not contradict each other");
        }
        if !first.is_signed_by(run, self.author) || !second.is_signed_by(run, self.author) {
            return Err("a claim is not signed by the accused for this run");
        }
        Ok((self.author, first.seq))
    }
}
