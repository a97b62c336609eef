//! The run folder of a benchmark, with a manifest, founders and newcomers. It is removed at the end.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use murmur_collectives::{Founder, Identity};
use murmur_verification::Lottery;

use crate::{
    config::{Inputs, Resolved, Settings},
    error::{Exit, Failure},
    launcher::PeerPlan,
    learn::{
        data::{Corpus, DataSource},
        model::{Architecture, gpt::Gpt},
    },
    peer::Pace,
    run::{
        identity_file::{self, create_folder},
        manifest::{Manifest, Parts},
        state_dir::StateDir,
        ticket::{ADDRESSES_MAX, Ticket},
    },
};

/// The data root of a run without data.
const NO_DATA: &str = "murmuration no data v1";

/// Updates of each founder from one final frontier to the next. A run of 4096 frontiers, the most there can be, ends long
/// after any benchmark.
const UPDATES_PER_FRONTIER: u64 = 5;

const BATCH: u64 = 2;

/// What the peers of a benchmark work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Nothing, on about this many parameters.
    StandIn {
        /// How many were asked for.
        params: u64,
    },
    /// A tiny model on the built-in text.
    Tiny,
    /// What `murmur run` trains, by the settings' defaults, on the built-in text.
    Train,
}

/// A folder with a run in it.
#[derive(Debug)]
pub(super) struct RunFolder {
    dir: StateDir,
    settings: Settings,
    program: PathBuf,
    params: usize,
    _cleanup: Cleanup,
}

/// Removes the folder, whatever happens.
#[derive(Debug)]
struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        // What cannot be removed is in the system's folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl RunFolder {
    /// A new run with `founders` founders. `sets` are further settings of the run.
    ///
    /// # Errors
    /// [`Exit::Config`] when the folder cannot be made or the model cannot be; [`Exit::DiskFull`]; [`Exit::Data`] when the
    /// built-in text is needed and not there.
    pub(super) fn new(name: &str, founders: usize, work: Work, sets: &[&str]) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("murmur-bench-{name}-{}", std::process::id()));
        let cleanup = Cleanup(path.clone());
        let settings = settings(work, founders, sets)?;
        let data_root = data_root(work)?;
        let identities = (0..founders).map(|_| identity_file::generate()).collect::<Result<Vec<_>, _>>()?;
        let parts = Parts { founders: identities.iter().map(founder).collect(), data_root, genesis: None };
        let manifest = Manifest::new(&settings, parts)?;
        let (params, bytes) = (manifest.model().params(), manifest.to_bytes());
        let dir = StateDir::create_run(&path, Manifest::run_id(&bytes).0, &bytes, &identities, Vec::new())?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(Exit::Device, "cannot find murmur's own program").because(error))?;
        Ok(Self { dir, settings, program, params, _cleanup: cleanup })
    }

    /// Parameters of the model.
    pub(super) fn params(&self) -> usize {
        self.params
    }

    /// The program that is a peer.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The folder of a peer.
    pub(super) fn folder(&self, index: usize) -> PathBuf {
        self.dir.peer(index)
    }

    /// How to start the peer of folder `index`: by `ticket`, or as a founder; at `pace`, or training.
    pub(super) fn plan(&self, index: usize, ticket: Option<&Ticket>, pace: Option<Pace>) -> PeerPlan {
        let mut plan = PeerPlan::new(&self.dir, index, &self.settings, ticket, None);
        plan.arguments.push("--tell-folds".into());
        let pace = pace.map(|pace| OsString::from(pace.to_string()));
        plan.arguments.extend(pace.into_iter().flat_map(|pace| ["--stand-in".into(), pace]));
        plan
    }

    /// Makes the folder of a peer that is not a founder.
    ///
    /// # Errors
    /// [`Exit::Config`]; [`Exit::DiskFull`].
    pub(super) fn newcomer(&self, index: usize) -> Result<(), Failure> {
        let folder = self.dir.peer(index);
        create_folder(&folder)?;
        identity_file::save(&folder, &identity_file::generate()?)
    }

    /// A ticket with the first of `addresses`; none without any.
    pub(super) fn ticket(&self, addresses: &[SocketAddr]) -> Option<Ticket> {
        Ticket::new(self.dir.run_id(), &addresses[..addresses.len().min(ADDRESSES_MAX)]).ok()
    }
}

fn founder(identity: &Identity) -> Founder {
    Founder { peer: identity.peer_id(), vrf_key: Lottery::of(identity).public() }
}

fn settings(work: Work, founders: usize, sets: &[&str]) -> Result<Settings, Failure> {
    let sets = sets.iter().map(|&set| set.to_owned());
    let model = match work {
        Work::Train => return Resolved::new(&Inputs { sets: sets.collect(), ..Inputs::default() })?.settings(),
        Work::StandIn { params } => nearest_model(params),
        Work::Tiny => Gpt { layers: 1, heads: 2, d_model: 16, context: 32 },
    };
    let steps = if work == Work::Tiny { 5 } else { 1 };
    let every = UPDATES_PER_FRONTIER * founders as u64 * steps * BATCH * model.context() as u64;
    let dimensions = model.family().dimensions.iter().zip(model.sizes());
    let mut given: Vec<String> = dimensions.map(|(known, size)| format!("{}={size}", known.setting)).collect();
    given.extend([
        format!("train.steps={steps}"),
        format!("train.batch={BATCH}"),
        format!("finality.every={every}"),
        format!("run.tokens={}", 4096 * every),
    ]);
    // A stand-in computes nothing of any profile.
    given.extend((work != Work::Tiny).then(|| "numeric=class".to_owned()));
    given.extend(sets);
    Resolved::new(&Inputs { sets: given, ..Inputs::default() })?.settings()
}

/// The model of at most eight layers whose number of parameters is nearest to `params`; of equally near ones the
/// shallowest.
fn nearest_model(params: u64) -> Gpt {
    let shape = |(layers, d_model)| Gpt { layers, heads: 1, d_model, context: 8 };
    let shapes = (1..=8).flat_map(|layers| (1..=256).map(move |eighth| (layers, 8 * eighth))).map(shape);
    shapes.min_by_key(|model| (model.params() as u64).abs_diff(params)).expect("there are many shapes")
}

fn data_root(work: Work) -> Result<[u8; 32], Failure> {
    match work {
        Work::StandIn { .. } => Ok(blake3::derive_key(NO_DATA, &[])),
        Work::Tiny | Work::Train => Ok(Corpus::load(&DataSource::Registry)?.root()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_about_as_large_as_asked() {
        for asked in [200_000, 2_400_000, 10_000_000] {
            let params = nearest_model(asked).params() as u64;
            assert!(params.abs_diff(asked) * 100 < asked * 2, "{params} for {asked}");
        }
    }

    #[test]
    fn the_folder_is_gone_when_the_benchmark_is() {
        let run_folder = RunFolder::new("run_folder-test", 2, Work::StandIn { params: 20_000 }, &[]).unwrap();
        let folder = run_folder.folder(1);
        assert!(folder.join("identity").exists());
        drop(run_folder);
        assert!(!folder.exists());
    }
}
