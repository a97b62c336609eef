//! The fold: the model as θ₀ minus the weighted sum of the updates in a set, in integers.
//!
//! θ(S) = θ₀ − Σ W(u)·decode(u) over the updates of S that are not void. Addition of i64 is associative and
//! commutative, so two peers with the same set hold the same bits, whatever order the entries came in.
//!
//! Contract: [`Fold::insert`] returns an [`Insertion`], whose variants say what changed. Only two change anything without
//! adding the entry: evidence of a fork closes the accused chain even while its own entry waits, and an excluded entry is
//! kept as the position after which its author continues. The state changes with `Applied` and with such evidence.

use std::{collections::BTreeMap, sync::Arc};

use murmur_kernels::{Direction, Weight, fold, state_root, to_f32, validate};

use crate::{
    Admission, Body, Chance, Entry, Epochs, Hash, Invalid, Log, PeerId, Record, Rules, Stage, State, Update,
    VersionVector,
    selection::{Participants, chance},
    standing::Standing,
};
pub use finality::Resumption;
pub use outcome::{Insertion, Judgement, RebuildError, Refused, Voided};

mod apply;
mod finality;
mod outcome;
mod resume;

/// The state of a subset, kept beside the present one for a replay.
#[derive(Debug)]
pub struct Rebuilt {
    view: VersionVector,
    state: State,
}

impl Rebuilt {
    /// Its parameters in floats, `[parameters]`.
    pub fn parameters(&self) -> Vec<f32> {
        floats(&self.state)
    }
}

/// A set of entries, and the model that is its fold.
#[derive(Clone, Debug)]
pub struct Fold {
    run: Hash,
    rules: Rules,
    log: Log,
    standing: Standing,
    epochs: Epochs,
    /// Authors and positions in the order of insertion, for computing everything again after a fork.
    order: Vec<(PeerId, u32)>,
    state: State,
}

impl Fold {
    /// The empty set over the initial state θ₀.
    ///
    /// # Panics
    /// If `genesis` has not the number of parameters that the rules state.
    pub fn new(run: Hash, rules: Rules, genesis: impl Into<State>) -> Self {
        let state = genesis.into();
        assert_eq!(state.len(), rules.parameter_count(), "θ₀ must have the manifest's number of parameters");
        let (log, standing, epochs) = (Log::default(), Standing::default(), Epochs::new(&rules));
        Self { run, rules, log, standing, epochs, order: Vec::new(), state }
    }

    /// The run all entries belong to.
    pub fn run(&self) -> Hash {
        self.run
    }

    /// The constants of the fold.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The entries.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What is final.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// All records that are not pruned, each after its causal past.
    pub fn in_order(&self) -> impl Iterator<Item = &Record> {
        self.order.iter().filter_map(|(author, seq)| self.log.record(author, *seq))
    }

    /// θ in fixed point, `[parameters]`.
    pub fn state(&self) -> &[i64] {
        &self.state
    }

    /// θ in fixed point, with the storage that the host gave it.
    pub fn present_state(&self) -> &State {
        &self.state
    }

    /// A state of zeros, held by the host as this one is.
    pub fn blank_state(&self) -> State {
        self.state.zeros()
    }

    /// θ in floats, `[parameters]`.
    pub fn parameters(&self) -> Vec<f32> {
        floats(&self.state)
    }

    /// BLAKE3 root of θ: equal sets have equal roots.
    pub fn state_root(&self) -> Hash {
        Hash(state_root(&self.state))
    }

    /// Tokens of the whole set.
    pub fn clock(&self) -> u64 {
        self.log.clock(self.log.version())
    }

    /// Whether `author` is trusted in `view`.
    pub fn is_trusted(&self, author: &PeerId, view: &VersionVector) -> bool {
        self.standing.is_trusted(&self.rules, author, view)
    }

    /// Whether updates of `author` are void, by verdicts or by a fork.
    pub fn is_evicted(&self, author: &PeerId) -> bool {
        self.voided(author).is_some()
    }

    /// Why updates of `author` are void, if they are. A fork is named first: it needs no judgement.
    pub fn voided(&self, author: &PeerId) -> Option<Voided> {
        if self.log.is_forked(author) {
            return Some(Voided::Fork);
        }
        self.standing.void_from(&self.rules, author, self.log.version()).map(|_| Voided::Audits)
    }

