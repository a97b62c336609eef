//! The benchmarks as their user runs them, small: real processes that exchange, and that are killed and frozen.
#![cfg(target_os = "linux")]

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> (Value, Output) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmur"));
    let output = command.arg("bench").args(arguments).arg("--json").output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (serde_json::from_str(last).expect("the last line is an object"), output)
}

fn metric(report: &Value, name: &str) -> f64 {
    report["metrics"][name]["value"].as_f64().unwrap_or_else(|| panic!("{name} was measured: {report:#}"))
}

#[test]
fn everything_that_is_announced_is_folded_everywhere() {
    let asked = ["exchange", "--peers", "4", "--params", "100k", "--rounds", "3", "--every", "0.5"];
    let (report, output) = bench(&[&asked[..], &["--target-seconds", "60", "--target-mib", "4000"]].concat());
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!((&report["schema"], &report["suite"]), (&"murmur.bench/1".into(), &"exchange".into()));
    assert_eq!((metric(&report, "updates"), metric(&report, "folded_everywhere_percent")), (12.0, 100.0));
    assert!(metric(&report, "announce_to_folded_by_all_mean_seconds") > 0.0);
    assert!(metric(&report, "memory_resident_mib") > 0.0);
}

#[test]
fn updates_that_no_message_holds_are_folded_everywhere() {
    // Two bits of each parameter: 5 MB an update, where a message holds 4 MiB.
    let asked = ["exchange", "--peers", "3", "--params", "20M", "--top", "4096", "--rounds", "1", "--every", "8"];
    let (report, output) = bench(&[&asked[..], &["--target-seconds", "60", "--target-mib", "16000"]].concat());
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!((metric(&report, "updates"), metric(&report, "folded_everywhere_percent")), (3.0, 100.0));
}

#[test]
fn a_target_out_of_reach_ends_with_its_own_code() {
    let asked = ["exchange", "--peers", "2", "--params", "20k", "--rounds", "1", "--target-mib", "1"];
    let (report, output) = bench(&asked);
    assert_eq!(output.status.code(), Some(51), "{report:#}");
}

#[test]
fn peers_that_are_killed_and_frozen_agree_in_the_end_and_lose_nothing() {
    let (report, output) = bench(&["churn", "--peers", "5", "--seconds", "60", "--params", "50k", "--seed", "3"]);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["violations"], Value::Array(Vec::new()));
    assert!(metric(&report, "killed") >= 1.0 && metric(&report, "frozen") >= 1.0, "{report:#}");
    assert!(metric(&report, "restarted") + metric(&report, "joined") >= 1.0, "{report:#}");
    assert!(metric(&report, "updates") > 20.0, "{report:#}");
}
