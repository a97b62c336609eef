//! The fold: the model as θ₀ minus the weighted sum of the updates in a set, in integers.
//!
//! θ(S) = θ₀ − Σ W(u)·decode(u) over the updates of S that are not void. Addition of i64 is associative and
//! commutative, so two peers with the same set hold the same bits, whatever order the entries came in.
//!
//! Contract: [`Fold::insert`] either applies an entry wholly or changes nothing.

use std::sync::Arc;

use murmur_kernels::{CodecError, Direction, Weight, fold, state_root, to_f32, validate};

use crate::{
    Admission, Body, Entry, Hash, Invalid, Log, PeerId, Record, Rules, VersionVector, standing::Standing, weigh::weigh,
};

/// A set of entries and the model it stands for.
#[derive(Clone, Debug)]
pub struct Fold {
    run: Hash,
    rules: Rules,
    log: Log,
    standing: Standing,
    /// Authors and positions in the order of insertion, for computing everything again after a fork.
    order: Vec<(PeerId, u32)>,
    state: Vec<i64>,
}

/// What became of an entry offered to the fold.
#[derive(Debug)]
pub enum Insertion {
    /// It is in the set now. If verdicts or a fork voided updates with it, their author is named.
    Applied {
        /// Author whose updates just became void.
        voided: Option<PeerId>,
    },
    /// Nothing to do.
    Known,
    /// Something must come first. Nothing changed, unless it proves a fork.
    Waits {
        /// Entries needed.
        needs: VersionVector,
        /// The author whose fork it proves: that chain is closed already.
        closed: Option<PeerId>,
    },
    /// These updates' payloads are needed to remove them; nothing changed.
    NeedsPayloads(Vec<(PeerId, u32)>),
    /// The author signed two entries for one position; nothing changed. Here is the other one.
    Forks(Box<Entry>),
    /// It continues a branch that is not held; nothing changed. Ask for this position to see the fork.
    OtherBranch {
        /// The position before the entry's own.
        seq: u32,
    },
    /// It can never be part of the set; nothing changed.
    Refused(Refused),
}

/// Why an entry can never be part of the set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// The entry breaks a rule that its author signed up to.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The payload is not the one committed to, or there should be none: the sender's fault, the entry may be good.
    #[error("payload does not match its commitment")]
    WrongPayload,
    /// The payload is the committed one, and malformed: the author's fault.
    #[error("payload is malformed: {0}")]
    Payload(CodecError),
    /// The committed norm is not the payload's.
    #[error("claimed norm is not the payload's")]
    Norm,
}

/// A past state cannot be rebuilt.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RebuildError {
    /// The view names entries that the set does not hold.
    #[error("the view is not a subset of the log")]
    NotHeld,
    /// A payload in between is not held.
    #[error("payload {seq} of {author:?} is not held")]
    PayloadMissing {
        /// Whose.
        author: PeerId,
        /// Which entry.
        seq: u32,
    },
}

