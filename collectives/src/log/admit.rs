//! Admission: whether an entry fits into the log, by its chain, its causal past, the epochs and the rules.

use std::sync::Arc;

use super::{Admission, Invalid, Log, Record};
use crate::{Body, Entry, Epochs, Equivocation, Hash, Rules, Update, Verdict, VersionVector};

impl Log {
    /// Says whether `entry` fits. Looks at the chain, the causal past and the rules; not at payload or lottery.
    pub fn admit(&self, run: Hash, rules: &Rules, epochs: &Epochs, entry: &Entry) -> Admission {
        if entry.header().run != run {
            return Admission::Invalid(Invalid::Run);
        }
        let (author, seq) = (entry.author(), entry.seq());
        if entry.base().count(&author) > seq {
            return Admission::Invalid(Invalid::Base);
        }
        if let Some(record) = self.record(&author, seq) {
            return compare(&record.entry, entry);
        }
        if self.is_cut(&author, seq) || seq < self.final_view.count(&author) {
            return Admission::Known;
        }
        if self.is_excluded(epochs, entry) {
            // All before one that is late is late, too. But before one that names another history its author may have said
            // what belongs to this one.
            if entry.epoch() >= epochs.oldest_open() && seq > self.next_position(&author).seq {
                return Admission::Waits { needs: [(author, seq)].into_iter().collect() };
            }
            return self.admit_excluded(entry);
        }
        if entry.epoch() > epochs.number() {
            return Admission::Early { epoch: entry.epoch() };
        }
        let next = self.next_position(&author);
        if seq > next.seq {
            return Admission::Waits { needs: [(author, seq)].into_iter().collect() };
        }
        if seq < self.version.count(&author) || seq < next.seq && !self.is_next_held(entry) {
            return self.admit_in_gap(entry);
        }
        if seq == next.seq && entry.header().previous != next.previous {
            return fork_before(seq);
        }
        if seq == next.seq && entry.epoch() < next.epoch {
            return Admission::Invalid(Invalid::Epoch);
        }
        if !self.has_past(entry.base()) {
            return Admission::Waits { needs: entry.base().clone() };
        }
        if let Some(needs) = self.subject_on_other_branch(entry) {
            return Admission::Waits { needs };
        }
        match self.check(rules, epochs, entry) {
            Ok(()) => Admission::Ready,
            Err(invalid) => Admission::Invalid(invalid),
        }
    }

    /// Whether `entry`, which is not final, left the set for good: it knew no epoch that is recent enough, or one of
    /// another history.
    fn is_excluded(&self, epochs: &Epochs, entry: &Entry) -> bool {
        let elsewhere = epochs.name(entry.epoch()).is_some_and(|name| name != entry.header().frontier);
        entry.epoch() < epochs.oldest_open() || elsewhere
    }

    /// An excluded entry before an entry of the same chain that knew a later epoch, or one that another excluded it.
    fn admit_excluded(&self, entry: &Entry) -> Admission {
        let later = self.chain(&entry.author()).iter().find(|record| record.entry.epoch() > entry.epoch());
        match later.filter(|record| record.entry.seq() < entry.seq()) {
            Some(record) => Admission::Forks(Box::new(record.entry.as_ref().clone())),
            None if self.excluded(&entry.author()).is_some_and(|held| held.seq() >= entry.seq()) => Admission::Known,
            None => Admission::Excluded,
        }
    }

    /// Whether `entry` continues what is held, before an excluded entry that came first.
    fn is_next_held(&self, entry: &Entry) -> bool {
        let held = self.chains.get(&entry.author()).map_or(Hash::NONE, |chain| chain.next_position().previous);
        entry.seq() == self.version.count(&entry.author()) && entry.header().previous == held
    }

