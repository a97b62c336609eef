//! Version vectors: how many entries of each author a set holds. They name a subset of the log.

use std::sync::Arc;

use rkyv::{Archive, Deserialize, Serialize};

use crate::{Hash, PeerId};

/// One component on the wire: the first `count` entries of `author`.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Component {
    /// Whose chain.
    pub author: PeerId,
    /// How many of its entries, from the first on.
    pub count: u32,
}

/// How many entries of each author are known. An absent author counts zero, and zero is never stored.
///
/// Copies of a vector share the list of authors, 32 bytes for each, as long as they name the same ones; see
/// [`VersionVector::share`]. A count takes four bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct VersionVector {
    /// Ascending.
    authors: Arc<Vec<PeerId>>,
    /// One of each author, positive.
    counts: Vec<u32>,
}

/// A vector on the wire that is not in its one canonical form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("version vector: authors must be strictly ascending and counts positive")]
pub struct NotCanonical;

impl VersionVector {
    /// Entries known of `author`.
    pub fn count(&self, author: &PeerId) -> u32 {
        self.find(author).ok().and_then(|at| self.counts.get(at)).copied().unwrap_or(0)
    }

    /// Sets the number of entries known of `author`.
    pub fn set(&mut self, author: PeerId, count: u32) {
        match self.find(&author) {
            Ok(at) if count == 0 => {
                Arc::make_mut(&mut self.authors).remove(at);
                self.counts.remove(at);
            }
            Ok(at) => self.counts[at] = count,
            Err(_) if count == 0 => {}
            Err(at) => {
                Arc::make_mut(&mut self.authors).insert(at, author);
                self.counts.insert(at, count);
            }
        }
    }

    /// Raises the number of entries known of `author` to at least `count`.
    pub fn raise(&mut self, author: PeerId, count: u32) {
        if count > self.count(&author) {
            self.set(author, count);
        }
    }

    fn find(&self, author: &PeerId) -> Result<usize, usize> {
        self.authors.binary_search(author)
    }

    /// Holds the list of authors together with `other`, if both name the same. Whether they do.
    pub fn share(&mut self, other: &Self) -> bool {
        let same = self.authors == other.authors;
        if same {
            self.authors = other.authors.clone();
        }
        same
    }

    /// Bytes it takes beside its own; of a list of authors held together its part.
    pub fn held_bytes(&self) -> usize {
        let authors = self.authors.capacity() * size_of::<PeerId>() / Arc::strong_count(&self.authors);
        authors + self.counts.capacity() * size_of::<u32>()
    }

    /// Whether entry number `seq` of `author` is in the named subset.
    pub fn contains(&self, author: &PeerId, seq: u32) -> bool {
        seq < self.count(author)
    }

    /// Whether every entry named by `other` is named by `self`.
    pub fn includes(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.authors, &other.authors) {
            return self.counts.iter().zip(&other.counts).all(|(ours, theirs)| ours >= theirs);
        }
        other.iter().all(|(author, count)| self.count(&author) >= count)
    }

    /// Authors with at least one entry, ascending, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, u32)> + '_ {
        self.authors.iter().copied().zip(self.counts.iter().copied())
    }

    /// Number of authors named.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether the empty set is named.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The canonical wire form: authors ascending, counts positive.
    pub fn to_components(&self) -> Vec<Component> {
        self.iter().map(|(author, count)| Component { author, count }).collect()
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`NotCanonical`] if authors repeat or are out of order, or a count is zero.
    pub fn from_components(components: &[Component]) -> Result<Self, NotCanonical> {
        let ascending = components.windows(2).all(|pair| pair[0].author < pair[1].author);
        if !ascending || components.iter().any(|component| component.count == 0) {
            return Err(NotCanonical);
        }
        Ok(Self {
            authors: Arc::new(components.iter().map(|component| component.author).collect()),
            counts: components.iter().map(|component| component.count).collect(),
        })
    }

    /// What makes `before` this vector: components that differ, authors ascending; a count of 0 stands for an author gone.
    pub fn changes_since(&self, before: &Self) -> Vec<Component> {
        let changed = joined(self, before).filter(|(_, now, then)| now != then);
        changed.map(|(author, count, _)| Component { author, count }).collect()
    }

    /// Makes the changes that [`VersionVector::changes_since`] lists.
    ///
    /// # Errors
    /// [`NotCanonical`] if authors repeat or are out of order; nothing was changed.
    pub fn change(&mut self, changes: &[Component]) -> Result<(), NotCanonical> {
        if changes.windows(2).any(|pair| pair[0].author >= pair[1].author) {
            return Err(NotCanonical);
        }
        changes.iter().for_each(|change| self.set(change.author, change.count));
        Ok(())
    }

    /// Authors of whom this vector names more entries than `other`, ascending.
    pub fn ahead_of<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = PeerId> + 'a {
        joined(self, other).filter(|(_, ours, theirs)| ours > theirs).map(|(author, _, _)| author)
    }

    /// A short name for the subset, for people and for comparing.
    pub fn digest(&self) -> Hash {
        let mut bytes = Vec::with_capacity(self.len() * 36);
        for (author, count) in self.iter() {
            bytes.extend_from_slice(&author.0);
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        Hash::of("murmuration version vector v1", &bytes)
    }
}

