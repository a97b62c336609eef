//! Whole swarms: every scenario satisfies the invariants, a seed gives one history, and a violated bound is reported.

use murmur_sim::{Attack, Faults, Report, Scenario, run_seed, run_seeds};

/// Simulates `seeds` and fails on any violation.
fn assert_holds(scenario: &Scenario, seeds: core::ops::Range<u64>) {
    let summary = run_seeds(scenario, seeds, |report| {
        report.violations.iter().for_each(|violation| println!("{violation}"));
    });
    assert_eq!(summary.violation_count(), 0, "the commands above reproduce the violations");
}

fn built_in(name: &str) -> Scenario {
    Scenario::built_in(name).expect("a scenario that comes with the program")
}

/// A small swarm without faults or losses, as the base of a focused test.
fn fault_free() -> Scenario {
    let mut scenario = Scenario { peers: 6, founders: 4, newcomers: 1, ..Scenario::default().without_faults() };
    (scenario.network.loss_percent, scenario.network.drop_percent, scenario.network.double_percent) = (0, 0, 0);
    scenario
}

fn violates(report: &Report, invariant: &str) -> bool {
    report.violations.iter().any(|violation| violation.invariant == invariant)
}

/// All faults and all attacks. Two tests, for two processors.
#[test]
fn the_fault_mix_violates_no_invariant() {
    assert_holds(&built_in("mix"), 0..100);
}

/// No payload fits a message, and all faults and attacks happen while chunks travel.
#[test]
fn the_fault_mix_violates_no_invariant_when_payloads_travel_in_chunks() {
    let mut scenario = built_in("mix");
    scenario.work.payload_in_message_max = 0;
    assert_holds(&scenario, 0..40);
}

#[test]
fn epochs_shorter_than_a_vote_violate_no_invariant() {
    assert_holds(&built_in("fast"), 0..40);
}

/// Here an epoch is shorter than the work of all peers during one segment, and a decision takes less than a segment. A
/// segment in progress when a frontier becomes final does not know that frontier, so the next one must include it.
#[test]
fn epochs_shorter_than_segments_exclude_no_update() {
    let mut scenario = Scenario { peers: 16, founders: 16, newcomers: 0, seconds: 200, ..fault_free() };
    (scenario.work.segment_ms, scenario.work.segment_spread_percent) = (20_000, 50);
    scenario.work.frontier_every_tokens = vec![1000];
    scenario.checks.liveness_ms = 60_000;
    for seed in 0..2 {
        let Report { violations, figures, .. } = run_seed(&scenario, seed);
        assert!(violations.is_empty(), "{violations:#?}");
        assert!(figures.epochs >= 4, "seed {seed}: {figures:#?}");
        // Now and then a segment ends after two frontiers became final, in about one of ten such histories; its author says so.
        let lost = figures.events.get("bad_input").copied().unwrap_or_default();
        assert!(lost <= 1, "seed {seed}: {figures:#?}");
        assert_eq!(figures.tokens, 100 * (figures.authored - lost), "seed {seed}: an update has 100: {figures:#?}");
    }
}

/// In these seeds all voters are killed between prevote, precommit and decision.
#[test]
fn vote_records_and_exclusions_survive_a_restart_of_all_voters() {
    let scenario = Scenario { peers: 8, seconds: 60, ..built_in("fast") };
    for seed in [301, 1001, 1004, 1024, 1150] {
        assert_holds(&scenario, seed..seed + 1);
    }
}

/// All founders leave early and no replacement stays long. Without a decision training stops after twelve epochs of work;
/// here peers do more than twenty, and most of it is final.
#[test]
fn work_becomes_final_although_every_peer_is_replaced() {
    let scenario = Scenario { seconds: 200, ..built_in("turnover") };
    for seed in 0..2 {
        let Report { violations, figures, .. } = run_seed(&scenario, seed);
        assert!(violations.is_empty(), "{violations:#?}");
        assert!(figures.epochs >= 3, "seed {seed}: {figures:#?}");
        assert!(figures.tokens > 20 * scenario.work.frontier_every_tokens[0], "seed {seed}: {figures:#?}");
    }
}

/// As many machines are killed or stopped for a while as are lost for good. A peer that is behind continues from the newest
/// final frontier.
#[test]
fn a_swarm_under_permanent_faults_agrees_in_the_end() {
    assert_holds(&Scenario { seconds: 150, ..built_in("soak") }, 0..2);
}

#[test]
fn the_fault_mix_violates_no_invariant_on_further_seeds() {
    assert_holds(&built_in("mix"), 100..200);
}

#[test]
fn attackers_violate_no_invariant() {
    assert_holds(&built_in("byzantine"), 0..6);
}

#[test]
fn partitions_longer_than_the_idle_timeout_heal() {
    assert_holds(&Scenario { seconds: 60, ..built_in("partition") }, 0..4);
}

#[test]
fn wide_area_latencies_violate_no_invariant() {
    assert_holds(&Scenario { seconds: 60, ..built_in("wan") }, 0..4);
}

/// Pairs with this kind of connection at the end.
fn pairs(report: &Report, connection: &str) -> u64 {
    report.figures.reach.get(connection).copied().unwrap_or(0)
}

