//! Anti-entropy: now and then a peer and a random neighbour compare what they hold, and pull what is missing. When the
//! sets are equal the states must be, too; a difference is a bug or an attack, and is told.
//!
//! A digest names what changed since the one before on the same connection, so that its length does not grow with the
//! number of authors. Digests are numbered: who has missed one asks for the whole, which comes now and then anyway.

use std::sync::Arc;

use murmur_collectives::{BASE_AUTHORS_MAX, Component, Hash, PeerId, VersionVector};

use super::{Context, Event, Replication, Work, knowledge::Claims, later};
use crate::{Digest, Message, node::set::Holding};

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

impl Replication {
    /// Retries what waits and sends a digest to a random neighbour, or to all while finishing, if that is due.
    pub(crate) fn anti_entropy_due(&mut self, cx: &mut Context<'_>) {
        if self.anti_entropy_at > cx.net.core.now {
            return;
        }
        let hurry = cx.mode.is_finishing || !cx.mode.is_caught_up;
        let config = &cx.net.core.config;
        let every = if hurry { config.finish_every } else { config.anti_entropy_every };
        self.anti_entropy_at = cx.net.core.now + cx.net.core.jittered(every);
        self.retry_all(cx.net.core);
        later(cx.net.core, Work::Compare);
    }

    /// Does the same now, whenever it would be due.
    pub(crate) fn anti_entropy_now(&mut self, cx: &mut Context<'_>) {
        self.anti_entropy_at = cx.net.core.now;
        self.anti_entropy_due(cx);
    }

    pub(super) fn compare(&mut self, cx: &mut Context<'_>) {
        let peers: Vec<PeerId> = cx.net.near().collect();
        if cx.mode.is_finishing {
            peers.into_iter().for_each(|peer| self.send_digest(cx, peer, false));
        } else if !peers.is_empty() {
            let peer = peers[cx.net.core.below(peers.len())];
            self.send_digest(cx, peer, true);
        }
    }

    /// Tells `to` what this peer holds; with `reply`, asks for the same.
    pub(crate) fn send_digest(&mut self, cx: &mut Context<'_>, to: PeerId, reply: bool) {
        self.say_digest(cx, to, reply, false);
    }

    /// Says what changed since the last digest said to `to`; `lost` asks it to tell the whole itself.
    pub(super) fn say_digest(&mut self, cx: &mut Context<'_>, to: PeerId, reply: bool, lost: bool) {
        if cx.mode.is_staging {
            return self.send_empty_digest(cx, to, reply);
        }
        let Holding { vector, set } = cx.set.holding();
        let (number, before) = self.number_digest(&to, Some(vector.clone()));
        let before = before.filter(|_| !number.is_multiple_of(WHOLE_EVERY));
        let changes = before.map(|before| vector.changes_since(&before)).filter(|some| some.len() < vector.len());
        let (whole, vector) = (changes.is_none(), changes.unwrap_or_else(|| vector.to_components()));
        let log = cx.set.fold.log();
        let head = |c: &Component| log.head_at(&c.author, c.count).map_or([0; 8], |hash| hash.prefix());
        let digest = Digest {
            run: cx.set.fold.run(),
            number,
            whole,
            heads: vector.iter().map(head).collect(),
            vector,
            set,
            root: cx.set.state_root(),
            idle: cx.mode.is_finishing && cx.mode.is_done_auditing && self.awaited() == (0, 0),
            finishing: cx.mode.is_finishing,
            reply,
            lost,
            epoch: cx.set.fold.epochs().number(),
            frontier: cx.set.fold.epochs().newest().frontier.name(),
        };
        cx.net.send(to, &Message::Digest(Box::new(digest)));
    }

