//! Folders that are full, copied by name, half lost, mistyped, or have names that are not text.
#![cfg(unix)]

mod process;

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};

use process::{Murmur, TINY, path, run, text};
use serde_json::Value;

/// A small disk of its own, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// None, with the reason printed, where it cannot be made.
    fn new(path: &Path, kib: u32) -> Option<Self> {
        fs::create_dir(path).expect("a fresh folder");
        let options = format!("size={kib}k");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        if mount.is_ok_and(|mount| mount.status.success()) {
            return Some(Self(path.to_owned()));
        }
        println!("skipped: a small disk can only be mounted by root");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn murmur(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_murmur")).args(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output.status.code(), stdout, stderr)
}

#[test]
fn a_full_disk_is_32_wherever_it_strikes_and_what_ends_with_0_can_write() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let mut codes = Vec::new();
    for kib in [4, 24, 48, 96, 200, 320, 400, 600, 800, 1200, 1600, 8000] {
        let Some(disk) = Disk::new(&temp.path().join(format!("disk-{kib}")), kib) else { return };
        let dir = path(&disk.0, "run");
        let (summary, code) =
            run(&dir, &text, &["--local", "2", "--tokens", "20k", "--set", "finality.every=4k"]).end();
        assert!(code == 32 || code == 0, "{kib} KiB: {code} {summary:#?}");
        if code == 0 {
            let (sampled, _, said) = murmur(&["sample", "--state-dir", &dir, "--length", "4"]);
            assert_eq!(sampled, Some(0), "{kib} KiB: {said}");
        }
        codes.push(code);
    }
    assert_eq!((codes.first(), codes.last()), (Some(&32), Some(&0)), "{codes:?}");
}

#[test]
fn no_hint_advises_to_delete_what_may_be_good() {
    for exit in murmur::error::Exit::ALL {
        let page = exit.explanation();
        let words = [page.fix, page.meaning].join(" ").to_lowercase();
        assert!(!words.contains("remove the") && !words.contains("delete the"), "{}: {words}", page.name);
    }
}

#[test]
fn a_folder_whose_name_is_not_text_is_a_folder_like_any_other() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path());
    let dir = temp.path().join(std::ffi::OsStr::from_bytes(b"r\xffn \xfe"));
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_murmur"));
        command.args(arguments).arg("--state-dir").arg(&dir);
        command
    };
    let mut train = program(&["run", "--local", "1", "--tokens", "5k", "--json"]);
    let trained = train.arg("--data").arg(&text).args(TINY).output().expect("it runs");
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    for command in [&["status", "--json"][..], &["peers", "--json"], &["sample", "--json", "--length", "4"]] {
        let output = program(command).output().expect("it runs");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("one object");
    }
}

#[test]
fn the_printed_join_line_works_as_it_is_printed() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let own = temp.path().join("my own text's folder");
    fs::rename(text(temp.path()), &own).expect("a fresh name");
    let dir = path(temp.path(), "run");
    let mut swarm = run(&dir, own.to_str().expect("text"), &["--local", "1", "--tokens", "1000M"]);
    let line = swarm.until("started", |_| true)["join"].as_str().expect("a command").to_owned();
    swarm.until("round", |_| true);
    let line = line.replacen("murmur", env!("CARGO_BIN_EXE_murmur"), 1);
    let joined = path(temp.path(), "joined");
    let script = format!("exec {line} --seconds 15 --state-dir {joined}");
    let output = Command::new("/bin/sh").args(["-c", &script]).output().expect("a shell");
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    swarm.signal("INT");
    assert_eq!(swarm.finish().1, 0);
}

#[test]
fn one_lost_identity_of_several_does_not_keep_the_others_from_going_on() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    let mut first = run(&dir, &text, &["--local", "3", "--tokens", "1000M"]);
    first.until("round", |_| true);
    first.signal("INT");
    assert_eq!(first.finish().1, 0);
    fs::remove_file(format!("{dir}/peer-1/identity")).expect("it was there");
    let stale = format!("{dir}/peer-0/checkpoint-000000000000001.safetensors.part");
    fs::write(&stale, "half a file").expect("a folder that can be written");
    let mut second = Murmur::start(&["run", "--resume", &dir]);
    assert_eq!(second.until("started", |_| true)["peers"].as_array().map(Vec::len), Some(2));
    second.until("round", |_| true);
    second.signal("INT");
    assert!(second.notes().contains("Going on without peer 1"), "{}", second.notes());
    assert_eq!(second.finish().1, 0);
    assert!(!Path::new(&stale).exists(), "what a kill left half written is swept");
    let (code, _, said) = murmur(&["run", "--resume", &format!("{dir}/peer-0")]);
    assert_eq!(code, Some(21));
    assert!(said.contains("--resume"), "{said}");
}

#[test]
fn a_start_that_fails_leaves_no_folder_in_the_way_of_the_next() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    // An address for documentation, which no machine has.
    let (error, code) = run(&dir, &text, &["--local", "2", "--tokens", "5k", "--set", "net.listen=192.0.2.1:0"]).end();
    assert_eq!(code, 10, "{error:#?}");
    assert!(!Path::new(&dir).exists());
    assert_eq!(run(&dir, &text, &["--local", "2", "--tokens", "5k"]).finish().1, 0);
}

#[test]
fn a_mistyped_folder_is_not_a_machine_without_peers() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    for command in ["status", "peers"] {
        let (code, _, said) = murmur(&[command, "--state-dir", &path(temp.path(), "typo")]);
        assert_eq!(code, Some(20), "{said}");
        assert!(said.contains("typo"), "{said}");
        assert_eq!(murmur(&[command, "--state-dir", temp.path().to_str().expect("text")]).0, Some(0));
    }
}

#[test]
fn tables_fit_eighty_columns() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path());
    let mut train = Command::new(env!("CARGO_BIN_EXE_murmur"));
    train
        .args(["run", "--local", "2", "--tokens", "10k", "--state-dir", &path(temp.path(), "run"), "--data"])
        .arg(text);
    let output = train.args(TINY).env("COLUMNS", "80").output().expect("it runs");
    let shown = String::from_utf8(output.stdout).expect("text");
    let table: Vec<&str> =
        shown.lines().filter(|line| line.starts_with(['─', '═']) || line.contains("budget")).collect();
    assert!(table.len() >= 5 && table.iter().all(|line| line.chars().count() <= 80), "{shown}");
}
