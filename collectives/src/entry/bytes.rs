//! The bytes of a header as they came, without the part that says again what is held as the base.

use crate::{PeerId, VersionVector};

/// Bytes of a component of a base in a header.
const COMPONENT_BYTES: usize = 32 + 4;

/// The bytes of a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Bytes {
    /// What follows the components of the base, with which every header begins that [`super::Entry::sign`] wrote.
    AfterBase(Box<[u8]>),
    /// All of them: another program may have written them in another order.
    Whole(Box<[u8]>),
}

impl Bytes {
    pub(super) fn of(header: &[u8], base: &VersionVector) -> Self {
        match header.split_at_checked(base.len() * COMPONENT_BYTES) {
            Some((first, rest)) if first.chunks_exact(COMPONENT_BYTES).eq(base.iter().map(component)) => {
                Self::AfterBase(rest.into())
            }
            Some(_) | None => Self::Whole(header.into()),
        }
    }

    /// How many there are.
    pub(super) fn len(&self, base: &VersionVector) -> usize {
        match self {
            Self::AfterBase(rest) => base.len() * COMPONENT_BYTES + rest.len(),
            Self::Whole(all) => all.len(),
        }
    }

    /// All of them; `base` is the one that was given to [`Bytes::of`].
    pub(super) fn to_vec(&self, base: &VersionVector) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len(base));
        match self {
            Self::AfterBase(rest) => {
                base.iter().for_each(|named| bytes.extend_from_slice(&component(named)));
                bytes.extend_from_slice(rest);
            }
            Self::Whole(all) => bytes.extend_from_slice(all),
        }
        bytes
    }

    /// How many are held.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::AfterBase(held) | Self::Whole(held) => held.len(),
        }
    }
}

/// A component of a base as a header's bytes hold it.
fn component((author, count): (PeerId, u32)) -> [u8; COMPONENT_BYTES] {
    let mut bytes = [0; COMPONENT_BYTES];
    bytes[..32].copy_from_slice(&author.0);
    bytes[32..].copy_from_slice(&count.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BASE_AUTHORS_MAX, Body, Enroll, Entry, Hash, Header, Identity};

    fn signed(base: &VersionVector) -> Entry {
        let identity = Identity::from_secret(&[1; 32]);
        let (author, body) = (identity.peer_id(), Body::Enroll(Enroll { vrf_key: [0; 32] }));
        let [run, previous, frontier] = [Hash([2; 32]); 3];
        let base = base.to_components();
        Entry::sign(&identity, Header { run, author, seq: 0, previous, epoch: 0, frontier, base, body })
    }

    fn crowd(size: usize) -> VersionVector {
        let name = |n: usize| PeerId(*blake3::hash(&n.to_le_bytes()).as_bytes());
        (0..size).map(|n| (name(n), 1 + n as u32)).collect()
    }

    #[test]
    fn a_base_is_held_once_and_its_authors_once_for_all_who_name_them() {
        let base = crowd(BASE_AUTHORS_MAX);
        let mut entry = signed(&base);
        let (wire, alone) = (entry.to_wire(), entry.held_bytes());
        assert_eq!(wire.header.len(), entry.header_bytes());
        assert!(alone < wire.header.len() + 1200, "{alone} bytes for a header of {}", wire.header.len());
        assert!(entry.share_base(&base) && !entry.share_base(&crowd(7)));
        let shared = alone - 16 * BASE_AUTHORS_MAX;
        assert_eq!((entry.held_bytes(), Entry::check(wire)), (shared, Ok(entry)), "two hold the names");
    }

    #[test]
    fn bytes_in_another_order_come_back_as_they_were() {
        for size in [0, 1, 9] {
            let base = crowd(size);
            let header = signed(&base).to_wire().header;
            let turned: Vec<u8> = header.iter().rev().copied().collect();
            assert!(matches!(Bytes::of(&header, &base), Bytes::AfterBase(_)), "{size} authors");
            for bytes in [&header, &turned, &turned[..size].to_vec()] {
                assert_eq!(&Bytes::of(bytes, &base).to_vec(&base), bytes, "{size} authors");
            }
        }
    }
}
