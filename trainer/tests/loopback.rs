//! The program as its user runs it: real processes, real QUIC on loopback, a tiny model on made-up text.
#![cfg(unix)]

mod process;

use std::{fs, process::Command, time::Instant};

use serde_json::Value;

use process::{Murmur, PATIENCE, is_alive, page, path, run, signal, text};

#[test]
fn peers_train_a_fourth_joins_one_is_killed_and_comes_back_and_all_agree() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let (dir, elsewhere) = (path(temp.path(), "run"), path(temp.path(), "joined"));
    let more = ["--local", "3", "--tokens", "20M", "--set", "finality.every=5k"];
    let mut swarm = run(&dir, &text, &more);
    let started = swarm.until("started", |_| true);
    let peers: Vec<Value> = started["peers"].as_array().expect("peers").clone();
    let ticket = started["ticket"].as_str().expect("a ticket").to_owned();
    assert_eq!(peers.len(), 3);
    swarm.until("event", |event| {
        event["kind"] == "final" && event["detail"].as_str().is_some_and(|d| d.starts_with("epoch 3 "))
    });

    let in_files = ["--set", "device.state_memory=0"]; // whose states lie in files agrees with whose lie in memory
    let join =
        |dir: &str| Murmur::start(&[&["join", &ticket, "--state-dir", dir, "--data", &text][..], &in_files].concat());
    let mut joiner = join(&elsewhere);
    let newcomer = joiner.until("started", |_| true)["peers"][0]["peer_id"].clone();
    joiner.until("event", |event| event["kind"] == "caught_up");
    swarm.until("event", |event| event["kind"] == "joined" && event["peer_id"] == newcomer);
    joiner.until("round", |round| round["peers"] == 4 && round["audits"]["passed"].as_u64() >= Some(1));

    let status = page(&["status", "--state-dir", &dir]);
    assert_eq!(status["schema"], "murmur.status/1");
    let seen: Vec<&Value> = status["peers"].as_array().expect("peers").iter().map(|peer| &peer["peer_id"]).collect();
    assert_eq!(seen, peers.iter().map(|peer| &peer["peer_id"]).collect::<Vec<_>>(), "all run and answer");
    assert_eq!(status["peers"][0]["phase"], "training");
    assert!(status["peers"][0]["set"]["final_epoch"].as_u64() >= Some(3), "{status:#}");
    let neighbours = page(&["peers", "--state-dir", &dir]);
    let met =
        |peer: &Value| peer["neighbours"].as_array().is_some_and(|list| list.iter().any(|n| n["peer_id"] == newcomer));
    assert!(neighbours["peers"].as_array().expect("peers").iter().any(met), "the newcomer is seen: {neighbours:#}");
    let near = &neighbours["peers"][0]["neighbours"][0];
    assert_eq!((&near["reach"], &near["member"]), (&"direct".into(), &"alive".into()), "{neighbours:#}");

    signal(peers[0]["pid"].as_u64().expect("a pid"), "KILL");
    swarm.until("event", |event| event["kind"] == "departed" && event["peer_id"] == peers[0]["peer_id"]);
    let round = swarm.until("round", |_| true)["round"].as_u64().expect("a number");
    swarm.until("round", |later| later["round"].as_u64() >= Some(round + 2));

    let mut again = join(&format!("{dir}/peer-0"));
    let revived = again.until("started", |_| true)["peers"][0]["peer_id"].clone();
    assert_eq!(revived, peers[0]["peer_id"], "it is the same peer");
    again.until("event", |event| event["kind"] == "caught_up");
    again.until("round", |_| true);

    for murmur in [&swarm, &joiner, &again] {
        murmur.signal("INT");
    }
    let mut roots = Vec::new();
    for murmur in [swarm, joiner, again] {
        let (summary, code) = murmur.finish();
        assert_eq!((code, &summary["state_roots_equal"]), (0, &Value::Bool(true)), "{summary:#}");
        assert_eq!(summary["evicted"], Value::Array(Vec::new()), "nobody is evicted: {summary:#}");
        roots.push(summary["state_root"].clone());
    }
    let pids = peers.iter().map(|peer| peer["pid"].as_u64().expect("a pid"));
    assert!(pids.into_iter().all(|pid| !is_alive(pid)), "no peer outlives its launcher");
}

#[test]
fn a_run_ends_by_itself_can_be_resumed_and_sampled_from() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    let mut first = run(&dir, &text, &["--local", "2", "--tokens", "20M", "--set", "finality.every=5k"]);
    first.until("event", |event| event["kind"] == "final");
    first.until("round", |_| true);
    first.signal("INT");
    let (before, code) = first.finish();
    assert_eq!((code, &before["state_roots_equal"]), (0, &Value::Bool(true)), "{before:#}");

    let mut second = Murmur::start(&["run", "--resume", &dir]);
    second.until("event", |event| event["kind"] == "final");
    second.until("round", |_| true);
    second.signal("INT");
    let (after, code) = second.finish();
    assert_eq!((code, &after["state_roots_equal"]), (0, &Value::Bool(true)), "{after:#}");
    assert!(after["updates"].as_u64() > before["updates"].as_u64(), "it went on where it was: {after:#}");

    let sample = Command::new(env!("CARGO_BIN_EXE_murmur"))
        .args(["sample", "--state-dir", &dir, "--prompt", "fn", "--length", "40"])
        .output()
        .expect("it runs");
    assert!(sample.status.success(), "{}", String::from_utf8_lossy(&sample.stderr));
    assert!(sample.stdout.len() >= 40);
}

