//! What happens to people: text that is none, files under other names, folders that move, variables of others, ports that
//! run out. Each ends with the right result, or with an error before anything starts.
#![cfg(unix)]

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A run of a tiny model that is over at once.
const TINY: [&str; 9] = [
    "--local=1",
    "--tokens=640",
    "--audit-rate=0",
    "--set=model.layers=1",
    "--set=model.heads=2",
    "--set=model.d_model=16",
    "--set=model.context=32",
    "--set=train.batch=2",
    "--set=train.steps=5",
];

/// The program in `folder`, where it keeps its runs, too.
fn murmur(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmur"));
    command.current_dir(folder).env("HOME", folder).env("XDG_DATA_HOME", folder.join("data"));
    command
}

fn ends(command: &mut Command, code: i32) -> String {
    let output: Output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    // Lines are broken where the terminal ends.
    stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A file with some hundred kilobytes of words.
fn text(path: &Path) -> PathBuf {
    let word =
        |i: u64| ["fn ", "let ", "mut ", "self", "(x)", "\n"][(i.wrapping_mul(i ^ 0x9E37_79B9) >> 7) as usize % 6];
    fs::write(path, (0..40_000).map(word).collect::<String>()).expect("there is room");
    path.to_owned()
}

#[test]
fn text_that_is_none_is_refused_before_a_folder_is_made() {
    let home = tempfile::tempdir().expect("a folder");
    let wide: Vec<u8> = "words ".repeat(20_000).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut binary = "words ".repeat(50_000).into_bytes();
    binary[200_000] = 0;
    let links = home.path().join("links");
    fs::create_dir(&links).expect("a folder");
    std::os::unix::fs::symlink("/etc/hostname", links.join("link")).expect("a link");
    for (name, content) in [("wide", &wide[..]), ("binary", &binary), ("short", b"short")] {
        fs::write(home.path().join(name), content).expect("there is room");
    }
    for (name, said) in [
        ("wide", "iconv -f UTF-16 -t UTF-8"),
        ("binary", "zero byte at 200000"),
        ("short", "holds 5 bytes of text"),
        ("links", "1 symbolic link (first: link)"),
        ("missing", "cannot read"),
    ] {
        let stderr = ends(murmur(home.path()).args(["run", "--data", name, "--state-dir", "state"]), 20);
        assert!(stderr.contains(said), "{said} in {stderr}");
        assert!(!home.path().join("state").exists(), "{name}");
    }
}

#[test]
fn one_line_again_and_again_is_trained_on_and_what_it_is_is_said() {
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("x"), "y\n".repeat(32 << 10)).expect("there is room");
    let stderr = ends(murmur(home.path()).args(["run", "--data=x", "--state-dir=state"]).args(TINY), 0);
    assert!(stderr.contains("The text repeats itself"), "{stderr}");
}

#[test]
fn a_run_with_a_path_that_is_relative_or_no_text_is_resumed_from_elsewhere() {
    let home = tempfile::tempdir().expect("a folder");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let odd = OsStr::from_bytes(b"caf\xE9");
    text(&home.path().join(odd));
    fs::create_dir(home.path().join("sub")).expect("a folder");
    text(&home.path().join("sub/words"));
    fs::write(home.path().join("sub/run.toml"), "[data]\npath = \"words\"\n").expect("there is room");
    let mut by_flag = murmur(home.path());
    by_flag.args(["run", "--state-dir=flag", "--data"]).arg(odd).args(TINY);
    let mut by_file = murmur(home.path());
    by_file.args(["run", "sub/run.toml", "--state-dir=file"]).args(TINY);
    let mut by_set = murmur(home.path());
    by_set.args(["run", "--state-dir=set", "--set=data.path=sub/words"]).args(TINY);
    for (name, mut begin) in [("flag", by_flag), ("file", by_file), ("set", by_set)] {
        ends(&mut begin, 0);
        ends(murmur(elsewhere.path()).args(["run", "--resume"]).arg(home.path().join(name)), 0);
    }
}

#[test]
fn a_run_of_an_older_format_is_another_version_s_and_not_other_data() {
    let home = tempfile::tempdir().expect("a folder");
    text(&home.path().join("words"));
    ends(murmur(home.path()).args(["run", "--data=words", "--state-dir=state"]).args(TINY), 0);
    let path = home.path().join("state/peer-0/manifest");
    let mut manifest = fs::read(&path).expect("the manifest");
    manifest[7] = b'2';
    fs::write(&path, manifest).expect("there is room");
    let stderr = ends(murmur(home.path()).args(["run", "--resume=state"]), 42);
    assert!(stderr.contains("another version of murmur"), "{stderr}");
}

#[test]
fn variables_of_a_service_called_murmur_do_not_stop_a_command() {
    let home = tempfile::tempdir().expect("a folder");
    let mut explain = murmur(home.path());
    explain.args(["config", "explain", "seed"]).env("MURMUR_PORT", "tcp://10.0.0.1:4500");
    assert!(ends(&mut explain, 0).contains("MURMUR_PORT"));
    assert!(ends(explain.env("MURMUR_TRAIN__LRR", "1"), 10).contains("MURMUR_TRAIN__LR"));
    let mut odd = murmur(home.path());
    odd.args(["config", "explain"]).env("MURMUR_SEED", OsStr::from_bytes(b"\xFF"));
    assert!(ends(&mut odd, 10).contains("MURMUR_SEED"));
}

#[test]
fn ports_that_run_out_are_refused_before_a_folder_is_made() {
    let home = tempfile::tempdir().expect("a folder");
    text(&home.path().join("words"));
    for key in ["net.listen", "net.metrics"] {
        let set = format!("--set={key}=127.0.0.1:65535");
        let stderr =
            ends(murmur(home.path()).args(["run", "--local=2", "--data=words", "--state-dir=state", &set]), 10);
        assert!(stderr.contains(key) && stderr.contains("65534"), "{stderr}");
        assert!(!home.path().join("state").exists());
    }
}

#[test]
fn a_ticket_of_a_later_format_is_a_newer_murmur_s() {
    let home = tempfile::tempdir().expect("a folder");
    assert!(ends(murmur(home.path()).args(["join", "murmur2abcdef"]), 42).contains("made by a newer murmur"));
}
