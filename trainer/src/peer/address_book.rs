//! The last known addresses of other peers: kept in the peer's folder so that a peer that starts again finds the run without
//! its ticket.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use murmur_collectives::PeerId;
use murmur_coordinatorless::PeerAddress;
use serde::{Deserialize, Serialize};

const NAME: &str = "addresses.json";
const SCHEMA: &str = "murmur.addresses/1";

/// Longer files are not believed: room for a few thousand lines.
const BYTES_MAX: u64 = 1 << 20;

/// Lines believed, at most.
const LINES_MAX: usize = 1024;

#[derive(Serialize, Deserialize)]
struct Content {
    schema: String,
    peers: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    peer: String,
    address: std::net::SocketAddr,
}

/// The file.
#[derive(Debug, Clone)]
pub(super) struct AddressBookFile(PathBuf);

impl AddressBookFile {
    /// The file in the folder `dir`, whether it is there or not.
    pub(super) fn of(dir: &Path) -> Self {
        Self(dir.join(NAME))
    }

    /// What it holds, in its order. A missing or damaged file counts as empty: the ticket or a neighbour gives addresses again.
    pub(super) fn read(&self) -> Vec<PeerAddress> {
        let small = fs::metadata(&self.0).is_ok_and(|file| file.len() <= BYTES_MAX);
        let bytes = if small { fs::read(&self.0).unwrap_or_default() } else { Vec::new() };
        let content: Option<Content> = serde_json::from_slice(&bytes).ok();
        let lines = content.filter(|content| content.schema == SCHEMA).map(|content| content.peers);
        lines.into_iter().flatten().take(LINES_MAX).filter_map(|line| line.parse()).collect()
    }

    /// Replaces what it holds, whole or not at all. Not flushed: losing it costs a slower start.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write(&self, peers: &[PeerAddress]) -> io::Result<()> {
        let line = |told: &PeerAddress| Line { peer: told.peer.to_string(), address: told.address() };
        let content = Content { schema: SCHEMA.to_owned(), peers: peers.iter().map(line).collect() };
        let fresh = self.0.with_extension("new");
        fs::write(&fresh, serde_json::to_vec_pretty(&content).map_err(io::Error::other)?)?;
        fs::rename(&fresh, &self.0)
    }
}

impl Line {
    fn parse(&self) -> Option<PeerAddress> {
        let id: [u8; 32] = HEXLOWER.decode(self.peer.as_bytes()).ok()?.try_into().ok()?;
        Some(PeerAddress::new(PeerId(id), self.address))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn book() -> Vec<PeerAddress> {
        let line = |n: u8, address: &str| PeerAddress::new(PeerId([n; 32]), address.parse().unwrap());
        vec![line(1, "10.0.0.1:4500"), line(1, "[2001:db8::1]:4500"), line(2, "127.0.0.1:1")]
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = AddressBookFile::of(dir.path());
        assert_eq!(file.read(), []);
        file.write(&book()).unwrap();
        file.write(&book()[1..]).unwrap();
        assert_eq!(file.read(), book()[1..]);
    }

    #[test]
    fn a_damaged_book_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = AddressBookFile::of(dir.path());
        file.write(&book()).unwrap();
        let good = fs::read_to_string(dir.path().join(NAME)).unwrap();
        for bad in [&good[1..], "", &good.replace("addresses/1", "addresses/9"), &"x".repeat(2 << 20)] {
            fs::write(dir.path().join(NAME), bad).unwrap();
            assert_eq!(file.read(), []);
        }
        fs::write(dir.path().join(NAME), good.replace("0202", "zzzz")).unwrap();
        assert_eq!(file.read(), book()[..2], "a bad line does not spoil the others");
    }
}
