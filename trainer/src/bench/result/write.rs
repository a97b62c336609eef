//! Writing a result.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;

use super::{Header, RunResult};
use crate::{
    bench::suite::Sample,
    error::{Exit, Failure},
};

/// What a file calls itself.
pub(super) const SCHEMA: &str = "murmur.bench-result/1";

/// The keys of a file, in their order.
#[derive(Serialize)]
struct Written<'a> {
    schema: &'static str,
    header: &'a Header,
    samples: &'a [Sample],
    conclusion: &'a Value,
    digests: Digests,
}

/// BLAKE3 of the parts that others follow from, as compact JSON.
#[derive(Serialize)]
struct Digests {
    header: String,
    samples: String,
}

impl RunResult {
    /// The file of this result.
    pub fn to_json(&self) -> String {
        let digests = Digests { header: digest(&self.header), samples: digest(&self.samples) };
        let Self { header, samples, conclusion, .. } = self;
        let written = Written { schema: SCHEMA, header, samples, conclusion, digests };
        let mut text = serde_json::to_string_pretty(&written).expect("there are only texts and finite numbers");
        text.push('\n');
        text
    }

    /// Writes it, in place of a file that is there, whole or not at all.
    ///
    /// # Errors
    /// [`Exit::DiskFull`]; [`Exit::Usage`] where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let part = Self::part(path);
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(self.to_json().as_bytes())?;
            file.sync_all()
        });
        let moved = written.and_then(|()| if self.header.finished { fs::rename(&part, path) } else { Ok(()) });
        moved.map_err(|error| {
            Failure::io(Exit::Usage, "write", &part, &error).hint("Choose another file with --out FILE.json.")
        })
    }
}

impl RunResult {
    /// Where an unfinished result lies that is to be written to `path`.
    pub fn part(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        name.into()
    }
}

/// The digest of a part.
pub(super) fn digest(part: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(part).expect("there are only texts and finite numbers");
    blake3::hash(&bytes).to_hex().to_string()
}
