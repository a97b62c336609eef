//! What this machine is: for reports, and so that figures of different machines are not taken for each other's.

use murmur_kernels::simd::Level;
use serde::{Deserialize, Serialize};
use sysinfo::System;

/// A machine, as far as it decides how fast something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// The processor, as it calls itself, where the system says it.
    pub cpu: Option<String>,
    /// Threads that may run at once.
    pub cores: usize,
    /// The instruction set in use.
    pub instructions: String,
    /// Memory, in whole GiB: the system keeps a little for itself, which differs from start to start.
    pub memory_gib: u64,
    /// The kind of processor the program is built for.
    pub architecture: String,
}

/// What runs on the machine below the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// The operating system and its version, where it says it.
    pub system: Option<String>,
    /// The kernel's version.
    pub kernel: Option<String>,
}

impl Hardware {
    /// This machine.
    pub fn here() -> Self {
        let mut system = System::new();
        system.refresh_memory();
        Self {
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            instructions: Level::active().name().to_owned(),
            memory_gib: system.total_memory().div_ceil(1 << 30),
            architecture: std::env::consts::ARCH.to_owned(),
        }
    }

    /// In one line.
    pub fn sentence(&self) -> String {
        let cpu = self.cpu.as_deref().unwrap_or("an unnamed processor");
        let Self { cores, instructions, memory_gib, architecture, .. } = self;
        format!("{cpu} ({architecture}), {cores} cores, {instructions} instructions, {memory_gib} GiB of memory")
    }
}

impl Platform {
    /// What this process runs on.
    pub fn here() -> Self {
        Self { system: System::long_os_version(), kernel: System::kernel_version() }
    }
}

/// What the system calls the first processor.
pub fn cpu() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let here = Hardware::here();
        assert!(here.cores >= 1 && here.memory_gib >= 1 && !here.instructions.is_empty());
        assert!(here.sentence().contains(&here.architecture), "{}", here.sentence());
        assert_eq!(here, Hardware::here());
    }
}
