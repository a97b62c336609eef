//! Whole swarms: seeds of every kind hold the invariants, a seed is one history, and a broken promise is noticed.

use murmur_sim::{Attack, Faults, Report, Scenario, run_seed, run_seeds};

/// Plays `seeds` and expects nothing to be wrong.
fn hold(scenario: &Scenario, seeds: core::ops::Range<u64>) {
    let summary = run_seeds(scenario, seeds, |report| {
        report.violations.iter().for_each(|violation| println!("{violation}"));
    });
    assert_eq!(summary.violation_count(), 0, "the lines above reproduce it");
}

fn built_in(name: &str) -> Scenario {
    Scenario::built_in(name).expect("a scenario that comes with the program")
}

/// A small swarm without faults, for looking at one thing.
fn quiet() -> Scenario {
    let mut scenario = Scenario { peers: 6, founders: 4, newcomers: 1, ..Scenario::default().without_faults() };
    (scenario.network.loss_percent, scenario.network.drop_percent, scenario.network.double_percent) = (0, 0, 0);
    scenario
}

fn violates(report: &Report, invariant: &str) -> bool {
    report.violations.iter().any(|violation| violation.invariant == invariant)
}

/// Every fault and every way of doing harm. In two parts, for two processors.
#[test]
fn the_fault_mix_holds() {
    hold(&built_in("mix"), 0..100);
}

#[test]
fn a_swarm_holds_whose_epochs_are_shorter_than_its_votes() {
    hold(&built_in("fast"), 0..40);
}

/// An epoch is less than what all add in the time of one segment, and deciding one takes less than a segment. What was under way
/// when a frontier became final does not know it, so it must be part of the next one.
#[test]
fn epochs_shorter_than_segments_leave_out_nothing() {
    let mut scenario = Scenario { peers: 16, founders: 16, newcomers: 0, seconds: 200, ..quiet() };
    (scenario.work.segment_ms, scenario.work.segment_spread_percent) = (20_000, 50);
    scenario.work.frontier_every_tokens = vec![1000];
    scenario.checks.liveness_ms = 60_000;
    for seed in 0..2 {
        let Report { violations, figures, .. } = run_seed(&scenario, seed);
        assert!(violations.is_empty(), "{violations:#?}");
        assert!(figures.epochs >= 4, "seed {seed}: {figures:#?}");
        assert_eq!(figures.tokens, 100 * figures.authored, "seed {seed}: an update has 100: {figures:#?}");
    }
}

/// In these all voters are killed between proposing, committing and hearing of it.
#[test]
fn votes_and_what_was_excluded_outlive_restarts_of_everyone() {
    let scenario = Scenario { peers: 8, seconds: 60, ..built_in("fast") };
    for seed in [301, 1001, 1004, 1024, 1150] {
        hold(&scenario, seed..seed + 1);
    }
}

/// Those who began are soon gone, and none of those who came in their place stays. Without a decision no more than twelve
/// epochs' work would be done: here there is a multiple of that, and most of it is final.
#[test]
fn what_peers_did_that_come_and_go_becomes_final() {
    let scenario = Scenario { seconds: 200, ..built_in("turnover") };
    for seed in 0..2 {
        let Report { violations, figures, .. } = run_seed(&scenario, seed);
        assert!(violations.is_empty(), "{violations:#?}");
        assert!(figures.epochs >= 3, "seed {seed}: {figures:#?}");
        assert!(figures.tokens > 20 * scenario.work.frontier_every_tokens[0], "seed {seed}: {figures:#?}");
    }
}

/// As many as end are killed and come back, or are frozen: whoever is behind goes on from what is final.
#[test]
fn a_small_swarm_that_is_never_left_alone_agrees_in_the_end() {
    hold(&Scenario { seconds: 150, ..built_in("soak") }, 0..2);
}

#[test]
fn the_fault_mix_holds_with_other_seeds() {
    hold(&built_in("mix"), 100..200);
}

#[test]
fn hostile_peers_harm_nobody() {
    hold(&built_in("byzantine"), 0..6);
}

#[test]
fn partitions_longer_than_a_connection_lives_heal() {
    hold(&Scenario { seconds: 60, ..built_in("partition") }, 0..4);
}

#[test]
fn homes_all_over_the_world_take_nobody_for_dead() {
    hold(&Scenario { seconds: 60, ..built_in("wan") }, 0..4);
}

/// Pairs that reach each other in this way at the end.
fn pairs(report: &Report, way: &str) -> u64 {
    report.figures.reach.get(way).copied().unwrap_or(0)
}

