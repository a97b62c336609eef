//! Texts before they are split, and the root that commits to them.

use std::collections::BTreeMap;

/// One text and the name it has for people, with `/` between parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) text: Vec<u8>,
}

/// Texts in the order of their contents' hashes, no content twice: the same texts under other names are the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Documents {
    by_hash: BTreeMap<[u8; 32], Document>,
    copies: Vec<String>,
}

impl Documents {
    /// Sorts, and drops every text whose content another one has: a copy in both parts would leak.
    pub(super) fn new(mut documents: Vec<Document>) -> Self {
        documents.sort_by(|a, b| a.name.cmp(&b.name));
        let mut distinct = Self::default();
        for document in documents {
            let hash = *blake3::hash(&document.text).as_bytes();
            match distinct.by_hash.get(&hash) {
                Some(first) => distinct.copies.push(format!("{}, the same as {}", document.name, first.name)),
                None => drop(distinct.by_hash.insert(hash, document)),
            }
        }
        distinct
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Document> {
        self.by_hash.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.iter().map(|document| document.text.len() as u64).sum()
    }

    /// The texts that were dropped, in the order of their names: `b, the same as a`.
    pub(super) fn copies(&self) -> &[String] {
        &self.copies
    }

    /// BLAKE3 over the hash of each content, in order.
    pub(super) fn root(&self) -> [u8; 32] {
        let mut root = blake3::Hasher::new_derive_key("murmuration data root v2");
        for hash in self.by_hash.keys() {
            root.update(hash);
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
    fn the_root_is_that_of_the_contents_whatever_their_names_and_order() {
        let root = |documents: &[Document]| Documents::new(documents.to_vec()).root();
        let (a, b) = (document("a", "one"), document("b", "two"));
        assert_eq!(root(&[a.clone(), b.clone()]), root(&[b.clone(), a.clone()]));
        assert_eq!(root(&[a.clone(), b.clone()]), root(&[document("x/1", "two"), document("x/2", "one")]));
        assert_ne!(root(&[a.clone(), b.clone()]), root(&[a.clone(), document("b", "three")]));
        assert_ne!(root(&[a.clone(), b]), root(&[a]));
    }

    #[test]
    fn names_do_not_change_the_order_of_the_texts() {
        let texts = |documents: &[Document]| -> Vec<Vec<u8>> {
            Documents::new(documents.to_vec()).iter().map(|document| document.text.clone()).collect()
        };
        let named =
            |names: [&str; 3]| [document(names[0], "one"), document(names[1], "two"), document(names[2], "three")];
        assert_eq!(texts(&named(["a", "b", "c"])), texts(&named(["c", "b", "a"])));
    }

    #[test]
    fn a_copy_counts_once_and_is_told() {
        let documents = Documents::new(vec![document("b", "same"), document("a", "same"), document("c", "other")]);
        let mut names: Vec<_> = documents.iter().map(|document| document.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(documents.copies(), ["b, the same as a"]);
    }
}
