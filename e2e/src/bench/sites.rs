//! The way to a site and back: how long an object takes down, how long its status takes up, what
//! the agent weighs, and what one more site weighs on the hub.
//!
//! The site is a real kube-apiserver with its etcd and nothing else: whatever changes there is
//! changed by the agent or by this measurement. Start at [`run`], the thousand objects of one
//! site; [`many`] places ten thousand. Latency is taken from before a request is written until
//! a watch on the other side shows its effect, so both servers' own work is within.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::load::{Load, quantile};
use super::report::{Report, Target};
use super::subject::missing_tools;
use crate::fleet::{Fleet, PLATFORM};
use crate::http::Client;
use crate::process::Process;
use crate::site::Site;
use crate::wait;

const OBJECTS: usize = 1_000;
const MANY: usize = 10_000;
/// Between two objects, and between two statuses: the way is measured, not a queue before it.
const PACE: Duration = Duration::from_millis(20);
/// Callers that make many objects.
const CALLERS: usize = 8;
/// How long anything may take to arrive at last.
const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(60);
/// How long everything rests before memory is read.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// A process that took less than two ticks of CPU for so long has nothing left to do.
const QUIET_TIME: Duration = Duration::from_secs(1);
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A thousand Deployments, one after the other, to one site and back.
pub async fn run(report: &mut Report) -> Result<()> {
    let Some(ground) = Ground::new(report).await? else {
        return Ok(());
    };
    let empty_kib = ground.syncer()?.resident_kib()?;
    let down = ground.down().await?;
    tell(report, "object above to applied at a site", &down);
    let up = ground.up().await?;
    tell(report, "status below to visible above", &up);
    tokio::time::sleep(IDLE_TIME).await;
    let mib = |kib: u64| kib as f64 / 1_024.0;
    let kib = ground.syncer()?.resident_kib()?;
    report.add(
        "syncer, 1,000 objects",
        mib(kib),
        "MiB",
        Target::Below(24.0),
    );
    let each = kib.saturating_sub(empty_kib) as f64 / OBJECTS as f64;
    report.add("syncer, one more object", each, "KiB", Target::None);
    Ok(())
}

/// Ten thousand ConfigMaps at one site; the agent's restart; then the same at a second site.
pub async fn many(report: &mut Report) -> Result<()> {
    let Some(mut ground) = Ground::new(report).await? else {
        return Ok(());
    };
    let started = Instant::now();
    ground.fill().await?;
    let rate = MANY as f64 / started.elapsed().as_secs_f64();
    report.add(
        "objects above to applied at a site, 10,000 at once",
        rate,
        "1/s",
        Target::None,
    );
    let rested = quiet(ground.syncer()?, ARRIVAL_TIME_MAX).await?;
    report.add(
        "reports after the last",
        rested.as_secs_f64(),
        "s",
        Target::None,
    );
    tokio::time::sleep(IDLE_TIME).await;
    let mib = ground.syncer()?.resident_kib()? as f64 / 1_024.0;
    report.add("syncer, 10,000 objects", mib, "MiB", Target::Below(24.0));
    ground.idle_traffic(report).await?;

    let member = ground.fleet.site_mut("edge")?;
    member.syncer.kill()?;
    member.syncer.resume()?;
    let rested = quiet(ground.syncer()?, ARRIVAL_TIME_MAX).await?;
    let name = "syncer restart, 10,000 objects, until nothing is left to do";
    report.add(name, rested.as_secs_f64(), "s", Target::Below(5.0));
    tokio::time::sleep(IDLE_TIME).await;
    let mib = ground.syncer()?.resident_kib()? as f64 / 1_024.0;
    report.add("syncer after the restart", mib, "MiB", Target::Below(24.0));
    ground.one_more_site(report).await
}

fn tell(report: &mut Report, name: &str, sorted: &[Duration]) {
    let ms = |share| quantile(sorted, share).as_secs_f64() * 1_000.0;
    report.add(&format!("{name}, p50"), ms(0.5), "ms", Target::None);
    report.add(
        &format!("{name}, p99"),
        ms(0.99),
        "ms",
        Target::Below(100.0),
    );
}

/// A hub with one real site and a tenant whose ConfigMaps and Deployments go there.
struct Ground {
    fleet: Fleet,
    site: Site,
    tenant: Client,
}

