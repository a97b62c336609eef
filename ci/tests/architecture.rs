//! This very workspace keeps the rules: the direction of its dependencies and the habits of its files.

use std::path::{Path, PathBuf};

use murmur_ci::graph::Graph;
use murmur_ci::tree::{Tree, workspace_root};
use murmur_ci::{architecture, readme, tidy};

fn root() -> PathBuf {
    // As it is now: several checkouts may share what was built.
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    workspace_root(Path::new(&here)).expect("this crate lives in a workspace")
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} broken:\n  {}", violations.len(), violations.join("\n  "));
}

#[test]
fn crates_depend_on_each_other_only_downwards_and_the_core_reaches_no_socket() {
    let graph = Graph::of_workspace(&root()).expect("cargo describes the workspace");
    assert_none(&architecture::violations(&graph));
}

#[test]
fn every_crate_lies_in_the_folder_of_its_layer() {
    for layer in architecture::LAYERS {
        let manifest = root().join(layer.folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).expect("the layer's folder has a manifest");
        assert!(text.contains(&format!("name = \"{}\"\n", layer.package)), "{} in {}", layer.package, layer.folder);
    }
}

#[test]
fn folders_files_and_lint_settings_keep_the_habits_of_the_house() {
    let tree = Tree::read(&root()).expect("the workspace is readable");
    assert!(tree.sources.contains_key("ci/tests/architecture.rs"), "this file is among those that are looked at");
    assert_none(&tidy::violations(&tree));
}

#[test]
fn the_readme_says_how_to_test_the_whole_workspace() {
    let words = readme::test_command(&root().join("README.md")).expect("the README has a test command");
    assert!(words.iter().any(|word| word == "--workspace"), "{words:?}");
}

/// Packages with their features, as `cargo tree` resolves them for `selection`.
fn features(selection: &[&str]) -> std::collections::BTreeSet<String> {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["tree", "--locked", "--prefix", "none", "--format", "{p} [{f}]"]).args(selection);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_tests_use_burn_as_the_program_built_it() {
    let program = features(&["--package", "murmur", "--edges", "normal,build"]);
    let workspace = features(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(program.iter().any(|line| line.starts_with("burn-core ")), "the program needs burn");
    // A package whose features differ is built twice, and with it whatever depends on it: a quarter of an hour for burn.
    let twice: Vec<&String> = program.difference(&workspace).collect();
    assert!(twice.is_empty(), "development dependencies change the features of {twice:#?}");
}