#[test]
fn a_cheat_is_evicted_and_the_others_agree_without_it() {
    for how in ["noise", "skip", "copy"] {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let text = text(temp.path()).to_str().expect("a plain path").to_owned();
        let dir = path(temp.path(), "run");
        let cheat = format!("1={how}");
        let more = ["--local", "4", "--tokens", "60k", "--audit-rate", "1", "--misbehave", &cheat];
        let mut swarm = run(&dir, &text, &more);
        let started = swarm.until("started", |_| true);
        let guilty = started["peers"][1]["peer_id"].clone();
        let (summary, code) = swarm.finish();
        assert_eq!((code, &summary["state_roots_equal"]), (0, &Value::Bool(true)), "{how}: {summary:#}");
        assert_eq!(summary["evicted"], Value::Array(vec![guilty]), "{how}: {summary:#}");
        assert!(summary["audits"]["failed"].as_u64() >= Some(2), "{how}: {summary:#}");
    }
}

/// The files of the folder `text` under other names, in another order.
fn renamed(text: &str) -> String {
    let folder = format!("{text}-renamed");
    fs::create_dir(&folder).expect("a fresh folder");
    for (index, entry) in fs::read_dir(text).expect("the text").enumerate() {
        let path = entry.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().chars().rev().collect::<String>();
        fs::copy(&path, format!("{folder}/{name}-{index}")).expect("there is room");
    }
    folder
}

#[test]
fn peers_with_different_instruction_sets_and_file_names_audit_each_other_and_agree() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let (dir, elsewhere) = (path(temp.path(), "run"), path(temp.path(), "joined"));
    let more = [
        "--local",
        "2",
        "--tokens",
        "800M",
        "--audit-rate",
        "1",
        "--set",
        "finality.every=200k",
        "--set",
        "train.steps=100",
    ];
    let mut swarm = run(&dir, &text, &more);
    let started = swarm.until("started", |_| true);
    assert_eq!(started["peers"][0]["class"], "exact/4");
    swarm.until("event", |event| event["kind"] == "final");
    let ticket = started["ticket"].as_str().expect("a ticket").to_owned();
    let renamed = renamed(&text);
    let join = ["join", &ticket, "--state-dir", &elsewhere, "--data", &renamed, "--set", "device.threads=2"];
    let mut joiner = Murmur::start_with(&[("MURMUR_SIMD", "scalar")], &join);
    let device = joiner.until("started", |_| true)["peers"][0]["device"].clone();
    assert_eq!(device, "cpu, scalar, 2 threads");
    joiner.until("round", |round| round["peers"] == 3 && round["audits"]["passed"].as_u64() >= Some(4));
    swarm.signal("INT");
    joiner.signal("INT");
    for murmur in [swarm, joiner] {
        let (summary, code) = murmur.finish();
        assert_eq!((code, &summary["evicted"]), (0, &Value::Array(Vec::new())), "{summary:#}");
        assert_eq!(summary["audits"]["failed"], 0, "{summary:#}");
        assert!(summary["audits"]["passed"].as_u64() >= Some(1), "{summary:#}");
        assert_eq!(summary["state_roots_equal"], true, "{summary:#}");
    }
}

#[test]
fn a_run_of_the_class_profile_ends_as_well() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    let mut swarm = run(&dir, &text, &["--local", "2", "--tokens", "10k", "--set", "numeric=class"]);
    let class = swarm.until("started", |_| true)["peers"][0]["class"].clone();
    assert!(class.as_str().is_some_and(|class| class.starts_with("burn-flex/")), "{class}");
    let (summary, code) = swarm.finish();
    assert_eq!((code, &summary["state_roots_equal"]), (0, &Value::Bool(true)), "{summary:#}");
}

#[test]
fn a_lost_launcher_takes_its_peers_along() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let text = text(temp.path()).to_str().expect("a plain path").to_owned();
    let dir = path(temp.path(), "run");
    let mut swarm = run(&dir, &text, &["--local", "2", "--tokens", "1000M"]);
    let started = swarm.until("started", |_| true);
    swarm.until("round", |_| true);
    swarm.signal("KILL");
    let _ = swarm.child.wait();
    // The peers' end is visible as the end of what they hold open: their folders' identity locks.
    let deadline = Instant::now() + PATIENCE;
    let pids: Vec<u64> = started["peers"].as_array().expect("peers").iter().filter_map(|p| p["pid"].as_u64()).collect();
    while pids.iter().any(|pid| is_alive(*pid)) {
        assert!(Instant::now() < deadline, "peers outlive their launcher");
        std::thread::yield_now();
    }
}
