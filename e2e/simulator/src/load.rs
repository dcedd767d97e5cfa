//! Writers that fight over a few objects, and watchers of all kinds: what `hanse_history` judges.
//!
//! Start at [`Load::work`] and [`Follower::run`]. Each write bears a number of its own. A watcher
//! goes on over crashes from the last version it was told, and over a compacted past with a list;
//! some read slowly, some hang up by themselves. The invariant: nothing here decides whether the
//! server is right; it writes down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use hanse_history::{Act, Event, Key, Kind, Op, Outcome, State, View, Watch};
use hanse_seams::{Seams, Shutdown};
use hanse_store::Commit;
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::server::Server;

/// Objects in each workspace.
const OBJECTS: u64 = 4;
/// The beginning of their names.
pub const PREFIX: &str = "shared-";
/// Where they are.
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The end of their path in the store is this, a slash and the name.
const STORED: &[u8] = b"/configmaps//";

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.with_context(|| format!("no {pointer} in {value}"))
}

fn version(object: &Value) -> Result<u64> {
    Ok(text(object, "/metadata/resourceVersion")?.parse()?)
}

/// What the objects of the load say of themselves; `None` for those that are not of it.
fn read(object: &Value) -> Result<Option<(Key, State)>> {
    let name = text(object, "/metadata/name")?;
    if !name.starts_with(PREFIX) {
        return Ok(None);
    }
    let cluster = text(object, "/metadata/annotations/kcp.io~1cluster")?;
    let (value, end) = (text(object, "/data/value")?, text(object, "/data/end")?);
    ensure!(value == end, "half an object: {object}");
    let state = State {
        version: version(object)?,
        value: value.parse()?,
    };
    Ok(Some(((cluster.to_owned(), name.to_owned()), state)))
}

fn items(list: &Value) -> Result<BTreeMap<Key, State>> {
    let items = list["items"].as_array().context("a list without items")?;
    let items = items.iter().filter_map(|item| read(item).transpose());
    items.collect()
}

/// What all writers of a run share.
pub struct Load {
    /// The ids of the workspaces in which it writes.
    pub clusters: Vec<String>,
    server: Server,
    seams: Seams,
    ops: Mutex<Vec<Op>>,
}

