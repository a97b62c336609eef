//! What the nodes of the network sign, and what they have signed.

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::{Hash, PeerId};
use murmur_coordinatorless::{Draft, Input};
use murmur_kernels::{TopK, compress};
use rand_chacha::rand_core::Rng;

use crate::net::{Net, seconds};

impl Net {
    /// Every live node that may train does so once a second.
    pub(crate) fn train(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.pass(seconds(1));
            let ready: Vec<usize> =
                self.nodes.iter().filter(|(_, node)| node.is_caught_up()).map(|(place, _)| *place).collect();
            ready.into_iter().for_each(|place| self.author(place));
        }
    }

    /// A segment of invented learning on what `place` holds now.
    fn author(&mut self, place: usize) {
        let snapshot = self.nodes[&place].snapshot();
        let end: Vec<f32> = (0..64).map(|_| (self.rng.next_u64() % 1000) as f32 * 1e-5).collect();
        let (mut residual, mut payload) = (vec![0.0; 64], Vec::new());
        let top = TopK::new(64).expect("in range");
        compress(top, 0.9, &[0.0; 64], &end, &mut residual, &mut payload).expect("finite");
        let draft = Draft {
            views: vec![(0, snapshot.base)],
            epoch: snapshot.epoch,
            frontier: snapshot.frontier,
            segment: snapshot.segment,
            steps: 10,
            payload: payload.into(),
            top,
            loss_micronats: 1,
            trace: Hash([1; 32]),
            carry_before: Hash::NONE,
            carry: Some(vec![place as u8; 40].into()),
        };
        self.handle(place, Input::Author(Box::new(draft)));
    }

    /// How many entries were signed at `place`.
    pub(crate) fn signed_at(&self, place: usize) -> usize {
        self.signed.iter().filter(|(at, ..)| *at == place).count()
    }

    /// Positions for which two entries were signed.
    pub(crate) fn forks(&self) -> usize {
        let mut said: BTreeMap<(PeerId, u32), Hash> = BTreeMap::new();
        self.signed.iter().filter(|(_, peer, seq, hash)| *said.entry((*peer, *seq)).or_insert(*hash) != *hash).count()
    }
}
