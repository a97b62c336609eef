//! Memory and processor time of a process, as Linux reports them. On other systems there are no figures.

use std::fs;

/// Clock ticks per second in `/proc`: the kernel's interface fixes it at 100 whatever its own timer does (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Pages of `pid` in memory, in bytes, those shared with others included; nothing when it is gone or the system does not
/// say.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// The same with shared pages divided among the processes that share them. Slow, since the system walks all pages.
pub(super) fn proportional_bytes(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// Processor seconds `pid` has used, its own and the system's for it.
pub(super) fn cpu_seconds(pid: u32) -> Option<f64> {
    ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|ticks| ticks as f64 / TICKS_PER_SECOND)
}

/// Processor seconds of all children of this process that have ended, and of theirs.
pub(super) fn children_cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    ticks_from(&stat, 16).map(|ticks| ticks as f64 / TICKS_PER_SECOND)
}

/// Processor seconds that everything on this machine has used since it started.
pub(super) fn machine_cpu_seconds() -> Option<f64> {
    used_ticks(&fs::read_to_string("/proc/stat").ok()?).map(|ticks| ticks as f64 / TICKS_PER_SECOND)
}

/// All of the first line but the fourth and the fifth number, idle and waiting for disks, and guests, which are counted before.
fn used_ticks(stat: &str) -> Option<u64> {
    let counts = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let counts: Vec<u64> = counts.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(counts.get(..3)?.iter().chain(counts.get(5..8)?).sum())
}

fn kilobytes(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Fields 14 and 15.
fn ticks(stat: &str) -> Option<u64> {
    ticks_from(stat, 14)
}

/// The sum of the field numbered `first` and the next; the second field, the name in parentheses, may hold anything.
fn ticks_from(stat: &str, first: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(first - 3);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_confuse() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks_from("7 (a) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 8 9 20 0 3 0", 16), Some(17));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn idle_time_of_the_machine_is_no_use() {
        assert_eq!(used_ticks("cpu  10 1 5 9000 700 2 3 4 8 8\ncpu0 1 1\n"), Some(25));
        assert_eq!(used_ticks("intr 5"), None);
    }

    #[test]
    fn sizes_are_read_in_bytes() {
        let text = "Name: x\nVmRSS:     2048 kB\nPss:   1024 kB\n";
        assert_eq!((kilobytes(text, "VmRSS:"), kilobytes(text, "Pss:")), (Some(2 << 20), Some(1 << 20)));
        assert_eq!(kilobytes(text, "Swap:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_takes_something() {
        let me = std::process::id();
        assert!(resident_bytes(me) > Some(0) && proportional_bytes(me) > Some(0));
        assert!(cpu_seconds(me).is_some());
    }
}
