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

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory_and_files() {
        let figures = super::figures();
        assert!(figures.resident_bytes > 100_000, "{figures:?}");
        assert!(figures.open_fds > 2, "{figures:?}");
        assert!(figures.start_seconds > 1.0e9, "{figures:?}");
    }
}
