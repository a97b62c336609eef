//! The fault schedule, drawn from the seed and the scenario's rates before the run begins.

use murmur_coordinatorless::Time;

use crate::{
    queue::{EventQueue, MachineIndex, SimEvent},
    rng::SeededRng,
    scenario::Faults,
};

/// A fault that begins or ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Begins a fault of this kind. Its victim is drawn at that moment, among the machines then live.
    Begin(FaultKind),
    /// Resumes a stopped process, unless it was killed meanwhile.
    Resume { at: MachineIndex, generation: u32 },
    /// Heals the partition with this number, unless a later one replaced it.
    HealPartition(u64),
    /// Ends a slow-disk fault.
    DiskRecovers(MachineIndex),
}

/// Kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum FaultKind {
    Kill,
    Leave,
    Loss,
    Partition,
    PowerLoss,
    SlowDisk,
    Stop,
}

impl FaultKind {
    /// Name in reports.
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

const KINDS: [FaultKind; 7] = [
    FaultKind::Kill,
    FaultKind::Leave,
    FaultKind::Loss,
    FaultKind::Partition,
    FaultKind::PowerLoss,
    FaultKind::SlowDisk,
    FaultKind::Stop,
];

/// Schedules all faults that begin between `from` and `until`. Each kind is a Poisson process with a generator of its
/// own.
pub(crate) fn schedule(faults: &Faults, seed: u64, from: Time, until: Time, queue: &mut EventQueue) {
    for kind in KINDS {
        let Some(mean) = 3_600_000_000u64.checked_div(kind.per_hour(faults)) else { continue };
        let mut rng = SeededRng::new(seed, kind.name());
        let mut time = from.0 + rng.waiting_time(mean);
        while time < until.0 {
            queue.schedule(Time(time), SimEvent::Fault(Fault::Begin(kind)));
            time += rng.waiting_time(mean).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_occur_at_the_scenarios_rate() {
        let faults = Faults { kills_per_hour: 3600, ..crate::Scenario::default().without_faults().faults };
        let mut queue = EventQueue::default();
        schedule(&faults, 1, Time(0), Time(1_000_000_000), &mut queue);
        let count = core::iter::from_fn(|| queue.next(Time(u64::MAX))).count();
        assert!((850..1150).contains(&count), "{count} in 1000 s at one a second");
    }
}
