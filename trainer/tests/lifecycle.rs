//! Nothing that stops, hangs or runs away is waited for without end, and every end has its exit code.
#![cfg(unix)]

mod process;

use std::time::Instant;

use murmur::{crash::Part, error::Exit};
use process::{Murmur, PATIENCE, TINY, is_alive, path, run, signal, text};

#[test]
fn whatever_part_of_a_peer_crashes_its_process_ends_with_a_report_and_the_run_says_so() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    for part in Part::ALL {
        let dir = path(temp.path(), part.name());
        let target = format!("1={}", part.name());
        let swarm = run(&dir, &text, &["--local", "2", "--tokens", "20k", "--crash", &target]);
        let (last, code) = swarm.end();
        assert_eq!(code, i32::from(Exit::Crashed.code()), "{}: {last:#?}", part.name());
        // The launcher cannot go on without its own ears; of a peer the others make the best.
        let expected = if part == Part::Reports { "murmur.error/1" } else { "murmur.summary/1" };
        let schema = last.as_ref().map(|last| last["schema"].clone());
        let early = part == Part::Commands || part == Part::Heartbeat;
        assert!(schema == Some(expected.into()) || early, "{}: {last:#?}", part.name());
    }
}

#[test]
fn a_peer_that_is_stopped_for_good_is_named_and_the_others_end_without_it() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    let mut swarm = run(&dir, &text, &["--local", "3", "--tokens", "1000M"]);
    let started = swarm.until("started", |_| true);
    let stopped = started["peers"][1].clone();
    let pid = stopped["pid"].as_u64().expect("a pid");
    swarm.until("round", |_| true);
    signal(pid, "STOP");
    swarm.signal("INT");
    let summary = swarm.until("summary", |_| true);
    let notes = swarm.notes();
    let code = swarm.child.wait().expect("it exits").code().expect("by itself");
    assert_eq!((code, &summary["survivors"]), (75, &2.into()), "{summary:#}\n{notes}");
    let name = stopped["petname"].as_str().expect("a name");
    assert!(notes.contains(&format!("Waiting for {name}")) && notes.contains("said nothing for"), "{notes}");
    assert_eq!(summary["per_peer"][1]["end"], "lost", "{summary:#}");
    assert_eq!(summary["state_roots_equal"], true, "{summary:#}");
    assert!(!is_alive(pid), "the stopped process is not left behind");
}

#[test]
fn a_stop_is_heard_during_a_long_evaluation() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    // A million sequences take minutes; the first measurement follows the first segment.
    let mut swarm = run(&dir, &text, &["--local", "1", "--tokens", "1000M", "--set", "eval.sequences=1000000"]);
    swarm.until("started", |_| true);
    swarm.signal("INT");
    let (summary, code) = swarm.finish();
    assert_eq!(code, 0, "{summary:#}");
}

#[test]
fn training_that_diverges_ends_with_50_and_says_what_is_left() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    let more = ["--local", "2", "--tokens", "1000M", "--set", "train.lr=1", "--set", "checkpoint.every_tokens=1G"];
    let mut swarm = run(&dir, &text, &more);
    let summary = swarm.until("summary", |_| true);
    let notes = swarm.notes();
    let code = swarm.child.wait().expect("it exits").code().expect("by itself");
    assert_eq!(code, 50, "{summary:#}\n{notes}");
    assert_eq!(
        (&summary["per_peer"][0]["end"], &summary["checkpoint"]),
        (&"diverged".into(), &serde_json::Value::Null)
    );
    let all = swarm.notes();
    assert!(all.contains("No checkpoint had been written before") && all.contains("train.lr"), "{all}");
}

#[test]
fn a_killed_run_can_be_resumed_at_once() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    let mut first = run(&dir, &text, &["--local", "2", "--tokens", "1000M"]);
    first.until("round", |_| true);
    first.signal("KILL");
    // Its peers notice a moment later that it is gone, and hold their identities until then.
    let mut second = Murmur::start(&["run", "--resume", &dir]);
    second.until("round", |_| true);
    second.signal("INT");
    assert_eq!(second.finish().1, 0);
    drop(first);
}

#[test]
fn resuming_a_run_that_has_ended_says_so_and_ends_well() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    let (first, code) = run(&dir, &text, &["--local", "2", "--tokens", "10k"]).finish();
    assert_eq!((code, &first["had_ended"]), (0, &false.into()), "{first:#}");
    let (again, code) = Murmur::start(&["run", "--resume", &dir]).finish();
    assert_eq!((code, &again["had_ended"], &again["tokens_per_second"]), (0, &true.into(), &0.0.into()), "{again:#}");
    assert_eq!((&again["state_root"], &again["tokens"]), (&first["state_root"], &first["tokens"]));
}

#[test]
fn an_output_that_cannot_be_written_is_no_reader_that_left() {
    if !std::path::Path::new("/dev/full").exists() {
        println!("skipped: this system has no /dev/full");
        return;
    }
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let program = env!("CARGO_BIN_EXE_murmur");
    let shell = |line: &str| {
        let begun = Instant::now();
        let output = std::process::Command::new("/bin/sh").args(["-c", line]).output().expect("a shell");
        assert!(begun.elapsed() < PATIENCE, "{line}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{line}: {said}");
        (output.status.code(), said)
    };
    let settings = TINY.join(" ");
    let train =
        format!("{program} run --local 1 --tokens 1G --data {text} {settings} --state-dir {}", path(temp.path(), "a"));
    let (code, said) = shell(&format!("{train} > /dev/full"));
    assert_eq!(code, Some(32), "{said}");
    assert!(said.contains("cannot be written"), "{said}");
    for command in ["completions bash", "explain", "--help", "config explain --json"] {
        assert_eq!(shell(&format!("{program} {command} > /dev/full")).0, Some(32), "{command}");
        let (_, said) = shell(&format!("{{ {program} {command}; echo \"code $?\" >&2; }} | head -c 1 > /dev/null"));
        assert!(said.contains("code 0"), "{command}: {said}");
    }
}
