//! `kill -9` of the whole server, over the wire: writers, readers and watchers at work, the process
//! killed at random points and started again.
//!
//! Two loads. [`nothing_acknowledged_is_lost_and_watches_are_exact`] has writers fight over a few
//! ConfigMaps while watchers of four kinds follow; what everybody saw is judged by
//! `hanse_history`. [`births_and_deaths_are_whole`] has workspaces born and deleted; each is
//! there with all objects of its birth or not at all, and what was being deleted goes away.
//! `HANSE_SEED` and `HANSE_ROUNDS` say from where and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hanse_e2e::http::Client;
use hanse_e2e::hub::Hub;
use hanse_e2e::kubeconfig::Access;
use hanse_e2e::wait;
use hanse_history::{Act, Event, History, Judged, Key, Kind, Op, Outcome, State, View, Watch};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WORKSPACES: &str = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
/// Writers at once; they share the objects, so many of their writes are refused.
const WRITERS: u64 = 8;
/// Objects in each of the two workspaces.
const OBJECTS: u64 = 5;
/// Between two looks at the work that is done before the server dies.
const OFTEN: Duration = Duration::from_millis(1);
/// How long that work may take on a busy machine.
const LIFE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a watch may take to tell what is there already.
const WATCH_TIME_MAX: Duration = Duration::from_secs(30);

fn variable(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Repeatable chance (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A client of `path` who may look everywhere, and whose token is the same after a restart.
fn masters(hub: &Hub, path: &str) -> Result<Client> {
    let mut access = Access::read(&hub.kubeconfig(), Some("system:admin"))?;
    access.server = hub.cluster_access(path)?.server;
    Client::connect(&access)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.with_context(|| format!("no {pointer} in {value}"))
}

/// What the objects of the test say of themselves; `None` for those that are not the test's.
fn read(object: &Value) -> Result<Option<(Key, State)>> {
    let name = text(object, "/metadata/name")?;
    if !name.starts_with("shared-") {
        return Ok(None);
    }
    let cluster = text(object, "/metadata/annotations/kcp.io~1cluster")?;
    let (value, end) = (text(object, "/data/value")?, text(object, "/data/end")?);
    ensure!(value == end, "half an object: {object}");
    let state = State {
        version: text(object, "/metadata/resourceVersion")?.parse()?,
        value: value.parse()?,
    };
    Ok(Some(((cluster.to_owned(), name.to_owned()), state)))
}

fn items(list: &Value) -> Result<BTreeMap<Key, State>> {
    let items = list["items"].as_array().context("a list without items")?;
    items
        .iter()
        .filter_map(|item| read(item).transpose())
        .collect()
}

// === the load ===

/// What all writers of a round share.
struct Load {
    clusters: Vec<(String, Client)>,
    began: Instant,
    first_value: u64,
    ops: Mutex<Vec<Op>>,
    stop: AtomicBool,
}

impl Load {
    /// One request and what came of it.
    async fn request(&self, cluster: usize, name: &str, act: Act) -> Outcome {
        let (id, client) = &self.clusters[cluster];
        let key = (id.clone(), name.to_owned());
        let start = self.began.elapsed();
        let index = {
            let mut ops = lock(&self.ops);
            let outcome = Outcome::Unknown;
            ops.push(Op {
                key,
                act,
                start,
                end: Duration::MAX,
                outcome,
            });
            ops.len() - 1
        };
        let value = self.first_value + index as u64;
        let outcome = self
            .call(client, name, act, value)
            .await
            .unwrap_or(Outcome::Unknown);
        let mut ops = lock(&self.ops);
        (ops[index].end, ops[index].outcome) = (self.began.elapsed(), outcome.clone());
        outcome
    }

    async fn call(&self, client: &Client, name: &str, act: Act, value: u64) -> Result<Outcome> {
        let path = format!("{CONFIG_MAPS}/{name}");
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"even": value.is_multiple_of(2).to_string()}},
            "data": {"value": value.to_string(), "filler": "x".repeat(300), "end": value.to_string()},
        });
        let answer = match act {
            Act::Create => client.post(CONFIG_MAPS, &object).await?,
            Act::Update(expected) => {
                if let Some(version) = expected {
                    object["metadata"]["resourceVersion"] = version.to_string().into();
                }
                client.json(Method::PUT, &path, Some(&object)).await?
            }
            Act::Delete(version) => {
                let options = json!({"preconditions": {"resourceVersion": version.to_string()}});
                client.json(Method::DELETE, &path, Some(&options)).await?
            }
            Act::Get => client.get(&path).await?,
            Act::List => client.get(CONFIG_MAPS).await?,
        };
        let (status, body) = (answer.status, answer.json());
        Ok(match (act, status) {
            (Act::List, StatusCode::OK) => {
                let version = text(&body, "/metadata/resourceVersion")?.parse()?;
                Outcome::Listed(version, items(&body)?)
            }
            (Act::Delete(_), StatusCode::OK) => Outcome::Deleted,
            (Act::Get, StatusCode::OK) => {
                Outcome::Found(read(&body)?.context("another's object")?.1)
            }
            (_, StatusCode::OK | StatusCode::CREATED) => {
                Outcome::Written(read(&body)?.context("another's object")?.1.version)
            }
            (_, StatusCode::NOT_FOUND) => Outcome::Absent,
            (Act::Create, StatusCode::CONFLICT) => Outcome::Exists,
            (_, StatusCode::CONFLICT) => Outcome::Conflict,
            _ => bail!("{status}: {body}"),
        })
    }

    /// A write that must succeed; the first try may still find the broken connection.
    async fn write_last(&self, cluster: usize) -> Result<u64> {
        let (name, mut act) = ("shared-last", Act::Update(None));
        for _ in 0..10 {
            match self.request(cluster, name, act).await {
                Outcome::Written(version) => return Ok(version),
                Outcome::Absent => act = Act::Create,
                Outcome::Unknown | Outcome::Exists => act = Act::Update(None),
                other => bail!("after the restart: {other:?}"),
            }
        }
        bail!("after the restart nothing can be written")
    }

    /// Works on objects that all writers share until the server is gone.
    async fn work(self: Arc<Self>, mut chance: Chance) {
        while !self.stop.load(Ordering::Acquire) {
            let cluster = chance.below(self.clusters.len() as u64) as usize;
            let name = format!("shared-{}", chance.below(OBJECTS));
            let seen = self.request(cluster, &name, Act::Get).await;
            let act = match (&seen, chance.below(8)) {
                (Outcome::Absent, _) => Act::Create,
                (Outcome::Found(state), 0..3) => Act::Delete(state.version),
                (Outcome::Found(state), 3..6) => Act::Update(Some(state.version)),
                (Outcome::Found(_), 6) => Act::Update(None),
                (Outcome::Found(_), _) => Act::List,
                // The connection broke; the flag comes in a moment.
                _ => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    continue;
                }
            };
            self.request(cluster, &name, act).await;
        }
    }
}