impl Ground {
    /// `None`, and a note, where there is no kube-apiserver to be the site.
    async fn new(report: &mut Report) -> Result<Option<Ground>> {
        if let Some(advice) = missing_tools() {
            report.note(&format!("sites: not measured: {advice}"));
            return Ok(None);
        }
        let site = Site::apiserver("edge", &[]).await?;
        let mut fleet = Fleet::start().await?;
        fleet.join("edge", &site.kubeconfig()).await?;
        let file = site.kubeconfig().display().to_string();
        let words = ["import", "deployments.apps", "--site-kubeconfig", &file];
        let words = [&words[..], &["--export", "kubernetes"]].concat();
        fleet.hanse(PLATFORM, &words).await?;
        let kubectl = fleet.tenant("bench", &["kubernetes"]).await?;
        let placement = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Placement",
            "metadata": {"name": "everywhere"},
            "spec": {"objects": [
                {"resource": "configmaps"}, {"group": "apps", "resource": "deployments"},
            ]},
        });
        kubectl.apply(&placement.to_string()).await?;
        let tenant = fleet.hub.cluster(&format!("{PLATFORM}:bench"))?;
        // The first of its kind brings the tenant's namespace below, and watches of the kind.
        tenant
            .post(DEPLOYMENTS, &deployment("first"))
            .await?
            .success()?;
        tenant.post(MAPS, &map("first")).await?.success()?;
        let first = ("apis/apps/v1/deployments", "first");
        fleet.below("edge", "bench", first, |_| true).await?;
        fleet
            .below("edge", "bench", ("api/v1/configmaps", "first"), |_| true)
            .await?;
        tokio::time::sleep(IDLE_TIME).await;
        Ok(Some(Ground {
            fleet,
            site,
            tenant,
        }))
    }

    fn syncer(&self) -> Result<&Process> {
        self.fleet.site("edge")?.syncer.process()
    }

    /// From before each POST above to its object in a watch below, sorted.
    async fn down(&self) -> Result<Vec<Duration>> {
        let path = "/apis/apps/v1/deployments";
        let mut seen = arrivals(&self.site.client()?, path, |_| true).await?;
        let mut sent = BTreeMap::new();
        let mut pace = tokio::time::interval(PACE);
        for index in 0..OBJECTS {
            pace.tick().await;
            let name = format!("bench-{index:05}");
            let body = deployment(&name);
            sent.insert(name, Instant::now());
            self.tenant.post(DEPLOYMENTS, &body).await?.success()?;
        }
        delays(sent, &mut seen).await
    }

    /// From before each status patch below to the status in a watch above, sorted.
    async fn up(&self) -> Result<Vec<Duration>> {
        let cluster = self.fleet.cluster_of("bench").await?;
        let namespaces = self.fleet.namespaces("edge").await?;
        let namespace = namespaces
            .get(&(cluster, "default".to_owned()))
            .context("the tenant's namespace is not there")?;
        let ready = |object: &Value| object["status"]["readyReplicas"] == 1;
        let mut seen = arrivals(&self.tenant, "/apis/apps/v1/deployments", ready).await?;
        let below = self.site.client()?;
        let status = json!({"status": {
            "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1,
            "readyReplicas": 1, "availableReplicas": 1,
        }});
        let mut sent = BTreeMap::new();
        let mut pace = tokio::time::interval(PACE);
        for index in 0..OBJECTS {
            pace.tick().await;
            let name = format!("bench-{index:05}");
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status");
            sent.insert(name, Instant::now());
            below
                .patch(&path, "application/merge-patch+json", &status)
                .await?
                .success()?;
        }
        delays(sent, &mut seen).await
    }

    /// Makes many ConfigMaps and waits until the last of them is below.
    async fn fill(&self) -> Result<()> {
        let mut seen = arrivals(&self.site.client()?, "/api/v1/configmaps", |_| true).await?;
        let tenant = self.tenant.clone();
        let create = move |_: usize, index: usize| {
            let (tenant, body) = (tenant.clone(), map(&format!("many-{index:05}")));
            async move { tenant.post(MAPS, &body).await?.success().map(drop) }
        };
        let servers = [self.fleet.hub.process()?];
        Load::count(&servers, CALLERS, MANY).run(create).await?;
        let now = Instant::now();
        let sent = (0..MANY).map(|index| (format!("many-{index:05}"), now));
        delays(sent.collect(), &mut seen).await.map(drop)
    }

    /// What goes over the link of a site at which nothing happens: one renewal of the lease in
    /// each interval, and nothing else.
    async fn idle_traffic(&self, report: &mut Report) -> Result<()> {
        let relay = &self.fleet.site("edge")?.relay;
        let before = (relay.carried(), self.requests().await?, Instant::now());
        tokio::time::sleep(IDLE_TIME * 2).await;
        let after = (relay.carried(), self.requests().await?, Instant::now());
        // The fleet's sites renew their leases each second; the look itself is one request.
        let intervals = after.2.duration_since(before.2).as_secs_f64();
        let bytes = (after.0 - before.0) as f64 / intervals;
        let requests = (after.1 - before.1 - 1.0) / intervals;
        let name = |what: &str| format!("an idle site: {what} in a lease interval");
        report.add(&name("requests"), requests, "requests", Target::Below(1.1));
        report.add(&name("traffic"), bytes, "bytes", Target::None);
        Ok(())
    }

    /// Requests that the hub has answered.
    async fn requests(&self) -> Result<f64> {
        let answer = self.fleet.hub.client()?.get("/metrics").await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let counted = |line: &&str| line.starts_with("apiserver_request_total");
        let count = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        Ok(text.lines().filter(counted).filter_map(count).sum())
    }

    /// How the hub grows with a second site for everything that is placed.
    async fn one_more_site(&mut self, report: &mut Report) -> Result<()> {
        let before = self.fleet.hub.process()?.resident_kib()?;
        let second = Site::apiserver("second", &[]).await?;
        let mut seen = arrivals(&second.client()?, "/api/v1/configmaps", |_| true).await?;
        self.fleet.join("second", &second.kubeconfig()).await?;
        let now = Instant::now();
        let sent = (0..MANY).map(|index| (format!("many-{index:05}"), now));
        delays(sent.collect(), &mut seen).await?;
        quiet(
            self.fleet.site("second")?.syncer.process()?,
            ARRIVAL_TIME_MAX,
        )
        .await?;
        tokio::time::sleep(IDLE_TIME).await;
        let after = self.fleet.hub.process()?.resident_kib()?;
        let each = after.saturating_sub(before) as f64 / MANY as f64;
        let name = "hub, one placed object at one more site";
        report.add(name, each, "KiB", Target::Below(2.0));
        Ok(())
    }
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "registry.invalid/web"}]},
            },
        },
    })
}

