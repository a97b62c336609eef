//! Checkpoint files of a peer: the model as others load it, written every so many tokens of the clock and at the end.
//! They are for people and their tools; the peer itself begins again from its log and the newest final frontier.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use murmur_collectives::{Fold, Hash};

use super::Reporter;
use crate::{checkpoint::Checkpoint, manifest::Manifest, model::ModelConfig, protocol::EventKind};

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
}

impl Checkpoints {
    pub(super) fn new(dir: &Path, run: Hash, manifest: &Manifest, reporter: Reporter) -> Self {
        let every = manifest.checkpoint_every_tokens;
        Self { dir: dir.to_owned(), model: manifest.model(), run, reporter, every, due: every }
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

    /// Writes a file and removes old ones. The folder of a large model takes a while.
    pub(super) fn write(&self, checkpoint: &Checkpoint) {
        let clock = checkpoint.clock;
        let said = match checkpoint.write(&self.dir.join(file_name(clock))) {
            Ok(()) => {
                drop_old(&self.dir);
                format!("checkpoint at {clock} tokens")
            }
            Err(error) => format!("checkpoint not written: {error}"),
        };
        self.reporter.event(EventKind::Checkpoint, None, said);
    }
}

/// Sorts by clock.
fn file_name(clock: u64) -> String {
    format!("checkpoint-{clock:015}.safetensors")
}

fn drop_old(dir: &Path) {
    let Ok(files) = fs::read_dir(dir) else { return };
    let is_ours = |name: &str| name.starts_with("checkpoint-") && name.ends_with(".safetensors");
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let mut ours: Vec<PathBuf> =
        paths.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours)).collect();
    ours.sort();
    let old = ours.len().saturating_sub(KEPT);
    for path in &ours[..old] {
        let _ = fs::remove_file(path);
    }
}
