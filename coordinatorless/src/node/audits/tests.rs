//! The adapter alone: what the auditor asks for reaches the trainer or the right machine.

use super::*;
use crate::{
    Output as Wants,
    node::{
        context::Raised,
        support::{Said, Swarm},
    },
};

const ME: usize = 0;
const AUTHOR: usize = 1;

struct Bench {
    audits: Audits,
    core: Core,
    set: Set,
    neighbours: Neighbours,
    author: PeerId,
    /// An update that started fresh, and one that started from a carry.
    said: [Said; 2],
}

fn bench(connected: bool) -> Bench {
    let mut swarm = Swarm::new(3, 3);
    swarm.share_all();
    let said = [AUTHOR; 2].map(|author| swarm.update(author, 1e-3));
    swarm.share(AUTHOR, ME);
    let class = said[0].entry.update().map_or(Hash::NONE, |update| update.class);
    let core = Core::for_test(swarm.peers[ME].identity.clone(), class, &swarm.rules);
    let (author, set) = (swarm.id(AUTHOR), Set::new(swarm.fold(ME).clone()));
    let neighbours = if connected { Neighbours::connected_to(&[author]) } else { Neighbours::default() };
    Bench { audits: Audits::new(&core), core, set, neighbours, author, said }
}

impl Bench {
    fn with<T>(&mut self, act: impl FnOnce(&mut Audits, &mut Context<'_>) -> T) -> T {
        let Self { audits, core, set, neighbours, .. } = self;
        act(audits, &mut Context { core, set, neighbours })
    }

    fn joined(&mut self, which: usize) {
        let entry = self.said[which].entry.clone();
        self.with(|audits, cx| audits.handle(cx, Input::Joined(&entry)));
    }

    fn name(&self, which: usize) -> UpdateName {
        UpdateName { author: self.author, seq: self.said[which].entry.seq() }
    }

    fn counts(&self) -> (usize, u64) {
        (self.audits.auditor().open_count(), self.audits.auditor().missed())
    }
}

#[test]
fn a_carry_is_fetched_from_an_author_that_is_connected() {
    let mut bench = bench(true);
    bench.joined(1);
    let raised = bench.core.take_raised();
    assert!(
        matches!(raised[..], [Raised::Audits(Event::Fetch { author, .. })] if author == bench.author),
        "{raised:?}"
    );
    assert!(bench.core.outputs.is_empty());
}

#[test]
fn an_author_that_is_not_connected_is_sought_and_given_up_only_without_hope() {
    let mut bench = bench(false);
    bench.joined(1);
    let raised = bench.core.take_raised();
    assert!(matches!(raised[..], [Raised::Audits(Event::Seek { author, .. })] if author == bench.author), "{raised:?}");
    bench.with(|audits, cx| audits.give_up_carries(cx, |_, _| true));
    assert_eq!(bench.counts(), (1, 0));
    bench.with(|audits, cx| audits.give_up_carries(cx, |_, _| false));
    assert_eq!(bench.counts(), (0, 1));
}

#[test]
fn the_trainer_is_told_of_what_is_ready_and_its_judgement_becomes_a_verdict() {
    let mut bench = bench(true);
    bench.joined(0);
    let name = bench.name(0);
    let outputs = core::mem::take(&mut bench.core.outputs);
    let ready =
        |output: &Wants| matches!(output, Wants::Event(crate::Event::AuditReady { update }) if *update == name.into());
    assert!(outputs.len() == 1 && outputs.iter().all(ready), "{outputs:?}");
    let judged = Input::Judged { update: name, passed: false, replay: Hash([4; 32]) };
    bench.with(|audits, cx| audits.handle(cx, judged));
    let raised = bench.core.take_raised();
    let [Raised::Audits(Event::Verdict(verdict))] = &raised[..] else { panic!("one verdict: {raised:?}") };
    assert_eq!((verdict.author, verdict.seq, verdict.passed), (name.author, name.seq, false));
    assert_eq!(bench.counts(), (0, 0));
}
