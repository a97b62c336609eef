//! Authoring: an own entry is signed, added to the set, and announced like any other.

use std::sync::Arc;

use murmur_collectives::{Body, Enroll, Entry, Equivocation, Hash, Header, Insertion, Update, Verdict, VersionVector};

use super::{Context, Event, OwnChain, Step, Work, position::epoch_within};
use crate::Draft;

impl OwnChain {
    /// Enrolls if the chain is empty, nothing must be fetched first, and this peer wants to.
    pub(crate) fn start(&mut self, cx: &mut Context<'_>) {
        if cx.catch_up.is_done() && cx.net.core.config.enroll_early {
            enroll_if_needed(cx);
        }
    }

    /// Authors an update, unless its segment began in another history.
    pub(crate) fn author_update(&mut self, cx: &mut Context<'_>, draft: Box<Draft>) {
        if cx.set.fold.epochs().name(draft.epoch) != Some(draft.frontier) {
            // Another history took the place of the one that the segment began in: no replay in this one gives its bits.
            return cx.refuse("own segment began in another history: it is lost".to_owned());
        }
        enrolled(cx, Work::Update(draft));
    }

    pub(super) fn update(&mut self, cx: &mut Context<'_>, draft: Draft) {
        let Draft { views, epoch, frontier: _, segment, steps, payload, top, .. } = draft;
        let Draft { loss_micronats, trace, carry_before, carry, .. } = draft;
        let base = views.last().map(|(_, view)| view.clone()).unwrap_or_default();
        let rules = cx.set.fold.rules();
        let norm = murmur_kernels::validate(top, rules.parameter_count(), &payload);
        let norm = norm.expect("the payload was made by this program's own encoder");
        let update = Update {
            segment,
            steps,
            merges: Update::merges_of(&views),
            tokens: u64::from(steps) * u64::from(rules.tokens_per_step),
            payload: Hash(murmur_kernels::blob_root(&payload)),
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            top: top.get(),
            norm: norm.0,
            loss_micronats,
            trace,
            carry_before,
            carry_after: carry.map_or(Hash::NONE, |carry| cx.own_carries.keep(carry, cx.net.core.config.carries_kept)),
            class: cx.net.core.class,
        };
        let epoch = epoch_within(cx.set, &cx.id(), &base, epoch);
        author(cx, &base, epoch, Body::Update(update), Some(payload));
    }

    /// Publishes the result of an audit.
    pub(crate) fn author_verdict(&mut self, cx: &mut Context<'_>, verdict: Verdict) {
        enrolled(cx, Work::Now(Box::new(Body::Verdict(verdict))));
    }

    /// Proves a fork that is not known yet: a peer that repeats what a forger signed does not make this chain longer.
    pub(crate) fn author_evidence(&mut self, cx: &mut Context<'_>, one: &Entry, other: &Entry) {
        let evidence = Equivocation::of(one, other);
        let known = cx.set.fold.log().knows_fork(&evidence.author, evidence.first.seq);
        if cx.catch_up.is_done() && !known && evidence.author != cx.id() {
            enrolled(cx, Work::Now(Box::new(Body::Equivocation(evidence))));
        }
    }

    /// Repeats the proof of a fork that stands in an entry behind others that are not held yet: so it reaches every peer even
    /// if the chain that brought it never gets here.
    pub(crate) fn repeat_evidence(&mut self, cx: &mut Context<'_>, proof: &Entry) {
        if let Body::Equivocation(evidence) = &proof.header().body
            && cx.catch_up.is_done()
        {
            enrolled(cx, Work::Now(Box::new(Body::Equivocation(evidence.clone()))));
        }
    }

    pub(super) fn say_now(&mut self, cx: &mut Context<'_>, body: Body) {
        let base = cx.set.fold.log().version().clone();
        let epoch = cx.set.fold.epoch_to_name(&cx.id());
        author(cx, &base, epoch, body, None);
    }
}

/// Has `work` done once this peer is enrolled.
fn enrolled(cx: &mut Context<'_>, work: Work) {
    enroll_if_needed(cx);
    cx.net.core.raise(Event::Resume(Step(work)));
}

