//! What the other modules' errors mean for the user: exit code and hint.

use super::{Exit, Failure, is_full, starved};
use crate::{
    learn::{
        data::DataError,
        model::{ModelConfigError, ReplicaError},
    },
    run::{checkpoint::CheckpointError, manifest::ManifestError},
};

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        let starved = if let DataError::Unreadable { error, .. } = &error { starved(error) } else { None };
        Self::new(starved.unwrap_or(Exit::Data), error.to_string())
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

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Self::new(Exit::Config, "these settings make no run").because(error)
    }
}

impl From<ModelConfigError> for Failure {
    fn from(error: ModelConfigError) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl From<ReplicaError> for Failure {
    fn from(error: ReplicaError) -> Self {
        Self::new(Exit::Device, "the model could not be computed").because(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_while_writing_a_checkpoint_is_exit_32() {
        let write = |kind| CheckpointError::Write { path: "/x".into(), error: io::Error::from(kind) };
        assert_eq!(Failure::from(write(io::ErrorKind::StorageFull)).exit(), Exit::DiskFull);
        assert_eq!(Failure::from(write(io::ErrorKind::NotFound)).exit(), Exit::Checkpoint);
    }

    #[test]
    fn each_error_has_its_own_code() {
        assert_eq!(Failure::from(DataError::Unpinned { name: "x" }).exit(), Exit::Data);
        let starved = DataError::Unreadable { path: "/x".into(), error: io::ErrorKind::OutOfMemory.into() };
        assert_eq!(Failure::from(starved).exit(), Exit::Device);
        assert_eq!(Failure::from(ManifestError::Malformed("x")).exit(), Exit::Config);
        assert_eq!(Failure::from(ReplicaError::Backend("x".into())).exit(), Exit::Device);
    }
}
