//! What happens to machines: they are killed, lose power, are stopped, leave, and come back.

use core::time::Duration;

use crate::{
    faults::{Fault, Kind},
    queue::{Happening, Place},
    seam::Word,
    world::World,
};

impl World {
    /// A fault begins or ends.
    pub(crate) fn meet(&mut self, fault: Fault) {
        match fault {
            Fault::Begins(kind) => self.begin(kind),
            Fault::Continues { at, life } if self.machines[at].life == life => self.go_on(at),
            Fault::Continues { .. } => {}
            Fault::Heals(number) if self.network.split_number() == Some(number) => self.heal_partition(),
            Fault::Heals(_) => {}
            Fault::Hastens(at) => self.machines[at].has_slow_disk = false,
        }
    }

    fn begin(&mut self, kind: Kind) {
        let lasts = Duration::from_millis(self.dice.between(self.scenario.faults.lasts_ms));
        let Some(at) = self.victim() else { return };
        let happened = match kind {
            Kind::Kill => self.kill(at, lasts),
            Kind::Leave => self.leave(at),
            Kind::Loss => self.replace(at),
            Kind::Partition => self.partition(lasts),
            Kind::PowerLoss => self.lose_power(at, lasts),
            Kind::SlowDisk => self.slow_disk(at, lasts),
            Kind::Stop => self.stop(at, lasts),
        };
        if happened {
            *self.figures.faults.entry(kind.name().to_owned()).or_default() += 1;
        }
    }

    /// A random live machine.
    fn victim(&mut self) -> Option<Place> {
        let live: Vec<Place> = (0..self.machines.len()).filter(|at| self.machines[*at].is_live()).collect();
        let at = self.dice.index(live.len());
        live.get(at).copied()
    }

    /// The process ends without a word, and starts again later.
    fn kill(&mut self, at: Place, down: Duration) -> bool {
        self.write_down(at, "is killed");
        self.end(at);
        self.queue.plan(self.now + down, Happening::Start { at });
        true
    }

    fn lose_power(&mut self, at: Place, down: Duration) -> bool {
        let (damages, any) = (self.dice.happens(self.scenario.faults.damages_percent), self.dice.bits());
        let part = |length: usize| usize::try_from(any % (length as u64 + 1)).unwrap_or(0);
        self.end(at);
        let disk = &mut self.machines[at].disk;
        let mut lost = disk.lose_power(self.now, part);
        if damages {
            disk.damage(part);
            lost = true;
        }
        self.write_down(at, &format!("loses power; records lost: {lost}, log damaged: {damages}"));
        if lost {
            self.watch.forgot(at);
        }
        self.queue.plan(self.now + down, Happening::Start { at });
        true
    }

    /// The process at `at` is no more.
    pub(crate) fn end(&mut self, at: Place) {
        self.machines[at].end();
        for (a, b) in self.network.pairs().into_iter().filter(|(a, b)| *a == at || *b == at) {
            if let Some(connection) = self.network.connection_mut(a, b) {
                connection.is_orphan = true;
            }
        }
        self.listen(Some(at));
    }

    fn stop(&mut self, at: Place, lasts: Duration) -> bool {
        self.write_down(at, &format!("is stopped for {lasts:?}"));
        self.machines[at].is_stopped = true;
        self.listen(Some(at));
        let life = self.machines[at].life;
        self.queue.plan(self.now + lasts, Happening::Fault(Fault::Continues { at, life }));
        true
    }

    fn go_on(&mut self, at: Place) {
        self.machines[at].is_stopped = false;
        for happening in core::mem::take(&mut self.machines[at].held) {
            self.queue.plan(self.now, happening);
        }
        self.listen(Some(at));
    }

    fn partition(&mut self, lasts: Duration) -> bool {
        if self.network.split_number().is_some() {
            return false;
        }
        self.write_down(0, &format!("and others are split for {lasts:?}"));
        let side = (0..self.machines.len()).map(|_| self.dice.happens(50)).collect();
        let one_way = self.dice.happens(self.scenario.faults.one_way_percent);
        let number = self.network.split(side, one_way);
        self.listen(None);
        self.queue.plan(self.now + lasts, Happening::Fault(Fault::Heals(number)));
        true
    }

    fn heal_partition(&mut self) {
        self.network.heal();
        self.listen(None);
    }

    fn slow_disk(&mut self, at: Place, lasts: Duration) -> bool {
        self.write_down(at, &format!("has a slow disk for {lasts:?}"));
        self.machines[at].has_slow_disk = true;
        self.queue.plan(self.now + lasts, Happening::Fault(Fault::Hastens(at)));
        true
    }

    /// A peer says goodbye and never comes back. At most a quarter of all do.
    fn leave(&mut self, at: Place) -> bool {
        let gone = self.machines.iter().filter(|machine| machine.is_gone && machine.life > 0).count();
        if gone * 4 >= self.machines.len() {
            return false;
        }
        self.write_down(at, "leaves for good");
        self.tell(at, Word::Leave);
        self.watch.forgot(at);
        self.machines[at].is_gone = true;
        // Its goodbyes are under way; then the process ends.
        self.end(at);
        true
    }

    /// The machine is gone without a word, and somebody new starts in its place.
    fn replace(&mut self, at: Place) -> bool {
        let Some(next) = self.machines.iter().position(|machine| machine.is_gone && machine.life == 0) else {
            return false;
        };
        self.write_down(at, "is lost for good");
        self.watch.forgot(at);
        self.end(at);
        (self.machines[at].is_gone, self.machines[next].is_gone) = (true, false);
        self.start(next);
        true
    }

    /// All faults end: partitions heal, stopped processes go on, dead ones start, hostile ones are gone for good.
    pub(crate) fn calm_down(&mut self) {
        self.network.calm_down();
        self.heal_partition();
        for at in 0..self.machines.len() {
            self.machines[at].has_slow_disk = false;
            if !self.machines[at].is_honest() {
                self.machines[at].is_gone = true;
                self.end(at);
            } else if self.machines[at].is_stopped {
                self.go_on(at);
            } else if self.machines[at].life > 0 {
                self.start(at);
            }
        }
    }
}
