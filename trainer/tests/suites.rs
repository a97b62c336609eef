//! A suite as its user runs it: its result is stored, compared, shown and checked.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn bench(folder: &Path, arguments: &[&str]) -> (Value, Output) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmur"));
    let output = command.current_dir(folder).arg("bench").args(arguments).arg("--json").output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (serde_json::from_str(last).expect("the last line is an object"), output)
}

#[test]
fn a_suite_is_run_stored_verified_reported_and_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let (conclusion, output) = bench(here, &["codec", "--seeds", "7,"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((&conclusion["schema"], &conclusion["suite"]), (&"murmur.bench/1".into(), &"codec".into()));
    let bits = &conclusion["metrics"]["top_256_bits_per_parameter"];
    assert!(bits["value"].as_f64().is_some_and(|bits| bits > 0.4 && bits < 0.5) && bits["unit"] == "bits", "{bits}");

    let files: Vec<_> = fs::read_dir(here).expect("it is there").flatten().map(|file| file.file_name()).collect();
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    let file = file.to_str().expect("a plain name");
    assert!(file.starts_with("murmur-bench-codec-") && file.ends_with(".json"), "{file}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(file));
    let stored: Value = serde_json::from_str(&fs::read_to_string(here.join(file)).expect("it is there")).expect("JSON");
    assert_eq!(stored["schema"], "murmur.bench-result/1");
    assert_eq!(stored["conclusion"], conclusion);
    for key in ["command", "config_digest", "hardware", "platform", "program", "tree", "date", "version", "options"] {
        assert!(stored["header"].get(key).is_some(), "{key}");
    }

    let (verified, output) = bench(here, &["verify", file]);
    assert_eq!((output.status.code(), &verified["sound"]), (Some(0), &Value::Bool(true)));
    let (reported, _) = bench(here, &["report", file]);
    let page = fs::read_to_string(here.join(reported["html"].as_str().expect("a path"))).expect("the page");
    assert!(page.contains("top 256") && page.contains("<svg"));
    assert!(here.join(reported["samples_csv"].as_str().expect("a path")).exists());
    let (compared, _) = bench(here, &["compare", file, file]);
    assert_eq!(compared["rows"][0]["verdict"], "too few pairs to say (1, at least 3)");

    let edited = fs::read_to_string(here.join(file)).expect("it is there").replacen("\"seed\": 7", "\"seed\": 8", 1);
    fs::write(here.join("edited.json"), edited).expect("a file");
    let (refused, output) = bench(here, &["verify", "edited.json"]);
    assert_eq!((output.status.code(), &refused["code"]), (Some(21), &21.into()));
    assert!(
        refused["message"].as_str().is_some_and(|message| message.contains("the samples: their digest")),
        "{refused}"
    );
}

#[test]
fn a_mistyped_suite_names_the_nearest() {
    let folder = tempfile::tempdir().expect("a folder");
    let (error, output) = bench(folder.path(), &["codek"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("the nearest is `codec`")), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0, "nothing is written");
}
