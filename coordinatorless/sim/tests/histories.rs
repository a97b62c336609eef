//! A refactoring changes no history: for every seed recorded in `histories/`, the digest of all inputs and outputs
//! equals the recorded one. After an intended change of behaviour, record again and say so in the commit:
//! `cargo run --release -p murmur-sim --example histories -- mix 200 > coordinatorless/sim/tests/histories/mix.txt`.
//! `churn125`, `joins` and `thousand` are not recorded: their seeds take minutes each.

use murmur_sim::{Scenario, run_seed};

fn assert_unchanged(name: &str, recorded: &str) {
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
            assert_unchanged(stringify!($name), include_str!(concat!("histories/", stringify!($name), ".txt")));
        })*
    };
}

histories!(byzantine, fast, mix, nat, partition, soak, turnover, wan);
