//! The folder of a run on this machine: one folder with a marker, and one folder per peer in it.
//!
//! ```text
//! <state-dir>/murmur.json      the run of this folder: run id, number of peers, run or join
//! <state-dir>/peer-0/identity  the peer's secret
//! <state-dir>/peer-0/manifest  the run's manifest; a joiner fetches it
//! <state-dir>/peer-0/peer.log  the peer's stderr
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use directories::ProjectDirs;
use murmur_collectives::Identity;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Exit, Failure, shell::shell_word},
    run::identity_file::{self, create_folder},
};

/// Name of the manifest in a peer's folder.
pub const MANIFEST: &str = "manifest";
/// Name of a peer's log in its folder.
pub const LOG: &str = "peer.log";
const MARKER: &str = "murmur.json";

/// How this machine came to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It started the run.
    Run,
    /// It joined with a ticket.
    Join,
}

/// Peers that cannot go on, by index, and why.
pub type Broken = Vec<(usize, Failure)>;

/// A folder that is known to be murmur's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
    marker: Marker,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    schema: String,
    origin: Origin,
    run_id: String,
    peers: usize,
    /// Settings of this machine that are not the defaults, `key=value`, for resuming.
    machine: Vec<String>,
}

impl StateDir {
    /// Makes the folder of a new run: a peer folder with identity and manifest for each of `identities`. `machine`
    /// are this machine's settings, kept for resuming.
    ///
    /// # Errors
    /// [`Exit::Config`] when the folder is not empty, or cannot be made; [`Exit::DiskFull`].
    pub fn create_run(
        path: &Path,
        run_id: [u8; 32],
        manifest: &[u8],
        identities: &[Identity],
        machine: Vec<String>,
    ) -> Result<Self, Failure> {
        if let Some(existing) = Self::open(path)? {
            return Err(existing.occupied());
        }
        let dir = Self::mark(path, Origin::Run, run_id, identities.len(), machine)?;
        let fill = |(index, identity): (usize, &Identity)| {
            let peer = dir.peer(index);
            create_folder(&peer)?;
            identity_file::save(&peer, identity)?;
            write_durably(&peer.join(MANIFEST), manifest)
        };
        match identities.iter().enumerate().try_for_each(fill) {
            Ok(()) => Ok(dir),
            Err(failure) => {
                dir.discard();
                Err(failure)
            }
        }
    }

    /// Removes what was made for a run that did not start, so that the folder can be used again. A folder that holds anything
    /// else stays.
    pub fn discard(self) {
        // A file that cannot be removed is named when the folder is used again.
        (0..self.peers()).for_each(|index| drop(fs::remove_dir_all(self.peer(index))));
        let _ = fs::remove_file(self.path.join(MARKER));
        let _ = fs::remove_dir(&self.path);
    }

    /// Opens or makes the folder for joining a run. A user who joined before joins as the same peer.
    ///
    /// # Errors
    /// [`Exit::Config`] when the folder belongs to something else; [`Exit::IdentityInUse`] when another process uses
    /// it; [`Exit::DiskFull`].
    pub fn for_join(path: &Path, run_id: [u8; 32]) -> Result<Self, Failure> {
        let dir = match Self::open(path)? {
            Some(dir) if dir.marker.origin == Origin::Join && dir.run_id() == run_id => dir,
            Some(other) => return Err(other.occupied()),
            None => Self::mark(path, Origin::Join, run_id, 1, vec![])?,
        };
        let peer = dir.peer(0);
        create_folder(&peer)?;
        if identity_file::exists(&peer) {
            identity_file::check_free_soon(&peer)?;
        } else {
            identity_file::save(&peer, &identity_file::generate()?)?;
        }
        Ok(dir)
    }

    /// Opens the folder of a run that this machine started, to go on with it. Says which of its peers cannot, and why: one
    /// that is damaged, or taken by another process, does not keep the others from going on.
    ///
    /// # Errors
    /// [`Exit::Checkpoint`] when there is no such run; what is wrong with the first peer when all of them cannot go on.
    pub fn for_resume(path: &Path) -> Result<(Self, Broken), Failure> {
        let failure = Failure::new(Exit::Checkpoint, format!("{} does not hold a run to resume", path.display()));
        if let Some(run) = Self::of_peer_folder(path) {
            let command = format!("murmur run --resume {}", shell_word(&run.path));
            return Err(failure.hint(format!("It is the folder of one peer. {command} goes on with the whole run.")));
        }
        let dir = match Self::open(path) {
            Ok(Some(dir)) if dir.marker.origin == Origin::Run => dir,
            Ok(Some(_)) => return Err(failure.hint("It was made by murmur join: join again with the same ticket.")),
            Ok(None) => return Err(failure.hint("Name the folder that a run printed as `state` when it started.")),
            Err(error) if error.exit() == Exit::Config => {
                return Err(failure.hint("Name the folder that a run printed as `state` when it started."));
            }
            Err(error) => return Err(error),
        };
        let check = |index: usize| identity_file::check_free_soon(&dir.peer(index)).err().map(|why| (index, why));
        let broken: Broken = (0..dir.peers()).filter_map(check).collect();
        match broken.first() {
            Some((_, why)) if broken.len() == dir.peers() => Err(why.clone()),
            Some(_) | None => Ok((dir, broken)),
        }
    }