#[test]
fn all_pairs_behind_nats_connect_directly_punched_or_relayed() {
    let mut arranged = 0;
    for seed in 4..9 {
        let report = run_seed(&built_in("nat"), seed);
        assert_eq!(report.violations, []);
        let [direct, punched, relayed, apart] =
            ["direct", "punched", "relayed", "apart"].map(|connection| pairs(&report, connection));
        // Three machines of each NAT kind. A symmetric and a sender-filtering NAT cannot be punched, so such pairs need
        // a relay.
        assert_eq!((relayed, apart), (3 + 3 * 3, 0), "seed {seed}: {:?}", report.figures.reach);
        // Port-restricted pairs can connect only by hole punching.
        assert!(punched >= 3 && direct > 0, "seed {seed}: {:?}", report.figures.reach);
        arranged += report.figures.arranged;
    }
    assert!(arranged > 0, "some punches must be arranged by a neighbour");
}

#[test]
fn pairs_that_cannot_connect_without_relays_still_agree() {
    let mut scenario = built_in("nat");
    scenario.network.relays = false;
    for seed in 0..2 {
        let report = run_seed(&scenario, seed);
        assert_eq!(report.violations, [], "peers that are apart receive updates through others");
        assert_eq!((pairs(&report, "relayed"), pairs(&report, "apart")), (0, 3 + 3 * 3), "{:?}", report.figures.reach);
        assert!(pairs(&report, "punched") > 0, "{:?}", report.figures.reach);
    }
}

#[test]
fn a_seed_repeats_its_history_and_another_seed_differs() {
    let scenario = built_in("mix");
    let [first, again, other] = [5, 5, 6].map(|seed| run_seed(&scenario, seed));
    assert_eq!(first, again);
    assert_ne!(first.trace, other.trace);
}

#[test]
fn without_faults_every_update_is_folded() {
    // Updates of a newcomer on probation do not count as tokens, so all peers are founders.
    let report = run_seed(&Scenario { founders: 6, newcomers: 0, ..fault_free() }, 1);
    assert_eq!(report.violations, []);
    assert_eq!(report.figures.tokens, report.figures.authored * 100, "every segment is in the set");
    assert!(report.figures.authored > 20, "{}", report.figures.authored);
}

#[test]
fn every_attack_is_detected_or_harmless() {
    use Attack::{Accuses, Cheats, Copies, Corrupts, Floods, Forks, Garbles, Lies, Replays, Skips, Votes, Withholds};
    for attack in Attack::SIMULATED {
        let mut scenario = fault_free();
        scenario.hostile.peers = 1;
        scenario.hostile.ways = vec![attack];
        // Who joins late is not trusted before the end, and only a trusted peer is drawn to audit.
        scenario.newcomers = usize::from(attack != Accuses);
        scenario.work.audit_percent = 100;
        scenario.work.frontier_every_tokens = vec![1500];
        let report = run_seed(&scenario, 3);
        assert_eq!(report.violations, [], "{attack:?}");
        let reported = |event| report.figures.events.get(event).copied().unwrap_or(0);
        match attack {
            Garbles | Corrupts => assert!(reported("bad_input") > 0, "{attack:?} was struck"),
            Forks | Cheats => assert!(reported("evicted") > 0, "{attack:?} was evicted"),
            Accuses => assert!(reported("audit_failed") > 0, "{attack:?} failed an audit"),
            Votes => assert!(reported("final") > 0, "work still became final"),
            Replays | Withholds | Lies | Floods => {}
            Skips | Copies => unreachable!("not simulated"),
        }
    }
}

#[test]
fn a_violated_bound_is_reported_with_the_command_that_reproduces_it() {
    let mut memory = fault_free();
    memory.checks.overhead_bytes = 10;
    let mut liveness = fault_free();
    liveness.checks.liveness_ms = 10;
    let mut healing = Scenario { heal_seconds: 0, calm_seconds: 0, ..fault_free() };
    healing.faults = Faults { partitions_per_hour: 3600, lasts_ms: [20_000, 20_000], ..healing.faults };
    for (scenario, invariant) in [(memory, "memory_bound"), (liveness, "liveness"), (healing, "progress_after_heal")] {
        let report = run_seed(&scenario, 7);
        assert!(violates(&report, invariant), "{invariant}: {:?}", report.violations);
        let line = &report.violations[0].reproduce;
        assert!(line.starts_with("murmur sim --scenario mix ") && line.ends_with("--seed 7"), "{line}");
    }
}

#[test]
fn a_fault_costs_only_the_work_of_its_victim() {
    let mut scenario = fault_free();
    scenario.seconds = 60;
    scenario.faults = Faults { kills_per_hour: 600, lasts_ms: [1000, 3000], ..scenario.faults };
    scenario.checks.tokens_percent = 80;
    scenario.checks.contributing_percent = 90;
    scenario.checks.window_ms = 15_000;
    let report = run_seed(&scenario, 2);
    assert_eq!(report.violations, []);
    assert!(report.figures.faults.contains_key("kill"), "{:?}", report.figures.faults);
}
