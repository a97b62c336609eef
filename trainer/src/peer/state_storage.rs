//! Storage of a peer's states: memory, or, for states larger than `device.state_memory`, files of its folder that the system
//! maps into memory. Such a file has no name, so it is gone however the process ends.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, Write},
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use memmap2::MmapMut;
use murmur_collectives::{Cells, State};

use crate::error::{Exit, Failure};

/// Bytes of one integer of a state.
const INTEGER_BYTES: usize = size_of::<i64>();

/// Bytes of zeros written at once.
const PIECE_BYTES: usize = 1 << 16;

/// Where states of a run are stored.
#[derive(Debug, Clone)]
pub(super) enum StateStorage {
    /// Memory; the number of parameters.
    Memory(usize),
    /// Files in this folder; the number of parameters.
    Files(usize, PathBuf),
}

impl StateStorage {
    /// For states of `parameters` parameters: in memory if one takes at most `memory_mib` MiB, else in files in `dir`.
    pub(super) fn new(parameters: usize, memory_mib: usize, dir: &Path) -> Self {
        let fits = parameters.div_ceil((1 << 20) / INTEGER_BYTES) <= memory_mib;
        if fits { Self::Memory(parameters) } else { Self::Files(parameters, dir.to_owned()) }
    }

    /// Parameters of a state.
    pub(super) fn parameters(&self) -> usize {
        match self {
            Self::Memory(parameters) | Self::Files(parameters, _) => *parameters,
        }
    }

    /// A state of zeros.
    ///
    /// # Errors
    /// [`Exit::DiskFull`], [`Exit::Checkpoint`] when there is no room for it on the disk.
    pub(super) fn zeros(&self) -> Result<State, Failure> {
        match self {
            Self::Memory(parameters) => Ok(vec![0; *parameters].into()),
            Self::Files(parameters, dir) => Mapped::zeros(*parameters, dir)
                .map(State::new)
                .map_err(|error| Failure::io(Exit::Checkpoint, "make room for the model's state in", dir, &error)),
        }
    }
}

/// Integers in a file without a name.
#[derive(Debug)]
struct Mapped {
    /// A whole number of integers. A mapping begins with a page, so they are aligned.
    map: MmapMut,
    dir: PathBuf,
}

impl Mapped {
    fn zeros(length: usize, dir: &Path) -> io::Result<Self> {
        let bytes = length.checked_mul(INTEGER_BYTES).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut file = tempfile::tempfile_in(dir)?;
        reserve(&mut file, bytes)?;
        // SAFETY: the file has no name, so no other process can open it, and nothing changes or shortens it while it is mapped.
        let map = unsafe { MmapMut::map_mut(&file) }?;
        Ok(Self { map, dir: dir.to_owned() })
    }
}

/// Writes zeros instead of only setting the length: a full disk is an error here, and would be the end of the process later.
fn reserve(file: &mut File, bytes: usize) -> io::Result<()> {
    let zeros = [0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(PIECE_BYTES);
        file.write_all(&zeros[..piece])?;
        left -= piece;
    }
    Ok(())
}

impl Deref for Mapped {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        bytemuck::cast_slice(&self.map)
    }
}

impl DerefMut for Mapped {
    fn deref_mut(&mut self) -> &mut [i64] {
        bytemuck::cast_slice_mut(&mut self.map)
    }
}

impl Cells for Mapped {
    /// In memory after all if the disk is full: the caller cannot do without.
    fn zeros(&self) -> Box<dyn Cells> {
        match Self::zeros(self.len(), &self.dir) {
            Ok(zeros) => Box::new(zeros),
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "no room on the disk for a state: it goes to memory");
                Box::new(vec![0; self.len()])
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn in_files(parameters: usize) -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateStorage::new(parameters, 0, dir.path()).zeros().unwrap();
        (dir, state)
    }

    #[test]
    fn what_is_larger_than_the_memory_given_goes_to_files() {
        let dir = Path::new("somewhere");
        let is_memory = |parameters, mib| matches!(StateStorage::new(parameters, mib, dir), StateStorage::Memory(_));
        assert!(is_memory(1 << 17, 1) && !is_memory((1 << 17) + 1, 1) && !is_memory(1, 0));
    }

    #[test]
    fn a_state_in_a_file_is_like_one_in_memory_and_leaves_nothing_behind() {
        let (dir, mut state) = in_files(10_000);
        assert_eq!(state, State::from(vec![0; 10_000]));
        state.iter_mut().zip(0..).for_each(|(value, n)| *value = n * n - 5);
        let (copy, blank) = (state.clone(), state.zeros());
        state[9_999] = 7;
        assert_eq!((copy[9_999], copy[3], blank.iter().any(|value| *value != 0)), (9_999 * 9_999 - 5, 4, false));
        assert_eq!(dir.path().read_dir().unwrap().count(), 0, "the files have no names");
    }

    #[test]
    fn no_place_for_files_is_an_error_that_names_the_folder() {
        let failure = StateStorage::new(10, 0, Path::new("/nonexistent/of/murmur")).zeros().unwrap_err();
        assert!(failure.sentence().contains("/nonexistent/of/murmur"), "{}", failure.sentence());
        let (dir, state) = in_files(10);
        drop(dir);
        assert_eq!(state.zeros().len(), 10, "in memory, as the folder is gone");
    }
}
