//! Resuming: a newcomer or a restarted peer begins at a final frontier instead of the first entry.

use std::{collections::BTreeMap, sync::Arc};

use murmur_kernels::{Weight, state_root};

use super::{Fold, Resumption};
use crate::{
    Body, Certificate, Entry, Epochs, Final, Frontier, Hash, Kept, Log, NotFinal, PeerId, Proposal, Rules,
    VersionVector, standing::Standing,
};

impl Fold {
    /// The fold of exactly a final frontier's set. Everything is checked against the certificate, which the caller has
    /// checked ([`Epochs::follow`]).
    ///
    /// # Errors
    /// [`NotFinal::Contents`] if anything is not what the frontier names.
    pub fn resume(run: Hash, rules: Rules, resumption: Resumption) -> Result<Self, NotFinal> {
        let Resumption { names, certificate, rows, foundation, state, entries } = resumption;
        let proposal = Proposal { frontier: certificate.frontier.clone(), rows };
        // Entries name the frontier of their epoch, so with a name too few or too many this peer would refuse what others admit.
        let named = names.last() == Some(&certificate.frontier.name()) && names.len() == epoch_count(&certificate);
        // The totals in it stand for entries that are gone: a wrong one would change every weight that is computed from now on.
        let same = foundation.digest() == certificate.frontier.foundation;
        // Nothing computes the state again, because most of its payloads are gone: the root is the only check that it gets.
        let fits = state.len() == rules.parameter_count() && state_root(&state) == certificate.frontier.state.0;
        let middle = VersionVector::from_components(&foundation.middle).map_err(|_| NotFinal::Contents)?;
        if !named || !same || !fits || !proposal.is_whole() {
            return Err(NotFinal::Contents);
        }
        let (pruned, view) = (foundation.view(), proposal.view());
        let newest = Final {
            frontier: Arc::new(proposal.frontier),
            certificate: Some(Arc::new(certificate)),
            rows: proposal.rows,
            view: view.clone(),
        };
        let epochs = Epochs::resumed(names, [pruned.clone(), middle], foundation.middle_pace, newest, &rules);
        let (log, standing) = (Log::default(), Standing::default());
        let mut fold = Self { run, rules, log, standing, epochs, order: Vec::new(), state };
        // Before the entries: their positions, standing and prefix sums go on from these totals.
        fold.standing.prune(&foundation.author_totals, &pruned);
        fold.log.prune(foundation.author_totals, fold.epochs.oldest_open());
        let mut held: BTreeMap<(PeerId, u32), _> =
            entries.into_iter().map(|(entry, payload)| ((entry.author(), entry.seq()), (entry, payload))).collect();
        for chain in foundation.kept {
            for kept in chain.entries {
                // An entry that the foundation does not name stays out: it may be one that the frontier excludes.
                let (entry, payload) = held.remove(&(chain.author, kept.seq)).ok_or(NotFinal::Contents)?;
                fold.put_back(entry, payload, kept)?;
            }
        }
        fold.log.set_final(&view);
        // The rows were checked against the certificate. The foundation was, too, but both are the word of its signers: if they
        // disagree, this peer would vouch for a set that it does not hold.
        if *fold.log.version() != view || !fold.log.holds(&fold.epochs.newest().rows) {
            return Err(NotFinal::Contents);
        }
        // After all entries, because a verdict that voids an update may stand in a chain that comes later.
        fold.mark_applied();
        Ok(fold)
    }

    /// Appends an entry that the foundation names. Weight and `counts` are the foundation's: computing them again would take
    /// the pruned past.
    fn put_back(&mut self, mut entry: Entry, payload: Option<Arc<[u8]>>, kept: Kept) -> Result<(), NotFinal> {
        let weight = Weight::new(kept.weight_q16).map_err(|_| NotFinal::Contents)?;
        let (author, seq) = (entry.author(), entry.seq());
        if entry.hash() != kept.hash || seq < self.log.version().count(&author) {
            return Err(NotFinal::Contents);
        }
        // A wrong payload is dropped and no error. The state holds the right one already, and if it is ever needed, it is
        // missing and is requested. An error would let one bad sender make a whole frontier useless.
        let payload = payload.filter(|bytes| self.check_payload(&entry, Some(bytes)).is_ok());
        match &entry.header().body {
            Body::Verdict(v) if kept.counts => self.standing.record(v.author, v.seq, author, seq, v.passed),
            Body::Equivocation(evidence) => {
                let (accused, from) = evidence.accused(self.run).map_err(|_| NotFinal::Contents)?;
                self.standing.record_proof(accused, from, author, seq);
                // Admission reads forks from the log; without this the forger's chain could grow again.
                self.log.note_fork(accused, from);
            }
            Body::Enroll(_) | Body::Update(_) | Body::Verdict(_) => {}
        }
        self.order.push((author, seq));
        self.log.keep_base(&mut entry);
        self.log.append(Arc::new(entry), payload, weight, kept.counts);
        Ok(())
    }

    /// Notes for every record that the state holds it with its present weight. Without this the next change of an author's
    /// weights would add to the state what is in it already.
    pub(super) fn mark_applied(&mut self) {
        for (author, seq) in self.order.clone() {
            let target = self.target_weight(&author, seq, self.log.version());
            if let Some(record) = self.log.record_mut(&author, seq) {
                record.applied = target;
            }
        }
    }
}

fn epoch_count(certificate: &Certificate) -> usize {
    certificate.frontier.epoch as usize + 1
}

impl Epochs {
    /// Checks a chain of certificates that begins right after `from`, and returns the names of what it makes final.
    ///
    /// # Errors
    /// [`NotFinal`] of the first link that does not hold.
    pub fn follow(run: Hash, rules: &Rules, from: &Frontier, chain: &[Certificate]) -> Result<Vec<Hash>, NotFinal> {
        let mut previous = from;
        let mut names = Vec::with_capacity(chain.len());
        for certificate in chain {
            certificate.check(run, rules, previous)?;
            previous = &certificate.frontier;
            names.push(previous.name());
        }
        Ok(names)
    }
}