/// Authors that either vector names, ascending, with both counts: one walk instead of a search for each.
fn joined<'a>(a: &'a VersionVector, b: &'a VersionVector) -> impl Iterator<Item = (PeerId, u32, u32)> + 'a {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    core::iter::from_fn(move || {
        let first = match (a.peek(), b.peek()) {
            (Some((one, _)), Some((other, _))) => *one.min(other),
            (Some((only, _)), None) | (None, Some((only, _))) => *only,
            (None, None) => return None,
        };
        let count = |next: Option<(PeerId, u32)>| next.map_or(0, |(_, count)| count);
        Some((first, count(a.next_if(|(at, _)| *at == first)), count(b.next_if(|(at, _)| *at == first))))
    })
}

impl FromIterator<(PeerId, u32)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (PeerId, u32)>>(iter: I) -> Self {
        let mut all: Vec<(PeerId, u32)> = iter.into_iter().filter(|(_, count)| *count > 0).collect();
        all.sort_by_key(|(author, _)| *author);
        // Of two counts of one author the later stands.
        all.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            *kept = if same { *later } else { *kept };
            same
        });
        let (authors, counts) = all.into_iter().unzip();
        Self { authors: Arc::new(authors), counts }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector() -> impl Strategy<Value = VersionVector> {
        proptest::collection::btree_map(0u8..8, 0u32..5, 0..8)
            .prop_map(|map| map.into_iter().map(|(id, count)| (PeerId([id; 32]), count)).collect())
    }

    proptest! {
        #[test]
        fn the_wire_form_round_trips(vector in vector()) {
            prop_assert_eq!(VersionVector::from_components(&vector.to_components()).unwrap(), vector);
        }

        #[test]
        fn changes_lead_from_any_vector_to_any_other(a in vector(), b in vector()) {
            let changes = b.changes_since(&a);
            let mut changed = a.clone();
            changed.change(&changes).unwrap();
            prop_assert_eq!(&changed, &b);
            prop_assert_eq!(changes.is_empty(), a == b);
            let ahead: Vec<PeerId> = b.ahead_of(&a).collect();
            prop_assert_eq!(ahead.is_empty(), a.includes(&b));
            prop_assert!(ahead.iter().all(|author| b.count(author) > a.count(author)));
        }

        #[test]
        fn includes_is_a_partial_order(a in vector(), b in vector()) {
            prop_assert!(a.includes(&a));
            prop_assert_eq!(a.includes(&b) && b.includes(&a), a == b);
            let mut both = a.clone();
            b.iter().for_each(|(author, count)| both.raise(author, count));
            prop_assert!(both.includes(&a) && both.includes(&b));
        }
    }

    #[test]
    fn a_wire_form_with_repeats_or_zeros_is_refused() {
        let one = |id: u8, count| Component { author: PeerId([id; 32]), count };
        assert_eq!(VersionVector::from_components(&[one(1, 1), one(1, 2)]), Err(NotCanonical));
        assert_eq!(VersionVector::from_components(&[one(2, 1), one(1, 2)]), Err(NotCanonical));
        assert_eq!(VersionVector::from_components(&[one(1, 0)]), Err(NotCanonical));
        let mut held: VersionVector = [(PeerId([1; 32]), 7)].into_iter().collect();
        assert_eq!(held.change(&[one(2, 1), one(2, 2)]), Err(NotCanonical));
        assert_eq!((held.count(&PeerId([1; 32])), held.len()), (7, 1), "nothing was changed");
    }

    #[test]
    fn copies_share_their_authors_until_one_of_them_names_others() {
        let ids: Vec<PeerId> = (0..100).map(|id| PeerId([id; 32])).collect();
        let one: VersionVector = ids.iter().map(|id| (*id, 1)).collect();
        let alone = one.held_bytes();
        let mut other = one.clone();
        other.set(ids[7], 9);
        assert!((one.count(&ids[7]), other.count(&ids[7])) == (1, 9) && one.held_bytes() < alone);
        other.set(ids[7], 0);
        assert!((one.len(), other.len()) == (100, 99) && one.held_bytes() == alone && !other.share(&one));
        other.raise(ids[7], 3);
        assert!(other.share(&one) && one.held_bytes() < alone && other.includes(&one) && !one.includes(&other));
    }

    #[test]
    fn of_two_counts_of_one_author_the_later_stands() {
        let id = PeerId([1; 32]);
        let vector: VersionVector = [(id, 7), (PeerId([0; 32]), 1), (id, 3), (id, 0)].into_iter().collect();
        assert_eq!((vector.count(&id), vector.len()), (3, 2));
    }
}
