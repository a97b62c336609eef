//! Where each named parameter lies in the one flat vector that everything else works on.

use core::ops::Range;

/// What a tensor is for; the optimizer and the initialization follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An embedding table, `[rows, d_model]`.
    Embedding,
    /// A matrix that multiplies activations, `[inputs, outputs]`.
    Matrix,
    /// The matrix that gives the scores of the vocabulary, `[d_model, vocabulary]`.
    Head,
    /// A matrix whose product is added to the residual stream, `[inputs, d_model]`.
    Residual,
    /// A gain, initially one.
    Gain,
    /// A bias, initially zero.
    Bias,
}

impl Role {
    /// Weight decay pulls matrices towards zero and leaves gains, biases and embeddings alone.
    pub fn decays(self) -> bool {
        matches!(self, Self::Matrix | Self::Head | Self::Residual)
    }

    /// Whether it is a hidden matrix: one from activations to activations. Muon is for these alone; what stands for single
    /// tokens, positions or channels has no directions that should learn equally fast.
    pub fn is_hidden_matrix(self) -> bool {
        matches!(self, Self::Matrix | Self::Residual)
    }
}

/// One named tensor: a row-major piece of the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// For example `blocks.0.attention.qkv.weight`.
    pub name: String,
    /// One or two dimensions, `[inputs, outputs]` for a matrix.
    pub shape: Vec<usize>,
    /// Index of its first value in the flat vector.
    pub offset: usize,
    /// What it is for.
    pub role: Role,
}

impl Entry {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when it has no values, which no valid model has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its indices in the flat vector.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// All tensors of a model, in the order they lie in the flat vector, without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    entries: Vec<Entry>,
    params: usize,
}

impl Layout {
    /// Appends a normalization of rows of width `d`: its gain and its bias.
    pub(crate) fn push_norm(&mut self, name: &str, d: usize) {
        self.push(&format!("{name}.weight"), &[d], Role::Gain);
        self.push(&format!("{name}.bias"), &[d], Role::Bias);
    }

    /// Appends a linear layer `[inputs, outputs]`: its matrix and its bias.
    pub(crate) fn push_linear(&mut self, name: &str, shape: [usize; 2], role: Role) {
        self.push(&format!("{name}.weight"), &shape, role);
        self.push(&format!("{name}.bias"), &shape[1..], Role::Bias);
    }

    /// Appends a tensor.
    pub(crate) fn push(&mut self, name: &str, shape: &[usize], role: Role) {
        let entry = Entry { name: name.to_owned(), shape: shape.to_vec(), offset: self.params, role };
        self.params += entry.len();
        self.entries.push(entry);
    }

    /// The tensors in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many parameters the model has.
    pub fn params(&self) -> usize {
        self.params
    }

    /// The flat vector cut into maximal runs that are all decayed or all not.
    pub fn decay_runs(&self) -> Vec<(Range<usize>, bool)> {
        let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
        for entry in &self.entries {
            let decays = entry.role.decays();
            match runs.last_mut() {
                Some((range, last)) if *last == decays => range.end = entry.range().end,
                Some(_) | None => runs.push((entry.range(), decays)),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use crate::{Architecture, gpt::Gpt};

    #[test]
    fn the_entries_tile_the_flat_vector() {
        let layout = Gpt::tiny().layout();
        let mut next = 0;
        for entry in layout.entries() {
            assert_eq!(entry.offset, next, "{}", entry.name);
            next = entry.range().end;
        }
        assert_eq!(next, layout.params());
    }

    #[test]
    fn the_decay_runs_tile_the_flat_vector_and_alternate() {
        let runs = Gpt::tiny().layout().decay_runs();
        assert!(runs.windows(2).all(|pair| pair[0].0.end == pair[1].0.start && pair[0].1 != pair[1].1));
        assert_eq!(runs.last().map(|run| run.0.end), Some(Gpt::tiny().layout().params()));
    }

    #[test]
    fn names_are_unique() {
        let layout = Gpt::tiny().layout();
        let names: std::collections::BTreeSet<_> = layout.entries().iter().map(|entry| &entry.name).collect();
        assert_eq!(names.len(), layout.entries().len());
    }
}