impl Load {
    /// A load that has done nothing yet.
    #[must_use]
    pub fn new(server: &Server, clusters: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            clusters,
            server: server.clone(),
            seams: server.world(),
            ops: Mutex::default(),
        })
    }

    /// What was asked and answered so far.
    #[must_use]
    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut self.ops.lock())
    }

    /// One request and what came of it.
    pub async fn request(&self, cluster: usize, name: &str, act: Act) -> Result<Outcome> {
        let id = &self.clusters[cluster % self.clusters.len()];
        let start = self.seams.clock.monotonic();
        let index = {
            let mut ops = self.ops.lock();
            ops.push(Op {
                key: (id.clone(), name.to_owned()),
                act,
                start,
                end: Duration::MAX,
                outcome: Outcome::Unknown,
            });
            ops.len() - 1
        };
        let outcome = self.call(id, name, act, index as u64).await?;
        let mut ops = self.ops.lock();
        ops[index].outcome = outcome.clone();
        if outcome != Outcome::Unknown {
            ops[index].end = self.seams.clock.monotonic();
        }
        Ok(outcome)
    }

    async fn call(&self, id: &str, name: &str, act: Act, value: u64) -> Result<Outcome> {
        let all = format!("/clusters/{id}{CONFIG_MAPS}");
        let one = format!("{all}/{name}");
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"rest": (value % 3).to_string()}},
            "data": {"value": value.to_string(), "end": value.to_string()},
        });
        let server = &self.server;
        let answer = match act {
            Act::Create => server.ask("POST", &all, Some(&object)).await,
            Act::Update(expected) => {
                if let Some(version) = expected {
                    object["metadata"]["resourceVersion"] = version.to_string().into();
                }
                server.ask("PUT", &one, Some(&object)).await
            }
            Act::Delete(version) => {
                let options = json!({"preconditions": {"resourceVersion": version.to_string()}});
                server.ask("DELETE", &one, Some(&options)).await
            }
            Act::Get => server.ask("GET", &one, None).await,
            Act::List => server.ask("GET", &all, None).await,
        };
        let Some(answer) = answer else {
            return Ok(Outcome::Unknown);
        };
        let body = &answer.body;
        let own = || read(body)?.context("another's object");
        Ok(match (act, answer.status) {
            (Act::List, StatusCode::OK) => Outcome::Listed(version(body)?, items(body)?),
            (Act::Delete(_), StatusCode::OK) => Outcome::Deleted,
            (Act::Get, StatusCode::OK) => Outcome::Found(own()?.1),
            (_, StatusCode::OK | StatusCode::CREATED) => Outcome::Written(own()?.1.version),
            (_, StatusCode::NOT_FOUND) => Outcome::Absent,
            (Act::Create, StatusCode::CONFLICT) => Outcome::Exists,
            (_, StatusCode::CONFLICT) => Outcome::Conflict,
            (_, code) if code.is_server_error() || code == StatusCode::TOO_MANY_REQUESTS => {
                Outcome::Unknown
            }
            (_, code) => bail!("{act:?} of {name}: {code}: {body}"),
        })
    }

    /// Works on objects that all writers share: at least so many requests, and until told to stop.
    ///
    /// # Errors
    /// An answer that makes no sense.
    pub async fn work(self: Arc<Self>, requests: u64, stop: Shutdown) -> Result<()> {
        let chance = Arc::clone(&self.seams.rng);
        for request in 0.. {
            if request >= requests && stop.is_triggered() {
                break;
            }
            let cluster = usize::try_from(chance.below(self.clusters.len() as u64))?;
            let name = format!("{PREFIX}{}", chance.below(OBJECTS));
            let pause = Duration::from_micros(chance.below(80_000));
            self.seams.clock.sleep(pause).await;
            let seen = self.request(cluster, &name, Act::Get).await?;
            let act = match (&seen, chance.below(8)) {
                (Outcome::Absent, _) => Act::Create,
                (Outcome::Found(state), 0..3) => Act::Delete(state.version),
                (Outcome::Found(state), 3..6) => Act::Update(Some(state.version)),
                (Outcome::Found(_), 6) => Act::Update(None),
                (Outcome::Found(_), _) => Act::List,
                _ => {
                    self.seams.clock.sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            self.request(cluster, &name, act).await?;
        }
        Ok(())
    }

    /// A write of each workspace that must succeed in the end; the version of the last.
    ///
    /// # Errors
    /// It does not, within a simulated minute.
    pub async fn close(&self) -> Result<u64> {
        let mut last = 0;
        for cluster in 0..self.clusters.len() {
            let mut act = Act::Create;
            let written = 'tries: {
                for _ in 0..60 {
                    match self.request(cluster, "shared-last", act).await? {
                        Outcome::Written(version) => break 'tries Some(version),
                        Outcome::Exists => act = Act::Update(None),
                        Outcome::Unknown => {
                            self.seams.clock.sleep(Duration::from_secs(1)).await;
                        }
                        other => bail!("the last write: {other:?}"),
                    }
                }
                None
            };
            last = written.context("after all crashes nothing can be written")?;
            self.request(cluster, "", Act::List).await?;
        }
        Ok(last)
    }

    /// The log of the load's objects as the disk has it.
    ///
    /// # Errors
    /// A value that is none of ours.
    pub fn log(&self, journal: &[Commit]) -> Result<Vec<Event>> {
        let mut present: BTreeMap<Key, u64> = BTreeMap::new();
        let mut log = Vec::new();
        for change in journal.iter().flat_map(|commit| &commit.changes) {
            let Some(key) = self.key(&change.key) else {
                continue;
            };
            let version = change.version.0;
            let (kind, value) = match &change.value {
                Some(bytes) => {
                    let value = stored_value(bytes)?;
                    match present.insert(key.clone(), value) {
                        None => (Kind::Added, value),
                        Some(_) => (Kind::Modified, value),
                    }
                }
                None => {
                    let gone = present.remove(&key);
                    (Kind::Deleted, gone.context("what is not there is deleted")?)
                }
            };
            let state = State { version, value };
            log.push(Event { kind, key, state });
        }
        Ok(log)
    }

    /// The object of the load behind a key of the store.
    fn key(&self, stored: &[u8]) -> Option<Key> {
        let rest = stored.strip_prefix(STORED)?;
        let mut parts = std::str::from_utf8(rest).ok()?.split('/');
        let (cluster, _, name) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = self.clusters.iter().any(|id| id == cluster) && name.starts_with(PREFIX);
        ours.then(|| (cluster.to_owned(), name.to_owned()))
    }
}

