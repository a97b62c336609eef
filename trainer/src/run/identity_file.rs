//! A peer's secret on disk: made once from the operating system's randomness, readable by its owner only, and locked
//! while a process uses it, so that two processes never sign with one identity.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use murmur_collectives::Identity;
use rand::{TryRng, rngs::SysRng};

use crate::error::{Exit, Failure};

/// Name of the file in a peer's state folder.
const NAME: &str = "identity";
/// Name while it is being written.
const FRESH: &str = "identity.new";
/// What the file starts with; the secret follows in hex.
const PREFIX: &str = "murmur-identity-1 ";

/// How long a lock is waited for whose holder may be about to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// How often it is tried.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A new identity from the operating system's randomness.
///
/// # Errors
/// [`Exit::Device`] when the operating system gives none.
pub fn generate() -> Result<Identity, Failure> {
    let mut secret = [0; 32];
    SysRng.try_fill_bytes(&mut secret).map_err(|error| {
        Failure::new(Exit::Device, "the operating system gave no randomness for a new identity").because(error)
    })?;
    Ok(Identity::from_secret(&secret))
}

/// Writes `identity` into the folder `dir`, durably. Never overwrites one.
///
/// # Errors
/// [`Exit::Config`] when the file cannot be written or is already there; [`Exit::DiskFull`].
pub fn save(dir: &Path, identity: &Identity) -> Result<(), Failure> {
    let (path, fresh) = (dir.join(NAME), dir.join(FRESH));
    let write = || -> io::Result<()> {
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // Under another name first: a full disk must not leave half an identity.
        let mut file = private().write(true).create(true).truncate(true).open(&fresh)?;
        writeln!(file, "{PREFIX}{}", HEXLOWER.encode(&identity.secret()))?;
        file.sync_all()?;
        fs::rename(&fresh, &path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&fresh);
        Failure::io(Exit::Config, "write", &path, &error)
    })
}

/// Whether `dir` holds an identity.
pub fn exists(dir: &Path) -> bool {
    dir.join(NAME).exists()
}

/// The identity of a state folder, held for this process alone until it is dropped.
#[derive(Debug)]
pub struct HeldIdentity {
    identity: Identity,
    // Kept open for its lock.
    _file: File,
}

impl HeldIdentity {
    /// As [`open`](Self::open), but waits a little for a process that is about to end: one whose launcher was killed needs a
    /// moment to notice.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_soon(dir: &Path) -> Result<Self, Failure> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match Self::open(dir) {
                Err(failure) if failure.exit() == Exit::IdentityInUse && Instant::now() < deadline => {
                    std::thread::sleep(LOCK_POLL);
                }
                outcome => return outcome,
            }
        }
    }

    /// Reads the identity in `dir` and locks it.
    ///
    /// # Errors
    /// [`Exit::IdentityInUse`] when another process holds it; [`Exit::Config`] when it is missing or damaged.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(NAME);
        let failed = |error: &io::Error| Failure::io(Exit::Config, "read", &path, error);
        let mut file = File::open(&path).map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(in_use(dir)),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| failed(&error))?;
        let identity = parse(&text).ok_or_else(|| damaged(&path))?;
        Ok(Self { identity, _file: file })
    }

    /// The identity.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Whether another process holds the identity in `dir` and keeps it. Only good for an early, friendly refusal.
///
/// # Errors
/// As [`HeldIdentity::open_soon`].
pub fn check_free_soon(dir: &Path) -> Result<(), Failure> {
    HeldIdentity::open_soon(dir).map(drop)
}

/// Whether another process holds the identity in `dir` at this moment.
///
/// # Errors
/// As [`HeldIdentity::open`].
pub fn check_free(dir: &Path) -> Result<(), Failure> {
    HeldIdentity::open(dir).map(drop)
}

fn parse(text: &str) -> Option<Identity> {
    let hex = text.trim_end().strip_prefix(PREFIX)?;
    let secret: [u8; 32] = HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()?;
    Some(Identity::from_secret(&secret))
}

fn in_use(dir: &Path) -> Failure {
    Failure::new(Exit::IdentityInUse, format!("another murmur is running as the peer in {}", dir.display()))
        .hint("Stop that one, or pass --state-dir with another folder to take part with a new identity.")
}

fn damaged(path: &Path) -> Failure {
    Failure::new(Exit::Config, format!("{} is not an identity file", path.display()))
        .hint("Restore it from a copy, or pass --state-dir with another folder to take part with a new identity.")
}

/// Options for a file that only its owner can read.
fn private() -> OpenOptions {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates `dir` and its parents.
///
/// # Errors
/// [`Exit::Config`]; [`Exit::DiskFull`].
pub(crate) fn create_folder(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::io(Exit::Config, "create", dir, &error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let identity = generate().unwrap();
        assert!(!exists(dir.path()));
        save(dir.path(), &identity).unwrap();
        assert!(exists(dir.path()));
        assert_eq!(HeldIdentity::open(dir.path()).unwrap().identity().peer_id(), identity.peer_id());
        assert!(save(dir.path(), &identity).is_err(), "a second one would replace the first");
    }

    #[test]
    fn two_identities_differ() {
        assert_ne!(generate().unwrap().peer_id(), generate().unwrap().peer_id());
    }

    #[test]
    fn only_one_process_holds_it_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &generate().unwrap()).unwrap();
        let held = HeldIdentity::open(dir.path()).unwrap();
        assert_eq!(check_free(dir.path()).unwrap_err().exit(), Exit::IdentityInUse);
        drop(held);
        assert!(check_free(dir.path()).is_ok());
    }

    #[test]
    fn a_lock_that_is_let_go_in_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &generate().unwrap()).unwrap();
        let held = HeldIdentity::open(dir.path()).unwrap();
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| check_free_soon(dir.path()));
            drop(held);
            waiting.join().unwrap()
        });
        assert!(waiting.is_ok());
    }

    #[test]
    fn what_a_crash_left_of_an_identity_does_not_stand_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FRESH), "murmur-ident").unwrap();
        assert!(!exists(dir.path()));
        save(dir.path(), &generate().unwrap()).unwrap();
        assert!(HeldIdentity::open(dir.path()).is_ok() && !dir.path().join(FRESH).exists());
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "murmur-identity-1 00ff").unwrap();
        assert_eq!(HeldIdentity::open(dir.path()).unwrap_err().exit(), Exit::Config);
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &generate().unwrap()).unwrap();
        let mode = fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
