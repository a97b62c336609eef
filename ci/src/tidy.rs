//! Habits of the source files that no lint can see, each with the reason it is kept.

use crate::architecture::LAYERS;
use crate::circle;
use crate::machines;
use crate::tree::Tree;
use crate::words;

/// More lines than this in one file mean more than one idea.
pub const LINES_MAX: usize = 450;

/// The top-level folders, all of them and no others.
pub const FOLDERS: [&str; 7] =
    ["ci", "collectives", "coordinatorless", "experiments", "kernels", "trainer", "verification"];

/// Folders whose files import each other without a circle. A crate that has none may join them.
pub const WITHOUT_CIRCLES: [&str; 1] = ["coordinatorless/quic/src"];

/// Folders whose own folders import each other without a circle, whatever their files do.
pub const FOLDERS_WITHOUT_CIRCLES: [&str; 1] = ["trainer/src"];

/// Every way in which `tree` breaks the habits, each a sentence that starts with the place; empty if it keeps them.
#[must_use]
pub fn violations(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    folders(tree, &mut found);
    toolchain(tree, &mut found);
    lint_settings(tree, &mut found);
    for (path, text) in &tree.sources {
        source(path, text, &mut found);
    }
    found.extend(machines::violations(&tree.sources));
    found.extend(words::violations(&tree.sources, &tree.glossary));
    found.extend(WITHOUT_CIRCLES.iter().filter_map(|folder| circle::violation(&tree.sources, folder)));
    let between = |folder: &&str| circle::violation_of_folders(&tree.sources, folder);
    found.extend(FOLDERS_WITHOUT_CIRCLES.iter().filter_map(between));
    found
}

fn folders(tree: &Tree, found: &mut Vec<String>) {
    for name in FOLDERS.iter().filter(|name| !tree.folders.contains(**name)) {
        found.push(format!("{name}/ is missing: the house has {}", FOLDERS.join(", ")));
    }
    for name in tree.folders.iter().filter(|name| !FOLDERS.contains(&name.as_str())) {
        found.push(format!("{name}/ is not a concern of its own: the house has {}", FOLDERS.join(", ")));
    }
}

fn toolchain(tree: &Tree, found: &mut Vec<String>) {
    for name in tree.files.iter().filter(|name| name.starts_with("rust-toolchain")) {
        found.push(format!(
            "{name}: makes rustup download a toolchain; `rust-version` in Cargo.toml says what is needed"
        ));
    }
}

/// A crate's `clippy.toml` replaces the one above it, so each must repeat the root's lines; and the core's are one
/// text in several places.
fn lint_settings(tree: &Tree, found: &mut Vec<String>) {
    let Some(root) = tree.lint_settings.get("clippy.toml") else {
        found.push("clippy.toml is missing at the root".to_owned());
        return;
    };
    for (path, text) in &tree.lint_settings {
        for line in settings(root).filter(|line| !settings(text).any(|here| here == *line)) {
            found.push(format!("{path}: lacks the root's line `{line}`, which it replaces"));
        }
    }
    core_settings(tree, found);
    for layer in LAYERS.iter().filter(|layer| !layer.sans_io && layer.folder.contains('/')) {
        if !tree.lint_settings.contains_key(&settings_path(layer.folder)) {
            found.push(format!("{}: is missing, so the bans of the folder above apply", settings_path(layer.folder)));
        }
    }
}

fn core_settings(tree: &Tree, found: &mut Vec<String>) {
    let mut core = LAYERS.iter().filter(|layer| layer.sans_io).map(|layer| settings_path(layer.folder));
    let Some(first) = core.next() else { return };
    let expected = tree.lint_settings.get(&first);
    if !expected.is_some_and(|text| text.contains("disallowed-types") && text.contains("disallowed-methods")) {
        found.push(format!("{first}: must ban clocks, threads, sockets, OS randomness and hash maps, with reasons"));
    }
    for path in core.filter(|path| tree.lint_settings.get(path) != expected) {
        found.push(format!("{path}: must equal {first}, the bans of the sans-IO core are the same everywhere"));
    }
}

