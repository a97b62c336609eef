//! The own chain alone, on top of replication.

use murmur_collectives::Body;

use super::{Context, Event, OwnChain};
use crate::{
    Output, Stored,
    node::{
        catch_up::CatchUp,
        context::Raised,
        own_carries::OwnCarries,
        replication::{self, testing},
    },
};

/// The machine with those below it.
pub(super) struct Bench {
    pub(super) own: OwnChain,
    pub(super) lower: testing::Bench,
    pub(super) catch_up: CatchUp,
    pub(super) is_alone: bool,
    pub(super) audits_open: usize,
    /// How often neighbours were to be told that this peer finishes.
    pub(super) begun: usize,
    own_carries: OwnCarries,
}

impl Bench {
    /// A founder with these connected neighbours.
    pub(super) fn new(neighbours: &[u8]) -> Self {
        let lower = testing::Bench::new(neighbours);
        let catch_up = CatchUp::new(&lower.core.rules, &lower.core.id(), &Stored::default());
        Self {
            own: OwnChain::default(),
            lower,
            catch_up,
            is_alone: true,
            audits_open: 0,
            begun: 0,
            own_carries: OwnCarries::default(),
        }
    }

    /// Lets the machine act, and does all that follows.
    pub(super) fn act(&mut self, act: impl FnOnce(&mut OwnChain, &mut Context<'_>)) {
        self.once(act);
        let mut raised = self.lower.raised();
        while let Some(event) = raised.pop_front() {
            match event {
                Raised::OwnChain(Event::Resume(step)) => self.once(|own, cx| own.resume(cx, step)),
                Raised::OwnChain(Event::FinishBegun) => self.begun += 1,
                Raised::Replication(replication::Event::Resume(step)) => {
                    self.lower.once(|machine, cx| machine.resume(cx, step));
                }
                Raised::Replication(_) | Raised::Limits(_) => {}
                Raised::Connectivity(_)
                | Raised::Membership(_)
                | Raised::CatchUp(_)
                | Raised::Transfer(_)
                | Raised::Finality(_)
                | Raised::Audits(_)
                | Raised::Eviction(_) => panic!("the own chain raises nothing in the name of another machine"),
            }
            self.lower.raised().into_iter().rev().for_each(|event| raised.push_front(event));
        }
    }

    fn once(&mut self, act: impl FnOnce(&mut OwnChain, &mut Context<'_>)) {
        let mode = self.lower.mode;
        let (replication, replication::Context { net, set, .. }) = self.lower.parts();
        let (own_carries, catch_up) = (&mut self.own_carries, &self.catch_up);
        let (is_alone, audits_open) = (self.is_alone, self.audits_open);
        let mut cx = Context { net, set, replication, mode, own_carries, catch_up, is_alone, audits_open };
        act(&mut self.own, &mut cx);
    }

    /// What the own entries are, oldest first.
    pub(super) fn own_kinds(&self) -> Vec<&'static str> {
        let log = self.lower.set.fold.log();
        let kind = |body: &Body| match body {
            Body::Enroll(_) => "enrolment",
            Body::Equivocation(_) => "evidence",
            Body::Update(_) => "update",
            Body::Verdict(_) => "verdict",
        };
        log.from(&self.lower.core.id(), 0).iter().map(|record| kind(&record.entry.header().body)).collect()
    }

    /// What the trainer was told since this was last asked.
    pub(super) fn told(&mut self) -> Vec<crate::Event> {
        let told = |output| if let Output::Event(event) = output { Some(event) } else { None };
        self.lower.core.outputs.drain(..).filter_map(told).collect()
    }
}
