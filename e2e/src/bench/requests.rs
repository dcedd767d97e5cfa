//! The request path: one object read and written many times, and long lists.

use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};

use super::load;
use super::report::{Report, Target};
use crate::http::Client;
use crate::hub::Hub;

/// Callers, spread over the connections.
const CALLERS: usize = 32;
const CONNECTIONS: usize = 8;
const CREATES: usize = 10_000;
const GETS: usize = 60_000;
const TURNS: usize = 5_000;
const LISTS: usize = 30;
const PATH: &str = "/api/v1/namespaces/default/configmaps";

pub async fn run(report: &mut Report) -> Result<()> {
    let hub = Hub::start().await?;
    hub.workspace("root", "bench", "universal").await?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(hub.cluster("root:bench")?);
    }
    for client in &clients {
        client.get(PATH).await?.success()?;
    }
    creates(&hub, clients.clone(), report).await?;
    gets(&hub, clients.clone(), report).await?;
    turns(&hub, clients.clone(), report).await?;
    lists(&hub, &clients[0], report).await
}

/// A ConfigMap that is about 1 KiB as it is stored.
fn object(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"payload": "x".repeat(700)},
    })
}

async fn creates(hub: &Hub, clients: Vec<Client>, report: &mut Report) -> Result<()> {
    let create = move |caller: usize, index: usize| {
        let client = clients[caller % CONNECTIONS].clone();
        let body = object(&format!("object-{index:05}"));
        async move { client.post(PATH, &body).await?.success().map(drop) }
    };
    let outcome = load::run(hub.process()?, CALLERS, CREATES, create).await?;
    report.add("create, CPU", outcome.cpu_us, "us", Target::Below(120.0));
    report.add(
        "create, p99",
        outcome.quantile_ms(0.99),
        "ms",
        Target::Below(15.0),
    );
    report.add(
        "creates beside the generator",
        outcome.rate(),
        "1/s",
        Target::Above(6_000.0),
    );
    Ok(())
}

async fn gets(hub: &Hub, clients: Vec<Client>, report: &mut Report) -> Result<()> {
    let get = move |caller: usize, index: usize| {
        let client = clients[caller % CONNECTIONS].clone();
        async move {
            let path = format!("{PATH}/object-{:05}", index % CREATES);
            let answer = client.get(&path).await?;
            if !answer.status.is_success() {
                bail!("{path}: {}", answer.status);
            }
            Ok(())
        }
    };
    let outcome = load::run(hub.process()?, CALLERS, GETS, get).await?;
    report.add("GET, CPU", outcome.cpu_us, "us", Target::Below(40.0));
    report.add(
        "GET, p99",
        outcome.quantile_ms(0.99),
        "ms",
        Target::Below(8.0),
    );
    report.add(
        "GETs beside the generator",
        outcome.rate(),
        "1/s",
        Target::Above(15_000.0),
    );
    Ok(())
}

/// Create, get, update, delete in turn: four requests an operation.
async fn turns(hub: &Hub, clients: Vec<Client>, report: &mut Report) -> Result<()> {
    let turn = move |caller: usize, index: usize| {
        turn(
            clients[caller % CONNECTIONS].clone(),
            format!("turn-{index}"),
        )
    };
    let outcome = load::run(hub.process()?, CALLERS, TURNS, turn).await?;
    let each = outcome.cpu_us / 4.0;
    report.add(
        "create, get, update, delete in turn, CPU each",
        each,
        "us",
        Target::Below(120.0),
    );
    Ok(())
}

async fn lists(hub: &Hub, client: &Client, report: &mut Report) -> Result<()> {
    let whole = client.get(PATH).await?;
    let mib = whole.body.len() as f64 / f64::from(1 << 20);
    let found = whole.success()?["items"].as_array().map_or(0, Vec::len);
    if found < CREATES {
        bail!("{found} objects are listed, {CREATES} were created");
    }
    for (name, encoding, target) in [("plain", "identity", 1_100.0), ("gzip", "gzip", 4_000.0)] {
        let client = client.clone();
        let list = move |_: usize, _: usize| list(client.clone(), encoding);
        let outcome = load::run(hub.process()?, 1, LISTS, list).await?;
        let name = format!("a MiB of LIST, 10,000 objects, {name}, CPU");
        report.add(&name, outcome.cpu_us / mib, "us", Target::Below(target));
    }
    Ok(())
}

/// One list of everything, and a check that it came in the encoding that was asked for.
async fn list(client: Client, encoding: &str) -> Result<()> {
    let headers = [
        ("accept", "application/json"),
        ("accept-encoding", encoding),
    ];
    let answer = client
        .call(Method::GET, PATH, &headers, None, Default::default())
        .await?;
    let encoded = answer.headers.get("content-encoding").is_some();
    if !answer.status.is_success() || encoded != (encoding == "gzip") {
        bail!("{}: {:?}", answer.status, answer.headers);
    }
    Ok(())
}

async fn turn(client: Client, name: String) -> Result<()> {
    let path = format!("{PATH}/{name}");
    client.post(PATH, &object(&name)).await?.success()?;
    let mut found = client.get(&path).await?.success()?;
    found["data"]["more"] = "1".into();
    client
        .json(Method::PUT, &path, Some(&found))
        .await?
        .success()?;
    client.delete(&path).await?.success().map(drop)
}
