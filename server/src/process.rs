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
        virtual_bytes: number(21),
        max_fds: max_fds(),
        open_fds: std::fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64),
        start_seconds: boot.unwrap_or(0.0) + ticks(number(20)),
    }
}

fn max_fds() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
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

/// Where control groups are found.
const GROUPS: &str = "/sys/fs/cgroup";
/// What version 1 writes for "no limit": the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

/// The memory that the control groups of this process allow it: the least along the way up, of
/// version 2 and of version 1, whichever say something. In a container the group's own path leads
/// nowhere below what is mounted; the mounted root is then the container's.
pub fn memory_allowed() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    allowed_by(std::path::Path::new(GROUPS), &own)
}

fn allowed_by(root: &std::path::Path, own: &str) -> Option<u64> {
    let lines = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        match controllers {
            "" => Some((root.to_path_buf(), path, "memory.max")),
            _ if controllers.split(',').any(|c| c == "memory") => {
                Some((root.join("memory"), path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    let limits = lines.flat_map(|(mount, path, file)| {
        let group = mount.join(path);
        let up = group.ancestors().take_while(|dir| dir.starts_with(&mount));
        let read = up.map(|dir| std::fs::read_to_string(dir.join(file)).unwrap_or_default());
        let numbers = read.filter_map(|text| text.trim().parse::<u64>().ok());
        numbers.collect::<Vec<_>>()
    });
    limits.filter(|limit| *limit < UNLIMITED).min()
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

    #[test]
    fn the_least_limit_on_the_way_up_counts_in_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = dir.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("memory/a/memory.limit_in_bytes", "268435456\n");
        write("memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("c/memory.max", "1000\n");
        write("c/d/memory.max", "max\n");
        let allowed = |own: &str| super::allowed_by(dir.path(), own);
        assert_eq!(allowed("7:cpu:/a\n4:memory:/a/b\n0::/"), Some(268_435_456));
        assert_eq!(allowed("0::/c/d"), Some(1_000));
        assert_eq!(allowed("4:cpuset,memory:/elsewhere/x"), None);
        assert_eq!(allowed("4:memory:/a\n0::/c/d"), Some(1_000));
        assert_eq!(allowed(""), None);
    }
}
