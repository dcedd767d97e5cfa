//! Generates load, in two ways, and counts what it costs on both sides.
//!
//! [`Load::run`] is closed: a number of callers that do one operation after the other, as fast as
//! they are answered. [`paced`] is open: operations begin when they are due, whether the earlier
//! ones are answered or not, so that a server which stalls cannot slow its own measurement down.
//! CPU time is the kernel's count, in ticks of 10 ms, so a run should cost a second or so. The
//! generator counts itself as well: on the same cores it takes from what the server could do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::process::{self, Process};

/// Microseconds in a tick of `/proc/<pid>/stat`.
pub const TICK_US: f64 = 10_000.0;
/// Between two looks at what is due, in an open load: the grain of the runtime's timer.
const GRAIN: Duration = Duration::from_millis(1);
/// A look that comes this late is the generator's fault, and counts as waiting all the same.
const LATE: Duration = Duration::from_millis(10);
/// Operations of an open load that may be under way; beyond that the server is overrun.
const UNDER_WAY_MAX: usize = 20_000;

/// How much a closed load does.
pub struct Load<'a> {
    /// The processes whose CPU time is counted, together.
    pub servers: &'a [&'a Process],
    pub callers: usize,
    /// Operations to do, ...
    pub count: usize,
    /// ... but none begins after this time.
    pub time_max: Duration,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The time from before each operation to its end, sorted.
    latencies: Vec<Duration>,
    /// From the first start to the last end.
    pub elapsed: Duration,
    /// CPU time of the servers for one operation, in microseconds.
    pub cpu_us: f64,
    /// CPU time of this process for one operation, in microseconds.
    pub generator_us: f64,
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

    /// Operations done.
    pub fn count(&self) -> usize {
        self.latencies.len()
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

/// CPU time so far: of these processes together, and of this one.
pub struct Spent {
    servers: u64,
    generator: u64,
}

impl Spent {
    /// Reads both counts.
    pub fn now(servers: &[&Process]) -> Result<Spent> {
        let mut ticks = 0;
        for server in servers {
            ticks += server.cpu_ticks()?;
        }
        Ok(Spent {
            servers: ticks,
            generator: process::own_cpu_ticks()?,
        })
    }

    /// What was spent since, for each of so many operations: by the servers, by this process.
    pub fn each_us(&self, servers: &[&Process], operations: usize) -> Result<(f64, f64)> {
        let now = Spent::now(servers)?;
        let each = |ticks: u64| ticks as f64 * TICK_US / operations.max(1) as f64;
        Ok((
            each(now.servers - self.servers),
            each(now.generator - self.generator),
        ))
    }
}

impl Load<'_> {
    /// So many operations, whatever time they take.
    pub fn count<'a>(servers: &'a [&'a Process], callers: usize, count: usize) -> Load<'a> {
        Load {
            servers,
            callers,
            count,
            time_max: Duration::MAX,
        }
    }

    /// Does the operations; number `i` is `operation(caller, i)`. The first that fails ends the
    /// run.
    pub async fn run<F, O>(self, operation: F) -> Result<Outcome>
    where
        F: Fn(usize, usize) -> O + Clone + Send + 'static,
        O: Future<Output = Result<()>> + Send,
    {
        let (count, time_max) = (self.count, self.time_max);
        let next = Arc::new(AtomicUsize::new(0));
        let before = Spent::now(self.servers)?;
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for caller in 0..self.callers {
            let (next, operation) = (next.clone(), operation.clone());
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let begun = Instant::now();
                    if index >= count || begun.duration_since(started) >= time_max {
                        return Ok::<_, anyhow::Error>(latencies);
                    }
                    operation(caller, index)
                        .await
                        .with_context(|| format!("operation {index}"))?;
                    latencies.push(begun.elapsed());
                }
            });
        }
        let mut latencies = Vec::with_capacity(count.min(1 << 20));
        while let Some(done) = tasks.join_next().await {
            latencies.extend(done??);
        }
        outcome(latencies, started.elapsed(), &before, self.servers)
    }
}

