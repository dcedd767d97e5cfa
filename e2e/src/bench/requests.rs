//! The request path: one object read and written many times, and long lists.

use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};

use super::load;
use super::report::{Report, Target};
use crate::http::Client;
use crate::hub::Hub;
use crate::kubeconfig::Access;
use crate::process::Process;
use crate::site::Site;

/// Callers, spread over the connections.
const CALLERS: usize = 32;
const CONNECTIONS: usize = 8;
const CREATES: usize = 10_000;
const GETS: usize = 60_000;
const TURNS: usize = 5_000;
const LISTS: usize = 30;
const PATH: &str = "/api/v1/namespaces/default/configmaps";

/// A server that is measured: a workspace of the hub, or a whole kube-apiserver.
pub struct Subject<'a> {
    /// Before the name of each number; empty for the hub.
    pub name: &'a str,
    pub access: Access,
    pub process: &'a Process,
}

impl Subject<'_> {
    fn add(&self, report: &mut Report, name: &str, value: f64, unit: &'static str, target: Target) {
        let target = if self.name.is_empty() {
            target
        } else {
            Target::None
        };
        report.add(&format!("{}{name}", self.name), value, unit, target);
    }
}

pub async fn run(report: &mut Report) -> Result<()> {
    let hub = Hub::start().await?;
    hub.workspace("root", "bench", "universal").await?;
    let access = hub.cluster_access("root:bench")?;
    measure(
        &Subject {
            name: "",
            access,
            process: hub.process()?,
        },
        report,
    )
    .await
}

/// The same requests to a real kube-apiserver, for the ratio. Its etcd is not counted, and does
/// not sync to disk.
pub async fn peer(report: &mut Report) -> Result<()> {
    let site = Site::apiserver("bench", &[]).await?;
    let (access, process) = (site.access.clone(), site.process()?);
    measure(
        &Subject {
            name: "kube-apiserver: ",
            access,
            process,
        },
        report,
    )
    .await
}

async fn measure(subject: &Subject<'_>, report: &mut Report) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(&subject.access)?);
    }
    for client in &clients {
        client.get(PATH).await?.success()?;
    }
    creates(subject, clients.clone(), report).await?;
    gets(subject, clients.clone(), report).await?;
    turns(subject, clients.clone(), report).await?;
    lists(subject, &clients[0], report).await
}

/// A ConfigMap that is about 1 KiB as it is stored.
fn object(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"payload": "x".repeat(700)},
    })
}

async fn creates(subject: &Subject<'_>, clients: Vec<Client>, report: &mut Report) -> Result<()> {
    let create = move |caller: usize, index: usize| {
        let client = clients[caller % CONNECTIONS].clone();
        let body = object(&format!("object-{index:05}"));
        async move { client.post(PATH, &body).await?.success().map(drop) }
    };
    let outcome = load::run(subject.process, CALLERS, CREATES, create).await?;
    subject.add(
        report,
        "create, CPU",
        outcome.cpu_us,
        "us",
        Target::Below(120.0),
    );
    subject.add(
        report,
        "create, p99",
        outcome.quantile_ms(0.99),
        "ms",
        Target::Below(15.0),
    );
    subject.add(
        report,
        "creates beside the generator",
        outcome.rate(),
        "1/s",
        Target::Above(6_000.0),
    );
    Ok(())
}

async fn gets(subject: &Subject<'_>, clients: Vec<Client>, report: &mut Report) -> Result<()> {
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
    let outcome = load::run(subject.process, CALLERS, GETS, get).await?;
    subject.add(
        report,
        "GET, CPU",
        outcome.cpu_us,
        "us",
        Target::Below(40.0),
    );
    subject.add(
        report,
        "GET, p99",
        outcome.quantile_ms(0.99),
        "ms",
        Target::Below(8.0),
    );
    subject.add(
        report,
        "GETs beside the generator",
        outcome.rate(),
        "1/s",
        Target::Above(15_000.0),
    );
    Ok(())
}

/// Create, get, update, delete in turn: four requests an operation.
async fn turns(subject: &Subject<'_>, clients: Vec<Client>, report: &mut Report) -> Result<()> {
    let turn = move |caller: usize, index: usize| {
        turn(
            clients[caller % CONNECTIONS].clone(),
            format!("turn-{index}"),
        )
    };
    let outcome = load::run(subject.process, CALLERS, TURNS, turn).await?;
    let each = outcome.cpu_us / 4.0;
    subject.add(
        report,
        "create, get, update, delete in turn, CPU each",
        each,
        "us",
        Target::Below(120.0),
    );
    Ok(())
}

async fn lists(subject: &Subject<'_>, client: &Client, report: &mut Report) -> Result<()> {
    let whole = client.get(PATH).await?;
    let mib = whole.body.len() as f64 / f64::from(1 << 20);
    let found = whole.success()?["items"].as_array().map_or(0, Vec::len);
    if found < CREATES {
        bail!("{found} objects are listed, {CREATES} were created");
    }
    for (name, encoding, target) in [("plain", "identity", 1_100.0), ("gzip", "gzip", 4_000.0)] {
        let client = client.clone();
        let list = move |_: usize, _: usize| list(client.clone(), encoding);
        let outcome = load::run(subject.process, 1, LISTS, list).await?;
        let name = format!("a MiB of LIST, 10,000 objects, {name}, CPU");
        subject.add(
            report,
            &name,
            outcome.cpu_us / mib,
            "us",
            Target::Below(target),
        );
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
