//! Generates load: a number of callers that do one operation after the other until all are done.
//!
//! [`run`] measures what the callers see (latency, rate) and what the server spends (CPU time
//! from the kernel's count, in ticks of 10 ms, so a run should cost it at least a second).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::Process;

/// Microseconds in a tick of `/proc/<pid>/stat`.
const TICK_US: f64 = 10_000.0;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The time from before each operation to its end, sorted.
    latencies: Vec<Duration>,
    /// From the first start to the last end.
    pub elapsed: Duration,
    /// CPU time of the server for one operation, in microseconds.
    pub cpu_us: f64,
}

impl Outcome {
    /// The latency that this share of operations did not exceed, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        quantile(&self.latencies, share).as_secs_f64() * 1_000.0
    }

    /// Operations in a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// The value that a share of sorted values does not exceed (nearest rank).
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Does `count` operations with this many callers; operation `i` is `operation(caller, i)`. The
/// first that fails ends the run.
pub async fn run<F, O>(
    server: &Process,
    callers: usize,
    count: usize,
    operation: F,
) -> Result<Outcome>
where
    F: Fn(usize, usize) -> O + Clone + Send + 'static,
    O: Future<Output = Result<()>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let ticks = server.cpu_ticks()?;
    let started = Instant::now();
    let mut tasks = Vec::with_capacity(callers);
    for caller in 0..callers {
        let (next, operation) = (next.clone(), operation.clone());
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(count / callers + 1);
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok::<_, anyhow::Error>(latencies);
                }
                let begun = Instant::now();
                operation(caller, index)
                    .await
                    .with_context(|| format!("operation {index}"))?;
                latencies.push(begun.elapsed());
            }
        }));
    }
    let mut latencies = Vec::with_capacity(count);
    for task in tasks {
        latencies.extend(task.await??);
    }
    let elapsed = started.elapsed();
    let cpu_us = (server.cpu_ticks()? - ticks) as f64 * TICK_US / count as f64;
    latencies.sort_unstable();
    Ok(Outcome {
        latencies,
        elapsed,
        cpu_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let values: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&values, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&values, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&values, 1.0), Duration::from_millis(100));
        assert_eq!(quantile(&values[..1], 0.99), Duration::from_millis(1));
        assert_eq!(quantile(&[], 0.99), Duration::ZERO);
    }
}
