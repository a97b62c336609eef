//! The routes of this machine: the source address towards a destination, and the default router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The source address of packets to `destination`. Nothing is sent.
pub(crate) fn source_towards(destination: SocketAddr) -> Option<IpAddr> {
    let any = if destination.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(destination).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// The router of the default route, on Linux, where a file has it.
pub(crate) fn default_router() -> Option<Ipv4Addr> {
    router_in(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// The gateway of the default route with the smallest metric.
fn router_in(table: &str) -> Option<Ipv4Addr> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (&destination, &gateway, &metric) = (fields.get(1)?, fields.get(2)?, fields.get(6)?);
        let (number, metric) = (u32::from_str_radix(gateway, 16).ok()?, metric.parse::<u32>().ok()?);
        // The kernel prints the bytes, which are in network order, as an integer in the byte order of the machine.
        (destination == "00000000" && number != 0).then(|| (metric, Ipv4Addr::from(number.to_ne_bytes())))
    });
    routes.min().map(|(_, gateway)| gateway)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    #[test]
    fn the_router_is_the_default_route_s_with_the_smallest_metric() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
            wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\n\
            eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\n\
            eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
            nonsense\n";
        assert_eq!(router_in(table), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(router_in("Iface\n"), None);
        assert_eq!(router_in(""), None);
    }
}