    /// An entry where others were excluded contradicts a later one that knew less.
    fn admit_in_gap(&self, entry: &Entry) -> Admission {
        match self.excluded.get(&entry.author()) {
            Some(late) if late.seq() > entry.seq() && late.epoch() < entry.epoch() => {
                Admission::Forks(Box::new(late.as_ref().clone()))
            }
            Some(_) | None => Admission::Known,
        }
    }

    pub(crate) fn has_past(&self, base: &VersionVector) -> bool {
        self.lacking(base).is_none()
    }

    /// The first author of whom fewer entries are here than `needs` names, as far as its chain is not closed before that.
    pub fn lacking(&self, needs: &VersionVector) -> Option<crate::PeerId> {
        let wanted =
            |author: &crate::PeerId, count: u32| self.allowed(author).map_or(count, |allowed| count.min(allowed));
        needs.iter().find(|(author, count)| self.reach(author) < wanted(author, *count)).map(|(author, _)| author)
    }

    /// A verdict on an entry of which the log holds another branch waits until the fork is proven.
    fn subject_on_other_branch(&self, entry: &Entry) -> Option<VersionVector> {
        let verdict = entry.verdict().filter(|verdict| entry.base().contains(&verdict.author, verdict.seq))?;
        let held = self.record(&verdict.author, verdict.seq)?;
        (held.entry.hash() != verdict.update).then(|| [(verdict.author, verdict.seq + 1)].into_iter().collect())
    }

    fn check(&self, rules: &Rules, epochs: &Epochs, entry: &Entry) -> Result<(), Invalid> {
        let name = epochs.name(entry.epoch());
        let sees = epochs.view(entry.epoch()).is_none_or(|view| entry.base().includes(view));
        if name != Some(entry.header().frontier) || !sees || !self.may_name(epochs, &entry.author(), entry.epoch()) {
            return Err(Invalid::Epoch);
        }
        let first = !self.has_chain(&entry.author());
        match &entry.header().body {
            Body::Enroll(_) if first => Ok(()),
            Body::Enroll(_) => Err(Invalid::Enrolment),
            Body::Equivocation(_) | Body::Update(_) | Body::Verdict(_) if first => Err(Invalid::Enrolment),
            Body::Equivocation(evidence) => Self::check_evidence(entry, evidence),
            Body::Update(update) => self.check_update(rules, epochs, entry, update),
            Body::Verdict(verdict) => self.check_verdict(epochs, entry, verdict),
        }
    }

    /// Whether `author` may say that it knows `epoch`: only that in which it enrolled until a frontier contains its
    /// enrolment, and then none before that frontier's. Else what it says would stay in the set when its enrolment leaves it,
    /// and nobody could judge it.
    pub fn may_name(&self, epochs: &Epochs, author: &crate::PeerId, epoch: u32) -> bool {
        let Some((seq, enrolled_in)) = self.enrolment(author) else { return true };
        let is_in = |view: &VersionVector| view.contains(author, seq);
        epoch == enrolled_in || epochs.view(epoch).is_none_or(is_in)
    }

    /// The base must hold what stays of the forked chain: who has the evidence no longer asks for more of that chain.
    /// Evidence against its own author would cut itself off.
    fn check_evidence(entry: &Entry, evidence: &Equivocation) -> Result<(), Invalid> {
        let (accused, kept) = evidence.accused(entry.header().run).map_err(|_| Invalid::Evidence)?;
        let allowed = accused != entry.author() && entry.base().count(&accused) >= kept;
        if allowed { Ok(()) } else { Err(Invalid::Evidence) }
    }

