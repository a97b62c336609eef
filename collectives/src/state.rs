//! A state θ in fixed point, and its storage: memory, or what the host gives where memory is too small.

use core::{
    fmt::Debug,
    ops::{Deref, DerefMut},
};

/// Storage for the integers of a state, `[parameters]`: a `Vec`, or for example a file that the host maps into memory.
pub trait Cells: DerefMut<Target = [i64]> + Debug + Send + Sync {
    /// As many zeros, in storage of the same kind.
    fn zeros(&self) -> Box<dyn Cells>;
}

impl Cells for Vec<i64> {
    fn zeros(&self) -> Box<dyn Cells> {
        Box::new(vec![0; self.len()])
    }
}

/// The integers of a state, `[parameters]`. What is made from one is held as it is: the host that chose where θ₀ lies has
/// chosen for all states of the run.
#[derive(Debug)]
pub struct State(Box<dyn Cells>);

impl State {
    /// A state in this storage.
    pub fn new(cells: impl Cells + 'static) -> Self {
        Self(Box::new(cells))
    }

    /// As many zeros, in storage of the same kind.
    pub fn zeros(&self) -> Self {
        Self(self.0.zeros())
    }
}

impl Clone for State {
    fn clone(&self) -> Self {
        let mut copy = self.zeros();
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for State {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.0
    }
}

impl DerefMut for State {
    fn deref_mut(&mut self) -> &mut [i64] {
        &mut self.0
    }
}

impl From<Vec<i64>> for State {
    fn from(integers: Vec<i64>) -> Self {
        Self::new(integers)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for State {}