/// A ConfigMap that is about 1 KiB as it is stored.
fn map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"payload": "x".repeat(700)},
    })
}

type Arrivals = mpsc::UnboundedReceiver<(String, Instant)>;

/// Watches everything under a path; answers names and times of what looks right.
async fn arrivals(client: &Client, path: &str, right: fn(&Value) -> bool) -> Result<Arrivals> {
    let path = format!("{path}?watch=1");
    let accept = [("accept", "application/json")];
    let response = client
        .open(Method::GET, &path, &accept, None, Default::default())
        .await?;
    if !response.status().is_success() {
        bail!("{path}: {}", response.status());
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut body = response.into_body();
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let now = Instant::now();
            rest.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap_or_default();
                let name = event["object"]["metadata"]["name"].as_str();
                if let Some(name) = name.filter(|_| right(&event["object"])) {
                    let _ = sender.send((name.to_owned(), now));
                }
            }
        }
    });
    Ok(receiver)
}

/// The times between each sending and its first arrival, sorted; what else arrives is ignored.
async fn delays(mut sent: BTreeMap<String, Instant>, seen: &mut Arrivals) -> Result<Vec<Duration>> {
    let mut delays = Vec::with_capacity(sent.len());
    while !sent.is_empty() {
        let arrival = tokio::time::timeout(ARRIVAL_TIME_MAX, seen.recv()).await;
        let Ok(Some((name, at))) = arrival else {
            bail!("{} of {} never came", sent.len(), sent.len() + delays.len());
        };
        if let Some(begun) = sent.remove(&name) {
            delays.push(at.saturating_duration_since(begun));
        }
    }
    delays.sort_unstable();
    Ok(delays)
}

/// The time until a process began to do nothing.
async fn quiet(process: &Process, time_max: Duration) -> Result<Duration> {
    let started = Instant::now();
    let mut last = (process.cpu_ticks()?, started);
    wait::until("the process at rest", time_max, async || {
        let (ticks, now) = (process.cpu_ticks()?, Instant::now());
        if ticks > last.0 + 1 {
            last = (ticks, now);
        }
        match now.duration_since(last.1) >= QUIET_TIME {
            true => Ok(last.1.duration_since(started)),
            false => bail!("{ticks} ticks so far"),
        }
    })
    .await
}
