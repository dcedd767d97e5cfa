//! The hub: the handle through which every server room reads and writes.
//!
//! Start at [`Hub::commit`] for the way of a write and at [`Hub::list`] for the way of a read. A
//! write goes: documents and index entries are put together on the caller's task; the store's
//! commit loop checks preconditions and makes a group durable; the store tells this hub, which
//! applies the whole commit under its lock; then the caller is answered. So whoever was answered
//! reads its own write, and a commit becomes visible at once. The lock is held for memory only.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use hanse_seams::Planted;
use hanse_store::{Batch, Change, Check, Commit, Limits, Observer, Op, Place, Range, Store};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::Filter;
use crate::cursor::Cursor;
use crate::document::DocumentError;
use crate::event::Event;
use crate::history::{self, History, LogEvents};
use crate::limits::{CURSOR_NAME_BYTES, LIST_CHUNK, RECENT_BYTES, RECENT_EVENTS};
use crate::names::{ClusterName, Names, ObjectKey, ResourceId, Scope, hash_parts};
use crate::object::{Body, Object};
use crate::order::Stretch;
use crate::page::{Collector, Reading};
use crate::part::{PARTS, Part, PartHash, PartRule, Parts};
use crate::state::{After, Applied, State};
use crate::table::{ListPage, ListQuery, ReadError};
use crate::txn::{CommitError, Committed, Expect, Txn};
use crate::watch::{From, Mailbox, Watcher};

/// Under this prefix the store holds the positions of cursors. No API group begins like it.
const POSITIONS: &str = "!cursor/";

/// How much of the past the hub keeps in memory.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Recent events of all resources together.
    pub recent_events: usize,
    /// Bytes that they may hold beyond what is alive anyway.
    pub recent_bytes: usize,
    /// Members of objects that are kept once for each content.
    pub parts: &'static [PartRule],
    /// A bug on purpose, in simulations.
    pub planted: Planted,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            recent_events: RECENT_EVENTS,
            recent_bytes: RECENT_BYTES,
            parts: &[],
            planted: Planted::default(),
        }
    }
}

/// How much a hub holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Resources that are known.
    pub resources: usize,
    /// Objects that exist.
    pub objects: usize,
    /// Bytes that they take in memory, parts that they share aside.
    pub object_bytes: usize,
    /// Watches that are open.
    pub watchers: usize,
    /// Recent events that are in memory.
    pub recent_events: usize,
    /// Bytes that they hold beyond what is alive anyway.
    pub recent_bytes: usize,
    /// Parts that objects share.
    pub parts: usize,
    /// Their bytes.
    pub part_bytes: usize,
}

/// What a scope holds of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The resource.
    pub resource: ResourceId,
    /// Objects that exist.
    pub objects: usize,
    /// Bytes of their documents.
    pub stored_bytes: usize,
    /// Bytes that they take in memory, what they share with others aside.
    pub memory_bytes: usize,
}

/// Why the hub could not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read.
    #[error("reading the store: {0}")]
    Store(#[from] hanse_store::ReadError),
    /// The store holds a value that this version cannot read.
    #[error("the value of {key} in the store: {source}")]
    Value {
        /// Its key in the store.
        key: String,
        /// What is wrong with it.
        source: DocumentError,
    },
}

/// See the module's own words. Cheap to clone; all clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles of one hub share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) config: Config,
    pub(crate) names: Names,
    pub(crate) parts: Arc<Parts>,
    pub(crate) state: RwLock<State>,
    pub(crate) history: History,
    pub(crate) version: watch::Sender<u64>,
}

/// What a write carries through the store, so that nothing is decoded twice.
enum Carried {
    Put(Arc<Body>),
    Delete(ObjectKey),
}

pub(crate) fn value_error(key: &[u8], source: DocumentError) -> OpenError {
    OpenError::Value {
        key: String::from_utf8_lossy(key).into_owned(),
        source,
    }
}

// === following the store ===

/// How the store reaches the hub without keeping it alive.
pub(crate) struct Follower(pub(crate) Weak<Shared>);

