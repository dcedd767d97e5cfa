//! Workspaces by the ten thousand: how fast they come and go, what each costs, how the hub starts
//! with them, and what of its memory it gives back.
//!
//! All of them stand in one tree below `root:bench`, under six parents, so that one deletion takes
//! everything. Start at [`tree`]; [`rounds`] makes and deletes the tree again and again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::{self, Outcome};
use super::report::{Report, Target};
use super::workspaces::{CALLERS, IDLE_TIME, PARENTS, PATH, create};
use crate::hub::Hub;
use crate::wait;

/// Rounds of making and deleting.
const ROUNDS: usize = 5;
const ROUND_COUNT: usize = 10_000;
/// How long a deletion may take.
const DELETE_TIME_MAX: Duration = Duration::from_secs(600);
/// How long memory may take to come back.
const REST_TIME: Duration = Duration::from_secs(15);
/// Workspaces that are asked for their namespaces.
const ASKED: usize = 4_000;

/// Makes a tree of so many workspaces, starts the hub with them, and deletes them.
pub async fn tree(count: usize, start_ms: f64, report: &mut Report) -> Result<()> {
    let mut hub = Hub::start().await?;
    warm(&hub).await?;
    let (before_kib, series) = (resident(&hub).await?, series(&hub).await?);
    let made = make(&hub, count).await?;
    let kib = resident(&hub).await?;
    let grown = kib.saturating_sub(before_kib) as f64;
    let name = |what: &str| format!("{count} workspaces: {what}");
    let ms = |share| made.quantile_ms(share);
    report.add(&name("made"), made.rate(), "1/s", Target::Above(1_000.0));
    report.add(&name("to Ready, p99"), ms(0.99), "ms", Target::Below(50.0));
    let cpu = made.cpu_us / 1_000.0;
    report.add(&name("CPU of each"), cpu, "ms", Target::Below(1.0));
    let each = grown / count as f64;
    report.add(&name("resident, each"), each, "KiB", Target::Below(24.0));
    let mib = kib as f64 / 1_024.0;
    report.add(&name("resident, all"), mib, "MiB", Target::Below(4_096.0));
    let more = self::series(&hub).await?;
    report.add(
        "metric series, no workspaces",
        series,
        "series",
        Target::Below(1_500.0),
    );
    report.add(
        &name("metric series"),
        more,
        "series",
        Target::Below(1_500.0),
    );
    let asked = ask(&hub, count).await?.quantile_ms(0.99);
    report.add(
        &name("their namespaces, p99"),
        asked,
        "ms",
        Target::Below(10.0),
    );

    hub.kill()?;
    hub.resume().await?;
    let start = hub.start_time.as_secs_f64() * 1_000.0;
    report.add(
        &name("start after kill -9"),
        start,
        "ms",
        Target::Below(start_ms),
    );
    let mib = resident(&hub).await? as f64 / 1_024.0;
    report.add(
        &name("resident after the start"),
        mib,
        "MiB",
        Target::Below(4_096.0),
    );

    let gone = delete(&hub, count).await?;
    let limit = 20.0 * (count as f64 / 10_000.0).max(1.0);
    report.add(
        &name("deleted, the whole tree"),
        gone.as_secs_f64(),
        "s",
        Target::Below(limit),
    );
    Ok(())
}

/// Makes and deletes ten thousand workspaces five times; tells what memory stays.
pub async fn rounds(report: &mut Report) -> Result<()> {
    let hub = Hub::start().await?;
    warm(&hub).await?;
    let idle = resident(&hub).await?;
    let mut allowed = 0.0;
    for round in 1..=ROUNDS {
        let made = make(&hub, ROUND_COUNT).await?;
        if round == 1 {
            let grown = resident(&hub).await?.saturating_sub(idle);
            allowed = (idle as f64 + grown as f64 / 10.0) / 1_024.0;
        }
        let gone = delete(&hub, ROUND_COUNT).await?;
        let name = |what: &str| format!("round {round}: {what}");
        report.add(&name("made"), made.rate(), "1/s", Target::Above(1_000.0));
        report.add(
            &name("deleted"),
            gone.as_secs_f64(),
            "s",
            Target::Below(20.0),
        );
        tokio::time::sleep(REST_TIME).await;
        let mib = resident(&hub).await? as f64 / 1_024.0;
        let target = match round {
            ROUNDS => Target::Below(allowed),
            _ => Target::None,
        };
        report.add(&name("resident after it"), mib, "MiB", target);
    }
    Ok(())
}

/// Makes what comes with the first workspace of its type, which all others share.
async fn warm(hub: &Hub) -> Result<()> {
    hub.workspace("root", "warm", "universal").await.map(drop)
}

async fn resident(hub: &Hub) -> Result<u64> {
    tokio::time::sleep(IDLE_TIME).await;
    hub.process()?.resident_kib()
}

async fn make(hub: &Hub, count: usize) -> Result<Outcome> {
    hub.workspace("root", "bench", "universal").await?;
    let mut clients = Vec::new();
    for parent in 0..PARENTS {
        let name = format!("parent-{parent}");
        hub.workspace("root:bench", &name, "universal").await?;
    }
    for caller in 0..CALLERS {
        clients.push(hub.cluster(&format!("root:bench:parent-{}", caller % PARENTS))?);
        clients[caller].get(PATH).await?.success()?;
    }
    let create = move |caller: usize, index: usize| create(clients[caller].clone(), index);
    load::run(hub.process()?, CALLERS, count, create).await
}

/// Lists the namespaces of workspaces all over the tree, one caller.
async fn ask(hub: &Hub, count: usize) -> Result<Outcome> {
    let mut ids = Vec::new();
    for parent in 0..PARENTS {
        let client = hub.cluster(&format!("root:bench:parent-{parent}"))?;
        let list = client.get(PATH).await?.success()?;
        let items = list["items"].as_array().context("no list of workspaces")?;
        let id = |item: &serde_json::Value| item["spec"]["cluster"].as_str().map(str::to_owned);
        ids.extend(items.iter().filter_map(id));
    }
    if ids.len() != count {
        bail!("{} workspaces are listed, {count} were made", ids.len());
    }
    let client = hub.client()?;
    let step = (count / ASKED.min(count)).max(1);
    let ask = move |_: usize, index: usize| {
        let path = format!(
            "/clusters/{}/api/v1/namespaces",
            ids[index * step % ids.len()]
        );
        let client = client.clone();
        async move { client.get(&path).await?.success().map(drop) }
    };
    load::run(hub.process()?, 1, ASKED, ask).await
}

/// Deletes the whole tree; the time until nothing of it is left.
async fn delete(hub: &Hub, count: usize) -> Result<Duration> {
    let client = hub.cluster("root")?;
    let path = format!("{PATH}/bench");
    let started = Instant::now();
    client.delete(&path).await?.success()?;
    let often = Duration::from_millis(20);
    wait::until_every(
        often,
        "the tree gone",
        DELETE_TIME_MAX,
        async || match client.get(&path).await?.status.as_u16() {
            404 => Ok(()),
            _ => bail!("of {count} workspaces some are left"),
        },
    )
    .await?;
    Ok(started.elapsed())
}

/// How many series the hub's metrics have.
async fn series(hub: &Hub) -> Result<f64> {
    let answer = hub.client()?.get("/metrics").await?;
    if !answer.status.is_success() {
        bail!("/metrics: {}", answer.status);
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    Ok(text.lines().filter(|line| !line.starts_with('#')).count() as f64)
}
