//! The rules of the house: which crate may use which, and what may never be reached from where.
//!
//! A rule that is broken gives a sentence with its reason, so that whoever breaks it need not look for the design.

use crate::graph::Graph;

/// A crate's place in the house.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// Name of the package.
    pub package: &'static str,
    /// Its folder, from the workspace root.
    pub folder: &'static str,
    /// Whether it is part of the sans-IO core: no clock, socket, thread, OS randomness or hash-map iteration.
    pub sans_io: bool,
}

/// The crates from the bottom up. Each may use those before it and none after it.
pub const LAYERS: [Layer; 9] = [
    Layer { package: "murmur-kernels", folder: "kernels", sans_io: true },
    Layer { package: GPU, folder: "kernels/gpu", sans_io: false },
    Layer { package: "murmur-collectives", folder: "collectives", sans_io: true },
    Layer { package: "murmur-verification", folder: "verification", sans_io: true },
    Layer { package: "murmur-coordinatorless", folder: "coordinatorless", sans_io: true },
    Layer { package: "murmur-sim", folder: "coordinatorless/sim", sans_io: true },
    Layer { package: "murmur-quic", folder: "coordinatorless/quic", sans_io: false },
    Layer { package: "murmur-model", folder: "trainer/model", sans_io: false },
    Layer { package: TRAINER, folder: "trainer", sans_io: false },
];

/// Stands beside the house: uses no crate of it, and none uses it.
pub const RUNNER: &str = "murmur-ci";

const TRAINER: &str = "murmur";
const GPU: &str = "murmur-gpu";

/// Heavy or user-facing packages that only the binary may use, so that every other crate compiles in seconds.
/// `burn*` stands for `burn` and every `burn-…`.
const TRAINER_ONLY: [&str; 13] = [
    "burn*",
    "cubecl*",
    "tch",
    "axum",
    "prometheus",
    "clap",
    "comfy-table",
    "ctrlc",
    "directories",
    "indicatif",
    "miette",
    "safetensors",
    "tracing-subscriber",
];

/// The one crate beside the trainer that may use one of these: its kernels are CubeCL, behind features that are off.
const TRAINER_ONLY_BUT: (&str, &str) = (GPU, "cubecl*");

/// Packages that bring sockets, clocks or a runtime; none may be reached from the sans-IO core.
const OUTSIDE_WORLD: [&str; 14] = [
    "tokio*",
    "quinn*",
    "rustls*",
    "mio",
    "socket2",
    "hyper*",
    "async-std",
    "async-io",
    "smol",
    "polling",
    "chrono",
    "time",
    "crossbeam-channel",
    "notify",
];

/// The packages that may start threads inside the core, and the one core crate that may ask them to.
const THREADS: ([&str; 1], &str) = (["rayon"], "murmur-kernels");

/// Every way in which `graph` breaks the rules, each a sentence; empty if it keeps them.
#[must_use]
pub fn violations(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for member in graph.members() {
        match LAYERS.iter().position(|layer| layer.package == member) {
            Some(height) => layer_violations(graph, height, &mut found),
            None if member == RUNNER => runner_violations(graph, &mut found),
            None => found.push(format!("{member} has no place in the house: give it one in ci/src/architecture.rs")),
        }
    }
    for layer in LAYERS {
        if !graph.members().any(|member| member == layer.package) {
            found.push(format!("{} is missing from the workspace", layer.package));
        }
    }
    found
}

fn layer_violations(graph: &Graph, height: usize, found: &mut Vec<String>) {
    direction(graph, height, found);
    if LAYERS[height].package != TRAINER {
        trainer_only(graph, LAYERS[height].package, found);
    }
    if LAYERS[height].sans_io {
        outside_world(graph, LAYERS[height].package, found);
        threads(graph, LAYERS[height].package, found);
    }
}

