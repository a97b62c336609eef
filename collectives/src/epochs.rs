//! The final frontiers of a run: the newest four with their contents, all earlier ones by name.

use std::{collections::VecDeque, sync::Arc};

use crate::{Certificate, Frontier, Hash, Pace, Proposal, Row, Rules, VersionVector};

/// Frontiers kept with their contents. Entries outside the newest know it or the one before it, and their weights depend on
/// the set one epoch further back. When a new frontier excludes something, entries outside the frontier before it are
/// weighed again, which takes one more.
const WHOLE: usize = 4;

/// Everything in the frontier this many epochs before the newest is pruned.
const PRUNED_BEFORE: u32 = 2;

/// A final frontier with its contents.
#[derive(Clone, Debug)]
pub struct Final {
    /// The frontier.
    pub frontier: Arc<Frontier>,
    /// Its proof; none for the empty set, and for frontiers before the one at which this peer began.
    pub certificate: Option<Arc<Certificate>>,
    /// Its rows, authors ascending; empty for frontiers before the one at which this peer began.
    pub rows: Vec<Row>,
    /// Its set as a version vector.
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
    /// The history in which only the empty set is final.
    pub(crate) fn new(rules: &Rules) -> Self {
        let frontier = Arc::new(Frontier::genesis(rules));
        let genesis = Final { frontier, certificate: None, rows: Vec::new(), view: VersionVector::default() };
        Self { names: vec![Hash::NONE], whole: VecDeque::from([genesis]) }
    }

    /// A history that begins at `newest`, given the sets of the two frontiers before it, older first, the pace of the newer one
    /// of them, and all names.
    pub(crate) fn resumed(
        names: Vec<Hash>,
        before: [VersionVector; 2],
        pace: Pace,
        newest: Final,
        rules: &Rules,
    ) -> Self {
        let empty = Arc::new(Frontier { pace, ..Frontier::genesis(rules) });
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

    /// The number of the newest final epoch.
    pub fn number(&self) -> u32 {
        u32::try_from(self.names.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The name of the frontier of `epoch`, if it is final.
    pub fn name(&self, epoch: u32) -> Option<Hash> {
        self.names.get(epoch as usize).copied()
    }

    /// The names of all final frontiers, beginning with the empty set's.
    pub fn names(&self) -> &[Hash] {
        &self.names
    }

    /// The set of the frontier of `epoch`, if it is one of the newest four.
    pub fn view(&self, epoch: u32) -> Option<&VersionVector> {
        self.known(epoch).map(|known| &known.view)
    }

    /// What entries that name `epoch` are weighed by, if its frontier is one of the newest four. Where this peer began at a later
    /// one, it is right for the last before that only: nothing open names an earlier one.
    pub fn pace(&self, epoch: u32) -> Option<Pace> {
        self.known(epoch).map(|known| known.frontier.pace)
    }

    fn known(&self, epoch: u32) -> Option<&Final> {
        let back = (self.number().checked_sub(epoch)?) as usize;
        self.whole.len().checked_sub(back + 1).and_then(|at| self.whole.get(at))
    }

    /// The rows of the frontier of `epoch`, if it is one of the newest four and this peer did not begin at a later one.
    pub fn rows(&self, epoch: u32) -> Option<&[Row]> {
        let known = self.known(epoch)?;
        (!known.rows.is_empty()).then_some(known.rows.as_slice())
    }

    /// The set on whose totals the weight of an entry that knows `epoch` depends; nothing before it is looked at.
    pub fn horizon(&self, epoch: u32) -> Option<&VersionVector> {
        self.view(epoch.saturating_sub(1))
    }

    /// The set whose entries are pruned to totals.
    pub(crate) fn pruned(&self) -> VersionVector {
        let epoch = self.number().checked_sub(PRUNED_BEFORE);
        epoch.and_then(|epoch| self.view(epoch)).cloned().unwrap_or_default()
    }

    /// The set whose entries will be pruned when the next frontier is final.
    pub(crate) fn pruned_next(&self) -> VersionVector {
        self.view(self.number().saturating_sub(1)).cloned().unwrap_or_default()
    }

    /// The oldest epoch that an entry outside the newest frontier may know; entries that know only older ones are excluded.
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