/// Enrolls if the set knows no enrolment of this peer: at first, and again if a final frontier excluded all it ever said.
/// Names the newest epoch, so that it has the longest time to spread; and as its past no more than that epoch asks for,
/// since nothing depends on it: of many that enroll at once none waits for the others, and none lists them all.
fn enroll_if_needed(cx: &mut Context<'_>) {
    if cx.set.fold.log().vrf_key(&cx.id()).is_none() {
        let epochs = cx.set.fold.epochs();
        let (base, epoch) = (epochs.newest().view.clone(), epochs.number());
        let body = Body::Enroll(Enroll { vrf_key: cx.net.core.lottery.public() });
        author(cx, &base, epoch, body, None);
    }
}

/// Signs an entry and adds it to the set. If it may not be signed, or does not fit, the user is told why.
fn author(cx: &mut Context<'_>, base: &VersionVector, epoch: u32, body: Body, payload: Option<Arc<[u8]>>) {
    let me = cx.id();
    if !cx.is_alone {
        return cx
            .refuse("own entry before it was clear that no other process has this identity: not signed".to_owned());
    }
    let next = cx.set.fold.log().next_position(&me);
    if !cx.catch_up.may_sign(next.seq) {
        // What it said there named another history, and a final frontier has yet to exclude it.
        return cx.refuse(format!("own entry {} was signed before in another history: waiting", next.seq));
    }
    let Some(frontier) = cx.set.fold.epochs().name(epoch).filter(|_| epoch >= next.epoch) else {
        return cx.refuse("own entry began before two frontiers that are final now: it is lost".to_owned());
    };
    let header = Header {
        run: cx.set.fold.run(),
        author: me,
        seq: next.seq,
        previous: next.previous,
        epoch,
        frontier,
        base: base.to_components(),
        body,
    };
    let entry = Entry::sign(&cx.net.core.identity, header);
    let (replication, mut lower) = cx.replication();
    match replication.insert_own(&mut lower, entry, payload) {
        Insertion::Applied { .. } => replication.retry(lower.net.core),
        // A bug or a closed chain; it was not stored and is not announced.
        refused @ (Insertion::Known
        | Insertion::Waits { .. }
        | Insertion::Early { .. }
        | Insertion::Excluded
        | Insertion::NeedsPayloads(_)
        | Insertion::Forks(_)
        | Insertion::OtherBranch { .. }
        | Insertion::Refused(_)) => cx.refuse(format!("own entry was not accepted: {refused:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use crate::node::replication::testing::{enrolment, id};

    #[test]
    fn a_peer_enrolls_once_and_before_whatever_needs_it() {
        let mut bench = Bench::new(&[1]);
        let (one, other) = (enrolment(10, 0, &[]), enrolment(10, 1, &[]));
        bench.act(|own, cx| own.author_evidence(cx, &one, &other));
        assert_eq!(bench.own_kinds(), ["enrolment", "evidence"]);
        bench.act(|own, cx| own.start(cx));
        bench.act(|own, cx| own.author_evidence(cx, &one, &other));
        assert_eq!(bench.own_kinds().len(), 2, "the fork is known");
    }

    #[test]
    fn of_many_that_enroll_at_once_none_waits_for_the_others() {
        let mut bench = Bench::new(&[1]);
        bench.lower.learn(1, 10);
        bench.act(|own, cx| own.start(cx));
        let me = bench.lower.core.id();
        let log = bench.lower.set.fold.log();
        assert!(log.record(&me, 0).is_some_and(|record| !record.entry.base().contains(&id(10), 0)));
    }

    #[test]
    fn nothing_is_signed_before_it_is_clear_that_no_other_process_has_this_identity() {
        let mut bench = Bench::new(&[1]);
        bench.is_alone = false;
        bench.act(|own, cx| own.start(cx));
        assert!(bench.own_kinds().is_empty());
        assert!(bench.told().iter().any(|event| matches!(event, crate::Event::BadInput { .. })));
        bench.is_alone = true;
        bench.act(|own, cx| own.start(cx));
        assert_eq!(bench.own_kinds(), ["enrolment"]);
    }

    #[test]
    fn no_position_is_signed_twice_even_if_its_first_entry_is_lost() {
        let mut bench = Bench::new(&[1]);
        bench.catch_up.expect_own(1);
        bench.act(|own, cx| own.start(cx));
        assert!(bench.own_kinds().is_empty());
    }
}
