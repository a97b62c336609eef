//! The examination of a machine as a person and a program get it, and what a forced instruction set does.

use std::process::{Command, Output};

use serde_json::Value;

fn murmur(arguments: &[&str], simd: Option<&str>) -> (Value, Output) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmur"));
    match simd {
        Some(level) => command.env("MURMUR_SIMD", level),
        None => command.env_remove("MURMUR_SIMD"),
    };
    let output = command.args(arguments).arg("--json").output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (serde_json::from_str(last).expect("the last line is an object"), output)
}

#[test]
fn the_last_object_of_an_examination_says_what_was_computed_and_how_fast() {
    let (report, output) = murmur(&["doctor", "--kernels"], Some("scalar"));
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!((&report["schema"], &report["simd"]), (&"murmur.doctor/1".into(), &"scalar".into()));
    assert_eq!(report["conformance"], report["expected"]);
    let levels = report["levels"].as_array().expect("levels");
    assert!(levels.iter().all(|level| level["agrees"] == true && level["conformance"] == report["expected"]));
    let speeds = report["speeds"].as_array().expect("speeds");
    assert!(!speeds.is_empty());
    for metrics in speeds.iter().map(|speeds| &speeds["metrics"]) {
        for name in ["fma_peak", "matmul", "matmul_of_peak", "training", "memcpy", "compress", "fold", "digest"] {
            assert!(metrics[name]["value"].as_f64() > Some(0.0), "{name}: {metrics:#}");
        }
    }
}

#[test]
fn a_forced_instruction_set_that_is_unknown_is_a_config_error_before_anything_starts() {
    for command in [&["doctor", "--kernels"][..], &["run"], &["sample"], &["sim", "--seeds", "1"]] {
        let (error, output) = murmur(command, Some("sse9"));
        assert_eq!((output.status.code(), &error["schema"]), (Some(10), &"murmur.error/1".into()), "{command:?}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains("sse9")), "{error:#}");
    }
    let (page, output) = murmur(&["explain", "30"], Some("sse9"));
    assert_eq!((output.status.code(), &page["name"]), (Some(0), &"device".into()), "what computes nothing still helps");
}

#[test]
fn an_unknown_profile_is_refused_with_the_ones_there_are() {
    let (error, output) = murmur(&["run", "--set", "numeric=fast"], None);
    assert_eq!(output.status.code(), Some(10), "{error:#}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("exact or class")), "{error:#}");
    let (setting, _) = murmur(&["config", "explain", "numeric"], None);
    assert_eq!((&setting["value"], &setting["concerns"]), (&"exact".into(), &"run".into()));
}
