//! Entries: what a peer says, signed and chained by hash to what it said before.
//!
//! An entry travels as its header's bytes and a signature. The bytes are passed on as they came: the hash is over them, so
//! nothing depends on how a structure would be written again. The signature is over a short [`Claim`] that names the
//! entry by its hash, so that a fork is proven without the headers.

mod bytes;

use murmur_kernels::TopK;
use rkyv::{Archive, Deserialize, Serialize, rancor};

use self::bytes::Bytes;
use crate::{Claim, Component, Equivocation, Hash, Identity, PeerId, VersionVector};

/// The longest header accepted, in bytes: a base of all authors and the longest body.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// The most authors a base may name.
pub const BASE_AUTHORS_MAX: usize = 1024;

/// Hash context of a sortition value. Its text is part of the protocol: another one would draw other auditors.
const SORTITION_CONTEXT: &str = "murmuration audit ticket v1";
const ENTRY_CONTEXT: &str = "murmuration entry v1";

/// What is signed. `seq` counts an author's entries from 0; `previous` is the hash of the one before.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The run it belongs to: a header of one run means nothing in another.
    pub run: Hash,
    /// Who signed.
    pub author: PeerId,
    /// Position in the author's chain.
    pub seq: u32,
    /// Hash of the author's previous entry, [`Hash::NONE`] for the first.
    pub previous: Hash,
    /// The newest final epoch the author knew; never falls along a chain. See [`crate::Frontier`].
    pub epoch: u32,
    /// Name of that epoch's frontier, [`Hash::NONE`] for epoch 0.
    pub frontier: Hash,
    /// What the author had seen: its causal past.
    pub base: Vec<Component>,
    /// What is said.
    pub body: Body,
}

/// What an entry says.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// The first entry of every chain: the author's key for private sortition.
    Enroll(Enroll),
    /// Two claims of one author that contradict each other: proof of a fork, checkable by anyone.
    Equivocation(Equivocation),
    /// What was learned in one segment.
    Update(Update),
    /// The result of replaying another author's update.
    Verdict(Verdict),
}

/// Registers the author's sortition key, before anything it could be used for is known.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Enroll {
    /// Compressed ristretto point.
    pub vrf_key: [u8; 32],
}

/// The commitment to one segment's result.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// The author's segments before this one; part of the seed of its data.
    pub segment: u32,
    /// Inner steps taken.
    pub steps: u32,
    /// Merges of what others had added while the segment ran, in order. The base is the set after the last one.
    pub merges: Vec<Merge>,
    /// Tokens trained on: `steps` × the manifest's tokens per step.
    pub tokens: u64,
    /// Blob root of the payload.
    pub payload: Hash,
    /// Length of the payload in bytes.
    pub payload_bytes: u32,
    /// How many of every 4096 parameters it carries; at most [`Rules::top`](crate::Rules::top).
    pub top: u16,
    /// Norm of the decoded payload, in the unit of [`murmur_kernels::Norm`].
    pub norm: u64,
    /// Mean training loss of the segment in micro-nats per token, as the author saw it. Shown, never relied on.
    pub loss_micronats: u32,
    /// Merkle root of the trace's leaves.
    pub trace: Hash,
    /// Blob root of the sealed carry the segment started from; [`Hash::NONE`] if it started fresh,
    /// [`Update::CONTINUES`] if it goes on in the span of the author's previous update.
    pub carry_before: Hash,
    /// Blob root of the sealed carry after the segment; [`Hash::NONE`] if the span goes on.
    pub carry_after: Hash,
    /// Names the numeric class: machines of one class compute the same bits.
    pub class: Hash,
}

/// One merge: what had joined the author's set was added to the running parameters and to those that the difference is taken
/// from, so that the difference stays the author's own work.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Merge {
    /// Inner steps that were done by then; at least one.
    pub after_steps: u32,
    /// The set before it, as changes of the set after it: fewer entries of these authors.
    pub before: Vec<Component>,
}

/// Merges that no segment can have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the merges do not lead to the base")]
pub struct BadMerges;

impl Update {
    /// Stands for the private state after the author's previous update, to which no root was committed.
    pub const CONTINUES: Hash = Hash([0xff; 32]);

    /// The merges that lead from the first of `views` to the last, each given with the inner steps done by then.
    pub fn merges_of(views: &[(u32, VersionVector)]) -> Vec<Merge> {
        let merge = |pair: &[(u32, VersionVector)]| Merge {
            after_steps: pair[1].0,
            before: pair[0].1.changes_since(&pair[1].1),
        };
        views.windows(2).map(merge).collect()
    }

