//! Whom to be connected with: everyone while the swarm is small, a slowly changing random few of a large one.
//!
//! With `k = max(8, 2 · log2 N)` random neighbours each, a swarm of N stays connected with high probability, and news
//! crosses it in O(log N) steps (the reasoning of HyParView: Leitão, Pereira, Rodrigues 2007, with SWIM's member list in
//! the place of its passive view). A connection is *near* once a digest has been sent or heard on it. Others serve one
//! exchange, a probe or an audit, and are closed when nothing was said on them for a while.
//!
//! Now and then a remembered peer that is believed dead is dialed, so that two halves that lost each other meet again.

use core::time::Duration;

use murmur_collectives::PeerId;

use super::{Node, dialing::Purpose};
use crate::{Closing, Output, Time};

/// How soon after a change the neighbourhood is looked at.
const SOON: Duration = Duration::from_millis(50);

/// The address book goes to the host this often, at most.
const BOOK_EVERY: Duration = Duration::from_secs(5);

/// When to look again.
#[derive(Default, Debug)]
pub(super) struct View {
    look_at: Time,
    heal_at: Time,
    book_at: Time,
}

impl View {
    pub(super) fn next_deadline(&self, book_changed: bool) -> Time {
        let book = if book_changed { self.book_at } else { Time(u64::MAX) };
        self.look_at.min(self.heal_at).min(book)
    }
}

impl Node {
    /// As many near neighbours as there should be at least, and at most.
    fn neighbours_wanted(&self) -> (usize, usize) {
        let swarm = self.membership.count() + 1;
        let (target, most) = (self.core.config.neighbours_target, self.core.config.neighbours_max);
        if swarm <= target {
            return (target.min(most), (2 * target).min(most * 3 / 4)); // the rest is for those who come for one exchange
        }
        let few = (2 * swarm.ilog2() as usize).max(8).min(target).min(most);
        (few, (2 * few).min(most))
    }

    /// Whether a connection that somebody else made should become near.
    pub(super) fn wants_neighbours(&self) -> bool {
        self.neighbours.near_count() < self.neighbours_wanted().1
    }

    /// Whether the swarm is small enough to know everyone.
    pub(super) fn is_full_mesh(&self) -> bool {
        self.membership.count() < self.core.config.neighbours_target
    }

    pub(super) fn look_around_soon(&mut self) {
        self.view.look_at = self.view.look_at.min(self.core.now + SOON);
    }

    /// Looks after the neighbourhood, heals, and keeps the book.
    pub(super) fn view_due(&mut self) {
        if self.view.look_at <= self.core.now {
            self.view.look_at = self.core.now + self.core.jittered(self.core.config.look_around_every);
            self.close_idle();
            self.look_around();
            self.thin_out();
            self.announce_where_unknown();
            self.give_up_lost_carries();
        }
        if self.view.heal_at <= self.core.now {
            let lonely = self.neighbours.near_count() == 0;
            let every = if lonely { self.core.config.look_around_every } else { self.core.config.heal_every };
            self.view.heal_at = self.core.now + self.core.jittered(every);
            self.heal();
        }
        if self.view.book_at <= self.core.now && self.address_book.has_changes() {
            self.view.book_at = self.core.now + BOOK_EVERY;
            let changes = self.address_book.take_changes();
            changes.into_iter().for_each(|peers| self.core.outputs.push_back(Output::AddressBook { peers }));
        }
    }

    /// Dials random peers until there are neighbours enough.
    pub(super) fn look_around(&mut self) {
        let searches = self.reaching.count_for_view(&self.dialing);
        let coming = self.neighbours.near_count() + self.dialing.count_for_view() + searches;
        let lacking = self.neighbours_wanted().0.saturating_sub(coming);
        if lacking == 0 || self.own_chain.is_finishing() {
            return;
        }
        let mut candidates = self.candidates();
        for _ in 0..lacking.min(candidates.len()) {
            let at = self.core.below(candidates.len());
            let peer = candidates.swap_remove(at);
            self.seek(peer, Purpose::View);
        }
    }

    fn candidates(&self) -> Vec<PeerId> {
        let sought = self.dialing.sought();
        let free =
            |peer: &PeerId| !self.neighbours.is_connected(peer) && !sought.contains(peer) && !self.reaching.seeks(peer);
        self.address_book.ready(self.core.now).filter(|peer| *peer != self.id() && free(peer)).collect()
    }

    /// Of the neighbours too many a quarter goes, random ones: so the view changes slowly.
    fn thin_out(&mut self) {
        let excess = self.neighbours.near_count().saturating_sub(self.neighbours_wanted().1);
        let mut near: Vec<PeerId> = self.neighbours.iter().filter(|(_, n)| n.is_near()).map(|(peer, _)| peer).collect();
        for _ in 0..excess.div_ceil(4) {
            let at = self.core.below(near.len());
            let peer = near.swap_remove(at);
            self.part(peer, Closing::Full);
        }
    }

    fn close_idle(&mut self) {
        let before =
            Time(self.core.now.0.saturating_sub(u64::try_from(self.core.config.idle_after.as_micros()).unwrap_or(0)));
        let idle = self.neighbours.iter().filter(|(_, n)| !n.is_greeted() && n.heard_at.max(n.used_at) < before);
        let idle: Vec<PeerId> = idle.map(|(peer, _)| peer).collect();
        idle.into_iter().for_each(|peer| self.part(peer, Closing::Idle));
    }

    /// The first announcement may have been lost.
    fn announce_where_unknown(&mut self) {
        let near: Vec<PeerId> = self.neighbours.iter().filter(|(_, n)| n.is_near()).map(|(peer, _)| peer).collect();
        near.into_iter().for_each(|peer| self.announce_self(peer));
    }

    /// Dials a random peer that is remembered and not a member now. One that is back is met again this way.
    fn heal(&mut self) {
        if self.own_chain.is_finishing() {
            return;
        }
        let members: Vec<PeerId> = self.members().iter().map(|member| member.peer).collect();
        let mut lost = self.candidates();
        lost.retain(|peer| members.binary_search(peer).is_err());
        if !lost.is_empty() {
            let peer = lost[self.core.below(lost.len())];
            self.seek(peer, Purpose::Heal);
        }
    }
}