#[test]
fn behind_translators_everybody_finds_a_way_to_everybody() {
    let mut arranged = 0;
    for seed in 4..9 {
        let report = run_seed(&built_in("nat"), seed);
        assert_eq!(report.violations, []);
        let [direct, punched, relayed, apart] =
            ["direct", "punched", "relayed", "apart"].map(|way| pairs(&report, way));
        // Three of each kind: a symmetric translator and one that lets in only who was called cannot be punched.
        assert_eq!((relayed, apart), (3 + 3 * 3, 0), "seed {seed}: {:?}", report.figures.reach);
        // Those that let in only who was called cannot reach each other otherwise.
        assert!(punched >= 3 && direct > 0, "seed {seed}: {:?}", report.figures.reach);
        arranged += report.figures.arranged;
    }
    assert!(arranged > 0, "not all holes were punched by chance");
}

#[test]
fn without_relays_some_stay_apart_and_agree_all_the_same() {
    let mut scenario = built_in("nat");
    scenario.network.relays = false;
    for seed in 0..2 {
        let report = run_seed(&scenario, seed);
        assert_eq!(report.violations, [], "the same set and the same root, by way of others");
        assert_eq!((pairs(&report, "relayed"), pairs(&report, "apart")), (0, 3 + 3 * 3), "{:?}", report.figures.reach);
        assert!(pairs(&report, "punched") > 0, "{:?}", report.figures.reach);
    }
}

#[test]
fn one_seed_is_one_history_and_another_seed_is_another() {
    let scenario = built_in("mix");
    let [first, again, other] = [5, 5, 6].map(|seed| run_seed(&scenario, seed));
    assert_eq!(first, again);
    assert_ne!(first.trace, other.trace);
}

#[test]
fn without_faults_everybody_s_work_is_folded() {
    // A newcomer's work on probation does not count as tokens of the set.
    let report = run_seed(&Scenario { founders: 6, newcomers: 0, ..quiet() }, 1);
    assert_eq!(report.violations, []);
    assert_eq!(report.figures.tokens, report.figures.authored * 100, "every segment is in the set");
    assert!(report.figures.authored > 20, "{}", report.figures.authored);
}

#[test]
fn every_attack_is_noticed_or_harmless() {
    use Attack::{Accuses, Cheats, Copies, Corrupts, Floods, Forks, Garbles, Lies, Replays, Skips, Votes, Withholds};
    for attack in Attack::SIMULATED {
        let mut scenario = quiet();
        scenario.hostile.peers = 1;
        scenario.hostile.ways = vec![attack];
        scenario.work.audit_percent = 100;
        scenario.work.frontier_every_tokens = vec![1500];
        let report = run_seed(&scenario, 3);
        assert_eq!(report.violations, [], "{attack:?}");
        let told = |event| report.figures.events.get(event).copied().unwrap_or(0);
        match attack {
            Garbles | Corrupts => assert!(told("bad_input") > 0, "{attack:?} was struck"),
            Forks | Cheats => assert!(told("evicted") > 0, "{attack:?} was evicted"),
            Accuses => assert!(told("audit_failed") > 0, "{attack:?} accused"),
            Votes => assert!(told("final") > 0, "and still work became final"),
            Replays | Withholds | Lies | Floods => {}
            Skips | Copies => unreachable!("not simulated"),
        }
    }
}

#[test]
fn a_promise_that_cannot_be_kept_is_noticed_and_the_line_reproduces_it() {
    let mut greedy = quiet();
    greedy.checks.overhead_bytes = 10;
    let mut hasty = quiet();
    hasty.checks.liveness_ms = 10;
    let mut impatient = Scenario { heal_seconds: 0, calm_seconds: 0, ..quiet() };
    impatient.faults = Faults { partitions_per_hour: 3600, lasts_ms: [20_000, 20_000], ..impatient.faults };
    for (scenario, invariant) in [(greedy, "memory_bound"), (hasty, "liveness"), (impatient, "progress_after_heal")] {
        let report = run_seed(&scenario, 7);
        assert!(violates(&report, invariant), "{invariant}: {:?}", report.violations);
        let line = &report.violations[0].reproduce;
        assert!(line.starts_with("murmur sim --scenario mix ") && line.ends_with("--seed 7"), "{line}");
    }
}

#[test]
fn a_fault_costs_only_what_the_peer_that_has_it_would_have_done() {
    let mut scenario = quiet();
    scenario.seconds = 60;
    scenario.faults = Faults { kills_per_hour: 600, lasts_ms: [1000, 3000], ..scenario.faults };
    scenario.checks.tokens_percent = 80;
    scenario.checks.contributing_percent = 90;
    scenario.checks.window_ms = 15_000;
    let report = run_seed(&scenario, 2);
    assert_eq!(report.violations, []);
    assert!(report.figures.faults.contains_key("kill"), "{:?}", report.figures.faults);
}
