//! The view: the set of neighbours. A small swarm is a full mesh; in a large one each peer keeps a few random
//! neighbours, which change slowly.
//!
//! With `k = max(8, 2 · log2 N)` random neighbours each, a swarm of N peers stays connected with high probability,
//! and an entry reaches all peers in O(log N) steps (the argument of HyParView: Leitão, Pereira, Rodrigues 2007, with
//! SWIM's member list in place of its passive view). A connection is *near* once either side has sent a digest on it.
//! Other connections serve one exchange, a probe or an audit, and are closed when they have been idle for a while.
//!
//! From time to time this peer dials a stored peer that is believed down, so that two halves of a partition find each
//! other again.

use core::time::Duration;

use murmur_collectives::PeerId;

use super::{Connectivity, Context, dialing::Purpose};
use crate::{Closing, Output, Time, node::context::Core};

/// The delay between a change and the look at the view that it causes, so that several changes cause only one.
const LOOK_DELAY: Duration = Duration::from_millis(50);

/// The shortest time between two address books for the host.
const ADDRESS_BOOK_EVERY: Duration = Duration::from_secs(5);

/// The deadlines of the periodic tasks of the view.
#[derive(Default, Debug)]
pub(crate) struct ViewTimers {
    look_at: Time,
    heal_at: Time,
    book_at: Time,
}

impl ViewTimers {
    /// The time of the next periodic task. `book_changed`: the address book has changes for the host.
    pub(crate) fn next_deadline(&self, book_changed: bool) -> Time {
        let book = if book_changed { self.book_at } else { Time(u64::MAX) };
        self.look_at.min(self.heal_at).min(book)
    }
}

impl Connectivity {
    /// The target and the maximum number of near neighbours.
    fn view_size(&self, cx: &Context<'_>) -> (usize, usize) {
        let swarm = cx.swarm.members.len() + 1;
        let (target, most) = (cx.core.config.neighbours_target, cx.core.config.neighbours_max);
        if swarm <= target {
            // The rest of the places is for connections that serve one exchange.
            return (target.min(most), (2 * target).min(most * 3 / 4));
        }
        let target_here = (2 * swarm.ilog2() as usize).max(8).min(target).min(most);
        (target_here, (2 * target_here).min(most))
    }

    /// Whether an incoming connection should become near.
    pub(crate) fn wants_neighbours(&self, cx: &Context<'_>) -> bool {
        self.neighbours.near_count() < self.view_size(cx).1
    }

    /// Whether the swarm is small enough for a full mesh.
    pub(crate) fn is_full_mesh(&self, cx: &Context<'_>) -> bool {
        cx.swarm.members.len() < cx.core.config.neighbours_target
    }

    /// Brings the next look at the view forward, after a change.
    pub(crate) fn look_around_soon(&mut self, now: Time) {
        self.view.look_at = self.view.look_at.min(now + LOOK_DELAY);
    }

    /// Whether the view is due to be looked at; if so, the next deadline is set.
    pub(crate) fn is_look_due(&mut self, core: &mut Core) -> bool {
        let is_due = self.view.look_at <= core.now;
        if is_due {
            self.view.look_at = core.now + core.jittered(core.config.look_around_every);
        }
        is_due
    }

    /// Dials a lost peer and hands the address book to the host, when either is due.
    pub(crate) fn view_due(&mut self, cx: &mut Context<'_>) {
        if self.view.heal_at <= cx.core.now {
            let alone = self.neighbours.near_count() == 0;
            let every = if alone { cx.core.config.look_around_every } else { cx.core.config.heal_every };
            self.view.heal_at = cx.core.now + cx.core.jittered(every);
            self.heal(cx);
        }
        if self.view.book_at <= cx.core.now && self.address_book.has_changes() {
            self.view.book_at = cx.core.now + ADDRESS_BOOK_EVERY;
            let changes = self.address_book.take_changes();
            changes.into_iter().for_each(|peers| cx.core.outputs.push_back(Output::AddressBook { peers }));
        }
    }

    /// Dials random peers until the number of near neighbours and dials for them reaches the target.
    pub(crate) fn look_around(&mut self, cx: &mut Context<'_>) {
        let searches = self.reachability.count_for_view(&self.dialing);
        let coming = self.neighbours.near_count() + self.dialing.count_for_view() + searches;
        let missing = self.view_size(cx).0.saturating_sub(coming);
        if missing == 0 || cx.swarm.is_finishing {
            return;
        }
        let mut dialable_peers = self.dialable_peers(cx);
        for _ in 0..missing.min(dialable_peers.len()) {
            let at = cx.core.below(dialable_peers.len());
            let peer = dialable_peers.swap_remove(at);
            self.seek(cx, peer, Purpose::View);
        }
    }

    /// The peers with an address that may be dialed now, without those that are connected, dialed or being traversed
    /// to.
    fn dialable_peers(&self, cx: &Context<'_>) -> Vec<PeerId> {
        let sought = self.dialing.sought();
        let free = |peer: &PeerId| {
            !self.neighbours.is_connected(peer) && !sought.contains(peer) && !self.reachability.seeks(peer)
        };
        self.address_book.ready_peers(cx.core.now).filter(|peer| *peer != cx.core.id() && free(peer)).collect()
    }

    /// Closes a quarter of the near neighbours above the maximum, chosen at random. A quarter, so that the view
    /// changes slowly and the peers that lose a neighbour can find another.
    pub(crate) fn thin_out(&mut self, cx: &mut Context<'_>) {
        let excess = self.neighbours.near_count().saturating_sub(self.view_size(cx).1);
        let mut near: Vec<PeerId> = self.neighbours.iter().filter(|(_, n)| n.is_near()).map(|(peer, _)| peer).collect();
        for _ in 0..excess.div_ceil(4) {
            let at = cx.core.below(near.len());
            let peer = near.swap_remove(at);
            self.close(cx, peer, Closing::Full);
        }
    }

    /// Closes idle connections to peers that are not neighbours.
    pub(crate) fn close_idle(&mut self, cx: &mut Context<'_>) {
        let before =
            Time(cx.core.now.0.saturating_sub(u64::try_from(cx.core.config.idle_after.as_micros()).unwrap_or(0)));
        let idle = self.neighbours.iter().filter(|(_, n)| !n.is_greeted() && n.heard_at.max(n.used_at) < before);
        let idle: Vec<PeerId> = idle.map(|(peer, _)| peer).collect();
        idle.into_iter().for_each(|peer| self.close(cx, peer, Closing::Idle));
    }

    /// Dials a random peer from the address book that is not a member now, which reconnects to it if it is back.
    fn heal(&mut self, cx: &mut Context<'_>) {
        if cx.swarm.is_finishing {
            return;
        }
        let mut lost = self.dialable_peers(cx);
        lost.retain(|peer| !cx.swarm.members.contains(peer));
        if !lost.is_empty() {
            let peer = lost[cx.core.below(lost.len())];
            self.seek(cx, peer, Purpose::Heal);
        }
    }
}
