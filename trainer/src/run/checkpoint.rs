//! Checkpoints: one safetensors file that other tools load as named f32 tensors and that we load bit for bit.
//!
//! Beside the named tensors lies `murmur.state`, the fixed-point state itself (I64), whose root is in the metadata.
//! A file is replaced whole or not at all, and loading recomputes the root, so a torn or damaged file is never used.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use murmur_collectives::State;
use murmur_kernels::{state_root, to_f32};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use thiserror::Error;

use crate::error::{Exit, Failure, is_full};
use crate::learn::model::{ModelConfig, ModelConfigError};

/// Extension of a file that is being written.
pub(crate) const PART: &str = "safetensors.part";

const STATE: &str = "murmur.state";
const STATE_ROOT: &str = "murmur.state_root";
const RUN_ID: &str = "murmur.run_id";
const CLOCK: &str = "murmur.clock";
const MODEL: &str = "murmur.model";

/// A model at a moment of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Shape of the model.
    pub model: ModelConfig,
    /// The run it belongs to.
    pub run_id: [u8; 32],
    /// Token clock: tokens in the causal past of the state.
    pub clock: u64,
    /// θ in fixed point. `[params]`
    pub state: State,
    /// Further metadata, kept as it is. Keys must not begin with `murmur.`, except those of later versions.
    pub extra: BTreeMap<String, String>,
}

/// Why a checkpoint was not written or not read. A file that was there before is unchanged.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file could not be read.
    #[error("cannot read checkpoint {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The file could not be written; the kind tells a full disk apart.
    #[error("cannot write checkpoint {path}: {error}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Not a safetensors file, or a truncated one.
    #[error("{path} is not a whole safetensors file: {error}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: SafeTensorError,
    },
    /// A safetensors file, but not one of ours, or of a later version.
    #[error("{path} is not a murmur checkpoint: {what}")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// The state is not the one the metadata names.
    #[error("{path} is corrupt: its state has root {found}, its metadata says {expected}")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Root of the state in the file, in hex.
        found: String,
        /// Root in the metadata, in hex.
        expected: String,
    },
    /// A named tensor is not the rounded state.
    #[error("{path} is corrupt: tensor {name} does not agree with the state")]
    Tensor {
        /// Which file.
        path: PathBuf,
        /// Which tensor.
        name: String,
    },
}

impl Checkpoint {
    /// θ as the model computes with it, in the order of the layout.
    pub fn params(&self) -> Vec<f32> {
        let mut params = vec![0.0; self.state.len()];
        to_f32(&self.state, &mut params);
        params
    }

    /// Writes the file whole: beside it first, flushed to the disk, then renamed over it.
    ///
    /// # Errors
    /// [`CheckpointError::Write`]; the old file, if any, is then still there.
    ///
    /// # Panics
    /// If the state does not fit the model: a bug of the caller.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let part = path.with_extension(PART);
        let written = self.write_part(&part).and_then(|()| replace(path, &part));
        written.map_err(|error| {
            // Half a file is of no use, and takes space that is short.
            let _ = fs::remove_file(&part);
            CheckpointError::Write { path: path.to_owned(), error }
        })
    }

    /// Reads a file and checks it against its own state root.
    ///
    /// # Errors
    /// Unreadable, not ours, or corrupt; the message names the file and, where they differ, both roots.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = fs::read(path).map_err(|error| CheckpointError::Read { path: path.to_owned(), error })?;
        Reader { path }.read(&bytes)
    }

    /// Tensors as they are written, one after the other: no more than one is held beside the state.
    fn write_part(&self, part: &Path) -> io::Result<()> {
        let layout = self.model.layout();
        assert_eq!(layout.params(), self.state.len(), "the state fits the model");
        let named = layout.entries().iter().map(|entry| {
            let tensor = Written { shape: entry.shape.clone(), state: &self.state[entry.range()], dtype: Dtype::F32 };
            (entry.name.as_str(), tensor)
        });
        let state = Written { shape: vec![self.state.len()], state: &self.state, dtype: Dtype::I64 };
        let tensors = named.chain([(STATE, state)]);
        safetensors::serialize_to_file(tensors, Some(self.metadata()), part)
            .map_err(|error| if let SafeTensorError::IoError(error) = error { error } else { io::Error::other(error) })
    }

    fn metadata(&self) -> HashMap<String, String> {
        let own = [
            ("format", "pt".to_owned()),
            (STATE_ROOT, HEX.encode(&state_root(&self.state))),
            (RUN_ID, HEX.encode(&self.run_id)),
            (CLOCK, self.clock.to_string()),
            (MODEL, serde_json::to_string(&self.model).expect("a struct of integers is JSON")),
        ];
        let extra = self.extra.iter().map(|(key, value)| (key.clone(), value.clone()));
        extra.chain(own.map(|(key, value)| (key.to_owned(), value))).collect()
    }
}

