//! Beginning at a final frontier: its foundation and state come as blobs from several neighbours at once, the entries it
//! names as headers; when all is there and right, the fold is replaced. A newcomer does this, and a peer so far behind that
//! no peer serves the entries in between.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use murmur_collectives::{Certificate, Entry, Fold, Foundation, Hash, PeerId, Proposal, State};

use super::{CatchUp, Context, Event, Stage, checkpoint::begin_at};
use crate::{
    Output, Time, Want,
    message::Request,
    node::{
        replication::{Checked, WANT_MAX},
        transfer::Wanted,
    },
};

/// A frontier is given up after this many fruitless answers for each neighbour, on average: each request goes to one that is
/// drawn.
const FRUITLESS_EACH: usize = 3;

/// A final frontier that is being fetched.
#[derive(Debug)]
pub(super) struct Staging {
    chain: Vec<Certificate>,
    proposal: Proposal,
    foundation: Option<Foundation>,
    state: Option<State>,
    /// Entries to come, by name, with their hashes. Known once the foundation is here.
    wanted: BTreeMap<(PeerId, u32), Hash>,
    held: Vec<Checked>,
    /// Authors whose entries are asked for, and until when.
    asked: BTreeMap<PeerId, Time>,
    /// Answers in a row that held entries of those authors and none of those to come: the peers that gave them have pruned
    /// these.
    fruitless: usize,
    progress_at: Time,
}

impl Staging {
    pub(super) fn new(chain: Vec<Certificate>, proposal: Proposal, now: Time) -> Self {
        Self {
            chain,
            proposal,
            foundation: None,
            state: None,
            wanted: BTreeMap::new(),
            held: Vec::new(),
            asked: BTreeMap::new(),
            fruitless: 0,
            progress_at: now,
        }
    }

    fn is_foundation(&self, root: &Hash) -> bool {
        self.proposal.frontier.foundation == *root
    }

    fn is_state(&self, root: &Hash) -> bool {
        self.proposal.frontier.state == *root
    }

    /// When the fetch is given up, unless something comes before.
    pub(super) fn stalled_at(&self, patience: Duration) -> Time {
        self.progress_at + patience
    }

    /// When entries are asked for again, or the fetch is given up.
    pub(super) fn next_deadline(&self, patience: Duration) -> Time {
        let stalled_at = self.stalled_at(patience);
        self.asked.values().copied().min().map_or(stalled_at, |asked| asked.min(stalled_at))
    }

    fn is_complete(&self) -> bool {
        self.foundation.is_some() && self.state.is_some() && self.wanted.is_empty()
    }

    /// Takes the foundation, which says what entries are to come, and those of them that the present set holds.
    fn take_foundation(&mut self, foundation: Foundation, present: &Fold) {
        for chain in &foundation.kept {
            self.wanted.extend(chain.entries.iter().map(|kept| ((chain.author, kept.seq), kept.hash)));
        }
        self.foundation = Some(foundation);
        for record in present.log().records() {
            self.take_entry(record.entry.as_ref(), record.payload.as_ref());
        }
    }

    /// Takes an entry if it is one of those to come.
    fn take_entry(&mut self, entry: &Entry, payload: Option<&Arc<[u8]>>) -> bool {
        let name = (entry.author(), entry.seq());
        let wanted = self.wanted.get(&name) == Some(&entry.hash());
        if wanted {
            self.wanted.remove(&name);
            self.fruitless = 0;
            self.held.push((entry.clone(), payload.cloned()));
        }
        wanted
    }

    /// The authors that are to be asked for now, each with the first position to come. They count as asked until `deadline`.
    fn next_requests(&mut self, now: Time, deadline: Time) -> BTreeMap<PeerId, u32> {
        self.asked.retain(|_, until| *until > now);
        let mut first: BTreeMap<PeerId, u32> = BTreeMap::new();
        for (author, seq) in self.wanted.keys().filter(|(author, _)| !self.asked.contains_key(author)) {
            first.entry(*author).or_insert(*seq);
        }
        self.asked.extend(first.keys().map(|author| (*author, deadline)));
        first
    }

    /// An answer came for entries of `authors`. Gives back how many in a row have been fruitless.
    fn note_answer(&mut self, authors: &BTreeSet<PeerId>) -> usize {
        self.asked.retain(|author, _| !authors.contains(author));
        self.fruitless += usize::from(!self.wanted.is_empty());
        self.fruitless
    }
}

impl CatchUp {
    /// Begins to fetch the newest frontier of a chain of certificates that were checked; `from` knows it.
    pub(crate) fn begin_staging(
        &mut self,
        cx: &mut Context<'_>,
        from: PeerId,
        chain: Vec<Certificate>,
        proposal: Proposal,
    ) {
        let (foundation, state) = (proposal.frontier.foundation, proposal.frontier.state);
        let mut sources = cx.sources(proposal.frontier.epoch);
        sources.push(from);
        self.stage = Stage::Staging(Box::new(Staging::new(chain, proposal, cx.net.core.now)));
        cx.transfer.keep_only_state(state);
        let wanted = Wanted::state(cx.set.fold.rules());
        for source in sources {
            let (transfer, mut below) = cx.transfer();
            transfer.fetch(&mut below, foundation, Wanted::foundation(), source);
            transfer.fetch(&mut below, state, wanted, source);
        }
    }

