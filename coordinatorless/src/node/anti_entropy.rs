//! Anti-entropy: now and then a peer and a random neighbour compare what they hold, and pull what is missing. When the
//! sets are equal the states must be, too; a difference is a bug or an attack, and is told.

use murmur_collectives::{BASE_AUTHORS_MAX, Hash, PeerId, VersionVector};

use super::Node;
use crate::{Closing, Digest, Event, Message, Want};

impl Node {
    pub(super) fn anti_entropy_due(&mut self) {
        if self.gossip.anti_entropy_at > self.now {
            return;
        }
        let hurry = self.finish.is_begun() || !self.catch_up.is_done();
        let every = if hurry { self.config.finish_every } else { self.config.anti_entropy_every };
        let jitter = u32::try_from(self.below(256)).unwrap_or(0);
        self.gossip.anti_entropy_at = self.now + every * (896 + jitter) / 1024;
        self.retry_all_pending();
        let peers: Vec<PeerId> = self.neighbours.iter().filter(|(_, n)| n.is_near()).map(|(peer, _)| peer).collect();
        if self.finish.is_begun() {
            peers.into_iter().for_each(|peer| self.send_digest(peer, false));
        } else if !peers.is_empty() {
            let peer = peers[self.below(peers.len())];
            self.send_digest(peer, true);
        }
    }

    pub(super) fn send_digest(&mut self, to: PeerId, reply: bool) {
        if self.is_staging() {
            return self.send_empty_digest(to, reply);
        }
        let log = self.fold.log();
        let head = |(author, count): (PeerId, u32)| log.head_at(&author, count).map_or([0; 8], |hash| hash.prefix());
        let digest = Digest {
            run: self.fold.run(),
            vector: log.version().to_components(),
            heads: log.version().iter().map(head).collect(),
            root: self.state_root(),
            idle: self.is_idle(),
            finishing: self.finish.is_begun(),
            reply,
            epoch: self.fold.epochs().number(),
            frontier: self.fold.epochs().newest().frontier.name(),
        };
        self.send(to, &Message::Digest(digest));
    }

    /// While a final frontier is being fetched the set is about to be another: nothing is claimed.
    fn send_empty_digest(&mut self, to: PeerId, reply: bool) {
        let digest = Digest {
            run: self.fold.run(),
            vector: Vec::new(),
            heads: Vec::new(),
            root: Hash::NONE,
            idle: false,
            finishing: false,
            reply,
            epoch: 0,
            frontier: Hash::NONE,
        };
        self.send(to, &Message::Digest(digest));
    }

    pub(super) fn on_digest(&mut self, from: PeerId, digest: &Digest) {
        if digest.run != self.fold.run() {
            return self.send_away(from, Closing::OtherRun);
        }
        let vector = match VersionVector::from_components(&digest.vector) {
            Ok(vector) if digest.heads.len() == vector.len() && vector.len() <= BASE_AUTHORS_MAX => vector,
            Ok(_) | Err(_) => return self.strike(from, "malformed digest".to_owned()),
        };
        if let Some(neighbour) = self.neighbours.entry(&from) {
            neighbour.known = vector.clone();
            neighbour.digest = Some((vector.clone(), digest.root));
            neighbour.idle = digest.idle;
            neighbour.finishing = digest.finishing;
            neighbour.epoch = (digest.epoch, digest.frontier);
        }
        self.note_all(&vector);
        self.on_greeted(from);
        self.look_for_forks(from, digest);
        self.compare_states(from, &vector, digest);
        self.compare_epochs(from, digest.epoch, digest.frontier);
        if digest.reply {
            self.send_digest(from, false);
        }
    }

    fn look_for_forks(&mut self, from: PeerId, digest: &Digest) {
        for (component, head) in digest.vector.iter().zip(&digest.heads) {
            let held = self.fold.log().head_at(&component.author, component.count);
            if held.is_some_and(|hash| hash.prefix() != *head && *head != [0; 8]) {
                let want = Want { author: component.author, from: component.count - 1, count: 1, payloads: false };
                self.send(from, &Message::Want(want));
            }
        }
    }

    fn compare_states(&mut self, from: PeerId, vector: &VersionVector, digest: &Digest) {
        if digest.epoch != self.fold.epochs().number()
            || vector.is_empty()
            || vector != self.fold.log().version()
            || self.is_staging()
        {
            return;
        }
        let ours = self.state_root();
        if ours == digest.root {
            self.roots_compared.0 += 1;
        } else {
            self.roots_compared.1 += 1;
            self.tell(Event::Diverged { peer: from, theirs: digest.root, ours });
        }
    }
}
