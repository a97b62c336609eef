//! Baselines as their user runs them: processes over QUIC end as one process that trains all ranks in turn does.

use std::process::{Command, Output};

use serde_json::Value;

/// A model and a budget with which a method ends in a second or two.
const SMALL: [&str; 8] = [
    "model.layers=1",
    "model.heads=2",
    "model.d_model=16",
    "model.context=32",
    "train.steps=3",
    "run.tokens=4k",
    "eval.sequences=16",
    "device.threads=1",
];

fn baseline(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmur"));
    command.args(["bench", "baseline"]).args(arguments).arg("--json");
    command.args(SMALL.iter().flat_map(|set| ["--set", set])).output().expect("it starts")
}

fn trained(arguments: &[&str]) -> Value {
    let output = baseline(arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(text.trim()).expect("the result is an object")
}

#[test]
fn every_method_ends_the_same_as_processes_and_in_one() {
    for method in ["allreduce", "param-server", "diloco", "noloco", "demo", "sparseloco", "rounds"] {
        let peers = if method == "noloco" { "3" } else { "2" };
        let (apart, together) =
            (trained(&[method, "--peers", peers]), trained(&[method, "--peers", peers, "--in-process"]));
        let loss = |result: &Value| result["metrics"]["val_loss_nats"]["value"].as_f64().expect("a loss");
        assert_eq!(loss(&apart), loss(&together), "{method}");
        let curve = apart["curve"].as_array().expect("a curve");
        let first = curve[0][3].as_f64().expect("a loss");
        assert!(loss(&apart) < first - 0.1, "{method} learns: {first} to {}", loss(&apart));
        let sent = |result: &Value| result["metrics"]["sent_bytes"]["value"].as_f64().expect("bytes");
        assert!(sent(&apart) > sent(&together), "{method}: packets are more than messages");
    }
}

#[test]
fn one_process_alone_is_all_reduce_of_one() {
    let loss = |method| {
        trained(&[method, "--peers", "1", "--set", "train.batch=2"])["metrics"]["val_loss_nats"]["value"].clone()
    };
    assert_eq!(loss("central"), loss("allreduce"));
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    let output = baseline(&["dilocco"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("`diloco`"), "{text}");
    let output = baseline(&["diloco", "--set", "train.batch=0"]);
    assert_eq!(output.status.code(), Some(10), "{}", String::from_utf8_lossy(&output.stdout));
}