    fn check_update(&self, rules: &Rules, epochs: &Epochs, entry: &Entry, update: &Update) -> Result<(), Invalid> {
        let author = entry.author();
        let tokens = u64::from(update.steps) * u64::from(rules.tokens_per_step);
        if update.steps == 0 || update.steps > rules.steps_max || update.tokens != tokens {
            return Err(Invalid::Work);
        }
        update.check_merges(entry.base()).map_err(|_| Invalid::Base)?;
        // Else nobody would be of its class, and nobody would audit it.
        if rules.class.is_some_and(|class| class != update.class) {
            return Err(Invalid::Class);
        }
        // An update whose segment had begun when those before it were excluded is numbered on from them; a later one is not.
        let (segment, broken) = (self.segments(&author), self.is_broken(&author));
        if update.segment < segment || update.segment - segment > self.missing(&author, entry.seq()) {
            return Err(Invalid::Work);
        }
        let top = update.top_k().filter(|_| update.top <= rules.top).ok_or(Invalid::Density)?;
        let most = murmur_kernels::payload_bytes_max(top, rules.parameter_count());
        if update.payload_bytes as usize > most {
            return Err(Invalid::PayloadLength);
        }
        // A new epoch may have excluded what an earlier base named; within one, bases only grow.
        let last = self.last_update(&author).filter(|record| record.entry.epoch() == entry.epoch());
        if last.is_some_and(|record| !self.continues(record.entry.base(), entry.base())) {
            return Err(Invalid::Base);
        }
        self.check_carry(rules, epochs, entry, update, broken)
    }

    /// A span has its end within [`Rules::span`] updates, and all of it is held by whoever may still be asked to admit its next
    /// update: else peers that have pruned its beginning would answer otherwise than those that have not.
    fn check_carry(
        &self,
        rules: &Rules,
        epochs: &Epochs,
        entry: &Entry,
        update: &Update,
        broken: bool,
    ) -> Result<(), Invalid> {
        let author = entry.author();
        let is_of_class = |last: &Record| last.entry.update().is_some_and(|last| last.class == update.class);
        let before = match update.carry_before {
            Hash::NONE => Some(0),
            Update::CONTINUES if broken => None,
            Update::CONTINUES if !self.last_update(&author).is_some_and(is_of_class) => None,
            Update::CONTINUES => self.open_updates(epochs, &author, entry.epoch()),
            root => (broken || Some(root) == self.carry(&author)).then_some(0),
        };
        let allowed = |before| update.ends_span() || before + 1 < rules.span;
        match before.filter(|&before| before < rules.span && allowed(before)) {
            Some(_) if update.carry_after != Update::CONTINUES => Ok(()),
            Some(_) | None => Err(Invalid::Carry),
        }
    }

    /// Whether `base` names all that `before` did, but for chains that a proven fork may have cut since.
    fn continues(&self, before: &VersionVector, base: &VersionVector) -> bool {
        base.includes(before) || before.iter().all(|(a, count)| base.count(&a) >= count || self.is_forked(&a))
    }

    fn check_verdict(&self, epochs: &Epochs, entry: &Entry, verdict: &Verdict) -> Result<(), Invalid> {
        let known = entry.base().contains(&verdict.author, verdict.seq);
        let gone = self.is_cut(&verdict.author, verdict.seq) || self.is_left_out(&verdict.author, verdict.seq);
        let begins = |subject: &Entry| subject.update().is_some_and(Update::begins_span);
        let same = self.subject(verdict).is_some_and(begins) || gone;
        let again = self.has_judged(&entry.author(), &verdict.author, verdict.seq);
        let final_view = epochs.horizon(entry.epoch()).is_some_and(|view| view.contains(&verdict.author, verdict.seq));
        if !known || !same || again || final_view || verdict.author == entry.author() {
            return Err(Invalid::Subject);
        }
        Ok(())
    }
}

fn compare(held: &Arc<Entry>, entry: &Entry) -> Admission {
    if held.hash() == entry.hash() { Admission::Known } else { Admission::Forks(Box::new(held.as_ref().clone())) }
}

/// `entry` continues a branch we do not hold: the fork is at some earlier position, so that one is asked for.
fn fork_before(seq: u32) -> Admission {
    match seq.checked_sub(1) {
        Some(before) => Admission::OtherBranch { seq: before },
        None => Admission::Invalid(Invalid::Enrolment),
    }
}
