//! A machine that is too small, or a model that is too large, is a sentence with figures and never a killed process.
#![cfg(unix)]

mod process;

use std::process::Command;

use process::{path, text};

const PROGRAM: &str = env!("CARGO_BIN_EXE_murmur");

/// Runs `murmur run` by `sh -c`, with `before` in front: its exit code, and all it said.
fn run(before: &str, program: &str, dir: &str, text: &str, more: &str) -> (i32, String) {
    let line = format!("{before} {program} run --state-dir {dir} --data {text} {more}");
    let output = Command::new("/bin/sh").args(["-c", &line]).output().expect("a shell");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().expect("it exits by itself"), said)
}

#[test]
fn what_does_not_fit_is_refused_before_anything_starts() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let cases = [
        ("ulimit -v 100000; exec", "", 30, "ulimit -v"),
        ("exec", "--set train.batch=4096 --set model.context=2048 --tokens 1G", 30, "4096 × 2048"),
        ("exec", "--set model.d_model=4096 --set model.layers=40 --set compress.top=16", 30, "MiB are free"),
        ("exec", "--set numeric=class --set train.batch=512 --set model.context=4096 --tokens 1G", 30, "512 × 4096"),
        ("exec", "--set finality.every=0 --tokens 1000G", 30, "compress.top_max and finality.every"),
        ("exec", "--set model.d_model=4096 --set model.layers=64", 10, "parameters"),
        ("exec", "--set model.d_model=8192 --set model.layers=64", 10, "model.d_model"),
    ];
    for (before, more, expected, word) in cases {
        let dir = path(temp.path(), "run");
        let (code, said) = run(before, PROGRAM, &dir, &text, more);
        assert_eq!(code, expected, "{before} {more}: {said}");
        assert!(said.contains(word) && !said.contains("panicked"), "{before} {more}: {said}");
        assert!(!std::path::Path::new(&dir).exists(), "{before} {more}: a folder was left");
    }
}

#[test]
fn the_memory_check_can_be_switched_off() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let more = format!("--local 1 --tokens 5k --set device.memory_check=0 {}", process::TINY.join(" "));
    let (code, said) = run("ulimit -v 700000; exec", PROGRAM, &path(temp.path(), "run"), &text, &more);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn too_few_processes_are_a_sentence_and_not_a_panic() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    // Limits on processes do not hold for root, and somebody else may not see root's folders.
    let program = path(temp.path(), "murmur");
    std::fs::copy(PROGRAM, &program).expect("a copy");
    let opened = Command::new("chmod").args(["-R", "a+rwX"]).arg(temp.path()).status();
    assert!(opened.is_ok_and(|status| status.success()), "chmod is installed");
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let somebody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let tried =
        Command::new("/bin/sh").args(["-c", &format!("{somebody} prlimit --nproc=600 {program} --version")]).output();
    let before = match (is_root, tried.is_ok_and(|output| output.status.success())) {
        (false, _) => "ulimit -u 6; exec".to_owned(),
        (true, true) => format!("exec {somebody} prlimit --nproc=6"),
        (true, false) => return println!("skipped: nobody but root can run the program here"),
    };
    let (code, said) = run(&before, &program, &path(temp.path(), "run"), &text, "--local 4");
    assert_eq!(code, 30, "{said}");
    assert!(said.contains("threads and processes") && !said.contains("panicked"), "{said}");
    assert!(!std::path::Path::new(&path(temp.path(), "run")).exists());
}
