//! Chooses the next action at random from a seed; at least half of the peers stay at work.

use std::time::Duration;

use rand_chacha::rand_core::Rng;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A process is killed.
    Kill(usize),
    /// A process is stopped for a while.
    Freeze(usize),
    /// A killed peer starts again in its folder.
    Restart(usize),
    /// A new peer joins.
    Join,
}

/// The processes by their state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    /// Processes that run.
    pub(super) running: Vec<usize>,
    /// Processes that are frozen.
    pub(super) frozen: Vec<usize>,
    /// Folders whose peer does not live.
    pub(super) dead: Vec<usize>,
    /// Processes that run and have caught up.
    pub(super) up: usize,
    /// Processes there were at first.
    pub(super) founders: usize,
}

/// Chooses. Kills only while more than half of the first number are up, and starts only up to one and a half times it;
/// at most a quarter is frozen.
pub(super) fn choose(rng: &mut impl Rng, present: &Present) -> Action {
    let half = (present.founders / 2).max(2);
    let living = present.running.len() + present.frozen.len();
    let may_stop = present.up > half && !present.running.is_empty();
    let may_freeze = may_stop && present.frozen.len() < (present.founders / 4).max(1);
    let may_start = living < present.founders + half;
    match below(rng, 10) {
        0..4 if may_stop => Action::Kill(pick(rng, &victims(present))),
        4..6 if may_freeze => Action::Freeze(pick(rng, &present.running)),
        6..9 if may_start && !present.dead.is_empty() => Action::Restart(pick(rng, &present.dead)),
        _ if may_start => Action::Join,
        _ => Action::Kill(pick(rng, &victims(present))),
    }
}

/// The frozen may be killed, too.
fn victims(present: &Present) -> Vec<usize> {
    [&present.running[..], &present.frozen].concat()
}

fn pick(rng: &mut impl Rng, among: &[usize]) -> usize {
    among[below(rng, among.len())]
}

fn below(rng: &mut impl Rng, bound: usize) -> usize {
    let wide = u128::from(rng.next_u64()) * bound as u128;
    usize::try_from(wide >> 64).unwrap_or(0)
}

/// A duration from `least` up to `most`.
pub(super) fn between(rng: &mut impl Rng, (least, most): (Duration, Duration)) -> Duration {
    least + (most - least).mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    use super::*;

    fn present(running: usize, frozen: usize, dead: usize) -> Present {
        let running: Vec<usize> = (0..running).collect();
        let frozen = (running.len()..running.len() + frozen).collect();
        Present { up: running.len(), running, frozen, dead: (0..dead).collect(), founders: 8 }
    }

    fn choices(present: &Present) -> Vec<Action> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        (0..200).map(|_| choose(&mut rng, present)).collect()
    }

    #[test]
    fn a_seed_repeats_itself() {
        assert_eq!(choices(&present(8, 0, 2)), choices(&present(8, 0, 2)));
    }

    #[test]
    fn half_of_them_are_left_alone() {
        let kept = |action: &Action| matches!(action, Action::Restart(_) | Action::Join);
        assert!(choices(&present(4, 0, 3)).iter().all(kept));
    }

    #[test]
    fn they_do_not_multiply_without_end() {
        assert!(!choices(&present(12, 0, 3)).iter().any(|action| matches!(action, Action::Restart(_) | Action::Join)));
    }

    #[test]
    fn everything_happens_when_everything_may() {
        let choices = choices(&present(8, 1, 3));
        let some = |of: fn(&Action) -> bool| choices.iter().any(of);
        assert!(some(|a| matches!(a, Action::Kill(_))) && some(|a| matches!(a, Action::Freeze(_))));
        assert!(some(|a| matches!(a, Action::Restart(_))) && some(|a| matches!(a, Action::Join)));
    }
}
