//! The simulation: takes events from the queue in order, hands inputs to nodes, and carries out their outputs.

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::PeerId;
use murmur_coordinatorless::{Event, Time};

use crate::{
    attacker::Attacker,
    history::History,
    invariants::{InvariantChecker, ObservedEvent},
    nat::Nats,
    network::Network,
    node_io::{self, NodeInput, NodeOutput},
    queue::{Delivery, EventQueue, MachineIndex, SimEvent},
    report::Figures,
    rng::SeededRng,
    scenario::Scenario,
    swarm::{Machine, Run, machines},
};

/// Duration of a durable write on a disk without fault.
const SYNCED_WRITE: Duration = Duration::from_micros(800);

/// Timeouts handled in a row before a timer that stays due counts as a violation: handling one timeout may make the
/// next one due at once.
const TIMEOUT_CALLS_MAX: usize = 3;

/// Lines the chronicle keeps.
const CHRONICLE_LINES_MAX: usize = 1000;

/// A swarm in virtual time.
pub(crate) struct Simulation {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) now: Time,
    pub(crate) queue: EventQueue,
    pub(crate) network: Network,
    pub(crate) nats: Nats,
    pub(crate) run: Run,
    pub(crate) machines: Vec<Machine>,
    pub(crate) indices: BTreeMap<PeerId, MachineIndex>,
    pub(crate) rng: SeededRng,
    pub(crate) learner_rng: SeededRng,
    pub(crate) attackers: Vec<Attacker>,
    pub(crate) checker: InvariantChecker,
    pub(crate) figures: Figures,
    history: History,
    pub(crate) chronicle: Vec<String>,
    /// Whether peers begin segments.
    pub(crate) is_training: bool,
    /// Whether idle peers are told to finish.
    pub(crate) is_finishing: bool,
}

impl Simulation {
    /// A simulation before its first event.
    pub(crate) fn new(scenario: Scenario, seed: u64) -> Self {
        let machines = machines(&scenario, seed);
        let run = Run::new(&scenario, seed, &machines);
        Self {
            nats: Nats::new(&scenario.network.behind, scenario.network.relays, seed, machines.len()),
            network: Network::new(scenario.network.clone(), scenario.link, seed, machines.len()),
            now: Time(0),
            queue: EventQueue::default(),
            indices: machines.iter().enumerate().map(|(index, machine)| (machine.id, index)).collect(),
            rng: SeededRng::new(seed, "world"),
            learner_rng: SeededRng::new(seed, "learning"),
            attackers: (0..machines.len()).map(|index| Attacker::new(run.id, seed, index)).collect(),
            checker: InvariantChecker::new(&scenario.checks),
            figures: Figures::default(),
            history: History::default(),
            chronicle: Vec::new(),
            is_training: true,
            is_finishing: false,
            machines,
            run,
            scenario,
            seed,
        }
    }

    /// Dispatches every event up to `end`.
    pub(crate) fn run_until(&mut self, end: Time) {
        while let Some((time, event)) = self.queue.next(end) {
            self.now = self.now.max(time);
            self.dispatch(event);
        }
        self.now = end;
    }

    /// Digest of the history so far.
    pub(crate) fn trace(&self) -> String {
        self.history.digest()
    }

    fn dispatch(&mut self, event: SimEvent) {
        match event {
            SimEvent::IdleTimeout { a, b, connection } => self.handle_idle_timeout(a, b, connection),
            SimEvent::Fault(fault) => self.handle_fault(fault),
            SimEvent::Handshake { from, generation, dial } if self.machines[from].generation == generation => {
                self.handle_handshake(from, dial);
            }
            SimEvent::CheckInvariants => self.check_invariants(),
            SimEvent::Start { at } => self.start(at),
            SimEvent::Send { from, generation, to, priority, bytes }
                if self.machines[from].generation == generation =>
            {
                self.transmit(from, to, priority, &bytes);
            }
            SimEvent::Handshake { .. } | SimEvent::Send { .. } => {}
            SimEvent::Deliver { to: at, generation, .. }
            | SimEvent::AuditDone { at, generation, .. }
            | SimEvent::SegmentDue { at, generation }
            | SimEvent::TimerDue { at, generation } => self.dispatch_to_machine(at, generation, event),
        }
    }

