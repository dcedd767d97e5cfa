//! The first start on an empty directory, a start after a crash, and the memory of doing nothing.

use std::time::Duration;

use anyhow::Result;

use super::report::{Report, Target};
use crate::hub::Hub;

/// Starts that are measured; the median counts.
const ROUNDS: usize = 5;
/// How long the hub does nothing before its memory is read.
const IDLE_TIME: Duration = Duration::from_secs(5);

pub async fn run(report: &mut Report) -> Result<()> {
    let (mut first, mut again) = (Vec::new(), Vec::new());
    let mut idle_kib = 0;
    for round in 0..ROUNDS {
        let mut hub = Hub::start().await?;
        first.push(hub.start_time);
        if round + 1 == ROUNDS {
            tokio::time::sleep(IDLE_TIME).await;
            idle_kib = hub.process()?.resident_kib()?;
        }
        hub.kill()?;
        hub.resume().await?;
        again.push(hub.start_time);
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1_000.0
    };
    report.add(
        "first start to readyz",
        median(&mut first),
        "ms",
        Target::Below(250.0),
    );
    report.add(
        "start after kill -9",
        median(&mut again),
        "ms",
        Target::Below(250.0),
    );
    report.add(
        "resident, idle",
        idle_kib as f64 / 1_024.0,
        "MiB",
        Target::Below(24.0),
    );
    Ok(())
}
