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

use super::{Connectivity, Context, dialing::Purpose};
use crate::{Closing, Output, Time, node::context::Core};

/// How soon after a change the neighbourhood is looked at.
const SOON: Duration = Duration::from_millis(50);

/// The address book goes to the host this often, at most.
const BOOK_EVERY: Duration = Duration::from_secs(5);

/// When to look again.
#[derive(Default, Debug)]
pub(crate) struct View {
    look_at: Time,
    heal_at: Time,
    book_at: Time,
}

impl View {
    pub(crate) fn next_deadline(&self, book_changed: bool) -> Time {
        let book = if book_changed { self.book_at } else { Time(u64::MAX) };
        self.look_at.min(self.heal_at).min(book)
    }
}

impl Connectivity {
    /// As many near neighbours as there should be at least, and at most.
    fn neighbours_wanted(&self, cx: &Context<'_>) -> (usize, usize) {
        let swarm = cx.swarm.members.len() + 1;
        let (target, most) = (cx.core.config.neighbours_target, cx.core.config.neighbours_max);
        if swarm <= target {
            return (target.min(most), (2 * target).min(most * 3 / 4)); // the rest is for those who come for one exchange
        }
        let few = (2 * swarm.ilog2() as usize).max(8).min(target).min(most);
        (few, (2 * few).min(most))
    }

    /// Whether a connection that somebody else made should become near.
    pub(crate) fn wants_neighbours(&self, cx: &Context<'_>) -> bool {
        self.neighbours.near_count() < self.neighbours_wanted(cx).1
    }

    /// Whether the swarm is small enough to know everyone.
    pub(crate) fn is_full_mesh(&self, cx: &Context<'_>) -> bool {
        cx.swarm.members.len() < cx.core.config.neighbours_target
    }

    pub(crate) fn look_around_soon(&mut self, now: Time) {
        self.view.look_at = self.view.look_at.min(now + SOON);
    }

    /// Whether it is time to look at the neighbourhood; if so, the next time is set.
    pub(crate) fn is_look_due(&mut self, core: &mut Core) -> bool {
        let is_due = self.view.look_at <= core.now;
        if is_due {
            self.view.look_at = core.now + core.jittered(core.config.look_around_every);
        }
        is_due
    }

    /// Heals and keeps the book.
    pub(crate) fn view_due(&mut self, cx: &mut Context<'_>) {
        if self.view.heal_at <= cx.core.now {
            let lonely = self.neighbours.near_count() == 0;
            let every = if lonely { cx.core.config.look_around_every } else { cx.core.config.heal_every };
            self.view.heal_at = cx.core.now + cx.core.jittered(every);
            self.heal(cx);
        }
        if self.view.book_at <= cx.core.now && self.address_book.has_changes() {
            self.view.book_at = cx.core.now + BOOK_EVERY;
            let changes = self.address_book.take_changes();
            changes.into_iter().for_each(|peers| cx.core.outputs.push_back(Output::AddressBook { peers }));
        }
    }

    /// Dials random peers until there are neighbours enough.
    pub(crate) fn look_around(&mut self, cx: &mut Context<'_>) {
        let searches = self.reachability.count_for_view(&self.dialing);
        let coming = self.neighbours.near_count() + self.dialing.count_for_view() + searches;
        let lacking = self.neighbours_wanted(cx).0.saturating_sub(coming);
        if lacking == 0 || cx.swarm.is_finishing {
            return;
        }
        let mut candidates = self.candidates(cx);
        for _ in 0..lacking.min(candidates.len()) {
            let at = cx.core.below(candidates.len());
            let peer = candidates.swap_remove(at);
            self.seek(cx, peer, Purpose::View);
        }
    }

    fn candidates(&self, cx: &Context<'_>) -> Vec<PeerId> {
        let sought = self.dialing.sought();
        let free = |peer: &PeerId| {
            !self.neighbours.is_connected(peer) && !sought.contains(peer) && !self.reachability.seeks(peer)
        };
        self.address_book.ready(cx.core.now).filter(|peer| *peer != cx.core.id() && free(peer)).collect()
    }

    /// Of the neighbours too many a quarter goes, random ones: so the view changes slowly.
    pub(crate) fn thin_out(&mut self, cx: &mut Context<'_>) {
        let excess = self.neighbours.near_count().saturating_sub(self.neighbours_wanted(cx).1);
        let mut near: Vec<PeerId> = self.neighbours.iter().filter(|(_, n)| n.is_near()).map(|(peer, _)| peer).collect();
        for _ in 0..excess.div_ceil(4) {
            let at = cx.core.below(near.len());
            let peer = near.swap_remove(at);
            self.part(cx, peer, Closing::Full);
        }
    }

    pub(crate) fn close_idle(&mut self, cx: &mut Context<'_>) {
        let before =
            Time(cx.core.now.0.saturating_sub(u64::try_from(cx.core.config.idle_after.as_micros()).unwrap_or(0)));
        let idle = self.neighbours.iter().filter(|(_, n)| !n.is_greeted() && n.heard_at.max(n.used_at) < before);
        let idle: Vec<PeerId> = idle.map(|(peer, _)| peer).collect();
        idle.into_iter().for_each(|peer| self.part(cx, peer, Closing::Idle));
    }

    /// Dials a random peer that is remembered and not a member now. One that is back is met again this way.
    fn heal(&mut self, cx: &mut Context<'_>) {
        if cx.swarm.is_finishing {
            return;
        }
        let mut lost = self.candidates(cx);
        lost.retain(|peer| !cx.swarm.members.contains(peer));
        if !lost.is_empty() {
            let peer = lost[cx.core.below(lost.len())];
            self.seek(cx, peer, Purpose::Heal);
        }
    }
}
