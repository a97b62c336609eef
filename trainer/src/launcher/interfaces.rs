//! Chooses which of this machine's addresses goes into the ticket, and says why.
//!
//! A machine with containers or virtual machines has addresses that lead nowhere else. The system's route to the
//! internet is tried first; if it leads through no real interface, real ones are found by their names.

use std::net::IpAddr;

/// What names of interfaces begin with that lead only to containers or virtual machines on this machine.
const INNER: [&str; 13] =
    ["docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "cni", "flannel", "cali", "lxc", "lxd", "podman", "kube"];

/// What names of wired and wireless cards begin with.
const CARDS: [&str; 4] = ["en", "eth", "wl", "ww"];

/// An address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) ip: IpAddr,
}

/// An address, and why it and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) ip: IpAddr,
    pub(super) reason: String,
}

/// This machine's addresses; none where the system does not say.
pub(super) fn of_this_machine() -> Vec<Interface> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    found.into_iter().map(|interface| Interface { ip: interface.ip(), name: interface.name }).collect()
}

/// The address of the same family as `any` to tell others. `outward` is the one the system would use to reach the rest of
/// the world. Nothing when all lead nowhere.
pub(super) fn choose(interfaces: &[Interface], any: IpAddr, outward: Option<IpAddr>) -> Option<Choice> {
    let family = |interface: &&Interface| interface.ip.is_ipv4() == any.is_ipv4();
    let usable: Vec<&Interface> = interfaces.iter().filter(family).filter(|interface| leads_out(interface)).collect();
    if let Some(way) = usable.iter().find(|interface| Some(interface.ip) == outward) {
        return Some(choice(way, "the way to other networks"));
    }
    let blocked = interfaces.iter().find(|interface| Some(interface.ip) == outward).map(|inner| inner.name.as_str());
    let best = usable.into_iter().min_by_key(|interface| (!starts(&interface.name, &CARDS), interface.name.clone()))?;
    let why = match blocked {
        Some(inner) => format!("the way to other networks is {inner}, which leads only to containers here"),
        None => "no way to other networks is known; the first card by name".to_owned(),
    };
    Some(choice(best, &why))
}

fn choice(interface: &Interface, why: &str) -> Choice {
    Choice { ip: interface.ip, reason: format!("{}: {why}", interface.name) }
}

fn leads_out(interface: &Interface) -> bool {
    let local = match interface.ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    };
    !local && !starts(&interface.name, &INNER)
}

fn starts(name: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn list(text: &[(&str, &str)]) -> Vec<Interface> {
        text.iter().map(|(name, ip)| Interface { name: (*name).to_owned(), ip: ip.parse().unwrap() }).collect()
    }

    fn chosen(interfaces: &[(&str, &str)], any: &str, outward: Option<&str>) -> Option<Choice> {
        choose(&list(interfaces), any.parse().unwrap(), outward.map(|ip| ip.parse().unwrap()))
    }

    const HOST: [(&str, &str); 6] = [
        ("lo", "127.0.0.1"),
        ("docker0", "172.17.0.1"),
        ("br-5f2c", "172.18.0.1"),
        ("veth12ab", "169.254.3.4"),
        ("wlan0", "192.168.1.7"),
        ("eth0", "10.1.2.3"),
    ];

    #[test]
    fn the_way_out_is_taken_and_named() {
        let choice = chosen(&HOST, "0.0.0.0", Some("192.168.1.7")).unwrap();
        assert_eq!(choice.ip, "192.168.1.7".parse::<IpAddr>().unwrap());
        assert_eq!(choice.reason, "wlan0: the way to other networks");
    }

    #[test]
    fn a_container_s_bridge_is_never_taken_even_if_the_way_out_leads_there() {
        for outward in [Some("172.17.0.1"), Some("172.18.0.1"), None] {
            let choice = chosen(&HOST, "0.0.0.0", outward).unwrap();
            assert_eq!(choice.ip, "10.1.2.3".parse::<IpAddr>().unwrap(), "{outward:?}");
        }
        assert!(chosen(&HOST, "0.0.0.0", Some("172.17.0.1")).unwrap().reason.contains("docker0"));
    }

    #[test]
    fn nothing_is_chosen_when_everything_stays_inside() {
        assert_eq!(chosen(&HOST[..4], "0.0.0.0", Some("172.17.0.1")), None);
        assert_eq!(chosen(&[], "0.0.0.0", None), None);
    }

    #[test]
    fn families_are_kept_apart_and_link_local_addresses_left_out() {
        let both = [("eth0", "10.1.2.3"), ("eth0", "fe80::1"), ("eth1", "2001:db8::5")];
        assert_eq!(chosen(&both, "::", None).unwrap().ip, "2001:db8::5".parse::<IpAddr>().unwrap());
        assert_eq!(chosen(&both[..2], "::", None), None);
    }
}
