//! The two families of protocols in which routers are asked for ports, made to look alike.

use core::{num::NonZeroU16, time::Duration};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use crab_nat::{InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp};
use igd_next::{
    AddPortError, PortMappingProtocol, SearchOptions,
    aio::{Gateway, tokio::Tokio},
};

use crate::route::{default_router, source_towards};

/// How a router lists the mapping for its owner.
const DESCRIPTION: &str = "murmur";

/// A router that speaks PCP or NAT-PMP answers at once: four tries in 3.75 seconds.
const PATIENCE: TimeoutConfig =
    TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 3, max_retry_timeout: None };

/// How long routers are searched for by multicast.
const SEARCH: Duration = Duration::from_secs(5);

/// Ports tried, beside the same as inside, where a router does not choose one itself.
const PORTS_TRIED: u16 = 4;

/// A mapping that a router has granted.
#[derive(Debug)]
pub(super) struct Lease {
    grant: Grant,
    external: SocketAddr,
    ends: Instant,
}

#[derive(Debug)]
enum Grant {
    /// By PCP or NAT-PMP.
    Asked(Box<crab_nat::PortMapping>),
    /// By UPnP, to this inner address.
    Upnp(Box<Gateway<Tokio>>, SocketAddr),
}

/// Asks for a mapping to port `inner` of this machine; a sentence's end says why there is none.
pub(super) async fn open(inner: u16, lasts: Duration) -> Result<Lease, String> {
    let port = NonZeroU16::new(inner).ok_or("port 0 cannot be mapped")?;
    let asked = match default_router() {
        Some(router) => ask(router, port, lasts).await,
        None => Err("no default router is known".to_owned()),
    };
    let lease = match asked {
        Ok(lease) => lease,
        Err(first) => upnp(inner, lasts).await.map_err(|second| format!("{first}; {second}"))?,
    };
    match hidden(lease.external.ip()) {
        None => Ok(lease),
        Some(why) => {
            let reason = format!("the router's outer address {} {why}", lease.external.ip());
            lease.close().await;
            Err(reason)
        }
    }
}

/// Why nobody outside can dial this address, if that is so.
fn hidden(ip: IpAddr) -> Option<&'static str> {
    let IpAddr::V4(v4) = ip else { return None };
    let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64; // RFC 6598
    match () {
        () if v4.is_private() || shared => Some("is behind another NAT"),
        () if v4.is_unspecified() || v4.is_loopback() || v4.is_link_local() || v4.octets()[0] >= 224 => {
            Some("is nobody's")
        }
        () => None,
    }
}

/// By PCP, or by NAT-PMP if that is what the router speaks.
async fn ask(router: Ipv4Addr, inner: NonZeroU16, lasts: Duration) -> Result<Lease, String> {
    let refused = |what: String| format!("{router} refuses PCP and NAT-PMP ({what})");
    let client =
        source_towards(SocketAddr::from((router, crab_nat::GATEWAY_PORT))).ok_or("the router cannot be reached")?;
    let options = PortMappingOptions {
        external_port: Some(inner),
        lifetime_seconds: Some(seconds(lasts)),
        timeout_config: Some(PATIENCE),
    };
    let mapping = match crab_nat::PortMapping::new(router.into(), client, InternetProtocol::Udp, inner, options).await {
        Ok(mapping) => mapping,
        // One that does not know PCP may also say nothing.
        Err(crab_nat::MappingFailure::Pcp(_)) => {
            natpmp::port_mapping(router.into(), InternetProtocol::Udp, inner, options)
                .await
                .map_err(|error| refused(error.to_string()))?
        }
        Err(error @ crab_nat::MappingFailure::NatPmp(_)) => return Err(refused(error.to_string())),
    };
    let external = outer(&mapping).await.map_err(refused)?;
    Ok(Lease { ends: mapping.expiration(), external, grant: Grant::Asked(Box::new(mapping)) })
}

/// The outer end of a mapping; NAT-PMP tells the address apart from the port.
async fn outer(mapping: &crab_nat::PortMapping) -> Result<SocketAddr, String> {
    let ip = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => external_ip.to_canonical(),
        PortMappingType::NatPmp => {
            let address = natpmp::external_address(mapping.gateway(), Some(PATIENCE)).await;
            address.map_err(|error| error.to_string())?.into()
        }
    };
    Ok(SocketAddr::new(ip, mapping.external_port().get()))
}

