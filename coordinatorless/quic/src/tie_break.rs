//! The tie-break: which of two connections of one pair stays. A pure function of what both sides know, so both choose the same
//! one without a message.
//!
//! Two peers may dial each other at the same moment (*simultaneous open*), and both connections may pass the handshake. The
//! rules, in this order:
//!
//! 1. If the connection held so far is closed, or the peer has restarted, the newcomer *replaces* it. The caller is told that
//!    the old one ended.
//! 2. A direct newcomer *supersedes* a relayed connection, whichever side dialed: nothing is lost, and the caller is told only
//!    that the path changed.
//! 3. A connection that is old is replaced. Its other side has lost it: a peer does not finish a dial to a peer that it is
//!    connected to, except for a direct dial in place of a relayed connection, and that is rule 2. So a relayed newcomer
//!    replaces an old direct connection, too.
//! 4. What is left began together, within a handshake timeout or two. A relayed newcomer *loses* against a direct connection.
//! 5. If one side dialed both, that side has lost the first: it is replaced.
//! 6. **The connection dialed by the smaller `PeerId` stays**, and the other one is retired.
//!
//! Rule 6 is reached only by connections of the same kind, both direct or both relayed, that different sides dialed, each
//! before it knew of the other's dial ([`Registry::claim_dial`](crate::registry::Registry::claim_dial)). Their handshakes
//! overlapped, so neither is old at either side, and both sides get to rule 6. Under rules 2 and 4 both sides see which one is
//! direct.

use murmur_collectives::PeerId;

/// What the tie-break compares of two connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// Whether this side dialed it.
    pub(crate) dialed: bool,
    /// Whether its packets travel through a relay.
    pub(crate) relayed: bool,
}

/// What a newcomer says about the connection that is held: whether that can still be alive at the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// It is closed, or the peer has restarted.
    Gone,
    /// It is open, but older than two handshakes that overlap can be.
    Old,
    /// It may have begun together with the newcomer.
    Current,
}

/// What becomes of the newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It replaces a connection that is lost.
    Replaces,
    /// It stays, and the held connection, still alive, is retired.
    Supersedes,
    /// It is retired, and the held connection stays.
    Loses,
}

/// Applies the rules at the head of this file to a `newcomer` between `own` and `peer` and the connection that is `held`.
pub(crate) fn decide(own: PeerId, peer: PeerId, newcomer: Contender, held: Contender, liveness: Liveness) -> Outcome {
    let smaller_dialed_newcomer = newcomer.dialed == (own < peer);
    match liveness {
        Liveness::Gone => Outcome::Replaces,
        Liveness::Old | Liveness::Current if held.relayed && !newcomer.relayed => Outcome::Supersedes,
        Liveness::Old => Outcome::Replaces,
        Liveness::Current if newcomer.relayed && !held.relayed => Outcome::Loses,
        Liveness::Current if newcomer.dialed == held.dialed => Outcome::Replaces,
        Liveness::Current if smaller_dialed_newcomer => Outcome::Supersedes,
        Liveness::Current => Outcome::Loses,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: PeerId = PeerId([1; 32]);
    const LARGE: PeerId = PeerId([2; 32]);

    fn direct(dialed: bool) -> Contender {
        Contender { dialed, relayed: false }
    }

    fn relayed(dialed: bool) -> Contender {
        Contender { dialed, relayed: true }
    }

    /// What each side does with the connection dialed by `dialer` when it holds the one dialed by the other.
    fn both_sides(dialer: PeerId) -> (Outcome, Outcome) {
        let at = |own: PeerId, peer| decide(own, peer, direct(own == dialer), direct(own != dialer), Liveness::Current);
        (at(SMALL, LARGE), at(LARGE, SMALL))
    }

    #[test]
    fn both_sides_keep_the_connection_that_the_smaller_dialed() {
        assert_eq!(both_sides(SMALL), (Outcome::Supersedes, Outcome::Supersedes));
        assert_eq!(both_sides(LARGE), (Outcome::Loses, Outcome::Loses));
    }

    #[test]
    fn a_connection_that_its_dialer_has_lost_is_replaced() {
        for liveness in [Liveness::Gone, Liveness::Old] {
            assert_eq!(decide(SMALL, LARGE, direct(false), direct(true), liveness), Outcome::Replaces);
            assert_eq!(decide(SMALL, LARGE, relayed(false), direct(true), liveness), Outcome::Replaces);
        }
        assert_eq!(decide(SMALL, LARGE, direct(false), direct(false), Liveness::Current), Outcome::Replaces);
    }

    #[test]
    fn a_direct_connection_beats_a_relayed_one_whichever_side_dialed() {
        for (new, old) in [(true, true), (true, false), (false, true), (false, false)] {
            for liveness in [Liveness::Old, Liveness::Current] {
                assert_eq!(decide(SMALL, LARGE, direct(new), relayed(old), liveness), Outcome::Supersedes);
            }
            assert_eq!(decide(SMALL, LARGE, relayed(new), direct(old), Liveness::Current), Outcome::Loses);
            assert_eq!(decide(SMALL, LARGE, direct(new), relayed(old), Liveness::Gone), Outcome::Replaces);
        }
    }
}