fn settings_path(folder: &str) -> String {
    format!("{folder}/clippy.toml")
}

fn settings(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn source(path: &str, text: &str, found: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{path}: {lines} lines, at most {LINES_MAX}: one file, one idea"));
    }
    if !is_shared_by_tests(path) && !text.trim_start().starts_with("//!") {
        found.push(format!("{path}:1: does not begin with `//!`: a file says first what it is for"));
    }
    let mut in_tests = path.contains("/tests/") || path.ends_with("/tests.rs");
    for (index, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.starts_with("//")) {
        in_tests |= line == "#[cfg(test)]";
        let reasons = FORBIDDEN.iter().filter(|rule| (in_tests || !rule.tests_only) && rule.matches(line));
        found.extend(reasons.map(|rule| format!("{path}:{}: {}", index + 1, rule.reason)));
    }
}

/// A module beside integration tests, such as `tests/support/mod.rs`, whose parent says what it is for.
fn is_shared_by_tests(path: &str) -> bool {
    path.split_once("/tests/").is_some_and(|(_, inner)| inner.contains('/'))
}

/// Text that may not stand in a source line outside comments.
struct Forbidden {
    /// Two halves, so that this file does not contain what it forbids.
    text: [&'static str; 2],
    tests_only: bool,
    reason: &'static str,
}

impl Forbidden {
    fn matches(&self, line: &str) -> bool {
        line.contains(&self.text.concat())
    }
}

const SLEEP: &str = "a test that sleeps is slow when it works and wrong when it does not: wait for the event";

const FORBIDDEN: [Forbidden; 5] = [
    Forbidden { text: ["todo", "!("], tests_only: false, reason: "unfinished work is not committed" },
    Forbidden { text: ["unimplemented", "!("], tests_only: false, reason: "unfinished work is not committed" },
    Forbidden { text: ["#[", "ignore]"], tests_only: false, reason: "an ignored test says why: `= \"reason\"`" },
    Forbidden { text: ["thread::", "sleep("], tests_only: true, reason: SLEEP },
    Forbidden { text: ["time::", "sleep("], tests_only: true, reason: SLEEP },
];

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "# why\nallow-unwrap-in-tests = true\n";
    const CORE: &str = "allow-unwrap-in-tests = true\ndisallowed-types = []\ndisallowed-methods = []\n";

    fn tidy_tree() -> Tree {
        let mut tree = Tree::default();
        tree.folders.extend(FOLDERS.map(str::to_owned));
        tree.lint_settings.insert("clippy.toml".to_owned(), ROOT.to_owned());
        for layer in LAYERS.iter().filter(|layer| !layer.sans_io && layer.folder.contains('/')) {
            tree.lint_settings.insert(settings_path(layer.folder), ROOT.to_owned());
        }
        for layer in LAYERS.iter().filter(|layer| layer.sans_io) {
            tree.lint_settings.insert(settings_path(layer.folder), CORE.to_owned());
        }
        "## Retired words\n".clone_into(&mut tree.glossary);
        tree.sources.insert("kernels/src/lib.rs".to_owned(), "//! Arithmetic.\n".to_owned());
        let without = WITHOUT_CIRCLES.into_iter().chain(FOLDERS_WITHOUT_CIRCLES);
        tree.sources.extend(without.map(|folder| (format!("{folder}/a.rs"), "//! A.\n".to_owned())));
        tree
    }

    fn found(change: impl FnOnce(&mut Tree)) -> Vec<String> {
        let mut tree = tidy_tree();
        change(&mut tree);
        violations(&tree)
    }

    /// Expects exactly one sentence about a file at `path` with `text`, and that it starts with `place`.
    fn refused(path: &str, text: &str, place: &str) {
        let found = found(|tree| drop(tree.sources.insert(path.to_owned(), text.to_owned())));
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        assert!(found[0].starts_with(place), "{found:?}");
    }

