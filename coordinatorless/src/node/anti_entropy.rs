//! Anti-entropy: now and then a peer and a random neighbour compare what they hold, and pull what is missing. When the
//! sets are equal the states must be, too; a difference is a bug or an attack, and is told.
//!
//! A digest names what changed since the one before on the same connection, so that its length does not grow with the
//! number of authors. Digests are numbered: who has missed one asks for the whole, which comes now and then anyway.

use std::sync::Arc;

use murmur_collectives::{BASE_AUTHORS_MAX, Component, Hash, PeerId, VersionVector};

use super::{Node, set::Holding};
use crate::{Closing, Digest, Event, Message, Want};

/// One digest in this many is whole, so that nothing can stay misunderstood.
const WHOLE_EVERY: u32 = 16;

/// What a digest that came in is.
enum Heard {
    /// The neighbour's set.
    Set(VersionVector),
    /// Older than what is known.
    Stale,
    /// Changes to something that never came.
    Gap,
    /// Nothing that an honest peer says.
    Malformed,
}

impl Node {
    pub(super) fn anti_entropy_due(&mut self) {
        if self.gossip.anti_entropy_at > self.core.now {
            return;
        }
        let hurry = self.finish.is_begun() || !self.catch_up.is_done();
        let every = if hurry { self.core.config.finish_every } else { self.core.config.anti_entropy_every };
        self.gossip.anti_entropy_at = self.core.now + self.core.jittered(every);
        self.retry_all_pending();
        let peers: Vec<PeerId> =
            self.connectivity.neighbours().iter().filter(|(_, n)| n.is_near()).map(|(peer, _)| peer).collect();
        if self.finish.is_begun() {
            peers.into_iter().for_each(|peer| self.send_digest(peer, false));
        } else if !peers.is_empty() {
            let peer = peers[self.core.below(peers.len())];
            self.send_digest(peer, true);
        }
    }

    pub(super) fn send_digest(&mut self, to: PeerId, reply: bool) {
        self.say_digest(to, reply, false);
    }

    /// Says what changed since the last digest said to `to`; `lost` asks it to tell the whole itself.
    fn say_digest(&mut self, to: PeerId, reply: bool, lost: bool) {
        if self.is_staging() {
            return self.send_empty_digest(to, reply);
        }
        let Holding { vector, set } = self.set.holding();
        let (number, before) = self.number_digest(&to, Some(vector.clone()));
        let before = before.filter(|_| !number.is_multiple_of(WHOLE_EVERY));
        let changes = before.map(|before| vector.changes_since(&before)).filter(|some| some.len() < vector.len());
        let (whole, vector) = (changes.is_none(), changes.unwrap_or_else(|| vector.to_components()));
        let log = self.set.fold.log();
        let head = |c: &Component| log.head_at(&c.author, c.count).map_or([0; 8], |hash| hash.prefix());
        let digest = Digest {
            run: self.set.fold.run(),
            number,
            whole,
            heads: vector.iter().map(head).collect(),
            vector,
            set,
            root: self.set.state_root(),
            idle: self.is_idle(),
            finishing: self.finish.is_begun(),
            reply,
            lost,
            epoch: self.set.fold.epochs().number(),
            frontier: self.set.fold.epochs().newest().frontier.name(),
        };
        self.send(to, &Message::Digest(Box::new(digest)));
    }

    /// While a final frontier is being fetched the set is about to be another: nothing is claimed.
    fn send_empty_digest(&mut self, to: PeerId, reply: bool) {
        let digest = Digest {
            run: self.set.fold.run(),
            number: self.number_digest(&to, None).0,
            whole: true,
            vector: Vec::new(),
            heads: Vec::new(),
            set: Hash::NONE,
            root: Hash::NONE,
            idle: false,
            finishing: false,
            reply,
            lost: false,
            epoch: 0,
            frontier: Hash::NONE,
        };
        self.send(to, &Message::Digest(Box::new(digest)));
    }