// === the watchers ===

/// A watch that goes on over the server's death.
struct Follower {
    client: Client,
    version: u64,
    told: Watch,
}

impl Follower {
    /// Reads until an event or bookmark of at least this version, or until the server is gone.
    async fn follow(&mut self, until: u64) -> Result<()> {
        let view = &self.told.view;
        let selector = match (view.rest, &view.name) {
            (Some(_), _) => "&labelSelector=even%3Dtrue".to_owned(),
            (None, Some(name)) => format!("&fieldSelector=metadata.name%3D{name}"),
            (None, None) => String::new(),
        };
        let path = match &view.cluster {
            Some(_) => CONFIG_MAPS,
            None => "/api/v1/configmaps",
        };
        let version = self.version;
        let path =
            format!("{path}?watch=1&allowWatchBookmarks=true&resourceVersion={version}{selector}");
        let accept = [("accept", "application/json")];
        let response = self
            .client
            .open(Method::GET, &path, &accept, None, Default::default());
        let response = response.await?;
        ensure!(
            response.status().is_success(),
            "watch from {version}: {}",
            response.status()
        );
        let (mut body, mut rest) = (response.into_body(), Vec::new());
        while self.version < until {
            let frame = body.frame().await.context("the watch ended")??;
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.take(&serde_json::from_slice(&rest[..=end])?)
                    .map_err(|error| anyhow!("{error:#}").context(Wrong))?;
                rest.drain(..=end);
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &Value) -> Result<()> {
        let object = &line["object"];
        let kind = match text(line, "/type")? {
            "ADDED" => Kind::Added,
            "MODIFIED" => Kind::Modified,
            "DELETED" => Kind::Deleted,
            "BOOKMARK" => {
                self.version = text(object, "/metadata/resourceVersion")?.parse()?;
                self.told.until = self.version;
                return Ok(());
            }
            _ => bail!("{line}"),
        };
        let version: u64 = text(object, "/metadata/resourceVersion")?.parse()?;
        ensure!(
            version > self.version,
            "version {version} after {}: {line}",
            self.version
        );
        (self.version, self.told.until) = (version, version);
        if let Some((key, state)) = read(object)? {
            self.told.events.push(Event { kind, key, state });
        }
        Ok(())
    }
}

/// Marks an error that is the server's fault, not the connection's.
#[derive(Debug)]
struct Wrong;

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the watch told something that cannot be")
    }
}

