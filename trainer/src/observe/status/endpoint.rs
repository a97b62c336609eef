//! The file in a peer's folder with the address that it serves metrics and status at.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::error::{Exit, Failure};

/// Name of the file in a peer's folder.
pub(super) const NAME: &str = "endpoint.json";

/// Longer files are none of ours.
const BYTES_MAX: u64 = 4096;

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    schema: String,
    http: SocketAddr,
}

/// The file while its peer runs; dropping it removes it.
#[derive(Debug)]
pub struct Endpoint(PathBuf);

impl Endpoint {
    /// Says in the folder `dir` that its peer answers at `http`.
    ///
    /// # Errors
    /// [`Exit::Config`] when it cannot be written; [`Exit::DiskFull`].
    pub fn leave(dir: &Path, http: SocketAddr) -> Result<Self, Failure> {
        let path = dir.join(NAME);
        let content = Content { schema: "murmur.endpoint/1".to_owned(), http };
        let text = serde_json::to_vec(&content).expect("two strings serialize");
        fs::write(&path, text).map_err(|error| Failure::io(Exit::Config, "write", &path, &error))?;
        Ok(Self(path))
    }

    /// Where the peer of the folder `dir` last answered. A damaged file says nothing.
    pub fn read(dir: &Path) -> Option<SocketAddr> {
        let path = dir.join(NAME);
        if fs::metadata(&path).ok()?.len() > BYTES_MAX {
            return None;
        }
        let content: Content = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (content.schema == "murmur.endpoint/1").then_some(content.http)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // A file that stays names an address where no process answers, which its reader notices.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_as_long_as_its_peer() {
        let dir = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:9000".parse().unwrap();
        let endpoint = Endpoint::leave(dir.path(), address).unwrap();
        assert_eq!(Endpoint::read(dir.path()), Some(address));
        drop(endpoint);
        assert_eq!(Endpoint::read(dir.path()), None);
    }

    #[test]
    fn a_damaged_file_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{}", r#"{"schema":"murmur.endpoint/2","http":"127.0.0.1:1"}"#, &" ".repeat(5000)] {
            fs::write(dir.path().join(NAME), text).unwrap();
            assert_eq!(Endpoint::read(dir.path()), None, "{text}");
        }
    }
}
