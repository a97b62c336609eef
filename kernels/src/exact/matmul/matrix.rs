//! A matrix somewhere in a slice.

use core::ops::Range;

use thiserror::Error;

/// Two operands that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{op}: {left:?} does not fit {right:?}")]
pub struct ShapeError {
    /// The operation that refused.
    pub op: &'static str,
    /// Shape of one operand.
    pub left: Vec<usize>,
    /// Shape of the other.
    pub right: Vec<usize>,
}

impl ShapeError {
    /// `Ok` if the two are equal.
    pub(crate) fn unless_equal(op: &'static str, left: &[usize], right: &[usize]) -> Result<(), Self> {
        if left == right { Ok(()) } else { Err(Self { op, left: left.to_vec(), right: right.to_vec() }) }
    }

    /// `Ok` if so many numbers are exactly what a matrix has. A shape that no slice has does not wrap around to one.
    pub(crate) fn unless_filled(op: &'static str, len: usize, shape: [usize; 2]) -> Result<(), Self> {
        let fits = shape[0].checked_mul(shape[1]) == Some(len);
        if fits { Ok(()) } else { Err(Self { op, left: vec![len], right: shape.to_vec() }) }
    }
}

/// A row-major matrix in a slice, or its transpose.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    rows: usize,
    columns: usize,
    /// Distance between the stored rows.
    pub(crate) stride: usize,
    pub(crate) transposed: bool,
}

impl<'a> Matrix<'a> {
    /// The rows one after the other.
    ///
    /// # Errors
    /// The slice is not exactly as long.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Result<Self, ShapeError> {
        ShapeError::unless_filled("matrix", values.len(), [rows, columns])?;
        Ok(Self { values, rows, columns, stride: columns, transposed: false })
    }

    /// The rows `stride` apart.
    ///
    /// # Errors
    /// A row is longer than the stride, or the slice ends before the last row does.
    pub fn strided(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Result<Self, ShapeError> {
        let needed = rows.checked_sub(1).map_or(Some(0), |last| last.checked_mul(stride)?.checked_add(columns));
        if columns <= stride && needed.is_some_and(|len| len <= values.len()) {
            return Ok(Self { values, rows, columns, stride, transposed: false });
        }
        Err(ShapeError { op: "matrix", left: vec![values.len()], right: vec![rows, columns, stride] })
    }

    /// Rows become columns; nothing is moved.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// `[rows, columns]`.
    pub fn shape(&self) -> [usize; 2] {
        if self.transposed { [self.columns, self.rows] } else { [self.rows, self.columns] }
    }

    /// Some rows and columns of it.
    ///
    /// # Panics
    /// They are not all there.
    pub(crate) fn part(&self, rows: Range<usize>, columns: &Range<usize>) -> Self {
        assert!(rows.end <= self.shape()[0] && columns.end <= self.shape()[1], "a part beyond its matrix");
        let [line, place] = if self.transposed { [columns.start, rows.start] } else { [rows.start, columns.start] };
        let start = (line * self.stride + place).min(self.values.len());
        let [lines, width] = if self.transposed { [columns.len(), rows.len()] } else { [rows.len(), columns.len()] };
        Self { values: &self.values[start..], rows: lines, columns: width, ..*self }
    }
}
