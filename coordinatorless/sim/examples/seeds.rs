//! Simulates seeds of a scenario, built in or from a file: `seeds [SCENARIO [FIRST [COUNT [PEERS [SECONDS]]]]]`. Prints
//! violations, then figures.

use std::process::ExitCode;

use murmur_sim::{Scenario, run_seeds};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("mix", String::as_str);
    let number =
        |at: usize, default: u64| arguments.get(at).and_then(|argument| argument.parse().ok()).unwrap_or(default);
    let from_file = || Scenario::from_toml(&std::fs::read_to_string(name).ok()?).ok();
    let Some(mut scenario) = Scenario::built_in(name).or_else(from_file) else {
        eprintln!("scenarios: {}, or a file", Scenario::built_in_names().collect::<Vec<_>>().join(", "));
        return ExitCode::from(2);
    };
    scenario.peers = usize::try_from(number(3, scenario.peers as u64)).unwrap_or(scenario.peers);
    scenario.seconds = number(4, scenario.seconds);
    if let Err(error) = scenario.check() {
        eprintln!("{error}");
        return ExitCode::from(2);
    }
    let (first, count) = (number(1, 0), number(2, 1));
    let summary = run_seeds(&scenario, first..first + count, |report| {
        report.violations.iter().for_each(|violation| println!("{violation}"));
        if count == 1 {
            println!("{report:#?}");
        }
    });
    println!("{summary:#?}");
    if summary.violation_count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
