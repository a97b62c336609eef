//! Messages between the ranks of a round: bodies cut into pieces that a transport takes, and put together again.

use std::collections::{BTreeMap, VecDeque};

/// Bytes of a body in one piece, at most.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes before a piece: round, phase, bytes of the whole body, offset of the piece.
const HEADER_BYTES: usize = 24;

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The rank it goes to.
    pub to: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A message that no honest rank sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message of rank {from} makes no sense: {why}")]
pub struct BadMessage {
    /// Who sent it.
    pub from: usize,
    /// What is wrong.
    pub why: &'static str,
}

/// What one rank has sent and received.
///
/// A rank may be ahead by a round: what it sends then waits here. Nothing else is kept, and no body may be longer than
/// parameters and a vector together.
#[derive(Debug)]
pub struct Mailbox {
    rank: usize,
    peers: usize,
    round: u32,
    body_bytes_max: usize,
    outgoing: VecDeque<Message>,
    incoming: BTreeMap<(u32, u32, usize), Body>,
}

/// A body of which some pieces have come.
#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    offsets: BTreeMap<usize, usize>,
}

impl Mailbox {
    pub(super) fn new(rank: usize, peers: usize, parameters: usize) -> Self {
        assert!(rank < peers, "a rank is below the number of peers");
        let body_bytes_max = 8 * parameters + PIECE_BYTES;
        Self { rank, peers, round: 0, body_bytes_max, outgoing: VecDeque::new(), incoming: BTreeMap::new() }
    }

    /// This rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many ranks there are.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// The round, from 0.
    pub fn round(&self) -> u32 {
        self.round
    }

    pub(super) fn next_round(&mut self) {
        self.round += 1;
        let round = self.round;
        self.incoming.retain(|(of, ..), _| *of >= round);
    }

    /// Sends `body` to another rank, as what this round's `phase` gives it.
    pub fn send(&mut self, to: usize, phase: u32, body: &[u8]) {
        let mut offset = 0;
        loop {
            let piece = &body[offset..body.len().min(offset + PIECE_BYTES)];
            let mut bytes = Vec::with_capacity(HEADER_BYTES + piece.len());
            bytes.extend(self.round.to_le_bytes());
            bytes.extend(phase.to_le_bytes());
            bytes.extend((body.len() as u64).to_le_bytes());
            bytes.extend((offset as u64).to_le_bytes());
            bytes.extend(piece);
            self.outgoing.push_back(Message { to, bytes });
            offset += piece.len();
            if offset >= body.len() {
                break;
            }
        }
    }

    /// The body that `from` sent in this round's `phase`, once all of it is there. It is given once.
    pub fn take(&mut self, from: usize, phase: u32) -> Option<Vec<u8>> {
        let key = (self.round, phase, from);
        let whole = self.incoming.get(&key).is_some_and(Body::is_whole);
        whole.then(|| self.incoming.remove(&key).map(|body| body.bytes)).flatten()
    }

    pub(super) fn poll(&mut self) -> Option<Message> {
        self.outgoing.pop_front()
    }

    /// Takes in a piece.
    ///
    /// # Errors
    /// It is from no other rank, of a wrong round, too long, or there already.
    pub(super) fn deliver(&mut self, from: usize, message: &[u8]) -> Result<(), BadMessage> {
        let bad = |why| Err(BadMessage { from, why });
        if from >= self.peers || from == self.rank {
            return bad("there is no such other rank");
        }
        let Some((header, piece)) = message.split_at_checked(HEADER_BYTES) else { return bad("it has no header") };
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let long =
            |at: usize| usize::try_from(u64::from(word(at)) | u64::from(word(at + 4)) << 32).unwrap_or(usize::MAX);
        let (round, phase, length, offset) = (word(0), word(4), long(8), long(16));
        if round < self.round || round > self.round.saturating_add(1) {
            return bad("it is of another round");
        }
        if phase > 2 * self.peers as u32 || length > self.body_bytes_max {
            return bad("it is longer than any body");
        }
        if piece.len() > PIECE_BYTES || offset.checked_add(piece.len()).is_none_or(|end| end > length) {
            return bad("the piece does not fit its body");
        }
        let body = self.incoming.entry((round, phase, from)).or_default();
        if body.offsets.is_empty() {
            body.bytes = vec![0; length];
        }
        if body.bytes.len() != length || body.offsets.insert(offset, piece.len()).is_some() {
            return bad("the pieces of a body contradict each other");
        }
        body.bytes[offset..offset + piece.len()].copy_from_slice(piece);
        Ok(())
    }
}

