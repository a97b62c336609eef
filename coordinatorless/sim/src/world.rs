//! The world: what is planned happens, in order; what machines want is carried out.

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::PeerId;
use murmur_coordinatorless::{EntryName, Event, Time};
use murmur_verification::Attack;

use crate::{
    dice::Dice,
    invariants::{Told, Watch},
    learner::{Segment, replay},
    malice::Malice,
    nat::Translators,
    network::Network,
    queue::{Happening, Mail, Place, Queue},
    report::Figures,
    scenario::Scenario,
    seam::{self, Deed, Word},
    swarm::{Machine, Run, machines},
};

/// A durable write on a disk that is not slow.
const WRITE: Duration = Duration::from_micros(800);

/// Looks at a timer after which it must not be due any more at that moment: what one look does may make another due.
const LOOKS: usize = 3;

/// Lines of the chronicle that are kept.
const CHRONICLE: usize = 1000;

/// A swarm in virtual time.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) now: Time,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) translators: Translators,
    pub(crate) run: Run,
    pub(crate) machines: Vec<Machine>,
    pub(crate) places: BTreeMap<PeerId, Place>,
    pub(crate) dice: Dice,
    learning: Dice,
    malice: Vec<Malice>,
    pub(crate) watch: Watch,
    pub(crate) figures: Figures,
    trace: blake3::Hasher,
    pub(crate) chronicle: Vec<String>,
    /// Whether segments are begun.
    pub(crate) is_training: bool,
    /// Whether whoever is done with its segment comes to an end.
    pub(crate) is_finishing: bool,
}

impl World {
    /// A world in which nothing has happened yet.
    pub(crate) fn new(scenario: Scenario, seed: u64) -> Self {
        let machines = machines(&scenario, seed);
        let run = Run::new(&scenario, seed, &machines);
        Self {
            translators: Translators::new(&scenario.network.behind, scenario.network.relays, seed, machines.len()),
            network: Network::new(scenario.network.clone(), seed, machines.len()),
            now: Time(0),
            queue: Queue::default(),
            places: machines.iter().enumerate().map(|(place, machine)| (machine.id, place)).collect(),
            dice: Dice::new(seed, "world"),
            learning: Dice::new(seed, "learning"),
            malice: (0..machines.len()).map(|place| Malice::new(run.id, seed, place)).collect(),
            watch: Watch::new(&scenario.checks),
            figures: Figures::default(),
            trace: blake3::Hasher::new(),
            chronicle: Vec::new(),
            is_training: true,
            is_finishing: false,
            machines,
            run,
            scenario,
            seed,
        }
    }

    /// Lets everything planned up to `end` happen.
    pub(crate) fn pass_until(&mut self, end: Time) {
        while let Some((at, happening)) = self.queue.next(end) {
            self.now = self.now.max(at);
            self.happen(happening);
        }
        self.now = end;
    }

