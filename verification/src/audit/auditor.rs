//! The auditor's side: from the lottery on an update to the verdict.

use std::{collections::BTreeMap, sync::Arc};

use murmur_collectives::{Entry, Fold, Hash, Log, PeerId, Rebuilt, Record, Stage, Verdict};

use super::draw;
use crate::Lottery;

#[cfg(test)]
mod tests;

/// An update by its author and its position in the author's chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UpdateName {
    /// The author.
    pub author: PeerId,
    /// The position.
    pub seq: u32,
}

/// What an auditor is and how much it takes on; fixed for its life.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The auditor.
    pub me: PeerId,
    /// Its numeric class: a replay compares bits, so it audits updates of this class only.
    pub class: Hash,
    /// Audits that may be open at once; a draw beyond them is missed.
    pub open_max: usize,
}

/// What the auditor may look at while it handles an input.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The set, after what the input reports.
    pub fold: &'a Fold,
    /// The auditor's sortition key.
    pub lottery: &'a Lottery,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// An entry joined the set. A peer that is still catching up reports none: an old update was audited by those who
    /// were present, and its carry is gone.
    Joined(&'a Entry),
    /// A connection to a peer is up, so its carries can be fetched.
    Reached(PeerId),
    /// A peer cannot be reached, and only the author serves its carries.
    Unreachable(PeerId),
    /// A sealed carry arrived; the caller has checked that it hashes to `root`.
    CarryArrived {
        /// Its root.
        root: Hash,
        /// The sealed bytes.
        sealed: Arc<[u8]>,
    },
    /// A carry cannot be had: nobody serves it, or nobody is sought any more who might.
    CarryLost {
        /// Its root.
        root: Hash,
    },
    /// A replay is done.
    Judged {
        /// The update.
        update: UpdateName,
        /// Whether the replay gave what the author published.
        passed: bool,
        /// Names what the replay gave.
        replay: Hash,
    },
    /// A replay could not be done.
    Unjudged {
        /// The update.
        update: UpdateName,
    },
    /// Updates of an author became void.
    Evicted(PeerId),
    /// Entries left the set, because a final frontier excludes them.
    Excluded,
}

/// What the caller is to do, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Fetch a carry from its author, or connect to the author first. Ends with [`Input::CarryArrived`] or
    /// [`Input::CarryLost`].
    FetchCarry {
        /// The author.
        author: PeerId,
        /// The root of its carry.
        root: Hash,
    },
    /// [`Auditor::job`] has all that a replay needs.
    Ready(UpdateName),
    /// Author this verdict.
    Publish(Verdict),
}

/// All that is needed to replay a span. The states that later segments started from, and those that were merged, are had by
/// moving `start` on, with [`Fold::advance`].
#[derive(Debug)]
pub struct AuditJob {
    /// The entries of its updates, in order. The private state goes from one to the next.
    pub span: Vec<Arc<Entry>>,
    /// The state that the first segment started from.
    pub start: Rebuilt,
    /// The author's sealed carry before it; `None` if it started fresh.
    pub carry: Option<Arc<[u8]>>,
}

/// An audit that this peer was drawn for.
#[derive(Debug)]
struct Audit {
    stage: Stage,
    draw: [u8; 96],
    carry: Carry,
}

impl Audit {
    /// The root of the carry that is still being fetched.
    fn wanted_carry(&self) -> Option<Hash> {
        match self.carry {
            Carry::Fetching(root) => Some(root),
            Carry::Awaited | Carry::Fresh | Carry::Held(_) => None,
        }
    }

    /// Whether its span may still grow.
    fn is_awaited(&self) -> bool {
        matches!(self.carry, Carry::Awaited)
    }
}

/// What is held of the author's carry.
#[derive(Debug)]
enum Carry {
    /// The span goes on: nothing is fetched before it has ended.
    Awaited,
    /// The segment started without one.
    Fresh,
    Fetching(Hash),
    Held(Arc<[u8]>),
}

/// The audits that one peer was drawn for and has not finished.
///
/// Contract: report what happens by [`Auditor::handle`], and carry out its outputs before the next input. After
/// [`Output::Ready`] take [`Auditor::job`], replay it, and report [`Input::Judged`] or [`Input::Unjudged`]. An audit that
/// is closed by another input in the meantime has no job any more, and its judgement is ignored.
///
/// At most one audit of an update is open at a time: the draw of a confirming lottery is not looked at while the first
/// one's replay is under way.
#[derive(Debug)]
pub struct Auditor {
    config: Config,
    open: BTreeMap<UpdateName, Audit>,
    missed: u64,
}

