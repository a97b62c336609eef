//! Audits in the node: carries out what the [`Auditor`] of `murmur_verification` asks for.
//!
//! Contract: [`Audits::handle`] takes what happened, with the set as it is after that. It tells the trainer of audits that
//! are ready; what needs other machines it raises, and the node carries that out before anything else.

use murmur_collectives::{Hash, PeerId, Verdict};
pub use murmur_verification::audit::AuditJob;
use murmur_verification::audit::{self, Auditor, Input, Output, UpdateName};

use super::{connectivity::Neighbours, context::Core, set::Set};
use crate::EntryName;

#[cfg(test)]
mod tests;

/// What the auditor needs of other machines.
#[derive(Debug)]
pub(crate) enum Event {
    /// The author of this carry is connected: the carry is to be fetched from it.
    Fetch {
        /// The author.
        author: PeerId,
        /// The root of its carry.
        root: Hash,
    },
    /// The author of this carry is not connected: it is to be dialed. If there is no way to it, the carry is lost.
    Seek {
        /// The author.
        author: PeerId,
        /// The root of its carry.
        root: Hash,
    },
    /// A verdict is to be authored.
    Verdict(Verdict),
}

/// What audits may touch.
pub(crate) struct Context<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) set: &'a Set,
    pub(crate) neighbours: &'a Neighbours,
}

/// Audits under way here.
#[derive(Debug)]
pub(crate) struct Audits {
    auditor: Auditor,
}

impl Audits {
    pub(crate) fn new(core: &Core) -> Self {
        let config = audit::Config { me: core.id(), class: core.class, open_max: core.config.audits_max };
        Self { auditor: Auditor::new(config) }
    }

    /// The auditor, to be asked.
    pub(crate) fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    /// Tells the auditor what happened, and does what follows.
    pub(crate) fn handle(&mut self, cx: &mut Context<'_>, input: Input<'_>) {
        let seen = audit::Context { fold: &cx.set.fold, lottery: &cx.core.lottery };
        for output in self.auditor.handle(&seen, input) {
            match output {
                Output::FetchCarry { author, root } if cx.neighbours.is_connected(&author) => {
                    cx.core.raise(Event::Fetch { author, root });
                }
                Output::FetchCarry { author, root } => cx.core.raise(Event::Seek { author, root }),
                Output::Ready(update) => cx.core.tell(crate::Event::AuditReady { update: update.into() }),
                Output::Publish(verdict) => cx.core.raise(Event::Verdict(verdict)),
            }
        }
    }

    /// Gives up carries for which `has_hope` does not hold. A dial may end with another peer at that address, or give way
    /// to one that matters more, and nobody is told: without this such an audit would stay open, and this peer could
    /// never finish.
    pub(crate) fn give_up_carries(&mut self, cx: &mut Context<'_>, has_hope: impl Fn(&PeerId, &Hash) -> bool) {
        let wanted = self.auditor.carries_wanted();
        let lost: Vec<Hash> = wanted.filter(|(author, root)| !has_hope(author, root)).map(|(_, root)| root).collect();
        lost.into_iter().for_each(|root| self.handle(cx, Input::CarryLost { root }));
    }
}

impl From<EntryName> for UpdateName {
    fn from(EntryName { author, seq }: EntryName) -> Self {
        Self { author, seq }
    }
}

impl From<UpdateName> for EntryName {
    fn from(UpdateName { author, seq }: UpdateName) -> Self {
        Self { author, seq }
    }
}
