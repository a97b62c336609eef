//! Domain-separated BLAKE3: a hash made for one purpose never equals a hash made for another.

use core::fmt;

use rkyv::{Archive, Deserialize, Serialize};

/// A 32-byte BLAKE3 hash.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[rkyv(derive(PartialEq, Eq, PartialOrd, Ord))]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// All zero: "nothing before", never the hash of anything known.
    pub const NONE: Self = Self([0; 32]);

    /// Hashes `bytes` for the purpose that `context` names.
    pub fn of(context: &str, bytes: &[u8]) -> Self {
        Self(blake3::derive_key(context, bytes))
    }

    /// The first eight bytes: enough to notice a difference, too few to rely on.
    pub fn prefix(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}