/// Dependencies of every kind point down, those of tests too: a test that needs a crate from above belongs there.
fn direction(graph: &Graph, height: usize, found: &mut Vec<String>) {
    let package = LAYERS[height].package;
    let below = &LAYERS[..height];
    for used in graph.declared(package).iter().map(|declared| declared.package.as_str()) {
        if graph.members().any(|member| member == used) && !below.iter().any(|layer| layer.package == used) {
            found.push(format!(
                "{package} uses {used}: kernels ← collectives ← verification ← coordinatorless ← trainer"
            ));
        }
    }
}

fn trainer_only(graph: &Graph, package: &str, found: &mut Vec<String>) {
    let declared = graph.declared(package).iter().map(|declared| declared.package.as_str());
    let mut reached = graph.closure(package);
    reached.extend(declared);
    let (exception, its_own) = TRAINER_ONLY_BUT;
    let allowed = |name: &str| package == exception && matches_any(name, &[its_own]);
    for name in reached.into_iter().filter(|name| matches_any(name, &TRAINER_ONLY) && !allowed(name)) {
        found.push(format!("{package} reaches {name}, which only the trainer may use: the others compile in seconds"));
    }
}

fn outside_world(graph: &Graph, package: &str, found: &mut Vec<String>) {
    for name in graph.closure(package).into_iter().filter(|name| matches_any(name, &OUTSIDE_WORLD)) {
        found.push(format!("{package} reaches {name}: the core is sans-IO, so that a seed is a bug report"));
    }
}

fn threads(graph: &Graph, package: &str, found: &mut Vec<String>) {
    let (starters, allowed) = THREADS;
    let declared = graph.declared(package).iter().filter(|declared| !declared.dev);
    for name in declared.map(|declared| declared.package.as_str()).filter(|name| starters.contains(name)) {
        if package != allowed {
            found.push(format!(
                "{package} uses {name}: threads are hidden inside {allowed}, where results do not show them"
            ));
        }
    }
}

fn runner_violations(graph: &Graph, found: &mut Vec<String>) {
    for used in graph.declared(RUNNER).iter().map(|declared| declared.package.as_str()) {
        if graph.members().any(|member| member == used) {
            found.push(format!("{RUNNER} uses {used}: the task runner must build when the house does not"));
        }
    }
}

