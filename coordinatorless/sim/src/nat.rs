//! Address translators: what others see of a machine behind one, and what it lets in.
//!
//! The kinds are those of RFC 4787, by the names that RFC 3489 gave them: two that show everybody the same port and differ in
//! whom they let in, and one that shows each receiver another port. A packet to the outside opens a hole; a hole closes
//! when nothing went out through it for [`HOLE`]. Each machine has a translator, and an outer IP address, of its own.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use murmur_coordinatorless::Time;
use serde::{Deserialize, Serialize};

use crate::{dice::Dice, queue::Place};

/// How long a hole stays open after the last packet out: what most routers give UDP, and less than RFC 4787 asks for.
const HOLE: Duration = Duration::from_secs(30);

/// The port that every peer listens on, and that most translators show.
const PORT: u16 = 7000;

/// Ports that a symmetric translator deals out begin here.
const MAPPED: u16 = 20_000;

/// What stands between a machine and the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// Nothing: anyone can dial it.
    Open,
    /// Once something has gone out, anyone is let in.
    FullCone,
    /// Only those are let in to whom something has gone out.
    PortRestricted,
    /// The same, and each receiver sees another port, at which only that receiver is let in.
    Symmetric,
}

/// A way through a translator.
#[derive(Clone, Copy, Debug)]
struct Hole {
    /// The port that the receiver sees.
    port: u16,
    until: Time,
}

/// A machine's translator and its holes, by receiver.
#[derive(Clone, Debug)]
struct Translator {
    nat: Nat,
    ip: Ipv4Addr,
    holes: BTreeMap<SocketAddr, Hole>,
    /// Ports dealt out.
    dealt: u16,
}

/// All machines' translators.
#[derive(Debug)]
pub(crate) struct Translators {
    all: Vec<Translator>,
    relays: bool,
}

impl Translators {
    /// Deals the kinds out to `count` machines: of every so many machines in a row, as kinds are named, each is behind
    /// another one. With `relays`, machines that anyone can dial pass packets on.
    pub(crate) fn new(kinds: &[Nat], relays: bool, seed: u64, count: usize) -> Self {
        let mut dice = Dice::new(seed, "translators");
        let mut left: Vec<Nat> = Vec::new();
        // Loopback where nobody is behind anything; else addresses for tests of networks (RFC 2544), as a peer knows that
        // no translator stands before a loopback address.
        let first = if kinds.iter().all(|nat| *nat == Nat::Open) { [127, 0, 0, 1] } else { [198, 18, 0, 1] };
        let translator = |place: usize| {
            if left.is_empty() {
                left = kinds.to_vec();
            }
            let nat = if left.is_empty() { Nat::Open } else { left.swap_remove(dice.index(left.len())) };
            let ip = Ipv4Addr::from(u32::from_be_bytes(first).saturating_add(u32::try_from(place).unwrap_or(u32::MAX)));
            Translator { nat, ip, holes: BTreeMap::new(), dealt: 0 }
        };
        Self { all: (0..count).map(translator).collect(), relays }
    }

    /// Where the peer at `place` listens, for those who can reach it there.
    pub(crate) fn address(&self, place: Place) -> SocketAddr {
        SocketAddr::from((self.all[place].ip, PORT))
    }

    /// Whose address, or mapped address, this is.
    pub(crate) fn place_of(&self, address: SocketAddr) -> Option<Place> {
        self.all.binary_search_by_key(&address.ip(), |translator| translator.ip.into()).ok()
    }

    /// Whether nothing keeps others from dialing this machine.
    pub(crate) fn is_open(&self, place: Place) -> bool {
        self.all[place].nat == Nat::Open
    }

    /// Whether nobody is behind anything.
    pub(crate) fn are_all_open(&self) -> bool {
        self.all.iter().all(|translator| translator.nat == Nat::Open)
    }

    /// Whether anybody passes packets on.
    pub(crate) fn have_relays(&self) -> bool {
        self.relays
    }

    /// Whether this machine passes packets on.
    pub(crate) fn volunteers(&self, place: Place) -> bool {
        self.relays && self.is_open(place)
    }

    /// Whether only those that this machine has called can dial it.
    pub(crate) fn is_strict(&self, place: Place) -> bool {
        matches!(self.all[place].nat, Nat::PortRestricted | Nat::Symmetric)
    }

    /// A packet leaves `from` for `toward` and opens a hole. Returns where the receiver sees it come from.
    pub(crate) fn opens(&mut self, from: Place, toward: SocketAddr, now: Time) -> SocketAddr {
        let translator = &mut self.all[from];
        let port = match translator.nat {
            Nat::Open => PORT,
            Nat::FullCone | Nat::PortRestricted | Nat::Symmetric => translator.open(toward, now),
        };
        SocketAddr::from((translator.ip, port))
    }

    /// While a connection lives, packets go out again and again.
    pub(crate) fn keep_open(&mut self, from: Place, toward: SocketAddr) {
        if let Some(hole) = self.all[from].holes.get_mut(&toward) {
            hole.until = Time(u64::MAX);
        }
    }

    /// The last packet has gone out.
    pub(crate) fn let_close(&mut self, from: Place, toward: SocketAddr, now: Time) {
        if let Some(hole) = self.all[from].holes.get_mut(&toward) {
            hole.until = now + HOLE;
        }
    }

    /// Whether a packet from `sender`, as `to`'s translator sees it, to `dialed` reaches `to`.
    pub(crate) fn lets_in(&self, to: Place, dialed: SocketAddr, sender: SocketAddr, now: Time) -> bool {
        let translator = &self.all[to];
        let mut open = translator.holes.iter().filter(|(_, hole)| hole.until > now && hole.port == dialed.port());
        match translator.nat {
            Nat::Open => dialed.port() == PORT,
            Nat::FullCone => open.next().is_some(),
            Nat::PortRestricted | Nat::Symmetric => open.any(|(toward, _)| *toward == sender),
        }
    }
}

