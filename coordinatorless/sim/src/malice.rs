//! Hostile peers: a real node whose messages are bent on their way out, by somebody who holds its key.

use murmur_collectives::{Ballot, Body, Entry, Hash, Identity, Vote};
use murmur_coordinatorless::{EntryName, Item, Message, Want};
use murmur_verification::Attack;

use crate::{dice::Dice, queue::Place, seam::DATAGRAM};

/// Messages of others remembered for repeating.
const OVERHEARD: usize = 32;

/// Entries asked for again and again by a flood, in one go.
const FLOOD: usize = 20;

/// What a hostile peer remembers.
#[derive(Debug)]
pub(crate) struct Malice {
    run: Hash,
    dice: Dice,
    overheard: Vec<Vec<u8>>,
    /// The frontier it voted for before the one it votes for now.
    voted: [Hash; 2],
}

/// What goes out: priority and bytes.
type Outgoing = Vec<(usize, Vec<u8>)>;

impl Malice {
    pub(crate) fn new(run: Hash, seed: u64, place: Place) -> Self {
        let dice = Dice::new(seed ^ ((place as u64) << 32), "malice");
        Self { run, dice, overheard: Vec::new(), voted: [Hash::NONE; 2] }
    }

    /// Listens to what others say.
    pub(crate) fn overhear(&mut self, bytes: &[u8]) {
        if self.overheard.len() < OVERHEARD {
            self.overheard.push(bytes.to_vec());
        } else {
            let at = self.dice.index(OVERHEARD);
            self.overheard[at] = bytes.to_vec();
        }
    }

    /// What a peer that plays `attack` sends to `to` instead of `bytes`.
    pub(crate) fn instead(
        &mut self,
        attack: Attack,
        me: &Identity,
        to: Place,
        priority: usize,
        bytes: Vec<u8>,
    ) -> Outgoing {
        if priority == DATAGRAM && attack != Attack::Garbles {
            return vec![(priority, bytes)];
        }
        match attack {
            Attack::Garbles => self.garble(priority, bytes),
            Attack::Replays => self.replay(me, priority, bytes),
            Attack::Withholds if is_entries(&bytes) => Vec::new(),
            Attack::Corrupts => vec![(priority, self.corrupt(bytes))],
            Attack::Lies => vec![(priority, self.lie(bytes))],
            Attack::Floods => self.flood(priority, bytes),
            Attack::Forks => vec![(priority, fork(me, to, bytes))],
            Attack::Votes => vec![(priority, self.vote(me, to, bytes))],
            // Attacks on work and in audits: their messages are honest.
            Attack::Withholds | Attack::Cheats | Attack::Accuses | Attack::Skips | Attack::Copies => {
                vec![(priority, bytes)]
            }
        }
    }

    fn garble(&mut self, priority: usize, mut bytes: Vec<u8>) -> Outgoing {
        match self.dice.below(12) {
            0 => {
                let length = self.dice.index(400);
                vec![(priority, bytes), (0, self.dice.bytes(length))]
            }
            1 => {
                let at = self.dice.index(bytes.len());
                bytes[at] ^= 1 << self.dice.below(8);
                vec![(priority, bytes)]
            }
            2 => vec![(priority, bytes), (0, vec![0; 100_000])],
            _ => vec![(priority, bytes)],
        }
    }

    fn replay(&mut self, me: &Identity, priority: usize, bytes: Vec<u8>) -> Outgoing {
        let mut out = vec![(priority, bytes)];
        if self.dice.happens(30) && !self.overheard.is_empty() {
            let again = self.overheard[self.dice.index(self.overheard.len())].clone();
            out.push((priority, again.clone()));
            if self.dice.happens(10)
                && let Some(other) = in_another_run(me, &again)
            {
                out.push((priority, other));
            }
        }
        out
    }

