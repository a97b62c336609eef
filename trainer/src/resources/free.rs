//! Memory of this machine, by the system and the container, and the limit on a process's address space.

use std::{fs, process};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// What is left, in bytes; absent where the system does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Free {
    /// Memory that can be had without others losing theirs, swap included; for all processes together.
    pub memory: Option<u64>,
    /// Address space of one process.
    pub address_space: Option<u64>,
}

impl Free {
    /// As it is now.
    pub fn now() -> Self {
        Self { memory: memory(), address_space: address_space() }
    }
}

fn memory() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory();
    let whole = system.available_memory().saturating_add(system.free_swap());
    let me = Pid::from_u32(process::id());
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[me]), false, ProcessRefreshKind::nothing());
    let limits = system.process(me).and_then(|process| process.cgroup_limits());
    let container = limits.map_or(u64::MAX, |limits| limits.free_memory.saturating_add(limits.free_swap));
    (system.total_memory() > 0).then_some(whole.min(container))
}

#[cfg(unix)]
fn address_space() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

#[cfg(not(unix))]
fn address_space() -> Option<u64> {
    None
}

/// How many processes the system has killed since it started because memory ran out, if it says so.
pub fn oom_kills() -> Option<u64> {
    parse_oom_kills(&fs::read_to_string("/proc/vmstat").ok()?)
}

fn parse_oom_kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_memory_and_not_without_end() {
        let memory = Free::now().memory.expect("Linux says");
        assert!(memory > 1 << 20 && memory < 1 << 50, "{memory}");
    }

    #[test]
    fn kills_for_memory_are_read() {
        assert_eq!(parse_oom_kills("nr_free_pages 7\noom_kill 3\n"), Some(3));
        assert_eq!(parse_oom_kills("nr_free_pages 7\n"), None);
    }
}
