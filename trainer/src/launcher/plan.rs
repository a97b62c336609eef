//! The plan of a launch, made before any process starts: one argument list per peer, and the launcher's own inputs.

use std::{ffi::OsString, net::IpAddr, path::PathBuf, time::Duration};

use super::addresses::nth;
use crate::{
    config::{Settings, path_text::to_text},
    run::{
        state_dir::{LOG, StateDir},
        ticket::Ticket,
    },
};

/// Everything the launcher needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program that is a peer when given these arguments; normally this program.
    pub program: PathBuf,
    /// This machine's peers.
    pub peers: Vec<PeerPlan>,
    /// The run.
    pub run_id: [u8; 32],
    /// The folder on this machine.
    pub state_dir: PathBuf,
    /// The address to name in the ticket, if the machine cannot find it out.
    pub announce: Option<IpAddr>,
    /// Drain after this long.
    pub limit: Option<Duration>,
    /// Whether this machine came with a ticket.
    pub joined: bool,
    /// Whether the run was started before: a peer that cannot go on does not keep the others from it.
    pub resumed: bool,
    /// The text that the run trains on, if it is not the built-in one.
    pub data: Option<PathBuf>,
    /// Whether the run is announced on the local network.
    pub lan: bool,
}

/// One peer process.
#[derive(Debug, Clone)]
pub struct PeerPlan {
    /// What starts the program, with its own arguments, as in `ip netns exec NAME`; empty for none.
    pub prefix: Vec<OsString>,
    /// Arguments for the program.
    pub arguments: Vec<OsString>,
    /// Variables of its environment, beside this process's own.
    pub environment: Vec<(&'static str, &'static str)>,
    /// Threads it computes with.
    pub threads: usize,
    /// Where its stderr goes.
    pub log: PathBuf,
}

/// glibc gives freed blocks of at least this size back to the system at once, instead of learning to keep them: a peer
/// makes a few vectors of its parameters' size a segment, and what they leave behind doubled its memory.
const LARGE_BLOCKS: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "2097152");

impl PeerPlan {
    /// The `index`-th of `dir`'s peers: `peer --index … --state-dir … --set …`, with all settings of the machine
    /// spelt out, and then `ticket` and `misbehave` if there are any.
    pub fn new(
        dir: &StateDir,
        index: usize,
        settings: &Settings,
        ticket: Option<&Ticket>,
        misbehave: Option<&str>,
    ) -> Self {
        let threads = threads(settings.device.threads, dir.peers());
        let folder = dir.peer(index);
        let log = folder.join(LOG);
        let mut arguments: Vec<OsString> = vec!["peer".into(), "--index".into(), index.to_string().into()];
        arguments.extend(["--state-dir".into(), folder.into_os_string()]);
        let data = settings.data.path.as_deref().map_or_else(String::new, |path| to_text(path.as_os_str()));
        let sets: [OsString; 8] = [
            format!("data.path={data}").into(),
            format!("net.listen={}", nth(settings.net.listen, index)).into(),
            format!("net.metrics={}", nth(settings.net.metrics, index)).into(),
            format!("net.relay={}", settings.net.relay).into(),
            format!("net.port_map={}", u8::from(settings.net.port_map)).into(),
            format!("device.threads={threads}").into(),
            format!("device.memory_check={}", u8::from(settings.device.memory_check)).into(),
            format!("device.state_memory={}", settings.device.state_memory).into(),
        ];
        arguments.extend(sets.into_iter().flat_map(|set| ["--set".into(), set]));
        arguments.extend(ticket.into_iter().flat_map(|ticket| ["--ticket".into(), ticket.to_string().into()]));
        arguments.extend(misbehave.into_iter().flat_map(|mode| ["--misbehave".into(), mode.into()]));
        Self { prefix: Vec::new(), arguments, environment: vec![LARGE_BLOCKS], threads, log }
    }
}

/// Threads for one of `peers` local peers: what was asked for, or an even share of the processor.
pub fn threads(asked: usize, peers: usize) -> usize {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    if asked > 0 { asked } else { (available / peers.max(1)).max(1) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Inputs, Resolved};

    #[test]
    fn a_peer_is_passed_its_folder_and_the_machine_s_settings_but_not_the_run_s() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::for_join(&root.path().join("j"), [1; 32]).unwrap();
        let sets = ["net.listen=0.0.0.0:4500", "device.threads=3", "data.path=/a b", "net.relay=3", "net.port_map=1"]
            .map(str::to_owned)
            .to_vec();
        let settings = Resolved::new(&Inputs { sets, ..Inputs::default() }).unwrap().settings().unwrap();
        let ticket = Ticket::new([1; 32], &["127.0.0.1:9".parse().unwrap()]).unwrap();
        let plan = PeerPlan::new(&dir, 0, &settings, Some(&ticket), Some("noise"));
        let arguments: Vec<_> = plan.arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
        for pair in [
            ["--index", "0"],
            ["--state-dir", dir.peer(0).to_str().unwrap()],
            ["--set", "net.listen=0.0.0.0:4500"],
            ["--set", "data.path=/a b"],
            ["--set", "device.threads=3"],
            ["--set", "net.relay=3"],
            ["--set", "net.port_map=1"],
            ["--ticket", &ticket.to_string()],
            ["--misbehave", "noise"],
        ] {
            assert!(arguments.windows(2).any(|window| window == pair), "{pair:?} in {arguments:?}");
        }
        assert!(!arguments.iter().any(|argument| argument.contains("train.")));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_is_passed_as_settings_spell_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::for_join(&root.path().join("j"), [1; 32]).unwrap();
        let path: PathBuf = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/caf\xE9").into();
        let mut settings = Resolved::new(&Inputs::default()).unwrap().settings().unwrap();
        settings.data.path = Some(path.clone());
        let arguments = PeerPlan::new(&dir, 0, &settings, None, None).arguments;
        let sets =
            arguments.windows(2).filter(|pair| pair[0] == "--set").map(|pair| pair[1].to_str().unwrap().to_owned());
        let told = Resolved::new(&Inputs { sets: sets.collect(), ..Inputs::default() }).unwrap();
        assert_eq!(told.settings().unwrap().data.path, Some(path));
    }

    #[test]
    fn the_processor_is_shared_evenly() {
        assert_eq!(threads(7, 4), 7);
        assert_eq!(threads(0, usize::MAX), 1);
        assert!(threads(0, 1) >= threads(0, 2));
    }
}
