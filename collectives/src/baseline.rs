//! Other ways of training together, to compare with: the exchanges that the update log does without.
//!
//! All are rounds with a barrier. A peer knows its rank and how many there are; it takes a [`snapshot`](Collective::snapshot),
//! works on it, and [`submit`](Collective::submit)s a [`Contribution`]: a gradient, or what a segment changed. Then messages go
//! to and fro until the round is over and [`is_ready`](Collective::is_ready) says so. Nobody may leave, and nobody is checked:
//! that is what they are compared for.
//!
//! | method | what is sent | after |
//! |---|---|---|
//! | [`Averaged`] over a [`Ring`] | dense vectors, reduce-scatter then all-gather | each step (all-reduce), or each segment (DiLoCo) |
//! | [`Averaged`] over a [`Gather`] | compressed vectors, each to all | each step (DeMo), or each segment (SparseLoCo; the update log's own payloads) |
//! | [`Server`] | dense vectors to rank 0, parameters back | each step |
//! | [`Pairs`] | parameters and dense vectors, within random pairs | each segment (NoLoCo) |

mod averaged;
mod demo;
mod gather;
mod mailbox;
mod outer;
mod pairs;
mod ring;
mod server;
mod sparseloco;
mod updates;

pub use averaged::{Averaged, Mean};
pub use demo::Demo;
pub use gather::{BadPayload, Codec, Gather};
pub use mailbox::{BadMessage, Mailbox, Message};
pub use outer::{Nesterov, Outer, Sign, Subtract};
pub use pairs::Pairs;
pub use ring::Ring;
pub use server::Server;
pub use sparseloco::SparseLoco;
pub use updates::Updates;

use crate::{Collective, Snapshot};

/// What a peer gives to a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// A gradient, or start − end of a segment; `[parameters]`.
    pub vector: Vec<f32>,
    /// Tokens it was learned from: the same number for every peer of a round.
    pub tokens: u64,
}

/// How the peers of a round come to the next round's parameters.
pub trait Method {
    /// Takes this peer's vector and sends what the round begins with. `parameters` are those of the round.
    fn begin(&mut self, mailbox: &mut Mailbox, parameters: &[f32], vector: Vec<f32>);

    /// Goes on as far as the messages that came allow. Once the round is over, `parameters` are those of the next one, and it
    /// says so. `clock` are the tokens before the round.
    ///
    /// # Errors
    /// A message that cannot be one of this method's.
    fn advance(&mut self, mailbox: &mut Mailbox, clock: u64, parameters: &mut [f32]) -> Result<bool, BadMessage>;
}

/// One peer of a swarm that trains in rounds.
pub struct Baseline {
    method: Box<dyn Method + Send>,
    mailbox: Mailbox,
    parameters: Vec<f32>,
    clock: u64,
    /// Tokens of the contribution that the round waits with; nothing between rounds.
    submitted: Option<u64>,
    failed: Option<BadMessage>,
}

impl Baseline {
    /// The peer `rank` of `peers`, which starts from `parameters`.
    ///
    /// # Panics
    /// If the rank is not below the number of peers: a bug of the caller.
    pub fn new(method: Box<dyn Method + Send>, rank: usize, peers: usize, parameters: Vec<f32>) -> Self {
        let mailbox = Mailbox::new(rank, peers, parameters.len());
        Self { method, mailbox, parameters, clock: 0, submitted: None, failed: None }
    }

    /// The parameters of this round.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Tokens that all peers together have contributed.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// The first message that made no sense. The round it came in never ends.
    pub fn failure(&self) -> Option<&BadMessage> {
        self.failed.as_ref()
    }

    fn advance(&mut self) {
        let Some(tokens) = self.submitted else { return };
        match self.method.advance(&mut self.mailbox, self.clock, &mut self.parameters) {
            Ok(false) => {}
            Ok(true) => {
                self.clock += tokens * self.mailbox.peers() as u64;
                self.submitted = None;
                self.mailbox.next_round();
            }
            Err(bad) => self.failed = Some(bad),
        }
    }
}

impl Collective for Baseline {
    type Base = u32;
    type Draft = Contribution;
    type Input = (usize, Vec<u8>);
    type Output = Message;

    fn is_ready(&mut self) -> bool {
        self.submitted.is_none()
    }

    fn snapshot(&mut self) -> Option<Snapshot<u32>> {
        let round = self.mailbox.round();
        self.failed.is_none().then(|| Snapshot {
            base: round,
            parameters: self.parameters.clone(),
            clock: self.clock,
            segment: round,
            trusted: true,
            carry: None,
            open_updates: 0,
        })
    }

    /// Nothing ever joins a round that has begun.
    fn joined_since(&mut self, _: &u32) -> Option<(u32, Vec<f32>)> {
        None
    }

    /// # Panics
    /// If the round is not ready, or the vector is not of the parameters' length: a bug of the caller.
    fn submit(&mut self, draft: Contribution) {
        assert!(self.submitted.is_none(), "one contribution a round");
        assert_eq!(draft.vector.len(), self.parameters.len(), "a value for each parameter");
        self.submitted = Some(draft.tokens);
        self.method.begin(&mut self.mailbox, &self.parameters, draft.vector);
        self.advance();
    }

    /// Takes a message with the rank it came from.
    fn handle(&mut self, (from, bytes): (usize, Vec<u8>)) {
        match self.mailbox.deliver(from, &bytes) {
            Ok(()) => self.advance(),
            Err(bad) => self.failed = Some(bad),
        }
    }

    fn poll(&mut self) -> Option<Message> {
        self.mailbox.poll()
    }
}
