//! Learning from others what is final: certificates are asked for when a neighbour knows a newer epoch, checked from the
//! newest one known here on, and followed by log where that is still served, by checkpoint otherwise.

use core::time::Duration;

use murmur_collectives::{Certificate, Epochs, Frontier, Hash, Judgement, NotFinal, PeerId, Proposal, Vote};

use super::Node;
use crate::{Message, Proven};

/// Certificates in one answer, at most.
const CERTIFICATES_MAX: usize = 64;

/// Certificates are asked for at most this often.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Epochs behind from which the entries between are no longer served.
const LOG_SERVES: u32 = 2;

impl Node {
    /// `peer` knows that `epoch` is final: asks it for the proof, now and then.
    pub(super) fn seek_epoch(&mut self, peer: PeerId, epoch: u32) {
        let learned = u32::try_from(self.finality.learned.len()).unwrap_or(0);
        if self.finality.is_on() && epoch > self.set.fold.epochs().number() {
            self.ask_certificates(peer, self.set.fold.epochs().number() + learned + 1);
        }
    }

    fn ask_certificates(&mut self, peer: PeerId, from: u32) {
        if self.core.now >= self.finality.sought_until {
            self.finality.sought_until = self.core.now + ASK_EVERY;
            self.send(peer, &Message::WantCertificates { from });
        }
    }

    /// A neighbour said what is final there.
    pub(super) fn compare_epochs(&mut self, peer: PeerId, epoch: u32, name: Hash) {
        if !self.finality.is_on() || self.is_staging() {
            return;
        }
        match self.set.fold.epochs().name(epoch) {
            None => self.seek_epoch(peer, epoch),
            Some(ours) if ours == name => self.connectivity.neighbours_mut().set_fallen(&peer, false),
            // Another history: the certificates say which one stands.
            Some(_) => {
                let recent = self.set.fold.epochs().number().saturating_sub(CERTIFICATES_MAX as u32 - 2);
                self.ask_certificates(peer, recent.max(1));
            }
        }
    }

    pub(super) fn on_want_certificates(&mut self, from: PeerId, first: u32) {
        let start = (first.max(1) - 1) as usize;
        let chain: Vec<Proven> =
            self.finality.chain.iter().skip(start).take(CERTIFICATES_MAX).map(|c| self.proven(c)).collect();
        if !chain.is_empty() {
            self.send(from, &Message::Certificates { chain });
        }
    }

    /// `peer` still votes on an epoch that is decided here: shows it the proof. Also before this peer has caught up: it may
    /// be the only one that saw the decision.
    pub(super) fn show_decision(&mut self, peer: PeerId, votes: &[Vote]) {
        let number = self.set.fold.epochs().number();
        let decided = votes.iter().map(|vote| vote.epoch).filter(|epoch| (1..=number).contains(epoch)).max();
        if let Some(epoch) =
            decided.filter(|_| self.connectivity.neighbours_mut().may_show(&peer, self.core.now, ASK_EVERY))
        {
            self.on_want_certificates(peer, epoch);
        }
    }

    fn proven(&self, certificate: &Certificate) -> Proven {
        let rows = self.set.fold.epochs().rows(certificate.frontier.epoch).unwrap_or_default().to_vec();
        Proven { certificate: certificate.clone(), rows }
    }

    pub(super) fn on_certificates(&mut self, from: PeerId, chain: Vec<Proven>) {
        if !self.finality.is_on() || self.is_staging() || chain.len() > CERTIFICATES_MAX {
            return;
        }
        let Some(previous) = chain.first().and_then(|proven| self.frontier_before(&proven.certificate)) else { return };
        let certificates: Vec<Certificate> = chain.iter().map(|proven| proven.certificate.clone()).collect();
        self.finality.sought_until = self.core.now;
        match Epochs::follow(self.set.fold.run(), self.set.fold.rules(), &previous, &certificates) {
            Ok(_) => {}
            // It continues another history: where they part says which one stands.
            Err(NotFinal::Order) if !follows(&certificates, &previous) && previous.epoch > 0 => {
                let earlier = previous.epoch.saturating_sub(CERTIFICATES_MAX as u32 - 2);
                return self.ask_certificates(from, earlier.max(1));
            }
            Err(error) => return self.strike(from, error.to_string()),
        }
        match self.first_conflict(&certificates) {
            Some(at) if self.stands_against_ours(&certificates[at]) => self.follow_other(from, &chain, at),
            Some(_) => self.connectivity.neighbours_mut().set_fallen(&from, true),
            None => self.learn_final(from, chain),
        }
    }

    /// The frontier that the first of a chain of certificates must follow, if that is known.
    fn frontier_before(&self, first: &Certificate) -> Option<Frontier> {
        let epoch = first.frontier.epoch.checked_sub(1)?;
        if epoch == 0 {
            return Some(Frontier::genesis(self.set.fold.rules()));
        }
        self.finality.chain.iter().chain(&self.finality.learned).nth(epoch as usize - 1).map(|c| c.frontier.clone())
    }