/// Part of the state as a tensor of a file.
struct Written<'a> {
    shape: Vec<usize>,
    state: &'a [i64],
    /// I64 as it is, or F32 as the model computes with it.
    dtype: Dtype,
}

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if self.dtype == Dtype::I64 {
            return little_endian(self.state);
        }
        let mut values = vec![0.0; self.state.len()];
        to_f32(self.state, &mut values);
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.state.len() * self.dtype.bitsize() / 8
    }
}

/// The integers of a state as they are written, without a copy where that is how they lie.
pub(crate) fn little_endian(state: &[i64]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(state))
    } else {
        Cow::Owned(state.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}

/// Durable even if the machine stops at any moment: the file is flushed before it takes its name, the folder after that.
fn replace(path: &Path, part: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    fs::rename(part, path)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn read(&self, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let format = |error| CheckpointError::Format { path: self.path.to_owned(), error };
        let tensors = SafeTensors::deserialize(bytes).map_err(format)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
        let mut metadata: BTreeMap<_, _> = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let mut take =
            |key: &str| metadata.remove(key).ok_or_else(|| self.foreign(format!("no {key} in its metadata")));
        let _format = take("format")?;
        let (root, run_id, clock, model) = (take(STATE_ROOT)?, take(RUN_ID)?, take(CLOCK)?, take(MODEL)?);
        let model: ModelConfig = serde_json::from_str(&model).map_err(|error| self.foreign(error.to_string()))?;
        model.check().map_err(|error: ModelConfigError| self.foreign(error.to_string()))?;
        let state = self.state(&tensors, model.params(), &root)?;
        let clock = clock.parse().map_err(|_| self.foreign(format!("{CLOCK} is {clock:?}")))?;
        let checkpoint = Checkpoint { model, run_id: self.hash(RUN_ID, &run_id)?, clock, state, extra: metadata };
        self.check_named(&tensors, &checkpoint)?;
        Ok(checkpoint)
    }

    fn state(&self, tensors: &SafeTensors<'_>, params: usize, root: &str) -> Result<State, CheckpointError> {
        let view = tensors.tensor(STATE).map_err(|_| self.foreign(format!("no tensor {STATE}")))?;
        if view.dtype() != Dtype::I64 || view.shape() != [params] {
            return Err(self.foreign(format!("{STATE} is {:?} {:?}, not I64 [{params}]", view.dtype(), view.shape())));
        }
        let (words, _) = view.data().as_chunks::<8>();
        let state: Vec<i64> = words.iter().map(|word| i64::from_le_bytes(*word)).collect();
        let (found, expected) = (HEX.encode(&state_root(&state)), root.to_owned());
        let corrupt = || CheckpointError::Corrupt { path: self.path.to_owned(), found: found.clone(), expected };
        if found == root { Ok(state.into()) } else { Err(corrupt()) }
    }

    /// The named tensors are what other tools see, so they must be the state's.
    fn check_named(&self, tensors: &SafeTensors<'_>, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let params = checkpoint.params();
        for entry in checkpoint.model.layout().entries() {
            let expected: Vec<u8> = params[entry.range()].iter().flat_map(|value| value.to_le_bytes()).collect();
            let agrees = |view: TensorView<'_>| view.dtype() == Dtype::F32 && view.data() == expected;
            if !tensors.tensor(&entry.name).is_ok_and(agrees) {
                return Err(CheckpointError::Tensor { path: self.path.to_owned(), name: entry.name.clone() });
            }
        }
        Ok(())
    }

    fn hash(&self, key: &str, hex: &str) -> Result<[u8; 32], CheckpointError> {
        let bytes = HEX.decode(hex.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| self.foreign(format!("{key} is not 64 hex digits")))
    }

    fn foreign(&self, what: String) -> CheckpointError {
        CheckpointError::Foreign { path: self.path.to_owned(), what }
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        let exit = match &error {
            CheckpointError::Read { error, .. } | CheckpointError::Write { error, .. } if is_full(error) => {
                Exit::DiskFull
            }
            CheckpointError::Read { .. }
            | CheckpointError::Write { .. }
            | CheckpointError::Format { .. }
            | CheckpointError::Foreign { .. }
            | CheckpointError::Corrupt { .. }
            | CheckpointError::Tensor { .. } => Exit::Checkpoint,
        };
        Self::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests;
