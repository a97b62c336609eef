//! The peers of this machine: folders with an identity that a process holds.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::Endpoint;
use crate::{error::Exit, run::identity_file};

/// How many folders deep peers are looked for: account, group, run, peer.
const DEPTH_MAX: usize = 3;

/// Folders looked at, at most: the folder given may be a home folder.
const FOLDERS_MAX: usize = 10_000;

/// A peer's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The folder.
    pub folder: PathBuf,
    /// Where its peer answers, if it runs and says so.
    pub http: Option<SocketAddr>,
    /// Whether a process holds its identity.
    pub runs: bool,
}

/// The peers below `root`, or in it, sorted by folder. What cannot be read holds none.
pub fn find(root: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    let mut left = FOLDERS_MAX;
    search(root, DEPTH_MAX, &mut left, &mut found);
    found.sort_by(|one, other| one.folder.cmp(&other.folder));
    found
}

fn search(folder: &Path, depth: usize, left: &mut usize, found: &mut Vec<Found>) {
    if identity_file::exists(folder) {
        found.push(look(folder));
        return;
    }
    let Some(deeper) = depth.checked_sub(1) else { return };
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let Some(fewer) = left.checked_sub(1) else { return };
        *left = fewer;
        search(&entry.path(), deeper, left, found);
    }
}

fn look(folder: &Path) -> Found {
    let held = identity_file::check_free(folder);
    let runs = held.is_err_and(|failure| failure.exit() == Exit::IdentityInUse);
    Found { folder: folder.to_owned(), http: Endpoint::read(folder).filter(|_| runs), runs }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_runs_while_its_identity_is_held() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("runs/abc/peer-0");
        fs::create_dir_all(&folder).unwrap();
        identity_file::save(&folder, &identity_file::generate().unwrap()).unwrap();
        let http = "127.0.0.1:9".parse().unwrap();
        let _endpoint = Endpoint::leave(&folder, http).unwrap();
        let idle = Found { folder: folder.clone(), http: None, runs: false };
        assert_eq!(find(root.path()), [idle]);
        let held = identity_file::HeldIdentity::open(&folder).unwrap();
        let running = Found { folder: folder.clone(), http: Some(http), runs: true };
        assert_eq!(find(root.path()).first(), Some(&running));
        assert_eq!(find(&folder), [running], "a peer's own folder will do");
        drop(held);
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        assert_eq!(find(Path::new("/no/such/folder")), []);
    }
}
