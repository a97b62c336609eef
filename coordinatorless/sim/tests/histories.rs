//! A change that is not meant to change behaviour changes no history: for every seed recorded in `histories/`, the digest of
//! every output of every peer is the recorded one. After a change that is meant to, record again, and say so in its commit:
//! `cargo run --release -p murmur-sim --example histories -- mix 200 > coordinatorless/sim/tests/histories/mix.txt`.
//! Not recorded are `churn125`, `joins` and `thousand`, whose seeds take minutes each.

use murmur_sim::{Scenario, run_seed};

fn unchanged(name: &str, recorded: &str) {
    let scenario = Scenario::built_in(name).expect("a scenario that comes with the program");
    let digests = recorded.lines().zip(0..).map(|(recorded, seed)| (seed, recorded, run_seed(&scenario, seed).trace));
    let changed: Vec<u64> = digests.filter(|(_, old, new)| !new.starts_with(old)).map(|(seed, ..)| seed).collect();
    assert!(changed.is_empty(), "{name}: {} seeds have another history, the first ones {:?}", changed.len(), {
        &changed[..changed.len().min(10)]
    });
}

macro_rules! histories {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            unchanged(stringify!($name), include_str!(concat!("histories/", stringify!($name), ".txt")));
        })*
    };
}

histories!(byzantine, fast, mix, nat, partition, soak, turnover, wan);