    /// What the segment of an update with this `base` started from, and the set after each merge, each with the inner steps
    /// done by then.
    ///
    /// # Errors
    /// [`BadMerges`] if there is no such order of sets, each larger than the one before it.
    pub fn views(&self, base: &VersionVector) -> Result<Vec<(u32, VersionVector)>, BadMerges> {
        let mut views = Vec::new();
        self.walk_back(base, |steps, view| views.push((steps, view.clone())))?;
        views.reverse();
        Ok(views)
    }

    /// Checks the merges as [`Update::views`] does, without a copy of each set: a stranger's header may name many.
    pub(crate) fn check_merges(&self, base: &VersionVector) -> Result<(), BadMerges> {
        self.walk_back(base, |_, _| ())
    }

    /// Visits the sets from the last one to the one that the segment started from.
    fn walk_back(&self, base: &VersionVector, mut visit: impl FnMut(u32, &VersionVector)) -> Result<(), BadMerges> {
        let (mut view, mut limit) = (base.clone(), self.steps);
        for Merge { after_steps, before } in self.merges.iter().rev() {
            let fewer = !before.is_empty() && before.iter().all(|change| change.count < view.count(&change.author));
            if !fewer || !(1..limit).contains(after_steps) {
                return Err(BadMerges);
            }
            limit = *after_steps;
            visit(limit, &view);
            view.change(before).map_err(|_| BadMerges)?;
        }
        visit(0, &view);
        Ok(())
    }

    /// The density of its payload; nothing for a number that no payload has, which no log admits.
    pub fn top_k(&self) -> Option<TopK> {
        TopK::new(self.top).ok()
    }

    /// Whether it begins a span: the updates from one committed private state to the next, which are audited together.
    pub fn begins_span(&self) -> bool {
        self.carry_before != Self::CONTINUES
    }

    /// Whether it ends its span: the private state after it is committed to.
    pub fn ends_span(&self) -> bool {
        self.carry_after != Hash::NONE
    }
}

/// The result of the audit of one span.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Author of the audited updates.
    pub author: PeerId,
    /// Position of the first of them in that author's chain.
    pub seq: u32,
    /// The first one's hash.
    pub update: Hash,
    /// Whether the replay gave the same bits.
    pub passed: bool,
    /// Digest of what the auditor computed.
    pub replay: Hash,
    /// Whether the auditor was drawn by the first or the confirming lottery.
    pub stage: Stage,
    /// VRF output, then proof: the evidence that the auditor was drawn.
    pub draw: [u8; 96],
}

impl Verdict {
    /// The number that sortition compares with the chance: its owner is drawn if the number lies below. A hash of the VRF
    /// output, which its owner cannot choose; `murmur-verification` checks that the output is the right one.
    pub fn sortition_value(draw: &[u8; 96]) -> u32 {
        let [first, second, third, fourth, ..] = Hash::of(SORTITION_CONTEXT, &draw[..32]).0;
        u32::from_le_bytes([first, second, third, fourth])
    }
}

/// Which lottery drew an auditor.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Held once for every update.
    First,
    /// Held when some auditor found a difference: others look, too.
    Confirm,
}

/// An entry as it travels and as it is stored.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WireEntry {
    /// The serialized [`Header`].
    pub header: Vec<u8>,
    /// The author's signature over its [`Claim`].
    pub signature: [u8; 64],
}

/// Why bytes are not an entry. All of these are the sender's or the author's fault; nothing was changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EntryError {
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("header of {0} bytes, allowed: {HEADER_BYTES_MAX}")]
    TooLong(usize),
    /// The bytes do not form a header.
    #[error("header bytes are malformed")]
    Malformed,
    /// Names more authors than [`BASE_AUTHORS_MAX`], or not in canonical order.
    #[error("the base version vector is not canonical")]
    Base,
    /// The signature is not the author's.
    #[error("signature does not verify")]
    Signature,
}

/// An entry whose structure and signature have been checked.
///
/// A base may name a thousand authors, so it is held once, and not in the header and the header's bytes as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Without its base.
    header: Header,
    base: VersionVector,
    bytes: Bytes,
    signature: [u8; 64],
    hash: Hash,
}

