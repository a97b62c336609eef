//! Files that a peer was writing when it was killed: removed when it starts again, so that they do not accumulate.

use std::{fs, path::Path};

/// How the names of files end while they are written; each is renamed once it is whole.
const ENDS: [&str; 2] = [".part", ".new"];

/// How the names of files begin that a library writes for us.
const BEGINNING: &str = ".tmp";

/// Removes what an earlier process of this peer left half written in its folder. Call it with the
/// identity locked: a file that is being written looks the same.
pub(super) fn remove(dir: &Path) {
    let Ok(files) = fs::read_dir(dir) else { return };
    for file in files.filter_map(Result::ok) {
        let name = file.file_name();
        let name = name.to_string_lossy();
        let is_file = file.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && (name.starts_with(BEGINNING) || ENDS.iter().any(|end| name.ends_with(end))) {
            // One that cannot be removed is overwritten or stays; it does no harm.
            let _ = fs::remove_file(file.path());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_written_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let half = [".tmpA1b2C3", "checkpoint-000000000000005.safetensors.part", "final.new", "identity.new"];
        let whole = ["checkpoint-000000000000005.safetensors", "final.bin", "identity", "log.damaged-0"];
        half.iter().chain(&whole).for_each(|name| fs::write(dir.path().join(name), "x").unwrap());
        remove(dir.path());
        assert!(half.iter().all(|name| !dir.path().join(name).exists()));
        assert!(whole.iter().all(|name| dir.path().join(name).exists()));
    }
}
