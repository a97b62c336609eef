//! The update log as the learner's collective: the one place where the learner's thread reaches the node, which runs on the
//! driver's.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, mpsc},
};

use murmur_collectives::{Collective, Draft, Entry, Hash, PeerId, Rebuilt, Snapshot, VersionVector};
use murmur_coordinatorless::{self as coordinatorless, EntryName, Input, Node};
use murmur_kernels::TopK;
use murmur_quic::Request;
use tokio::sync::mpsc as tokio_mpsc;

use super::Checkpoints;
use super::exchange::{CollectiveInput, Conclusion, Exchange, Replay, View};

/// The set that a segment of the update log starts from, shown as its digest.
#[derive(Debug, Clone)]
pub(super) struct LogBase {
    version: VersionVector,
    epoch: u32,
    frontier: Hash,
}

impl fmt::Display for LogBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.digest().fmt(f)
    }
}

/// The learner's way to the update log.
pub(super) struct UpdateLog {
    requests: tokio_mpsc::Sender<Request>,
    me: PeerId,
    audits: VecDeque<EntryName>,
}

impl UpdateLog {
    /// The log of the peer `me`, whose driver takes `requests`.
    pub(super) fn new(requests: tokio_mpsc::Sender<Request>, me: PeerId) -> Self {
        Self { requests, me, audits: VecDeque::new() }
    }

    /// Looks at the node; `None` once the driver has stopped.
    fn query<R: Send + 'static>(&self, look: impl FnOnce(&mut Node) -> R + Send + 'static) -> Option<R> {
        let (answer, answered) = mpsc::sync_channel(1);
        let look = Box::new(move |node: &mut Node| {
            let _ = answer.send(look(node));
        });
        self.requests.blocking_send(Request::Look(look)).ok()?;
        answered.recv().ok()
    }

    /// Gives the node an input.
    fn send(&self, input: Input) {
        let _ = self.requests.blocking_send(Request::Input(input));
    }
}

impl Collective for UpdateLog {
    type Base = LogBase;
    type Draft = Draft<LogBase>;
    type Input = CollectiveInput;
    type Output = Replay;

    fn is_ready(&mut self) -> bool {
        self.query(|node| node.is_caught_up()).unwrap_or(false)
    }

    fn snapshot(&mut self) -> Option<Snapshot<LogBase>> {
        self.query(|node| node.snapshot()).map(snapshot)
    }

    fn joined_since(&mut self, base: &LogBase) -> Option<(LogBase, Vec<f32>)> {
        let LogBase { version, epoch, frontier } = base.clone();
        let joined = self.query(move |node| node.joined_since(&version, epoch)).flatten();
        joined.map(|(version, parameters)| (LogBase { version, epoch, frontier }, parameters))
    }

    fn submit(&mut self, draft: Draft<LogBase>) {
        let Draft { bases, segment, steps, payload, top, loss_micronats, trace, carry_before, carry } = draft;
        let Some((_, LogBase { epoch, frontier, .. })) = bases.first().cloned() else { return };
        let views = bases.into_iter().map(|(steps, base)| (steps, base.version)).collect();
        self.send(Input::Author(Box::new(coordinatorless::Draft {
            views,
            epoch,
            frontier,
            segment,
            steps,
            payload,
            top,
            loss_micronats,
            trace,
            carry_before,
            carry,
        })));
    }

    fn handle(&mut self, input: CollectiveInput) {
        match input {
            CollectiveInput::AuditReady(update) => self.audits.push_back(update),
            CollectiveInput::Finish { patience } => self.send(Input::Finish { patience }),
            CollectiveInput::Judged { update, passed, replay } => self.send(Input::Judged { update, passed, replay }),
            CollectiveInput::Unjudged { update } => self.send(Input::Unjudged { update }),
        }
    }

    /// The next replay that can be done; those that cannot any more are given back.
    fn poll(&mut self) -> Option<Replay> {
        while let Some(update) = self.audits.pop_front() {
            match self.query(move |node| replay(node, update)).flatten() {
                Some(replay) => return Some(replay),
                None => self.send(Input::Unjudged { update }),
            }
        }
        None
    }
}

impl Exchange for UpdateLog {
    fn me(&self) -> PeerId {
        self.me
    }

    fn view(&self) -> Option<View> {
        self.query(|node| view(node))
    }

    fn conclude(&self, keeps: Option<Checkpoints>) -> Option<Conclusion<LogBase>> {
        self.query(move |node| Conclusion {
            taken: keeps.map(|checkpoints| checkpoints.take(node.fold())),
            snapshot: snapshot(node.snapshot()),
            view: view(node),
            root: node.state_root(),
        })
    }

    fn advance(&self, mut rebuilt: Rebuilt, view: VersionVector) -> Option<(Rebuilt, u64)> {
        let moved = move |node: &mut Node| {
            node.fold().advance(&mut rebuilt, &view).ok()?;
            Some((rebuilt, node.fold().log().clock(&view)))
        };
        self.query(moved).flatten()
    }

    fn another_payload(&self) -> Option<(TopK, Vec<u8>)> {
        let me = self.me;
        self.query(move |node| another_payload(node, me)).flatten()
    }
}

fn snapshot(snapshot: coordinatorless::Snapshot) -> Snapshot<LogBase> {
    let coordinatorless::Snapshot { base, parameters, epoch, frontier, clock, segment, trusted, carry, open_updates } =
        snapshot;
    let base = LogBase { version: base, epoch, frontier };
    Snapshot { base, parameters, clock, segment, trusted, carry, open_updates }
}

fn replay(node: &Node, update: EntryName) -> Option<Replay> {
    let job = node.audit_job(update)?;
    let payload = |entry: &Arc<Entry>| node.fold().log().record(&entry.author(), entry.seq())?.payload.clone();
    let payloads = job.span.iter().map(payload).collect::<Option<Vec<_>>>()?;
    Some(Replay { update, job, payloads })
}

fn view(node: &Node) -> View {
    let log = node.fold().log();
    View {
        tokens: node.fold().clock(),
        updates: log.update_count(log.version()),
        neighbours: node.neighbours().len() as u64,
        audits: node.fold().audits(),
        evicted: node.fold().evicted(),
        compared: node.roots_compared(),
        chains: log.version().iter().map(|(author, count)| (author.to_string(), count)).collect(),
        final_epoch: node.fold().epochs().number(),
    }
}

fn another_payload(node: &Node, me: PeerId) -> Option<(TopK, Vec<u8>)> {
    let log = node.fold().log();
    let others = log.version().iter().map(|(author, _)| author).filter(|author| *author != me);
    let payload = |author: PeerId| {
        let last = log.last_update(&author)?;
        Some((last.entry.update()?.top_k()?, last.payload.as_deref()?.to_vec()))
    };
    others.filter_map(payload).next()
}