    fn corrupt(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(message) = Message::decode(&bytes) else { return bytes };
        if let Message::Chunk { root, index, bytes: mut chunk } = message {
            self.bend(&mut chunk);
            return Message::Chunk { root, index, bytes: chunk }.encode();
        }
        let Message::Entries { mut items } = message else { return bytes };
        if let Some(payload) = items.first_mut().and_then(|item| item.payload.as_mut()) {
            self.bend(payload);
        }
        Message::Entries { items }.encode()
    }

    /// Turns one bit.
    fn bend(&mut self, bytes: &mut [u8]) {
        let at = self.dice.index(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
    }

    fn lie(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(Message::Digest(mut digest)) = Message::decode(&bytes) else { return bytes };
        let more = u32::try_from(self.dice.between([1, 1000])).unwrap_or(1);
        digest.vector.iter_mut().for_each(|component| component.count = component.count.saturating_add(more));
        digest.root = Hash(self.dice.bytes(32).try_into().unwrap_or([2; 32]));
        if self.dice.happens(50) {
            digest.epoch = digest.epoch.saturating_add(more);
        }
        Message::Digest(digest).encode()
    }

    /// Peers at odd places are told that it voted for another frontier, and now and then that it committed to it.
    fn vote(&mut self, me: &Identity, to: Place, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(Message::Votes { mut votes }) = Message::decode(&bytes) else { return bytes };
        for vote in &votes {
            if vote.frontier != self.voted[1] {
                self.voted = [self.voted[1], vote.frontier];
            }
        }
        for vote in votes.iter_mut().filter(|vote| vote.voter == me.peer_id() && to % 2 == 1) {
            let ballot = if self.dice.happens(30) { Ballot::Commit } else { vote.ballot };
            *vote = Vote::sign(me, self.run, vote.epoch, vote.round, ballot, self.voted[0]);
        }
        Message::Votes { votes }.encode()
    }

    fn flood(&mut self, priority: usize, bytes: Vec<u8>) -> Outgoing {
        let mut out = Outgoing::new();
        if let Ok(Message::Digest(digest)) = Message::decode(&bytes) {
            for component in digest.vector.iter().take(FLOOD) {
                let want = Want { author: component.author, from: 0, count: u32::MAX, payloads: true };
                out.push((1, Message::Want(want).encode()));
            }
            let entries =
                (0..1000).map(|seq| EntryName { author: digest.vector.first().map_or(me_not(), |c| c.author), seq });
            out.push((0, Message::Announce { entries: entries.collect() }.encode()));
        }
        out.push((priority, bytes));
        out
    }
}

/// An author that does not exist.
fn me_not() -> murmur_collectives::PeerId {
    murmur_collectives::PeerId([0; 32])
}

fn is_entries(bytes: &[u8]) -> bool {
    matches!(Message::decode(bytes), Ok(Message::Entries { .. }))
}

/// Peers at odd places are shown another version of the newest own update.
fn fork(me: &Identity, to: Place, bytes: Vec<u8>) -> Vec<u8> {
    if to.is_multiple_of(2) {
        return bytes;
    }
    let Ok(Message::Entries { mut items }) = Message::decode(&bytes) else { return bytes };
    for item in &mut items {
        if let Ok(entry) = Entry::check(item.entry.clone())
            && entry.author() == me.peer_id()
            && let Body::Update(update) = &entry.header().body
        {
            let mut header = entry.to_header();
            let loss_micronats = update.loss_micronats + 1;
            header.body = Body::Update(murmur_collectives::Update { loss_micronats, ..update.clone() });
            item.entry = Entry::sign(me, header).to_wire();
        }
    }
    Message::Entries { items }.encode()
}

/// The first entry of a message, signed for another run.
fn in_another_run(me: &Identity, bytes: &[u8]) -> Option<Vec<u8>> {
    let Ok(Message::Entries { items }) = Message::decode(bytes) else { return None };
    let first = Entry::check(items.first()?.entry.clone()).ok()?;
    let header = murmur_collectives::Header { run: Hash([3; 32]), author: me.peer_id(), ..first.to_header() };
    let item = Item { entry: Entry::sign(me, header).to_wire(), payload: None };
    Some(Message::Entries { items: vec![item] }.encode())
}
