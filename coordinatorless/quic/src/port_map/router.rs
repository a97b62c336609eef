//! One interface to the two families of port mapping protocols: PCP with NAT-PMP, and UPnP.

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

/// The description of the mapping in the router's list.
const DESCRIPTION: &str = "murmur";

/// Retransmissions to a router that speaks PCP or NAT-PMP: four requests in 3.75 seconds.
const RETRANSMISSION: TimeoutConfig =
    TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 3, max_retry_timeout: None };

/// The time limit of the multicast search for UPnP routers.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);

/// External ports tried after the internal one, by UPnP, where the router does not choose one.
const PORTS_TRIED: u16 = 4;

/// A mapping that a router has granted.
#[derive(Debug)]
pub(super) struct Lease {
    grant: Grant,
    external: SocketAddr,
    ends_at: Instant,
}

#[derive(Debug)]
enum Grant {
    /// By PCP or NAT-PMP.
    Pcp(Box<crab_nat::PortMapping>),
    /// By UPnP, to this internal address.
    Upnp(Box<Gateway<Tokio>>, SocketAddr),
}

/// Requests a mapping to port `inner` of this machine. The error is a text for a user.
pub(super) async fn open(inner: u16, lasts: Duration) -> Result<Lease, String> {
    let port = NonZeroU16::new(inner).ok_or("port 0 cannot be mapped")?;
    let granted = match default_router() {
        Some(router) => request_pcp(router, port, lasts).await,
        None => Err("no default router is known".to_owned()),
    };
    let lease = match granted {
        Ok(lease) => lease,
        Err(first) => request_upnp(inner, lasts).await.map_err(|second| format!("{first}; {second}"))?,
    };
    match unreachable_reason(lease.external.ip()) {
        None => Ok(lease),
        Some(why) => {
            let reason = format!("the router's outer address {} {why}", lease.external.ip());
            lease.close().await;
            Err(reason)
        }
    }
}

/// Why peers on the internet cannot dial this address; `None` if they can.
fn unreachable_reason(ip: IpAddr) -> Option<&'static str> {
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

/// Requests a mapping by PCP, or by NAT-PMP if the router does not speak PCP.
async fn request_pcp(router: Ipv4Addr, inner: NonZeroU16, lasts: Duration) -> Result<Lease, String> {
    let refused = |what: String| format!("{router} refuses PCP and NAT-PMP ({what})");
    let client =
        source_towards(SocketAddr::from((router, crab_nat::GATEWAY_PORT))).ok_or("the router cannot be reached")?;
    let options = PortMappingOptions {
        external_port: Some(inner),
        lifetime_seconds: Some(seconds(lasts)),
        timeout_config: Some(RETRANSMISSION),
    };
    let mapping = match crab_nat::PortMapping::new(router.into(), client, InternetProtocol::Udp, inner, options).await {
        Ok(mapping) => mapping,
        // A router without PCP may send no answer.
        Err(crab_nat::MappingFailure::Pcp(_)) => {
            natpmp::port_mapping(router.into(), InternetProtocol::Udp, inner, options)
                .await
                .map_err(|error| refused(error.to_string()))?
        }
        Err(error @ crab_nat::MappingFailure::NatPmp(_)) => return Err(refused(error.to_string())),
    };
    let external = external_address(&mapping).await.map_err(refused)?;
    Ok(Lease { ends_at: mapping.expiration(), external, grant: Grant::Pcp(Box::new(mapping)) })
}

/// The external address of a mapping. NAT-PMP has a request of its own for the IP address.
async fn external_address(mapping: &crab_nat::PortMapping) -> Result<SocketAddr, String> {
    let ip = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => external_ip.to_canonical(),
        PortMappingType::NatPmp => {
            let address = natpmp::external_address(mapping.gateway(), Some(RETRANSMISSION)).await;
            address.map_err(|error| error.to_string())?.into()
        }
    };
    Ok(SocketAddr::new(ip, mapping.external_port().get()))
}

/// Requests a mapping by UPnP, at the first router that answers.
async fn request_upnp(inner: u16, lasts: Duration) -> Result<Lease, String> {
    let mut options = SearchOptions::default();
    (options.timeout, options.single_search_timeout) = (Some(SEARCH_TIMEOUT), Some(SEARCH_TIMEOUT));
    let gateway =
        igd_next::aio::tokio::search_gateway(options).await.map_err(|_| "no router answers to UPnP".to_owned())?;
    let client = source_towards(gateway.addr).ok_or("the router cannot be reached")?;
    let local = SocketAddr::new(client, inner);
    let ip = gateway.get_external_ip().await.map_err(|error| format!("UPnP: {error}"))?;
    let port = add_free_port(&gateway, local, lasts).await?;
    let grant = Grant::Upnp(Box::new(gateway), local);
    Ok(Lease { ends_at: Instant::now() + lasts, external: SocketAddr::new(ip, port), grant })
}

/// Maps the external port with the number of the internal one or, if that is in use, one of the next.
async fn add_free_port(gateway: &Gateway<Tokio>, local: SocketAddr, lasts: Duration) -> Result<u16, String> {
    let mut reason = String::new();
    for port in (0..=PORTS_TRIED).filter_map(|more| local.port().checked_add(more)) {
        match add_port(gateway, port, local, lasts).await {
            Ok(()) => return Ok(port),
            Err(error @ AddPortError::PortInUse) => reason = error.to_string(),
            Err(error) => return Err(format!("UPnP: {error}")),
        }
    }
    Err(format!("UPnP: {reason}"))
}

async fn add_port(gateway: &Gateway<Tokio>, port: u16, local: SocketAddr, lasts: Duration) -> Result<(), AddPortError> {
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
            Grant::Pcp(mapping) => match mapping.mapping_type() {
                PortMappingType::NatPmp => "NAT-PMP",
                PortMappingType::Pcp { .. } => "PCP",
            },
            Grant::Upnp(..) => "UPnP",
        }
    }

    /// The time until its end.
    pub(super) fn time_left(&self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }

    /// Renews the mapping for `lasts` from now. The router may change its external address.
    pub(super) async fn renew(&mut self, lasts: Duration) -> Result<(), String> {
        match &mut self.grant {
            Grant::Pcp(mapping) => {
                let options = PortMappingOptions {
                    external_port: Some(mapping.external_port()),
                    lifetime_seconds: Some(seconds(lasts)),
                    timeout_config: Some(RETRANSMISSION),
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
                self.external = external_address(mapping).await?;
                self.ends_at = mapping.expiration();
            }
            Grant::Upnp(gateway, local) => {
                let ip = gateway.get_external_ip().await.map_err(|error| error.to_string())?;
                add_port(gateway, self.external.port(), *local, lasts).await.map_err(|error| error.to_string())?;
                self.external.set_ip(ip);
                self.ends_at = Instant::now() + lasts;
            }
        }
        Ok(())
    }

    /// Removes the mapping. If the router refuses, the mapping ends with its lease.
    pub(super) async fn close(self) {
        let kept = match self.grant {
            Grant::Pcp(mapping) => mapping.try_drop().await.err().map(|(error, _)| error.to_string()),
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
    fn an_external_address_that_the_internet_cannot_reach_is_recognized() {
        for text in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "100.127.255.255", "0.0.0.0", "127.0.0.1", "240.0.0.1"] {
            assert!(unreachable_reason(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in ["198.51.100.2", "100.63.0.1", "100.128.0.1", "8.8.8.8"] {
            assert!(unreachable_reason(text.parse().unwrap()).is_none(), "{text}");
        }
    }
}
