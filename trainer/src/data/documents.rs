//! Named texts before they are split, and the root that commits to them.

use std::collections::BTreeSet;

/// One text and the name it has in every copy of the data, with `/` between parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) text: Vec<u8>,
}

/// Texts sorted by name, no content twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Documents(Vec<Document>);

impl Documents {
    /// Sorts, then drops every text whose content an earlier one has: a copy in both parts would leak.
    pub(super) fn new(mut documents: Vec<Document>) -> Self {
        documents.sort_by(|a, b| a.name.cmp(&b.name));
        let mut seen = BTreeSet::new();
        documents.retain(|document| seen.insert(*blake3::hash(&document.text).as_bytes()));
        Self(documents)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Document> {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|document| document.text.len() as u64).sum()
    }

    /// BLAKE3 over each name (its length first) and the hash of its content, in order.
    pub(super) fn root(&self) -> [u8; 32] {
        let mut root = blake3::Hasher::new_derive_key("murmuration data root v1");
        for Document { name, text } in &self.0 {
            root.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            root.update(blake3::hash(text).as_bytes());
        }
        *root.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str, text: &str) -> Document {
        Document { name: name.to_owned(), text: text.as_bytes().to_vec() }
    }

    #[test]
    fn the_root_ignores_the_order_of_reading_and_nothing_else() {
        let root = |documents: &[Document]| Documents::new(documents.to_vec()).root();
        let (a, b) = (document("a", "one"), document("b", "two"));
        assert_eq!(root(&[a.clone(), b.clone()]), root(&[b.clone(), a.clone()]));
        assert_ne!(root(&[a.clone(), b.clone()]), root(&[a.clone(), document("b", "three")]));
        assert_ne!(root(&[a.clone(), b]), root(&[a, document("c", "two")]));
    }

    #[test]
    fn a_copy_counts_once() {
        let documents = Documents::new(vec![document("b", "same"), document("a", "same"), document("c", "other")]);
        let names: Vec<_> = documents.iter().map(|document| document.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
