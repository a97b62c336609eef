//! Checkpoint files of a peer: the model for other tools, written at intervals of the token clock and at the end.
//! They are for people and their tools; the peer itself begins again from its log and the newest final frontier.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use murmur_collectives::{Fold, Hash};

use super::Reporter;
use crate::{
    learn::model::ModelConfig,
    protocol::EventKind,
    run::{
        checkpoint::{Checkpoint, CheckpointError},
        manifest::Manifest,
    },
};

/// Files kept.
const KEPT: usize = 2;

/// Where and when checkpoint files are written.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    dir: PathBuf,
    model: ModelConfig,
    run: Hash,
    reporter: Reporter,
    every: u64,
    /// The clock at which the next one is due.
    due: u64,
    /// Held while a file is written: one on the way and the one at the end may be of the same clock.
    writing: Arc<Mutex<()>>,
}

impl Checkpoints {
    pub(super) fn new(dir: &Path, run: Hash, manifest: &Manifest, reporter: Reporter) -> Self {
        let every = manifest.checkpoint_every_tokens;
        Self { dir: dir.to_owned(), model: manifest.model(), run, reporter, every, due: every, writing: Arc::default() }
    }

    /// Takes the present state, at `clock`, if that has come far enough since the last time.
    pub(super) fn take_if_due(&mut self, clock: u64, fold: &Fold) -> Option<Checkpoint> {
        if self.every == 0 || clock < self.due {
            return None;
        }
        self.due = clock.saturating_add(self.every);
        Some(self.take(fold))
    }

    /// Takes the present state.
    pub(super) fn take(&self, fold: &Fold) -> Checkpoint {
        let (model, run_id, clock) = (self.model, self.run.0, fold.clock());
        Checkpoint { model, run_id, clock, state: fold.present_state().clone(), extra: BTreeMap::new() }
    }

    /// Writes a file, removes old ones, and names the new one. The file of a large model takes a while.
    ///
    /// # Errors
    /// [`CheckpointError::Write`]; the files from before are still there.
    pub(super) fn write(&self, checkpoint: &Checkpoint) -> Result<PathBuf, CheckpointError> {
        let (path, clock) = (self.dir.join(file_name(checkpoint.clock)), checkpoint.clock);
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = checkpoint.write(&path);
        drop(writing);
        let said = match &written {
            Ok(()) => {
                drop_old(&self.dir);
                format!("checkpoint at {clock} tokens")
            }
            Err(error) => format!("checkpoint not written: {error}"),
        };
        self.reporter.event(EventKind::Checkpoint, None, said);
        written.map(|()| path)
    }

    /// Writes one while training goes on. One that cannot be written is reported and costs nothing else: the one at the end
    /// is what a run is for.
    pub(super) fn write_on_the_way(&self, checkpoint: &Checkpoint) {
        let _ = self.write(checkpoint);
    }

    /// The newest file there is.
    pub(super) fn newest(&self) -> Option<PathBuf> {
        files(&self.dir).pop()
    }
}

/// Sorts by clock.
fn file_name(clock: u64) -> String {
    format!("checkpoint-{clock:015}.safetensors")
}

fn drop_old(dir: &Path) {
    let files = files(dir);
    let old = files.len().saturating_sub(KEPT);
    for path in &files[..old] {
        let _ = fs::remove_file(path);
    }
}

/// The checkpoint files of a folder, oldest first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(dir) else { return Vec::new() };
    let is_ours = |name: &str| name.starts_with("checkpoint-") && name.ends_with(".safetensors");
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let mut ours: Vec<PathBuf> =
        paths.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours)).collect();
    ours.sort();
    ours
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::run::manifest::tests::manifest;

    fn checkpoint(of: &Checkpoints, clock: u64) -> Checkpoint {
        let state = vec![0; of.model.params()].into();
        Checkpoint { model: of.model, run_id: of.run.0, clock, state, extra: BTreeMap::new() }
    }

    #[test]
    fn the_newest_files_stay_and_one_that_cannot_be_written_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), Hash([1; 32]), &manifest(), Reporter);
        let written: Vec<PathBuf> =
            [5, 70, 600].iter().map(|clock| checkpoints.write(&checkpoint(&checkpoints, *clock)).unwrap()).collect();
        assert_eq!(files(dir.path()), written[1..]);
        assert_eq!(checkpoints.newest().as_ref(), written.last());
        fs::create_dir(dir.path().join(file_name(7000))).unwrap();
        assert!(checkpoints.write(&checkpoint(&checkpoints, 7000)).is_err(), "a folder stands in the way");
        let parts = fs::read_dir(dir.path()).unwrap().filter_map(|file| file.ok()?.file_name().into_string().ok());
        assert_eq!(parts.filter(|name| name.ends_with(".part")).count(), 0);
        assert!(files(dir.path()).contains(&written[2]));
    }
}
