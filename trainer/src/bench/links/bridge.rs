//! Links that the kernel shapes: every peer's interface hangs on a bridge, `netem` delays and loses, `tbf` limits the rate.

use super::{
    LinkProfile, NoLinks,
    namespaces::{INTERFACE, ip, run},
};

/// Packets that `netem` holds at most. A second of the fastest profile fits.
const HELD_MAX: u32 = 100_000;

/// Whether the kernel has `netem`, by asking for it in a namespace where it changes nothing.
pub(super) fn has_netem(namespace: &str) -> bool {
    let on_loopback = |verb| run("tc", &["-n", namespace, "qdisc", verb, "dev", "lo", "root", "netem", "delay", "1us"]);
    on_loopback("add").is_ok() && on_loopback("del").is_ok()
}

/// Joins the peers' namespaces by a bridge in a namespace of its own.
pub(super) fn join(profile: &LinkProfile, peers: &[String], middle: &str) -> Result<(), NoLinks> {
    ip(&["-n", middle, "link", "add", "bridge", "type", "bridge"])?;
    for (index, peer) in peers.iter().enumerate() {
        let port = format!("port{index}");
        ip(&["-n", middle, "link", "add", &port, "type", "veth", "peer", "name", INTERFACE, "netns", peer])?;
        let mtu = profile.packet_bytes_max.to_string();
        ip(&["-n", middle, "link", "set", &port, "mtu", &mtu, "master", "bridge", "up"])?;
        if profile.delays_or_loses() || profile.up_bits_per_second > 0 {
            // One packet at a time, as on a wire: what is lost or held is a packet and not a bundle of forty.
            ip(&["-n", peer, "link", "set", INTERFACE, "gso_max_segs", "1"])?;
        }
        for words in shaping(profile) {
            let (namespace, device) = if words.at_peer { (peer.as_str(), INTERFACE) } else { (middle, port.as_str()) };
            let mut command = vec!["-n", namespace, "qdisc", "add", "dev", device];
            command.extend(words.rule.split(' '));
            run("tc", &command)?;
        }
    }
    ip(&["-n", middle, "link", "set", "bridge", "up"])
}

/// A rule for `tc qdisc add dev DEVICE`, at the peer's end or at the bridge's.
struct Shaping {
    at_peer: bool,
    rule: String,
}

/// Up: delay and loss, then the rate. Down: the rate.
fn shaping(profile: &LinkProfile) -> Vec<Shaping> {
    let mut rules = Vec::new();
    let mut up = "root handle 1:";
    if profile.delays_or_loses() {
        let (delay, jitter) = (profile.one_way_delay().as_micros(), profile.jitter.as_micros());
        let loss = f64::from(profile.loss_per_million) / 10_000.0;
        // Up to twice half of the jitter later, never earlier.
        let rule = format!(
            "root handle 1: netem limit {HELD_MAX} delay {}us {}us loss {loss}%",
            delay + jitter / 2,
            jitter / 2
        );
        rules.push(Shaping { at_peer: true, rule });
        up = "parent 1:1 handle 2:";
    }
    rules.extend(rate(profile, profile.up_bits_per_second, up).map(|rule| Shaping { at_peer: true, rule }));
    let down = rate(profile, profile.down_bits_per_second, "root handle 1:");
    rules.extend(down.map(|rule| Shaping { at_peer: false, rule }));
    rules
}

/// A limit of the rate; nothing without one. Its bucket holds two milliseconds, or ten packets.
fn rate(profile: &LinkProfile, bits_per_second: u64, place: &str) -> Option<String> {
    let bucket = (bits_per_second / 8 / 500).max(10 * u64::from(profile.packet_bytes_max));
    let wait = profile.buffer.as_millis().max(1);
    (bits_per_second > 0).then(|| format!("{place} tbf rate {bits_per_second}bit burst {bucket} latency {wait}ms"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rules(name: &str) -> Vec<(bool, String)> {
        shaping(&LinkProfile::named(name).unwrap()).into_iter().map(|shaping| (shaping.at_peer, shaping.rule)).collect()
    }

    #[test]
    fn the_kernel_is_asked_for_what_the_profile_says() {
        assert_eq!(rules("loopback"), []);
        let lossy = rules("lossy");
        assert_eq!(lossy[0], (true, "root handle 1: netem limit 100000 delay 40000us 10000us loss 2%".to_owned()));
        assert_eq!(lossy[1], (true, "parent 1:1 handle 2: tbf rate 10000000bit burst 15000 latency 100ms".to_owned()));
        assert_eq!(lossy[2], (false, "root handle 1: tbf rate 50000000bit burst 15000 latency 100ms".to_owned()));
    }
}
