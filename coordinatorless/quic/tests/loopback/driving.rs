//! What the driver does with a host that fails.

use std::time::Duration;

use murmur_collectives::{Hash, Identity, ONE_Q16, Rules};
use murmur_coordinatorless::{Compacted, Config, Event, Node, PeerAddress, Setup, Stored, StoredEntry};
use murmur_quic::{Host, drive};
use tokio::{sync::mpsc, time::timeout};

use crate::peer::{PATIENCE, Peer};

/// A disk on which nothing fits, which numbers the errors it gives.
#[derive(Default)]
struct FullDisk {
    errors: u32,
}

/// The how manyth error of the disk this is.
#[derive(Debug, PartialEq)]
struct Full(u32);

impl FullDisk {
    fn fail(&mut self) -> Result<(), Full> {
        self.errors += 1;
        Err(Full(self.errors))
    }
}

impl Host for FullDisk {
    type Error = Full;

    fn append(&mut self, _: &StoredEntry, _: bool) -> Result<(), Full> {
        self.fail()
    }

    fn address_book(&mut self, _: &[PeerAddress]) {}

    fn compact(&mut self, _: &Compacted) -> Result<(), Full> {
        self.fail()
    }

    fn keep_chunk(&mut self, _: Hash, _: u32, _: &[u8]) {}

    fn signing(&mut self, _: &[u8]) -> Result<(), Full> {
        self.fail()
    }

    fn reset(&mut self) -> Result<(), Full> {
        self.fail()
    }

    fn event(&mut self, _: Event, _: &mut Node) {}

    fn count(&mut self, _: bool, _: &'static str, _: usize) {}

    fn settled(&mut self, _: Duration) {}

    fn told_off(&mut self, _: murmur_quic::ToldOff) {}
}

/// A founder, which enrolls as soon as it runs.
fn founder(identity: Identity) -> Node {
    let rules = Rules {
        parameters: 4096,
        top: 64,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16,
        clip_q16: ONE_Q16,
        tokens_per_step: 10,
        steps_max: 10,
        token_budget: 1000,
        frontier_every_tokens: 0,
        class: None,
        audit_rate_q16: 0,
        audit_quorum: 2,
        founders: vec![Node::founder(&identity)],
    };
    Node::new(Setup {
        manifest: Vec::new(),
        run: Hash([1; 32]),
        rules,
        genesis: vec![0; 4096].into(),
        identity,
        class: Hash([2; 32]),
        config: Config { enroll_early: true, ..Config::default() },
        seed: 1,
        incarnation: 1,
        address_book: Vec::new(),
        stored: Stored::default(),
    })
}

#[tokio::test]
async fn the_first_error_of_a_host_ends_the_driver_and_comes_out_as_it_is() {
    let peer = Peer::start(1);
    let (_requests, inbox) = mpsc::channel(1);
    let mut disk = FullDisk::default();
    let driving = drive(founder(Identity::from_secret(&[1; 32])), peer.transport, peer.events, inbox, &mut disk);
    assert_eq!(timeout(PATIENCE, driving).await.expect("it ends by itself"), Err(Full(1)));
    assert_eq!(disk.errors, 1, "nothing is asked of a disk that failed");
}
