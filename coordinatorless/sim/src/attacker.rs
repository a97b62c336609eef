//! Hostile peers. An attacker is a real node whose outgoing messages are rewritten by an adversary that holds its key.

use murmur_collectives::{Ballot, Body, Entry, Hash, Identity, Vote};
use murmur_coordinatorless::{EntryName, Item, Message, Want};
use murmur_verification::Attack;

use crate::{node_io::DATAGRAM, queue::MachineIndex, rng::SeededRng};

/// Received messages an attacker keeps for later replays.
const REPLAY_POOL_MAX: usize = 32;

/// Pull requests a flooding attacker adds to each digest it sends.
const FLOOD_REQUESTS_MAX: usize = 20;

/// State an attacker keeps between messages.
#[derive(Debug)]
pub(crate) struct Attacker {
    run: Hash,
    rng: SeededRng,
    replay_pool: Vec<Vec<u8>>,
    /// The last two frontiers it voted for, the older one first.
    vote_targets: [Hash; 2],
}

/// Messages to send in place of one honest message: priority and bytes.
type Outgoing = Vec<(usize, Vec<u8>)>;

impl Attacker {
    pub(crate) fn new(run: Hash, seed: u64, index: MachineIndex) -> Self {
        let rng = SeededRng::new(seed ^ ((index as u64) << 32), "malice");
        Self { run, rng, replay_pool: Vec::new(), vote_targets: [Hash::NONE; 2] }
    }

    /// Keeps a received message for later replays; a full pool overwrites a random entry.
    pub(crate) fn record_message(&mut self, bytes: &[u8]) {
        if self.replay_pool.len() < REPLAY_POOL_MAX {
            self.replay_pool.push(bytes.to_vec());
        } else {
            let slot = self.rng.index(REPLAY_POOL_MAX);
            self.replay_pool[slot] = bytes.to_vec();
        }
    }

    /// The messages that an attacker running `attack` sends to `to` in place of `bytes`.
    pub(crate) fn replace_outgoing(
        &mut self,
        attack: Attack,
        me: &Identity,
        to: MachineIndex,
        priority: usize,
        bytes: Vec<u8>,
    ) -> Outgoing {
        // Datagrams carry membership. Of the attacks only garbling applies to them.
        if priority == DATAGRAM && attack != Attack::Garbles {
            return vec![(priority, bytes)];
        }
        match attack {
            Attack::Garbles => self.garble(priority, bytes),
            Attack::Replays => self.replay(me, priority, bytes),
            Attack::Withholds if is_entries(&bytes) => Vec::new(),
            Attack::Corrupts => vec![(priority, self.corrupt(bytes))],
            Attack::Lies => vec![(priority, self.forge_digest(bytes))],
            Attack::Floods => self.flood(priority, bytes),
            Attack::Forks => vec![(priority, equivocate(me, to, bytes))],
            Attack::Votes => vec![(priority, self.equivocate_votes(me, to, bytes))],
            // These attacks change the work or the audit verdict; their messages are honest.
            Attack::Withholds | Attack::Cheats | Attack::Accuses | Attack::Skips | Attack::Copies => {
                vec![(priority, bytes)]
            }
        }
    }

    fn garble(&mut self, priority: usize, mut bytes: Vec<u8>) -> Outgoing {
        match self.rng.below(12) {
            0 => {
                let length = self.rng.index(400);
                vec![(priority, bytes), (0, self.rng.bytes(length))]
            }
            1 => {
                let at = self.rng.index(bytes.len());
                bytes[at] ^= 1 << self.rng.below(8);
                vec![(priority, bytes)]
            }
            2 => vec![(priority, bytes), (0, vec![0; 100_000])],
            _ => vec![(priority, bytes)],
        }
    }

    fn replay(&mut self, me: &Identity, priority: usize, bytes: Vec<u8>) -> Outgoing {
        let mut out = vec![(priority, bytes)];
        if self.rng.chance(30) && !self.replay_pool.is_empty() {
            let again = self.replay_pool[self.rng.index(self.replay_pool.len())].clone();
            out.push((priority, again.clone()));
            if self.rng.chance(10)
                && let Some(other) = sign_for_another_run(me, &again)
            {
                out.push((priority, other));
            }
        }
        out
    }