impl Observer for Follower {
    fn committed(&self, commits: &[Commit]) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        let after = {
            let mut state = shared.state.write();
            match &mut state.waiting {
                Some(waiting) => {
                    waiting.extend_from_slice(commits);
                    return;
                }
                None => shared.publish(&mut state, commits),
            }
        };
        shared.announce(after);
    }
}

impl Shared {
    /// Applies commits under the lock: the whole group becomes visible when it is released.
    pub(crate) fn publish(&self, state: &mut State, commits: &[Commit]) -> After {
        let mut after = After::default();
        for commit in commits {
            for change in &commit.changes {
                match self.applied(change) {
                    Ok(Some(applied)) => state.apply(applied, &mut after),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%error, "a committed value cannot be read: not shown");
                    }
                }
            }
            state.revision = commit.revision;
        }
        after
    }

    /// Wakes whoever waits, after the lock is free.
    pub(crate) fn announce(&self, after: After) {
        let version = self.state.read().version();
        self.version.send_if_modified(|known| {
            let newer = version > *known;
            *known = version.max(*known);
            newer
        });
        after.run();
    }

    fn applied(&self, change: &Change) -> Result<Option<Applied>, OpenError> {
        let carried = change
            .attachment
            .as_ref()
            .and_then(|any| any.downcast_ref::<Carried>());
        let version = change.version.0;
        match (carried, &change.value) {
            (Some(Carried::Put(body)), _) => {
                Ok(Some(Applied::Put(Object::new(body.clone(), version))))
            }
            (Some(Carried::Delete(key)), _) => Ok(Some(Applied::Delete(key.clone(), version))),
            (None, Some(value)) => self.decode(&change.key, value, version),
            (None, None) if change.key.starts_with(PARTS.as_bytes()) => {
                Ok(PartHash::from_store(&change.key).map(Applied::PartGone))
            }
            (None, None) => {
                let key = ObjectKey::from_store(&change.key, &self.names);
                Ok(key.map(|key| Applied::Delete(key, version)))
            }
        }
    }

    pub(crate) fn decode(
        &self,
        key: &[u8],
        value: &[u8],
        version: u64,
    ) -> Result<Option<Applied>, OpenError> {
        if let Some(name) = key.strip_prefix(POSITIONS.as_bytes()) {
            let position = value.try_into().map(u64::from_be_bytes);
            let position = position.map_err(|_| value_error(key, DocumentError::Damaged))?;
            let name = String::from_utf8_lossy(name).into_owned();
            return Ok(Some(Applied::Position(name, position)));
        }
        if key.starts_with(PARTS.as_bytes()) {
            let part = Part::from_store(value).map_err(|source| value_error(key, source))?;
            return Ok(Some(Applied::Part(part, version)));
        }
        let Some(object_key) = ObjectKey::from_store(key, &self.names) else {
            return Ok(None);
        };
        let body = Body::new(object_key, value, |hash| self.parts.get(hash));
        let body = body.map_err(|source| value_error(key, source))?;
        Ok(Some(Applied::Put(Object::new(Arc::new(body), version))))
    }
}

// === reading ===

impl Hub {
    /// The version that stands after everything committed so far (c * 256 + 255).
    pub fn version(&self) -> u64 {
        self.shared.state.read().version()
    }

    /// Resolves once [`Hub::version`] is at least this. The caller bounds the wait.
    pub async fn wait_for(&self, version: u64) {
        let mut current = self.shared.version.subscribe();
        // The sender lives as long as `self`, so this cannot fail before the version is there.
        let _ = current.wait_for(|current| *current >= version).await;
    }

    /// An object as it is now.
    pub fn get(&self, key: &ObjectKey) -> Option<Object> {
        self.shared.state.read().get(key).cloned()
    }

    /// An object as of one version, from memory.
    pub fn get_at(&self, key: &ObjectKey, at: u64) -> Result<Option<Object>, ReadError> {
        let state = self.shared.state.read();
        let Some(table) = state.table(&key.resource) else {
            let oldest = state.new_floor();
            return match at < oldest {
                true => Err(ReadError::TooOld {
                    requested: at,
                    oldest,
                }),
                false => Ok(None),
            };
        };
        let oldest = table.floor();
        let found = table.get_at(key, at).ok_or(ReadError::TooOld {
            requested: at,
            oldest,
        })?;
        Ok(found.cloned())
    }