    /// Authors whose updates are void, ascending.
    pub fn evicted(&self) -> Vec<PeerId> {
        let mut authors: Vec<PeerId> = self.log.forked().collect();
        authors.extend(self.log.version().iter().map(|(author, _)| author).filter(|author| self.is_evicted(author)));
        authors.sort_unstable();
        authors.dedup();
        authors
    }

    /// Verdicts that count: (passed, failed).
    pub fn audits(&self) -> (u64, u64) {
        self.standing.tally(self.log.version())
    }

    /// Whether, in `view`, a trusted auditor found update `seq` of `author` false.
    pub fn is_disputed(&self, author: &PeerId, seq: u32, view: &VersionVector) -> bool {
        self.standing.is_disputed(author, seq, view)
    }

    /// The chance with which one eligible peer that knows `epoch` is drawn to audit `update`.
    pub fn chance(&self, update: &Entry, stage: Stage, epoch: u32) -> Chance {
        let seen = self.seen_by(update, epoch);
        let trusted = self.is_trusted(&update.author(), &seen);
        chance(&self.rules, &self.participants(&seen, epoch), update, stage, trusted)
    }

    /// What the author of `update` had seen, and what every peer that knows `epoch` has: standing is looked at no further back
    /// than entries of that epoch look at all, so that it is the same before and after pruning.
    fn seen_by(&self, update: &Entry, epoch: u32) -> VersionVector {
        let mut view = update.base().clone();
        let horizon = self.epochs.horizon(epoch).into_iter().flat_map(VersionVector::iter);
        horizon.for_each(|(author, count)| view.raise(author, count));
        view
    }

    /// The epoch that the next entry of `author` names, unless it is an update: the oldest that it may name, so that an update
    /// whose segment began before the newest was final can still follow.
    pub fn epoch_to_name(&self, author: &PeerId) -> u32 {
        let oldest = self.epochs.oldest_open().max(self.log.next_position(author).epoch);
        let may_name = |epoch: &u32| self.log.may_name(&self.epochs, author, *epoch);
        (oldest..=self.epochs.number()).find(may_name).unwrap_or(oldest)
    }

    /// Whether `auditor`, if it knows `epoch`, may be drawn for `update`: it is a recent participant, trusted, and its key was
    /// known to the author before the update was made.
    pub fn is_eligible(&self, auditor: &PeerId, update: &Entry, epoch: u32) -> bool {
        let seen = self.seen_by(update, epoch);
        self.participants(&seen, epoch).is_eligible(&self.rules, auditor, update)
    }

    fn participants<'a>(&'a self, seen: &'a VersionVector, epoch: u32) -> Participants<'a> {
        let newest = self.epochs.view(epoch);
        let before = epoch.checked_sub(1).and_then(|before| self.epochs.view(before));
        Participants { newest, before, begins: epoch == 0, seen, standing: &self.standing }
    }

    /// Whether `entry` would fit now; see [`Log::admit`].
    pub fn admit(&self, entry: &Entry) -> Admission {
        self.log.admit(self.run, &self.rules, &self.epochs, entry)
    }

    /// Adds an entry with its payload (updates only) to the set.
    pub fn insert(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) -> Insertion {
        self.insert_checked(entry, payload, |_, _| Ok(()))
    }

