//! Beginning at a final frontier: its foundation and state come as blobs from several neighbours at once, the entries it
//! names as headers; when all is there and right, the fold is replaced. A newcomer does this, and a peer so far behind
//! that nobody serves the entries in between. It is also how a pruned disk is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use murmur_collectives::{
    Certificate, Entry, Epochs, FOUNDATION_BYTES_MAX, Fold, Foundation, Frontier, Hash, PeerId, Proposal, Resumption,
    Row, State, VersionVector,
};
use rkyv::{Archive, Deserialize, Serialize, rancor};

use super::{
    Node,
    contents::Wanted,
    replication::{Checked, Room, checked},
};
use crate::{Event, Message, Output, StoredEntry, Time, Want};

/// Fruitless answers for each neighbour after which a frontier is given up, on average: the one to ask is drawn.
const FRUITLESS_EACH: usize = 3;

/// What a peer keeps of a final frontier beside its state.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct Proof {
    pub(super) chain: Vec<Certificate>,
    pub(super) rows: Vec<Row>,
    pub(super) foundation: Vec<u8>,
}

/// A final frontier that is being fetched.
#[derive(Debug)]
pub(super) struct Staging {
    chain: Vec<Certificate>,
    proposal: Proposal,
    foundation: Option<Foundation>,
    state: Option<State>,
    /// Entries to come, by name, with their hashes.
    wanted: BTreeMap<(PeerId, u32), Hash>,
    held: Vec<Checked>,
    /// Authors whose entries are asked for, and until when.
    asked: BTreeMap<PeerId, Time>,
    /// Answers in a row that held entries of those authors and none of those to come: who gave them has pruned them.
    fruitless: usize,
    pub(super) progress_at: Time,
}

impl Staging {
    fn frontier(&self) -> &Frontier {
        &self.proposal.frontier
    }

    /// When something is to be asked for again, or the attempt is given up.
    pub(super) fn next_deadline(&self, patience: core::time::Duration) -> Time {
        let given_up = self.progress_at + patience;
        self.asked.values().copied().min().map_or(given_up, |asked| asked.min(given_up))
    }

    fn is_complete(&self) -> bool {
        self.foundation.is_some() && self.state.is_some() && self.wanted.is_empty()
    }

    /// Takes an entry if it is one of those to come.
    fn take(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) -> bool {
        let name = (entry.author(), entry.seq());
        let wanted = self.wanted.get(&name) == Some(&entry.hash());
        if wanted {
            self.wanted.remove(&name);
            self.fruitless = 0;
            self.held.push((entry, payload));
        }
        wanted
    }
}

impl Node {
    pub(super) fn is_staging(&self) -> bool {
        self.catch_up.staging().is_some()
    }

    /// Begins to fetch the newest frontier of a chain of certificates that were checked.
    pub(super) fn begin_staging(&mut self, from: PeerId, chain: Vec<Certificate>, proposal: Proposal) {
        let (foundation, state) = (proposal.frontier.foundation, proposal.frontier.state);
        let epoch = proposal.frontier.epoch;
        let staging = Staging {
            chain,
            proposal,
            foundation: None,
            state: None,
            wanted: BTreeMap::new(),
            held: Vec::new(),
            asked: BTreeMap::new(),
            fruitless: 0,
            progress_at: self.core.now,
        };
        self.catch_up.begin_staging(staging);
        let parameters = self.set.fold.rules().parameters;
        self.blobs.keep_only_state(state);
        let mut sources = self.staging_sources(epoch);
        sources.push(from);
        for source in sources {
            self.fetch(foundation, Wanted::Bytes(FOUNDATION_BYTES_MAX as u64), source);
            self.fetch(state, Wanted::State(parameters), source);
        }
    }

    fn staging_sources(&self, epoch: u32) -> Vec<PeerId> {
        self.neighbours().into_iter().filter(|peer| self.replication.epoch_at(peer).0 >= epoch).collect()
    }

    /// A blob came that may be part of what is fetched. Whether it was.
    pub(super) fn stage_blob(&mut self, root: Hash) -> bool {
        let Some(staging) = self.catch_up.staging_mut() else { return false };
        let (foundation, state) = (staging.frontier().foundation, staging.frontier().state);
        if root != foundation && root != state {
            return false;
        }
        staging.progress_at = self.core.now;
        if root == state {
            staging.state = self.blobs.take_state(&root);
        } else if let Some(foundation) = self.blobs.take(&root).and_then(|bytes| Foundation::decode(&bytes)) {
            self.stage_foundation(foundation);
        }
        self.resume_if_complete();
        true
    }

    /// Whether a lost blob ends the attempt.
    pub(super) fn is_staged(&self, root: Hash) -> bool {
        self.catch_up.staging().is_some_and(|s| s.frontier().foundation == root || s.frontier().state == root)
    }

    /// Whether this is the state that is fetched.
    pub(super) fn is_staged_state(&self, root: &Hash) -> bool {
        self.catch_up.staging().is_some_and(|staging| staging.frontier().state == *root)
    }

    fn stage_foundation(&mut self, foundation: Foundation) {
        let held: Vec<Checked> =
            self.set.fold.log().records().map(|r| (r.entry.as_ref().clone(), r.payload.clone())).collect();
        let Some(staging) = self.catch_up.staging_mut() else { return };
        for chain in &foundation.kept {
            staging.wanted.extend(chain.entries.iter().map(|kept| ((chain.author, kept.seq), kept.hash)));
        }
        staging.foundation = Some(foundation);
        for (entry, payload) in held {
            staging.take(entry, payload);
        }
        self.stage_wants();
    }

