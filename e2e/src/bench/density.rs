//! Workspaces by the ten thousand: how fast they come and go, what each costs, how the hub starts
//! with them, and what of its memory it gives back.
//!
//! All of them stand in one tree below `root:bench`, under six parents, so that one deletion takes
//! everything. Start at [`tree`]; [`rounds`] makes and deletes the tree again and again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::Method;

use super::Options;
use super::load::{Load, Outcome};
use super::plot::SEPARATOR;
use super::report::{Report, Target};
use super::workspaces::{CALLERS, IDLE_TIME, PARENTS, PATH, create, tell};
use crate::hub::Hub;
use crate::wait;

/// Rounds of making and deleting.
const ROUNDS: usize = 5;
const ROUND_COUNT: usize = 10_000;
/// Parts in which a tree is made; memory and rate are read after each.
const PARTS: usize = 10;
/// After which of them the metric series are counted: 3,000 of 10,000.
const PART_OF_SERIES: usize = 3;
/// How long the hub rests before its memory is read between two parts.
const PART_IDLE_TIME: Duration = Duration::from_secs(2);
/// How long a deletion may take.
const DELETE_TIME_MAX: Duration = Duration::from_secs(600);
/// How long memory may take to come back.
const REST_TIME: Duration = Duration::from_secs(15);
/// Workspaces that are asked what `kubectl get ns` asks.
const ASKED: usize = 2_000;
/// The last part is made at least at this share of the first one's rate.
const FLAT: f64 = 0.8;
/// What an idle hub and a workspace may take, for the plot.
const IDLE_MIB: f64 = 24.0;
const EACH_KIB: f64 = 24.0;

/// What kubectl says that it takes.
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// What `kubectl get ns` asks a workspace that it has not seen before.
const ASKS: [(&str, &str); 3] = [
    ("/api", DISCOVERY),
    ("/apis", DISCOVERY),
    ("/api/v1/namespaces?limit=500", TABLE),
];

/// Makes a tree of so many workspaces, starts the hub with them, and deletes them.
pub async fn tree(
    count: usize,
    start_ms: f64,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let mut hub = Hub::start().await?;
    let name = |what: &str| format!("{count} workspaces: {what}");
    prepare(&hub).await?;
    let no_series = series(&hub).await?;
    let most = Target::Below(1_500.0);
    report.add("metric series, no workspaces", no_series, "series", most);
    grow(&hub, count, options, report).await?;
    options.progress.say("what kubectl get ns asks, of many");
    let asked = ask(&hub, count).await?;
    let p99 = asked.quantile_ms(0.99);
    report.add(
        &name("what `kubectl get ns` asks, p99"),
        p99,
        "ms",
        Target::Below(10.0),
    );

    options.progress.say("a start with all of them");
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

    options.progress.say("deleting the tree");
    let gone = delete(&hub, count).await?;
    let limit = Target::Below(20.0 * (count as f64 / 10_000.0).max(1.0));
    report.add(
        &name("deleted, the whole tree"),
        gone.as_secs_f64(),
        "s",
        limit,
    );
    Ok(())
}