    /// While a final frontier is being fetched the set is about to be another: nothing is claimed.
    fn send_empty_digest(&mut self, cx: &mut Context<'_>, to: PeerId, reply: bool) {
        let digest = Digest {
            run: cx.set.fold.run(),
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
        cx.net.send(to, &Message::Digest(Box::new(digest)));
    }

    /// The number of the next digest to `to`, and what the one before told of the set.
    fn number_digest(&mut self, to: &PeerId, tells: Option<Arc<VersionVector>>) -> (u32, Option<Arc<VersionVector>>) {
        let Some(peer) = self.peers.get_mut(to) else { return (1, None) };
        peer.said = peer.said.saturating_add(1);
        (peer.said, core::mem::replace(&mut peer.told, tells))
    }

    /// Takes a digest of a peer.
    pub(crate) fn on_digest(&mut self, cx: &mut Context<'_>, from: PeerId, digest: Box<Digest>) {
        if digest.run != cx.set.fold.run() {
            return cx.net.core.raise(Event::OtherRun(from));
        }
        self.heed_loss(&from, digest.lost);
        match self.hear(&from, &digest) {
            Heard::Set(mut vector) => {
                vector.share(cx.set.fold.log().version());
                self.believe(cx, from, vector, digest);
            }
            Heard::Stale if digest.reply => self.send_digest(cx, from, false),
            Heard::Stale => {}
            Heard::Gap => self.say_digest(cx, from, true, true),
            Heard::Malformed => cx.net.strike(from, "malformed digest".to_owned()),
        }
    }

    /// Answers a digest of an evicted peer with these fields, and believes nothing else that it says.
    pub(crate) fn on_digest_of_evicted(&mut self, cx: &mut Context<'_>, from: PeerId, lost: bool, reply: bool) {
        self.heed_loss(&from, lost);
        if reply {
            self.send_digest(cx, from, false);
        }
    }

    /// If the peer could not understand the digest before, the next one is whole.
    fn heed_loss(&mut self, from: &PeerId, lost: bool) {
        if let Some(peer) = self.peers.get_mut(from).filter(|_| lost) {
            peer.told = None;
        }
    }

    /// The neighbour's set by this digest and those before.
    fn hear(&self, from: &PeerId, digest: &Digest) -> Heard {
        if digest.heads.len() != digest.vector.len() || digest.vector.len() > BASE_AUTHORS_MAX {
            return Heard::Malformed;
        }
        let Some(peer) = self.peers.get(from) else { return Heard::Stale };
        if peer.claims.as_ref().map_or(0, |claims| claims.number) >= digest.number {
            return Heard::Stale;
        }
        let heard = if digest.whole {
            VersionVector::from_components(&digest.vector)
        } else {
            let before = peer.claims.as_ref().filter(|claims| digest.number == claims.number + 1);
            let Some(mut vector) = before.map(|claims| claims.vector.clone()) else { return Heard::Gap };
            vector.change(&digest.vector).map(|()| vector)
        };
        match heard {
            Ok(vector) if vector.len() <= BASE_AUTHORS_MAX => Heard::Set(vector),
            Ok(_) | Err(_) => Heard::Malformed,
        }
    }

    /// Notes what a neighbour holds and claims; then the connection counts as a neighbour's, and the sets are compared.
    fn believe(&mut self, cx: &mut Context<'_>, from: PeerId, vector: VersionVector, digest: Box<Digest>) {
        self.note_all(cx, &vector);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.known = vector.clone();
            peer.claims = Some(Claims {
                vector,
                root: digest.root,
                is_idle: digest.idle,
                is_finishing: digest.finishing,
                epoch: (digest.epoch, digest.frontier),
                number: digest.number,
            });
        }
        cx.net.core.raise(Event::Greeted(from));
        later(cx.net.core, Work::Told { from, digest });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Told, id, pair};
    use super::*;

    #[test]
    fn a_digest_tells_what_changed_and_who_missed_one_asks_for_the_whole() {
        let (mut one, mut two) = pair();
        (10..14).for_each(|author| one.learn(2, author));
        let whole = one.say(2);
        one.learn(2, 14);
        let changes = one.say(2);
        assert_eq!((whole.whole, whole.vector.len()), (true, 4));
        assert_eq!((changes.whole, changes.vector.len()), (false, 1));

        assert_eq!(two.hear(1, &changes), [], "it follows a digest that never came");
        let asks = two.digests().remove(0);
        assert!(asks.lost && asks.reply);
        assert_eq!(two.hear(1, &whole), [Told::Greeted(id(1)), Told::Epoch(id(1))]);
        assert_eq!(two.hear(1, &changes), [Told::Greeted(id(1)), Told::Epoch(id(1))]);
        assert_eq!(two.machine.known(&id(1)), Some(one.set.fold.log().version()));
        assert_eq!(two.hear(1, &whole), [], "an old one says nothing");

        one.hear(2, &asks);
        assert!(one.digests().remove(0).whole);
    }

    #[test]
    fn nothing_is_claimed_while_a_final_frontier_is_fetched_nor_rest_while_something_is_awaited() {
        let mut bench = Bench::new(&[1]);
        bench.learn(1, 10);
        bench.mode.is_finishing = true;
        assert!(bench.say(1).idle);
        bench.machine.want_payloads(&[(id(10), 0)]);
        assert!(!bench.say(1).idle);
        bench.mode.is_staging = true;
        let empty = bench.say(1);
        assert!(empty.vector.is_empty() && empty.root == Hash::NONE && !empty.finishing);
    }

    #[test]
    fn while_finishing_all_neighbours_are_told_and_else_one_is_asked() {
        let mut bench = Bench::new(&[1, 2, 3]);
        bench.act(Replication::anti_entropy_due);
        let asked = bench.digests();
        assert!(asked.len() == 1 && asked[0].reply);
        bench.act(Replication::anti_entropy_due);
        assert!(bench.digests().is_empty(), "not due again yet");

        bench.mode.is_finishing = true;
        bench.act(Replication::anti_entropy_now);
        let told = bench.digests();
        assert!(told.len() == 3 && told.iter().all(|digest| !digest.reply));
    }

    #[test]
    fn an_evicted_peer_is_answered_if_it_asks_and_with_the_whole_if_it_missed_a_digest() {
        let mut bench = Bench::new(&[1]);
        bench.learn(1, 10);
        assert!(bench.say(1).whole && !bench.say(1).whole);
        bench.act(|machine, cx| machine.on_digest_of_evicted(cx, id(1), true, true));
        assert!(bench.digests().remove(0).whole);
        bench.act(|machine, cx| machine.on_digest_of_evicted(cx, id(1), false, false));
        assert!(bench.digests().is_empty());
    }
}
