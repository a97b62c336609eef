//! Decisions: from the vote that decides to the moment a frontier is final here.
//!
//! A certificate may come before the entries that its frontier contains. The decision then waits for them, and this peer
//! votes on nothing else: what follows could not be judged without them.

use murmur_collectives::{Certificate, Hash, Proposal};

use super::{Context, Event, Finality, epoch_start::segments_under_way};

/// A certified frontier.
#[derive(Debug)]
pub(super) struct Decision {
    certificate: Certificate,
    proposal: Proposal,
}

impl Decision {
    pub(super) fn name(&self) -> Hash {
        self.certificate.frontier.name()
    }

    pub(super) fn proposal(&self) -> &Proposal {
        &self.proposal
    }
}

impl Finality {
    pub(super) fn look_for_decision(&mut self, cx: &mut Context<'_>) {
        let Some(certificate) = self.consensus.rounds(cx).certificate() else { return };
        let name = certificate.frontier.name();
        if let Some(proposal) = self.consensus.proposal(&name).cloned() {
            self.decide(cx, certificate, proposal);
        }
    }

    /// A frontier is certified: it becomes final as soon as its entries are held.
    pub(super) fn decide(&mut self, cx: &mut Context<'_>, certificate: Certificate, proposal: Proposal) {
        cx.set.fold.expect_final(&proposal);
        cx.set.changed();
        let before = self.decision.replace(Decision { certificate, proposal });
        self.begin_fetch(cx, before.map(|decision| decision.name()));
        self.finalize_decision(cx);
    }

    /// Makes a decided frontier final if its entries are held by now.
    pub(crate) fn finalize(&mut self, cx: &mut Context<'_>) {
        if self.is_on() {
            self.finalize_decision(cx);
        }
    }

    fn finalize_decision(&mut self, cx: &mut Context<'_>) {
        let Some(decision) = &self.decision else { return };
        let held = cx.set.fold.holds(&decision.proposal);
        let missing = cx.set.fold.payloads_to_finalize(&decision.proposal);
        if held && !missing.is_empty() {
            // Excluding entries changes the weights of others, whose payloads then have to be added to the state again.
            return cx.want_payloads(&missing);
        }
        let Some(Decision { certificate, proposal }) = self.decision.take_if(|_| held) else { return };
        let (epoch, clock) = (certificate.frontier.epoch, certificate.frontier.clock);
        match cx.set.fold.finalize(&certificate, proposal) {
            Ok(out) => {
                self.begin_epoch(cx);
                self.certificates.push(certificate);
                cx.core().tell(crate::Event::Final { epoch, clock, excluded: out.len() as u64 });
                cx.core().raise(Event::Finalized);
            }
            Err(error) => {
                let (peer, reason) = (self.me, error.to_string());
                cx.core().tell(crate::Event::BadInput { peer, reason });
            }
        }
    }

    /// The set is about to be replaced by one that begins at the newest frontier of `chain`.
    pub(crate) fn adopt(&mut self, cx: &mut Context<'_>, chain: Vec<Certificate>) {
        self.begin_epoch(cx);
        self.certificates.replace(chain);
    }

    /// Another frontier is the newest: everything about the decision of the one before is void.
    fn begin_epoch(&mut self, cx: &mut Context<'_>) {
        cx.set.changed();
        self.consensus.end_epoch();
        self.pacemaker.end_epoch();
        self.epoch_start.end_epoch();
        self.backpressure = Default::default();
        self.decision = None;
        self.progress = Default::default();
        self.certificates.forget_learned();
        self.epoch_start.wait_for(segments_under_way(cx));
        cx.forget_wanted_payloads();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Joining;
    use super::super::bench::{Bench, all_say, exchange, voters};
    use super::*;
    use crate::Time;

    /// Voters that decided once, what they said, and a founder that holds nothing and is told the proof.
    fn decided_without(joining: Joining) -> (Vec<Bench>, Vec<super::super::bench::Said>, Bench) {
        let (mut benches, mut said) = voters(4);
        all_say(&mut benches, &mut said, Bench::update);
        let mut late = Bench::among(3, 4, None);
        late.joining = joining;
        late.connect(benches[0].id());
        exchange(&mut benches, Time(1));
        let (id, teller) = (late.id(), benches[0].id());
        benches[0].take(crate::Message::WantCertificates { from: 1 }, id);
        for output in benches[0].outputs() {
            if let crate::Output::Send { bytes, .. } = output {
                late.take(crate::Message::decode(&bytes).expect("its own"), teller);
            }
        }
        (benches, said, late)
    }

    #[test]
    fn a_decision_waits_for_its_entries_and_holds_back_votes() {
        let (benches, said, mut late) = decided_without(Joining::CaughtUp);
        assert!(late.finality.awaits_entries() && late.raised().is_empty());
        for entry in &said {
            late.settle();
            assert_eq!(late.set.fold.epochs().number(), 0);
            late.insert(entry);
        }
        late.settle();
        assert!(matches!(late.raised().as_slice(), [Event::Finalized]));
        assert_eq!(late.finality.certificates(), benches[0].finality.certificates());
        assert!(!late.finality.awaits_entries());
    }

    #[test]
    fn a_peer_that_holds_nothing_has_the_final_state_fetched() {
        let (benches, _, mut late) = decided_without(Joining::Blank);
        let raised = late.raised();
        let [Event::FetchFinal { from, chain, proposal }] = raised.as_slice() else { panic!("{raised:?}") };
        assert_eq!((*from, chain.as_slice()), (benches[0].id(), benches[0].finality.certificates()));
        assert!(proposal.is_whole());
    }

    #[test]
    fn adopting_another_history_forgets_the_decision_under_way() {
        let (benches, _, mut late) = decided_without(Joining::CaughtUp);
        let chain = benches[0].finality.certificates().to_vec();
        late.run(|finality, cx| finality.adopt(cx, chain.clone()));
        assert!(!late.finality.awaits_entries());
        assert_eq!(late.finality.certificates(), chain);
    }
}
