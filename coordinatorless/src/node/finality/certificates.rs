//! Certificates: proving decisions to peers that took no part, and learning of decisions from neighbours.
//!
//! A peer asks for certificates when a neighbour knows a newer epoch, or another frontier for the same one. It checks them
//! from the newest frontier on that it knows. What they prove it follows entry by entry where the entries are still
//! served, and by fetching the final state where they are not.

use core::time::Duration;

use murmur_collectives::{Certificate, Epochs, Frontier, Hash, Judgement, NotFinal, PeerId, Proposal, Rules, Vote};

use super::{Context, Event, Finality, Joining};
use crate::{Message, Proven, Time, message::Request};

/// Certificates in one answer, at most.
const CERTIFICATES_MAX: usize = 64;

/// Certificates are asked for, and shown to one peer without its asking, at most this often.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Of its final epochs a peer gives up this many at most, for another history that more voters signed.
const REVERTED_MAX: usize = 16;

/// So many epochs behind, the entries in between are still served: peers prune what is older.
const LOG_SERVES: u32 = 2;

/// Certificates that are known here.
#[derive(Default, Debug)]
pub(super) struct Certificates {
    /// Of all final frontiers, from the first on.
    chain: Vec<Certificate>,
    /// Of frontiers after those, checked, while the rest up to the newest is still asked for.
    learned: Vec<Certificate>,
    /// No further request is sent before.
    ask_after: Time,
}

impl Certificates {
    pub(super) fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    pub(super) fn push(&mut self, certificate: Certificate) {
        self.chain.push(certificate);
    }

    pub(super) fn replace(&mut self, chain: Vec<Certificate>) {
        self.chain = chain;
    }

    pub(super) fn forget_learned(&mut self) {
        self.learned.clear();
    }

    fn learned_count(&self) -> u32 {
        u32::try_from(self.learned.len()).unwrap_or(u32::MAX)
    }

    fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.chain.iter().chain(&self.learned)
    }

    /// The frontier that `first` must follow, if it is known here.
    fn frontier_before(&self, rules: &Rules, first: &Certificate) -> Option<Frontier> {
        let epoch = first.frontier.epoch.checked_sub(1)?;
        if epoch == 0 {
            return Some(Frontier::genesis(rules));
        }
        self.all().nth(epoch as usize - 1).map(|certificate| certificate.frontier.clone())
    }

    /// Whether a certificate for an epoch that is final here stands against the one here. One that only work stands behind
    /// never does, because anybody can make up work; nor does any for an epoch long past, whose voters may have left and
    /// have nothing to lose.
    fn is_weaker_than(&self, rules: &Rules, theirs: &Certificate) -> bool {
        let at = theirs.frontier.epoch as usize - 1;
        let Some((ours, previous)) = self.chain.get(at).zip(self.frontier_before(rules, theirs)) else { return false };
        let recent = self.chain.len() - at <= REVERTED_MAX;
        recent && theirs.is_backed(rules, &previous) && theirs.is_stronger(ours, &previous)
    }

    /// A request may be sent at once: the last one was answered.
    fn answered(&mut self, now: Time) {
        self.ask_after = now;
    }

    /// Whether a request may be sent now; if so, the next one has to wait.
    fn may_ask(&mut self, now: Time) -> bool {
        let may = now >= self.ask_after;
        if may {
            self.ask_after = now + ASK_EVERY;
        }
        may
    }
}

impl Finality {
    /// `peer` knows that `epoch` is final: asks it for the proof, unless an answer may be on its way.
    pub(crate) fn seek_epoch(&mut self, cx: &mut Context<'_>, peer: PeerId, epoch: u32) {
        let number = cx.set.fold.epochs().number();
        if self.is_on() && epoch > number {
            self.ask_certificates(cx, peer, number + self.certificates.learned_count() + 1);
        }
    }

    fn ask_certificates(&mut self, cx: &mut Context<'_>, peer: PeerId, from: u32) {
        if self.certificates.may_ask(cx.now()) {
            cx.net.request(peer, Request::Certificates { from });
        }
    }

    /// Compares the newest final frontier of `peer`, by its digest, with the own history.
    pub(crate) fn compare_epochs(&mut self, cx: &mut Context<'_>, peer: PeerId, epoch: u32, name: Hash) {
        if !self.is_on() || cx.joining == Joining::Fetching {
            return;
        }
        match cx.set.fold.epochs().name(epoch) {
            None => self.seek_epoch(cx, peer, epoch),
            Some(ours) if ours == name => self.peers.set_superseded(&peer, false),
            // Another history. Where it parts from this one its certificates say which of the two stands.
            Some(_) => {
                let recent = earlier(cx.set.fold.epochs().number());
                self.ask_certificates(cx, peer, recent);
            }
        }
    }

