//! What a test asks of the network, and what hostile peers make of the messages of their nodes.

use std::collections::BTreeSet;

use murmur_collectives::Hash;
use murmur_coordinatorless::{Event, Message};

use super::Net;

impl Net {
    /// What a peer that may be hostile makes of a message of its node.
    pub(super) fn sent_by(&mut self, peer: usize, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let message = Message::decode(&bytes).expect("nodes send messages");
        let is_chunk = matches!(message, Message::PayloadChunk { .. });
        if is_chunk && self.withholds.contains(&peer) {
            return None;
        }
        if self.spoils.contains(&peer)
            && let Message::PayloadChunk { root, index, mut bytes } = message
        {
            bytes[0] ^= 1;
            return Some(Message::PayloadChunk { root, index, bytes }.encode());
        }
        let has_payload =
            matches!(&message, Message::Entries { items } if items.iter().any(|item| item.payload.is_some()));
        self.payload_messages[0] += u64::from(is_chunk);
        self.payload_messages[1] += u64::from(has_payload);
        Some(bytes)
    }

    /// State roots of live nodes except `but`.
    pub(crate) fn roots(&mut self, but: &[usize]) -> BTreeSet<Hash> {
        let nodes = self.nodes.iter_mut().filter(|(peer, _)| !but.contains(peer));
        nodes.map(|(_, node)| node.state_root()).collect()
    }

    /// State and complaints of all nodes, for the message of a failed assertion.
    pub(crate) fn describe(&mut self) -> String {
        let mut text = String::new();
        for (peer, node) in &mut self.nodes {
            let (root, log) = (node.state_root(), node.fold().log());
            let counts: Vec<u32> = self.identities.iter().map(|i| log.version().count(&i.peer_id())).collect();
            text += &format!("{peer}: {root:?} {counts:?} caught up {} {:?}\n", node.is_caught_up(), node.neighbours());
        }
        for (peer, event) in self
            .events
            .iter()
            .filter(|(_, e)| matches!(e, Event::BadInput { .. } | Event::Diverged { .. } | Event::Evicted { .. }))
        {
            text += &format!("{peer}: {event:?}\n");
        }
        text
    }

    pub(crate) fn epoch(&self, peer: usize) -> u32 {
        self.nodes[&peer].fold().epochs().number()
    }

    pub(crate) fn updates(&self, peer: usize) -> u64 {
        let log = self.nodes[&peer].fold().log();
        log.update_count(log.version())
    }

    pub(crate) fn has_event(&self, peer: usize, is: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(at, event)| *at == peer && is(event))
    }
}
