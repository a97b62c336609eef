//! Which address each local peer listens on, and which ones go into the ticket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use murmur_quic::outward;

use super::interfaces::{Choice, choose, of_this_machine};
use crate::ticket::ADDRESSES_MAX;

/// Where the `index`-th local peer listens: port 0 stays 0 (any free one), else one port after the other.
pub(super) fn nth(base: SocketAddr, index: usize) -> SocketAddr {
    let offset = u16::try_from(index).unwrap_or(u16::MAX);
    let port = if base.port() == 0 { 0 } else { base.port().saturating_add(offset) };
    SocketAddr::new(base.ip(), port)
}

/// The addresses for a ticket: what others can dial, at most as many as a ticket holds.
///
/// A peer that listens on every interface is named by `announce`, or by the address this machine would use to reach
/// the rest of the world.
pub(super) fn for_ticket(listening: &[SocketAddr], announce: Option<IpAddr>) -> Vec<SocketAddr> {
    let dialable = |address: &SocketAddr| {
        let ip =
            announce.or_else(|| found(address.ip()).map(|choice| choice.ip)).unwrap_or(for_neighbour(*address).ip());
        SocketAddr::new(ip, address.port())
    };
    listening.iter().take(ADDRESSES_MAX).map(dialable).collect()
}

/// Which interface a ticket names and why, in words; nothing when there was no choice.
pub(super) fn explanation(listening: &[SocketAddr], announce: Option<IpAddr>) -> Option<String> {
    let any = listening.iter().find(|address| address.ip().is_unspecified() && announce.is_none())?;
    Some(match found(any.ip()) {
        Some(Choice { ip, reason }) => format!("The ticket names {ip} ({reason}); net.announce names another."),
        None => "No interface leads out of this machine, so the ticket is good only here.".to_owned(),
    })
}

/// For a peer that listens on every interface, the address to name; the address itself for any other.
fn found(ip: IpAddr) -> Option<Choice> {
    if ip.is_unspecified() {
        return choose(&of_this_machine(), ip, outward(ip));
    }
    Some(Choice { ip, reason: String::new() })
}

/// Where a peer on this machine reaches a local peer.
pub(super) fn for_neighbour(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn local_peers_take_one_port_after_the_other_unless_any_will_do() {
        assert_eq!(nth(address("0.0.0.0:4500"), 3), address("0.0.0.0:4503"));
        assert_eq!(nth(address("127.0.0.1:0"), 3), address("127.0.0.1:0"));
    }

    #[test]
    fn a_ticket_never_names_the_unspecified_address() {
        let listening = [address("0.0.0.0:4500"), address("[::]:4501"), address("127.0.0.1:4502")];
        let named = for_ticket(&listening, None);
        assert!(named.iter().all(|address| !address.ip().is_unspecified()), "{named:?}");
        assert_eq!(named[2], listening[2]);
        let announced = for_ticket(&listening, Some("203.0.113.9".parse().unwrap()));
        assert_eq!(announced[1], address("203.0.113.9:4501"));
        assert_eq!(for_ticket(&[address("10.0.0.1:1"); 20], None).len(), ADDRESSES_MAX);
    }

    #[test]
    fn neighbours_meet_on_loopback() {
        assert_eq!(for_neighbour(address("0.0.0.0:7")), address("127.0.0.1:7"));
        assert_eq!(for_neighbour(address("[::]:7")), address("[::1]:7"));
        assert_eq!(for_neighbour(address("10.1.1.1:7")), address("10.1.1.1:7"));
    }
}
