//! Turns arguments into the inputs that settings are resolved from.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use super::arguments::{JoinArgs, RunArgs, SettingArgs};
use crate::{
    config::{Inputs, RunFile, path_text::to_text},
    error::{Exit, Failure},
};

/// Peers of a run without a file, and of one with a file.
const LOCAL: (usize, usize) = (4, 1);

/// The settings given to `murmur run`. `kept` are those of the machine from before, when it resumes.
///
/// # Errors
/// [`Exit::Config`] when the file cannot be read.
pub(super) fn of_run(arguments: &RunArgs, kept: &[String]) -> Result<Inputs, Failure> {
    let flags = [
        ("--tokens", "run.tokens", arguments.tokens.clone()),
        ("--seed", "seed", arguments.seed.clone()),
        ("--data", "data.path", arguments.data.as_deref().map(path_text).transpose()?),
        ("--audit-rate", "audit.rate", arguments.audit_rate.clone()),
        ("--relay", "net.relay", arguments.relay.clone()),
        ("--port-map", "net.port_map", switch(arguments.port_map)),
    ];
    Ok(Inputs {
        file: arguments.file.as_deref().map(read).transpose()?,
        environment: environment(),
        folder: folder(),
        sets: kept.iter().cloned().chain(sets(&arguments.set)).collect(),
        flags: flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect(),
    })
}

/// The settings given to `murmur join`.
///
/// # Errors
/// [`Exit::Config`] when a path is empty.
pub(super) fn of_join(arguments: &JoinArgs) -> Result<Inputs, Failure> {
    let data = arguments.data.as_deref().map(path_text).transpose()?;
    let flags = [
        ("--data", "data.path", data),
        ("--relay", "net.relay", arguments.relay.clone()),
        ("--port-map", "net.port_map", switch(arguments.port_map)),
    ];
    Ok(Inputs {
        folder: folder(),
        environment: environment(),
        sets: sets(&arguments.set),
        flags: flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect(),
        ..Inputs::default()
    })
}

/// The settings given to `murmur config explain`.
///
/// # Errors
/// [`Exit::Config`] when the file cannot be read.
pub(super) fn of_setting(arguments: &SettingArgs) -> Result<Inputs, Failure> {
    Ok(Inputs {
        file: arguments.file.as_deref().map(read).transpose()?,
        folder: folder(),
        environment: environment(),
        sets: sets(&arguments.set),
        ..Inputs::default()
    })
}

/// How many peers this machine starts.
pub(super) fn local(arguments: &RunArgs) -> usize {
    let default = if arguments.file.is_none() { LOCAL.0 } else { LOCAL.1 };
    arguments.local.map_or(default, usize::from)
}

/// Which local peers cheat, and how: `PEER=MODE`, checked only for its shape and the index.
///
/// # Errors
/// [`Exit::Usage`].
pub(super) fn misbehaviour(arguments: &[String], peers: usize) -> Result<Vec<(usize, String)>, Failure> {
    let parse = |argument: &String| of_peer(argument, peers).map(|(index, mode)| (index, mode.to_owned()));
    let wrong = |argument: &String| {
        Failure::new(Exit::Usage, format!("`{argument}` names no local peer and misbehaviour")).at("--misbehave").hint(
            format!("Write PEER=MODE with PEER from 0 to {} and MODE skip, noise or copy.", peers.saturating_sub(1)),
        )
    };
    arguments.iter().map(|argument| parse(argument).ok_or_else(|| wrong(argument))).collect()
}

/// A local peer and what is said of it, written `PEER=WORD`.
pub(super) fn of_peer(argument: &str, peers: usize) -> Option<(usize, &str)> {
    let (index, word) = argument.split_once('=')?;
    Some((index.parse().ok().filter(|index| *index < peers)?, word))
}

/// What a flag without a value sets: nothing, or the setting that is on.
fn switch(given: bool) -> Option<String> {
    given.then(|| "1".to_owned())
}

/// The variables that may be ours, also those that are not text.
fn environment() -> Vec<(String, String)> {
    let ours = std::env::vars_os().map(|(name, value)| (to_text(&name), to_text(&value)));
    ours.filter(|(name, _)| name.starts_with("MURMUR_")).collect()
}

/// What was typed after `--set`, in the spelling of settings.
fn sets(arguments: &[String]) -> Vec<String> {
    arguments.iter().map(|argument| to_text(OsStr::new(argument))).collect()
}

/// The shell's folder. If it is gone, relative paths lead nowhere, and absolute ones are as good as ever.
fn folder() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

fn read(path: &Path) -> Result<RunFile, Failure> {
    let failed = |error| Failure::io(Exit::Config, "read", path, &error);
    let text = fs::read_to_string(path).map_err(failed)?;
    let folder = std::path::absolute(path).map_err(failed)?.parent().map_or_else(PathBuf::new, Path::to_owned);
    Ok(RunFile { name: path.display().to_string(), text, folder })
}

