//! The final frontiers that matter: the newest four whole, all others by name.

use std::{collections::VecDeque, sync::Arc};

use crate::{Certificate, Frontier, Hash, Proposal, Row, Rules, VersionVector};

/// Frontiers kept whole. Entries outside the newest know it or the one before, and look back to one before that; when a
/// frontier becomes final that excludes something, entries outside the one before are weighed again, and look back one more.
const WHOLE: usize = 4;

/// How many frontiers before the newest everything is pruned.
const PRUNED_BEFORE: u32 = 2;

/// A final frontier and what it names.
#[derive(Clone, Debug)]
pub struct Final {
    /// In short.
    pub frontier: Arc<Frontier>,
    /// The proof; none for the empty set.
    pub certificate: Option<Arc<Certificate>>,
    /// What is in it.
    pub rows: Vec<Row>,
    /// The same as a version vector.
    pub view: VersionVector,
}

/// All final frontiers of a run so far.
#[derive(Clone, Debug)]
pub struct Epochs {
    names: Vec<Hash>,
    /// Oldest first, never empty.
    whole: VecDeque<Final>,
}

impl Epochs {
    /// Only the empty set is final.
    pub(crate) fn new(rules: &Rules) -> Self {
        let frontier = Arc::new(Frontier::genesis(rules));
        let genesis = Final { frontier, certificate: None, rows: Vec::new(), view: VersionVector::default() };
        Self { names: vec![Hash::NONE], whole: VecDeque::from([genesis]) }
    }

    /// Begins at `newest`, with the views of the two frontiers before it, older first.
    pub(crate) fn resumed(names: Vec<Hash>, before: [VersionVector; 2], newest: Final, rules: &Rules) -> Self {
        let empty = Arc::new(Frontier::genesis(rules));
        let bare = |view| Final { frontier: empty.clone(), certificate: None, rows: Vec::new(), view };
        let mut whole: VecDeque<Final> = before.into_iter().map(bare).collect();
        whole.push_back(newest);
        while whole.len() > names.len() {
            whole.pop_front();
        }
        Self { names, whole }
    }

    /// The newest final frontier.
    pub fn newest(&self) -> &Final {
        self.whole.back().expect("never empty")
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        u32::try_from(self.names.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The name of the frontier of `epoch`, if that is final.
    pub fn name(&self, epoch: u32) -> Option<Hash> {
        self.names.get(epoch as usize).copied()
    }

    /// The names of all, from the empty set's on.
    pub fn names(&self) -> &[Hash] {
        &self.names
    }

    /// The set that became final with `epoch`, if it is one of the newest four.
    pub fn view(&self, epoch: u32) -> Option<&VersionVector> {
        let back = (self.number().checked_sub(epoch)?) as usize;
        self.whole.len().checked_sub(back + 1).and_then(|at| self.whole.get(at)).map(|known| &known.view)
    }

    /// The rows of the frontier of `epoch`, if it is one of the newest four and was not pruned when this peer began.
    pub fn rows(&self, epoch: u32) -> Option<&[Row]> {
        let back = (self.number().checked_sub(epoch)?) as usize;
        let known = self.whole.len().checked_sub(back + 1).and_then(|at| self.whole.get(at))?;
        (!known.rows.is_empty()).then_some(known.rows.as_slice())
    }

    /// What the weight of an entry that knows `epoch` looks back to, at most.
    pub fn horizon(&self, epoch: u32) -> Option<&VersionVector> {
        self.view(epoch.saturating_sub(1))
    }

    /// The set that is pruned to totals.
    pub(crate) fn pruned(&self) -> VersionVector {
        let epoch = self.number().checked_sub(PRUNED_BEFORE);
        epoch.and_then(|epoch| self.view(epoch)).cloned().unwrap_or_default()
    }

    /// The set that will be pruned when the next frontier is final.
    pub(crate) fn pruned_next(&self) -> VersionVector {
        self.view(self.number().saturating_sub(1)).cloned().unwrap_or_default()
    }

    /// Entries outside the newest frontier are excluded unless they know this epoch or a newer one.
    pub fn oldest_open(&self) -> u32 {
        self.number().saturating_sub(1)
    }

    pub(crate) fn push(&mut self, certificate: &Certificate, proposal: Proposal) {
        let view = proposal.view();
        let Proposal { frontier, rows } = proposal;
        self.names.push(frontier.name());
        let certificate = Some(Arc::new(certificate.clone()));
        self.whole.push_back(Final { frontier: Arc::new(frontier), certificate, rows, view });
        if self.whole.len() > WHOLE {
            self.whole.pop_front();
        }
    }
}