    /// The number of the next digest to `to`, and what the one before told of the set.
    fn number_digest(&mut self, to: &PeerId, tells: Option<Arc<VersionVector>>) -> (u32, Option<Arc<VersionVector>>) {
        let Some(neighbour) = self.connectivity.neighbours_mut().entry(to) else { return (1, None) };
        neighbour.said = neighbour.said.saturating_add(1);
        (neighbour.said, core::mem::replace(&mut neighbour.told, tells))
    }

    pub(super) fn on_digest(&mut self, from: PeerId, digest: &Digest) {
        if digest.run != self.set.fold.run() {
            return self.send_away(from, Closing::OtherRun);
        }
        if let Some(neighbour) = self.connectivity.neighbours_mut().entry(&from).filter(|_| digest.lost) {
            neighbour.told = None;
        }
        match self.hear(&from, digest) {
            Heard::Set(mut vector) => {
                vector.share(self.set.fold.log().version());
                self.on_set(from, &vector, digest);
            }
            Heard::Stale if digest.reply => self.send_digest(from, false),
            Heard::Stale => {}
            Heard::Gap => self.say_digest(from, true, true),
            Heard::Malformed => self.strike(from, "malformed digest".to_owned()),
        }
    }

    /// The neighbour's set by this digest and those before.
    fn hear(&mut self, from: &PeerId, digest: &Digest) -> Heard {
        if digest.heads.len() != digest.vector.len() || digest.vector.len() > BASE_AUTHORS_MAX {
            return Heard::Malformed;
        }
        let Some(neighbour) = self.connectivity.neighbours_mut().entry(from) else { return Heard::Stale };
        if digest.number <= neighbour.heard {
            return Heard::Stale;
        }
        let heard = if digest.whole {
            VersionVector::from_components(&digest.vector)
        } else {
            let known = neighbour.digest.as_ref().filter(|_| digest.number == neighbour.heard + 1);
            let Some(mut vector) = known.map(|(vector, _)| vector.clone()) else { return Heard::Gap };
            vector.change(&digest.vector).map(|()| vector)
        };
        match heard {
            Ok(vector) if vector.len() <= BASE_AUTHORS_MAX => Heard::Set(vector),
            Ok(_) | Err(_) => Heard::Malformed,
        }
    }

    /// A neighbour's set is known.
    fn on_set(&mut self, from: PeerId, vector: &VersionVector, digest: &Digest) {
        if let Some(neighbour) = self.connectivity.neighbours_mut().entry(&from) {
            neighbour.known = vector.clone();
            neighbour.digest = Some((vector.clone(), digest.root));
            neighbour.heard = digest.number;
            neighbour.idle = digest.idle;
            neighbour.finishing = digest.finishing;
            neighbour.epoch = (digest.epoch, digest.frontier);
        }
        self.note_all(vector);
        self.connectivity.greeted(&mut self.core, from);
        self.look_for_forks(from, digest);
        let is_fork_hidden = self.compare_states(from, vector, digest);
        self.compare_epochs(from, digest.epoch, digest.frontier);
        if digest.reply || is_fork_hidden {
            self.say_digest(from, is_fork_hidden, is_fork_hidden);
        }
    }

    fn look_for_forks(&mut self, from: PeerId, digest: &Digest) {
        for (component, head) in digest.vector.iter().zip(&digest.heads) {
            let held = self.set.fold.log().head_at(&component.author, component.count);
            if held.is_some_and(|hash| hash.prefix() != *head && *head != [0; 8]) {
                let want = Want { author: component.author, from: component.count - 1, count: 1, payloads: false };
                self.send(from, &Message::Want(want));
            }
        }
    }

    /// Compares the states if the sets are equal. True if they only look so, and the digest does not say where they differ.
    fn compare_states(&mut self, from: PeerId, vector: &VersionVector, digest: &Digest) -> bool {
        if digest.epoch != self.set.fold.epochs().number()
            || vector.is_empty()
            || vector != self.set.fold.log().version()
            || self.is_staging()
        {
            return false;
        }
        if self.set.holding().set != digest.set {
            return !digest.whole;
        }
        let ours = self.set.state_root();
        if ours == digest.root {
            self.roots_compared.0 += 1;
        } else {
            self.roots_compared.1 += 1;
            self.core.tell(Event::Diverged { peer: from, theirs: digest.root, ours });
        }
        false
    }
}