    /// Several objects as they are at one moment.
    pub fn get_all<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k ObjectKey>,
    ) -> Vec<Option<Object>> {
        let state = self.shared.state.read();
        keys.into_iter()
            .map(|key| state.get(key).cloned())
            .collect()
    }

    /// The objects of a scope as of one version, from memory. A past beyond memory is
    /// [`ReadError::TooOld`]; [`Hub::list_past`] asks the store then.
    pub fn list(
        &self,
        resource: &ResourceId,
        scope: &Scope,
        query: &ListQuery,
    ) -> Result<ListPage, ReadError> {
        match self.list_in_turns(resource, scope, query, query.chunk()) {
            // The ring moved on between two turns of a list of the present: take one long turn.
            Err(ReadError::TooOld { .. }) if query.at.is_none() => {
                self.list_in_turns(resource, scope, query, usize::MAX)
            }
            result => result,
        }
    }

    /// Reads a scope in turns of the lock, so that a long list holds up no write.
    fn list_in_turns(
        &self,
        resource: &ResourceId,
        scope: &Scope,
        query: &ListQuery,
        chunk: usize,
    ) -> Result<ListPage, ReadError> {
        let mut reading = Reading::new(query);
        while !self.read_on(resource, scope, &mut reading, chunk)? {}
        Ok(reading.finish())
    }

    /// As [`Hub::list`], but lets go of the thread between two turns of the lock, so that a long
    /// list holds up no other work either.
    pub async fn list_in_slices(
        &self,
        resource: &ResourceId,
        scope: &Scope,
        query: &ListQuery,
    ) -> Result<ListPage, ReadError> {
        let mut reading = Reading::new(query);
        loop {
            match self.read_on(resource, scope, &mut reading, query.chunk()) {
                Ok(true) => return Ok(reading.finish()),
                Ok(false) => tokio::task::yield_now().await,
                Err(ReadError::TooOld { .. }) if query.at.is_none() => {
                    return self.list_in_turns(resource, scope, query, usize::MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads one turn more; true at the end.
    fn read_on(
        &self,
        resource: &ResourceId,
        scope: &Scope,
        reading: &mut Reading<'_>,
        chunk: usize,
    ) -> Result<bool, ReadError> {
        let state = self.shared.state.read();
        let current = state.version();
        let version = *reading.at.get_or_insert(current);
        if version > current {
            return Err(ReadError::TooNew {
                requested: version,
                current,
            });
        }
        let Some(table) = state.table(resource) else {
            return match state.new_floor() {
                oldest if version < oldest => Err(ReadError::TooOld {
                    requested: version,
                    oldest,
                }),
                _ => Ok(true),
            };
        };
        let stretch = Stretch::new(scope, reading.after.as_deref());
        let mut left = chunk;
        // A filter may take long for each object, and others wait for the lock.
        let filtered = reading.page.is_filtered();
        let mut candidates = Vec::new();
        let (page, after) = (&mut reading.page, &mut reading.after);
        let scanned = table.scan(scope, &stretch, version, |object| {
            left -= 1;
            let wanted = match filtered {
                true => {
                    candidates.push(object.clone());
                    true
                }
                false => page.take(object),
            };
            if wanted && left == 0 {
                *after = Some(object.key().path());
            }
            wanted && left > 0
        });
        let oldest = table.floor();
        drop(state);
        scanned.ok_or(ReadError::TooOld {
            requested: version,
            oldest,
        })?;
        let all = candidates.iter().all(|object| reading.page.take(object));
        Ok(!all || left > 0 || reading.page.is_full())
    }

    /// As [`Hub::list`], but asks the store's past where memory does not reach back so far. Only
    /// for versions that lists answered (c * 256 + 255); others have to be in memory.
    pub async fn list_past(
        &self,
        resource: &ResourceId,
        scope: &Scope,
        query: &ListQuery,
    ) -> Result<ListPage, ReadError> {
        let read = self.list_in_slices(resource, scope, query).await;
        let at = match (read, query.at) {
            (Err(ReadError::TooOld { requested, oldest }), Some(at)) => {
                match hanse_store::Version(at) {
                    at if at == at.revision().end() => at.revision(),
                    _ => return Err(ReadError::TooOld { requested, oldest }),
                }
            }
            (result, _) => return result,
        };
        let (mut start, end) = store_range(resource, scope, query.after.as_deref());
        let mut page = Collector::new(query);
        loop {
            let range = Range {
                start,
                end: Some(end.clone()),
                at: Some(at),
                limit: LIST_CHUNK,
            };
            let read = self.shared.store.range(range).await;
            let read = read.map_err(|error| history::read_error(error, at.end().0))?;
            for entry in &read.entries {
                let decoded = self
                    .shared
                    .decode(&entry.key, &entry.value, entry.version.0);
                let decoded = decoded.map_err(|error| match &error {
                    OpenError::Value { source, .. } => {
                        history::value_error(source, at.end().0, self.version())
                    }
                    OpenError::Store(_) => ReadError::Unavailable(error.to_string().into()),
                })?;
                if let Some(Applied::Put(object)) = decoded
                    && !page.take(&object)
                {
                    return Ok(page.finish(at.end().0));
                }
            }
            match read.entries.last() {
                Some(last) if read.more => start = [&last.key[..], b"\0"].concat().into(),
                _ => return Ok(page.finish(at.end().0)),
            }
        }
    }

    /// How many objects a scope has now.
    pub fn count(&self, resource: &ResourceId, scope: &Scope) -> usize {
        let state = self.shared.state.read();
        let stretch = Stretch::new(scope, None);
        state.table(resource).map_or(0, |table| match scope {
            Scope::Wildcard => table.len(),
            _ => table.range(&stretch).count(),
        })
    }

    /// All resources of which the shard has objects, in order.
    pub fn resources(&self) -> Vec<ResourceId> {
        self.shared.state.read().resources()
    }

    /// The resources of which a scope has objects, in order, with their counts.
    pub fn contents(&self, scope: &Scope) -> Vec<(ResourceId, usize)> {
        self.shared.state.read().contents(scope)
    }

    /// What a scope holds, by resource, in order. Looked up when it is asked for; the whole shard
    /// is better asked with [`Hub::stats`].
    pub fn usage(&self, scope: &Scope) -> Vec<Usage> {
        self.shared.state.read().usage(scope)
    }

    /// The objects of a logical cluster that name this uid among their owners.
    pub fn by_owner(&self, cluster: &ClusterName, uid: &str) -> Vec<ObjectKey> {
        self.shared.state.read().by_owner(cluster, uid)
    }

    /// Up to `limit` objects of a logical cluster that name this uid among their owners and were
    /// last written after a version, oldest first.
    pub fn owned(&self, cluster: &ClusterName, uid: &str, after: u64, limit: usize) -> Vec<Object> {
        self.shared
            .state
            .read()
            .owned(cluster, uid, after)
            .take(limit)
            .cloned()
            .collect()
    }

    /// The events of a scope from a version on. A version below what the log holds is told by
    /// the first [`Watcher::next`].
    pub fn watch(
        &self,
        resource: &ResourceId,
        scope: &Scope,
        from: From,
        filter: Option<Filter>,
    ) -> Watcher {
        let mut state = self.shared.state.write();
        let after = match from {
            From::Version(version) => version,
            From::Now => state.version(),
        };
        let watcher = Watcher::new(self.clone(), resource.clone(), scope.clone(), after, filter);
        state.join(resource, watcher.mailbox().clone());
        watcher
    }

    /// Why nothing can be written any more; `None` while all is well. What `/readyz` asks.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.shared.store.failure()
    }

    /// How much is in memory, for metrics.
    pub fn stats(&self) -> Stats {
        self.shared.state.read().stats()
    }

    /// Ends all watches that `matches` with [`ReadError::Cut`], after what has happened until now.
    pub fn cut(&self, matches: impl Fn(&ResourceId, &Scope) -> bool) {
        self.shared.state.read().cut(&matches);
    }

    /// Every event of every resource after a version, in order.
    pub fn subscribe_all(&self, after: u64) -> Cursor {
        Cursor::new(self.clone(), after)
    }

    /// Where a cursor was when [`Cursor::save`] was called last under this name.
    pub fn saved_position(&self, name: &str) -> Option<u64> {
        self.shared.state.read().positions.get(name).copied()
    }

    pub(crate) fn recent_after(&self, version: u64, max: usize) -> Option<(Vec<Event>, u64)> {
        self.shared.state.read().recent_after(version, max)
    }

    pub(crate) async fn log_after(&self, version: u64) -> Result<Arc<LogEvents>, ReadError> {
        self.shared
            .history
            .after(
                &self.shared.store,
                (&self.shared.names, &self.shared.parts),
                version,
            )
            .await
    }

    /// Events of a scope after a version out of the resource's ring, and the version up to which
    /// they are complete. At the end of the ring, and while nothing can be published, calls
    /// `live`. `None` when the ring does not reach back so far.
    pub(crate) fn ring_after(
        &self,
        resource: &ResourceId,
        scope: &Scope,
        version: u64,
        live: impl FnOnce(),
    ) -> Option<(Vec<Event>, u64)> {
        let state = self.shared.state.read();
        let mut events = Vec::new();
        if let Some(table) = state.table(resource) {
            for event in table.after(version)? {
                if scope.contains(event.object().key()) {
                    events.push(event.clone());
                    if events.len() >= crate::limits::WATCHER_QUEUE {
                        return Some((events, event.version()));
                    }
                }
            }
        } else if version < state.new_floor() {
            return None;
        }
        live();
        Some((events, state.version()))
    }

    /// The present version if `idle` holds, with nothing published in between.
    pub(crate) fn version_if(&self, idle: impl FnOnce() -> bool) -> Option<u64> {
        let state = self.shared.state.read();
        idle().then(|| state.version())
    }

    pub(crate) fn leave(&self, resource: &ResourceId, mailbox: &Arc<Mailbox>) {
        self.shared.state.write().leave(resource, mailbox);
    }
}

/// The store's keys of a scope after a place.
fn store_range(resource: &ResourceId, scope: &Scope, after: Option<&str>) -> (Bytes, Bytes) {
    let (group, name, identity) = (resource.group(), resource.resource(), resource.identity());
    let resource = format!("{group}/{name}/{identity}/");
    let scope = match scope {
        Scope::Wildcard => String::new(),
        Scope::Cluster(cluster) => format!("{cluster}/"),
        Scope::Namespace(cluster, namespace) => format!("{cluster}/{namespace}/"),
        Scope::Object(cluster, namespace, name) => format!("{cluster}/{namespace}/{name}"),
    };
    let start = format!("{resource}{scope}");
    // Behind all keys with the prefix; an object's own key is the only one that is no prefix.
    let end = match start.strip_suffix('/') {
        Some(prefix) => format!("{prefix}0"),
        None => format!("{start}\0"),
    };
    let behind = after.map(|after| format!("{resource}{after}\0"));
    let start = behind.filter(|behind| *behind > start).unwrap_or(start);
    (start.into(), end.into())
}

// === writing ===

impl Hub {
    /// What a transaction may hold.
    pub fn limits(&self) -> Limits {
        self.shared.store.limits()
    }

    /// Makes all writes durable and visible at once, or none. When this answers, every reader of
    /// this hub sees them. Dropping the future does not take the transaction back.
    pub async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let mut keys = Vec::with_capacity(txn.checks.len() + txn.writes.len());
        let mut batch = Batch::default();
        for (key, expect) in txn.checks {
            batch.checks.push(Check {
                key: self.store_key(&key)?,
                expect: expectation(expect),
            });
            keys.push(key);
        }
        let mut bodies = Vec::with_capacity(txn.writes.len());
        let mut parts = BTreeMap::new();
        for write in txn.writes {
            let key = self.store_key(&write.key)?;
            let (put, body) = match &write.put {
                Some(document) => {
                    let (value, body) = self.prepare(&write, document, &mut parts)?;
                    (Some(value), Some(body))
                }
                None => (None, None),
            };
            let carried = match &body {
                Some(body) => Carried::Put(body.clone()),
                None => Carried::Delete(self.shared.names.key(&write.key)),
            };
            batch.ops.push(Op {
                key,
                expect: expectation(write.expect),
                put,
                attachment: Some(Arc::new(carried)),
            });
            bodies.push(body);
            keys.push(write.key);
        }
        let first = keys
            .get(batch.checks.len())
            .ok_or(CommitError::Invalid("no writes"))?;
        batch.lane = hash_parts(&[&first.cluster]);
        let before = self.write_parts(&mut batch, parts).await?;
        let checks = batch.checks.len();
        let committed = self.shared.store.commit(batch).await;
        let committed = committed.map_err(|error| commit_error(error, keys, (checks, before)))?;
        let versions: Vec<Option<u64>> = committed
            .versions
            .iter()
            .skip(before)
            .map(|version| version.map(|version| version.0))
            .collect();
        let objects = bodies.into_iter().zip(&versions);
        let objects = objects.map(|(body, version)| Some(Object::new(body?, (*version)?)));
        let objects = objects.collect();
        Ok(Committed {
            version: committed.revision.end().0,
            versions,
            objects,
        })
    }

    /// Whether the object lies in another form than it would get if it were written now, so that
    /// an update without a change is to be committed. Of what cannot be read, nothing is said.
    pub async fn is_stale(&self, key: &ObjectKey) -> bool {
        match self.store_key(key) {
            Ok(key) => self.shared.store.is_stale(key).await.unwrap_or(false),
            Err(_) => false,
        }
    }

    fn store_key(&self, key: &ObjectKey) -> Result<Bytes, CommitError> {
        key.check()
            .map_err(|_| CommitError::Invalid("a key has an empty part or a slash"))?;
        Ok(key.to_store())
    }

    pub(crate) async fn save_position(&self, name: &str, version: u64) -> Result<(), CommitError> {
        if name.is_empty() || name.len() > CURSOR_NAME_BYTES {
            return Err(CommitError::Invalid("a cursor's name is empty or too long"));
        }
        let key = Bytes::from(format!("{POSITIONS}{name}"));
        let put = Some(Bytes::copy_from_slice(&version.to_be_bytes()));
        let op = Op {
            key,
            expect: hanse_store::Expect::Any,
            put,
            attachment: None,
        };
        let batch = Batch {
            ops: vec![op],
            ..Batch::default()
        };
        let committed = self.shared.store.commit(batch).await;
        committed
            .map(|_| ())
            .map_err(|error| commit_error(error, Vec::new(), (0, 0)))
    }
}

fn expectation(expect: Expect) -> hanse_store::Expect {
    match expect {
        Expect::Any => hanse_store::Expect::Any,
        Expect::Absent => hanse_store::Expect::Absent,
        Expect::Present => hanse_store::Expect::Present,
        Expect::Version(version) => hanse_store::Expect::Version(hanse_store::Version(version)),
    }
}

/// The store's error in terms of objects: `keys` are those of the checks, then of the writes;
/// before the writes stand so many rows of parts, which expect nothing.
pub(crate) fn commit_error(
    error: hanse_store::CommitError,
    keys: Vec<ObjectKey>,
    (checks, parts): (usize, usize),
) -> CommitError {
    match error {
        hanse_store::CommitError::Conflict { place, current, .. } => {
            let index = match place {
                Place::Check(index) => index,
                Place::Op(index) => checks + index.saturating_sub(parts),
            };
            let current = current.map(|version| version.0);
            match keys.into_iter().nth(index) {
                Some(key) => CommitError::Conflict { key, current },
                None => CommitError::Invalid("a conflict on a key that is no object's"),
            }
        }
        hanse_store::CommitError::TooManyKeys { .. }
        | hanse_store::CommitError::TooLarge { .. } => CommitError::TooLarge,
        hanse_store::CommitError::Invalid(why) => CommitError::Invalid(why),
        hanse_store::CommitError::Refused(why) => CommitError::Refused(why),
        hanse_store::CommitError::Full => CommitError::Full,
        hanse_store::CommitError::Unavailable(why) => CommitError::Unavailable(why),
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hub(@{})", self.version())
    }
}
