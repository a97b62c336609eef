//! The rules that must hold after any churn, checked from outside: by the peers' reports and their disks.

use std::collections::BTreeMap;

use murmur_collectives::{Hash, PeerId};

use crate::{
    bench::{
        figures::{growth, mean},
        fleet::{Fleet, Life, Process},
        run_folder::RunFolder,
    },
    peer::stored_names,
    protocol::Finished,
};

/// Memory is flat if no process that lived for a while grew by more than this fraction and this many bytes.
const GROWTH_MAX: (f64, f64) = (0.25, 24.0 * 1024.0 * 1024.0);

/// Samples since it caught up, four a second, without which a process has not lived for a while.
const SAMPLES_MIN: usize = 60;

/// Why the ends differ, in words.
pub(super) fn disagreement(fleet: &Fleet) -> String {
    let end = |process: &Process| match &process.finished {
        Some(Finished { version, state_root, updates, .. }) => {
            format!("{}: {updates} updates, set {}, state {}", process.folder, &version[..8], &state_root[..8])
        }
        None => {
            let why = process.unfinished.as_deref().unwrap_or("did not finish, and did not say why");
            format!("{}: {why}", process.folder)
        }
    };
    format!("the peers did not end with the same state ({})", fleet.living().map(end).collect::<Vec<_>>().join("; "))
}

/// Rules about sets and states: no peer evicted, no state ever different for one set, nothing lost.
pub(super) fn rules(fleet: &Fleet, survivors: &[usize], folders: usize) -> Vec<String> {
    let ends: Vec<&Finished> = survivors.iter().filter_map(|index| fleet.processes[*index].finished.as_ref()).collect();
    let mut broken = Vec::new();
    if ends.len() < survivors.len() {
        broken.push(format!("{} of {} peers did not finish", survivors.len() - ends.len(), survivors.len()));
    }
    for end in &ends {
        broken.extend(end.evicted.iter().map(|peer| format!("honest peer {} was evicted", &peer[..12])));
        if end.roots_differed > 0 {
            broken.push(format!("{} saw another state for its own set {} times", end.petname, end.roots_differed));
        }
        let lost = fleet.tally.lost(&deaths(fleet), &end.chains);
        let name = |(author, seq): &(String, u32)| format!("{} of {}", seq, &author[..12]);
        broken.extend(lost.iter().map(|lost| format!("update {} was lost although two peers held it", name(lost))));
        if end.chains.len() > folders {
            broken.push(format!("{} authors came out of {folders} peers", end.chains.len()));
        }
    }
    broken.extend(fleet.complaints());
    broken
}

/// When processes were killed.
fn deaths(fleet: &Fleet) -> BTreeMap<usize, u64> {
    let killed = |(index, process): (usize, &Process)| match process.life {
        Life::Killed(at_us) => Some((index, at_us)),
        Life::Running | Life::Frozen | Life::Ended(_) => None,
    };
    fleet.processes.iter().enumerate().filter_map(killed).collect()
}

/// The worst growth in percent among processes that lived for a while, and whether it was too much.
pub(super) fn memory(fleet: &Fleet) -> (Option<f64>, Option<String>) {
    let judged = fleet.memory.series.values().filter(|series| series.len() >= SAMPLES_MIN);
    let grown = judged.filter_map(|series| Some((growth(series)?, mean(series)?)));
    let Some((bytes, size)) = grown.max_by(|one, other| one.0.total_cmp(&other.0)) else { return (None, None) };
    let too_much = bytes > GROWTH_MAX.0 * size && bytes > GROWTH_MAX.1;
    let words = format!("a process grew by {:.1} MiB from its second to its last quarter", bytes / f64::from(1 << 20));
    (Some(100.0 * bytes / size), too_much.then_some(words))
}

/// No chain has two entries for one position on any two disks, the dead peers' included.
pub(super) fn disks(run_folder: &RunFolder, folders: usize) -> Vec<String> {
    let mut seen: BTreeMap<(PeerId, u32), Hash> = BTreeMap::new();
    let mut forked = Vec::new();
    for folder in 0..folders {
        for (author, seq, hash) in stored_names(&run_folder.folder(folder)) {
            if *seen.entry((author, seq)).or_insert(hash) != hash {
                forked.push(format!("{} signed two entries for position {seq}", author.petname()));
            }
        }
    }
    if seen.is_empty() {
        forked.push("no entry is on any disk".to_owned());
    }
    forked
}

/// The longest time between two own updates of a survivor that was never frozen.
pub(super) fn longest_pause(fleet: &Fleet, survivors: &[usize]) -> Option<f64> {
    let undisturbed = survivors.iter().map(|index| &fleet.processes[*index]).filter(|process| !process.was_frozen);
    let pauses =
        undisturbed.flat_map(|process| process.segments.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()));
    pauses.max_by(f64::total_cmp)
}