    /// Asks for entries that nobody was asked for, one request an author.
    pub(super) fn stage_wants(&mut self) {
        let now = self.core.now;
        let deadline = now + self.core.config.request_timeout;
        let Some(staging) = self.catch_up.staging_mut() else { return };
        staging.asked.retain(|_, until| *until > now);
        let mut first: BTreeMap<PeerId, u32> = BTreeMap::new();
        for (author, seq) in staging.wanted.keys().filter(|(author, _)| !staging.asked.contains_key(author)) {
            first.entry(*author).or_insert(*seq);
        }
        let epoch = staging.frontier().epoch;
        staging.asked.extend(first.keys().map(|author| (*author, deadline)));
        let sources = self.staging_sources(epoch);
        for (author, from) in first.into_iter().filter(|_| !sources.is_empty()) {
            let to = sources[self.core.below(sources.len())];
            self.send(to, &Message::Want(Want { author, from, count: 64, payloads: false }));
        }
    }

    /// Takes an entry while fetching; others are held until the set is there.
    pub(super) fn stage(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) {
        let (now, room) = (self.core.now, Room::of(&self.core.config));
        let Some(staging) = self.catch_up.staging_mut() else { return };
        if staging.take(entry.clone(), payload.clone()) {
            staging.progress_at = now;
        } else if !staging.proposal.view().contains(&entry.author(), entry.seq()) {
            self.replication.keep(entry, payload, room);
        }
    }

    /// An answer came for entries of `authors`. If all neighbours have gone on to where they no longer hold what is to come,
    /// so does this peer.
    pub(super) fn stage_more(&mut self, authors: &BTreeSet<PeerId>) {
        if let Some(staging) = self.catch_up.staging_mut() {
            staging.asked.retain(|author, _| !authors.contains(author));
            staging.fruitless += usize::from(!staging.wanted.is_empty());
            if staging.fruitless > FRUITLESS_EACH * self.neighbours.len() {
                return self.catch_up.look_again();
            }
        }
        self.resume_if_complete();
        self.stage_wants();
    }

    fn resume_if_complete(&mut self) {
        let Some(staging) = self.catch_up.take_staging_if(Staging::is_complete) else { return };
        let Staging { chain, proposal, foundation, state, held, .. } = staging;
        let (Some(foundation), Some(state)) = (foundation, state) else { return };
        match self.resume(chain, proposal.rows, foundation, state, held) {
            Ok(old) => {
                self.neighbours.forget_fallen();
                // What this peer said since may have to wait for its past; its positions are taken all the same.
                self.catch_up.expect_own(old.log().place(&self.id()).seq);
                self.hold_again(&old);
                drop(old); // its state goes before the new one is copied for the disk
                self.catch_up.follow();
                self.core.tell(Event::Final {
                    epoch: self.set.fold.epochs().number(),
                    clock: self.set.fold.clock(),
                    excluded: 0,
                });
                self.keep_final();
                self.retry_all_pending();
            }
            Err(reason) => {
                self.core.tell(Event::BadInput { peer: self.id(), reason });
                self.catch_up.look_again();
            }
        }
    }

    /// Replaces the fold by one that begins at the newest frontier of `chain`; gives the old one back.
    fn resume(
        &mut self,
        chain: Vec<Certificate>,
        rows: Vec<Row>,
        foundation: Foundation,
        state: State,
        entries: Vec<Checked>,
    ) -> Result<Fold, String> {
        let (run, rules) = (self.set.fold.run(), self.set.fold.rules().clone());
        let genesis = Frontier::genesis(&rules);
        let mut names = vec![genesis.name()];
        names.extend(Epochs::follow(run, &rules, &genesis, &chain).map_err(|error| error.to_string())?);
        let certificate = chain.last().cloned().ok_or("no certificate")?;
        let resumption = Resumption { names, certificate, rows, foundation, state, entries };
        let fold = Fold::resume(run, rules, resumption).map_err(|error| error.to_string())?;
        self.begin_epoch();
        self.finality.chain = chain;
        Ok(core::mem::replace(&mut self.set.fold, fold))
    }

    /// What the old fold held beyond the frontier may still fit.
    fn hold_again(&mut self, old: &Fold) {
        let view = self.set.fold.epochs().newest().view.clone();
        let beyond = old.log().records().filter(|r| !view.contains(&r.entry.author(), r.entry.seq()));
        for record in beyond {
            let entry = record.entry.as_ref().clone();
            self.replication.hold(entry, record.payload.clone(), Room::BOUNDLESS);
        }
        for entry in old.log().all_excluded() {
            self.replication.hold(entry.as_ref().clone(), None, Room::BOUNDLESS);
        }
    }

    /// Puts back what [`Output::Compact`] stored and what was appended since.
    pub(super) fn restore_compacted(&mut self, proof: &[u8], state: State, entries: Vec<StoredEntry>) {
        let entries = entries.into_iter().filter_map(checked);
        let mut later = Vec::new();
        let resumed = rkyv::from_bytes::<Proof, rancor::Failure>(proof).ok().and_then(|proof| {
            let view: VersionVector = proof.rows.iter().map(|row| (row.author, row.count)).collect();
            let (within, beyond) = entries.partition(|(entry, _)| view.contains(&entry.author(), entry.seq()));
            later = beyond;
            let foundation = Foundation::decode(&proof.foundation)?;
            self.resume(proof.chain, proof.rows, foundation, state, within).ok()
        });
        if resumed.is_none() {
            // Its parts do not belong together: everything comes again from the network.
            self.core.outputs.push_back(Output::Reset);
            return;
        }
        self.replication.put_back(&mut self.set, later);
        self.serve_final();
    }
}
