//! `murmur sample`: text from a checkpoint.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::json;

use super::arguments::SampleArgs;
use crate::{
    error::{Exit, Failure},
    learn::{
        model::Vocabulary,
        numeric::exact_pool,
        sample::{SampleSpec, Sampler},
    },
    observe::output::{Output, end_of_reading},
    run::{checkpoint::Checkpoint, state_dir},
};

/// How many folders deep checkpoints are looked for: account, group, run, peer, checkpoints.
const DEPTH_MAX: usize = 5;

/// Writes text that follows the prompt: as it comes for people, as one object for programs.
///
/// # Errors
/// [`Exit::Checkpoint`] when there is none, or it is damaged; [`Exit::Device`] when the model cannot be computed.
pub(super) fn sample(arguments: &SampleArgs, output: &mut Output) -> Result<(), Failure> {
    let path = checkpoint(arguments)?;
    let checkpoint = Checkpoint::read(&path)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Whatever profile it was trained under: so the same seed gives the same text on every machine.
    let replica = checkpoint.model.exact_replica(exact_pool(threads)?);
    let mut replica = replica
        .map_err(|error| Failure::new(Exit::Checkpoint, "the checkpoint's model cannot be built").because(error))?;
    output.note(&format!("With {}, after {} tokens:", path.display(), checkpoint.clock));
    let spec = SampleSpec {
        length: arguments.length,
        temperature: arguments.temperature,
        top_k: arguments.top,
        seed: arguments.seed,
    };
    let params = checkpoint.params();
    let vocabulary = checkpoint.model.vocabulary();
    let sampler = Sampler::new(replica.as_mut(), &params, (vocabulary, arguments.prompt.as_bytes()), spec);
    if arguments.json {
        let mut bytes = Vec::new();
        for token in sampler {
            vocabulary.decode(token?, &mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let object = json!({
            "schema": "murmur.sample/1", "checkpoint": path.to_string_lossy(), "tokens": checkpoint.clock, "prompt": arguments.prompt,
            "text": text,
        });
        output.page(&text, &object);
        return Ok(());
    }
    stream(&arguments.prompt, vocabulary, sampler)
}

/// Writes each token as it comes; a reader that leaves ends it.
fn stream(prompt: &str, vocabulary: Vocabulary, sampler: Sampler<'_>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let show = if stdout.is_terminal() { harmless } else { |byte| byte };
    let mut written = stdout.write_all(prompt.as_bytes());
    let mut bytes = Vec::new();
    for token in sampler {
        if written.is_err() {
            break;
        }
        bytes.clear();
        vocabulary.decode(token?, &mut bytes);
        bytes.iter_mut().for_each(|byte| *byte = show(*byte));
        written = stdout.write_all(&bytes).and_then(|()| stdout.flush());
    }
    written.and_then(|()| writeln!(stdout)).or_else(|error| end_of_reading(&error))
}

/// A model may write bytes that a terminal takes for commands; those are shown as a question mark.
fn harmless(byte: u8) -> u8 {
    if byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t') { b'?' } else { byte }
}

/// The checkpoint that was named, or the newest where it was said to look.
fn checkpoint(arguments: &SampleArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = &arguments.checkpoint {
        return Ok(path.clone());
    }
    let folder = arguments.state_dir.clone().map_or_else(state_dir::default_root, Ok)?;
    newest(&folder, DEPTH_MAX).map(|(_, path)| path).ok_or_else(|| {
        Failure::new(Exit::Checkpoint, format!("no checkpoint is in {}", folder.display()))
            .hint("Train first with `murmur run`, or name a file with --checkpoint PATH.")
    })
}

/// The newest safetensors file below `folder`; of equally old ones, the last by name. What cannot be read is no
/// candidate.
fn newest(folder: &Path, depth: usize) -> Option<(SystemTime, PathBuf)> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let candidate = |entry: fs::DirEntry| {
        let (path, metadata) = (entry.path(), entry.metadata().ok()?);
        if metadata.is_dir() {
            return newest(&path, depth.checked_sub(1)?);
        }
        let named = path.extension().is_some_and(|extension| extension == "safetensors");
        if named { Some((metadata.modified().ok()?, path)) } else { None }
    };
    entries.filter_map(candidate).max()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file(path: &Path, age: Duration) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::File::options().append(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH + age).unwrap();
    }

    #[test]
    fn the_newest_checkpoint_below_a_folder_is_found() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(newest(root.path(), DEPTH_MAX), None);
        let second = Duration::from_secs(1);
        file(&root.path().join("runs/a/peer-0/old.safetensors"), 10 * second);
        file(&root.path().join("runs/b/peer-1/checkpoints/new.safetensors"), 20 * second);
        file(&root.path().join("runs/b/peer-1/peer.log"), 30 * second);
        let (_, found) = newest(root.path(), DEPTH_MAX).unwrap();
        assert!(found.ends_with("checkpoints/new.safetensors"), "{found:?}");
    }

    #[test]
    fn a_terminal_never_sees_commands() {
        assert_eq!(*b"a\n\t\x1b\x07\xc3".map(harmless).as_slice(), *b"a\n\t??\xc3");
    }

    #[test]
    fn too_deep_is_not_looked_at() {
        let root = tempfile::tempdir().unwrap();
        file(&root.path().join("a/b/c.safetensors"), Duration::from_secs(1));
        assert_eq!(newest(root.path(), 1), None);
        assert!(newest(root.path(), 2).is_some());
    }
}