    /// The same, with a check that this crate cannot do: `check` is asked about an entry that would fit now, before its payload
    /// is looked at and anything changes. What it finds is the reason why the entry is refused.
    pub fn insert_checked(
        &mut self,
        mut entry: Entry,
        payload: Option<Arc<[u8]>>,
        check: impl FnOnce(&Self, &Entry) -> Result<(), Invalid>,
    ) -> Insertion {
        match self.admit(&entry) {
            Admission::Ready => {}
            Admission::Known => return Insertion::Known,
            Admission::Waits { needs } => {
                // A payload that is missing is asked for when the entry's turn comes.
                let payloads_held = self.payloads_needed(&entry, false).is_empty();
                let heeded = if payloads_held { self.close_on_evidence(&entry) } else { None };
                let closed = heeded.map(|(author, cut)| {
                    self.apply_all(&cut);
                    author
                });
                return Insertion::Waits { needs, closed };
            }
            Admission::Early { epoch } => return Insertion::Early { epoch },
            Admission::Excluded => {
                self.log.keep_excluded(Arc::new(entry), self.epochs.number());
                return Insertion::Excluded;
            }
            Admission::Forks(other) => return Insertion::Forks(other),
            Admission::OtherBranch { seq } => return Insertion::OtherBranch { seq },
            Admission::Invalid(invalid) => return Insertion::Refused(invalid.into()),
        }
        if let Err(invalid) = check(self, &entry) {
            return Insertion::Refused(invalid.into());
        }
        if let Err(refused) = self.check_payload(&entry, payload.as_deref()) {
            return Insertion::Refused(refused);
        }
        let is_built_on = self.is_built_on(&entry);
        let missing = self.payloads_needed(&entry, is_built_on);
        if !missing.is_empty() {
            return Insertion::NeedsPayloads(missing);
        }
        self.log.keep_base(&mut entry);
        let voided = self.append(&Arc::new(entry), payload);
        if is_built_on {
            self.weigh_again();
        }
        Insertion::Applied { voided }
    }

    /// Keeps `payload` for an entry that is in the set without it.
    ///
    /// # Errors
    /// [`Refused::WrongPayload`] if it is not the committed one.
    pub fn supply_payload(&mut self, author: &PeerId, seq: u32, payload: Arc<[u8]>) -> Result<(), Refused> {
        let Some(record) = self.log.record(author, seq) else { return Ok(()) };
        self.check_payload(&record.entry.clone(), Some(&payload))?;
        if let Some(record) = self.log.record_mut(author, seq) {
            record.payload = Some(payload);
        }
        Ok(())
    }

    /// The state of the subset `view`, rebuilt from the present one. Exact.
    ///
    /// # Errors
    /// [`RebuildError`] if the view is not held, or a payload in between is not.
    pub fn state_at(&self, view: &VersionVector) -> Result<State, RebuildError> {
        self.check_held(view)?;
        let mut state = self.state.clone();
        self.move_state(&mut state, view, |record| record.applied)?;
        Ok(state)
    }

    fn check_held(&self, view: &VersionVector) -> Result<(), RebuildError> {
        let held = self.log.version().includes(view) && view.includes(&self.epochs.pruned());
        if held { Ok(()) } else { Err(RebuildError::NotHeld) }
    }

    /// Moves a state that holds each update with the weight `from` to the subset `view`.
    fn move_state(
        &self,
        state: &mut [i64],
        view: &VersionVector,
        from: impl Fn(&Record) -> Weight,
    ) -> Result<(), RebuildError> {
        for record in self.log.records().filter(|record| record.entry.update().is_some()) {
            let to = self.target_weight(&record.entry.author(), record.entry.seq(), view);
            move_weight(record, [from(record), to], state)?;
        }
        Ok(())
    }

    /// θ of the subset `view` in floats; see [`Fold::state_at`].
    ///
    /// # Errors
    /// As [`Fold::state_at`].
    pub fn parameters_at(&self, view: &VersionVector) -> Result<Vec<f32>, RebuildError> {
        self.state_at(view).map(|state| floats(&state))
    }

    /// The state of the subset `view`, to be moved on from there.
    ///
    /// # Errors
    /// As [`Fold::state_at`].
    pub fn rebuilt(&self, view: &VersionVector) -> Result<Rebuilt, RebuildError> {
        Ok(Rebuilt { view: view.clone(), state: self.state_at(view)? })
    }

    /// Moves a rebuilt state on to another subset: much cheaper than to rebuild that one, if it is not far.
    ///
    /// # Errors
    /// [`RebuildError`] if one of the two is not held, or a payload in between is not. The state is then of no use.
    pub fn advance(&self, rebuilt: &mut Rebuilt, view: &VersionVector) -> Result<(), RebuildError> {
        let Rebuilt { view: before, state } = rebuilt;
        self.check_held(before)?;
        self.check_held(view)?;
        let from = |record: &Record| self.target_weight(&record.entry.author(), record.entry.seq(), before);
        self.move_state(state, view, from)?;
        *before = view.clone();
        Ok(())
    }

