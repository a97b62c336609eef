//! Which address each local peer listens on, and which ones go into the ticket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use murmur_quic::outward;

use super::interfaces::{Choice, choose, of_this_machine};
use crate::{
    config::Settings,
    error::{Exit, Failure},
    run::ticket::ADDRESSES_MAX,
};

/// Refuses first ports after which there are not enough for `peers` local peers. Equal ports of the two settings are no
/// conflict: peers listen by UDP, and metrics are served by TCP.
///
/// # Errors
/// [`Exit::Config`] with the setting and the highest port that fits.
pub fn check_ports(settings: &Settings, peers: usize) -> Result<(), Failure> {
    let further = u16::try_from(peers.saturating_sub(1)).unwrap_or(u16::MAX);
    let highest = u16::MAX - further;
    let chosen = [("net.listen", settings.net.listen), ("net.metrics", settings.net.metrics)];
    match chosen.into_iter().find(|(_, address)| address.port() > highest) {
        None => Ok(()),
        Some((name, address)) => Err(Failure::new(
            Exit::Config,
            format!("`{name}` is {address}, and {peers} local peers take one port after the other from there"),
        )
        .hint(format!("Choose port {highest} or a lower one; 0 takes any free ones."))),
    }
}

/// Where the `index`-th local peer listens: port 0 stays 0 (any free one), else one port after the other, as far as
/// [`check_ports`] has made sure there are.
pub(super) fn nth(base: SocketAddr, index: usize) -> SocketAddr {
    let offset = u16::try_from(index).unwrap_or(u16::MAX);
    let port = if base.port() == 0 { 0 } else { base.port().saturating_add(offset) };
    SocketAddr::new(base.ip(), port)
}

/// The addresses for a ticket: what others can dial, at most as many as a ticket holds.
///
/// A peer that listens on every interface is named by `announce`, or by the addresses this machine would use to reach
/// the rest of the world: of both versions of IP where it listens on both. Every peer has one before any has a second.
pub(super) fn for_ticket(listening: &[SocketAddr], announce: Option<IpAddr>) -> Vec<SocketAddr> {
    let dialable: Vec<Vec<SocketAddr>> = listening.iter().map(|address| all_of(*address, announce)).collect();
    let first = dialable.iter().filter_map(|all| all.first());
    let second = dialable.iter().filter_map(|all| all.get(1));
    first.chain(second).take(ADDRESSES_MAX).copied().collect()
}

/// The addresses at which a peer that listens on `listening` can be dialed: one, or one of each version of IP.
fn all_of(listening: SocketAddr, announce: Option<IpAddr>) -> Vec<SocketAddr> {
    let ips: Vec<IpAddr> = match announce {
        Some(ip) => vec![ip],
        None => taken(listening.ip()).into_iter().filter_map(|any| found(any).map(|choice| choice.ip)).collect(),
    };
    let named: Vec<SocketAddr> = ips.into_iter().map(|ip| SocketAddr::new(ip, listening.port())).collect();
    if named.is_empty() { vec![for_neighbour(listening)] } else { named }
}

/// The addresses a socket takes packets for: one bound to every interface by IPv6 takes those for IPv4, too.
fn taken(listening: IpAddr) -> Vec<IpAddr> {
    let both = listening == IpAddr::from(Ipv6Addr::UNSPECIFIED);
    std::iter::once(listening).chain(both.then_some(Ipv4Addr::UNSPECIFIED.into())).collect()
}

/// Which interface a ticket names and why, in words; nothing when there was no choice.
pub(super) fn explanation(listening: &[SocketAddr], announce: Option<IpAddr>) -> Option<String> {
    let any = listening.iter().find(|address| address.ip().is_unspecified() && announce.is_none())?;
    let named = |Choice { ip, reason }| format!("{ip} ({reason})");
    let choices: Vec<String> = taken(any.ip()).into_iter().filter_map(found).map(named).collect();
    Some(if choices.is_empty() {
        "No interface leads out of this machine, so the ticket is good only here.".to_owned()
    } else {
        format!("The ticket names {}; net.announce names another.", choices.join(" and "))
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
    use crate::config::{Inputs, Resolved};

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn local_peers_take_one_port_after_the_other_unless_any_will_do() {
        assert_eq!(nth(address("0.0.0.0:4500"), 3), address("0.0.0.0:4503"));
        assert_eq!(nth(address("127.0.0.1:0"), 3), address("127.0.0.1:0"));
    }

    #[test]
    fn ports_that_run_out_are_refused_before_two_peers_take_the_same() {
        let settings = |listen: &str, metrics: &str| {
            let sets = vec![format!("net.listen={listen}"), format!("net.metrics={metrics}")];
            Resolved::new(&Inputs { sets, ..Inputs::default() }).unwrap().settings().unwrap()
        };
        let any = "127.0.0.1:0";
        for (listen, metrics, name) in [("127.0.0.1:65535", any, "net.listen"), (any, "[::1]:65535", "net.metrics")] {
            let settings = settings(listen, metrics);
            assert!(check_ports(&settings, 1).is_ok());
            let failure = check_ports(&settings, 2).unwrap_err();
            assert_eq!(failure.exit(), Exit::Config);
            assert!(failure.sentence().contains(name) && failure.sentence().contains("2 local peers"));
            assert!(failure.to_fault().hint.contains("65534"));
        }
        let last = settings("127.0.0.1:65532", "127.0.0.1:65532");
        assert!(check_ports(&last, 4).is_ok(), "UDP and TCP do not meet");
        assert_ne!(nth(last.net.listen, 2), nth(last.net.listen, 3));
        assert!(check_ports(&last, usize::MAX).is_err() && check_ports(&settings(any, any), usize::MAX).is_ok());
    }

    #[test]
    fn a_ticket_never_names_the_unspecified_address() {
        let listening = [address("0.0.0.0:4500"), address("[::]:4501"), address("127.0.0.1:4502")];
        let named = for_ticket(&listening, None);
        assert!(named.iter().all(|address| !address.ip().is_unspecified()), "{named:?}");
        assert_eq!((named[0].port(), named[1].port(), named[2]), (4500, 4501, listening[2]), "one of each comes first");
        let announced = for_ticket(&listening, Some("203.0.113.9".parse().unwrap()));
        assert_eq!(announced[1], address("203.0.113.9:4501"));
        assert_eq!(announced.len(), 3, "what was announced stands for both versions of IP");
        assert_eq!(for_ticket(&[address("10.0.0.1:1"); 20], None).len(), ADDRESSES_MAX);
    }

    #[test]
    fn who_listens_by_ipv6_on_every_interface_takes_both_versions() {
        let taken_by = |text: &str| taken(text.parse().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(taken_by("::"), ["::", "0.0.0.0"]);
        assert_eq!(taken_by("0.0.0.0"), ["0.0.0.0"]);
        assert_eq!(taken_by("2001:db8::1"), ["2001:db8::1"]);
    }

    #[test]
    fn neighbours_meet_on_loopback() {
        assert_eq!(for_neighbour(address("0.0.0.0:7")), address("127.0.0.1:7"));
        assert_eq!(for_neighbour(address("[::]:7")), address("[::1]:7"));
        assert_eq!(for_neighbour(address("10.1.1.1:7")), address("10.1.1.1:7"));
    }
}
