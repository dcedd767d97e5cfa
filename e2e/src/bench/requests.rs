//! The request path: one object read and written many times, and long lists, with what all of the
//! objects take in memory. The same load goes to each server of [`super::subject`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;

use super::Options;
use super::load::Load;
use super::report::{Report, Target};
use super::subject::{Figures, Kind, MAPS, Subject, Wanted, in_turn, map};
use super::wire::Wire;

/// Callers, spread over the connections.
pub const CALLERS: usize = 32;
pub const CONNECTIONS: usize = 8;
/// Objects in the list that is read, and creates of a repeat.
pub const OBJECTS: usize = 10_000;
/// How long a repeat of anything else goes on.
const REPEAT_TIME: Duration = Duration::from_secs(2);
/// How long a repeat of a long list goes on.
const LIST_TIME: Duration = Duration::from_secs(1);
/// How long a server does nothing before its memory is read.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// A create is allowed a fifth of what the peer takes, a list a third, memory a tenth.
const BAR_WRITE: Option<f64> = Some(1.0 / 5.0);
const BAR_LIST: Option<f64> = Some(1.0 / 3.0);
const BAR_MEMORY: Option<f64> = Some(1.0 / 10.0);

/// The rows, in the order of the targets.
const ROWS: &[Wanted] = &[
    (
        "create, get, update, delete in turn, CPU",
        "us",
        Target::Below(120.0),
        None,
    ),
    (
        "create, get, update, delete in turn, CPU of the generator",
        "us",
        Target::None,
        None,
    ),
    (
        "create, get, update, delete in turn, rate",
        "1/s",
        Target::None,
        None,
    ),
    ("create, CPU", "us", Target::Below(120.0), BAR_WRITE),
    ("create, CPU of the generator", "us", Target::None, None),
    ("create, p50", "ms", Target::None, None),
    ("create, p90", "ms", Target::None, None),
    ("create, p99", "ms", Target::Below(15.0), None),
    ("create, max", "ms", Target::None, None),
    ("create, rate", "1/s", Target::Above(6_000.0), None),
    ("GET, CPU", "us", Target::Below(40.0), BAR_WRITE),
    ("GET, CPU of the generator", "us", Target::None, None),
    ("GET, p50", "ms", Target::None, None),
    ("GET, p90", "ms", Target::None, None),
    ("GET, p99", "ms", Target::Below(8.0), None),
    ("GET, max", "ms", Target::None, None),
    ("GET, rate", "1/s", Target::Above(15_000.0), None),
    (
        "a MiB of LIST, plain, CPU",
        "us",
        Target::Below(1_100.0),
        BAR_LIST,
    ),
    (
        "a MiB of LIST, gzip, CPU",
        "us",
        Target::Below(4_000.0),
        BAR_LIST,
    ),
    ("LIST of 10,000, plain, p50", "ms", Target::None, None),
    ("LIST of 10,000, gzip, p50", "ms", Target::None, None),
    (
        "resident, idle, one workspace",
        "MiB",
        Target::None,
        BAR_MEMORY,
    ),
    (
        "resident, with 10,000 objects of 1 KiB",
        "MiB",
        Target::None,
        BAR_MEMORY,
    ),
];

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let measured = in_turn(options, report, async |subject, figures| {
        measure(options, subject, figures).await
    });
    measured.await?.tell(ROWS, report);
    Ok(())
}

async fn measure(options: &Options, subject: &Subject, figures: &mut Figures) -> Result<()> {
    let wires = Wire::several(&subject.access, CONNECTIONS).await?;
    for wire in &*wires {
        wire.send(Method::GET, MAPS, Bytes::new()).await?;
    }
    options.progress.tell(subject, "idle");
    memory(subject, figures, "resident, idle, one workspace").await?;
    for repeat in 0..options.repeats {
        options.progress.tell(subject, "create");
        creates(subject, &wires, repeat, figures).await?;
        if repeat == 0 {
            // More objects than these stand in other namespaces, and after this.
            memory(subject, figures, "resident, with 10,000 objects of 1 KiB").await?;
        }
    }
    for _ in 0..options.repeats {
        options.progress.tell(subject, "GET");
        gets(subject, &wires, figures).await?;
    }
    for repeat in 0..options.repeats {
        options
            .progress
            .tell(subject, "create, get, update, delete");
        turns(subject, &wires, repeat, figures).await?;
    }
    lists(options, subject, &wires[0], figures).await
}

/// The memory of a server that has rested. What a static server takes says nothing.
async fn memory(subject: &Subject, figures: &mut Figures, name: &str) -> Result<()> {
    if subject.kind != Kind::Ceiling {
        tokio::time::sleep(IDLE_TIME).await;
        figures.push(name, subject.resident_mib()?);
    }
    Ok(())
}