    fn corrupt(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(message) = Message::decode(&bytes) else { return bytes };
        if let Message::Chunk { root, index, bytes: mut chunk } = message {
            self.flip_bit(&mut chunk);
            return Message::Chunk { root, index, bytes: chunk }.encode();
        }
        if let Message::PayloadChunk { root, index, bytes: mut chunk } = message {
            self.flip_bit(&mut chunk);
            return Message::PayloadChunk { root, index, bytes: chunk }.encode();
        }
        let Message::Entries { mut items } = message else { return bytes };
        if let Some(payload) = items.first_mut().and_then(|item| item.payload.as_mut()) {
            self.flip_bit(payload);
        }
        Message::Entries { items }.encode()
    }

    /// Flips one bit.
    fn flip_bit(&mut self, bytes: &mut [u8]) {
        let at = self.rng.index(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
    }

    fn forge_digest(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(Message::Digest(mut digest)) = Message::decode(&bytes) else { return bytes };
        let more = u32::try_from(self.rng.between([1, 1000])).unwrap_or(1);
        digest.vector.iter_mut().for_each(|component| component.count = component.count.saturating_add(more));
        digest.root = Hash(self.rng.bytes(32).try_into().unwrap_or([2; 32]));
        if self.rng.chance(50) {
            digest.epoch = digest.epoch.saturating_add(more);
        }
        Message::Digest(digest).encode()
    }

    /// Sends machines with an odd index a vote for the previous frontier, and in 30 % of the votes a commit for it.
    fn equivocate_votes(&mut self, me: &Identity, to: MachineIndex, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(Message::Votes { mut votes }) = Message::decode(&bytes) else { return bytes };
        for vote in &votes {
            if vote.frontier != self.vote_targets[1] {
                self.vote_targets = [self.vote_targets[1], vote.frontier];
            }
        }
        for vote in votes.iter_mut().filter(|vote| vote.voter == me.peer_id() && to % 2 == 1) {
            let ballot = if self.rng.chance(30) { Ballot::Precommit } else { vote.ballot };
            *vote = Vote::sign(me, self.run, vote.epoch, vote.round, ballot, self.vote_targets[0]);
        }
        Message::Votes { votes }.encode()
    }

    fn flood(&mut self, priority: usize, bytes: Vec<u8>) -> Outgoing {
        let mut out = Outgoing::new();
        if let Ok(Message::Digest(digest)) = Message::decode(&bytes) {
            for component in digest.vector.iter().take(FLOOD_REQUESTS_MAX) {
                let want = Want { author: component.author, from: 0, count: u32::MAX, payloads: true };
                out.push((1, Message::Want(want).encode()));
            }
            // Most of these entries do not exist, so the receiver pulls them in vain.
            let entries = (0..1000)
                .map(|seq| EntryName { author: digest.vector.first().map_or(nonexistent_author(), |c| c.author), seq });
            out.push((0, Message::Announce { entries: entries.collect() }.encode()));
        }
        out.push((priority, bytes));
        out
    }
}

/// An author without a chain.
fn nonexistent_author() -> murmur_collectives::PeerId {
    murmur_collectives::PeerId([0; 32])
}

/// Whether it holds entries, or part of the payload of one.
fn is_entries(bytes: &[u8]) -> bool {
    matches!(Message::decode(bytes), Ok(Message::Entries { .. } | Message::PayloadChunk { .. }))
}

/// Sends machines with an odd index a second version of the newest own update.
fn equivocate(me: &Identity, to: MachineIndex, bytes: Vec<u8>) -> Vec<u8> {
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

/// Signs the first entry of a message for another run.
fn sign_for_another_run(me: &Identity, bytes: &[u8]) -> Option<Vec<u8>> {
    let Ok(Message::Entries { items }) = Message::decode(bytes) else { return None };
    let first = Entry::check(items.first()?.entry.clone()).ok()?;
    let header = murmur_collectives::Header { run: Hash([3; 32]), author: me.peer_id(), ..first.to_header() };
    let item = Item { entry: Entry::sign(me, header).to_wire(), payload: None };
    Some(Message::Entries { items: vec![item] }.encode())
}