    /// A chunk of a blob came. If it is a state's, the disk keeps it, so that a restarted peer need not fetch it again.
    pub(crate) fn on_chunk(&mut self, cx: &mut Context<'_>, root: Hash, index: u32, bytes: Vec<u8>) {
        let now = cx.net.core.now;
        let Some(staging) = self.staging_mut() else { return };
        if staging.is_state(&root) || staging.is_foundation(&root) {
            staging.progress_at = now;
        }
        if staging.is_state(&root) {
            cx.net.core.outputs.push_back(Output::KeepChunk { root, index, bytes });
        }
    }

    /// A blob came. Whether it is part of the frontier that is fetched.
    pub(crate) fn on_blob_complete(&mut self, cx: &mut Context<'_>, root: Hash) -> bool {
        let now = cx.net.core.now;
        let Some(staging) = self.staging_mut() else { return false };
        if !staging.is_foundation(&root) && !staging.is_state(&root) {
            return false;
        }
        staging.progress_at = now;
        if staging.is_state(&root) {
            staging.state = cx.transfer.take_state(&root);
        } else if let Some(foundation) = cx.transfer.take(&root).and_then(|bytes| Foundation::decode(&bytes)) {
            staging.take_foundation(foundation, &cx.set.fold);
            self.ask_for_entries(cx);
        }
        self.replace_if_complete(cx);
        true
    }

    /// No peer serves a blob any more. If it is part of the frontier, that is given up: neighbours may know a newer one.
    pub(crate) fn on_blob_lost(&mut self, root: &Hash) {
        if self.staging().is_some_and(|staging| staging.is_foundation(root) || staging.is_state(root)) {
            self.look_again();
        }
    }

    /// Asks for entries that no peer was asked for, one request an author.
    pub(super) fn ask_for_entries(&mut self, cx: &mut Context<'_>) {
        let now = cx.net.core.now;
        let deadline = now + cx.net.core.config.request_timeout;
        let Some(staging) = self.staging_mut() else { return };
        let requests = staging.next_requests(now, deadline);
        let sources = cx.sources(staging.proposal.frontier.epoch);
        for (author, from) in requests.into_iter().filter(|_| !sources.is_empty()) {
            let to = sources[cx.net.core.below(sources.len())];
            cx.net.request(to, Request::Entries(Want { author, from, count: WANT_MAX, payloads: false }));
        }
    }

    /// Takes an entry while a frontier is fetched. One beyond it is kept until the set is there.
    pub(crate) fn stage(&mut self, cx: &mut Context<'_>, entry: Entry, payload: Option<Arc<[u8]>>) {
        let now = cx.net.core.now;
        let Some(staging) = self.staging_mut() else { return };
        if staging.take_entry(&entry, payload.as_ref()) {
            staging.progress_at = now;
        } else if !staging.proposal.view().contains(&entry.author(), entry.seq()) {
            cx.net.core.raise(Event::Keeps { entry: Box::new(entry), payload });
        }
    }

    /// An answer came for entries of `authors`. If all neighbours have gone on to where they no longer hold what is to come,
    /// so does this peer.
    pub(crate) fn stage_more(&mut self, cx: &mut Context<'_>, authors: &BTreeSet<PeerId>) {
        let fruitless_max = FRUITLESS_EACH * cx.net.connected_count();
        let Some(staging) = self.staging_mut() else { return };
        if staging.note_answer(authors) > fruitless_max {
            return self.look_again();
        }
        self.replace_if_complete(cx);
        self.ask_for_entries(cx);
    }

    fn replace_if_complete(&mut self, cx: &mut Context<'_>) {
        if !self.staging().is_some_and(Staging::is_complete) {
            return;
        }
        let Stage::Staging(staging) = core::mem::replace(&mut self.stage, Stage::Looking) else { return };
        let Staging { chain, proposal, foundation, state, held, .. } = *staging;
        let (Some(foundation), Some(state)) = (foundation, state) else { return };
        match begin_at(&cx.set.fold, chain, proposal.rows, foundation, state, held) {
            Ok(replacement) => cx.net.core.raise(Event::Replaces(Box::new(replacement))),
            Err(reason) => {
                let peer = cx.net.core.id();
                cx.net.core.tell(crate::Event::BadInput { peer, reason });
            }
        }
    }

    /// The fold begins at the fetched frontier now; `old` is the one before. The node stores the frontier
    /// next and tries again what waits.
    pub(crate) fn on_replaced(&mut self, cx: &mut Context<'_>, old: Fold) {
        // What this peer said since may have to wait for its past; its positions are taken all the same.
        self.expect_own(old.log().next_position(&cx.net.core.id()).seq);
        hold_again(cx, &old);
        drop(old); // its state goes before the new one is copied for the disk
        self.stage = Stage::Following;
        let (epoch, clock) = (cx.set.fold.epochs().number(), cx.set.fold.clock());
        cx.net.core.tell(crate::Event::Final { epoch, clock, excluded: 0 });
    }
}

/// What the old fold held beyond the frontier may still fit.
fn hold_again(cx: &mut Context<'_>, old: &Fold) {
    let view = &cx.set.fold.epochs().newest().view;
    let beyond = old.log().records().filter(|r| !view.contains(&r.entry.author(), r.entry.seq()));
    for record in beyond {
        let (entry, payload) = (Box::new(record.entry.as_ref().clone()), record.payload.clone());
        cx.net.core.raise(Event::Restores { entry, payload });
    }
    for entry in old.log().all_excluded() {
        cx.net.core.raise(Event::Restores { entry: Box::new(entry.as_ref().clone()), payload: None });
    }
}
