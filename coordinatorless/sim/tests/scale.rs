//! What a peer does and holds hardly depends on how many others there are.

use murmur_sim::{Figures, Scenario, run_seed};

/// Bytes that a join may cost each of the others. Of 120 everyone who hears of it tells it nine times, at 137 bytes, less what
/// one hears from the newcomer itself, more what frames carry beside.
const JOIN_BYTES: u64 = 1250;

/// A quiet swarm of which eight train, fully joined long before the faults would end.
fn swarm(peers: usize) -> Scenario {
    let mut scenario = Scenario::built_in("thousand").expect("a scenario that comes with the program");
    (scenario.peers, scenario.founders, scenario.work.authors) = (peers, 8, 8);
    (scenario.starts_ms, scenario.seconds, scenario.calm_seconds) = (1000, 40, 10);
    scenario.work.segment_ms = 4000;
    scenario
}

fn figures(peers: usize) -> Figures {
    let report = run_seed(&swarm(peers), 4);
    assert_eq!(report.violations, [], "all agree in the end");
    assert!(report.figures.rounds >= 10, "{} rounds", report.figures.rounds);
    assert!(!report.figures.events.contains_key("member_silent"), "nobody is taken for dead");
    report.figures
}

#[test]
fn messages_per_peer_grow_no_faster_than_the_logarithm_of_the_swarm() {
    let [small, large] = [60, 120].map(figures);
    let within = |name: &str, few: u64, many: u64| {
        // log2 120 / log2 60 = 1.17, and a tenth for chance.
        assert!(many * 100 <= few * 129, "{name} a peer: {few} among 60, {many} among 120");
    };
    for kind in ["datagram", "control", "header", "payload"] {
        let [few, many] = [&small, &large].map(|figures| figures.per_peer_calm_second[kind]);
        within(kind, few.messages_milli, many.messages_milli);
        within(kind, few.bytes, many.bytes);
    }
    let [few, many] = [&small, &large].map(|figures| figures.per_peer_round["control"]);
    within("control, joining included,", few.messages_milli, many.messages_milli);
    let calm = large.per_peer_calm_second["datagram"].bytes * large.virtual_ms / 1000;
    let join = (large.bytes["datagram"] / 120 - calm) / 120;
    assert!(join <= JOIN_BYTES, "bytes each of 120 sends for each that joins: {join}");
    assert!(large.membership_bytes_max <= 900 * 120, "bytes of 120 members: {}", large.membership_bytes_max);
}