impl Fold {
    /// The empty set over the initial state θ₀.
    ///
    /// # Panics
    /// If `genesis` has not the number of parameters that the rules state.
    pub fn new(run: Hash, rules: Rules, genesis: Vec<i64>) -> Self {
        assert_eq!(genesis.len(), rules.parameter_count(), "θ₀ must have the manifest's number of parameters");
        let (log, standing) = (Log::default(), Standing::default());
        Self { run, rules, log, standing, order: Vec::new(), state: genesis }
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

    /// θ in fixed point, `[parameters]`.
    pub fn state(&self) -> &[i64] {
        &self.state
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
        self.log.is_forked(author) || self.standing.void_from(&self.rules, author, self.log.version()).is_some()
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

    /// Whether `entry` would fit now; see [`Log::admit`].
    pub fn admit(&self, entry: &Entry) -> Admission {
        self.log.admit(self.run, &self.rules, entry)
    }

    /// Adds an entry with its payload (updates only) to the set.
    pub fn insert(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) -> Insertion {
        match self.admit(&entry) {
            Admission::Ready => {}
            Admission::Known => return Insertion::Known,
            Admission::Waits { needs } => {
                // A payload that is missing is asked for when the entry's turn comes.
                let payloads_held = self.payloads_needed(&entry).is_empty();
                let heeded = if payloads_held { self.heed_evidence(&entry) } else { None };
                let closed = heeded.map(|(author, cut)| {
                    self.settle_all(&cut);
                    author
                });
                return Insertion::Waits { needs, closed };
            }
            Admission::Forks(other) => return Insertion::Forks(other),
            Admission::OtherBranch { seq } => return Insertion::OtherBranch { seq },
            Admission::Invalid(invalid) => return Insertion::Refused(invalid.into()),
        }
        if let Err(refused) = self.check_payload(&entry, payload.as_deref()) {
            return Insertion::Refused(refused);
        }
        let missing = self.payloads_needed(&entry);
        if !missing.is_empty() {
            return Insertion::NeedsPayloads(missing);
        }
        let voided = self.append(&Arc::new(entry), payload);
        Insertion::Applied { voided }
    }

    /// Adds an entry whose effect is contained in a checkpoint that [`Fold::adopt`] will bring: no payload is needed.
    pub fn insert_header(&mut self, entry: Entry) -> Insertion {
        match self.admit(&entry) {
            Admission::Ready => {
                self.append_header(&Arc::new(entry), None);
                Insertion::Applied { voided: None }
            }
            Admission::Known => Insertion::Known,
            Admission::Waits { needs } => {
                let closed = self.heed_evidence(&entry).map(|(author, _)| author);
                Insertion::Waits { needs, closed }
            }
            Admission::Forks(other) => Insertion::Forks(other),
            Admission::OtherBranch { seq } => Insertion::OtherBranch { seq },
            Admission::Invalid(invalid) => Insertion::Refused(invalid.into()),
        }
    }

    /// Takes `state` as the state of exactly the set held now. The caller has checked its root.
    pub fn adopt(&mut self, state: Vec<i64>) {
        assert_eq!(state.len(), self.state.len(), "a checkpoint has the manifest's number of parameters");
        self.state = state;
        for (author, seq) in self.order.clone() {
            let target = self.target_weight(&author, seq, self.log.version());
            if let Some(record) = self.log.record_mut(&author, seq) {
                record.applied = target;
            }
        }
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
    pub fn state_at(&self, view: &VersionVector) -> Result<Vec<i64>, RebuildError> {
        if !self.log.version().includes(view) {
            return Err(RebuildError::NotHeld);
        }
        let mut state = self.state.clone();
        for record in self.log.records().filter(|record| record.entry.update().is_some()) {
            let (author, seq) = (record.entry.author(), record.entry.seq());
            let target = self.target_weight(&author, seq, view);
            move_weight(&self.rules, record, target, &mut state)?;
        }
        Ok(state)
    }

    /// θ of the subset `view` in floats; see [`Fold::state_at`].
    ///
    /// # Errors
    /// As [`Fold::state_at`].
    pub fn parameters_at(&self, view: &VersionVector) -> Result<Vec<f32>, RebuildError> {
        self.state_at(view).map(|state| floats(&state))
    }

    fn check_payload(&self, entry: &Entry, payload: Option<&[u8]>) -> Result<(), Refused> {
        let Some(update) = entry.update() else {
            return if payload.is_none() { Ok(()) } else { Err(Refused::WrongPayload) };
        };
        let payload = payload.filter(|bytes| bytes.len() == update.payload_bytes as usize);
        let payload = payload.filter(|bytes| murmur_kernels::blob_root(bytes) == update.payload.0);
        let payload = payload.ok_or(Refused::WrongPayload)?;
        let norm = validate(self.rules.top_k(), self.rules.parameter_count(), payload).map_err(Refused::Payload)?;
        if norm.0 == update.norm { Ok(()) } else { Err(Refused::Norm) }
    }

    /// Payloads without which the voiding that `entry` may cause cannot be computed. A fork may change any weight.
    fn payloads_needed(&self, entry: &Entry) -> Vec<(PeerId, u32)> {
        let judged = match &entry.header().body {
            Body::Verdict(verdict) if !verdict.passed => Some(verdict.author),
            Body::Equivocation(_) => None,
            Body::Enroll(_) | Body::Update(_) | Body::Verdict(_) => return Vec::new(),
        };
        let concerned = |record: &&Record| judged.is_none_or(|author| author == record.entry.author());
        let missing = |record: &&Record| record.entry.update().is_some() && record.payload.is_none();
        let records = self.log.records().filter(concerned).filter(missing);
        records.map(|record| (record.entry.author(), record.entry.seq())).collect()
    }

    fn append(&mut self, entry: &Arc<Entry>, payload: Option<Arc<[u8]>>) -> Option<PeerId> {
        let (author, seq) = (entry.author(), entry.seq());
        match self.append_header(entry, payload) {
            Effect::None => {
                self.settle_one(&author, seq);
                None
            }
            Effect::Voided(author) => {
                self.settle(&author);
                Some(author)
            }
            Effect::Closed(author, cut) => {
                self.settle_all(&cut);
                Some(author)
            }
        }
    }

    /// Proof of a fork holds whoever brings it and whenever: it closes the chain although the entry that carries it must
    /// still wait. What honest peers said before the proof may name entries of the branches that nobody serves any
    /// more, and the proof stands behind what they said.
    fn heed_evidence(&mut self, entry: &Entry) -> Option<(PeerId, Vec<Record>)> {
        let Body::Equivocation(evidence) = &entry.header().body else { return None };
        let (accused, kept) = evidence.accused(self.run).ok()?;
        let known = accused == entry.author() || self.log.is_cut(&accused, kept);
        (!known).then(|| (accused, self.close(accused, kept)))
    }

    /// Takes what was cut off out of the state, and brings the rest in line with its weights.
    fn settle_all(&mut self, cut: &[Record]) {
        for record in cut {
            move_weight(&self.rules, record, Weight::ZERO, &mut self.state).expect(PAYLOADS_HELD);
        }
        let authors: Vec<PeerId> = self.log.version().iter().map(|(author, _)| author).collect();
        authors.iter().for_each(|author| self.settle(author));
    }

    /// Appends to the log and to the standing; leaves the state alone.
    fn append_header(&mut self, entry: &Arc<Entry>, payload: Option<Arc<[u8]>>) -> Effect {
        let weight = entry.update().map_or(Weight::ZERO, |u| weigh(&self.rules, &self.log, &self.standing, entry, u));
        self.order.push((entry.author(), entry.seq()));
        self.log.append(entry.clone(), payload, weight);
        match &entry.header().body {
            Body::Verdict(_) => self.rule(entry).map_or(Effect::None, Effect::Voided),
            Body::Equivocation(evidence) => match evidence.accused(self.run) {
                Ok((accused, kept)) => Effect::Closed(accused, self.close(accused, kept)),
                Err(_) => Effect::None,
            },
            Body::Enroll(_) | Body::Update(_) => Effect::None,
        }
    }

    /// Counts a verdict if its auditor was trusted in its past and its subject was not cut off by a fork. Names the judged
    /// author if that voided something.
    fn rule(&mut self, entry: &Entry) -> Option<PeerId> {
        let verdict = entry.verdict().filter(|verdict| self.log.holds_subject(verdict))?;
        if !self.standing.is_trusted(&self.rules, &entry.author(), entry.base()) {
            return None;
        }
        let before = self.standing.void_from(&self.rules, &verdict.author, self.log.version());
        self.standing.record(verdict.author, verdict.seq, entry.author(), entry.seq(), verdict.passed);
        let after = self.standing.void_from(&self.rules, &verdict.author, self.log.version());
        (before != after).then_some(verdict.author)
    }

    /// Brings the state in line with what each update of `author` should weigh now.
    fn settle(&mut self, author: &PeerId) {
        for seq in 0..self.log.version().count(author) {
            self.settle_one(author, seq);
        }
    }

    fn settle_one(&mut self, author: &PeerId, seq: u32) {
        let target = self.target_weight(author, seq, self.log.version());
        let Some(record) = self.log.record_mut(author, seq) else { return };
        move_weight(&self.rules, record, target, &mut self.state).expect(PAYLOADS_HELD);
        record.applied = target;
    }

    /// What update `seq` of `author` weighs in the state of `view`.
    fn target_weight(&self, author: &PeerId, seq: u32, view: &VersionVector) -> Weight {
        let void = || self.standing.void_from(&self.rules, author, view).is_some_and(|from| seq >= from);
        match self.log.record(author, seq) {
            Some(record) if view.contains(author, seq) && !void() => record.weight,
            Some(_) | None => Weight::ZERO,
        }
    }

    /// A proven fork: everything of the author from that position on leaves the set and is returned, and as others may
    /// have counted those entries in their past, all weights are computed again. Rare, so simple rather than fast.
    fn close(&mut self, author: PeerId, kept: u32) -> Vec<Record> {
        let cut = self.log.close(author, kept);
        self.order.retain(|(a, seq)| *a != author || self.log.version().contains(a, *seq));
        self.standing = Standing::default();
        for (author, seq) in self.order.clone() {
            self.recompute(&author, seq);
        }
        cut
    }

    fn recompute(&mut self, author: &PeerId, seq: u32) {
        let Some(entry) = self.log.record(author, seq).map(|record| record.entry.clone()) else { return };
        if let Some(update) = entry.update() {
            let weight = weigh(&self.rules, &self.log, &self.standing, &entry, update);
            if let Some(record) = self.log.record_mut(author, seq) {
                record.weight = weight;
            }
        }
        self.rule(&entry);
    }
}

/// Why a payload that is needed is there: [`Fold::insert`] asked for it before it changed anything.
const PAYLOADS_HELD: &str = "payloads were checked to be held";

/// What an entry did to the standing of others.
enum Effect {
    None,
    /// Updates of this author became void.
    Voided(PeerId),
    /// This author's chain was closed, and this was cut off.
    Closed(PeerId, Vec<Record>),
}

/// Changes what `state` holds of `record` from what is applied to `target`.
fn move_weight(rules: &Rules, record: &Record, target: Weight, state: &mut [i64]) -> Result<(), RebuildError> {
    if record.applied == target {
        return Ok(());
    }
    let (author, seq) = (record.entry.author(), record.entry.seq());
    let payload = record.payload.as_deref().ok_or(RebuildError::PayloadMissing { author, seq })?;
    for (weight, direction) in [(record.applied, Direction::Remove), (target, Direction::Add)] {
        if weight != Weight::ZERO {
            fold(rules.top_k(), payload, weight, direction, state).expect("payloads were validated on the way in");
        }
    }
    Ok(())
}

fn floats(state: &[i64]) -> Vec<f32> {
    let mut values = vec![0.0; state.len()];
    to_f32(state, &mut values);
    values
}
