//! The plainest engine: everything in ordered maps behind one lock, nothing durable.
//!
//! For tests, for simulations and as the reading of the contract in code. A commit happens on the
//! caller's thread, before `commit` returns its future. `reopen` stands for a restart over the
//! same data. The past is kept by [`Retention`] like any engine's, so it may run for long.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hanse_seams::{BoxFuture, Clock};
use parking_lot::Mutex;

use crate::limits::{Limits, Retention};
use crate::{
    Batch, Change, Commit, CommitError, Committed, Entry, LogPage, Observer, Page, Previous, Range,
    ReadError, Revision, Store, Version,
};

/// See the module's own words.
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    observers: Mutex<Vec<Arc<dyn Observer>>>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    retention: Retention,
}

#[derive(Default)]
struct Data {
    revision: Revision,
    floor: Revision,
    /// For each key its versions, oldest first; the last one at or below the floor and all later.
    keys: BTreeMap<Bytes, Vec<(Version, Option<Bytes>)>>,
    log: VecDeque<Commit>,
    log_bytes: u64,
    log_records: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>, limits: Limits, retention: Retention) -> Self {
        Self {
            data: Arc::default(),
            observers: Mutex::default(),
            clock,
            limits,
            retention,
        }
    }

    /// An empty store with the usual limits and retention.
    pub fn with_defaults(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, Limits::default(), Retention::default())
    }

    /// The same data as a restart would find it: without observers.
    pub fn reopen(&self) -> Self {
        Self {
            data: self.data.clone(),
            observers: Mutex::default(),
            clock: self.clock.clone(),
            limits: self.limits,
            retention: self.retention,
        }
    }

    fn commit_now(&self, batch: Batch) -> Result<Committed, CommitError> {
        batch.validate(&self.limits)?;
        let now = self.clock.wall_millis();
        let mut data = self.data.lock();
        let conflict =
            batch.conflict(|key| Ok::<_, CommitError>(data.current(key).map(|at| at.0)))?;
        if let Some(conflict) = conflict {
            return Err(conflict);
        }
        let (committed, commit) = data.apply(batch, now);
        if let Some(commit) = commit {
            // Told under the lock, so that observers see commits in their order.
            for observer in self.observers.lock().iter() {
                observer.committed(std::slice::from_ref(&commit));
            }
        }
        data.retain(&self.retention, now);
        Ok(committed)
    }
}

impl Data {
    fn current(&self, key: &[u8]) -> Option<(Version, &Bytes)> {
        let (version, value) = self.keys.get(key)?.last()?;
        Some((*version, value.as_ref()?))
    }

    fn at(versions: &[(Version, Option<Bytes>)], at: Revision) -> Option<(Version, Bytes)> {
        let after = versions.partition_point(|(version, _)| version.revision() <= at);
        let (version, value) = versions.get(after.checked_sub(1)?)?;
        Some((*version, value.clone()?))
    }

    fn apply(&mut self, batch: Batch, now: u64) -> (Committed, Option<Commit>) {
        let revision = self.revision.next();
        let (mut versions, mut changes) = (Vec::with_capacity(batch.ops.len()), Vec::new());
        for (index, op) in (0..=u8::MAX).zip(batch.ops) {
            let previous = self.current(&op.key);
            let previous = previous.map(|(version, value)| Previous {
                version,
                value: value.clone(),
            });
            if op.put.is_none() && previous.is_none() {
                versions.push(None);
                continue;
            }
            let version = revision.version(index);
            versions.push(Some(version));
            self.keys
                .entry(op.key.clone())
                .or_default()
                .push((version, op.put.clone()));
            let (key, value, attachment) = (op.key, op.put, op.attachment);
            changes.push(Change {
                version,
                key,
                value,
                previous,
                attachment,
            });
        }
        if changes.is_empty() {
            return (
                Committed {
                    revision: self.revision,
                    versions,
                },
                None,
            );
        }
        self.revision = revision;
        let commit = Commit {
            revision,
            wall_millis: now,
            changes,
        };
        let mut logged = commit.clone();
        logged
            .changes
            .iter_mut()
            .for_each(|change| change.attachment = None);
        self.log_bytes += bytes_of(&logged);
        self.log_records += logged.changes.len() as u64;
        self.log.push_back(logged);
        (Committed { revision, versions }, Some(commit))
    }

