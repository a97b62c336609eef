//! Where the tensors of a block lie in the flat vector.

use core::ops::Range;

use murmur_kernels::exact::{Matrix, ShapeError};

use crate::layout::{Entry, Layout};

/// A tensor of the flat vector.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) range: Range<usize>,
    shape: [usize; 2],
}

impl Place {
    fn of(entry: &Entry) -> Self {
        let shape = [entry.shape[0], entry.shape.get(1).copied().unwrap_or(1)];
        Self { range: entry.range(), shape }
    }
}

/// The tensors of one block.
#[derive(Clone, Debug)]
pub(super) struct BlockPlaces {
    pub(super) attention_norm: [Place; 2],
    pub(super) qkv: [Place; 2],
    pub(super) output: [Place; 2],
    pub(super) mlp_norm: [Place; 2],
    pub(super) up: [Place; 2],
    pub(super) down: [Place; 2],
}

/// All tensors.
#[derive(Clone, Debug)]
pub(super) struct WeightPlaces {
    pub(super) token: Place,
    pub(super) position: Place,
    pub(super) blocks: Vec<BlockPlaces>,
    pub(super) norm: [Place; 2],
    pub(super) head: Place,
}

impl WeightPlaces {
    /// Reads the places off a layout, in its order.
    pub(super) fn of(layout: &Layout, layers: usize) -> Self {
        let mut entries = layout.entries().iter().map(Place::of);
        let mut next = || entries.next().expect("a layout has all tensors of its own model");
        let (token, position) = (next(), next());
        let mut pair = || [next(), next()];
        let mut block = || BlockPlaces {
            attention_norm: pair(),
            qkv: pair(),
            output: pair(),
            mlp_norm: pair(),
            up: pair(),
            down: pair(),
        };
        let blocks = (0..layers).map(|_| block()).collect();
        let norm = pair();
        Self { token, position, blocks, norm, head: next() }
    }
}

/// The parameters and where each tensor lies in them.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) params: &'a [f32],
    pub(super) places: &'a WeightPlaces,
}

impl<'a> Weights<'a> {
    pub(super) fn values(&self, place: &Place) -> &'a [f32] {
        &self.params[place.range.clone()]
    }

    pub(super) fn matrix(&self, place: &Place) -> Result<Matrix<'a>, ShapeError> {
        Matrix::new(self.values(place), place.shape[0], place.shape[1])
    }
}

/// The slices of two tensors that lie one after the other.
pub(super) fn pair<'g>(grad: &'g mut [f32], [first, second]: &[Place; 2]) -> [&'g mut [f32]; 2] {
    let (first, second) = grad[first.range.start..second.range.end].split_at_mut(first.range.len());
    [first, second]
}