    /// Dispatches an event on a machine, unless the process it was meant for has ended. A stopped process gets it when
    /// it resumes; a process that waits for its disk, when the write is done.
    fn dispatch_to_machine(&mut self, at: MachineIndex, generation: u32, event: SimEvent) {
        let machine = &mut self.machines[at];
        if machine.generation != generation || machine.node.is_none() {
            return;
        }
        if machine.is_stopped {
            return machine.deferred.push(event);
        }
        if machine.busy_until > self.now {
            return self.queue.schedule(machine.busy_until, event);
        }
        match event {
            SimEvent::Deliver { delivery, .. } => self.receive(at, delivery),
            SimEvent::AuditDone { update, .. } => self.finish_audit(at, update),
            SimEvent::SegmentDue { .. } => self.handle_segment_due(at),
            SimEvent::TimerDue { .. } => self.handle_timer(at),
            SimEvent::IdleTimeout { .. }
            | SimEvent::Fault(_)
            | SimEvent::Handshake { .. }
            | SimEvent::CheckInvariants
            | SimEvent::Send { .. }
            | SimEvent::Start { .. } => {}
        }
    }

    /// Hands a delivery to the node, unless its connection is gone.
    fn receive(&mut self, at: MachineIndex, delivery: Delivery) {
        let mut sender = self.machines[at].id;
        if let Delivery::Message { from, connection, bytes } | Delivery::Datagram { from, connection, bytes } =
            &delivery
        {
            // A message in flight on an earlier connection of the pair was lost with it.
            if self.network.connection(*from, at).is_none_or(|held| held.number != *connection) {
                return;
            }
            sender = self.machines[*from].id;
            self.history.input(self.now, at, *from, bytes.len());
            if !self.machines[at].is_honest() && matches!(delivery, Delivery::Message { .. }) {
                self.attackers[at].record_message(bytes);
            }
        } else {
            self.history.input(self.now, at, at, 0);
        }
        self.handle_input(at, NodeInput::Delivery(delivery, sender));
    }

    /// Adds a line to the chronicle for the analysis of a violation.
    pub(crate) fn add_to_chronicle(&mut self, at: MachineIndex, what: &str) {
        if self.chronicle.len() < CHRONICLE_LINES_MAX {
            self.chronicle.push(format!("{:.3} s: peer {at} {what}", self.now.0 as f64 / 1e6));
        }
    }

    /// Hands an input to the node at `at` and carries out its outputs.
    pub(crate) fn handle_input(&mut self, at: MachineIndex, input: NodeInput) {
        let machine = &mut self.machines[at];
        let now = machine.local_time(self.now);
        let Some(node) = machine.node.as_mut() else { return };
        node_io::handle_input(node, now, input);
        while let Some(output) = self.next_output(at) {
            self.execute(at, output);
        }
        self.schedule_timer(at);
    }

    fn next_output(&mut self, at: MachineIndex) -> Option<NodeOutput> {
        let node = self.machines[at].node.as_mut()?;
        node_io::next_output(node, |output| self.history.output(self.now, at, output))
    }

    fn execute(&mut self, at: MachineIndex, output: NodeOutput) {
        match output {
            NodeOutput::Append { record, durable } => {
                let safe_at = self.begin_write(at, durable);
                self.machines[at].disk.append(record, durable, safe_at);
            }
            NodeOutput::AddressBook(peers) => self.machines[at].disk.store_address_book(peers),
            NodeOutput::Compact(compacted) => {
                self.add_to_chronicle(at, &format!("stores final frontier {}", compacted.epoch));
                let safe_at = self.begin_write(at, true);
                self.machines[at].disk.compact(*compacted, self.now, safe_at);
            }
            NodeOutput::Close { peer, misbehaved } => self.close(at, peer, misbehaved),
            NodeOutput::Dial { address, expect } => self.dial(at, address, expect),
            NodeOutput::DialThrough { relay, peer } => self.dial_through(at, relay, peer),
            NodeOutput::KeepChunk { root, index, bytes } => {
                let parameters = self.run.genesis.len();
                self.machines[at].disk.store_chunk((root, index), &bytes, parameters);
            }
            NodeOutput::Reset => {
                self.add_to_chronicle(at, "sets its log aside");
                self.machines[at].disk.reset();
                self.checker.holdings_lost(at);
            }
            NodeOutput::Send { to, priority, bytes } => self.send(at, to, priority, bytes),
            NodeOutput::Signing(bytes) => {
                let safe_at = self.begin_write(at, true);
                self.machines[at].disk.store_signing(bytes, self.now, safe_at);
            }
            NodeOutput::Event(event) => self.handle_node_event(at, &event),
        }
    }

    /// Begins a write and returns when it is durable. A durable write blocks the process until then, so that no message
    /// leaves before the record it depends on.
    fn begin_write(&mut self, at: MachineIndex, durable: bool) -> Time {
        let slow = Duration::from_millis(self.scenario.faults.slow_write_ms);
        let machine = &mut self.machines[at];
        if durable {
            let took = if machine.has_slow_disk { slow } else { SYNCED_WRITE };
            machine.busy_until = machine.busy_until.max(self.now) + took;
        }
        machine.busy_until
    }

