//! The tests of the crate with unsafe code, run where a wrong address is noticed.
//!
//! [AddressSanitizer](https://doc.rust-lang.org/beta/unstable-book/compiler-flags/sanitizer.html) comes with the toolchain: it finds
//! reads and writes outside an allocation or after its end, and leaks. It wants an unstable compiler flag, and a target that is
//! named, so that build scripts and procedural macros go without. Debug assertions are on: the standard library then checks
//! what its own unsafe functions demand. Each instruction set is run by itself, as its loads and stores are its own.
//! Valgrind also finds values that were never written; Miri, which is part of nightly toolchains, what only the rules of the
//! language forbid, such as an address that is computed outside its allocation and not used.

use std::path::{Path, PathBuf};

use crate::plan::{Command, Tool};

/// What is looked at: all tests but those in documentation.
const TESTS: &str = "-p murmur-kernels --lib --tests";

/// The programs to run, or why one is not.
#[must_use]
pub fn commands(root: &Path) -> Vec<Result<Command, String>> {
    let folder = folder(root);
    let mut commands = match host() {
        Some(host) if ADDRESS_SANITIZER => {
            levels().into_iter().map(|level| Ok(address_sanitizer(&host, &folder, level))).collect()
        }
        Some(host) => vec![Err(format!("no AddressSanitizer for {host}"))],
        None => vec![Err("`rustc -vV` names no host".to_owned())],
    };
    commands.extend([Ok(valgrind()), Ok(miri(&folder))]);
    commands
}

/// Whether toolchains for this host bring the sanitizer's runtime.
const ADDRESS_SANITIZER: bool = cfg!(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    any(target_os = "macos", all(target_os = "linux", target_env = "gnu"))
));

/// Its own, so that no other build is thrown away.
fn folder(root: &Path) -> PathBuf {
    let usual = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    usual.join("sanitize")
}

/// The toolchain's own target, the one whose programs run here.
fn host() -> Option<String> {
    let output = std::process::Command::new("rustc").arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
}

/// The values of `MURMUR_SIMD` that differ on this machine.
fn levels() -> Vec<&'static str> {
    let mut levels = vec!["scalar"];
    #[cfg(target_arch = "aarch64")]
    levels.push("neon");
    #[cfg(target_arch = "x86_64")]
    {
        levels.extend(is_x86_feature_detected!("avx2").then_some("avx2"));
        levels.extend(is_x86_feature_detected!("avx512f").then_some("avx512"));
    }
    levels
}

fn address_sanitizer(host: &str, folder: &Path, level: &str) -> Command {
    let mut command =
        Command::new(&format!("cargo test --release --no-fail-fast {TESTS} --target {host} --target-dir"));
    command.words.push(folder.display().to_string());
    let flags = "-Zsanitizer=address -Cdebug-assertions=on";
    let environment = [("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", flags), ("MURMUR_SIMD", level)];
    let leaks = ("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");
    Command {
        environment: [&environment[..], &[leaks]].concat().into_iter().map(owned).collect(),
        runs_tests: true,
        ..command
    }
}

/// On the build that the tests have anyway; at the highest level that Valgrind's own processor has.
fn valgrind() -> Command {
    let runner = "valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite";
    let mut command = Command::new("cargo test --release -p murmur-kernels --lib --config");
    let target = format!("target.'cfg(all())'.runner='{runner}'");
    command.words.push(target);
    let tool = Tool { call: "valgrind", remedy: "https://valgrind.org" };
    Command { runs_tests: true, optional: Some(tool), ..command }
}

/// It knows few vector instructions, so the scalar level; and it is slow, so few cases of what is random. Of its two models of borrowing
/// the newer: under the older one it stops at crossbeam's epochs, which rayon stands on.
fn miri(folder: &Path) -> Command {
    let mut command = Command::new("cargo miri test -p murmur-kernels --lib --target-dir");
    command.words.push(folder.join("miri").display().to_string());
    let tool = Tool {
        call: "cargo miri",
        remedy: "rustup toolchain install nightly --component miri; rustup default nightly",
    };
    let environment = [
        ("MURMUR_SIMD", "scalar"),
        ("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-tree-borrows"),
        ("PROPTEST_CASES", "2"),
    ];
    Command {
        environment: environment.into_iter().map(owned).collect(),
        runs_tests: true,
        optional: Some(tool),
        ..command
    }
}

fn owned((name, value): (&'static str, &str)) -> (&'static str, String) {
    (name, value.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_instruction_set_is_run_by_itself_in_a_folder_that_no_other_build_uses() {
        let command = address_sanitizer("a-host", Path::new("there/sanitize"), "scalar");
        let words = command.words.join(" ");
        assert!(words.ends_with("--target a-host --target-dir there/sanitize"), "{words}");
        assert!(command.environment.contains(&("MURMUR_SIMD", "scalar".to_owned())) && command.runs_tests);
        assert_eq!(levels()[0], "scalar");
    }

    #[test]
    fn the_tools_that_need_not_be_there_are_asked_for_and_come_last() {
        let commands = commands(Path::new("."));
        let tools = commands.iter().flatten().filter_map(|command| Some(command.optional.as_ref()?.call));
        assert_eq!(tools.collect::<Vec<_>>(), ["valgrind", "cargo miri"]);
        assert!(commands.len() > 2);
    }
}
