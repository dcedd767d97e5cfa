//! The servers that are measured with the same load, one after the other: a workspace of the hub,
//! a static server that only sends the hub's own answers (the ceiling), and a real kube-apiserver
//! with its etcd (the peer).
//!
//! Start at [`in_turn`]. All processes of a server are counted together. The static server is
//! `hanse-static` beside this program; the peer is what `cargo xtask setup` built.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::Method;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Options;
use super::load::Outcome;
use super::report::{Report, Row, Target};
use super::wire::Wire;
use crate::http::Client;
use crate::hub::Hub;
use crate::kubeconfig::Access;
use crate::pki::Authority;
use crate::process::{Process, free_port};
use crate::site::Site;
use crate::{tools, wait};

/// The ConfigMaps of the namespace in which everything begins.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Bytes in a ConfigMap so that it is about 1 KiB as it is stored.
const PAYLOAD_BYTES: usize = 700;
/// How long the static server may take to start.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// Between the marks `"#` and `#"` stands the number of a change: in a patch, and in its event.
pub const MARK: (&str, &str) = ("\"#", "#\"");

/// A ConfigMap as a request's body.
pub fn map(name: &str) -> String {
    let payload = "x".repeat(PAYLOAD_BYTES);
    let metadata = format!(r#""metadata":{{"name":"{name}"}}"#);
    let data = format!(r#""data":{{"payload":"{payload}"}}"#);
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap",{metadata},{data}}}"#)
}

/// A merge patch that writes the number of a change between the marks.
pub fn change(number: usize) -> String {
    format!(r##"{{"data":{{"change":"#{number}#"}}}}"##)
}

/// The number between the marks in a patch or an event.
pub fn change_of(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once(MARK.0)?;
    rest.split_once(MARK.1)?.0.parse().ok()
}

/// What the static server answers: bytes that the hub answered before.
#[derive(Default, Serialize, Deserialize)]
pub struct Answers {
    /// To a GET of one object.
    pub object: String,
    /// To a GET of the collection.
    pub list: String,
    /// To a POST.
    pub created: String,
    /// To a PUT or a PATCH.
    pub updated: String,
    /// To a DELETE.
    pub deleted: String,
    /// To every watch after a PATCH; the number between the marks is replaced by the patch's.
    pub event: String,
}

impl Answers {
    /// Asks the hub for one of each.
    async fn record(access: &Access) -> Result<Answers> {
        let client = Client::connect(access)?;
        let path = format!("{MAPS}/recorded");
        let object: Value = serde_json::from_str(&map("recorded"))?;
        let words = async |method, path: &str, body: Option<&Value>| {
            let answer = client.json(method, path, body).await?;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            answer.success()?;
            Ok::<_, anyhow::Error>(text)
        };
        let list = words(Method::GET, MAPS, None).await?;
        let created = words(Method::POST, MAPS, Some(&object)).await?;
        let version: Value = serde_json::from_str(&created)?;
        let version = version["metadata"]["resourceVersion"].as_str();
        let version = version.context("an object without a version")?;
        let watch = format!("{MAPS}?watch=1&resourceVersion={version}");
        let mut events = Wire::open(access).await?.stream(&watch).await?;
        let patch: Value = serde_json::from_str(&change(0))?;
        let kind = "application/merge-patch+json";
        client.patch(&path, kind, &patch).await?.success()?;
        let mut event = Vec::new();
        while !event.ends_with(b"\n") {
            let frame = events.frame().await.context("the watch ended")??;
            event.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
        }
        Ok(Answers {
            object: words(Method::GET, &path, None).await?,
            list,
            created,
            updated: words(Method::PUT, &path, Some(&object)).await?,
            deleted: words(Method::DELETE, &path, None).await?,
            event: String::from_utf8(event)?,
        })
    }
}

/// What a server came to: the repeats of each number.
#[derive(Default)]
pub struct Figures(BTreeMap<String, Vec<f64>>);

impl Figures {
    /// Adds a repeat of a number.
    pub fn push(&mut self, name: impl Into<String>, value: f64) {
        self.0.entry(name.into()).or_default().push(value);
    }

    /// Adds what a run of load came to: CPU and latency of an operation, and the rate. Where an
    /// operation is several requests, CPU is told for one of them.
    pub fn outcome(&mut self, what: &str, outcome: &Outcome, requests: usize) {
        let requests = requests as f64;
        self.push(format!("{what}, CPU"), outcome.cpu_us / requests);
        let generator = outcome.generator_us / requests;
        self.push(format!("{what}, CPU of the generator"), generator);
        self.push(format!("{what}, rate"), outcome.rate() * requests);
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            self.push(format!("{what}, {name}"), outcome.quantile_ms(share));
        }
    }

    /// The repeats of a number.
    pub fn get(&self, name: &str) -> &[f64] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// What all servers came to.
#[derive(Default)]
pub struct Sides {
    pub hub: Figures,
    pub ceiling: Figures,
    pub peer: Figures,
}

/// A row of the table: its name, its unit, its target, and the share of the peer that is allowed.
pub type Wanted = (&'static str, &'static str, Target, Option<f64>);

impl Sides {
    /// Puts the rows into the report, in this order.
    pub fn tell(&self, rows: &[Wanted], report: &mut Report) {
        for (name, unit, target, bar) in rows {
            report.row(Row {
                ceiling: self.ceiling.get(name),
                peer: self.peer.get(name),
                bar: *bar,
                ..Row::new(name, unit, *target, self.hub.get(name))
            });
        }
    }
}

/// Which of the servers it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hub,
    Ceiling,
    Peer,
}

impl Kind {
    /// What it is called where people read.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Hub => "hanse",
            Kind::Ceiling => "static server",
            Kind::Peer => "kube-apiserver + etcd",
        }
    }
}

