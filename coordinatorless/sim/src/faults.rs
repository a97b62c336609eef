//! What goes wrong, and when: planned before the run begins from the seed and the scenario's rates.

use murmur_coordinatorless::Time;

use crate::{
    dice::Dice,
    queue::{Happening, Place, Queue},
    scenario::Faults,
};

/// A fault that begins, or one that ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// One of this kind begins; whom it meets is drawn then.
    Begins(Kind),
    /// A stopped process goes on.
    Continues { at: Place, life: u32 },
    /// The two parts of the network are one again; the number tells partitions apart.
    Heals(u64),
    /// A disk is as fast as before.
    Hastens(Place),
}

/// Kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Kill,
    Leave,
    Loss,
    Partition,
    PowerLoss,
    SlowDisk,
    Stop,
}

impl Kind {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Leave => "leave",
            Self::Loss => "loss",
            Self::Partition => "partition",
            Self::PowerLoss => "power_loss",
            Self::SlowDisk => "slow_disk",
            Self::Stop => "stop",
        }
    }

    fn per_hour(self, faults: &Faults) -> u64 {
        match self {
            Self::Kill => faults.kills_per_hour,
            Self::Leave => faults.leaves_per_hour,
            Self::Loss => faults.losses_per_hour,
            Self::Partition => faults.partitions_per_hour,
            Self::PowerLoss => faults.power_losses_per_hour,
            Self::SlowDisk => faults.slow_disks_per_hour,
            Self::Stop => faults.stops_per_hour,
        }
    }
}

const KINDS: [Kind; 7] =
    [Kind::Kill, Kind::Leave, Kind::Loss, Kind::Partition, Kind::PowerLoss, Kind::SlowDisk, Kind::Stop];

/// Plans all faults that begin between `from` and `until`: of each kind a Poisson process.
pub(crate) fn plan(faults: &Faults, seed: u64, from: Time, until: Time, queue: &mut Queue) {
    for kind in KINDS {
        let Some(mean) = 3_600_000_000u64.checked_div(kind.per_hour(faults)) else { continue };
        let mut dice = Dice::new(seed, kind.name());
        let mut at = from.0 + dice.wait(mean);
        while at < until.0 {
            queue.plan(Time(at), Happening::Fault(Fault::Begins(kind)));
            at += dice.wait(mean).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_about_as_often_as_asked() {
        let faults = Faults { kills_per_hour: 3600, ..crate::Scenario::default().without_faults().faults };
        let mut queue = Queue::default();
        plan(&faults, 1, Time(0), Time(1_000_000_000), &mut queue);
        let count = core::iter::from_fn(|| queue.next(Time(u64::MAX))).count();
        assert!((850..1150).contains(&count), "{count} in 1000 s at one a second");
    }
}
