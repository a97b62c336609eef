//! Replays a fuzz corpus of whichever crate includes this file: what every file must become stands in its name.
#![allow(clippy::unwrap_used)]

use std::path::Path;

/// Replays every file of one corpus folder and returns how many were accepted and refused.
pub(crate) fn replay(folder: &str, accepts: impl Fn(&[u8]) -> bool) -> (usize, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
    let (mut good, mut bad) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let accepted = accepts(&std::fs::read(&path).unwrap());
        assert!(accepted || !name.starts_with("good-"), "{name} was refused");
        assert!(!accepted || !name.starts_with("bad-"), "{name} was accepted");
        good += usize::from(accepted);
        bad += usize::from(!accepted);
    }
    (good, bad)
}
