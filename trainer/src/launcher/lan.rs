//! Finding a run on the local network without a ticket: multicast DNS (RFC 6762, 6763), and only when asked.
//!
//! A launcher with `--lan` announces its ticket as a service; `join --lan` listens for such services for a few seconds. An
//! announcement is only a ticket: any machine of the network can send one, and the run that it names is checked by its hash.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use mdns_sd::{IfKind, ServiceDaemon, ServiceEvent, ServiceInfo};

use crate::{
    error::{Exit, Failure},
    run::ticket::{ADDRESSES_MAX, Ticket},
};

/// The service, as networks list it.
const SERVICE: &str = "_murmur._udp.local.";

/// The key of the one property a service has.
const TICKET: &str = "ticket";

/// Addresses in an announced ticket: with these, even IPv6 ones, it fits the 255 bytes of a property.
const ANNOUNCED_MAX: usize = 4;

/// How long announcements are listened for; they are repeated, and asked for, every second at first.
pub const LISTEN: Duration = Duration::from_secs(3);

/// Announcements looked at, at most.
const TICKETS_MAX: usize = 256;

/// Which interfaces are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interfaces {
    /// All but loopback.
    All,
    /// Only loopback, for tests.
    Loopback,
}

/// A run that is announced until this is dropped.
pub struct Announcement(ServiceDaemon);

impl Drop for Announcement {
    fn drop(&mut self) {
        // A joiner that still sees the announcement gets no answer.
        let _ = self.0.shutdown();
    }
}

/// Announces the run of `ticket`, with the first of its addresses.
///
/// # Errors
/// [`Exit::Device`] when the network cannot be used for that.
pub fn announce(ticket: &Ticket, interfaces: Interfaces) -> Result<Announcement, Failure> {
    let failed = |error: mdns_sd::Error| {
        Failure::new(Exit::Device, "the run cannot be announced on the local network").because(error)
    };
    let addresses = &ticket.addresses()[..ticket.addresses().len().min(ANNOUNCED_MAX)];
    let short = Ticket::new(ticket.run_id(), addresses)
        .map_err(|error| Failure::new(Exit::Bug, "a ticket with fewer addresses is no ticket").because(error))?;
    let name = format!("{}-{}", HEXLOWER.encode(&ticket.run_id()[..6]), std::process::id());
    let (host, first) = (format!("murmur-{name}.local."), addresses[0]);
    let properties = [(TICKET, short.to_string())];
    let service = ServiceInfo::new(SERVICE, &name, &host, first.ip(), first.port(), &properties[..]).map_err(failed)?;
    let daemon = daemon(interfaces).map_err(failed)?;
    daemon.register(service).map_err(failed)?;
    Ok(Announcement(daemon))
}

/// Tickets of the runs that are announced, one each, after listening for `patience` or until the run `wanted` is found.
///
/// # Errors
/// [`Exit::Device`] when the network cannot be used for that.
pub fn discover(wanted: Option<[u8; 32]>, patience: Duration, interfaces: Interfaces) -> Result<Vec<Ticket>, Failure> {
    let failed = |error: mdns_sd::Error| {
        Failure::new(Exit::Device, "the local network cannot be listened to for runs").because(error)
    };
    let daemon = Announcement(daemon(interfaces).map_err(failed)?);
    let services = daemon.0.browse(SERVICE).map_err(failed)?;
    let (mut discovered, deadline) = (Vec::new(), Instant::now() + patience);
    while let Ok(event) = services.recv_deadline(deadline) {
        let ServiceEvent::ServiceResolved(service) = event else { continue };
        let ticket = service.txt_properties.get_property_val_str(TICKET).and_then(|text| text.parse::<Ticket>().ok());
        discovered.extend(ticket);
        let found = wanted.is_some_and(|run| discovered.iter().any(|ticket| ticket.run_id() == run));
        if found || discovered.len() >= TICKETS_MAX {
            break;
        }
    }
    Ok(merge(&discovered))
}