/// Makes the workspaces in parts, and tells what each part took.
async fn grow(hub: &Hub, count: usize, options: &Options, report: &mut Report) -> Result<()> {
    let name = |what: &str| format!("{count} workspaces: {what}");
    let before = resident(hub).await?;
    let curve = |what: &str| ["memory", "hanse", what].join(SEPARATOR);
    let limit = format!("{IDLE_MIB} MiB + {EACH_KIB} KiB each");
    let limit = ["memory", "target", &limit].join(SEPARATOR);
    let mib = |kib: u64| kib as f64 / 1_024.0;
    report.point(&curve("measured"), 0.0, mib(before), "MiB");
    report.point(&limit, 0.0, IDLE_MIB, "MiB");
    let (mut rates, mut last, mut cpu_ms) = (Vec::new(), None, 0.0);
    for part in 0..PARTS {
        options
            .progress
            .say(&format!("part {} of {PARTS} of {count}", part + 1));
        let size = count / PARTS;
        let made = make(hub, part * size, size).await?;
        rates.push(made.rate());
        cpu_ms += made.cpu_us / 1_000.0 / PARTS as f64;
        last = Some(made);
        tokio::time::sleep(PART_IDLE_TIME).await;
        let there = ((part + 1) * size) as f64;
        report.point(
            &curve("measured"),
            there,
            mib(hub.process()?.resident_kib()?),
            "MiB",
        );
        let allowed = IDLE_MIB + there * EACH_KIB / 1_024.0;
        report.point(&limit, there, allowed, "MiB");
        if part + 1 == PART_OF_SERIES {
            let what = format!("metric series, {there} workspaces");
            report.add(&what, series(hub).await?, "series", Target::Below(1_500.0));
        }
    }
    let kib = resident(hub).await?;
    let last = last.context("no part was made")?;
    tell(&name("to Ready, the last tenth"), &last, report);
    let flat = rates
        .last()
        .zip(rates.first())
        .map_or(0.0, |(last, first)| last / first);
    let what = name("rate of the last tenth, of the first's");
    report.add(&what, flat, "of 1", Target::Above(FLAT));
    report.add(&name("CPU of each"), cpu_ms, "ms", Target::Below(1.0));
    let each = kib.saturating_sub(before) as f64 / count as f64;
    report.add(
        &name("resident, each"),
        each,
        "KiB",
        Target::Below(EACH_KIB),
    );
    report.add(
        &name("resident, all"),
        mib(kib),
        "MiB",
        Target::Below(4_096.0),
    );
    Ok(())
}

/// Makes and deletes ten thousand workspaces five times; tells what memory stays.
pub async fn rounds(options: &Options, report: &mut Report) -> Result<()> {
    let hub = Hub::start().await?;
    let idle = resident(&hub).await?;
    let mut allowed = 0.0;
    for round in 1..=ROUNDS {
        options
            .progress
            .say(&format!("round {round} of {ROUNDS}: making"));
        prepare(&hub).await?;
        let made = make(&hub, 0, ROUND_COUNT).await?;
        if round == 1 {
            let grown = resident(&hub).await?.saturating_sub(idle);
            allowed = (idle as f64 + grown as f64 / 10.0) / 1_024.0;
        }
        options
            .progress
            .say(&format!("round {round} of {ROUNDS}: deleting"));
        let gone = delete(&hub, ROUND_COUNT).await?;
        let name = |what: &str| format!("round {round}: {what}");
        report.add(&name("made"), made.rate(), "1/s", Target::Above(1_000.0));
        let seconds = gone.as_secs_f64();
        report.add(&name("deleted"), seconds, "s", Target::Below(20.0));
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

async fn resident(hub: &Hub) -> Result<u64> {
    tokio::time::sleep(IDLE_TIME).await;
    hub.process()?.resident_kib()
}

/// Makes the parents. The first of its type brings what all others share.
async fn prepare(hub: &Hub) -> Result<()> {
    hub.workspace("root", "bench", "universal").await?;
    for parent in 0..PARENTS {
        let name = format!("parent-{parent}");
        hub.workspace("root:bench", &name, "universal").await?;
    }
    Ok(())
}

/// Makes so many workspaces, beginning with this number.
async fn make(hub: &Hub, first: usize, count: usize) -> Result<Outcome> {
    let mut clients = Vec::new();
    for caller in 0..CALLERS {
        clients.push(hub.cluster(&format!("root:bench:parent-{}", caller % PARENTS))?);
        clients[caller]
            .get(&format!("{PATH}?limit=1"))
            .await?
            .success()?;
    }
    let create = move |caller: usize, index: usize| create(clients[caller].clone(), first + index);
    let servers = [hub.process()?];
    Load::count(&servers, CALLERS, count).run(create).await
}

/// Asks workspaces all over the tree what `kubectl get ns` asks, one caller; each request is an
/// operation.
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
        let (path, accept) = ASKS[index % ASKS.len()];
        let id = &ids[index / ASKS.len() * step % ids.len()];
        let (client, path) = (client.clone(), format!("/clusters/{id}{path}"));
        async move {
            let headers = [("accept", accept)];
            let answer = client.call(Method::GET, &path, &headers, None, Default::default());
            answer.await?.success().map(drop)
        }
    };
    let servers = [hub.process()?];
    Load::count(&servers, 1, ASKED * ASKS.len()).run(ask).await
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
