//! A thousand empty workspaces: how fast they come, what each costs, how the hub starts with them.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::load;
use super::report::{Report, Target};
use crate::http::Client;
use crate::hub::Hub;

const COUNT: usize = 1_000;
/// Callers that make workspaces, ...
pub const CALLERS: usize = 16;
/// ... and the parents under which they make them.
pub const PARENTS: usize = 6;
/// How long the hub does nothing before its memory is read.
pub const IDLE_TIME: Duration = Duration::from_secs(5);
/// How long a workspace may take to become ready.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// Where workspaces are made.
pub const PATH: &str = "/apis/tenancy.kcp.io/v1alpha1/workspaces";

pub async fn run(report: &mut Report) -> Result<()> {
    let mut hub = Hub::start().await?;
    let mut parents = Vec::new();
    for parent in 0..PARENTS {
        hub.workspace("root", &format!("parent-{parent}"), "universal")
            .await?;
        parents.push(format!("root:parent-{parent}"));
    }
    // The first of its kind compiles schemas that all others share.
    hub.workspace(&parents[0], "first", "universal").await?;
    tokio::time::sleep(IDLE_TIME).await;
    let before_kib = hub.process()?.resident_kib()?;

    let mut clients = Vec::new();
    for caller in 0..CALLERS {
        clients.push(hub.cluster(&parents[caller % PARENTS])?);
        clients[caller].get(PATH).await?.success()?;
    }
    let create = move |caller: usize, index: usize| create(clients[caller].clone(), index);
    let outcome = load::run(hub.process()?, CALLERS, COUNT, create).await?;
    tokio::time::sleep(IDLE_TIME).await;
    let after_kib = hub.process()?.resident_kib()?;
    let each = after_kib.saturating_sub(before_kib) as f64 / COUNT as f64;

    report.add(
        "workspaces to Ready, 16 callers",
        outcome.rate(),
        "1/s",
        Target::Above(1_000.0),
    );
    report.add(
        "workspace to Ready, p50",
        outcome.quantile_ms(0.5),
        "ms",
        Target::None,
    );
    report.add(
        "workspace to Ready, p99",
        outcome.quantile_ms(0.99),
        "ms",
        Target::Below(50.0),
    );
    report.add(
        "CPU of a workspace",
        outcome.cpu_us / 1_000.0,
        "ms",
        Target::Below(1.0),
    );
    report.add(
        "resident, one more workspace",
        each,
        "KiB",
        Target::Below(24.0),
    );

    hub.kill()?;
    hub.resume().await?;
    let start = hub.start_time.as_secs_f64() * 1_000.0;
    report.add(
        "start after kill -9, 1,000 workspaces",
        start,
        "ms",
        Target::Below(250.0),
    );
    let mut found = 0;
    for parent in &parents {
        let list = hub.cluster(parent)?.get(PATH).await?.success()?;
        found += list["items"].as_array().map_or(0, Vec::len);
    }
    if found != COUNT + 1 {
        bail!(
            "{found} workspaces after the restart, {} were acknowledged",
            COUNT + 1
        );
    }
    Ok(())
}

/// Makes one workspace and waits until it is ready.
pub async fn create(client: Client, index: usize) -> Result<()> {
    let name = format!("bench-{index}");
    let body = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
        "metadata": {"name": name},
        "spec": {"type": {"name": "universal", "path": "root"}},
    });
    let workspace = client.post(PATH, &body).await?.success()?;
    if workspace["status"]["phase"] == "Ready" {
        return Ok(());
    }
    let path = format!("{PATH}/{name}");
    let deadline = Instant::now() + READY_TIME_MAX;
    loop {
        let workspace = client.get(&path).await?.success()?;
        if workspace["status"]["phase"] == "Ready" {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("{name} is not ready: {}", workspace["status"]);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