    /// Answers with certificates from epoch `first` on.
    pub(crate) fn on_want_certificates(&mut self, cx: &mut Context<'_>, from: PeerId, first: u32) {
        let start = (first.max(1) - 1) as usize;
        let certificates = self.certificates.chain.iter().skip(start).take(CERTIFICATES_MAX);
        let chain: Vec<Proven> = certificates.map(|certificate| proven(cx, certificate)).collect();
        if !chain.is_empty() {
            cx.net.send(from, &Message::Certificates { chain });
        }
    }

    /// `peer` still votes on an epoch that is decided here: shows it the proof. Also before this peer has caught up: it may
    /// be the only one that saw the decision, and no other would ever tell.
    pub(super) fn show_decision(&mut self, cx: &mut Context<'_>, peer: PeerId, votes: &[Vote]) {
        let number = cx.set.fold.epochs().number();
        let decided = votes.iter().map(|vote| vote.epoch).filter(|epoch| (1..=number).contains(epoch)).max();
        if let Some(epoch) = decided.filter(|_| self.peers.may_show(&peer, cx.now(), ASK_EVERY)) {
            self.on_want_certificates(cx, peer, epoch);
        }
    }

    pub(crate) fn on_certificates(&mut self, cx: &mut Context<'_>, from: PeerId, chain: Vec<Proven>) {
        if !self.is_on() || cx.joining == Joining::Fetching || chain.len() > CERTIFICATES_MAX {
            return;
        }
        let before = |first: &Proven| self.certificates.frontier_before(&self.rules, &first.certificate);
        let Some(previous) = chain.first().and_then(before) else { return };
        let certificates: Vec<Certificate> = chain.iter().map(|proven| proven.certificate.clone()).collect();
        self.certificates.answered(cx.now());
        match Epochs::follow(cx.set.fold.run(), &self.rules, &previous, &certificates) {
            Ok(_) => {}
            // It continues another history, which parts from this one further back.
            Err(NotFinal::Order) if !follows(&certificates, &previous) && previous.epoch > 0 => {
                return self.ask_certificates(cx, from, earlier(previous.epoch));
            }
            Err(error) => return cx.net.strike(from, error.to_string()),
        }
        match first_conflict(cx, &certificates) {
            Some(at) if self.certificates.is_weaker_than(&self.rules, &certificates[at]) => {
                self.follow_other(cx, from, &chain, at);
            }
            Some(_) => self.peers.set_superseded(&from, true),
            None => self.learn(cx, from, chain),
        }
    }

    /// Two histories met, and from position `at` of `chain` on the other one stands: this peer begins again from its newest
    /// frontier.
    fn follow_other(&mut self, cx: &mut Context<'_>, from: PeerId, chain: &[Proven], at: usize) {
        let kept = chain[at].certificate.frontier.epoch as usize - 1;
        let Some(previous) = self.certificates.frontier_before(&self.rules, &chain[at].certificate) else { return };
        // Who adds to the other history what only work stands behind must not be followed into that.
        let other = &chain[at..at + self.believed(cx, &previous, &chain[at..])];
        let mut certificates: Vec<Certificate> = self.certificates.chain[..kept].to_vec();
        certificates.extend(other.iter().map(|proven| proven.certificate.clone()));
        if let Some(proposal) = other.last().and_then(whole) {
            cx.core().raise(Event::FetchFinal { from, chain: certificates, proposal: Box::new(proposal) });
        }
    }

    /// Follows certificates that continue the own history: the next one by log if its entries are still served, else the
    /// newest by state.
    fn learn(&mut self, cx: &mut Context<'_>, from: PeerId, chain: Vec<Proven>) {
        let number = cx.set.fold.epochs().number();
        let known = self.certificates.learned.len() + number as usize;
        let mut fresh: Vec<Proven> =
            chain.into_iter().filter(|p| p.certificate.frontier.epoch as usize > known).collect();
        let Some(first) = fresh.first().cloned() else { return };
        let is_next = first.certificate.frontier.epoch == number + 1 && cx.joining != Joining::Blank;
        let told = fresh.len();
        fresh.truncate(self.believed_next(cx, &fresh));
        // What is believed only in part, and came without the rows to begin there, is as good as not believed yet.
        let usable = fresh.last().filter(|last| fresh.len() == told || whole(last).is_some());
        let Some(last) = usable else {
            if let Some(proposal) = whole(&first).filter(|_| is_next) {
                self.decide_if_right(cx, from, &first.certificate, proposal);
            }
            return;
        };
        let newest = last.certificate.frontier.epoch;
        let by_log = is_next && newest <= number + LOG_SERVES && !self.progress.is_hopeless();
        if let (true, Some(proposal)) = (by_log, whole(&first)) {
            return self.decide(cx, first.certificate, proposal);
        }
        match whole(last) {
            Some(proposal) => {
                let fresh = fresh.iter().map(|proven| &proven.certificate);
                let chain = self.certificates.all().chain(fresh).cloned().collect();
                cx.core().raise(Event::FetchFinal { from, chain, proposal: Box::new(proposal) });
            }
            // Rows are kept of the newest frontiers only: the answer was full before it came to them.
            None => {
                self.certificates.learned.extend(fresh.into_iter().map(|proven| proven.certificate));
                self.ask_certificates(cx, from, newest + 1);
            }
        }
    }