/// The collection of a repeat: the first is the one that is listed, and gets all of its objects.
async fn creates(
    subject: &Subject,
    wires: &Arc<[Wire]>,
    repeat: usize,
    figures: &mut Figures,
) -> Result<()> {
    let (path, time_max) = match repeat {
        0 => (MAPS.to_owned(), Duration::MAX),
        more => {
            let namespace = format!("repeat-{more}");
            subject.namespace(&namespace).await?;
            let path = format!("/api/v1/namespaces/{namespace}/configmaps");
            (path, REPEAT_TIME)
        }
    };
    let wires = wires.clone();
    let create = move |caller: usize, index: usize| {
        let (wire, path) = (wires[caller % CONNECTIONS].clone(), path.clone());
        let body = map(&format!("object-{index:05}"));
        async move { wire.send(Method::POST, &path, body.into()).await.map(drop) }
    };
    let processes = subject.processes()?;
    let load = Load {
        time_max,
        ..Load::count(&processes, CALLERS, OBJECTS)
    };
    figures.outcome("create", &load.run(create).await?, 1);
    Ok(())
}

async fn gets(subject: &Subject, wires: &Arc<[Wire]>, figures: &mut Figures) -> Result<()> {
    let wires = wires.clone();
    let get = move |caller: usize, index: usize| {
        let wire = wires[caller % CONNECTIONS].clone();
        let path = format!("{MAPS}/object-{:05}", index % OBJECTS);
        async move { wire.send(Method::GET, &path, Bytes::new()).await.map(drop) }
    };
    let processes = subject.processes()?;
    let load = Load {
        time_max: REPEAT_TIME,
        ..Load::count(&processes, CALLERS, usize::MAX)
    };
    figures.outcome("GET", &load.run(get).await?, 1);
    Ok(())
}

/// Create, get, update, delete in turn: four requests an operation.
async fn turns(
    subject: &Subject,
    wires: &Arc<[Wire]>,
    repeat: usize,
    figures: &mut Figures,
) -> Result<()> {
    let wires = wires.clone();
    let turn = move |caller: usize, index: usize| {
        turn(
            wires[caller % CONNECTIONS].clone(),
            format!("turn-{repeat}-{index}"),
        )
    };
    let processes = subject.processes()?;
    let load = Load {
        time_max: REPEAT_TIME,
        ..Load::count(&processes, CALLERS, usize::MAX)
    };
    let outcome = load.run(turn).await?;
    figures.outcome("create, get, update, delete in turn", &outcome, 4);
    Ok(())
}

async fn turn(wire: Wire, name: String) -> Result<()> {
    let path = format!("{MAPS}/{name}");
    let object = map(&name);
    wire.send(Method::POST, MAPS, object.clone().into()).await?;
    wire.send(Method::GET, &path, Bytes::new()).await?;
    let changed = object.replacen(r#""data":{"#, r#""data":{"more":"1","#, 1);
    wire.send(Method::PUT, &path, changed.into()).await?;
    wire.send(Method::DELETE, &path, Bytes::new()).await?;
    Ok(())
}

async fn lists(
    options: &Options,
    subject: &Subject,
    wire: &Wire,
    figures: &mut Figures,
) -> Result<()> {
    let bytes = wire.encoded(MAPS, "identity").await?;
    if bytes < OBJECTS * map("").len() {
        bail!("a list of {bytes} bytes cannot hold {OBJECTS} objects");
    }
    let mib = bytes as f64 / f64::from(1 << 20);
    for (name, encoding) in [("plain", "identity"), ("gzip", "gzip")] {
        // What a static server would send compressed it would have compressed before.
        if encoding == "gzip" && subject.kind == Kind::Ceiling {
            continue;
        }
        for _ in 0..options.repeats {
            options.progress.tell(subject, &format!("LIST, {name}"));
            let wire = wire.clone();
            let list = move |_: usize, _: usize| {
                let wire = wire.clone();
                async move { wire.encoded(MAPS, encoding).await.map(drop) }
            };
            let processes = subject.processes()?;
            let load = Load {
                time_max: LIST_TIME,
                ..Load::count(&processes, 1, usize::MAX)
            };
            let outcome = load.run(list).await.with_context(|| name.to_owned())?;
            figures.push(format!("a MiB of LIST, {name}, CPU"), outcome.cpu_us / mib);
            let p50 = outcome.quantile_ms(0.5);
            figures.push(format!("LIST of 10,000, {name}, p50"), p50);
        }
    }
    Ok(())
}
