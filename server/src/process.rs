//! What the operating system says about this process, for `/metrics`.

use hanse_api::metrics::ProcessFigures;

/// Clock ticks a second of `/proc/self/stat`; fixed on Linux.
const TICKS: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;

/// Figures of now. What cannot be read is zero.
pub fn figures() -> ProcessFigures {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command stands in parentheses and may hold anything; the numbers follow it.
    let numbers: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let number = |at: usize| {
        numbers
            .get(at)
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let ticks = |n: u64| n as f64 / TICKS;
    ProcessFigures {
        cpu_seconds: ticks(number(12) + number(13)),
        resident_bytes: number(22) * PAGE_BYTES,
        open_fds: std::fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64),
        start_seconds: boot.unwrap_or(0.0) + ticks(number(20)),
    }
}

/// Lets this process open as many files as it may at all: each connection is one.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, limit = now.current, "open files stay limited");
    }
}

/// Resident bytes now, at the price of one small read.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

/// The memory that the control groups of this process allow it: the least along the way up.
pub fn memory_allowed() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut group = std::path::Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let mut least = None;
    while group.starts_with("/sys/fs/cgroup") {
        let limit = std::fs::read_to_string(group.join("memory.max")).unwrap_or_default();
        if let Ok(limit) = limit.trim().parse::<u64>() {
            least = Some(least.map_or(limit, |known: u64| known.min(limit)));
        }
        group.pop();
    }
    least
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory_and_files() {
        let figures = super::figures();
        assert!(figures.resident_bytes > 100_000, "{figures:?}");
        assert!(figures.open_fds > 2, "{figures:?}");
        assert!(figures.start_seconds > 1.0e9, "{figures:?}");
        let resident = super::resident_bytes();
        assert!(
            resident.abs_diff(figures.resident_bytes) < 64 << 20,
            "{resident}"
        );
    }
}