/// The watches of a round: everything, one workspace, a label, a name, and (the sleeper) everything
/// again, which only wakes up when the server is back.
fn watches(hub: &Hub, clusters: &[String], version: u64) -> Result<Vec<Follower>> {
    let wild = View::default();
    let one = View {
        cluster: Some(clusters[0].clone()),
        ..View::default()
    };
    let even = View {
        rest: Some((2, 0)),
        ..View::default()
    };
    let named = View {
        name: Some("shared-1".to_owned()),
        ..View::default()
    };
    let views = [wild.clone(), one, even, named, wild].into_iter();
    let watch = |view: View| {
        let client = masters(hub, view.cluster.as_deref().unwrap_or("*"))?;
        let told = Watch {
            view,
            after: version,
            until: version,
            ..Watch::default()
        };
        Ok(Follower {
            client,
            version,
            told,
        })
    };
    views.map(watch).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_watches_are_exact() -> Result<()> {
    let (seed, rounds) = (variable("HANSE_SEED", 1), variable("HANSE_ROUNDS", 5));
    let mut chance = Chance(seed << 16);
    let mut hub = Hub::start().await?;
    let mut clusters = Vec::new();
    for name in ["left", "right"] {
        clusters.push(hub.workspace("root", name, "universal").await?);
    }
    let mut total = Judged::default();
    let mut first_value = 0;
    for round in 0..rounds {
        let history = one_life(&mut hub, &clusters, first_value, &mut chance)
            .await
            .with_context(|| format!("seed {seed}, round {round}"))?;
        let judged = history
            .check()
            .with_context(|| format!("seed {seed}, round {round}"))?;
        first_value += history.ops.len() as u64;
        total += judged;
    }
    println!("{rounds} lives: {total:?}");
    ensure!(
        total.writes as u64 > rounds * 4,
        "too little happened to prove anything: {total:?}"
    );
    Ok(())
}

/// A load, a death in the middle of it, and what everybody saw.
async fn one_life(
    hub: &mut Hub,
    clusters: &[String],
    first_value: u64,
    chance: &mut Chance,
) -> Result<History> {
    let list = masters(hub, "*")?
        .get("/api/v1/configmaps")
        .await?
        .success()?;
    let version = text(&list, "/metadata/resourceVersion")?.parse()?;
    let of = |id: &String| Ok((id.clone(), masters(hub, id)?));
    let load = Arc::new(Load {
        clusters: clusters.iter().map(of).collect::<Result<_>>()?,
        began: Instant::now(),
        first_value,
        ops: Mutex::default(),
        stop: AtomicBool::new(false),
    });
    let mut watches = watches(hub, clusters, version)?;
    let sleeper = watches.pop().context("no sleeper")?;
    let following = watches.into_iter().map(|mut watch| {
        tokio::spawn(async move {
            let ended = watch.follow(u64::MAX).await;
            (watch, ended)
        })
    });
    let following: Vec<_> = following.collect();
    let writers = (0..WRITERS).map(|_| Chance(chance.below(u64::MAX)));
    let writers: Vec<_> = writers
        .map(|chance| tokio::spawn(load.clone().work(chance)))
        .collect();
    // Most deaths come in the middle of the work, some right at its beginning.
    let requests = if chance.below(8) == 0 {
        0
    } else {
        chance.below(400) as usize
    };
    wait::until_every(OFTEN, "some requests", LIFE_TIME_MAX, async || {
        let count = lock(&load.ops).len();
        if count >= requests {
            Ok(())
        } else {
            Err(anyhow!("{count} of {requests}"))
        }
    })
    .await?;
    tokio::time::sleep(Duration::from_micros(chance.below(3000))).await;
    hub.kill()?;
    load.stop.store(true, Ordering::Release);
    for writer in writers {
        writer.await?;
    }
    let gone = load.began.elapsed();
    for op in lock(&load.ops)
        .iter_mut()
        .filter(|op| op.outcome == Outcome::Unknown)
    {
        op.end = gone;
    }
    hub.resume().await?;
    let mut watches = vec![sleeper];
    for watch in following.into_iter().rev() {
        let (watch, ended) = watch.await?;
        if let Err(error) = ended
            && error.is::<Wrong>()
        {
            return Err(error);
        }
        watches.push(watch);
    }
    watches.reverse();
    finish(hub, &load, watches, list, version).await
}

/// After the restart: every workspace gets some more writes, which every watch must reach.
async fn finish(
    hub: &Hub,
    load: &Load,
    watches: Vec<Follower>,
    before: Value,
    version: u64,
) -> Result<History> {
    let mut last = 0;
    for cluster in 0..load.clusters.len() {
        for _ in 0..2 {
            last = load.write_last(cluster).await?;
        }
        load.request(cluster, "", Act::List).await;
    }
    let list = masters(hub, "*")?
        .get("/api/v1/configmaps")
        .await?
        .success()?;
    let ops = std::mem::take(&mut *lock(&load.ops));
    let mut history = History {
        before: items(&before)?,
        version,
        first_value: load.first_value,
        ops,
        ..History::default()
    };
    for mut watch in watches {
        // The first watch sees everything; the others must see their part of what it saw.
        let until = match history.log.is_empty() {
            true => Some(last),
            false => history
                .projected(&watch.told.view)
                .last()
                .map(|e| e.state.version),
        };
        let followed = tokio::time::timeout(WATCH_TIME_MAX, watch.follow(until.unwrap_or(0)));
        followed
            .await
            .with_context(|| format!("{:?} never told {until:?}", watch.told.view))??;
        if history.log.is_empty() {
            history.log = watch.told.events.clone();
        }
        history.watches.push(watch.told);
    }
    let listed = items(&list)?;
    ensure!(
        listed == history.after(),
        "list: {listed:?}\nlog: {:?}",
        history.after()
    );
    Ok(history)
}

// === births and deaths ===

/// What the birth of a workspace consists of, besides the Workspace itself.
const BORN: &[&str] = &[
    "/apis/core.kcp.io/v1alpha1/logicalclusters",
    "/api/v1/namespaces",
    "/api/v1/configmaps",
    "/api/v1/serviceaccounts",
    "/apis/apis.kcp.io/v1alpha2/apibindings",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
];

/// The objects of every logical cluster: which collection, namespace and name.
type Contents = BTreeMap<String, BTreeSet<String>>;

async fn contents(everywhere: &Client) -> Result<Contents> {
    let mut contents = Contents::new();
    for path in BORN {
        let list = everywhere.get(path).await?.success()?;
        for item in list["items"].as_array().context("a list without items")? {
            let cluster = text(item, "/metadata/annotations/kcp.io~1cluster")?;
            let namespace = item["metadata"]["namespace"].as_str().unwrap_or_default();
            let name = text(item, "/metadata/name")?;
            // Bindings have a generated ending.
            let name = match path.ends_with("apibindings") {
                true => name.rsplit_once('-').map_or(name, |(stem, _)| stem),
                false => name,
            };
            let object = format!("{path} {namespace}/{name}");
            contents
                .entry(cluster.to_owned())
                .or_default()
                .insert(object);
        }
    }
    Ok(contents)
}

/// What a caller knows of its workspaces.
#[derive(Default)]
struct Told {
    /// Their creation was acknowledged, and nobody asked for their deletion.
    born: BTreeSet<String>,
    /// Their deletion was asked for.
    dying: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn births_and_deaths_are_whole() -> Result<()> {
    let (seed, rounds) = (variable("HANSE_SEED", 1), variable("HANSE_ROUNDS", 5));
    let mut chance = Chance((seed << 16) ^ 0xb1_47);
    let mut hub = Hub::start().await?;
    let calm = hub.workspace("root", "calm", "universal").await?;
    // What there is before anybody hurries: the system's clusters, root, and a workspace.
    let before = contents(&masters(&hub, "*")?).await?;
    let whole = before.get(&calm).context("the calm workspace is empty")?;
    ensure!(
        whole.len() >= 5,
        "too little is born to be halved: {whole:?}"
    );
    let mut told = Told::default();
    let mut births = 0;
    for round in 0..rounds {
        births += families(&mut hub, round, &mut chance, &mut told).await?;
        hub.resume().await?;
        survivors(&hub, &before, whole, &told)
            .await
            .with_context(|| format!("seed {seed}, round {round}"))?;
    }
    println!("{rounds} lives, {births} births acknowledged");
    ensure!(
        births as u64 > rounds * 2,
        "too little happened to prove anything: {births} births"
    );
    Ok(())
}

/// Callers make workspaces and delete every third of them, until the server is killed. How many
/// births were acknowledged.
async fn families(
    hub: &mut Hub,
    round: u64,
    chance: &mut Chance,
    told: &mut Told,
) -> Result<usize> {
    let stop = Arc::new(AtomicBool::new(false));
    let tried = Arc::new(AtomicU64::new(0));
    let mut callers = Vec::new();
    for caller in 0..WRITERS {
        let (client, stop, tried) = (hub.cluster("root")?, stop.clone(), tried.clone());
        callers.push(tokio::spawn(async move {
            let mut told = Told::default();
            for index in 0.. {
                let name = format!("r{round}-c{caller}-{index}");
                let body = json!({
                    "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
                    "metadata": {"name": name},
                    "spec": {"type": {"name": "universal", "path": "root"}},
                });
                let made = client.post(WORKSPACES, &body).await;
                tried.fetch_add(1, Ordering::AcqRel);
                if made.is_ok_and(|answer| answer.status == StatusCode::CREATED) {
                    told.born.insert(name.clone());
                }
                if index % 3 == 2 && told.born.remove(&name) {
                    told.dying.insert(name.clone());
                    let _ = client.delete(&format!("{WORKSPACES}/{name}")).await;
                }
                if stop.load(Ordering::Acquire) {
                    break;
                }
            }
            told
        }));
    }
    let births = chance.below(60);
    wait::until_every(OFTEN, "some births", LIFE_TIME_MAX, async || {
        let count = tried.load(Ordering::Acquire);
        if count >= births {
            Ok(())
        } else {
            Err(anyhow!("{count} of {births}"))
        }
    })
    .await?;
    tokio::time::sleep(Duration::from_micros(chance.below(3000))).await;
    hub.kill()?;
    stop.store(true, Ordering::Release);
    let mut births = 0;
    for caller in callers {
        let of = caller.await?;
        births += of.born.len() + of.dying.len();
        told.born.extend(of.born);
        told.dying.extend(of.dying);
    }
    Ok(births)
}

/// Judges what stands after a restart; what was being deleted gets time to go away.
async fn survivors(
    hub: &Hub,
    before: &Contents,
    whole: &BTreeSet<String>,
    told: &Told,
) -> Result<()> {
    let everywhere = masters(hub, "*")?;
    let parent = hub.cluster("root")?;
    let mut clusters = BTreeMap::new();
    let mut dying = BTreeSet::new();
    for item in parent.get(WORKSPACES).await?.success()?["items"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = text(item, "/metadata/name")?;
        if item["metadata"]["deletionTimestamp"].is_string() {
            ensure!(
                told.dying.contains(name),
                "nobody asked for the deletion of {name}"
            );
            dying.insert(name.to_owned());
            continue;
        }
        ensure!(
            item["status"]["phase"] == "Ready",
            "born, but not ready: {item}"
        );
        clusters.insert(text(item, "/spec/cluster")?.to_owned(), name.to_owned());
    }
    for name in &told.born {
        ensure!(
            clusters.values().any(|other| other == name),
            "{name} is lost"
        );
    }
    let found = contents(&everywhere).await?;
    for (cluster, name) in &clusters {
        // The id of the cluster itself is no part of any name.
        let found = found
            .get(cluster)
            .with_context(|| format!("{name} has no objects"))?;
        ensure!(
            found == whole,
            "{name} is half there: {found:?}
not like {whole:?}"
        );
    }
    let gone = wait::until("the dead gone", Duration::from_secs(30), async || {
        let left = contents(&everywhere).await?;
        let owned =
            |cluster: &String| clusters.contains_key(cluster) || before.contains_key(cluster);
        match left.iter().find(|(cluster, _)| !owned(cluster)) {
            Some((cluster, objects)) => Err(anyhow!("{cluster} of nobody holds {objects:?}")),
            None => Ok(()),
        }
    });
    gone.await
        .with_context(|| format!("{} were dying", dying.len()))
}