/// One ticket per run, with the addresses of all, each once, as many as fit.
fn merge(discovered: &[Ticket]) -> Vec<Ticket> {
    let mut runs: BTreeMap<[u8; 32], Vec<SocketAddr>> = BTreeMap::new();
    for ticket in discovered {
        let addresses = runs.entry(ticket.run_id()).or_default();
        for address in ticket.addresses() {
            if !addresses.contains(address) && addresses.len() < ADDRESSES_MAX {
                addresses.push(*address);
            }
        }
    }
    runs.into_iter().filter_map(|(run, addresses)| Ticket::new(run, &addresses).ok()).collect()
}

/// `ticket` with the addresses of the same run in `discovered` behind its own.
pub fn extend(ticket: &Ticket, discovered: &[Ticket]) -> Ticket {
    let same = discovered.iter().filter(|other| other.run_id() == ticket.run_id());
    let all: Vec<Ticket> = std::iter::once(ticket).chain(same).cloned().collect();
    merge(&all).into_iter().next().unwrap_or_else(|| ticket.clone())
}

/// Where to listen when the local network is asked for: on every interface, unless another address was chosen.
pub fn listening(chosen: SocketAddr) -> SocketAddr {
    if chosen.ip().is_loopback() { SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), chosen.port()) } else { chosen }
}

fn daemon(interfaces: Interfaces) -> mdns_sd::Result<ServiceDaemon> {
    let daemon = ServiceDaemon::new()?;
    if interfaces == Interfaces::Loopback {
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(IfKind::LoopbackV4)?;
    }
    Ok(daemon)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ticket(run: u8, addresses: &[&str]) -> Ticket {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Ticket::new([run; 32], &addresses).unwrap()
    }

    #[test]
    fn what_is_announced_of_one_run_becomes_one_ticket() {
        let discovered =
            [ticket(2, &["10.0.0.1:1"]), ticket(1, &["10.0.0.9:9"]), ticket(2, &["10.0.0.2:2", "10.0.0.1:1"])];
        assert_eq!(merge(&discovered), [ticket(1, &["10.0.0.9:9"]), ticket(2, &["10.0.0.1:1", "10.0.0.2:2"])]);
        assert_eq!(extend(&discovered[0], &discovered), ticket(2, &["10.0.0.1:1", "10.0.0.2:2"]));
        assert_eq!(extend(&ticket(7, &["10.0.0.1:1"]), &discovered), ticket(7, &["10.0.0.1:1"]));
    }

    #[test]
    fn a_flood_of_addresses_is_cut_to_what_a_ticket_holds() {
        let flood: Vec<Ticket> = (1..60).map(|n| ticket(1, &[&format!("10.0.0.{n}:1")])).collect();
        assert_eq!(merge(&flood)[0].addresses().len(), ADDRESSES_MAX);
    }

    #[test]
    fn the_longest_announced_ticket_fits_a_property() {
        let v6 = ["[2001:db8::1]:65535", "[2001:db8::2]:65535", "[2001:db8::3]:65535", "[2001:db8::4]:65535"];
        assert!(TICKET.len() + 1 + ticket(255, &v6[..ANNOUNCED_MAX]).to_string().len() <= 255);
    }

    #[test]
    fn lan_listens_on_all_interfaces_unless_an_address_is_set() {
        let listen = |text: &str| listening(text.parse().unwrap()).to_string();
        assert_eq!(listen("127.0.0.1:4500"), "0.0.0.0:4500");
        assert_eq!(listen("10.0.0.5:4500"), "10.0.0.5:4500");
    }

    #[test]
    fn a_run_that_is_announced_is_found() {
        let announced = ticket(9, &["127.0.0.1:4500"]);
        let Ok(_announcement) = announce(&announced, Interfaces::Loopback) else {
            println!("skipped: this system does not let multicast DNS use loopback");
            return;
        };
        let discovered = discover(Some([9; 32]), Duration::from_secs(20), Interfaces::Loopback).unwrap();
        assert_eq!(discovered, [announced]);
    }
}
