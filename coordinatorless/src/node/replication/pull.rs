//! Pull: what some neighbour is known to hold and this peer lacks is requested once, of the neighbour that serves best.

use murmur_collectives::PeerId;

use super::{
    Context, Mode, Replication, Work,
    gossip::WANT_MAX,
    knowledge::{OWING_TIMEOUTS, Peer},
    later,
};
use crate::{
    Time, Want,
    message::Request,
    node::context::{Core, Network},
};

/// Requests for entries of chains under way at once, to all neighbours together. Requests for single payloads come beside
/// these: they are as many as payloads are wanted, which a final frontier or a fork bounds.
const REQUESTS_MAX: usize = 256;

/// The same to one neighbour, so that a slow one holds up no more than these.
const REQUESTS_EACH: u32 = 32;

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenRequest {
    pub(super) to: PeerId,
    pub(super) deadline: Time,
}

/// A neighbour that holds entries of some author.
struct Holder<'a> {
    id: PeerId,
    peer: &'a Peer,
    /// How many.
    count: u32,
}

impl Holder<'_> {
    fn load(&self) -> (u32, u32) {
        (self.peer.owing, self.peer.asked)
    }

    /// Whether it may be sent one more request.
    fn may_serve(&self, mode: Mode) -> bool {
        let is_finishing = || self.peer.claims.as_ref().is_some_and(|claims| claims.is_finishing);
        self.peer.asked < REQUESTS_EACH && (!mode.is_closing || is_finishing())
    }
}

impl Replication {
    /// Requests whatever some neighbour holds and this peer does not: one request an author, each entry once.
    pub(crate) fn pull(&mut self, cx: &mut Context<'_>) {
        let may = cx.mode.pulls && self.requests.len() < REQUESTS_MAX;
        if may && !self.lacking.is_empty() {
            let lacking: Vec<PeerId> = self.lacking.iter().copied().collect();
            for author in lacking {
                self.pull_author(cx, author);
                if self.requests.len() >= REQUESTS_MAX {
                    break;
                }
            }
        }
        self.pull_payloads(cx);
        self.pull_long(cx);
    }

    /// Asks one of those that hold more of `author`'s chain: one that owes the fewest answers, and of these the least busy.
    fn pull_author(&mut self, cx: &mut Context<'_>, author: PeerId) {
        let held = cx.set.fold.log().reach(&author);
        let is_held = self.holders(&cx.net, &author, held).next().is_some();
        if !is_held || cx.set.fold.log().is_cut(&author, held) {
            self.lacking.remove(&author);
            return;
        }
        let from = self.pending.first_missing(&author, held);
        // If all holders are busy, or what they hold is waiting here for its past already, the author stays on the list.
        let mode = cx.mode;
        let useful: Vec<_> = self.holders(&cx.net, &author, from).filter(|holder| holder.may_serve(mode)).collect();
        let Some((to, count)) = choose(cx.net.core, &useful) else { return };
        let count = (count - from).min(WANT_MAX);
        self.lacking.remove(&author);
        let want = Request::Entries(Want { author, from, count, payloads: true });
        self.requests.insert(author, OpenRequest { to, deadline: cx.net.overdue_at(&want) });
        self.peers.get_mut(&to).into_iter().for_each(|peer| peer.asked += 1);
        cx.net.request(to, want);
    }

    /// Neighbours that hold more than `held` entries of `author`.
    fn holders<'a>(&'a self, net: &Network<'_>, author: &PeerId, held: u32) -> impl Iterator<Item = Holder<'a>> {
        let holder = |id| {
            let peer = self.peers.get(&id)?;
            Some(Holder { id, peer, count: peer.known.count(author) })
        };
        net.peers().filter_map(holder).filter(move |holder| holder.count > held)
    }

    /// Gives up requests that were not answered by their deadline.
    pub(crate) fn requests_due(&mut self, cx: &mut Context<'_>) {
        let now = cx.net.core.now;
        self.long_due(cx);
        for request in self.payloads.values_mut() {
            *request = request.filter(|request| request.deadline > now);
        }
        for (author, request) in self.requests.iter().filter(|(_, request)| request.deadline <= now) {
            later(cx.net.core, Work::Overdue { author: *author, to: request.to });
        }
    }

