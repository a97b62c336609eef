//! Who a peer is: an Ed25519 key pair, its public half as [`PeerId`], and a petname people can say.

use core::{cmp::Ordering, fmt};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rkyv::{Archive, Deserialize, Serialize};

/// A participant: its Ed25519 public key, 32 bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash)]
#[rkyv(derive(PartialEq, Eq, PartialOrd, Ord))]
pub struct PeerId(pub [u8; 32]);

/// The order of the bytes, by words: maps of peers compare names more often than they do anything else.
impl Ord for PeerId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.words().cmp(&other.words())
    }
}

impl PartialOrd for PeerId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PeerId {
    fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks();
        core::array::from_fn(|index| u64::from_be_bytes(words[index]))
    }

    /// A two-word name and four hex digits, derived from the key: easy to say, not unique, never used to decide.
    pub fn petname(&self) -> String {
        let digest = blake3::derive_key("murmuration petname v1", &self.0);
        let adjective = ADJECTIVES[usize::from(digest[0]) % ADJECTIVES.len()];
        let bird = BIRDS[usize::from(digest[1]) % BIRDS.len()];
        format!("{adjective}-{bird}-{:02x}{:02x}", self.0[0], self.0[1])
    }

    /// Checks `signature` over `message`. Rejects small-order keys and non-canonical signatures.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        crate::holds(&[b"signature", &self.0, signature, message], || {
            VerifyingKey::from_bytes(&self.0)
                .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
                .is_ok()
        })
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.petname())
    }
}

/// A peer's secret: 32 bytes from which its Ed25519 key follows. Signing is deterministic (RFC 8032).
#[derive(Clone)]
pub struct Identity(SigningKey);

impl Identity {
    /// The identity that follows from a secret seed. The caller provides the randomness.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The secret seed, to be stored where only its owner can read it.
    pub fn secret(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// A secret for another purpose (`context` names it), independent of the signing key.
    pub fn derive_secret(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.0.to_bytes())
    }

    /// The public half.
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id().petname())
    }
}

const ADJECTIVES: [&str; 32] = [
    "amber", "bold", "brisk", "calm", "clever", "coral", "daring", "dusky", "eager", "fair", "gentle", "golden",
    "hardy", "keen", "lively", "lunar", "mellow", "misty", "nimble", "noble", "quiet", "rapid", "rustic", "silver",
    "smooth", "solar", "steady", "sunny", "swift", "velvet", "vivid", "wild",
];

const BIRDS: [&str; 32] = [
    "avocet", "bunting", "crane", "curlew", "dipper", "dunlin", "egret", "falcon", "finch", "godwit", "heron", "ibis",
    "jackdaw", "kestrel", "knot", "lapwing", "linnet", "magpie", "martin", "merlin", "oriole", "osprey", "petrel",
    "plover", "redwing", "robin", "rook", "sparrow", "starling", "swallow", "swift", "wren",
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_verifies_only_for_its_message_and_author() {
        let (alice, bob) = (Identity::from_secret(&[1; 32]), Identity::from_secret(&[2; 32]));
        let signature = alice.sign(b"hello");
        assert!(alice.peer_id().verifies(b"hello", &signature));
        assert!(!alice.peer_id().verifies(b"hullo", &signature));
        assert!(!bob.peer_id().verifies(b"hello", &signature));
    }

    #[test]
    fn a_small_order_key_signs_nothing() {
        let mut identity_point = [0u8; 32];
        identity_point[0] = 1;
        assert!(!PeerId(identity_point).verifies(b"anything", &[0; 64]));
    }

    #[test]
    fn names_are_ordered_as_their_bytes_are() {
        let step = |at: usize, value: u8| core::array::from_fn(|index| if index == at { value } else { 0x80 });
        let names: Vec<[u8; 32]> = (0..32).flat_map(|at| [0, 0x7f, 0x80, 0xff].map(|value| step(at, value))).collect();
        for (one, other) in names.iter().flat_map(|one| names.iter().map(move |other| (one, other))) {
            assert_eq!(PeerId(*one).cmp(&PeerId(*other)), one.cmp(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_petname_is_stable() {
        let id = Identity::from_secret(&[7; 32]).peer_id();
        assert_eq!(id.petname(), id.petname());
        assert_eq!(id.petname().split('-').count(), 3);
    }
}