impl Translator {
    /// Opens the hole toward a receiver, or keeps it open; returns its port.
    fn open(&mut self, toward: SocketAddr, now: Time) -> u16 {
        self.holes.retain(|_, hole| hole.until > now);
        let fresh = match self.nat {
            Nat::Open | Nat::FullCone | Nat::PortRestricted => PORT,
            Nat::Symmetric => MAPPED + self.dealt % (u16::MAX - MAPPED),
        };
        let dealt = &mut self.dealt;
        let hole = self.holes.entry(toward).or_insert_with(|| {
            *dealt = dealt.wrapping_add(1);
            Hole { port: fresh, until: now }
        });
        hole.until = hole.until.max(now + HOLE);
        hole.port
    }
}

/// What an end of a relayed connection calls the other one: an address that nobody has, as the real transport gives.
pub(crate) fn stand_in(relay: Place, peer: Place) -> SocketAddr {
    let ip = u32::from_be_bytes([240, 0, 0, 1]).saturating_add(u32::try_from(relay).unwrap_or(u32::MAX));
    SocketAddr::from((Ipv4Addr::from(ip), u16::try_from(1 + peer).unwrap_or(u16::MAX)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use Nat::{FullCone, Open, PortRestricted, Symmetric};

    use super::*;

    /// One machine behind each of these, in order.
    fn behind(kinds: &[Nat]) -> Translators {
        let mut translators = Translators::new(&[Symmetric], false, 1, kinds.len());
        for (translator, nat) in translators.all.iter_mut().zip(kinds) {
            translator.nat = *nat;
        }
        translators
    }

    /// Whether two that dial each other where a third one sees them, at the same moment, get through to each other.
    fn punches(a: Nat, b: Nat) -> bool {
        let mut translators = behind(&[a, b, Open]);
        let (now, third) = (Time(0), translators.address(2));
        let [a, b] = [0, 1].map(|at| translators.opens(at, third, now));
        let (a_from, b_from) = (translators.opens(0, b, now), translators.opens(1, a, now));
        translators.lets_in(1, b, a_from, now) || translators.lets_in(0, a, b_from, now)
    }

    #[test]
    fn a_dial_reaches_whom_anyone_can_dial_and_a_full_cone_that_has_spoken() {
        let mut translators = behind(&[Open, FullCone, PortRestricted, Symmetric]);
        let now = Time(5);
        let ends = [0, 1, 2, 3].map(|place| translators.address(place));
        let stranger: SocketAddr = "198.18.9.9:1".parse().unwrap();
        let lets = |translators: &Translators| {
            ends.map(|end| translators.lets_in(translators.place_of(end).unwrap(), end, stranger, now))
        };
        assert_eq!(lets(&translators), [true, false, false, false]);
        for place in 0..4 {
            translators.opens(place, ends[0], now);
        }
        assert_eq!(lets(&translators), [true, true, false, false]);
    }

    #[test]
    fn holes_are_punched_unless_one_shows_a_port_that_the_other_cannot_know() {
        for nat in [Open, FullCone, PortRestricted, Symmetric] {
            assert!(punches(Open, nat) && punches(FullCone, nat), "{nat:?}");
            assert_eq!(punches(nat, PortRestricted), nat != Symmetric, "{nat:?}");
            assert_eq!(punches(Symmetric, nat), matches!(nat, Open | FullCone), "{nat:?}");
        }
    }

    #[test]
    fn a_symmetric_translator_shows_each_receiver_its_own_port_and_keeps_it_while_it_is_used() {
        let mut translators = behind(&[Symmetric, Open, Open]);
        let (one, two) = (translators.address(1), translators.address(2));
        let [seen, other, again] = [one, two, one].map(|toward| translators.opens(0, toward, Time(0)));
        assert_eq!(seen, again);
        assert_ne!(seen, other);
        assert!(translators.lets_in(0, seen, one, Time(1)) && !translators.lets_in(0, seen, two, Time(1)));
        assert_eq!(translators.place_of(other), Some(0));
    }

    #[test]
    fn a_hole_closes_half_a_minute_after_the_last_packet() {
        let mut translators = behind(&[PortRestricted, Open]);
        let (inside, outside) = (translators.address(0), translators.address(1));
        let lets = |translators: &Translators, at: Time| translators.lets_in(0, inside, outside, at);
        translators.opens(0, outside, Time(0));
        let late = Time(0) + HOLE;
        assert!(lets(&translators, Time(late.0 - 1)) && !lets(&translators, late));
        translators.keep_open(0, outside);
        assert!(lets(&translators, late + HOLE), "a connection keeps it open");
        translators.let_close(0, outside, late);
        assert!(lets(&translators, late) && !lets(&translators, late + HOLE));
    }

    #[test]
    fn kinds_are_dealt_out_evenly_and_by_the_seed() {
        let kinds = [Open, FullCone, PortRestricted, Symmetric];
        let dealt = |seed| -> Vec<Nat> {
            Translators::new(&kinds, true, seed, 12).all.iter().map(|translator| translator.nat).collect()
        };
        for four in dealt(1).chunks(4) {
            assert!(kinds.iter().all(|nat| four.contains(nat)), "{four:?}");
        }
        assert_eq!(dealt(1), dealt(1));
        assert!((2..9).any(|seed| dealt(seed) != dealt(1)));
        let translators = Translators::new(&[Open], true, 1, 600);
        assert!((0..600).all(|place| translators.place_of(translators.address(place)) == Some(place)));
        assert!(translators.address(599).ip().is_loopback() && translators.volunteers(599));
    }
}