    fn check_payload(&self, entry: &Entry, payload: Option<&[u8]>) -> Result<(), Refused> {
        let Some(update) = entry.update() else {
            return if payload.is_none() { Ok(()) } else { Err(Refused::WrongPayload) };
        };
        let payload = payload.filter(|bytes| bytes.len() == update.payload_bytes as usize);
        let payload = payload.filter(|bytes| murmur_kernels::blob_root(bytes) == update.payload.0);
        let payload = payload.ok_or(Refused::WrongPayload)?;
        let top = update.top_k().ok_or(Refused::WrongPayload)?;
        let norm = validate(top, self.rules.parameter_count(), payload).map_err(Refused::Payload)?;
        if norm.0 == update.norm { Ok(()) } else { Err(Refused::Norm) }
    }

    /// Payloads without which the voiding that `entry` may cause cannot be computed. A fork may change any weight that is not
    /// final, and so may what others have built on.
    fn payloads_needed(&self, entry: &Entry, is_built_on: bool) -> Vec<(PeerId, u32)> {
        if is_built_on || matches!(entry.header().body, Body::Equivocation(_)) {
            return self.payloads_to_weigh_again(Some(entry));
        }
        let Some(judged) = entry.verdict().filter(|verdict| !verdict.passed) else { return Vec::new() };
        let disputed = self.disputed(Some(entry));
        let from = disputed.get(&judged.author).copied().unwrap_or(judged.seq);
        self.payloads_missing(|record| record.entry.author() == judged.author && record.entry.seq() >= from)
    }

    /// Payloads without which not everything that is not final can be weighed again, as [`Fold::finalize`] and forks do: those
    /// of all that is not final, and of what verdicts that are not final either, `new` with them, may void or no longer void.
    /// Of the rest who began at a final frontier has none, nor need it any.
    fn payloads_to_weigh_again(&self, new: Option<&Entry>) -> Vec<(PeerId, u32)> {
        let (final_view, disputed) = (&self.epochs.newest().view, self.disputed(new));
        self.payloads_missing(|record| {
            let (author, seq) = (record.entry.author(), record.entry.seq());
            !final_view.contains(&author, seq) || disputed.get(&author).is_some_and(|from| seq >= *from)
        })
    }

    /// The first update of each author that a verdict found false, of those that are not final and of `new`.
    fn disputed(&self, new: Option<&Entry>) -> BTreeMap<PeerId, u32> {
        let final_view = &self.epochs.newest().view;
        let held = self.log.records().map(|record| record.entry.as_ref());
        let open = held.filter(|entry| !final_view.contains(&entry.author(), entry.seq()));
        let mut disputed = BTreeMap::new();
        for verdict in open.chain(new).filter_map(Entry::verdict).filter(|verdict| !verdict.passed) {
            let first = disputed.entry(verdict.author).or_insert(verdict.seq);
            *first = verdict.seq.min(*first);
        }
        disputed
    }

    /// Updates of which `concerned` holds and whose payload is not held.
    fn payloads_missing(&self, concerned: impl Fn(&Record) -> bool) -> Vec<(PeerId, u32)> {
        let missing = |record: &&Record| record.entry.update().is_some() && record.payload.is_none();
        let records = self.log.records().filter(missing).filter(|record| concerned(record));
        records.map(|record| (record.entry.author(), record.entry.seq())).collect()
    }
}

/// Changes what `state` holds of `record` from one weight to another.
fn move_weight(record: &Record, [from, to]: [Weight; 2], state: &mut [i64]) -> Result<(), RebuildError> {
    if from == to {
        return Ok(());
    }
    let (author, seq) = (record.entry.author(), record.entry.seq());
    let payload = record.payload.as_deref().ok_or(RebuildError::PayloadMissing { author, seq })?;
    let top = record.entry.update().and_then(Update::top_k).expect("updates were checked on the way in");
    for (weight, direction) in [(from, Direction::Remove), (to, Direction::Add)] {
        if weight != Weight::ZERO {
            fold(top, payload, weight, direction, state).expect("payloads were validated on the way in");
        }
    }
    Ok(())
}

fn floats(state: &[i64]) -> Vec<f32> {
    let mut values = vec![0.0; state.len()];
    to_f32(state, &mut values);
    values
}
