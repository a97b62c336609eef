//! A matrix somewhere in a buffer, one for each head of each sequence of a batch.

use cubecl::prelude::*;

use crate::Buffer;

/// Where the numbers of a batch of matrices are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) values: &'a Buffer,
    /// The first number.
    pub(crate) first: usize,
    /// From one sequence to the next, one head to the next, one row to the next, one column to the next.
    pub(crate) strides: [usize; 4],
}

impl View<'_> {
    /// Rows become columns.
    pub(crate) fn transposed(self) -> Self {
        let [batch, head, row, column] = self.strides;
        Self { strides: [batch, head, column, row], ..self }
    }

    /// The view without its first rows.
    pub(crate) fn below(self, rows: usize) -> Self {
        Self { first: self.first + rows * self.strides[2], ..self }
    }

    /// Whether neighbouring numbers of a row are neighbours in memory.
    pub(crate) fn along_rows(self) -> bool {
        self.strides[3] == 1
    }

    /// Whether each row of `columns` numbers consists of whole groups of `count` neighbours, none of which begins within another.
    pub(crate) fn in_groups(self, count: usize, columns: usize) -> bool {
        let [batch, head, row, column] = self.strides;
        column == 1
            && [self.values.len(), self.first, batch, head, row, columns].iter().all(|at| at.is_multiple_of(count))
    }

    /// The buffer, and the rest as a kernel's argument.
    pub(crate) fn place(self) -> PlaceLaunch {
        let [batch, head, row, column] = self.strides;
        PlaceLaunch::new(self.first, batch, head, row, column)
    }
}

/// A [`View`] without its buffer, in a kernel.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Place {
    pub(crate) first: usize,
    pub(crate) batch: usize,
    pub(crate) head: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
}
