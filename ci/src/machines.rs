//! The machines of a node: each has its methods on its own type, and calls only machines below it. So the calls between
//! them form no circle, and a machine can be read and tested with those below it alone.

use std::collections::BTreeMap;

use crate::circle::paths;

/// The folder whose files and folders are machines.
const NODE: &str = "coordinatorless/src/node";

/// Modules of [`NODE`] that route between machines, lend them what they may touch, or count what they hold, and so may name
/// them all; with what is inside them.
const ROUTES: [&str; 4] = ["node", "node/context", "node/environment", "node/footprint"];

/// Those of [`ROUTES`] in which methods of the node stand.
const METHODS: [&str; 3] = ["node", "node/context", "node/footprint"];

/// Modules that only tests use.
const TEST_SUPPORT: [&str; 1] = ["node/bench"];

/// The machines, each above those before it.
pub const MACHINES: [&str; 13] = [
    "set",
    "limits",
    "connectivity",
    "membership",
    "identity_guard",
    "own_carries",
    "transfer",
    "replication",
    "finality",
    "catch_up",
    "own_chain",
    "audits",
    "eviction",
];

/// Every way in which the files of the node among `sources` break the rule, a sentence each.
#[must_use]
pub fn violations(sources: &BTreeMap<String, String>) -> Vec<String> {
    let files: BTreeMap<String, (&String, &String)> =
        sources.iter().filter_map(|(path, text)| Some((module(path)?, (path, text)))).collect();
    let mut found = Vec::new();
    for (name, (path, text)) in files.iter().filter(|(name, _)| !TEST_SUPPORT.contains(&name.as_str())) {
        let at = text.lines().position(|line| line.starts_with("impl Node"));
        found.extend(at.filter(|_| !is_of(&METHODS, name)).map(|at| {
            format!("{path}:{}: `impl Node`: methods stand on the machine's own type, routes in node.rs", at + 1)
        }));
        if is_of(&ROUTES, name) {
            continue;
        }
        let Some(rank) = rank(name) else {
            found.push(format!("{path}: is part of no machine that ci/src/machines.rs lists in their order"));
            continue;
        };
        let imported = paths(name, text, |path| files.contains_key(path));
        let above = imported.iter().filter(|path| self::rank(path).is_some_and(|other| other > rank));
        found.extend(above.take(1).map(|above| {
            let above = machine(above);
            format!("{path}: uses {above}, a machine above it: raise an event for the node to hand on")
        }));
    }
    found
}

/// Whether `name` is one of `modules`, or inside one; the node itself counts without what is inside.
fn is_of(modules: &[&str], name: &str) -> bool {
    modules.contains(&name) || modules.iter().any(|module| machine(name) == machine(module) && *module != "node")
}

/// The module in the file at `path`, if it is one of the node's.
fn module(path: &str) -> Option<String> {
    let name = path.strip_prefix(NODE)?.strip_suffix(".rs")?;
    if name.ends_with("/tests") {
        return None; // a test may use what it likes
    }
    Some(format!("node{name}"))
}

/// The machine that a module is part of.
fn machine(module: &str) -> &str {
    module.split('/').nth(1).unwrap_or_default()
}

fn rank(module: &str) -> Option<usize> {
    module.strip_prefix("node/")?;
    MACHINES.iter().position(|name| *name == machine(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|(name, text)| (format!("{NODE}{name}.rs"), (*text).to_owned())).collect();
        violations(&sources)
    }

    #[test]
    fn a_machine_uses_those_below_it() {
        let below = [("/limits", "pub struct Limits;"), ("/membership/codec", "use super::super::limits::Limits;")];
        assert_eq!(found(&below), Vec::<String>::new());
        for above in ["use super::membership::Card;", "use crate::node::{limits, membership};"] {
            let files = [("/limits", above), ("/membership", "use super::limits;")];
            let found = found(&files);
            assert_eq!(found.len(), 1, "{above}");
            assert!(found[0].starts_with("coordinatorless/src/node/limits.rs: uses membership"), "{found:?}");
        }
    }

    #[test]
    fn routes_name_every_machine_and_nothing_else_has_methods_on_the_node() {
        let routes = [("", "use limits::X;\nimpl Node {}"), ("/context", "use super::limits;\nimpl Node {}")];
        assert_eq!(found(&routes), Vec::<String>::new());
        let found = found(&[("/limits/penalties", "//! Here.\nimpl Node {\n}")]);
        assert!(found[0].starts_with("coordinatorless/src/node/limits/penalties.rs:2: `impl Node`"), "{found:?}");
    }

    #[test]
    fn a_file_of_no_machine_is_named_and_tests_are_free() {
        assert_eq!(found(&[("/helpers", "fn f() {}")]).len(), 1);
        let test = "#[cfg(test)]\nmod tests {\n    use crate::node::membership::Card;\n}";
        assert_eq!(found(&[("/limits", test), ("/membership", "")]), Vec::<String>::new());
    }
}