/// The number in a stored object.
fn stored_value(bytes: &[u8]) -> Result<u64> {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.split_once("\"value\":\"").context("no value")?;
    let digits = rest.split('"').next().unwrap_or_default();
    Ok(digits.parse()?)
}

/// A watcher that goes on for as long as the run does.
pub struct Follower {
    server: Server,
    seams: Seams,
    view: View,
    /// How many simulated milliseconds it may take for an event.
    slowness: u64,
    /// Asks for the present by initial events instead of a list.
    initial: bool,
    told: Vec<Watch>,
}

/// Why a stream ended.
enum End {
    /// Something broke; go on from where it was.
    Broken,
    /// The past is gone; begin again with the present.
    Expired,
}

impl Follower {
    /// A watcher of a view, from a version on.
    #[must_use]
    pub fn new(
        server: &Server,
        view: View,
        version: u64,
        (slowness, initial): (u64, bool),
    ) -> Self {
        let first = Watch {
            view: view.clone(),
            after: version,
            until: version,
            ..Watch::default()
        };
        Self {
            server: server.clone(),
            seams: server.world(),
            view,
            slowness,
            initial,
            told: vec![first],
        }
    }

    /// What it was told.
    #[must_use]
    pub fn take(self) -> Vec<Watch> {
        self.told
    }

    fn path(&self) -> String {
        let cluster = self.view.cluster.as_deref().unwrap_or("*");
        let collection = match self.view.cluster {
            Some(_) => CONFIG_MAPS,
            None => "/api/v1/configmaps",
        };
        let mut selector = String::new();
        if let Some((_, rest)) = self.view.rest {
            selector.push_str(&format!("&labelSelector=rest%3D{rest}"));
        }
        if let Some(name) = &self.view.name {
            selector.push_str(&format!("&fieldSelector=metadata.name%3D{name}"));
        }
        format!("/clusters/{cluster}{collection}?allowWatchBookmarks=true{selector}")
    }

    fn until(&self) -> u64 {
        self.told.last().map_or(0, |watch| watch.until)
    }

    /// Follows until it was told everything up to this version.
    ///
    /// # Errors
    /// Something that cannot be was told, or nothing comes any more.
    pub async fn run(&mut self, until: impl Fn() -> u64, patience: Duration) -> Result<()> {
        let deadline = || self.seams.clock.monotonic() + patience;
        let mut latest = deadline();
        let mut known = 0;
        loop {
            let goal = until();
            if goal > 0 && self.until() >= goal {
                return Ok(());
            }
            if goal != known {
                // Patience begins when there is an end to wait for.
                (known, latest) = (goal, self.seams.clock.monotonic() + patience);
            }
            let now = self.seams.clock.monotonic();
            ensure!(
                goal == 0 || now < latest,
                "the watch of {:?} came to {} and never to {goal}",
                self.view,
                self.until()
            );
            match self.stream(&until).await? {
                End::Broken => {
                    let pause = Duration::from_millis(1 + self.seams.rng.below(300));
                    self.seams.clock.sleep(pause).await;
                }
                End::Expired => self.begin_again().await?,
            }
        }
    }

