//! Traffic and memory of a peer hardly grow with the size of the swarm.

use murmur_sim::{Figures, Scenario, run_seed};

/// Bytes that one join may cost each other peer. In a swarm of 120, each peer repeats the announcement nine times at
/// 137 bytes; add the framing, subtract the announcements the newcomer sends itself.
const JOIN_BYTES: u64 = 1250;

/// A fault-free swarm with eight authors. All peers join long before the fault phase would end.
fn swarm(peers: usize) -> Scenario {
    let mut scenario = Scenario::built_in("thousand").expect("a scenario that comes with the program");
    (scenario.peers, scenario.founders, scenario.work.authors) = (peers, 8, 8);
    (scenario.starts_ms, scenario.seconds, scenario.calm_seconds) = (1000, 40, 10);
    scenario.work.segment_ms = 4000;
    scenario
}

fn figures(peers: usize) -> Figures {
    let report = run_seed(&swarm(peers), 4);
    assert_eq!(report.violations, [], "the swarm agrees in the end");
    assert!(report.figures.rounds >= 10, "{} rounds", report.figures.rounds);
    assert!(!report.figures.events.contains_key("member_silent"), "no member is suspected");
    report.figures
}

#[test]
fn traffic_per_peer_grows_no_faster_than_the_logarithm_of_the_swarm() {
    let [small, large] = [60, 120].map(figures);
    let within = |name: &str, few: u64, many: u64| {
        // log2 120 / log2 60 = 1.17, plus a tenth for random variation.
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
