//! Many watchers: what an event costs the server for each of them, and how long it takes until
//! the last has it. [`run`] is one object that all watch, on each server of [`super::subject`];
//! [`wide`] is ten watchers in each of a thousand workspaces of the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::Options;
use super::load::{Load, Spent, quantile};
use super::report::{Report, Row, Target};
use super::subject::{Figures, Kind, MAPS, Subject, Wanted, change, change_of, in_turn, map};
use super::wire::Wire;
use super::workspaces::{CALLERS, PATH, create};
use crate::http::Client;
use crate::hub::Hub;

/// Watchers of one object.
const WATCHERS: [usize; 2] = [100, 1_000];
/// Streams over one connection; servers allow at least this many.
const STREAMS: usize = 50;
/// Changes of the object in a repeat, a pause between them.
const CHANGES: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// How long the last event may take to come to all.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(30);
/// Workspaces of [`wide`], and the watchers in each.
const WORKSPACES: usize = 1_000;
const WATCHERS_EACH: usize = 10;
/// How long everything rests before memory is read.
const IDLE_TIME: Duration = Duration::from_secs(3);

const BAR: Option<f64> = Some(1.0 / 3.0);

const ROWS: &[Wanted] = &[
    (
        "one event at one of 100 watchers, CPU",
        "us",
        Target::Below(11.0),
        BAR,
    ),
    (
        "one event at one of 1000 watchers, CPU",
        "us",
        Target::Below(11.0),
        BAR,
    ),
    (
        "one event at one of 100 watchers, CPU of the generator",
        "us",
        Target::None,
        None,
    ),
    (
        "one event at one of 1000 watchers, CPU of the generator",
        "us",
        Target::None,
        None,
    ),
    ("watch delay, 100 watchers, p50", "ms", Target::None, None),
    (
        "watch delay, 100 watchers, p99",
        "ms",
        Target::Below(8.0),
        None,
    ),
    ("watch delay, 100 watchers, max", "ms", Target::None, None),
    ("watch delay, 1000 watchers, p50", "ms", Target::None, None),
    (
        "watch delay, 1000 watchers, p99",
        "ms",
        Target::Below(55.0),
        None,
    ),
    ("watch delay, 1000 watchers, max", "ms", Target::None, None),
    ("resident, one watcher of 1000", "KiB", Target::None, None),
];

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let measured = in_turn(options, report, async |subject, figures| {
        let writer = Wire::open(&subject.access).await?;
        writer
            .send(Method::POST, MAPS, map("watched").into())
            .await?;
        for watchers in WATCHERS {
            options
                .progress
                .tell(subject, &format!("{watchers} watchers"));
            measure(options, subject, &writer, watchers, figures)
                .await
                .with_context(|| format!("{watchers} watchers"))?;
        }
        Ok(())
    });
    measured.await?.tell(ROWS, report);
    Ok(())
}

async fn measure(
    options: &Options,
    subject: &Subject,
    writer: &Wire,
    watchers: usize,
    figures: &mut Figures,
) -> Result<()> {
    tokio::time::sleep(IDLE_TIME).await;
    let before_mib = subject.resident_mib()?;
    let mut audience = Audience::default();
    let version = match subject.kind {
        Kind::Ceiling => "1".to_owned(),
        _ => version(&Client::connect(&subject.access)?, MAPS).await?,
    };
    let path =
        format!("{MAPS}?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Dwatched");
    let mut wire = None;
    for index in 0..watchers {
        if index.is_multiple_of(STREAMS) {
            wire = Some(Wire::open(&subject.access).await?);
        }
        let wire = wire.as_ref().context("no connection")?;
        audience.admit(wire.stream(&path).await?);
    }
    tokio::time::sleep(IDLE_TIME).await;
    if subject.kind != Kind::Ceiling {
        let grown = (subject.resident_mib()? - before_mib).max(0.0) * 1_024.0;
        figures.push(
            format!("resident, one watcher of {watchers}"),
            grown / watchers as f64,
        );
    }
    let patches: Vec<(&Wire, String)> = vec![(writer, format!("{MAPS}/watched")); CHANGES];
    let servers = subject.processes()?;
    for repeat in 0..options.repeats {
        let spent = Spent::now(&servers)?;
        let delays = audience.patch(&patches, repeat, watchers, PAUSE).await?;
        let (cpu, generator) = spent.each_us(&servers, delays.len())?;
        let name = format!("one event at one of {watchers} watchers");
        figures.push(format!("{name}, CPU"), cpu);
        figures.push(format!("{name}, CPU of the generator"), generator);
        for (share, word) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
            let ms = quantile(&delays, share).as_secs_f64() * 1_000.0;
            figures.push(format!("watch delay, {watchers} watchers, {word}"), ms);
        }
    }
    Ok(())
}