    /// One connection.
    async fn stream(&mut self, until: &impl Fn() -> u64) -> Result<End> {
        let path = format!("{}&watch=1&resourceVersion={}", self.path(), self.until());
        let Some((status, mut lines)) = self.server.follow(&path).await else {
            return Ok(End::Broken);
        };
        match status {
            StatusCode::OK => {}
            StatusCode::GONE => return Ok(End::Expired),
            code if code.is_server_error() => return Ok(End::Broken),
            code => bail!("a watch from {}: {code}", self.until()),
        }
        loop {
            let next = self
                .seams
                .timeout(Duration::from_secs(5), lines.recv())
                .await;
            let goal = until();
            match next {
                Some(Some(line)) => {
                    if let Some(end) = self.line(&line)? {
                        return Ok(end);
                    }
                }
                Some(None) => return Ok(End::Broken),
                // Nothing happens; a bookmark comes within a minute.
                None => {}
            }
            if goal > 0 && self.until() >= goal {
                return Ok(End::Broken);
            }
            if self.slowness > 0 {
                let pause = Duration::from_millis(self.seams.rng.below(self.slowness));
                self.seams.clock.sleep(pause).await;
            }
            if self.seams.rng.below(40) == 0 {
                return Ok(End::Broken);
            }
        }
    }

    fn line(&mut self, line: &Value) -> Result<Option<End>> {
        let object = &line["object"];
        let kind = match text(line, "/type")? {
            "ADDED" => Kind::Added,
            "MODIFIED" => Kind::Modified,
            "DELETED" => Kind::Deleted,
            "BOOKMARK" => {
                let version = version(object)?;
                let watch = self.current()?;
                ensure!(version >= watch.until, "a bookmark went back: {line}");
                watch.until = version;
                return Ok(None);
            }
            "ERROR" if object["code"] == 410 => return Ok(Some(End::Expired)),
            "ERROR" => return Ok(Some(End::Broken)),
            _ => bail!("{line}"),
        };
        let version = version(object)?;
        let event = read(object)?;
        let watch = self.current()?;
        ensure!(
            version > watch.until,
            "version {version} after {}: {line}",
            watch.until
        );
        watch.until = version;
        if let Some((key, state)) = event {
            watch.events.push(Event { kind, key, state });
        }
        Ok(None)
    }

    fn current(&mut self) -> Result<&mut Watch> {
        self.told.last_mut().context("no watch")
    }

    /// Begins with the present: a list, or the initial events of a watch.
    async fn begin_again(&mut self) -> Result<()> {
        let present = match self.initial {
            true => self.initial_events().await?,
            false => {
                let answer = self.server.ask("GET", &self.path(), None).await;
                let listed = answer.filter(|a| a.status == StatusCode::OK);
                listed
                    .map(|a| Ok::<_, anyhow::Error>((version(&a.body)?, items(&a.body)?)))
                    .transpose()?
            }
        };
        match present {
            Some((after, listed)) => self.told.push(Watch {
                view: self.view.clone(),
                after,
                listed: Some(listed),
                until: after,
                events: Vec::new(),
            }),
            None => self.seams.clock.sleep(Duration::from_millis(100)).await,
        }
        Ok(())
    }

    async fn initial_events(&self) -> Result<Option<(u64, BTreeMap<Key, State>)>> {
        let path = format!(
            "{}&watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            self.path()
        );
        let Some((StatusCode::OK, mut lines)) = self.server.follow(&path).await else {
            return Ok(None);
        };
        let mut present = BTreeMap::new();
        while let Some(line) = lines.recv().await {
            let object = &line["object"];
            match text(&line, "/type")? {
                "ADDED" => present.extend(read(object)?),
                "BOOKMARK" => return Ok(Some((version(object)?, present))),
                "ERROR" => return Ok(None),
                other => return Err(anyhow!("{other} among the initial events: {line}")),
            }
        }
        Ok(None)
    }
}