impl Entry {
    /// Signs `header` with `identity`, which must be its author's.
    pub fn sign(identity: &Identity, header: Header) -> Self {
        debug_assert_eq!(identity.peer_id(), header.author, "an entry is signed by its author");
        let bytes = rkyv::to_bytes::<rancor::Error>(&header).expect("a header serializes into memory");
        let hash = Hash::of(ENTRY_CONTEXT, &bytes);
        let signature = identity.sign(&Claim::digest(header.run, header.author, header.seq, header.epoch, hash).0);
        let base =
            VersionVector::from_components(&header.base).expect("a base made from a version vector is canonical");
        Self::held(header, base, &bytes, signature, hash)
    }

    /// Checks size, structure and signature, in this order.
    ///
    /// # Errors
    /// [`EntryError`] says which check failed.
    pub fn check(wire: WireEntry) -> Result<Self, EntryError> {
        let WireEntry { header: bytes, signature } = wire;
        if bytes.len() > HEADER_BYTES_MAX {
            return Err(EntryError::TooLong(bytes.len()));
        }
        let header = rkyv::from_bytes::<Header, rancor::Failure>(&bytes).map_err(|_| EntryError::Malformed)?;
        if header.base.len() > BASE_AUTHORS_MAX {
            return Err(EntryError::Base);
        }
        let base = VersionVector::from_components(&header.base).map_err(|_| EntryError::Base)?;
        let hash = Hash::of(ENTRY_CONTEXT, &bytes);
        let claimed = Claim::digest(header.run, header.author, header.seq, header.epoch, hash);
        if !header.author.verifies(&claimed.0, &signature) {
            return Err(EntryError::Signature);
        }
        Ok(Self::held(header, base, &bytes, signature, hash))
    }

    fn held(mut header: Header, base: VersionVector, bytes: &[u8], signature: [u8; 64], hash: Hash) -> Self {
        header.base = Vec::new();
        let bytes = Bytes::of(bytes, &base);
        Self { header, base, bytes, signature, hash }
    }

    /// What was signed, but for the base, which is [`Entry::base`]; see [`Entry::to_header`].
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// All that was signed.
    pub fn to_header(&self) -> Header {
        Header { base: self.base.to_components(), ..self.header.clone() }
    }

    /// Who signed.
    pub fn author(&self) -> PeerId {
        self.header.author
    }

    /// Position in the author's chain.
    pub fn seq(&self) -> u32 {
        self.header.seq
    }

    /// The entry's name: the hash of its header's bytes.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The newest final epoch the author knew.
    pub fn epoch(&self) -> u32 {
        self.header.epoch
    }

    /// What the signature says: who, where, when and what, without the contents.
    pub fn claim(&self) -> Claim {
        let (seq, epoch) = (self.header.seq, self.header.epoch);
        Claim { seq, epoch, entry: self.hash, signature: self.signature }
    }

    /// The author's causal past.
    pub fn base(&self) -> &VersionVector {
        &self.base
    }

    /// Holds the list of authors that its base names together with `other`, if that names the same. Whether it does.
    pub fn share_base(&mut self, other: &VersionVector) -> bool {
        self.base.share(other)
    }

    /// The form that travels.
    pub fn to_wire(&self) -> WireEntry {
        WireEntry { header: self.bytes.to_vec(&self.base), signature: self.signature }
    }

    /// Length of the header in the form that travels.
    pub fn header_bytes(&self) -> usize {
        self.bytes.len(&self.base)
    }

    /// Bytes it takes in memory; see [`VersionVector::held_bytes`].
    pub fn held_bytes(&self) -> usize {
        let merges = self.update().map_or(&[][..], |update| &update.merges);
        let merges: usize = merges.iter().map(|merge| size_of::<Merge>() + size_of_val(&merge.before[..])).sum();
        size_of::<Self>() + self.base.held_bytes() + self.bytes.held_bytes() + merges
    }

    /// The update it commits to, if it is one.
    pub fn update(&self) -> Option<&Update> {
        match &self.header.body {
            Body::Update(update) => Some(update),
            Body::Enroll(_) | Body::Equivocation(_) | Body::Verdict(_) => None,
        }
    }

    /// The verdict it gives, if it is one.
    pub fn verdict(&self) -> Option<&Verdict> {
        match &self.header.body {
            Body::Verdict(verdict) => Some(verdict),
            Body::Enroll(_) | Body::Equivocation(_) | Body::Update(_) => None,
        }
    }
}