impl Auditor {
    /// An auditor with nothing to do.
    pub fn new(config: Config) -> Self {
        Self { config, open: BTreeMap::new(), missed: 0 }
    }

    /// Audits whose span has ended and that are not done. Those that still await its end do not count: an author that has
    /// left would keep them open for ever.
    pub fn open_count(&self) -> usize {
        self.open.values().filter(|audit| !audit.is_awaited()).count()
    }

    /// Audits that this peer was drawn for and could not do. Not a proof of anything, so nothing is published of them.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Every carry that is still being fetched, with its author. The caller reports [`Input::CarryLost`] for those that
    /// nobody is asked or dialed for any more.
    pub fn carries_wanted(&self) -> impl Iterator<Item = (PeerId, Hash)> + '_ {
        self.open.iter().filter_map(|(update, audit)| Some((update.author, audit.wanted_carry()?)))
    }

    /// What is needed to replay the span that begins with `update`; `None` if it is no longer wanted or its base cannot be
    /// rebuilt.
    pub fn job(&self, fold: &Fold, update: UpdateName) -> Option<AuditJob> {
        let audit = self.open.get(&update)?;
        let (span, _) = fold.log().span(&update.author, update.seq);
        if !is_replayable(fold.log(), &span) {
            return None;
        }
        let span: Vec<Arc<Entry>> = span.into_iter().map(|record| record.entry.clone()).collect();
        let first = span.first()?;
        let views = first.update()?.views(first.base()).ok()?;
        let start = fold.rebuilt(&views.first()?.1).ok()?;
        let carry = match &audit.carry {
            Carry::Fresh => None,
            Carry::Held(sealed) => Some(sealed.clone()),
            Carry::Awaited | Carry::Fetching(_) => return None,
        };
        Some(AuditJob { span, start, carry })
    }

    /// Takes one input, and returns what follows from it.
    pub fn handle(&mut self, context: &Context<'_>, input: Input<'_>) -> Vec<Output> {
        match input {
            Input::Joined(entry) => self.on_joined(context, entry),
            Input::Reached(peer) => {
                let fetch = |root| Output::FetchCarry { author: peer, root };
                self.carries_wanted_from(&peer).into_iter().map(fetch).collect()
            }
            Input::Unreachable(peer) => {
                self.carries_wanted_from(&peer).into_iter().for_each(|root| self.on_carry_lost(root));
                Vec::new()
            }
            Input::CarryArrived { root, sealed } => self.on_carry_arrived(root, &sealed),
            Input::CarryLost { root } => {
                self.on_carry_lost(root);
                Vec::new()
            }
            Input::Judged { update, passed, replay } => {
                let verdict = self.on_judged(context, update, passed, replay);
                verdict.map(Output::Publish).into_iter().collect()
            }
            Input::Unjudged { update } => {
                self.missed += u64::from(self.open.remove(&update).is_some());
                Vec::new()
            }
            Input::Evicted(author) => {
                // All of its updates are void: replaying more of them would change nothing.
                self.open.retain(|update, _| update.author != author);
                Vec::new()
            }
            Input::Excluded => {
                self.on_excluded(context.fold.log());
                Vec::new()
            }
        }
    }

    /// Holds the lottery that a new entry calls for: the first one on an update, the confirming one on an update that a
    /// verdict disputes.
    fn on_joined(&mut self, context: &Context<'_>, entry: &Entry) -> Vec<Output> {
        if let Some(update) = entry.update() {
            let mut outputs = self.on_span_grown(context.fold.log(), &entry.author());
            if update.begins_span() {
                let first = UpdateName { author: entry.author(), seq: entry.seq() };
                outputs.extend(self.hold_lottery(context, first, Stage::First));
            }
            return outputs;
        }
        entry.verdict().and_then(|verdict| self.on_verdict(context, verdict)).into_iter().collect()
    }

    fn on_verdict(&mut self, context: &Context<'_>, verdict: &Verdict) -> Option<Output> {
        // A verdict that does not count disputes nothing, whatever it found; see `Fold::is_disputed`.
        let disputed = context.fold.is_disputed(&verdict.author, verdict.seq, context.fold.log().version());
        let update = UpdateName { author: verdict.author, seq: verdict.seq };
        disputed.then(|| self.hold_lottery(context, update, Stage::Confirm)).flatten()
    }

    fn hold_lottery(&mut self, context: &Context<'_>, name: UpdateName, stage: Stage) -> Option<Output> {
        let Context { fold, lottery } = *context;
        let entry = fold.log().record(&name.author, name.seq)?.entry.clone();
        entry.update().filter(|update| update.class == self.config.class)?;
        if fold.is_evicted(&name.author) || self.open.contains_key(&name) {
            return None;
        }
        // The draw depends on the epoch that the verdict will name: who is eligible, and with what chance.
        let epoch = fold.epoch_to_name(&self.config.me);
        let draw = draw(fold, lottery, &self.config.me, &entry, stage, epoch)?;
        if self.open_count() >= self.config.open_max {
            self.missed += 1;
            return None;
        }
        self.give_up_abandoned(context);
        self.open.insert(name, Audit { stage, draw, carry: Carry::Awaited });
        self.begin_if_ended(fold.log(), name)
    }

    /// An author has one more update: audits that awaited the end of its span may begin.
    fn on_span_grown(&mut self, log: &Log, author: &PeerId) -> Vec<Output> {
        let awaited = self.open_of(author).filter(|(_, audit)| audit.is_awaited());
        let awaited: Vec<UpdateName> = awaited.map(|(name, _)| *name).collect();
        awaited.into_iter().filter_map(|name| self.begin_if_ended(log, name)).collect()
    }

    /// Begins an audit whose span has ended: the author's carry is fetched, unless it started without one.
    fn begin_if_ended(&mut self, log: &Log, name: UpdateName) -> Option<Output> {
        let (span, has_ended) = log.span(&name.author, name.seq);
        let root = span.first().filter(|_| has_ended)?.entry.update()?.carry_before;
        if !is_replayable(log, &span) {
            self.missed += u64::from(self.open.remove(&name).is_some());
            return None;
        }
        let (carry, output) = if root == Hash::NONE {
            (Carry::Fresh, Output::Ready(name))
        } else {
            (Carry::Fetching(root), Output::FetchCarry { author: name.author, root })
        };
        self.open.get_mut(&name)?.carry = carry;
        Some(output)
    }

    /// Closes audits of spans that never ended and that no verdict may be about any more.
    fn give_up_abandoned(&mut self, context: &Context<'_>) {
        let fold = context.fold;
        let Some(horizon) = fold.epochs().horizon(fold.epochs().number()) else { return };
        self.open.retain(|name, audit| !audit.is_awaited() || !horizon.contains(&name.author, name.seq));
    }

    fn carries_wanted_from(&self, author: &PeerId) -> Vec<Hash> {
        self.open_of(author).filter_map(|(_, audit)| audit.wanted_carry()).collect()
    }

    fn open_of(&self, author: &PeerId) -> impl Iterator<Item = (&UpdateName, &Audit)> {
        let [first, last] = [0, u32::MAX].map(|seq| UpdateName { author: *author, seq });
        self.open.range(first..=last)
    }

    fn on_carry_arrived(&mut self, root: Hash, sealed: &Arc<[u8]>) -> Vec<Output> {
        let waiting = self.open.iter_mut().filter(|(_, audit)| audit.wanted_carry() == Some(root));
        waiting
            .map(|(update, audit)| {
                audit.carry = Carry::Held(sealed.clone());
                Output::Ready(*update)
            })
            .collect()
    }

    fn on_carry_lost(&mut self, root: Hash) {
        let before = self.open.len();
        self.open.retain(|_, audit| audit.wanted_carry() != Some(root));
        self.missed += (before - self.open.len()) as u64;
    }

    /// Closes audits of updates that left the set, as nothing depends on them any more, and of those that no replay can judge.
    fn on_excluded(&mut self, log: &Log) {
        self.open.retain(|update, _| log.record(&update.author, update.seq).is_some());
        let before = self.open.len();
        self.open.retain(|update, _| is_replayable(log, &log.span(&update.author, update.seq).0));
        self.missed += (before - self.open.len()) as u64;
    }

    /// Closes the audit. A verdict on an update that weights no longer look at, or whose base is no longer what its author
    /// had seen, would be refused or prove nothing.
    fn on_judged(&mut self, context: &Context<'_>, update: UpdateName, passed: bool, replay: Hash) -> Option<Verdict> {
        let Audit { stage, draw, .. } = self.open.remove(&update)?;
        let UpdateName { author, seq } = update;
        let entry = &context.fold.log().record(&author, seq)?.entry;
        let horizon = context.fold.epochs().horizon(context.fold.epoch_to_name(&self.config.me));
        let settled = horizon.is_some_and(|view| view.contains(&author, seq));
        if settled || !context.fold.log().is_past_whole(entry) {
            self.missed += 1;
            return None;
        }
        Some(Verdict { author, seq, update: entry.hash(), passed, replay, stage, draw })
    }
}

/// Whether a replay can judge a span: not if parts of what its author had seen were excluded since.
fn is_replayable(log: &Log, span: &[&Record]) -> bool {
    span.iter().all(|record| log.is_past_whole(&record.entry))
}