    /// Names everything that has happened: the same seed gives the same name.
    pub(crate) fn trace(&self) -> String {
        self.trace.finalize().to_hex().to_string()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Broken { a, b, connection } => self.notice_loss(a, b, connection),
            Happening::Fault(fault) => self.meet(fault),
            Happening::Handshake { from, life, dial } if self.machines[from].life == life => {
                self.shake_hands(from, dial);
            }
            Happening::Look => self.look(),
            Happening::Start { at } => self.start(at),
            Happening::Send { from, life, to, priority, bytes } if self.machines[from].life == life => {
                self.transmit(from, to, priority, &bytes);
            }
            Happening::Handshake { .. } | Happening::Send { .. } => {}
            Happening::Arrive { to: at, life, .. }
            | Happening::Replayed { at, life, .. }
            | Happening::Segment { at, life }
            | Happening::Wake { at, life } => self.happen_at(at, life, happening),
        }
    }

    /// Something happens on a machine, unless that life is over; later, if it is stopped or waits for its disk.
    fn happen_at(&mut self, at: Place, life: u32, happening: Happening) {
        let machine = &mut self.machines[at];
        if machine.life != life || machine.node.is_none() {
            return;
        }
        if machine.is_stopped {
            return machine.held.push(happening);
        }
        if machine.busy_until > self.now {
            return self.queue.plan(machine.busy_until, happening);
        }
        match happening {
            Happening::Arrive { mail, .. } => self.receive(at, mail),
            Happening::Replayed { update, .. } => self.judge(at, update),
            Happening::Segment { .. } => self.segment_due(at),
            Happening::Wake { .. } => self.wake(at),
            Happening::Broken { .. }
            | Happening::Fault(_)
            | Happening::Handshake { .. }
            | Happening::Look
            | Happening::Send { .. }
            | Happening::Start { .. } => {}
        }
    }

    fn receive(&mut self, at: Place, mail: Mail) {
        let mut sender = self.machines[at].id;
        if let Mail::Message { from, connection, bytes } | Mail::Datagram { from, connection, bytes } = &mail {
            if self.network.connection(*from, at).is_none_or(|held| held.number != *connection) {
                return;
            }
            sender = self.machines[*from].id;
            self.note(at, *from, bytes.len());
            if !self.machines[at].is_honest() && matches!(mail, Mail::Message { .. }) {
                self.malice[at].overhear(bytes);
            }
        } else {
            self.note(at, at, 0);
        }
        self.tell(at, Word::Mail(mail, sender));
    }

    /// Writes down what happened to a machine, for the reader of a violation.
    pub(crate) fn write_down(&mut self, at: Place, what: &str) {
        if self.chronicle.len() < CHRONICLE {
            self.chronicle.push(format!("{:.3} s: peer {at} {what}", self.now.0 as f64 / 1e6));
        }
    }

    /// Adds to the name of what has happened.
    fn note(&mut self, at: Place, from: Place, length: usize) {
        let numbers = [self.now.0, at as u64, from as u64, length as u64];
        for number in numbers {
            self.trace.update(&number.to_le_bytes());
        }
    }

    /// Tells a peer something and carries out what it wants.
    pub(crate) fn tell(&mut self, at: Place, word: Word) {
        let machine = &mut self.machines[at];
        let now = machine.local(self.now);
        let Some(node) = machine.node.as_mut() else { return };
        seam::tell(node, now, word);
        while let Some(deed) = self.machines[at].node.as_mut().and_then(seam::ask) {
            self.carry_out(at, deed);
        }
        self.arm(at);
    }

    fn carry_out(&mut self, at: Place, deed: Deed) {
        match deed {
            Deed::Append { record, durable } => {
                let safe_at = self.write(at, durable);
                self.machines[at].disk.append(record, durable, safe_at);
            }
            Deed::Book(peers) => self.machines[at].disk.keep_book(peers),
            Deed::Compact(compacted) => {
                self.write_down(at, &format!("stores final frontier {}", compacted.epoch));
                let safe_at = self.write(at, true);
                self.machines[at].disk.compact(*compacted, self.now, safe_at);
            }
            Deed::Close { peer, offended } => self.close(at, peer, offended),
            Deed::Dial { address, expect } => self.dial(at, address, expect),
            Deed::DialThrough { relay, peer } => self.dial_through(at, relay, peer),
            Deed::Keep { root, index, bytes } => {
                let parameters = self.run.genesis.len();
                self.machines[at].disk.keep_chunk((root, index), &bytes, parameters);
            }
            Deed::Reset => {
                self.write_down(at, "sets its log aside");
                self.machines[at].disk.reset();
                self.watch.forgot(at);
            }
            Deed::Send { to, priority, bytes } => self.send(at, to, priority, bytes),
            Deed::Sign(bytes) => {
                let safe_at = self.write(at, true);
                self.machines[at].disk.sign(bytes, self.now, safe_at);
            }
            Deed::Tell(event) => self.heed(at, &event),
        }
    }

    /// A write begins; returns when it is safe. The machine does nothing else until a durable one is.
    fn write(&mut self, at: Place, durable: bool) -> Time {
        let slow = Duration::from_millis(self.scenario.faults.slow_write_ms);
        let machine = &mut self.machines[at];
        if durable {
            let took = if machine.has_slow_disk { slow } else { WRITE };
            machine.busy_until = machine.busy_until.max(self.now) + took;
        }
        machine.busy_until
    }

    fn send(&mut self, at: Place, to: PeerId, priority: usize, bytes: Vec<u8>) {
        let machine = &self.machines[at];
        let (life, leaves) = (machine.life, machine.busy_until.max(self.now));
        let place = self.places.get(&to).copied().unwrap_or(at);
        let messages = match machine.attack {
            Some(attack) => self.malice[at].instead(attack, &machine.identity, place, priority, bytes),
            None => vec![(priority, bytes)],
        };
        for (priority, bytes) in messages {
            if leaves > self.now {
                self.queue.plan(leaves, Happening::Send { from: at, life, to, priority, bytes });
            } else {
                self.transmit(at, to, priority, &bytes);
            }
        }
    }

    /// A message goes out on the connection, if there is one.
    fn transmit(&mut self, from: Place, to: PeerId, priority: usize, bytes: &[u8]) {
        let Some(to) = self.places.get(&to).copied() else { return };
        if self.network.connection(from, to).is_none() {
            return;
        }
        self.figures.count(seam::PRIORITIES[priority], bytes.len());
        if self.network.drops() {
            return;
        }
        if priority == seam::DATAGRAM {
            return self.transmit_datagram(from, to, bytes.to_vec());
        }
        let copies = if self.network.doubles() { 2 } else { 1 };
        for _ in 0..copies {
            self.transmit_once(from, to, priority, bytes.to_vec());
        }
    }

    /// A datagram passes every queue, and comes at once or never.
    fn transmit_datagram(&mut self, from: Place, to: Place, bytes: Vec<u8>) {
        let arrives = self.network.datagram_arrival(self.now, from, to);
        let carrying = self.network.connection(from, to).filter(|connection| connection.silent_since.is_none());
        let (Some(arrives), Some(connection)) = (arrives, carrying) else { return };
        let mail = Mail::Datagram { from, connection: connection.number, bytes };
        self.post(arrives, to, mail);
    }

    pub(crate) fn transmit_once(&mut self, from: Place, to: Place, priority: usize, bytes: Vec<u8>) {
        let arrives = self.network.arrival(self.now, from, to, priority, bytes.len());
        let Some(connection) = self.network.connection_mut(from, to) else { return };
        if connection.silent_since.is_some() {
            return connection.stall(from, priority, bytes);
        }
        let mail = Mail::Message { from, connection: connection.number, bytes };
        self.post(arrives, to, mail);
    }

    /// Plans that mail reaches a machine, in its present life.
    pub(crate) fn post(&mut self, at: Time, to: Place, mail: Mail) {
        let life = self.machines[to].life;
        self.queue.plan(at, Happening::Arrive { to, life, mail });
    }

    /// Plans the next look at a peer's timers.
    fn arm(&mut self, at: Place) {
        let machine = &self.machines[at];
        let Some(due) = machine.node.as_ref().and_then(murmur_coordinatorless::Node::poll_timeout) else { return };
        let due = machine.global(due).max(self.now);
        if machine.wake_at.is_none_or(|planned| planned > due || planned < self.now) {
            self.machines[at].wake_at = Some(due);
            let life = self.machines[at].life;
            self.queue.plan(due, Happening::Wake { at, life });
        }
    }

    fn wake(&mut self, at: Place) {
        let machine = &mut self.machines[at];
        let now = machine.local(self.now);
        let due = machine.node.as_ref().and_then(murmur_coordinatorless::Node::poll_timeout);
        if machine.wake_at.is_some_and(|planned| planned <= self.now) {
            machine.wake_at = None;
        }
        if due.is_none_or(|due| due > now) {
            return self.arm(at);
        }
        for _ in 0..LOOKS {
            self.tell(at, Word::Time);
            let still = self.machines[at].node.as_ref().and_then(murmur_coordinatorless::Node::poll_timeout);
            if still.is_none_or(|still| still > now) {
                return;
            }
        }
        self.watch.spins(self.now, at);
        // Let time pass, as a real peer that spins would.
        let machine = &mut self.machines[at];
        machine.busy_until = machine.busy_until.max(self.now + Duration::from_millis(1));
    }

    fn heed(&mut self, at: Place, event: &Event) {
        let life = self.machines[at].life;
        if let Event::AuditReady { update } = *event {
            let done = self.now + self.machines[at].segment_time / 3;
            self.queue.plan(done, Happening::Replayed { at, life, update });
        }
        if *event == Event::CaughtUp {
            self.queue.plan(self.now, Happening::Segment { at, life });
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
            self.write_down(at, &format!("tells {event:?}"));
        }
        if *event == (Event::Finished { agreed: true }) {
            self.machines[at].has_finished = true;
        }
        self.figures.tell(event);
        let (machines, places) = (&self.machines, &self.places);
        self.watch.heed(&Told { now: self.now, at, event, machines, places });
    }

    fn judge(&mut self, at: Place, update: EntryName) {
        let machine = &self.machines[at];
        let job = machine.node.as_ref().and_then(|node| node.audit_job(update));
        let accuses = machine.attack == Some(Attack::Accuses);
        let verdict = job.map(|job| replay(&job)).map(|(passed, digest)| (passed && !accuses, digest));
        self.tell(at, Word::Judged { update, verdict });
    }

    /// A segment ends, and the next begins; or training is looked at again.
    fn segment_due(&mut self, at: Place) {
        if let Some(segment) = self.machines[at].segment.take() {
            let honest = self.machines[at].attack != Some(Attack::Cheats);
            let rules = &self.run.rules;
            let steps = self.scenario.work.steps;
            let parameters = rules.parameter_count();
            let draft = segment.finish(rules.top_k(), parameters, steps, honest, &mut self.learning);
            self.machines[at].disk.keep_carry(draft.carry.clone());
            self.figures.authored += 1;
            self.tell(at, Word::Author(Box::new(draft)));
        }
        self.begin_segment(at);
    }

    /// Begins a segment on what the peer holds, if it may train.
    pub(crate) fn begin_segment(&mut self, at: Place) {
        let machine = &mut self.machines[at];
        let Some(node) = machine.node.as_ref().filter(|node| node.is_caught_up()) else { return };
        if !self.is_training || !machine.is_author || machine.segment.is_some() {
            return;
        }
        machine.segment = Some(Segment::begin(&node.snapshot()));
        let jitter = machine.segment_time * u32::try_from(self.dice.below(256)).unwrap_or(0) / 1024;
        let ends = self.now + machine.segment_time + jitter;
        let life = machine.life;
        self.queue.plan(ends, Happening::Segment { at, life });
    }

    /// A process starts on what its disk holds, and is given a few addresses.
    pub(crate) fn start(&mut self, at: Place) {
        let machine = &self.machines[at];
        if machine.node.is_some() || machine.is_gone {
            return;
        }
        let seed = self.seed ^ ((at as u64) << 32) ^ u64::from(machine.life);
        let waking = seam::Waking {
            identity: machine.identity.clone(),
            seed,
            is_author: machine.is_author,
            incarnation: 1 + u64::from(machine.life),
            address_book: machine.disk.book(),
            stored: machine.disk.read(),
            is_on_loopback: self.translators.are_all_open(),
            relay: self.translators.volunteers(at),
        };
        let node = seam::awaken(&self.scenario, &self.run, waking);
        self.machines[at].begin(self.now, node);
        self.note(at, at, usize::MAX);
        let machine = &self.machines[at];
        let what = format!(
            "starts: {:?}, {}",
            machine.id,
            machine.attack.map_or("honest".to_owned(), |attack| format!("{attack:?}"))
        );
        self.write_down(at, &what);
        self.tell(at, Word::Time);
        for other in self.introductions(at) {
            self.tell(at, Word::Introduce(self.translators.address(other)));
        }
        self.begin_segment(at);
    }

    fn introductions(&mut self, at: Place) -> Vec<Place> {
        let open = self.translators.are_all_open();
        // Where there are translators an invitation names founders that anyone can dial, whether they run yet or not.
        let known = |other: &Place| {
            let listens = self.translators.is_open(*other) && *other < self.scenario.founders;
            if open { self.machines[*other].life > 0 } else { listens }
        };
        let mut others: Vec<Place> = (0..self.machines.len()).filter(|other| *other != at && known(other)).collect();
        others.retain(|other| !self.machines[*other].is_gone);
        while others.len() > self.scenario.introductions {
            let surplus = self.dice.index(others.len());
            others.swap_remove(surplus);
        }
        others
    }
}
