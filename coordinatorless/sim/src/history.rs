//! The digest of a history: every output of every peer with its time, encoded as numbers and bytes that do not change
//! when a type or variant is renamed.

use blake3::Hasher;
use murmur_coordinatorless::{Closing, DownReason, EntryName, Event, Kind, Output, PeerAddress, StoredEntry, Time};

use crate::queue::MachineIndex;

/// Hashes inputs and outputs in order. Two runs with equal digests had the same inputs and outputs at the same times.
#[derive(Default)]
pub(crate) struct History(Hasher);

impl History {
    /// The digest so far, in hexadecimal.
    pub(crate) fn digest(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }

    /// Adds an input: `length` bytes from `from` reached the machine at `at`.
    pub(crate) fn input(&mut self, now: Time, at: MachineIndex, from: MachineIndex, length: usize) {
        self.numbers([now.0, at as u64, from as u64, length as u64]);
    }

    /// Adds an output of the peer at `at`.
    pub(crate) fn output(&mut self, now: Time, at: MachineIndex, output: &Output) {
        self.numbers([now.0, at as u64]);
        match output {
            Output::Append { record, durable } => {
                self.numbers([0, u64::from(*durable)]);
                self.record(record);
            }
            Output::AddressBook { peers } => {
                self.numbers([1, peers.len() as u64]);
                peers.iter().for_each(|peer| self.address(peer));
            }
            Output::Close { peer, reason } => {
                self.numbers([2, closing(*reason)]);
                self.bytes(&peer.0);
            }
            Output::Compact(compacted) => {
                self.numbers([3, u64::from(compacted.epoch)]);
                self.bytes(&compacted.proof);
                for cell in compacted.state.iter() {
                    self.0.update(&cell.to_le_bytes());
                }
                compacted.records.iter().for_each(|record| self.record(record));
            }
            Output::Datagram { to, bytes } => {
                self.numbers([4]);
                self.bytes(&to.0);
                self.bytes(bytes);
            }
            Output::Dial { address, expect } => {
                self.numbers([5]);
                self.bytes(address.to_string().as_bytes());
                self.bytes(expect.as_ref().map_or(&[], |peer| &peer.0));
            }
            Output::DialThrough { relay, peer } => {
                self.numbers([6]);
                self.bytes(&relay.0);
                self.bytes(&peer.0);
            }
            Output::Event(event) => self.event(event),
            Output::KeepChunk { root, index, bytes } => {
                self.numbers([8, u64::from(*index)]);
                self.bytes(&root.0);
                self.bytes(bytes);
            }
            Output::Reset => self.numbers([9]),
            Output::Send { to, kind, bytes } => {
                self.numbers([10, priority(*kind)]);
                self.bytes(&to.0);
                self.bytes(bytes);
            }
            Output::Signing { bytes } => {
                self.numbers([11]);
                self.bytes(bytes);
            }
        }
    }

    /// Adds an event, without the reason texts of [`Event::BadInput`] and [`Event::Banned`]: rewording a text must not
    /// change a history.
    fn event(&mut self, event: &Event) {
        match event {
            Event::Applied { update, tokens, weight_q16, age_tokens: _ } => {
                self.name(100, update);
                self.numbers([*tokens, u64::from(*weight_q16)]);
            }
            Event::AuditReady { update } => self.name(101, update),
            Event::Audited { update, auditor, passed } => {
                self.name(102, update);
                self.tagged(u64::from(*passed), &auditor.0);
            }
            Event::BadInput { peer, .. } => self.tagged(103, &peer.0),
            Event::Banned { peer, lasts, .. } => {
                self.tagged(104, &peer.0);
                self.numbers([u64::try_from(lasts.as_micros()).unwrap_or(u64::MAX)]);
            }
            Event::CaughtUp => self.numbers([105]),
            Event::Departed { peer } => self.tagged(106, &peer.0),
            Event::Diverged { peer, theirs, ours } => {
                self.tagged(107, &peer.0);
                self.bytes(&theirs.0);
                self.bytes(&ours.0);
            }
            Event::Evicted { peer, .. } => self.tagged(108, &peer.0),
            Event::Final { epoch, clock, excluded } => self.numbers([109, u64::from(*epoch), *clock, *excluded]),
            Event::Finished { agreed } => self.numbers([110, u64::from(*agreed)]),
            Event::Unfinished { delays } => self.numbers([111, delays.len() as u64]),
            Event::IdentityInUse => self.numbers([112]),
            Event::Stalled { tokens } => self.numbers([113, *tokens]),
            Event::Resumed => self.numbers([114]),
            Event::Joined { peer } => self.tagged(115, &peer.0),
            Event::MemberDown { peer, reason } => {
                self.tagged(116, &peer.0);
                self.numbers([u64::from(*reason == DownReason::Left)]);
            }
            Event::MemberUp { peer } => self.tagged(117, &peer.0),
            Event::Usurped => self.numbers([118]),
        }
    }

    fn name(&mut self, tag: u64, name: &EntryName) {
        self.tagged(tag, &name.author.0);
        self.numbers([u64::from(name.seq)]);
    }

    fn tagged(&mut self, tag: u64, bytes: &[u8]) {
        self.numbers([tag]);
        self.bytes(bytes);
    }

    fn record(&mut self, record: &StoredEntry) {
        self.bytes(&record.entry.header);
        self.bytes(&record.entry.signature);
        self.bytes(record.payload.as_deref().unwrap_or_default());
    }

    fn address(&mut self, peer: &PeerAddress) {
        self.bytes(&peer.peer.0);
        self.bytes(peer.address().to_string().as_bytes());
    }

    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        for number in numbers {
            self.0.update(&number.to_le_bytes());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.numbers([bytes.len() as u64]);
        self.0.update(bytes);
    }
}

fn closing(reason: Closing) -> u64 {
    match reason {
        Closing::Evicted => 0,
        Closing::Full => 1,
        Closing::Idle => 2,
        Closing::Goodbye => 3,
        Closing::Misbehaved => 4,
        Closing::OtherRun => 5,
    }
}

fn priority(kind: Kind) -> u64 {
    match kind {
        Kind::Control => 0,
        Kind::Header => 1,
        Kind::Payload => 2,
        Kind::Bulk => 3,
    }
}
