//! `murmur sim` as a person and a program get it.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_single_seed_tells_what_happened_and_ends_with_all_its_figures() {
    let words = ["sim", "--seed", "3", "--peers", "11", "--seconds", "10", "--json"];
    let output = Command::new(env!("CARGO_BIN_EXE_murmur")).args(words).output().expect("the program starts");
    let (text, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    let result: Value = serde_json::from_str(&text).expect("one object");
    assert_eq!((&result["schema"], &result["seeds"]), (&"murmur.sim/1".into(), &1.into()));
    assert!(result["seed_figures"]["tokens"].as_u64() > Some(0), "{result:#}");
    for peer in 0..11 {
        assert!(told.lines().any(|line| line.contains(&format!("s: peer {peer} "))), "peer {peer}\n{told}");
    }
}

#[test]
fn a_scenario_that_does_not_exist_is_named_beside_those_that_do() {
    let words = ["sim", "--scenario", "calamity"];
    let output = Command::new(env!("CARGO_BIN_EXE_murmur")).args(words).output().expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("calamity") && told.contains("churn125"), "{told}");
}

#[test]
fn a_link_profile_that_does_not_exist_names_the_nearest() {
    let words = ["sim", "--link", "cabel"];
    let output = Command::new(env!("CARGO_BIN_EXE_murmur")).args(words).output().expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("the nearest is `cable`"), "{told}");
}
