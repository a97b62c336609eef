//! Who depends on whom, as `cargo metadata` tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Why the dependency graph could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// A program did not start.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("{program} failed: {message}")]
    Failed {
        /// The program.
        program: String,
        /// What it printed on stderr.
        message: String,
    },
    /// The output is not JSON.
    #[error("cargo metadata printed no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The output lacks something this reader relies on.
    #[error("cargo metadata has no {0} where it was expected")]
    Missing(&'static str),
}

/// A workspace member's declared dependency, of any kind: normal, build or dev.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Declared {
    /// Name of the package, not of a rename.
    pub package: String,
    /// Whether it is a dev-dependency.
    pub dev: bool,
}

/// The workspace's packages and everything they reach.
#[derive(Debug, Default)]
pub struct Graph {
    /// Workspace member → what its manifest declares.
    declared: BTreeMap<String, Vec<Declared>>,
    /// Package id → name.
    names: BTreeMap<String, String>,
    /// Package id → ids of its normal dependencies, as resolved for this machine.
    normal: BTreeMap<String, Vec<String>>,
}

impl Graph {
    /// Asks cargo about the workspace at `root`. Packages for other platforms than this one are left out, because
    /// cargo would have to download them.
    ///
    /// # Errors
    /// [`GraphError`] if cargo fails or prints something unexpected.
    pub fn of_workspace(root: &Path) -> Result<Self, GraphError> {
        let platform = host()?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &platform]);
        Self::parse(&printed(cargo.current_dir(root))?)
    }

    /// Reads the output of `cargo metadata --format-version 1`.
    ///
    /// # Errors
    /// [`GraphError`] if `json` is not such an output.
    pub fn parse(json: &str) -> Result<Self, GraphError> {
        let metadata: Value = serde_json::from_str(json)?;
        let members: BTreeSet<&str> = list(&metadata, "workspace_members")?.iter().filter_map(Value::as_str).collect();
        let mut graph = Self::default();
        for package in list(&metadata, "packages")? {
            let (id, name) = (text(package, "id")?, text(package, "name")?);
            graph.names.insert(id.to_owned(), name.to_owned());
            if members.contains(id) {
                graph.declared.insert(name.to_owned(), declared(package)?);
            }
        }
        for node in list(&metadata["resolve"], "nodes")? {
            graph.normal.insert(text(node, "id")?.to_owned(), normal(node)?);
        }
        Ok(graph)
    }

    /// The workspace's members by name.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.declared.keys().map(String::as_str)
    }

    /// What `member`'s manifest declares; empty for a package that is no member.
    #[must_use]
    pub fn declared(&self, member: &str) -> &[Declared] {
        self.declared.get(member).map_or(&[], Vec::as_slice)
    }

    /// Names of all packages that `member` reaches through normal dependencies, itself left out. Features are those
    /// of a build of the whole workspace.
    #[must_use]
    pub fn closure(&self, member: &str) -> BTreeSet<&str> {
        let start = self.names.iter().filter(|(_, name)| *name == member).map(|(id, _)| id.as_str());
        let mut open: Vec<&str> = start.collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.normal.get(id).into_iter().flatten().map(String::as_str));
            }
        }
        seen.into_iter()
            .filter_map(|id| self.names.get(id))
            .map(String::as_str)
            .filter(|name| *name != member)
            .collect()
    }
}

fn declared(package: &Value) -> Result<Vec<Declared>, GraphError> {
    let mut all = Vec::new();
    for dependency in list(package, "dependencies")? {
        let dev = dependency["kind"].as_str() == Some("dev");
        all.push(Declared { package: text(dependency, "name")?.to_owned(), dev });
    }
    Ok(all)
}

fn normal(node: &Value) -> Result<Vec<String>, GraphError> {
    let mut ids = Vec::new();
    for dependency in list(node, "deps")? {
        if list(dependency, "dep_kinds")?.iter().any(|kind| kind["kind"].is_null()) {
            ids.push(text(dependency, "pkg")?.to_owned());
        }
    }
    Ok(ids)
}

fn list<'a>(value: &'a Value, key: &'static str) -> Result<&'a Vec<Value>, GraphError> {
    value[key].as_array().ok_or(GraphError::Missing(key))
}

fn text<'a>(value: &'a Value, key: &'static str) -> Result<&'a str, GraphError> {
    value[key].as_str().ok_or(GraphError::Missing(key))
}

/// The target triple of this machine.
fn host() -> Result<String, GraphError> {
    let version = printed(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or(GraphError::Missing("host triple"))
}

fn printed(command: &mut Command) -> Result<String, GraphError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| GraphError::Start { program: program.clone(), source })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(GraphError::Failed { program, message });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const THREE: &str = r#"{
        "workspace_members": ["a 1"],
        "packages": [
            {"id": "a 1", "name": "a", "dependencies": [{"name": "b", "kind": null}, {"name": "d", "kind": "dev"}]},
            {"id": "b 1", "name": "b", "dependencies": [{"name": "never-declared-here", "kind": null}]},
            {"id": "c 1", "name": "c", "dependencies": []},
            {"id": "d 1", "name": "d", "dependencies": []}
        ],
        "resolve": {"nodes": [
            {"id": "a 1", "deps": [{"pkg": "b 1", "dep_kinds": [{"kind": null}]}, {"pkg": "d 1", "dep_kinds": [{"kind": "dev"}]}]},
            {"id": "b 1", "deps": [{"pkg": "c 1", "dep_kinds": [{"kind": "build"}, {"kind": null}]}]},
            {"id": "c 1", "deps": [{"pkg": "a 1", "dep_kinds": [{"kind": null}]}]},
            {"id": "d 1", "deps": []}
        ]}
    }"#;

    #[test]
    fn the_closure_follows_normal_edges_through_a_cycle_and_leaves_dev_edges_out() {
        let graph = Graph::parse(THREE).unwrap();
        assert_eq!(graph.closure("a"), BTreeSet::from(["b", "c"]));
    }

    #[test]
    fn only_members_declare_and_dev_dependencies_are_marked() {
        let graph = Graph::parse(THREE).unwrap();
        assert_eq!(graph.members().collect::<Vec<_>>(), ["a"]);
        let kinds: Vec<_> = graph.declared("a").iter().map(|one| (one.package.as_str(), one.dev)).collect();
        assert_eq!(kinds, [("b", false), ("d", true)]);
        assert!(graph.declared("b").is_empty());
    }

    #[test]
    fn an_output_without_a_resolved_graph_is_an_error() {
        let bare = r#"{"workspace_members": [], "packages": [], "resolve": null}"#;
        assert!(matches!(Graph::parse(bare), Err(GraphError::Missing("nodes"))));
    }
}
