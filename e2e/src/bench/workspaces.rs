//! A thousand empty workspaces under six parents, and a thousand under one: how fast they come,
//! what each costs, how the hub starts with them.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::Options;
use super::load::{Load, Outcome};
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

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let mut hub = Hub::start().await?;
    let mut parents = Vec::new();
    for parent in 0..PARENTS {
        let name = format!("parent-{parent}");
        hub.workspace("root", &name, "universal").await?;
        parents.push(format!("root:{name}"));
    }
    hub.workspace("root", "flat", "universal").await?;
    // The first of its kind compiles schemas that all others share.
    hub.workspace(&parents[0], "first", "universal").await?;
    tokio::time::sleep(IDLE_TIME).await;
    let before_kib = hub.process()?.resident_kib()?;
    options.progress.say("a tree of 1,000 workspaces");
    let tree = make(&hub, &parents, COUNT).await?;
    tokio::time::sleep(IDLE_TIME).await;
    let after_kib = hub.process()?.resident_kib()?;
    let each = after_kib.saturating_sub(before_kib) as f64 / COUNT as f64;
    tell("workspaces to Ready, a tree of 1,000", &tree, report);
    let name = "resident, one more workspace of 1,000";
    report.add(name, each, "KiB", Target::Below(24.0));
    options.progress.say("1,000 workspaces under one parent");
    let flat = make(&hub, &["root:flat".to_owned()], COUNT).await?;
    tell("workspaces to Ready, 1,000 under one parent", &flat, report);

    options.progress.say("a start with all of them");
    hub.kill()?;
    hub.resume().await?;
    let start = hub.start_time.as_secs_f64() * 1_000.0;
    let name = "start after kill -9, 2,000 workspaces";
    report.add(name, start, "ms", Target::Below(2_000.0));
    parents.push("root:flat".to_owned());
    let mut found = 0;
    for parent in &parents {
        let list = hub.cluster(parent)?.get(PATH).await?.success()?;
        found += list["items"].as_array().map_or(0, Vec::len);
    }
    let made = 2 * COUNT + 1;
    if found != made {
        bail!("{found} workspaces after the restart, {made} were acknowledged");
    }
    Ok(())
}

/// Makes so many workspaces under these parents.
pub async fn make(hub: &Hub, parents: &[String], count: usize) -> Result<Outcome> {
    let mut clients = Vec::new();
    for caller in 0..CALLERS {
        clients.push(hub.cluster(&parents[caller % parents.len()])?);
        clients[caller].get(PATH).await?.success()?;
    }
    let create = move |caller: usize, index: usize| create(clients[caller].clone(), index);
    let servers = [hub.process()?];
    Load::count(&servers, CALLERS, count).run(create).await
}

/// The rate, the latency and the CPU of making workspaces.
pub fn tell(name: &str, made: &Outcome, report: &mut Report) {
    let mut row = |what: &str, value: f64, unit: &str, target: Target| {
        report.add(&format!("{name}, {what}"), value, unit, target);
    };
    row("rate", made.rate(), "1/s", Target::Above(1_000.0));
    row("p50", made.quantile_ms(0.5), "ms", Target::None);
    row("p90", made.quantile_ms(0.9), "ms", Target::None);
    row("p99", made.quantile_ms(0.99), "ms", Target::Below(50.0));
    row("max", made.quantile_ms(1.0), "ms", Target::None);
    row(
        "CPU of each",
        made.cpu_us / 1_000.0,
        "ms",
        Target::Below(1.0),
    );
    let generator = made.generator_us / 1_000.0;
    row("CPU of the generator", generator, "ms", Target::None);
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
