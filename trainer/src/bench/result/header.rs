//! Where and how a result was made.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::super::suite::Options;
use crate::{
    config::{Inputs, KEYS, Resolved, Scope},
    error::Failure,
    resources::{Hardware, Platform},
};

/// Settings of the machine that decide how fast it is, or what it learns.
const ALSO_CONFIGURED: [&str; 2] = ["device.threads", "data.path"];

/// Where and how a result was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The suite.
    pub suite: String,
    /// Whether all of it was run.
    pub finished: bool,
    /// What was asked of it.
    pub options: Options,
    /// BLAKE3 of the suite, the tokens, and all settings of a run with the options' changes. Not of the seeds.
    pub config_digest: String,
    /// The command line.
    pub command: Vec<String>,
    /// The program's version.
    pub version: String,
    /// BLAKE3 of the program's file, where it can be read.
    pub program: Option<String>,
    /// The source tree; absent where neither the build nor a working tree says it.
    pub tree: Option<Tree>,
    /// The machine.
    pub hardware: Hardware,
    /// What it runs.
    pub platform: Platform,
    /// When it began, UTC.
    pub date: String,
}

/// The source tree that a program was built in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Its commit.
    pub commit: String,
    /// Whether files differed from it; absent where the build did not say.
    pub dirty: Option<bool>,
    /// `build` if the build named it, or `working tree` if it is what the tree had when the suite was run.
    pub said_by: String,
}

impl Header {
    /// Of a run of `suite` that begins now.
    ///
    /// # Errors
    /// Those of settings.
    pub fn new(suite: &str, options: &Options) -> Result<Self, Failure> {
        Ok(Self {
            suite: suite.to_owned(),
            finished: false,
            options: options.clone(),
            config_digest: config_digest(suite, options)?,
            command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: program(),
            tree: Tree::find(),
            hardware: Hardware::here(),
            platform: Platform::here(),
            date: date(SystemTime::now()),
        })
    }

    /// What keeps two results from being compared, a sentence each.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (mine, theirs) = (&self.hardware, &other.hardware);
        let mut found = Vec::new();
        if self.suite != other.suite {
            found.push(format!("the suites differ: {} and {}", self.suite, other.suite));
        }
        if mine != theirs {
            found.push(format!("the machines differ: {} — and {}", mine.sentence(), theirs.sentence()));
        }
        if self.config_digest != other.config_digest {
            let said = |header: &Self| {
                let Options { tokens, sets, .. } = &header.options;
                let tokens =
                    tokens.map_or_else(|| "the suite's tokens".to_owned(), |tokens| format!("{tokens} tokens"));
                if sets.is_empty() { tokens } else { format!("{tokens}, {}", sets.join(" ")) }
            };
            found.push(format!(
                "the configurations differ: {} ({}) and {} ({})",
                short(&self.config_digest),
                said(self),
                short(&other.config_digest),
                said(other)
            ));
        }
        found.extend(
            [self, other]
                .into_iter()
                .filter(|header| !header.finished)
                .map(|header| format!("the result of {} is unfinished", header.date)),
        );
        found
    }

    /// The source tree in words.
    pub fn tree_in_words(&self) -> String {
        let Some(Tree { commit, dirty, said_by }) = &self.tree else { return "commit unknown".to_owned() };
        let dirty = match dirty {
            Some(true) => " with changes",
            Some(false) => "",
            None => ", changes unknown",
        };
        format!("commit {}{dirty}, by the {said_by}", short(commit))
    }
}

impl Tree {
    /// From the build, or from the working tree that the program was built in, if it is there.
    fn find() -> Option<Self> {
        if let Some(commit) = option_env!("MURMUR_COMMIT") {
            let dirty = option_env!("MURMUR_DIRTY").map(|dirty| dirty != "0");
            return Some(Self { commit: commit.to_owned(), dirty, said_by: "build".to_owned() });
        }
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        let git = |arguments: &[&str]| {
            let output = Command::new("git").arg("-C").arg(tree).args(arguments).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let commit = git(&["rev-parse", "HEAD"])?;
        let dirty = git(&["status", "--porcelain"]).map(|changes| !changes.is_empty());
        Some(Self { commit, dirty, said_by: "working tree".to_owned() })
    }
}

fn config_digest(suite: &str, options: &Options) -> Result<String, Failure> {
    let folder = std::env::current_dir().unwrap_or_default();
    let resolved = Resolved::new(&Inputs { sets: options.sets.clone(), folder, ..Inputs::default() })?;
    resolved.settings()?;
    let mut hasher = blake3::Hasher::new_derive_key("murmuration benchmark configuration v1");
    hasher.update(format!("{suite}\n{:?}\n", options.tokens).as_bytes());
    for key in KEYS.iter().filter(|key| key.scope == Scope::Run || ALSO_CONFIGURED.contains(&key.name)) {
        hasher.update(format!("{}={}\n", key.name, resolved.entry(key).0).as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn program() -> Option<String> {
    let path: PathBuf = std::env::current_exe().ok()?;
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(path).ok()?, &mut hasher).ok()?;
    Some(hasher.finalize().to_hex().to_string())
}

/// The start of a long name.
pub(super) fn short(name: &str) -> &str {
    name.get(..12).unwrap_or(name)
}

/// As `2026-11-30T15:59:01Z`.
fn date(now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let days = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in days {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn header(tokens: Option<u64>, sets: &[&str]) -> Header {
        let sets = sets.iter().map(|&set| set.to_owned()).collect();
        Header::new("made-up", &Options { seeds: vec![1], tokens, sets }).unwrap()
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(at(1_000_000_000), "2001-09-09T01:46:40Z");
    }

    #[test]
    fn results_of_other_configurations_differ_and_other_seeds_do_not() {
        let base = header(None, &[]);
        assert_eq!(base.config_digest, header(None, &[]).config_digest);
        let more_seeds = Options { seeds: vec![1, 2], tokens: None, sets: Vec::new() };
        assert_eq!(base.config_digest, Header::new("made-up", &more_seeds).unwrap().config_digest);
        for other in [header(Some(5), &[]), header(None, &["train.lr=0.5"]), header(None, &["device.threads=2"])] {
            assert_ne!(base.config_digest, other.config_digest);
            assert!(base.differences(&other).iter().any(|why| why.contains("configurations differ")));
        }
        assert_eq!(base.config_digest, header(None, &["net.relay=2"]).config_digest);
    }

    #[test]
    fn settings_that_there_are_not_are_refused() {
        let options = Options { seeds: vec![1], tokens: None, sets: vec!["train.lrr=1".to_owned()] };
        assert!(Header::new("made-up", &options).unwrap_err().sentence().contains("train.lr"));
    }
}