/// By UPnP, at the first router that answers.
async fn upnp(inner: u16, lasts: Duration) -> Result<Lease, String> {
    let mut options = SearchOptions::default();
    (options.timeout, options.single_search_timeout) = (Some(SEARCH), Some(SEARCH));
    let gateway =
        igd_next::aio::tokio::search_gateway(options).await.map_err(|_| "no router answers to UPnP".to_owned())?;
    let client = source_towards(gateway.addr).ok_or("the router cannot be reached")?;
    let local = SocketAddr::new(client, inner);
    let ip = gateway.get_external_ip().await.map_err(|error| format!("UPnP: {error}"))?;
    let port = grant(&gateway, local, lasts).await?;
    let grant = Grant::Upnp(Box::new(gateway), local);
    Ok(Lease { ends: Instant::now() + lasts, external: SocketAddr::new(ip, port), grant })
}

/// The same port as inside, or if somebody has that, one of the next.
async fn grant(gateway: &Gateway<Tokio>, local: SocketAddr, lasts: Duration) -> Result<u16, String> {
    let mut reason = String::new();
    for port in (0..=PORTS_TRIED).filter_map(|more| local.port().checked_add(more)) {
        match add(gateway, port, local, lasts).await {
            Ok(()) => return Ok(port),
            Err(error @ AddPortError::PortInUse) => reason = error.to_string(),
            Err(error) => return Err(format!("UPnP: {error}")),
        }
    }
    Err(format!("UPnP: {reason}"))
}

async fn add(gateway: &Gateway<Tokio>, port: u16, local: SocketAddr, lasts: Duration) -> Result<(), AddPortError> {
    match gateway.add_port(PortMappingProtocol::UDP, port, local, seconds(lasts), DESCRIPTION).await {
        Err(AddPortError::OnlyPermanentLeasesSupported) => {
            gateway.add_port(PortMappingProtocol::UDP, port, local, 0, DESCRIPTION).await
        }
        other => other,
    }
}

impl Lease {
    pub(super) fn external(&self) -> SocketAddr {
        self.external
    }

    pub(super) fn protocol(&self) -> &'static str {
        match &self.grant {
            Grant::Asked(mapping) => match mapping.mapping_type() {
                PortMappingType::NatPmp => "NAT-PMP",
                PortMappingType::Pcp { .. } => "PCP",
            },
            Grant::Upnp(..) => "UPnP",
        }
    }

    /// How long it still lasts.
    pub(super) fn rest(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Has the mapping last `lasts` from now. The router may move it.
    pub(super) async fn renew(&mut self, lasts: Duration) -> Result<(), String> {
        match &mut self.grant {
            Grant::Asked(mapping) => {
                let options = PortMappingOptions {
                    external_port: Some(mapping.external_port()),
                    lifetime_seconds: Some(seconds(lasts)),
                    timeout_config: Some(PATIENCE),
                };
                match mapping.mapping_type() {
                    PortMappingType::NatPmp => {
                        **mapping = natpmp::port_mapping(
                            mapping.gateway(),
                            InternetProtocol::Udp,
                            mapping.internal_port(),
                            options,
                        )
                        .await
                        .map_err(|error| error.to_string())?;
                    }
                    PortMappingType::Pcp { .. } => mapping.renew().await.map_err(|error| error.to_string())?,
                }
                self.external = outer(mapping).await?;
                self.ends = mapping.expiration();
            }
            Grant::Upnp(gateway, local) => {
                let ip = gateway.get_external_ip().await.map_err(|error| error.to_string())?;
                add(gateway, self.external.port(), *local, lasts).await.map_err(|error| error.to_string())?;
                self.external.set_ip(ip);
                self.ends = Instant::now() + lasts;
            }
        }
        Ok(())
    }

    /// Gives it back. A router that does not take it lets it end by itself.
    pub(super) async fn close(self) {
        let kept = match self.grant {
            Grant::Asked(mapping) => mapping.try_drop().await.err().map(|(error, _)| error.to_string()),
            Grant::Upnp(gateway, _) => {
                let removed = gateway.remove_port(PortMappingProtocol::UDP, self.external.port()).await;
                removed.err().map(|error| error.to_string())
            }
        };
        if let Some(reason) = kept {
            tracing::debug!(reason, "the router keeps a mapping until its lease ends");
        }
    }
}

fn seconds(lasts: Duration) -> u32 {
    u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_address_that_is_not_outside_is_found_out() {
        for text in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "100.127.255.255", "0.0.0.0", "127.0.0.1", "240.0.0.1"] {
            assert!(hidden(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in ["198.51.100.2", "100.63.0.1", "100.128.0.1", "8.8.8.8"] {
            assert!(hidden(text.parse().unwrap()).is_none(), "{text}");
        }
    }
}