/// A path that was typed, in the spelling of settings.
fn path_text(path: &Path) -> Result<String, Failure> {
    let empty =
        || Failure::new(Exit::Config, "the path is empty").at("--data").hint("Leave --data out for the built-in text.");
    if path.as_os_str().is_empty() { Err(empty()) } else { Ok(to_text(path.as_os_str())) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Resolved, key};

    #[test]
    fn flags_of_their_own_win_over_set() {
        let arguments = RunArgs {
            tokens: Some("1M".to_owned()),
            seed: Some("9".to_owned()),
            audit_rate: Some("0.5".to_owned()),
            set: vec!["seed=8".to_owned(), "train.lr=0.01".to_owned()],
            ..RunArgs::default()
        };
        let resolved = Resolved::new(&of_run(&arguments, &["train.lr=0.5".to_owned()]).unwrap()).unwrap();
        let settings = resolved.settings().unwrap();
        assert_eq!((settings.seed, settings.run.tokens, settings.audit.rate), (9, 1_000_000, 0.5));
        assert_eq!(settings.train.lr, 0.01, "what is given now wins over what was kept");
        assert_eq!(resolved.entry(key("seed").unwrap()).1.to_string(), "--seed");
    }

    #[test]
    fn a_port_is_mapped_only_on_request() {
        for asked in [false, true] {
            let (run, join) = (
                RunArgs { port_map: asked, ..RunArgs::default() },
                JoinArgs { port_map: asked, ..JoinArgs::default() },
            );
            for inputs in [of_run(&run, &[]).unwrap(), of_join(&join).unwrap()] {
                assert_eq!(Resolved::new(&inputs).unwrap().settings().unwrap().net.port_map, asked);
            }
        }
    }

    #[test]
    fn a_data_path_is_absolute_from_the_start() {
        let arguments = JoinArgs { data: Some("some/text".into()), ..JoinArgs::default() };
        let settings = Resolved::new(&of_join(&arguments).unwrap()).unwrap().settings().unwrap();
        assert!(settings.data.path.unwrap().is_absolute());
    }

    #[test]
    fn a_relative_path_is_read_from_the_folder_of_its_file_or_of_the_shell() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        fs::write(&file, "[data]\npath = \"rel/x\"\n").unwrap();
        let path = |arguments: &RunArgs| {
            let resolved = Resolved::new(&of_run(arguments, &[]).unwrap()).unwrap();
            (resolved.settings().unwrap().data.path.unwrap(), resolved.machine_given())
        };
        let (in_file, kept) = path(&RunArgs { file: Some(file), ..RunArgs::default() });
        assert_eq!(in_file, folder.path().join("rel/x"));
        assert_eq!(kept, [format!("data.path={}", in_file.display())], "what is kept means the same from anywhere");
        let (in_set, _) = path(&RunArgs { set: vec!["data.path=rel/x".to_owned()], ..RunArgs::default() });
        assert_eq!(in_set, std::env::current_dir().unwrap().join("rel/x"));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_survives_resuming() {
        let path: PathBuf = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/data/caf\xE9").into();
        let arguments = RunArgs { data: Some(path.clone()), ..RunArgs::default() };
        let kept = Resolved::new(&of_run(&arguments, &[]).unwrap()).unwrap().machine_given();
        let marker = serde_json::to_string(&kept).unwrap();
        let kept: Vec<String> = serde_json::from_str(&marker).unwrap();
        let again = Resolved::new(&of_run(&RunArgs::default(), &kept).unwrap()).unwrap();
        assert_eq!(again.settings().unwrap().data.path, Some(path));
    }

    #[test]
    fn an_empty_path_is_no_wish_for_the_built_in_text() {
        let arguments = RunArgs { data: Some(PathBuf::new()), ..RunArgs::default() };
        assert!(of_run(&arguments, &[]).unwrap_err().sentence().contains("--data"));
    }

    #[test]
    fn a_missing_file_is_a_config_error_that_names_it() {
        let arguments = RunArgs { file: Some("no/such/run.toml".into()), ..RunArgs::default() };
        let failure = of_run(&arguments, &[]).unwrap_err();
        assert_eq!(failure.exit(), Exit::Config);
        assert!(failure.sentence().contains("no/such/run.toml"));
    }

    #[test]
    fn four_peers_without_a_file_and_one_with() {
        assert_eq!(local(&RunArgs::default()), 4);
        assert_eq!(local(&RunArgs { file: Some("run.toml".into()), ..RunArgs::default() }), 1);
        assert_eq!(local(&RunArgs { local: Some(7), ..RunArgs::default() }), 7);
    }

    #[test]
    fn misbehaviour_names_a_local_peer() {
        let ask = |text: &str| misbehaviour(&[text.to_owned()], 4);
        assert_eq!(ask("3=noise").unwrap(), [(3, "noise".to_owned())]);
        for wrong in ["4=noise", "noise", "x=skip", "-1=skip"] {
            assert_eq!(ask(wrong).unwrap_err().exit(), Exit::Usage, "{wrong}");
        }
    }
}