/// Begins `rate` operations a second for so long; number `i` is `operation(i)`. `None` when the
/// server was overrun: it left more undone than may be under way. The first that fails ends the
/// run.
pub async fn paced<F, O>(
    servers: &[&Process],
    rate: f64,
    time: Duration,
    operation: F,
) -> Result<Option<Outcome>>
where
    F: Fn(usize) -> O,
    O: Future<Output = Result<()>> + Send + 'static,
{
    let count = (rate * time.as_secs_f64()) as usize;
    let before = Spent::now(servers)?;
    let mut tasks: JoinSet<Result<Duration>> = JoinSet::new();
    let mut latencies = Vec::with_capacity(count);
    let mut ticker = tokio::time::interval(GRAIN);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (started, mut begun) = (Instant::now(), 0);
    while begun < count {
        ticker.tick().await;
        let now = Instant::now();
        let due = (now.duration_since(started).as_secs_f64() * rate) as usize;
        while begun < due.min(count) {
            let planned = started + Duration::from_secs_f64(begun as f64 / rate);
            let late = now.duration_since(planned) > GRAIN + LATE;
            let (from, work) = (if late { planned } else { now }, operation(begun));
            tasks.spawn(async move {
                work.await?;
                Ok(from.elapsed())
            });
            begun += 1;
        }
        while let Some(done) = tasks.try_join_next() {
            latencies.push(done??);
        }
        if tasks.len() > UNDER_WAY_MAX {
            return Ok(None);
        }
    }
    while let Some(done) = tasks.join_next().await {
        latencies.push(done??);
    }
    outcome(latencies, started.elapsed(), &before, servers).map(Some)
}

fn outcome(
    mut latencies: Vec<Duration>,
    elapsed: Duration,
    before: &Spent,
    servers: &[&Process],
) -> Result<Outcome> {
    if latencies.is_empty() {
        bail!("no operation was done");
    }
    latencies.sort_unstable();
    let (cpu_us, generator_us) = before.each_us(servers, latencies.len())?;
    Ok(Outcome {
        latencies,
        elapsed,
        cpu_us,
        generator_us,
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

    #[tokio::test]
    async fn a_closed_load_does_each_operation_once_and_ends_in_time() {
        let done = Arc::new(AtomicUsize::new(0));
        let operation = {
            let done = done.clone();
            move |_: usize, index: usize| {
                done.fetch_add(index, Ordering::Relaxed);
                async { Ok(()) }
            }
        };
        let load = Load::count(&[], 4, 100);
        assert_eq!(load.run(operation).await.unwrap().count(), 100);
        assert_eq!(done.load(Ordering::Relaxed), 99 * 100 / 2);
        let slow = |_: usize, _: usize| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(())
        };
        let load = Load {
            time_max: Duration::from_millis(30),
            ..Load::count(&[], 1, 1_000)
        };
        assert!(load.run(slow).await.unwrap().count() <= 2);
    }

    #[tokio::test]
    async fn an_open_load_does_not_wait_for_answers() {
        let slow = |_: usize| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        };
        let time = Duration::from_millis(200);
        let outcome = paced(&[], 500.0, time, slow).await.unwrap().unwrap();
        assert_eq!(outcome.count(), 100);
        // A closed load of one caller would have taken ten seconds.
        assert!(outcome.elapsed < Duration::from_secs(2));
        assert!(outcome.quantile_ms(0.5) >= 100.0);
    }

    #[tokio::test]
    async fn a_failed_operation_ends_the_run() {
        let fail =
            |_: usize, index: usize| async move { if index == 7 { bail!("no") } else { Ok(()) } };
        let error = Load::count(&[], 2, 100).run(fail).await.unwrap_err();
        assert!(format!("{error:#}").contains("operation 7"), "{error:#}");
    }
}