    /// Schedules the next timeout of a node, unless an earlier one is scheduled.
    fn schedule_timer(&mut self, at: MachineIndex) {
        let machine = &self.machines[at];
        let Some(due) = machine.node.as_ref().and_then(murmur_coordinatorless::Node::poll_timeout) else { return };
        let due = machine.global_time(due).max(self.now);
        if machine.timer_at.is_none_or(|scheduled| scheduled > due || scheduled < self.now) {
            self.machines[at].timer_at = Some(due);
            let generation = self.machines[at].generation;
            self.queue.schedule(due, SimEvent::TimerDue { at, generation });
        }
    }

    fn handle_timer(&mut self, at: MachineIndex) {
        let machine = &mut self.machines[at];
        let now = machine.local_time(self.now);
        let due = machine.node.as_ref().and_then(murmur_coordinatorless::Node::poll_timeout);
        if machine.timer_at.is_some_and(|scheduled| scheduled <= self.now) {
            machine.timer_at = None;
        }
        if due.is_none_or(|due| due > now) {
            return self.schedule_timer(at);
        }
        for _ in 0..TIMEOUT_CALLS_MAX {
            self.handle_input(at, NodeInput::Timeout);
            let next = self.machines[at].node.as_ref().and_then(murmur_coordinatorless::Node::poll_timeout);
            if next.is_none_or(|next| next > now) {
                return;
            }
        }
        self.checker.timer_still_due(self.now, at);
        // A driver would spin on this timer. Keep the machine busy for a moment, or virtual time would stand still.
        let machine = &mut self.machines[at];
        machine.busy_until = machine.busy_until.max(self.now + Duration::from_millis(1));
    }

    fn handle_node_event(&mut self, at: MachineIndex, event: &Event) {
        let generation = self.machines[at].generation;
        if let Event::AuditReady { update } = *event {
            // A replay takes a third of the segment time, by assumption.
            let done = self.now + self.machines[at].segment_time / 3;
            self.queue.schedule(done, SimEvent::AuditDone { at, generation, update });
        }
        if *event == Event::CaughtUp {
            self.queue.schedule(self.now, SimEvent::SegmentDue { at, generation });
        }
        if matches!(
            event,
            Event::BadInput { .. }
                | Event::Banned { .. }
                | Event::Diverged { .. }
                | Event::Evicted { .. }
                | Event::CaughtUp
                | Event::Final { .. }
                | Event::Resumed
                | Event::Stalled { .. }
                | Event::IdentityInUse
        ) {
            self.add_to_chronicle(at, &format!("tells {event:?}"));
        }
        if *event == (Event::Finished { agreed: true }) {
            self.machines[at].has_finished = true;
        }
        self.figures.count_event(event);
        let (machines, indices) = (&self.machines, &self.indices);
        self.checker.observe(&ObservedEvent { now: self.now, at, event, machines, indices });
    }

    /// Starts a process from its disk and gives it a few addresses.
    pub(crate) fn start(&mut self, at: MachineIndex) {
        let machine = &self.machines[at];
        if machine.node.is_some() || machine.is_absent {
            return;
        }
        let seed = self.seed ^ ((at as u64) << 32) ^ u64::from(machine.generation);
        let options = node_io::StartOptions {
            identity: machine.identity.clone(),
            seed,
            is_author: machine.is_author,
            incarnation: 1 + u64::from(machine.generation),
            address_book: machine.disk.address_book(),
            stored: machine.disk.stored(),
            is_on_loopback: self.nats.are_all_open(),
            relay: self.nats.is_relay(at),
        };
        let node = node_io::start_node(&self.scenario, &self.run, options);
        self.machines[at].start_process(self.now, node);
        // A length that no message has: it marks a start in the history.
        self.history.input(self.now, at, at, usize::MAX);
        let machine = &self.machines[at];
        let what = format!(
            "starts: {:?}, {}",
            machine.id,
            machine.attack.map_or("honest".to_owned(), |attack| format!("{attack:?}"))
        );
        self.add_to_chronicle(at, &what);
        self.handle_input(at, NodeInput::Timeout);
        for other in self.introductions(at) {
            self.handle_input(at, NodeInput::Introduce(self.nats.address(other)));
        }
        self.begin_segment(at);
    }

    fn introductions(&mut self, at: MachineIndex) -> Vec<MachineIndex> {
        let open = self.nats.are_all_open();
        // With NATs an invitation names open founders, whether they run yet or not: nothing else can be dialed.
        let is_known = |other: &MachineIndex| {
            let listens = self.nats.is_open(*other) && *other < self.scenario.founders;
            if open { self.machines[*other].generation > 0 } else { listens }
        };
        let mut others: Vec<MachineIndex> =
            (0..self.machines.len()).filter(|other| *other != at && is_known(other)).collect();
        others.retain(|other| !self.machines[*other].is_absent);
        while others.len() > self.scenario.introductions {
            let surplus = self.rng.index(others.len());
            others.swap_remove(surplus);
        }
        others
    }
}