    /// The run that this machine started and whose peer's folder `path` is.
    fn of_peer_folder(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        let dir = Self::open(path.parent()?).ok().flatten()?;
        let ours = dir.marker.origin == Origin::Run;
        (0..dir.peers()).any(|index| ours && dir.peer(index).file_name() == path.file_name()).then_some(dir)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run.
    pub fn run_id(&self) -> [u8; 32] {
        run_id_of(&self.marker).expect("the marker was checked when it was read or made")
    }

    /// Number of peers on this machine.
    pub fn peers(&self) -> usize {
        self.marker.peers
    }

    /// This machine's settings when the run was started, `key=value`; defaults are left out.
    pub fn machine_settings(&self) -> &[String] {
        &self.marker.machine
    }

    /// Folder of the `index`-th peer.
    pub fn peer(&self, index: usize) -> PathBuf {
        self.path.join(format!("peer-{index}"))
    }

    /// The run and the index of its peer whose folder `path` is, if this machine started run `run_id` there: a peer that
    /// was lost can come back by itself.
    ///
    /// # Errors
    /// [`Exit::IdentityInUse`] when that peer is still running.
    pub fn of_local_peer(path: &Path, run_id: [u8; 32]) -> Result<Option<(Self, usize)>, Failure> {
        let Some(dir) = path.parent().and_then(|parent| Self::open(parent).ok().flatten()) else { return Ok(None) };
        let ours = dir.marker.origin == Origin::Run && dir.run_id() == run_id;
        let name = path.file_name();
        let Some(index) = (0..dir.peers()).find(|index| ours && dir.peer(*index).file_name() == name) else {
            return Ok(None);
        };
        identity_file::check_free_soon(&dir.peer(index))?;
        Ok(Some((dir, index)))
    }

    /// Reads the marker; `None` when the folder is missing or empty.
    fn open(path: &Path) -> Result<Option<Self>, Failure> {
        let file = path.join(MARKER);
        match fs::read(&file) {
            Ok(bytes) => {
                let marker = serde_json::from_slice(&bytes).ok().filter(|marker| run_id_of(marker).is_some());
                let marker = marker.ok_or_else(|| foreign(path))?;
                Ok(Some(Self { path: path.to_owned(), marker }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_empty(path)? => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(foreign(path)),
            Err(error) => Err(Failure::io(Exit::Config, "read", &file, &error)),
        }
    }

    fn mark(
        path: &Path,
        origin: Origin,
        run_id: [u8; 32],
        peers: usize,
        machine: Vec<String>,
    ) -> Result<Self, Failure> {
        create_folder(path)?;
        let marker =
            Marker { schema: "murmur.state/1".to_owned(), origin, run_id: HEXLOWER.encode(&run_id), peers, machine };
        let text = serde_json::to_vec_pretty(&marker).expect("a marker holds only strings and numbers");
        write_durably(&path.join(MARKER), &text).inspect_err(|_| drop(fs::remove_dir(path)))?;
        // Where the shell is does not matter to the peers.
        let path = path.canonicalize().map_err(|error| Failure::io(Exit::Config, "open", path, &error))?;
        Ok(Self { path, marker })
    }

    fn occupied(&self) -> Failure {
        let failure = Failure::new(Exit::Config, format!("{} already holds another run", self.path.display()));
        match self.marker.origin {
            Origin::Run => failure.hint(format!(
                "To go on with it: murmur run --resume {}. Else pass another --state-dir.",
                shell_word(&self.path)
            )),
            Origin::Join => failure.hint("Pass another --state-dir."),
        }
    }
}

/// The platform's folder for murmur's data.
///
/// # Errors
/// [`Exit::Config`] when the account has none.
pub fn default_root() -> Result<PathBuf, Failure> {
    let dirs = ProjectDirs::from("", "", "murmur").ok_or_else(|| {
        Failure::new(Exit::Config, "this account has no home folder to keep runs in").hint("Pass --state-dir.")
    })?;
    Ok(dirs.data_dir().to_owned())
}

/// The folder of a run without `--state-dir`: `runs/` or `joined/` and the run id's start, in
/// [`default_root`].
///
/// # Errors
/// As [`default_root`].
pub fn default_path(origin: Origin, run_id: [u8; 32]) -> Result<PathBuf, Failure> {
    let group = match origin {
        Origin::Run => "runs",
        Origin::Join => "joined",
    };
    Ok(default_root()?.join(group).join(HEXLOWER.encode(&run_id[..6])))
}

fn run_id_of(marker: &Marker) -> Option<[u8; 32]> {
    let bytes = HEXLOWER.decode(marker.run_id.as_bytes()).ok()?;
    bytes.try_into().ok()
}

/// Whether a folder is missing or holds nothing.
fn is_empty(path: &Path) -> Result<bool, Failure> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Failure::io(Exit::Config, "open", path, &error)),
    }
}

fn foreign(path: &Path) -> Failure {
    Failure::new(Exit::Config, format!("{} is not empty and was not made by murmur", path.display()))
        .hint("Pass --state-dir with an empty folder or one that does not exist yet.")
}

/// Writes a file whole or not at all, and flushes it to the disk.
///
/// # Errors
/// [`Exit::Config`]; [`Exit::DiskFull`].
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fresh = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&fresh)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&fresh);
        Failure::io(Exit::Config, "write", path, &error)
    })
}

#[cfg(test)]
mod tests;