    fn first_conflict(&self, chain: &[Certificate]) -> Option<usize> {
        let epochs = self.set.fold.epochs();
        chain.iter().position(|c| epochs.name(c.frontier.epoch).is_some_and(|name| name != c.frontier.name()))
    }

    fn stands_against_ours(&self, theirs: &Certificate) -> bool {
        let ours = self.finality.chain.get(theirs.frontier.epoch as usize - 1);
        let previous = self.frontier_before(theirs);
        ours.zip(previous).is_some_and(|(ours, previous)| theirs.is_stronger(ours, &previous))
    }

    /// Two histories met, and the other one stands: this peer begins again from its newest frontier.
    fn follow_other(&mut self, from: PeerId, chain: &[Proven], at: usize) {
        let kept = chain[at].certificate.frontier.epoch as usize - 1;
        let mut certificates: Vec<Certificate> = self.finality.chain[..kept].to_vec();
        certificates.extend(chain[at..].iter().map(|proven| proven.certificate.clone()));
        if let Some(proposal) = chain.last().and_then(whole) {
            self.begin_staging(from, certificates, proposal);
        }
    }

    /// What continues what is final here: the next one by log if the entries are still served, else by checkpoint.
    fn learn_final(&mut self, from: PeerId, chain: Vec<Proven>) {
        let number = self.set.fold.epochs().number();
        let known = number as usize + self.finality.learned.len();
        let fresh: Vec<Proven> = chain.into_iter().filter(|p| p.certificate.frontier.epoch as usize > known).collect();
        let (Some(first), Some(last)) = (fresh.first().cloned(), fresh.last()) else { return };
        let newest = last.certificate.frontier.epoch;
        let hopeless = self.finality.getting.is_hopeless;
        let next = first.certificate.frontier.epoch == number + 1 && !self.catch_up.is_blank();
        if !self.is_believed(&fresh) {
            let checked = whole(&first).filter(|_| next);
            return checked.into_iter().for_each(|proposal| self.decide_if_right(from, &first.certificate, proposal));
        }
        let by_log = next && newest <= number + LOG_SERVES && !hopeless;
        if let (true, Some(proposal)) = (by_log, whole(&first)) {
            return self.decide(first.certificate, proposal);
        }
        match whole(last) {
            Some(proposal) => {
                let certificates = self.finality.chain.iter().chain(&self.finality.learned).cloned();
                let certificates = certificates.chain(fresh.iter().map(|p| p.certificate.clone())).collect();
                self.begin_staging(from, certificates, proposal);
            }
            None => {
                self.finality.learned.extend(fresh.into_iter().map(|proven| proven.certificate));
                self.ask_certificates(from, newest + 1);
            }
        }
    }

    /// What only work stands behind, any stranger could have invented. It is final here when all of it is held and it is
    /// right; until then it will be told again.
    fn decide_if_right(&mut self, from: PeerId, certificate: &Certificate, proposal: Proposal) {
        match self.set.fold.judge(&proposal) {
            Judgement::Good => self.decide(certificate.clone(), proposal),
            Judgement::Lacks => {}
            Judgement::Wrong(why) => self.strike(from, format!("a final frontier: {why}")),
        }
    }

    /// Whether certificates that follow what is known here prove something although it is not checked here: voters stand
    /// behind each of them, or more than a third of those neighbours whose work is known here have made one of them theirs.
    /// Whoever knows none of its neighbours has to believe them.
    fn is_believed(&self, chain: &[Proven]) -> bool {
        let newest = self.finality.learned.last().map_or(&*self.set.fold.epochs().newest().frontier, |c| &c.frontier);
        let frontiers = chain.iter().map(|proven| &proven.certificate.frontier);
        let links = core::iter::once(newest).chain(frontiers).zip(chain);
        if links.into_iter().all(|(previous, next)| next.certificate.is_backed(self.set.fold.rules(), previous)) {
            return true;
        }
        let log = self.set.fold.log();
        let claims = |(epoch, name): (u32, Hash)| {
            chain.iter().any(|p| p.certificate.frontier.epoch == epoch && p.certificate.frontier.name() == name)
        };
        let (mut theirs, mut all) = (0, 0);
        for peer in self.neighbours().into_iter().filter(|peer| self.set.fold.is_trusted(peer, log.version())) {
            let tokens = u128::from(log.tokens_of(&peer));
            all += tokens;
            theirs += if claims(self.replication.epoch_at(&peer)) { tokens } else { 0 };
        }
        3 * theirs > all || all == 0
    }
}

/// Whether the first certificate names `previous` as the frontier before it.
fn follows(chain: &[Certificate], previous: &Frontier) -> bool {
    chain.first().is_some_and(|first| first.frontier.previous == previous.name())
}

fn whole(proven: &Proven) -> Option<Proposal> {
    let proposal = Proposal { frontier: proven.certificate.frontier.clone(), rows: proven.rows.clone() };
    proposal.is_whole().then_some(proposal)
}
