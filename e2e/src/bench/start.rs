//! The first start on an empty directory, the memory of doing nothing, and restarts with 150
//! workspaces: after a crash, and after a clean stop.

use std::time::Duration;

use anyhow::Result;

use super::load::Load;
use super::report::{Report, Row, Target};
use super::workspaces::{CALLERS, create};
use crate::hub::Hub;

/// Starts that are measured; the median counts.
const ROUNDS: usize = 5;
/// How long the hub does nothing before its memory is read.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// Workspaces with which it starts again.
const WORKSPACES: usize = 150;

pub async fn run(report: &mut Report) -> Result<()> {
    let (mut first, mut again, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut hub = Hub::start().await?;
        first.push(start_ms(&hub));
        tokio::time::sleep(IDLE_TIME).await;
        idle.push(hub.process()?.resident_kib()? as f64 / 1_024.0);
        hub.kill()?;
        hub.resume().await?;
        again.push(start_ms(&hub));
    }
    let start = Target::Below(250.0);
    report.row(Row::new("first start to readyz", "ms", start, &first));
    report.row(Row::new(
        "start after kill -9, no workspaces",
        "ms",
        start,
        &again,
    ));
    report.row(Row::new(
        "resident, idle",
        "MiB",
        Target::Below(24.0),
        &idle,
    ));

    let mut hub = Hub::start().await?;
    hub.workspace("root", "bench", "universal").await?;
    let parent = hub.cluster("root:bench")?;
    let make = move |_: usize, index: usize| create(parent.clone(), index);
    let servers = [hub.process()?];
    Load::count(&servers, CALLERS, WORKSPACES).run(make).await?;
    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        hub.kill()?;
        hub.resume().await?;
        killed.push(start_ms(&hub));
        hub.stop()?;
        hub.resume().await?;
        stopped.push(start_ms(&hub));
    }
    let name = "start with 150 workspaces after";
    report.row(Row::new(&format!("{name} kill -9"), "ms", start, &killed));
    report.row(Row::new(
        &format!("{name} a clean stop"),
        "ms",
        start,
        &stopped,
    ));
    Ok(())
}

fn start_ms(hub: &Hub) -> f64 {
    hub.start_time.as_secs_f64() * 1_000.0
}