    fn accepted(path: &str, text: &str) {
        let found = found(|tree| drop(tree.sources.insert(path.to_owned(), text.to_owned())));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_tidy_tree_breaks_no_habit() {
        assert_eq!(found(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn a_folder_too_many_or_too_few_is_named() {
        assert!(found(|tree| tree.folders.extend(["utils".to_owned()]))[0].starts_with("utils/"));
        assert!(found(|tree| tree.folders.retain(|name| name != "experiments"))[0].starts_with("experiments/"));
    }

    #[test]
    fn a_pinned_toolchain_is_refused_under_either_name() {
        for name in ["rust-toolchain", "rust-toolchain.toml"] {
            assert_eq!(found(|tree| tree.files.extend([name.to_owned()])).len(), 1);
        }
    }

    #[test]
    fn a_circle_of_imports_is_refused_where_none_may_be() {
        for folder in WITHOUT_CIRCLES.into_iter().chain(FOLDERS_WITHOUT_CIRCLES) {
            let circle = |tree: &mut Tree| {
                for (name, other) in [("a", "b"), ("b", "a")] {
                    tree.sources.insert(format!("{folder}/{name}.rs"), format!("//! One.\nuse crate::{other};\n"));
                }
            };
            assert_eq!(found(circle).len(), 1);
            assert!(found(circle)[0].starts_with(folder));
        }
    }

    #[test]
    fn a_long_file_is_refused_and_the_longest_allowed_one_is_not() {
        accepted("kernels/src/a.rs", &format!("//! A.\n{}", "\n".repeat(LINES_MAX - 1)));
        refused("kernels/src/a.rs", &format!("//! A.\n{}", "\n".repeat(LINES_MAX)), "kernels/src/a.rs: 451 lines");
    }

    #[test]
    fn a_file_without_a_header_is_refused_unless_tests_share_it() {
        refused("kernels/src/a.rs", "use std::fmt;\n", "kernels/src/a.rs:1:");
        refused("kernels/tests/laws.rs", "use std::fmt;\n", "kernels/tests/laws.rs:1:");
        accepted("kernels/tests/support/mod.rs", "use std::fmt;\n");
    }

    #[test]
    fn unfinished_work_is_refused_in_code_and_allowed_in_comments() {
        for macro_name in ["todo", "unimplemented"] {
            refused("trainer/src/a.rs", &format!("//! A.\nfn a() {{ {macro_name}!() }}\n"), "trainer/src/a.rs:2:");
            accepted("trainer/src/a.rs", &format!("//! A.\n// {macro_name}!() is not allowed\n"));
        }
    }

    #[test]
    fn an_ignored_test_needs_its_reason() {
        refused("trainer/tests/a.rs", &format!("//! A.\n#[{}]\n", "ignore"), "trainer/tests/a.rs:2:");
        accepted("trainer/tests/a.rs", "//! A.\n#[ignore = \"needs two machines\"]\n");
    }

    #[test]
    fn sleeping_is_refused_in_tests_wherever_they_stand() {
        let sleep = format!("std::thread::{}(pause);", "sleep");
        refused("trainer/tests/a.rs", &format!("//! A.\n{sleep}\n"), "trainer/tests/a.rs:2:");
        refused("trainer/src/a.rs", &format!("//! A.\n#[cfg(test)]\nmod tests {{}}\n{sleep}\n"), "trainer/src/a.rs:4:");
        accepted("trainer/src/a.rs", &format!("//! A.\n{sleep}\n#[cfg(test)]\nmod tests {{}}\n"));
    }

    #[test]
    fn a_crates_lint_settings_repeat_the_root_and_the_core_agrees() {
        let quic = "coordinatorless/quic/clippy.toml";
        assert_eq!(found(|tree| drop(tree.lint_settings.insert(quic.to_owned(), String::new()))).len(), 1);
        assert_eq!(found(|tree| drop(tree.lint_settings.remove(quic))).len(), 1);
        let differs = format!("{CORE}# and more\n");
        assert_eq!(
            found(|tree| drop(tree.lint_settings.insert("verification/clippy.toml".to_owned(), differs))).len(),
            1
        );
        assert_eq!(found(|tree| drop(tree.lint_settings.remove("coordinatorless/clippy.toml"))).len(), 1);
    }
}