    /// Decides on what no voter known here has signed, only work: any stranger could have made that up. So it counts once
    /// all its entries are held here and it was checked against them. Until then neighbours will tell of it again.
    fn decide_if_right(&mut self, cx: &mut Context<'_>, from: PeerId, certificate: &Certificate, proposal: Proposal) {
        match cx.set.fold.judge(&proposal) {
            Judgement::Good => self.decide(cx, certificate.clone(), proposal),
            Judgement::Lacks => {}
            Judgement::Wrong(why) => cx.net.strike(from, format!("a final frontier: {why}")),
        }
    }

    /// How many of `chain`, which follows what is known here, are believed.
    fn believed_next(&self, cx: &Context<'_>, chain: &[Proven]) -> usize {
        // A newcomer has nothing to judge by, and nothing to lose.
        if cx.joining == Joining::Blank {
            return chain.len();
        }
        let newest = &cx.set.fold.epochs().newest().frontier;
        let before = self.certificates.learned.last().map_or(&**newest, |certificate| &certificate.frontier);
        self.believed(cx, before, chain)
    }

    /// How many certificates from the start of `chain` on, which follows `previous`, prove something although it cannot be
    /// checked here. One does if neighbours that have more than a third of the votes here, all voters counted whether they
    /// are neighbours or not, have made it or a later one of the chain their newest; and so does one that voters of a
    /// believed frontier stand behind. What follows the last such one may be made up: that those before it are genuine says
    /// nothing of it.
    fn believed(&self, cx: &Context<'_>, previous: &Frontier, chain: &[Proven]) -> usize {
        let held = self.held_by_neighbours(cx, chain);
        let before = held.checked_sub(1).map_or(previous, |last| &chain[last].certificate.frontier);
        let frontiers = chain[held..].iter().map(|proven| &proven.certificate.frontier);
        let links = core::iter::once(before).chain(frontiers).zip(&chain[held..]);
        held + links.take_while(|(previous, next)| next.certificate.is_backed(&self.rules, previous)).count()
    }

    /// How many from the start of `chain` on lead to what neighbours with more than a third of the votes here hold final.
    fn held_by_neighbours(&self, cx: &Context<'_>, chain: &[Proven]) -> usize {
        let newest = &cx.set.fold.epochs().newest().frontier;
        let all: u128 = newest.voters.iter().map(|voter| u128::from(voter.weight)).sum();
        let names: Vec<(u32, Hash)> =
            chain.iter().map(|p| (p.certificate.frontier.epoch, p.certificate.frontier.name())).collect();
        let mut votes = vec![0; chain.len()];
        for (peer, theirs) in cx.epochs_of_peers() {
            if let Some(at) = names.iter().position(|name| *name == theirs) {
                votes[at] += u128::from(newest.weight(&peer));
            }
        }
        // Whoever holds one holds those before it, too.
        let behind = |count: &usize| votes[count - 1..].iter().sum::<u128>();
        (1..=chain.len()).rev().find(|count| 3 * behind(count) > all).unwrap_or(0)
    }
}

/// The epoch from which an answer reaches up to `epoch` and a little beyond; earlier ones come with the next request.
fn earlier(epoch: u32) -> u32 {
    epoch.saturating_sub(CERTIFICATES_MAX as u32 - 2).max(1)
}

/// The position of the first certificate for an epoch whose frontier is another one here.
fn first_conflict(cx: &Context<'_>, chain: &[Certificate]) -> Option<usize> {
    let epochs = cx.set.fold.epochs();
    chain.iter().position(|c| epochs.name(c.frontier.epoch).is_some_and(|name| name != c.frontier.name()))
}

/// Whether the first certificate names `previous` as the frontier before it.
fn follows(chain: &[Certificate], previous: &Frontier) -> bool {
    chain.first().is_some_and(|first| first.frontier.previous == previous.name())
}

fn proven(cx: &Context<'_>, certificate: &Certificate) -> Proven {
    let rows = cx.set.fold.epochs().rows(certificate.frontier.epoch).unwrap_or_default().to_vec();
    Proven { certificate: certificate.clone(), rows }
}

/// The frontier with its rows, if they came with it.
fn whole(proven: &Proven) -> Option<Proposal> {
    let proposal = Proposal { frontier: proven.certificate.frontier.clone(), rows: proven.rows.clone() };
    proposal.is_whole().then_some(proposal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
