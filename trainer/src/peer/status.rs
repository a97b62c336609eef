//! The peer's status, made when it is requested.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use murmur_collectives::PeerId;
use murmur_coordinatorless::{Mapping, MemberState, NeighbourView, Node, Reach};
use murmur_quic::{Request, Transport};
use tokio::sync::{mpsc, oneshot};

use super::link::Shared;
use crate::{
    observe::{
        metrics::Metrics,
        status::{Limits, Neighbour, Phase, SetStatus, Status, Verdicts},
    },
    protocol::Started,
};

/// Everything a status is made of.
#[derive(Clone)]
pub(super) struct StatusSource {
    pub(super) started: Started,
    pub(super) begun: Instant,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) transport: Transport,
    pub(super) shared: Arc<Shared>,
    pub(super) requests: mpsc::Sender<Request>,
}

/// The node's part of it.
struct Seen {
    set: SetStatus,
    audits: (u64, u64),
    evicted: Vec<PeerId>,
    neighbours: Vec<Neighbour>,
    caught_up: bool,
    mapping: Mapping,
}

impl StatusSource {
    /// The status now; nothing once the peer has stopped.
    pub(super) async fn now(self) -> Option<Status> {
        let (answer, answered) = oneshot::channel();
        let budget = self.started.run_tokens;
        let look = Box::new(move |node: &mut Node| {
            let _ = answer.send(look(node, budget));
        });
        self.requests.send(Request::Look(look)).await.ok()?;
        let seen = answered.await.ok()?;
        let traffic = self.transport.traffic();
        let Seen { set, audits, evicted, neighbours, caught_up, mapping } = seen;
        Some(Status {
            phase: self.phase(caught_up),
            seconds: self.begun.elapsed().as_secs_f64(),
            loss: finite(self.metrics.loss()),
            validation_loss: finite(self.metrics.validation_loss()),
            tokens_self: self.metrics.tokens(),
            set,
            audits: Verdicts { passed: audits.0, failed: audits.1 },
            evicted: evicted.iter().map(PeerId::to_string).collect(),
            neighbours,
            seen_from_outside: seen_from_outside(mapping),
            bytes_sent: traffic.udp_tx_bytes,
            bytes_received: traffic.udp_rx_bytes,
            limits: self.limits,
            steps: self.shared.steps(),
            address: self.started.address.to_string(),
            peer_id: self.started.peer_id,
            petname: self.started.petname,
            run_id: self.started.run_id,
            pid: self.started.pid,
            state_dir: self.started.state_dir,
        })
    }

    fn phase(&self, caught_up: bool) -> Phase {
        let over = self.shared.clock.load(Relaxed) >= self.started.run_tokens || self.shared.drain.load(Relaxed);
        match (caught_up, over) {
            (false, _) => Phase::CatchingUp,
            (true, true) => Phase::Finishing,
            (true, false) => Phase::Training,
        }
    }
}

/// Looks at the node without any pass over the state.
fn look(node: &mut Node, tokens_budget: u64) -> Seen {
    let log = node.fold().log();
    let (roots_matched, roots_differed) = node.roots_compared();
    let set = SetStatus {
        updates: log.update_count(log.version()),
        tokens: node.fold().clock(),
        tokens_budget,
        authors: log.version().len() as u64,
        version: log.version().digest().to_string().chars().take(16).collect(),
        roots_matched,
        roots_differed,
        final_epoch: node.fold().epochs().number(),
        final_tokens: node.fold().epochs().newest().frontier.clock,
    };
    Seen {
        set,
        audits: node.fold().audits(),
        evicted: node.fold().evicted(),
        neighbours: node.neighbour_list().into_iter().map(neighbour).collect(),
        caught_up: node.is_caught_up(),
        mapping: node.mapping(),
    }
}

fn neighbour(view: NeighbourView) -> Neighbour {
    let (reach, relay) = match view.reach {
        Reach::Direct => ("direct", None),
        Reach::Punched => ("punched", None),
        Reach::Relayed { by } => ("relayed", Some(by.petname())),
    };
    let member = match view.state {
        MemberState::Alive => "alive",
        MemberState::Suspected => "suspected",
        MemberState::Unknown => "unknown",
    };
    Neighbour {
        peer_id: view.peer.to_string(),
        petname: view.peer.petname(),
        // A relayed one has a stand-in for an address.
        address: relay.is_none().then(|| view.address.to_string()),
        reach: Some(reach.to_owned()),
        relay,
        member: Some(member.to_owned()),
    }
}

fn seen_from_outside(mapping: Mapping) -> Option<String> {
    match mapping {
        Mapping::Unknown => None,
        Mapping::Same(address) => Some(address.to_string()),
        Mapping::Varies => Some("varies".to_owned()),
    }
}

/// A loss that is not known yet is NaN among the metrics.
fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}
