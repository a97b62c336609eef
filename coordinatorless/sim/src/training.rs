//! The simulated trainer of a machine: segments, their updates, and replays for audits.

use murmur_coordinatorless::EntryName;
use murmur_verification::Attack;

use crate::{
    learner::{Segment, replay},
    node_io::NodeInput,
    queue::{MachineIndex, SimEvent},
    simulation::Simulation,
};

impl Simulation {
    /// Replays the audited update and hands the verdict to the node.
    pub(crate) fn finish_audit(&mut self, at: MachineIndex, update: EntryName) {
        let machine = &self.machines[at];
        let job = machine.node.as_ref().and_then(|node| node.audit_job(update));
        let accuses = machine.attack == Some(Attack::Accuses);
        let verdict = job.map(|job| replay(&job)).map(|(passed, digest)| (passed && !accuses, digest));
        self.handle_input(at, NodeInput::Judged { update, verdict });
    }

    /// Authors the update of a finished segment and begins the next one.
    pub(crate) fn handle_segment_due(&mut self, at: MachineIndex) {
        if let Some(segment) = self.machines[at].segment.take() {
            let honest = self.machines[at].attack != Some(Attack::Cheats);
            let rules = &self.run.rules;
            let steps = self.scenario.work.steps;
            let parameters = rules.parameter_count();
            let draft = segment.finish(rules.top_k(), parameters, steps, honest, &mut self.learner_rng);
            draft.carry.iter().for_each(|carry| self.machines[at].disk.store_carry(carry.clone()));
            self.figures.authored += 1;
            self.handle_input(at, NodeInput::Author(Box::new(draft)));
        }
        self.begin_segment(at);
    }

    /// Begins a segment from the peer's present state, if it may train.
    pub(crate) fn begin_segment(&mut self, at: MachineIndex) {
        let machine = &mut self.machines[at];
        let Some(node) = machine.node.as_ref().filter(|node| node.is_caught_up()) else { return };
        if !self.is_training || !machine.is_author || machine.segment.is_some() {
            return;
        }
        machine.segment = Some(Segment::begin(&node.snapshot()));
        let jitter = machine.segment_time * u32::try_from(self.rng.below(256)).unwrap_or(0) / 1024;
        let ends = self.now + machine.segment_time + jitter;
        let generation = machine.generation;
        self.queue.schedule(ends, SimEvent::SegmentDue { at, generation });
    }
}