impl Body {
    /// Whether its pieces follow each other from its start to its end.
    fn is_whole(&self) -> bool {
        let mut end = 0;
        for (offset, length) in &self.offsets {
            if *offset != end {
                return false;
            }
            end += length;
        }
        end == self.bytes.len()
    }
}

/// Little-endian bytes of a vector.
pub(super) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The vector of these bytes, if it has `count` values and all are finite.
pub(super) fn from_bytes(bytes: &[u8], count: usize) -> Option<Vec<f32>> {
    let words = bytes.chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let values: Vec<f32> = words.collect();
    (bytes.len() == 4 * count && values.iter().all(|value| value.is_finite())).then_some(values)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pair() -> (Mailbox, Mailbox) {
        (Mailbox::new(0, 2, 1 << 20), Mailbox::new(1, 2, 1 << 20))
    }

    #[test]
    fn a_long_body_arrives_whole_in_any_order() {
        let (mut one, mut two) = pair();
        let body: Vec<u8> = (0..3 * PIECE_BYTES + 5).map(|index| index as u8).collect();
        one.send(1, 0, &body);
        let mut pieces: Vec<_> = std::iter::from_fn(|| one.poll()).collect();
        assert_eq!(pieces.len(), 4);
        pieces.reverse();
        for piece in pieces {
            assert_eq!(two.take(0, 0), None);
            two.deliver(0, &piece.bytes).unwrap();
        }
        assert_eq!(two.take(0, 0).unwrap(), body);
        assert_eq!(two.take(0, 0), None, "once");
    }

    #[test]
    fn an_empty_body_is_a_body() {
        let (mut one, mut two) = pair();
        one.send(1, 3, &[]);
        two.deliver(0, &one.poll().unwrap().bytes).unwrap();
        assert_eq!(two.take(0, 3).unwrap(), Vec::<u8>::new());
    }

    #[test]
    fn a_rank_may_be_one_round_ahead_and_no_more() {
        let (mut one, mut two) = pair();
        for round in 0..3 {
            one.send(1, 0, &[round]);
            one.next_round();
        }
        let pieces: Vec<_> = std::iter::from_fn(|| one.poll()).collect();
        two.deliver(0, &pieces[0].bytes).unwrap();
        two.deliver(0, &pieces[1].bytes).unwrap();
        assert!(two.deliver(0, &pieces[2].bytes).is_err());
        assert_eq!(two.take(0, 0).unwrap(), [0]);
        two.next_round();
        assert_eq!(two.take(0, 0).unwrap(), [1]);
        assert!(two.deliver(0, &pieces[0].bytes).is_err(), "over");
    }

    #[test]
    fn lengths_are_not_believed() {
        let (_, mut two) = pair();
        let message = |length: u64, offset: u64, piece: &[u8]| {
            let mut bytes = vec![0; 8];
            bytes.extend(length.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            bytes.extend(piece);
            bytes
        };
        for (length, offset) in [(u64::MAX, 0), (1 << 40, 0), (2, 1), (8, u64::MAX)] {
            assert!(two.deliver(0, &message(length, offset, &[1, 2])).is_err(), "{length} {offset}");
        }
        assert!(two.deliver(0, &[1, 2, 3]).is_err());
        assert!(two.deliver(1, &message(2, 0, &[1, 2])).is_err(), "from itself");
        two.deliver(0, &message(4, 0, &[1, 2])).unwrap();
        assert!(two.deliver(0, &message(4, 0, &[1, 2])).is_err(), "twice");
        assert!(two.deliver(0, &message(5, 2, &[1, 2])).is_err(), "another length");
    }
}