/// Ten watchers in each of a thousand workspaces, one change in each: what an event costs where
/// next to nobody wants it.
pub async fn wide(options: &Options, report: &mut Report) -> Result<()> {
    let hub = Hub::start().await?;
    options.progress.say("workspaces to watch");
    hub.workspace("root", "bench", "universal").await?;
    let parent = hub.cluster("root:bench")?;
    let make = move |_: usize, index: usize| create(parent.clone(), index);
    let servers = [hub.process()?];
    Load::count(&servers, CALLERS, WORKSPACES).run(make).await?;
    let list = hub.cluster("root:bench")?.get(PATH).await?.success()?;
    let ids = list["items"].as_array().into_iter().flatten();
    let ids: Vec<&str> = ids
        .filter_map(|item| item["spec"]["cluster"].as_str())
        .collect();
    if ids.len() != WORKSPACES {
        bail!("{} workspaces are listed", ids.len());
    }
    let writer = Wire::open(&hub.access()?).await?;
    let all: Vec<String> = ids
        .iter()
        .map(|id| format!("/clusters/{id}{MAPS}"))
        .collect();
    for path in &all {
        writer
            .send(Method::POST, path, map("watched").into())
            .await?;
    }
    tokio::time::sleep(IDLE_TIME).await;
    let before_kib = hub.process()?.resident_kib()?;
    let mut audience = Audience::default();
    options
        .progress
        .say("10,000 watchers over 1,000 workspaces");
    admit_widely(&hub, &all, &mut audience).await?;
    tokio::time::sleep(IDLE_TIME).await;
    let count = WORKSPACES * WATCHERS_EACH;
    let grown = hub.process()?.resident_kib()?.saturating_sub(before_kib) as f64;
    let patches: Vec<(&Wire, String)> = all
        .iter()
        .map(|path| (&writer, format!("{path}/watched")))
        .collect();
    let (mut cpu, mut p99) = (Vec::new(), Vec::new());
    for repeat in 0..options.repeats {
        let spent = Spent::now(&servers)?;
        let delays = audience
            .patch(&patches, repeat, WATCHERS_EACH, Duration::ZERO)
            .await?;
        cpu.push(spent.each_us(&servers, delays.len())?.0);
        p99.push(quantile(&delays, 0.99).as_secs_f64() * 1_000.0);
    }
    let name = "10,000 watchers over 1,000 workspaces:";
    let row = |what: &str| format!("{name} {what}");
    report.row(Row::new(&row("an event, CPU"), "us", Target::None, &cpu));
    report.row(Row::new(&row("delay, p99"), "ms", Target::None, &p99));
    let each = grown / count as f64;
    report.add(&row("resident, each"), each, "KiB", Target::None);
    Ok(())
}

/// Opens ten watches in each workspace.
async fn admit_widely(hub: &Hub, paths: &[String], audience: &mut Audience) -> Result<()> {
    let client = hub.client()?;
    let mut wire = Wire::open(&hub.access()?).await?;
    let mut opened: usize = 0;
    for path in paths {
        let version = version(&client, path).await?;
        let path = format!("{path}?watch=1&resourceVersion={version}");
        for _ in 0..WATCHERS_EACH {
            opened += 1;
            if opened.is_multiple_of(STREAMS * 4) {
                wire = Wire::open(&hub.access()?).await?;
            }
            audience.admit(wire.stream(&path).await?);
        }
    }
    Ok(())
}

/// The version of a collection.
async fn version(client: &Client, path: &str) -> Result<String> {
    let list: Value = client.get(&format!("{path}?limit=1")).await?.success()?;
    let version = list["metadata"]["resourceVersion"].as_str();
    Ok(version.context("a list without a version")?.to_owned())
}

/// Everybody who watches, and the channel to which they tell what they see.
struct Audience {
    /// Dropping it ends all watches.
    tasks: JoinSet<()>,
    open: Arc<AtomicUsize>,
    sender: UnboundedSender<(usize, Instant)>,
    seen: UnboundedReceiver<(usize, Instant)>,
}

impl Default for Audience {
    fn default() -> Audience {
        let (sender, seen) = unbounded_channel();
        Audience {
            tasks: JoinSet::new(),
            open: Arc::default(),
            sender,
            seen,
        }
    }
}

impl Audience {
    /// Lets somebody watch. Parsing the events would load the machine: the change's number is
    /// found in their text.
    fn admit(&mut self, mut body: Incoming) {
        let (sender, open) = (self.sender.clone(), self.open.clone());
        open.fetch_add(1, Ordering::Relaxed);
        self.tasks.spawn(async move {
            let mut rest = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                let now = Instant::now();
                let data: &[u8] = frame.data_ref().map_or(&[], |data| data);
                rest.extend_from_slice(data);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    if let Some(change) = change_of(&rest[..end]) {
                        let _ = sender.send((change, now));
                    }
                    rest.drain(..=end);
                }
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Makes the changes, a pause after each, and waits until so many have seen each of them; the
    /// delays, sorted.
    async fn patch(
        &mut self,
        patches: &[(&Wire, String)],
        repeat: usize,
        watchers: usize,
        pause: Duration,
    ) -> Result<Vec<Duration>> {
        let first = repeat * patches.len();
        let mut sent = Vec::with_capacity(patches.len());
        for (index, (wire, path)) in patches.iter().enumerate() {
            let body = Bytes::from(change(first + index));
            sent.push(Instant::now());
            wire.send(Method::PATCH, path, body).await?;
            tokio::time::sleep(pause).await;
        }
        let wanted = watchers * patches.len();
        let mut delays = Vec::with_capacity(wanted);
        while delays.len() < wanted {
            let seen = tokio::time::timeout(DELIVERY_TIME_MAX, self.seen.recv()).await;
            let Ok(Some((change, at))) = seen else {
                let open = self.open.load(Ordering::Relaxed);
                bail!(
                    "{} of {wanted} events came, {open} watches are open",
                    delays.len()
                );
            };
            let begun = change.checked_sub(first).and_then(|index| sent.get(index));
            delays.push(at.duration_since(*begun.context("an unknown change")?));
        }
        delays.sort_unstable();
        Ok(delays)
    }
}