    /// If a request is not answered by its deadline, what its receiver was said to hold is doubted, and another is asked. A
    /// peer that owes too many answers is struck: it announces what it does not serve.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_>, author: PeerId, to: PeerId) {
        let (now, patience) = (cx.net.core.now, cx.net.core.config.request_timeout * OWING_TIMEOUTS);
        let is_open = self.close_request(&author).is_some();
        let peer = self.peers.get_mut(&to).filter(|_| is_open);
        if peer.is_some_and(|peer| peer.note_silence(now, patience)) {
            cx.net.strike(to, "says it holds what it does not serve".to_owned());
        }
        self.doubt(cx, &to, author);
    }

    /// An answer of `from` held entries of `author`: it closes the request for them, if that was sent to `from`.
    pub(super) fn answered(&mut self, author: &PeerId, from: &PeerId) {
        if self.requests.get(author).is_some_and(|request| request.to == *from) {
            self.close_request(author);
            self.peers.get_mut(from).into_iter().for_each(Peer::note_answer);
        }
    }

    /// The author may still be lacking: the next pull will see.
    fn close_request(&mut self, author: &PeerId) -> Option<OpenRequest> {
        let request = self.requests.remove(author)?;
        self.lacking.insert(*author);
        Some(request)
    }

    /// What `peer` was asked for will be asked of others.
    pub(crate) fn forget_requests_to(&mut self, peer: &PeerId) {
        let asked = self.requests.iter().filter(|(_, request)| request.to == *peer);
        let asked: Vec<PeerId> = asked.map(|(author, _)| *author).collect();
        for author in asked {
            self.close_request(&author);
        }
        for request in self.payloads.values_mut() {
            *request = request.filter(|request| request.to != *peer);
        }
    }
}

/// One of those with the least load, and how many entries it holds.
fn choose(core: &mut Core, useful: &[Holder<'_>]) -> Option<(PeerId, u32)> {
    let least = useful.iter().map(Holder::load).min()?;
    let best: Vec<&Holder<'_>> = useful.iter().filter(|holder| holder.load() == least).collect();
    let chosen = best[core.below(best.len())];
    Some((chosen.id, chosen.count))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Told, id};
    use super::*;
    use crate::EntryName;

    fn announce(bench: &mut Bench, from: u8, author: u8, seq: u32) {
        let names = [EntryName { author: id(author), seq }];
        bench.act(|machine, cx| machine.on_announce(cx, id(from), &names));
    }

    /// Whom the next pull asks, and for how many entries.
    fn asks(bench: &mut Bench) -> Vec<(PeerId, u32)> {
        bench.act(Replication::pull);
        let count = |message| if let crate::Message::Want(want) = message { want.count } else { 0 };
        bench.sent().into_iter().map(|(to, message)| (to, count(message))).collect()
    }

    #[test]
    fn an_entry_is_requested_once_and_of_another_when_no_answer_comes() {
        let mut bench = Bench::new(&[1, 2]);
        announce(&mut bench, 1, 10, 4);
        assert_eq!(asks(&mut bench), [(id(1), 5)]);
        announce(&mut bench, 2, 10, 6);
        assert_eq!(asks(&mut bench), [], "one request an author");

        let deadline = bench.machine.requests[&id(10)].deadline;
        bench.pass(deadline.since(bench.now()));
        bench.act(Replication::requests_due);
        assert_eq!(asks(&mut bench), [(id(2), 7)], "the first is doubted");
        assert_eq!(bench.machine.asked_of(&id(1)), 0);
    }

    #[test]
    fn what_a_lost_neighbour_was_asked_for_is_requested_of_another() {
        let mut bench = Bench::new(&[1, 2]);
        announce(&mut bench, 1, 10, 0);
        assert_eq!(asks(&mut bench), [(id(1), 1)]);
        announce(&mut bench, 2, 10, 0);
        bench.machine.disconnected(&id(1));
        assert_eq!(asks(&mut bench), [(id(2), 1)]);
    }

    #[test]
    fn one_neighbour_has_no_more_than_its_share_of_requests() {
        let mut bench = Bench::new(&[1]);
        (10..60).for_each(|author| announce(&mut bench, 1, author, 0));
        assert_eq!(asks(&mut bench).len(), REQUESTS_EACH as usize);
        assert_eq!(bench.machine.lacking.len(), 50 - REQUESTS_EACH as usize, "the rest is not forgotten");
    }

    #[test]
    fn a_peer_that_closes_pulls_only_from_those_that_finish() {
        let mut bench = Bench::new(&[1]);
        announce(&mut bench, 1, 10, 0);
        bench.mode.is_closing = true;
        assert_eq!(asks(&mut bench), []);
        bench.mode.is_closing = false;
        assert_eq!(asks(&mut bench), [(id(1), 1)]);
    }

    #[test]
    fn a_neighbour_that_announces_what_it_never_serves_is_banned_in_the_end() {
        let mut bench = Bench::new(&[1]);
        let mut told = Vec::new();
        for _ in 0..100 {
            (10..20).for_each(|author| announce(&mut bench, 1, author, 0));
            bench.act(Replication::pull);
            bench.pass(bench.core.config.request_timeout * 2);
            told.extend(bench.act(Replication::requests_due));
        }
        assert!(told.contains(&Told::Banned(id(1))));
    }
}
