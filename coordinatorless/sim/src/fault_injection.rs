//! Faults strike machines: kill, power loss, stop, slow disk, leave, permanent loss, partition; and each but the
//! permanent ones ends.

use core::time::Duration;

use crate::{
    faults::{Fault, FaultKind},
    node_io::NodeInput,
    queue::{MachineIndex, SimEvent},
    simulation::Simulation,
};

impl Simulation {
    /// Begins or ends a fault.
    pub(crate) fn handle_fault(&mut self, fault: Fault) {
        match fault {
            Fault::Begin(kind) => self.begin_fault(kind),
            Fault::Resume { at, generation } if self.machines[at].generation == generation => self.resume(at),
            Fault::Resume { .. } => {}
            Fault::HealPartition(number) if self.network.partition_number() == Some(number) => self.heal_partition(),
            Fault::HealPartition(_) => {}
            Fault::DiskRecovers(at) => self.machines[at].has_slow_disk = false,
        }
    }

    fn begin_fault(&mut self, kind: FaultKind) {
        let lasts = Duration::from_millis(self.rng.between(self.scenario.faults.lasts_ms));
        let Some(at) = self.random_live_machine() else { return };
        let happened = match kind {
            FaultKind::Kill => self.kill(at, lasts),
            FaultKind::Leave => self.leave(at),
            FaultKind::Loss => self.replace(at),
            FaultKind::Partition => self.partition(lasts),
            FaultKind::PowerLoss => self.lose_power(at, lasts),
            FaultKind::SlowDisk => self.slow_disk(at, lasts),
            FaultKind::Stop => self.stop(at, lasts),
        };
        if happened {
            *self.figures.faults.entry(kind.name().to_owned()).or_default() += 1;
        }
    }

    /// A random live machine.
    fn random_live_machine(&mut self) -> Option<MachineIndex> {
        let live: Vec<MachineIndex> = (0..self.machines.len()).filter(|at| self.machines[*at].is_live()).collect();
        let at = self.rng.index(live.len());
        live.get(at).copied()
    }

    /// Kills the process without a goodbye and restarts it after `down`.
    fn kill(&mut self, at: MachineIndex, down: Duration) -> bool {
        self.add_to_chronicle(at, "is killed");
        self.end_process(at);
        self.queue.schedule(self.now + down, SimEvent::Start { at });
        true
    }

    fn lose_power(&mut self, at: MachineIndex, down: Duration) -> bool {
        let (damages, any) = (self.rng.chance(self.scenario.faults.damages_percent), self.rng.next_u64());
        let part = |length: usize| usize::try_from(any % (length as u64 + 1)).unwrap_or(0);
        self.end_process(at);
        let disk = &mut self.machines[at].disk;
        let mut lost = disk.lose_power(self.now, part);
        if damages {
            disk.damage(part);
            lost = true;
        }
        self.add_to_chronicle(at, &format!("loses power; records lost: {lost}, log damaged: {damages}"));
        if lost {
            self.checker.holdings_lost(at);
        }
        self.queue.schedule(self.now + down, SimEvent::Start { at });
        true
    }

    /// Ends the process at `at`. Its connections stay half-open: the other ends notice by the idle timeout, or when
    /// this machine dials again.
    pub(crate) fn end_process(&mut self, at: MachineIndex) {
        self.machines[at].end_process();
        for (a, b) in self.network.pairs().into_iter().filter(|(a, b)| *a == at || *b == at) {
            if let Some(connection) = self.network.connection_mut(a, b) {
                connection.is_half_open = true;
            }
        }
        self.update_silence(Some(at));
    }

    fn stop(&mut self, at: MachineIndex, lasts: Duration) -> bool {
        self.add_to_chronicle(at, &format!("is stopped for {lasts:?}"));
        self.machines[at].is_stopped = true;
        self.update_silence(Some(at));
        let generation = self.machines[at].generation;
        self.queue.schedule(self.now + lasts, SimEvent::Fault(Fault::Resume { at, generation }));
        true
    }

    fn resume(&mut self, at: MachineIndex) {
        self.machines[at].is_stopped = false;
        for event in core::mem::take(&mut self.machines[at].deferred) {
            self.queue.schedule(self.now, event);
        }
        self.update_silence(Some(at));
    }

    fn partition(&mut self, lasts: Duration) -> bool {
        if self.network.partition_number().is_some() {
            return false;
        }
        self.add_to_chronicle(0, &format!("and others are split for {lasts:?}"));
        let side = (0..self.machines.len()).map(|_| self.rng.chance(50)).collect();
        let one_way = self.rng.chance(self.scenario.faults.one_way_percent);
        let number = self.network.partition(side, one_way);
        self.update_silence(None);
        self.queue.schedule(self.now + lasts, SimEvent::Fault(Fault::HealPartition(number)));
        true
    }

    fn heal_partition(&mut self) {
        self.network.heal();
        self.update_silence(None);
    }

    fn slow_disk(&mut self, at: MachineIndex, lasts: Duration) -> bool {
        self.add_to_chronicle(at, &format!("has a slow disk for {lasts:?}"));
        self.machines[at].has_slow_disk = true;
        self.queue.schedule(self.now + lasts, SimEvent::Fault(Fault::DiskRecovers(at)));
        true
    }

    /// The peer at `at` sends its goodbyes and leaves for good. At most a quarter of all peers do.
    fn leave(&mut self, at: MachineIndex) -> bool {
        let gone = self.machines.iter().filter(|machine| machine.is_absent && machine.generation > 0).count();
        if gone * 4 >= self.machines.len() {
            return false;
        }
        self.add_to_chronicle(at, "leaves for good");
        self.handle_input(at, NodeInput::Leave);
        self.checker.holdings_lost(at);
        self.machines[at].is_absent = true;
        // The goodbyes are already in flight.
        self.end_process(at);
        true
    }

    /// Loses the machine at `at` for good and starts a reserve with a new identity. Does nothing without a reserve.
    fn replace(&mut self, at: MachineIndex) -> bool {
        let Some(next) = self.machines.iter().position(|machine| machine.is_absent && machine.generation == 0) else {
            return false;
        };
        self.add_to_chronicle(at, "is lost for good");
        self.checker.holdings_lost(at);
        self.end_process(at);
        (self.machines[at].is_absent, self.machines[next].is_absent) = (true, false);
        self.start(next);
        true
    }

    /// Ends all faults: heals the partition, resumes stopped processes, restarts dead ones and removes attackers.
    pub(crate) fn end_faults(&mut self) {
        self.network.end_faults();
        self.heal_partition();
        for at in 0..self.machines.len() {
            self.machines[at].has_slow_disk = false;
            if !self.machines[at].is_honest() {
                self.machines[at].is_absent = true;
                self.end_process(at);
            } else if self.machines[at].is_stopped {
                self.resume(at);
            } else if self.machines[at].generation > 0 {
                self.start(at);
            }
        }
    }
}