    fn retain(&mut self, retention: &Retention, now: u64) {
        let age = u64::try_from(retention.age.as_millis()).unwrap_or(u64::MAX);
        while let Some(oldest) = self.log.front() {
            let old = oldest.wall_millis.saturating_add(age) < now;
            let fits = self.log_bytes <= retention.bytes && self.log_records <= retention.records;
            if !old && fits {
                break;
            }
            self.compact(oldest.revision);
        }
    }

    fn compact(&mut self, to: Revision) {
        self.floor = self.floor.max(to.min(self.revision));
        while self
            .log
            .front()
            .is_some_and(|commit| commit.revision <= self.floor)
        {
            let Some(commit) = self.log.pop_front() else {
                break;
            };
            self.log_bytes = self.log_bytes.saturating_sub(bytes_of(&commit));
            self.log_records -= commit.changes.len() as u64;
            for change in &commit.changes {
                self.compact_key(&change.key);
            }
        }
    }

    fn compact_key(&mut self, key: &Bytes) {
        let floor = self.floor;
        let Some(versions) = self.keys.get_mut(key) else {
            return;
        };
        let after = versions.partition_point(|(version, _)| version.revision() <= floor);
        versions.drain(..after.saturating_sub(1));
        if versions.len() == 1 && versions[0].1.is_none() && after > 0 {
            self.keys.remove(key);
        }
    }

    fn readable(&self, at: Option<Revision>) -> Result<Revision, ReadError> {
        match at {
            Some(at) if at < self.floor => Err(ReadError::Compacted { floor: self.floor }),
            Some(at) if at > self.revision => Err(ReadError::Future {
                current: self.revision,
            }),
            Some(at) => Ok(at),
            None => Ok(self.revision),
        }
    }

    fn range(&self, range: &Range) -> Result<Page, ReadError> {
        let revision = self.readable(range.at)?;
        let end = range
            .end
            .as_ref()
            .map_or(Bound::Unbounded, |end| Bound::Excluded(end.clone()));
        let mut page = Page {
            entries: Vec::new(),
            more: false,
            revision,
        };
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Ok(page);
        }
        for (key, versions) in self.keys.range((Bound::Included(range.start.clone()), end)) {
            let Some((version, value)) = Self::at(versions, revision) else {
                continue;
            };
            if page.entries.len() >= range.limit.max(1) {
                page.more = true;
                break;
            }
            page.entries.push(Entry {
                key: key.clone(),
                version,
                value,
            });
        }
        Ok(page)
    }

    fn log(&self, after: Revision, limit: usize) -> Result<LogPage, ReadError> {
        if after < self.floor {
            return Err(ReadError::Compacted { floor: self.floor });
        }
        let from = self.log.partition_point(|commit| commit.revision <= after);
        let (mut commits, mut changes) = (Vec::new(), 0);
        for commit in self.log.range(from..) {
            if changes >= limit.max(1) {
                break;
            }
            changes += commit.changes.len();
            commits.push(commit.clone());
        }
        let more = from + commits.len() < self.log.len();
        Ok(LogPage { commits, more })
    }
}

fn bytes_of(commit: &Commit) -> u64 {
    let of = |change: &Change| change.key.len() + change.value.as_ref().map_or(0, Bytes::len);
    commit.changes.iter().map(|change| of(change) as u64).sum()
}

fn ready<T: Send + 'static>(value: T) -> BoxFuture<T> {
    Box::pin(std::future::ready(value))
}

impl Store for MemoryStore {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn revision(&self) -> Revision {
        self.data.lock().revision
    }

    fn floor(&self) -> Revision {
        self.data.lock().floor
    }

    fn attach(&self, observer: Arc<dyn Observer>) -> Revision {
        let data = self.data.lock();
        self.observers.lock().push(observer);
        data.revision
    }

    fn commit(&self, batch: Batch) -> BoxFuture<Result<Committed, CommitError>> {
        ready(self.commit_now(batch))
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<Result<Option<Entry>, ReadError>> {
        let data = self.data.lock();
        let entry = data.readable(at).map(|revision| {
            let (version, value) = Data::at(data.keys.get(&key)?, revision)?;
            Some(Entry {
                key,
                version,
                value,
            })
        });
        ready(entry)
    }

    fn range(&self, range: Range) -> BoxFuture<Result<Page, ReadError>> {
        ready(self.data.lock().range(&range))
    }

    fn log(&self, after: Revision, limit: usize) -> BoxFuture<Result<LogPage, ReadError>> {
        ready(self.data.lock().log(after, limit))
    }

    fn compact(&self, to: Revision) -> BoxFuture<Result<(), ReadError>> {
        self.data.lock().compact(to);
        ready(Ok(()))
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}