/// A running server that is measured.
pub struct Subject {
    pub kind: Kind,
    /// How to reach the place where ConfigMaps are made.
    pub access: Access,
    server: Server,
}

enum Server {
    Hub(Hub),
    Static {
        process: Process,
        _dir: tempfile::TempDir,
    },
    Peer(Box<Site>),
}

impl Subject {
    /// A new workspace of a new hub.
    pub async fn hub() -> Result<Subject> {
        let hub = Hub::start().await?;
        hub.workspace("root", "bench", "universal").await?;
        Ok(Subject {
            kind: Kind::Hub,
            access: hub.cluster_access("root:bench")?,
            server: Server::Hub(hub),
        })
    }

    /// A real kube-apiserver and its etcd.
    async fn peer() -> Result<Subject> {
        let site = Site::as_shipped("bench").await?;
        Ok(Subject {
            kind: Kind::Peer,
            access: site.access.clone(),
            server: Server::Peer(Box::new(site)),
        })
    }

    /// A server that knows these answers and nothing else.
    async fn ceiling(answers: &Answers) -> Result<Subject> {
        let dir = tempfile::Builder::new().prefix("hanse-static-").tempdir()?;
        let authority = Authority::new(dir.path())?;
        authority.serving("server")?;
        let file = dir.path().join("answers.json");
        std::fs::write(&file, serde_json::to_vec(answers)?)?;
        let port = free_port()?;
        let mut command = Command::new(beside("hanse-static")?);
        command.arg(dir.path()).arg(port.to_string());
        let log = dir.path().join("log");
        let mut process = Process::start("hanse-static", &mut command, &log)?;
        let access = Access {
            server: format!("https://127.0.0.1:{port}"),
            ca_pem: authority.pem.clone(),
            client: None,
            token: None,
        };
        wait::until("the static server", START_TIME_MAX, async || {
            process.check_running()?;
            Client::connect(&access)?.get(MAPS).await?.success()
        })
        .await?;
        Ok(Subject {
            kind: Kind::Ceiling,
            access,
            server: Server::Static { process, _dir: dir },
        })
    }

    /// Its processes.
    pub fn processes(&self) -> Result<Vec<&Process>> {
        Ok(match &self.server {
            Server::Hub(hub) => vec![hub.process()?],
            Server::Static { process, .. } => vec![process],
            Server::Peer(site) => site.processes(),
        })
    }

    /// The memory of all of them, in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        let mut kib = 0;
        for process in self.processes()? {
            kib += process.resident_kib()?;
        }
        Ok(kib as f64 / 1_024.0)
    }

    /// Makes a namespace beside the one that is there.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let client = Client::connect(&self.access)?;
        client.post("/api/v1/namespaces", &body).await?.success()?;
        Ok(())
    }
}

/// Measures the hub, then the static server with the hub's answers, then the peer where it is
/// there. Each is started for this and ended before the next.
pub async fn in_turn(
    options: &Options,
    report: &mut Report,
    measure: impl AsyncFn(&Subject, &mut Figures) -> Result<()>,
) -> Result<Sides> {
    let mut sides = Sides::default();
    let hub = Subject::hub().await?;
    measure(&hub, &mut sides.hub).await.context("hanse")?;
    if !options.alone {
        let answers = Answers::record(&hub.access).await?;
        drop(hub);
        let ceiling = Subject::ceiling(&answers).await?;
        let measured = measure(&ceiling, &mut sides.ceiling).await;
        measured.context("the static server")?;
    }
    if let Some(advice) = options.without_peer() {
        report.note(&format!("kube-apiserver: not measured: {advice}"));
        return Ok(sides);
    }
    let peer = Subject::peer().await?;
    let measured = measure(&peer, &mut sides.peer).await;
    measured.context("kube-apiserver")?;
    Ok(sides)
}

/// What is missing for a real cluster, if anything is.
pub fn missing_tools() -> Option<String> {
    for (set, command) in [("kubernetes", "kube-apiserver"), ("etcd", "etcd")] {
        let tool = tools::named(set).ok_or_else(|| format!("there is no set {set}"));
        if let Err(advice) = tool.and_then(|tool| tool.command(command)) {
            return Some(advice);
        }
    }
    None
}

/// A program of ours that was built with this one.
fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own
        .parent()
        .context("a program without a place")?
        .join(name);
    if !path.is_file() {
        bail!(anyhow!("{} is not there", path.display()));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_is_found_in_the_text() {
        assert_eq!(change_of(change(17).as_bytes()), Some(17));
        assert_eq!(change_of(b"{\"data\":{\"change\":\"#17#\"}}\n"), Some(17));
        assert_eq!(change_of(b"{\"type\":\"BOOKMARK\"}\n"), None);
    }

    #[test]
    fn a_map_is_json_of_about_a_kibibyte() {
        let object: Value = serde_json::from_str(&map("a")).unwrap();
        assert_eq!(object["metadata"]["name"], "a");
        assert!(map("a").len() > PAYLOAD_BYTES);
    }
}
