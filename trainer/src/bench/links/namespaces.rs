//! The namespaces from creation to removal, and the programs that run in them.

use std::{
    ffi::{OsStr, OsString},
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use rustix::process::{Pid, Signal, geteuid, getpid, kill_process};

use super::{LinkProfile, NoLinks, PEERS_MAX, bridge, wire::Wire};

/// Names of namespaces are this, the process that made them, a number, and what they are for.
const PREFIX: &str = "murmur-link";

/// What a peer's interface is called in its namespace.
pub(super) const INTERFACE: &str = "link0";

/// Namespaces for the peers of one benchmark. Dropping it ends what still runs in them and removes them, after a panic, too.
/// What a killed benchmark left behind is removed by the next one.
#[derive(Debug)]
pub struct Namespaces {
    /// Of the peers, and then that of the bridge, if there is one.
    names: Vec<String>,
    peers: usize,
    /// Carries packets where the kernel cannot shape; stops when dropped.
    wire: Option<Wire>,
}

impl Namespaces {
    /// Makes namespaces for so many peers and joins them by links of `profile`.
    ///
    /// # Errors
    /// [`NoLinks::Missing`] without root or `ip`, or where namespaces are not allowed; [`NoLinks::Failed`] names the command.
    ///
    /// # Panics
    /// For more than [`PEERS_MAX`] peers.
    pub fn create(profile: LinkProfile, peers: usize) -> Result<Self, NoLinks> {
        assert!((1..=PEERS_MAX).contains(&peers), "1 to {PEERS_MAX} peers can be joined, not {peers}");
        check_machine()?;
        remove_leftovers();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("{PREFIX}-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        // From here on, dropping `made` removes what there is.
        let mut made = Self { names: Vec::new(), peers, wire: None };
        for index in 0..peers {
            made.add(&format!("{prefix}-{index}")).map_err(|error| match index {
                0 => NoLinks::Missing(format!("not allowed here: {error}")),
                _ => error,
            })?;
        }
        if !profile.delays_or_loses() || bridge::has_netem(&made.names[0]) {
            made.add(&format!("{prefix}-net"))?;
            bridge::join(&profile, &made.names[..peers], &made.names[peers])?;
        } else {
            made.wire = Some(Wire::start(&profile, &made.names)?);
        }
        for (index, name) in made.names[..peers].iter().enumerate() {
            ip(&["-n", name, "addr", "add", &format!("{}/24", address(index)), "dev", INTERFACE])?;
            let mtu = profile.packet_bytes_max.to_string();
            ip(&["-n", name, "link", "set", INTERFACE, "mtu", &mtu, "up"])?;
        }
        Ok(made)
    }

    fn add(&mut self, name: &str) -> Result<(), NoLinks> {
        ip(&["netns", "add", name])?;
        self.names.push(name.to_owned());
        ip(&["-n", name, "link", "set", "lo", "up"])
    }

    /// How packets are shaped, in words.
    pub fn method(&self) -> &'static str {
        if self.wire.is_some() { "TUN devices and a thread of this program" } else { "a bridge and tc" }
    }

    /// The address of a peer, the same for any other peer and for itself.
    pub fn address(&self, index: usize) -> IpAddr {
        address(index).into()
    }

    /// A command that runs `program` as a peer: `ip` becomes it, so that it has the command's process number.
    pub fn command(&self, index: usize, program: impl AsRef<OsStr>) -> Command {
        let words = self.prefix(index);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program);
        command
    }

    /// The words that, before a program and its arguments, run it as a peer.
    pub fn prefix(&self, index: usize) -> Vec<OsString> {
        ["ip", "netns", "exec", self.names[..self.peers][index].as_str()].map(OsString::from).to_vec()
    }

    /// Bytes of IP packets that a peer has sent through its link, those that were lost included; nothing where the system does
    /// not say.
    pub fn sent_bytes(&self, index: usize) -> Option<u64> {
        let words = ["-n", self.names[..self.peers].get(index)?, "-s", "-j", "link", "show", INTERFACE];
        let told = Command::new("ip").args(words).stderr(Stdio::null()).output().ok()?;
        let links: serde_json::Value = serde_json::from_slice(&told.stdout).ok()?;
        links[0]["stats64"]["tx"]["bytes"].as_u64()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Its devices are gone before their namespaces are.
        self.wire = None;
        self.names.iter().for_each(|name| remove(name));
    }
}

fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(index + 1).expect("there are at most 64 peers"))
}

/// The index of the peer with this address, among so many.
pub(super) fn index_of(address: [u8; 4], peers: usize) -> Option<usize> {
    (0..peers).find(|index| super::namespaces::address(*index).octets() == address)
}

/// Whether namespaces can be made at all.
fn check_machine() -> Result<(), NoLinks> {
    let missing = |what: &str| NoLinks::Missing(what.to_owned());
    if !geteuid().is_root() {
        return Err(missing("only root may make them"));
    }
    let probe = Command::new("ip").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return Err(missing("`ip` (iproute2) is not installed"));
    }
    Ok(())
}

/// Runs `ip`.
pub(super) fn ip(words: &[&str]) -> Result<(), NoLinks> {
    run("ip", words)
}

/// Runs a program of iproute2 to its end.
pub(super) fn run(program: &str, words: &[&str]) -> Result<(), NoLinks> {
    let failed = |said: String| NoLinks::Failed { command: format!("{program} {}", words.join(" ")), said };
    match Command::new(program).args(words).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Ends what runs in a namespace and removes it.
fn remove(name: &str) {
    // What is gone already needs no removing.
    if let Ok(told) = Command::new("ip").args(["netns", "pids", name]).stderr(Stdio::null()).output() {
        let text = String::from_utf8_lossy(&told.stdout);
        let inside = text.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?));
        for pid in inside.filter(|pid| *pid != getpid()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = ip(&["netns", "del", name]);
}

/// Removes namespaces whose process is gone.
fn remove_leftovers() {
    let Ok(told) = Command::new("ip").args(["netns", "list"]).stderr(Stdio::null()).output() else { return };
    let text = String::from_utf8_lossy(&told.stdout);
    text.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| is_leftover(name)).for_each(remove);
}

fn is_leftover(name: &str) -> bool {
    let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-')?.split('-').next());
    owner.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