fn matches_any(name: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(stem) => name == stem || name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('-')),
        None => name == *pattern,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    /// The members and, for each package, the packages it uses; a leading `~` marks a dev-dependency.
    type House = BTreeMap<&'static str, Vec<&'static str>>;

    fn house() -> House {
        BTreeMap::from([
            ("murmur-kernels", vec!["rayon", "~criterion"]),
            ("murmur-gpu", vec!["murmur-kernels", "cubecl"]),
            ("murmur-collectives", vec!["murmur-kernels"]),
            ("murmur-verification", vec!["murmur-collectives"]),
            ("murmur-coordinatorless", vec!["murmur-verification", "murmur-collectives"]),
            ("murmur-sim", vec!["murmur-coordinatorless"]),
            ("murmur-quic", vec!["murmur-coordinatorless", "quinn"]),
            ("murmur-model", vec!["murmur-kernels"]),
            ("murmur", vec!["murmur-quic", "murmur-model", "burn", "clap"]),
            ("murmur-ci", vec!["serde_json"]),
            // From here on, packages from elsewhere.
            ("criterion", vec!["clap"]),
            ("quinn", vec!["quinn-udp", "tokio"]),
        ])
    }

    fn broken(change: impl FnOnce(&mut House)) -> Vec<String> {
        let mut house = house();
        change(&mut house);
        violations(&graph(&house))
    }

    fn graph(house: &House) -> Graph {
        let members: Vec<_> = house.keys().filter(|name| name.starts_with("murmur")).collect();
        let used = house.values().flatten().map(|name| name.trim_start_matches('~'));
        let names: std::collections::BTreeSet<&str> = house.keys().copied().chain(used).collect();
        let packages: Vec<Value> = names.iter().map(|name| package(name, house)).collect();
        let nodes: Vec<Value> = names.iter().map(|name| node(name, house)).collect();
        let all = json!({"workspace_members": members, "packages": packages, "resolve": {"nodes": nodes}});
        Graph::parse(&all.to_string()).unwrap()
    }

    fn uses(name: &str, house: &House) -> Vec<(&'static str, Option<&'static str>)> {
        let kind = |used: &&'static str| match used.strip_prefix('~') {
            Some(dev) => (dev, Some("dev")),
            None => (*used, None),
        };
        house.get(name).into_iter().flatten().map(kind).collect()
    }

    fn package(name: &str, house: &House) -> Value {
        let all: Vec<_> = uses(name, house).iter().map(|(used, kind)| json!({"name": used, "kind": kind})).collect();
        json!({"id": name, "name": name, "dependencies": all})
    }

    fn node(name: &str, house: &House) -> Value {
        let edge = |(used, kind): &(&str, Option<&str>)| json!({"pkg": used, "dep_kinds": [{"kind": kind}]});
        json!({"id": name, "deps": uses(name, house).iter().map(edge).collect::<Vec<_>>()})
    }

    /// Adds `used` to what `package` uses, and expects exactly one sentence that starts with `sentence`.
    fn refused(package: &'static str, used: &'static str, sentence: &str) {
        let found = broken(|house| house.entry(package).or_default().push(used));
        assert_eq!(found.len(), 1, "{package} + {used}: {found:?}");
        assert!(found[0].starts_with(sentence), "{found:?}");
    }

    #[test]
    fn a_house_built_as_designed_breaks_no_rule() {
        assert_eq!(broken(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn a_crate_may_not_use_one_above_it_even_in_its_tests() {
        refused("murmur-kernels", "murmur-collectives", "murmur-kernels uses murmur-collectives");
        refused("murmur-verification", "~murmur-coordinatorless", "murmur-verification uses murmur-coordinatorless");
        refused("murmur-quic", "~murmur", "murmur-quic uses murmur:");
    }

    #[test]
    fn the_runner_stands_beside_the_house() {
        refused("murmur-ci", "murmur-kernels", "murmur-ci uses murmur-kernels");
        refused("murmur-kernels", "~murmur-ci", "murmur-kernels uses murmur-ci");
    }

    #[test]
    fn burn_and_the_command_line_stay_in_the_trainer() {
        refused("murmur-quic", "clap", "murmur-quic reaches clap");
        refused("murmur-quic", "~burn-flex", "murmur-quic reaches burn-flex");
        let hidden = broken(|house| house.entry("quinn").or_default().push("axum"));
        assert_eq!(hidden.len(), 1, "{hidden:?}");
    }

    #[test]
    fn cubecl_is_for_the_gpu_kernels_and_nothing_else_of_the_trainer_s_is() {
        refused("murmur-quic", "cubecl-core", "murmur-quic reaches cubecl-core");
        refused("murmur-gpu", "burn", "murmur-gpu reaches burn");
        refused("murmur-gpu", "murmur-collectives", "murmur-gpu uses murmur-collectives");
        // Whoever uses the GPU kernels reaches CubeCL through them.
        refused("murmur-quic", "murmur-gpu", "murmur-quic reaches cubecl");
    }

    #[test]
    fn the_core_reaches_no_runtime_by_any_path() {
        refused("murmur-sim", "tokio-util", "murmur-sim reaches tokio-util");
        let deep = broken(|house| {
            house.entry("murmur-kernels").or_default().push("innocent");
            house.insert("innocent", vec!["socket2"]);
        });
        assert_eq!(deep.len(), 5, "one sentence for each core crate: {deep:?}");
    }

    #[test]
    fn only_kernels_may_ask_for_threads() {
        refused("murmur-collectives", "rayon", "murmur-collectives uses rayon");
    }

    #[test]
    fn a_crate_without_a_place_and_a_place_without_a_crate_are_both_named() {
        assert_eq!(broken(|house| drop(house.insert("murmur-extra", Vec::new()))).len(), 1);
        let missing = broken(|house| drop(house.remove("murmur-quic")));
        assert_eq!(missing, ["murmur-quic is missing from the workspace"]);
    }
}
